// Ledger counts what became of each message that a worker sent or received: sent = delivered +
// dropped(reason) + held.
//
// Owner:  a worker; the Runtime adds all ledgers up when the workers are at rest.
// Thread: the worker's.
#ifndef SLUICE_CORE_MAILBOX_LEDGER_H_
#define SLUICE_CORE_MAILBOX_LEDGER_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/core/base/language.h"

namespace sluice {

// Why a message was accepted but not handled.
enum class DropReason : uint8_t {
  kTargetEnded,  // The target ended first.
  // Waited in the outbox of an actor that ended, until linger_timeout was over.
  kSenderEnded,
  kFailed,    // The handler threw.
  kDeadlock,  // Dropped to break a cycle of waits.
  kShutdown,  // The drain's deadline came first.
};
inline constexpr int kDropReasonCount = 5;
std::string_view DropReasonName(DropReason reason);

struct Ledger {
  // User messages. Counted at the sender when the credit is taken and the message leaves.
  int64_t sent = 0;
  int64_t delivered = 0;
  std::array<int64_t, kDropReasonCount> dropped{};
  // In mailboxes. A message in a lane counts as sent by one worker, and not yet as held by the
  // other.
  int64_t held = 0;

  // Reserved messages: Down and replies.
  int64_t reserved_sent = 0;
  int64_t reserved_delivered = 0;
  int64_t reserved_dropped = 0;
  int64_t reserved_held = 0;

  // Outboxes of parked actors: parked = left + dropped + held. Messages that left count as sent
  // above.
  int64_t parked = 0;
  int64_t parked_left = 0;
  std::array<int64_t, kDropReasonCount> parked_dropped{};
  int64_t parked_held = 0;

  // Answers that were not `accepted`: the message stayed with its sender.
  int64_t refused_full = 0;
  int64_t refused_closed = 0;
  int64_t refused_overloaded = 0;

  int64_t spawned = 0;
  int64_t spawn_refused = 0;  // actors_max.
  int64_t failed = 0;         // Exceptions that left a handler or a constructor, and escalations.
  int64_t restarted = 0;      // Failed actors that were recreated.
  int64_t escalated = 0;      // Children that failed too often, and so failed their parents.
  int64_t replies_late = 0;   // Came after the question's deadline, or after a restart.
  int64_t wait_cycles = 0;    // Found, and named in the log.
  int64_t slow_handlers = 0;
  int64_t periods_skipped = 0;  // By periodic timers that were late by more than a period.

  Ledger& operator+=(const Ledger& other);
  int64_t DroppedTotal() const;
  int64_t ParkedDroppedTotal() const;
  bool Balanced() const;  // At rest: every message is accounted for.
  std::string ToString() const;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_LEDGER_H_
