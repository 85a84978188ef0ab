// ActorExtra is what few actors need, so slots do not carry it: a name, an outbox, monitors,
// questions, timers, children.
//
// Owner:  the slot; made when first needed, freed with the actor's end.
// Thread: the worker's.
// Bound:  outbox_messages_max, asks_max, timers_max, monitors_max; children by what was spawned.
// Errors: none: Actor refuses what is past a bound before it comes here.
#ifndef SLUICE_CORE_SLOT_ACTOR_EXTRA_H_
#define SLUICE_CORE_SLOT_ACTOR_EXTRA_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "sluice/core/base/lazy.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/slot/actor_timer.h"
#include "sluice/core/slot/coroutine.h"
#include "sluice/core/slot/held_mail.h"
#include "sluice/core/slot/open_questions.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/core/slot/timer.h"

namespace sluice {

class IoHandler;
class Worker;

// A timer of an actor, run as one of its handlers.
class UserTimer final : public ActorTimer {
 public:
  using ActorTimer::ActorTimer;
  void OnTimer(Worker& worker) override;

  absl::AnyInvocable<void(int64_t skipped)> callback;
  int64_t interval_ms = 0;  // 0: once.
};

class ProbeTimer : public Timer {
 public:
  explicit ProbeTimer(Slot* slot) : slot_(slot) {}
  void OnTimer(Worker& worker) override;

 private:
  Slot* slot_;
};

class LingerTimer : public Timer {
 public:
  explicit LingerTimer(Slot* slot) : slot_(slot) {}
  void OnTimer(Worker& worker) override;

