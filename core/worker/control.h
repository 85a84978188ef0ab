// Runtime control: what workers say to each other. No handler sees it, nothing refuses it, and each
// belongs to a reservation or is an idempotent bit, so their number is bounded
// (docs/architecture.md, "Control").
//
// Owner:  the envelope it travels in.
// Thread: made on the sender's, run on the receiving worker's.
// Bound:  as said of each: what reserved it.
// Errors: none: one for an actor that has ended is known by its generation, and ignored or sent
//         back.
#ifndef SLUICE_CORE_WORKER_CONTROL_H_
#define SLUICE_CORE_WORKER_CONTROL_H_

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// To a full target: its waiter wants so many credits. Reserved by the park: one for each parked
// actor.
struct WaitControl {
  Slot* waiter;
  uint32_t generation;
  uint32_t episode;
  uint32_t wanted;
  void Run(Worker& worker, Slot* target, uint32_t target_generation) const {
    worker.OnWait(target, target_generation,
                  Waiter{reinterpret_cast<uint64_t>(waiter), generation, episode, wanted});
  }
};

// To the target: the waiter ended or gave up.
struct CancelControl {
  Slot* waiter;
  uint32_t generation;
  void Run(Worker& worker, Slot* target, uint32_t target_generation) const {
    worker.OnCancel(target, target_generation, reinterpret_cast<uint64_t>(waiter), generation);
  }
};

// To the waiter: so many of your messages to `target` are paid.
struct GrantControl {
  Slot* target;
  uint32_t target_generation;
  uint32_t episode;
  uint32_t credits;
  void Run(Worker& worker, Slot* waiter, uint32_t generation) const {
    worker.OnGrant(waiter, generation, episode, credits, target, target_generation);
  }
};

// To the waiter: the target has ended.
struct ClosedControl {
  uint32_t episode;
  void Run(Worker& worker, Slot* waiter, uint32_t generation) const {
    worker.OnTargetClosed(waiter, generation, episode);
  }
};

// To the target: credits whose waiter ended, or whose messages were dropped.
struct GrantBackControl {
  uint32_t credits;
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.OnGrantBack(target, generation, credits);
  }
};

// To a sender whose lane was full: there is room again.
struct LaneRoomControl {
  int to_worker;
  void Run(Worker& worker, Slot*, uint32_t) const { worker.OnLaneRoom(to_worker); }
};

// To a child or from a Ref: stop. The word's stop bit was turned by this one sender. To a child
// whose parent (or an ancestor, `restarting`) fails and is made anew: once for each of its lives.
struct StopControl {
  EndReason reason;
  const Slot* restarting = nullptr;
  int rounds = kMailRoundsMax;
  void Run(Worker& worker, Slot* slot, uint32_t generation) const {
    if (restarting != nullptr) worker.NoteRestarting(slot, generation, restarting);
    if (!worker.Live(slot, generation)) return;
    if (reason == EndReason::kShutdown && restarting == nullptr) {
      worker.StopBehindMail(slot, rounds);
    } else {
      worker.Stop(slot, reason, "");
    }
  }
  // So often an actor that a drain stops finds new mail behind what it has handled, at most.
  static constexpr int kMailRoundsMax = 1'000;
};

// To the parent, reserved by the spawn. It ended; or it runs no handler any more, and lingers: the
// next of the parent's children may stop.
struct ChildEndedControl {
  uint64_t order;
  bool lingers = false;
  void Run(Worker& worker, Slot* parent, uint32_t generation) const {
    worker.ChildEnded(parent, generation, order, lingers);
  }
};

// To the parent: a child has failed more often than its policy allows. Once, before its end.
struct EscalateControl {
  std::unique_ptr<std::string> text;
  void Run(Worker& worker, Slot* parent, uint32_t generation) const {
    worker.Escalate(parent, generation, std::move(*text));
  }
};

struct WatchControl {
  Watcher watcher;
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.AddWatcher(target, generation, watcher);
  }
};

// To the monitor: what it has taken back is forgotten here, and its place is free again.
struct UnwatchedControl {
  MonitorId monitor;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation == generation && slot->extra != nullptr)
      slot->extra->watching.erase(monitor);
  }
};

struct UnwatchControl {
  Watcher watcher;
  bool answered = true;  // Not by the end of the monitor.
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.RemoveWatcher(target, generation, watcher);
    if (!answered) return;
    Worker::Post(*watcher.slot->worker, watcher.slot, watcher.generation,
                 UnwatchedControl{watcher.monitor});
  }
};

static_assert(Envelope::kInline<WatchControl> && Envelope::kInline<UnwatchControl>);

// Follows the edges of who waits for whom: see park.cc. One on its way for each parked actor.
struct ProbeControl {
  std::unique_ptr<std::vector<ProbeHop>> hops;
  Slot* origin = nullptr;
  uint32_t origin_generation = 0;
  uint32_t origin_episode = 0;
  uint32_t number = 0;
  bool confirms = false;  // The second round.
  void Run(Worker& worker, Slot* slot, uint32_t generation) {
    worker.OnProbe(slot, generation, *this);
  }
};

// To the last one to park of a cycle of waits: break it. One for each cycle that was found; the
// episode says whether that wait still stands.
struct BreakWaitControl {
  uint32_t episode;
  std::unique_ptr<std::string> cycle;  // For the reason of who fails.
  void Run(Worker& worker, Slot* slot, uint32_t generation) const {
    worker.OnBreakWait(slot, generation, episode, *cycle);
  }
};

// To a worker: makes the actor that was placed there.
struct PlaceControl {
  std::unique_ptr<absl::AnyInvocable<void(Worker&, Slot*)>> make;
  void Run(Worker& worker, Slot* slot, uint32_t) { (*make)(worker, slot); }
};

// To a worker: runs `call` on its thread. For the Runtime's own orders.
struct CallControl {
  std::unique_ptr<absl::AnyInvocable<void(Worker&)>> call;
  void Run(Worker& worker, Slot*, uint32_t) { (*call)(worker); }
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_CONTROL_H_
