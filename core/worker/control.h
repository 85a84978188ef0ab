// Runtime control: the orders that workers send each other. No handler sees a control message and
// nothing refuses it. Each belongs to a reservation or is an idempotent bit, so their number is
// bounded (docs/architecture.md, "Control").
//
// Owner:  the envelope it travels in.
// Thread: created on the sender's thread, run on the receiving worker's.
// Bound:  the reservation of each order, as noted there.
// Errors: none: an order for an ended actor is recognized by its generation, and ignored or sent
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
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// To a full target: the waiter wants `wanted` credits. Reserved by the park: one for each parked
// actor.
struct WaitControl {
  Slot* waiter;
  uint32_t generation;
  uint32_t episode;
  uint32_t wanted;
  void Run(Worker& worker, Slot* target, uint32_t target_generation) const {
    worker.parking().OnWait(
        target, target_generation,
        Waiter{reinterpret_cast<uint64_t>(waiter), generation, episode, wanted});
  }
};

// To the target: the waiter ended or gave up.
struct CancelControl {
  Slot* waiter;
  uint32_t generation;
  void Run(Worker& worker, Slot* target, uint32_t target_generation) const {
    worker.parking().OnCancel(target, target_generation, reinterpret_cast<uint64_t>(waiter),
                              generation);
  }
};

// To the waiter: `credits` of its messages to `target` have their credit.
struct GrantControl {
  Slot* target;
  uint32_t target_generation;
  uint32_t episode;
  uint32_t credits;
  void Run(Worker& worker, Slot* waiter, uint32_t generation) const {
    worker.parking().OnGrant(waiter, generation, episode, credits, target, target_generation);
  }
};

// To the waiter: the target has ended.
struct ClosedControl {
  uint32_t episode;
  void Run(Worker& worker, Slot* waiter, uint32_t generation) const {
    worker.parking().OnTargetClosed(waiter, generation, episode);
  }
};

// To the target: credits come back, because their waiter ended or dropped the messages.
struct GrantBackControl {
  uint32_t credits;
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.parking().OnGrantBack(target, generation, credits);
  }
};

// To a sender with a full lane: the lane has room again.
struct LaneRoomControl {
  int to_worker;
  void Run(Worker& worker, Slot*, uint32_t) const { worker.parking().OnLaneRoom(to_worker); }
};

// To a child, or from a Ref: stop. Sent by the one sender that turned the word's stop bit. If the
// parent or another ancestor (`restarting`) failed and is recreated, the order is sent even if the
// bit was turned before, once for each life of that ancestor.
struct StopControl {
  EndReason reason;
  const Slot* restarting = nullptr;
  int rounds = kMailRoundsMax;
  void Run(Worker& worker, Slot* slot, uint32_t generation) const {
    if (restarting != nullptr) worker.life().NoteRestarting(slot, generation, restarting);
    if (!Desk::Live(slot, generation)) return;
    if (reason == EndReason::kShutdown && restarting == nullptr) {
      worker.drain().StopBehindMail(slot, rounds);
    } else {
      worker.life().Stop(slot, reason, "");
    }
  }
  // The most rounds of new mail that a stopping actor handles in a drain, after the mail it had.
  static constexpr int kMailRoundsMax = 1'000;
};

// To the parent, reserved by the spawn: the child has ended; or it lingers and runs no handlers any
// more. The parent's next child may stop.
struct ChildEndedControl {
  uint64_t order;
  bool lingers = false;
  void Run(Worker& worker, Slot* parent, uint32_t generation) const {
    worker.life().ChildEnded(parent, generation, order, lingers);
  }
};

// To the parent: a child has failed more often than its policy allows. Sent once, before the
// child's end.
struct EscalateControl {
  std::unique_ptr<std::string> text;
  void Run(Worker& worker, Slot* parent, uint32_t generation) const {
    worker.life().Escalate(parent, generation, std::move(*text));
  }
};

struct WatchControl {
  Watcher watcher;
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.family().AddWatcher(target, generation, watcher);
  }
};

// To the monitor: its Demonitor() is done, and the place among monitors_max is free again.
struct UnwatchedControl {
  MonitorId monitor;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation == generation && slot->extra != nullptr)
      slot->extra->watching.erase(monitor);
  }
};

struct UnwatchControl {
  Watcher watcher;
  bool answered = true;  // False when the monitor ends or restarts.
  void Run(Worker& worker, Slot* target, uint32_t generation) const {
    worker.family().RemoveWatcher(target, generation, watcher);
    if (!answered) return;
    Worker::Post(*watcher.slot->worker, watcher.slot, watcher.generation,
                 UnwatchedControl{watcher.monitor});
  }
};

static_assert(Envelope::kInline<WatchControl> && Envelope::kInline<UnwatchControl>);

// Follows the chain of waits from each parked actor to its target (wait_cycles.cc). A parked actor
// sends probes ever more rarely (ArmProbe()), so few wait at a worker that is held.
struct ProbeControl {
  std::unique_ptr<std::vector<ProbeHop>> hops;
  Slot* origin = nullptr;
  uint32_t origin_generation = 0;
  uint32_t origin_episode = 0;
  uint32_t number = 0;
  bool confirms = false;  // The second round.
  void Run(Worker& worker, Slot* slot, uint32_t generation) {
    worker.wait_cycles().OnProbe(slot, generation, *this);
  }
};

// To the last actor to park in a wait cycle: break the cycle. One for each cycle that was found;
// `episode` tells whether that wait still stands.
struct BreakWaitControl {
  uint32_t episode;
  std::unique_ptr<std::string> cycle;  // For the failure reason.
  void Run(Worker& worker, Slot* slot, uint32_t generation) const {
    worker.OnBreakWait(slot, generation, episode, *cycle);
  }
};

// To a worker: constructs the actor that was placed there.
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
