// RestartPolicy says how often a failed actor is recreated in its slot. Restart is what the slot
// keeps for that.
//
// Owner:  RestartPolicy a plain value; Restart the ActorExtra of the slot.
// Thread: Restart: the slot's worker's.
// Bound:  restarts_max points in time; one copy of the constructor's arguments; asks_max numbers
//         while an incarnation is destroyed.
#ifndef SLUICE_CORE_SLOT_RESTART_POLICY_H_
#define SLUICE_CORE_SLOT_RESTART_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "sluice/core/base/language.h"
#include "sluice/core/mailbox/answer.h"

namespace sluice {

class Envelope;

class Worker;
struct Slot;

// For SpawnRestarting(). Spawn() and SpawnWith() never restart.
struct RestartPolicy {
  // At most this many restarts within this time. The next failure ends the actor, and its parent
  // fails too. 0: the first failure does.
  uint32_t restarts_max = 3;
  absl::Duration within = absl::Seconds(5);
  // The first restart within that time is immediate, the second waits for backoff_min, each later
  // one twice as long as the one before, at most backoff_max: the cause of a failure is seldom gone
  // in a moment. The actor's messages wait meanwhile, and then their senders.
  absl::Duration backoff_min = absl::Milliseconds(10);
  absl::Duration backoff_max = absl::Seconds(1);
};

struct Restart {
  Restart(const RestartPolicy& how, const char* type_name,
          absl::AnyInvocable<void(Worker&, Slot*)> maker)
      : policy(how), type(type_name), make(std::move(maker)) {}

  // The actor failed now. False: once too often. True: not_before_ms says when to recreate it.
  bool Allow(int64_t now_ms);
  std::string LimitText() const;  // "3 restarts within 5s"

  const RestartPolicy policy;
  const char* const type;  // The actor's, mangled.
  // Constructs the actor from copies of its arguments.
  absl::AnyInvocable<void(Worker&, Slot*)> make;
  bool constructed = false;  // Stays true: the spawn has not failed.
  int64_t not_before_ms = 0;
  // First in the mailbox when the actor was recreated; only compared, never dereferenced.
  const Envelope* found_due = nullptr;
  // Oldest first; the first `expired` are older than policy.within. (An empty deque, which would
  // need no such count, takes 600 bytes.)
  std::vector<int64_t> restarted_ms;
  size_t expired = 0;
  // While the failed actor is destroyed: its questions with callbacks still to destroy, the next
  // one last.
  std::vector<AskId> asks_left;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_RESTART_POLICY_H_