 private:
  Slot* slot_;
};

// A hop in a chain of waits, as a probe saw it.
struct ProbeHop {
  uint32_t slot_id = 0;
  uint32_t generation = 0;
  uint32_t episode = 0;
  // By the clock of the actor's own worker: all actors that find the cycle agree on it.
  int64_t parked_ms = 0;
  std::string name;
  friend bool operator==(const ProbeHop& a, const ProbeHop& b) {
    return a.slot_id == b.slot_id && a.generation == b.generation && a.episode == b.episode;
  }
};

// Messages of a parked actor, in order. Only the head waits, for one of: a credit, a lane, memory.
struct Outbox {
  explicit Outbox(Slot* slot) : probe(slot) {}
  // Waits for a credit alone: a head with a credit that waits for a lane goes on by itself.
  bool WaitsForCredit() const {
    return waiting > 0 && paid == 0 && !waits_for_lane && !waits_for_memory;
  }
  EnvelopeList list;
  uint32_t count = 0;
  uint32_t paid = 0;       // Leading messages that have their credit.
  uint32_t waiting = 0;    // Credits that the head's target still owes us.
  uint32_t uncharged = 0;  // 0 or 1: the last message is not charged yet; memory was spent.
  uint32_t episode = 0;    // Number of this wait for a credit; each wait has another.
  bool waits_for_lane = false;
  bool waits_for_memory = false;
  int64_t parked_since_ms = 0;
  int probes_sent = 0;        // In this wait.
  uint32_t probe_number = 0;  // The last probe sent.
  uint32_t confirming = 0;    // The probe sent after `last_round` had come back.
  ProbeTimer probe;
  // The cycle that a probe returned, until a later one confirms it.
  std::unique_ptr<std::vector<ProbeHop>> last_round;
};

struct Watcher {
  Watcher(Slot* watching, MonitorId id);  // On the worker of `watching`.
  Slot* slot;
  uint32_t generation;
  // The id at that time: after the runtime of `slot` has ended, the next runtime renumbers the
  // slot.
  uint32_t slot_id;
  MonitorId monitor;
  // Ordered by numbers, not by addresses: the order in which monitors are notified must repeat.
  // Only for slots of two runtimes, which may have equal numbers, the address decides.
  friend bool operator<(const Watcher& a, const Watcher& b);
};

class DownListener;

// A monitored actor. After Demonitor() the entry counts towards monitors_max until the target's
// worker confirms the removal. This bounds the orders on their way, too.
struct Watched {
  Slot* target = nullptr;
  uint32_t generation = 0;
  bool taken_back = false;
  DownListener* listener = nullptr;  // A task that waits for the end; nullptr: OnDown.
};

struct Child {
  Slot* slot = nullptr;
  uint32_t generation = 0;
  bool stopped = false;  // Lingers, and runs no handlers any more.
};

// Sorted ids: the fate of each entry must not depend on hash order, as a run repeats exactly.
template <class Map>
std::vector<uint64_t> IdsInOrder(const Map& map) {
  std::vector<uint64_t> ids;
  ids.reserve(map.size());
  for (const auto& [id, entry] : map) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Takes out timers or questions in the order of their ids, over several calls. The ids are sorted
// only once: to sort the remaining ids in each call would be quadratic.
class IdsToForget {
 public:
  // Calls forget(id), which answers whether there was still such an entry and it is gone now, for
  // at most `most` entries. `all` answers the ids of those that are left. Answers how many are
  // gone.
  template <class Ids, class F>
  int Take(Ids&& all, int most, F&& forget) {
    int taken = 0;
    while (taken < most) {
      if (ids_ == nullptr || ids_->empty()) {
        ids_ = std::make_unique<std::vector<uint64_t>>(all());
        if (ids_->empty()) break;
        std::reverse(ids_->begin(), ids_->end());
      }
      const uint64_t id = ids_->back();
      ids_->pop_back();
      taken += forget(id) ? 1 : 0;
    }
    if (ids_ != nullptr && ids_->empty()) ids_ = nullptr;
    return taken;
  }

 private:
  std::unique_ptr<std::vector<uint64_t>> ids_;  // Next id last.
};

struct ActorExtra {
  explicit ActorExtra(Slot* slot) : outbox(slot) {}
  bool LingerArmed() const { return linger != nullptr && linger->Armed(); }
  // True: a question or a blocking call is open, so its callback is still to run.
  bool AsksOpen() const { return AskCount() > asks_over; }
  size_t AskCount() const { return asks == nullptr ? 0 : asks->Size(); }
  // nullptr: no such question is open.
  OpenQuestion* FindAsk(AskId id) { return asks == nullptr ? nullptr : asks->Find(id); }
  // nullptr: there is no such timer or question any more.
  ActorTimer* FindTimer(uint64_t id) {
    if ((id & kQuestionBit) != 0) return FindAsk(id);
    const auto found = timers.find(id);
    return found == timers.end() ? nullptr : found->second.get();
  }

  std::string name;
  Outbox outbox;
  Lazy<absl::btree_set<Watcher>> watchers;             // Actors that monitor this one.
  Lazy<absl::btree_map<MonitorId, Watched>> watching;  // Ordered, as the end walks it.
  std::unique_ptr<OpenQuestions> asks;                 // Made when first needed.
  // Questions whose callback has run or never will, and that wait for a late reply.
  uint32_t asks_over = 0;
  uint32_t parent_generation = 0;
  // Keeps its memory. Walked by IdsInOrder() only.
  Lazy<absl::flat_hash_map<TimerId, std::unique_ptr<UserTimer>>> timers;
  Coroutines tasks;
  std::unique_ptr<HeldMail> held_mail;  // Made when first needed.
  // While the actor ends or restarts: ids of its timers, then of its asks.
  IdsToForget forgetting;
  std::vector<uint64_t> due_timers;                 // Ids of ActorTimers; fired while parked.
  Lazy<absl::btree_map<uint64_t, Child>> children;  // In order of spawn.
  uint64_t last_child = 0;
  // While the actor ends or restarts: all children from this one on have been told to stop.
  uint64_t stop_below = 0;
  Slot* parent = nullptr;
  uint64_t child_order = 0;             // This actor's key among its parent's children.
  const Slot* restarting = nullptr;     // The restarting ancestor that waits for this actor's end.
  std::unique_ptr<Restart> restart;     // How to recreate the actor; nullptr: never.
  uint64_t last_id = 0;                 // Shared by monitors and timers.
  std::unique_ptr<LingerTimer> linger;  // Made when first armed.
  bool linger_over = false;
  bool start_first = false;     // Stopped before its OnStart: OnStart still runs first.
  bool io_awaits_asks = false;  // Each callback of a question is followed by a turn of Slot::io.
  EndReason reason = EndReason::kStopped;
  std::string reason_text;
};
static_assert(sizeof(ActorExtra) <= 344);

// Memory of an actor with a name, a parent or an end, besides its slot: ActorExtra, as the
// allocator serves it (in steps of 16, with 8 for itself); the Restart that recreates the actor
// with arguments of a few words; and the entry among its parent's children, in a node that is at
// least half full.
inline constexpr int64_t kActorExtraBytes =
    (static_cast<int64_t>(sizeof(ActorExtra)) + 8 + 15) / 16 * 16 +
    (static_cast<int64_t>(sizeof(Restart)) + 8 + 15) / 16 * 16 +
    2 * static_cast<int64_t>(sizeof(std::pair<uint64_t, Child>));

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_ACTOR_EXTRA_H_
