#include "sluice/core/mailbox/ledger.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/mailbox/answer.h"

namespace sluice {

std::string_view AnswerName(Answer answer) {
  switch (answer) {
    case Answer::kAccepted:
      return "accepted";
    case Answer::kFull:
      return "full";
    case Answer::kClosed:
      return "closed";
    case Answer::kOverloaded:
      return "overloaded";
    case Answer::kTooLarge:
      return "too large";
    case Answer::kInvalid:
      return "invalid";
  }
  return "unknown";
}

std::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kStopped:
      return "stopped";
    case EndReason::kFailed:
      return "failed";
    case EndReason::kShutdown:
      return "shutdown";
    case EndReason::kNotFound:
      return "not found";
  }
  return "unknown";
}

std::string_view DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kTargetEnded:
      return "target ended";
    case DropReason::kSenderEnded:
      return "sender ended";
    case DropReason::kFailed:
      return "failed";
    case DropReason::kDeadlock:
      return "deadlock";
    case DropReason::kShutdown:
      return "shutdown";
  }
  return "unknown";
}

Ledger& Ledger::operator+=(const Ledger& other) {
  sent += other.sent;
  delivered += other.delivered;
  held += other.held;
  reserved_sent += other.reserved_sent;
  reserved_delivered += other.reserved_delivered;
  reserved_dropped += other.reserved_dropped;
  reserved_held += other.reserved_held;
  parked += other.parked;
  parked_left += other.parked_left;
  parked_held += other.parked_held;
  for (int i = 0; i < kDropReasonCount; ++i) {
    dropped[i] += other.dropped[i];
    parked_dropped[i] += other.parked_dropped[i];
  }
  refused_full += other.refused_full;
  refused_closed += other.refused_closed;
  refused_overloaded += other.refused_overloaded;
  spawned += other.spawned;
  spawn_refused += other.spawn_refused;
  failed += other.failed;
  restarted += other.restarted;
  escalated += other.escalated;
  replies_late += other.replies_late;
  wait_cycles += other.wait_cycles;
  slow_handlers += other.slow_handlers;
  periods_skipped += other.periods_skipped;
  return *this;
}

int64_t Ledger::DroppedTotal() const {
  int64_t sum = 0;
  for (int64_t count : dropped) sum += count;
  return sum;
}

int64_t Ledger::ParkedDroppedTotal() const {
  int64_t sum = 0;
  for (int64_t count : parked_dropped) sum += count;
  return sum;
}

bool Ledger::Balanced() const {
  return sent == delivered + DroppedTotal() + held &&
         reserved_sent == reserved_delivered + reserved_dropped + reserved_held &&
         parked == parked_left + ParkedDroppedTotal() + parked_held;
}

std::string Ledger::ToString() const {
  const auto reasons = [](const std::array<int64_t, kDropReasonCount>& counts) {
    std::string text;
    for (int i = 0; i < kDropReasonCount; ++i) {
      if (counts[i] == 0) continue;
      absl::StrAppend(&text, text.empty() ? " (" : ", ",
                      ToAbsl(DropReasonName(static_cast<DropReason>(i))), " ", counts[i]);
    }
    return text.empty() ? text : text + ")";
  };
  return absl::StrFormat(
      "ledger: messages sent %d = delivered %d + dropped %d%s + held %d; replies and Downs sent %d "
      "= delivered %d + "
      "dropped %d + held %d; parked %d = left %d + dropped %d%s + held %d; refused: full %d, "
      "closed %d, overloaded %d; "
      "late replies %d; actors spawned %d, refused %d, failed %d, restarted %d, escalated %d; slow "
      "handlers %d, timer periods skipped %d, wait cycles %d%s",
      sent, delivered, DroppedTotal(), reasons(dropped), held, reserved_sent, reserved_delivered,
      reserved_dropped, reserved_held, parked, parked_left, ParkedDroppedTotal(),
      reasons(parked_dropped), parked_held, refused_full, refused_closed, refused_overloaded,
      replies_late, spawned, spawn_refused, failed, restarted, escalated, slow_handlers,
      periods_skipped, wait_cycles,
      Balanced() ? "" : " (not balanced: messages are on their way, or a law is broken)");
}

}  // namespace sluice
