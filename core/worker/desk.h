// Desk is what the parts of one worker share: the state of all workers, the clock, the worker's
// stocks of memory and envelopes, its ledger, and the actors that have something to do.
//
// Owner:  the worker; each of its parts holds a reference.
// Thread: the worker's, except `index`, `os`, `options` and `shared`, which do not change, and
//         `running` (running.h).
// Bound:  that of its members.
// Errors: none.
#ifndef SLUICE_CORE_WORKER_DESK_H_
#define SLUICE_CORE_WORKER_DESK_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/mailbox/ledger.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/frame_pool.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/core/slot/coroutine.h"
#include "sluice/core/slot/home.h"
#include "sluice/core/slot/run_queue.h"
#include "sluice/core/slot/shared.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/worker/handler_clock.h"
#include "sluice/core/worker/running.h"

// For the doors of a worker's parts, and of what lives on a worker: ends the process if another
// thread comes in. Not for each message: those are too many.
#define SLUICE_CHECK_ON_WORKER(desk) \
  SLUICE_CHECK((desk).OnWorker(),    \
               "called on another thread than the worker's own: send the actor a message instead")

namespace sluice {

// How far a drain has come on one worker. Each mark stays once it is set.
struct DrainMarks {
  bool begun = false;
  bool closing = false;
  bool insists = false;        // Half of the drain's time is over.
  bool roots_stopped = false;  // A root that arrives later is stopped at once.
  bool gate_stopped = false;   // The gate of the blocking pool ends last.
  bool shutdown = false;       // The drain's deadline has come.
};

struct Desk {
  static constexpr int64_t kSliceNs = 1'000'000;  // A slice lasts no longer, but for one handler.
  // The most items (messages, timers, monitors, children) that one step of an end or of a restart
  // handles: a full mailbox does not hold the worker.
  static constexpr int kStepMax = 256;
  // The share of a turn that each class of work has: mail, timers, actors, descriptors, output.
  static constexpr int64_t kTurnNs = 1'000'000;

  Desk(Shared& of, Worker& its_worker, int its_index);
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  int64_t NowMs() const { return clock.NowMs(); }  // The time of this turn, a moment old.
  int64_t NowNs() const { return clock.NowNs(); }
  void NoteHandler(const Slot* slot, const char* what, const void* of) {
    if (clock.Note(slot, what, of)) ReadClock();
  }
  void ReadClock() { ledger.slow_handlers += clock.Read(/*slept=*/polled); }

  void Schedule(Slot* slot) { run_queue.Push(slot); }
  void ScheduleIfRunnable(Slot* slot) {
    const bool mail = !slot->queue.Empty() && !slot->MailHeld();
    if (slot->Runnable() && (mail || slot->state == ActorState::kStarting)) Schedule(slot);
  }
  // Puts a message with its credit and its charge into the mailbox of an actor that lives here.
  void TakeIn(Slot* slot, Envelope* envelope) {
    ++ledger.held;
    slot->mailbox.Arrived();
    slot->queue.Push(envelope);
    if (!slot->scheduled) ScheduleIfRunnable(slot);
  }
  // A message or an order has come for an actor that another thread placed here, before the order
  // that constructs it: from now on the slot holds that actor. Does nothing for a stale handle.
  void AdoptPlaced(Slot* slot, uint32_t generation);
  // Made when first needed.
  ActorExtra& Extra(Slot* slot);

  // True: this thread runs the worker's turns now; or no thread runs any, so any thread may prepare
  // the worker or look at it.
  bool OnWorker() const {
    return current_worker == &worker || !shared.turning.load(std::memory_order_relaxed);
  }
  // Does `other` belong to this runtime? A worker of another runtime may be gone.
  bool IsOurs(const Worker* other) const { return Home::Of(other).IsOf(shared.runtime); }
  static bool Live(const Slot* slot, uint32_t generation) {
    return slot->mailbox.Admits(generation);
  }

  // The worker that this thread runs; nullptr on outside threads.
  static thread_local constinit Worker* current_worker;

  Shared& shared;
  Worker& worker;  // To compare with a slot's worker, and for control.
  Os& os;
  const Options& options;
  const int index;
  HandlerClock clock;
  // The last turn ended with a poll: the time since the last look at the clock is no gap, and the
  // next turn need not begin with a poll.
  bool polled = false;

  EnvelopePool pool;
  Lease lease;
  FramePool frames;
  Ledger ledger;
  TimerWheel timers;
  RunQueue run_queue;
  // The actor that runs a handler, or code that counts as one (HandlerScope).
  Slot* current = nullptr;
  CoroutineRuns coroutine_runs;
  Running running;
  int64_t actor_count = 0;  // Actors that live or end here.
  DrainMarks drain;
};

// While a HandlerScope exists, user code runs for `slot`, and its messages keep their order. The
// code is a handler, or counts as one: a constructor, a destructor, a filter. An end that the code
// asks for begins after the code has returned: the actor's own end at once, another actor's end in
// that actor's next turn.
class HandlerScope {
 public:
  // `what` and `type` (mangled, or nullptr) are static.
  HandlerScope(Desk& desk, Slot* slot, const char* what, const char* type)
      : desk_(desk),
        before_(std::exchange(desk.current, slot)),
        running_(desk.running, slot, what, type) {}
  ~HandlerScope() { desk_.current = before_; }
  HandlerScope(const HandlerScope&) = delete;
  HandlerScope& operator=(const HandlerScope&) = delete;

 private:
  Desk& desk_;
  Slot* const before_;
  const Running::Scope running_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_DESK_H_
