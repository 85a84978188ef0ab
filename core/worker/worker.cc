#include "sluice/core/worker/worker.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>

#include "sluice/core/base/atomics.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/home.h"

namespace sluice {

namespace {

// 1 to 5 us are useless: a wake across cores takes about 30 us.
constexpr int64_t kSpinMinNs = 20'000;
constexpr int64_t kSpinMaxNs = 50'000;
constexpr int kSpinRoundsMax = 500;
// Looks for mail between two looks at the clock: a few microseconds.
constexpr int kSpinLooks = 32;
// While mail keeps coming, a worker does not sleep; it polls at least this often.
constexpr int64_t kPollEveryNs = 100'000;
// Timers that run between two looks at the clock, if they run no handler.
constexpr int kLookEvery = 16;

}  // namespace

Worker::Worker(Shared& shared, int index)
    : desk_(shared, *this, index),
      mail_(desk_, &ArriveOtherwise),
      cycles_(desk_),
      parking_(desk_, mail_, cycles_),
      descriptors_(desk_, mail_),
      memory_(desk_, descriptors_, parking_),
      family_(desk_),
      holds_(desk_),
      life_(desk_, parking_, descriptors_, family_, holds_, restarts_),
      restarts_(desk_, parking_, family_, holds_, life_),
      drain_(desk_, mail_, descriptors_, holds_, life_) {}

Worker::~Worker() {
  // Pays a debt: other workers may have refunded what this worker overdrew.
  desk_.lease.ReturnIdle();
  descriptors_.Bury();
}

// --- Running.

void Worker::RunActors() {
  const int64_t stop_ns = NowNs() + Desk::kTurnNs;
  int slices = 0;
  while (!desk_.run_queue.Empty()) {
    RunSlice(desk_.run_queue.Pop());
    mail_.RunLocalControl();
    if ((++slices & 7) == 0 && mail_.HasStaged()) mail_.Flush();
    if ((slices & 63) == 0) desk_.ReadClock();
    if (NowNs() >= stop_ns) break;
  }
}

void Worker::DeliverReserved(Slot* slot, Envelope* envelope) {
  try {
    envelope->Ops()->handle(slot->actor, *envelope);
    ++desk_.ledger.reserved_delivered;
  } catch (...) {
    ++desk_.ledger.reserved_dropped;
    life_.Fail(slot, std::current_exception());
  }
  --desk_.ledger.reserved_held;  // Not earlier: a handler that reads the ledger finds it balanced.
}

// Used in RunSlice's loop only. Inline, as handling a message costs about as much as three calls.
[[gnu::always_inline]] inline void Worker::Deliver(Slot* slot, Envelope* envelope) {
  const MessageOps* ops = envelope->Ops();
  desk_.running.Message(ops);
  desk_.lease.Refund(envelope->charge);  // The handler's own messages may use the memory.
  if (ops->kind == MessageKind::kUser) [[likely]] {
    slot->mailbox.Left();
    try {
      ops->handle(slot->actor, *envelope);
      ++desk_.ledger.delivered;
    } catch (...) {
      ++desk_.ledger.dropped[static_cast<int>(DropReason::kFailed)];
      life_.Fail(slot, std::current_exception());
    }
    --desk_.ledger.held;
    if (slot->mailbox.HasWaiters()) [[unlikely]]
      parking_.IssueGrants(slot);
  } else {
    DeliverReserved(slot, envelope);
  }
  desk_.pool.Put(envelope);
  desk_.NoteHandler(slot, nullptr, ops);
}

void Worker::RunSlice(Slot* slot) {
  if (slot->state != ActorState::kLive) [[unlikely]] {
    if (slot->state == ActorState::kLingering) {
      life_.EndStep(slot);
      return;
    }
    if (slot->state == ActorState::kStopping) {
      family_.StopNextChild(slot);
      return;
    }
    if (slot->state == ActorState::kRestarting) {
      restarts_.Step(slot);
      return;
    }
    if (slot->state != ActorState::kStarting || slot->actor == nullptr) return;
    if (slot->stop_asked) {
      life_.BeginStop(slot);  // Told to stop in another actor's handler.
      return;
    }
    if (!slot->Runnable()) return;
    life_.RunStart(slot);
  }
  desk_.current = slot;
  desk_.running.Slice(slot);
  desk_.clock.BeginShare(Desk::kSliceNs);
  for (int handled = 0; handled < kSliceMessagesMax; ++handled) {
    if (slot->queue.Empty()) break;
    if (!slot->TakesMail()) [[unlikely]] {
      if (!slot->TakesReserved()) break;
      if (holds_.SetAside(slot)) continue;
    }
    Deliver(slot, slot->queue.Pop());
    if (TurnOver()) break;
  }
  desk_.current = nullptr;
  desk_.running.Slice(nullptr);
  EndOfHandlers(slot);
}

// After a handler or a slice of them: output leaves, credits are granted, and the actor parks,
// stops or goes on.
void Worker::EndOfHandlers(Slot* slot) {
  // Not inside another actor's handler: a socket's failure would end the state that this handler is
  // using.
  if (descriptors_.HasOutput() && desk_.current == nullptr) {
    descriptors_.RunFlushList(Descriptors::kHandlerNs);
  }
  if (slot->TakesMail() && !slot->mailbox.OwesCredits()) [[likely]] {
    if (!slot->queue.Empty()) desk_.Schedule(slot);
    return;
  }
  if (slot->state == ActorState::kFree) return;
  if (slot->mailbox.HasWaiters()) parking_.IssueGrants(slot);
  if (!slot->mailbox.Closed()) slot->mailbox.Publish(slot->generation);
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) {
    return;  // The actor failed, or has ended.
  }
  if (slot->has_outbox && !slot->parked) {
    parking_.FlushOutbox(slot);
    // A parked actor frees no more credits: grant what is free now, however little.
    if (slot->parked && slot->mailbox.HasWaiters()) parking_.IssueGrants(slot);
  }
  if (slot->stop_asked && slot->state != ActorState::kStopping) {
    life_.BeginStop(slot);
    return;
  }
  desk_.ScheduleIfRunnable(slot);
}

// Runs timers that were due when the turn began, until the timers' share ends; the rest stay due.
void Worker::RunTimers(int64_t due_ms) {
  int64_t stop_ns = NowNs() + Desk::kTurnNs;
  SLUICE_PLANT(turn_unshared, stop_ns = TimerWheel::kNever);
  desk_.timers.BeginRound(due_ms);
  for (int ran = 1;; ++ran) {
    TimerNode* node = desk_.timers.PopDue(due_ms);
    if (node == nullptr) break;
    auto* timer = static_cast<Timer*>(node);
    IoHandler* const io = timer->Awaits();
    BeginShare(Desk::kSliceNs);
    if (io != nullptr && io->OnReadyList() && !node->Deferred()) {
      // The timer fires after the descriptor's turn, unless the new events move the timer or end
      // its owner. It fires even if more events have come by then.
      desk_.timers.Defer(*node);
      descriptors_.TakeTurn(io);
    } else {
      timer->OnTimer(*this);
    }
    if (descriptors_.HasOutput()) descriptors_.RunFlushList(Descriptors::kHandlerNs);
    mail_.RunLocalControl();
    if (ran % kLookEvery == 0) desk_.ReadClock();
    if (NowNs() >= stop_ns) {
      timers_left_ = desk_.timers.NextMs() <= due_ms;
      break;
    }
  }
  desk_.timers.EndRound();
}

// --- One turn.

bool Worker::Turn(int64_t wait_until_ms) {
  SLUICE_CHECK_ON_WORKER(desk_);
  drain_.PublishWork();
  if (Draining()) drain_.rest().CountStep();
  desk_.ReadClock();
  // Deadlines up to now are judged in this turn, after what had arrived by now.
  const int64_t due_ms = NowMs();
  const bool polled = std::exchange(desk_.polled, false);
  const bool mail_found = std::exchange(mail_found_, false);
  if (polled) polled_ns_ = NowNs();
  bool timers_due = desk_.timers.NextMs() <= due_ms;
  SLUICE_PLANT(judged_before_poll, timers_due = false);
  if (timers_due || (!polled && !mail_found) || NowNs() - polled_ns_ >= kPollEveryNs) {
    if (mail_.HasStaged()) mail_.Flush();  // From mail that was found before the worker slept.
    Poll(0);
    polled_ns_ = NowNs();
  }
  mail_.Drain();
  mail_.RunLocalControl();
  RestBesideTimers();
  timers_left_ = false;
  if (desk_.timers.NextMs() <= due_ms) RunTimers(due_ms);
  drain_.PublishWork();
  if (!desk_.run_queue.Empty()) RunActors();
  if (!tasks_.Empty()) RunTasks();
  descriptors_.RunReady();
  // Before the stages are flushed: actors that get memory here may send to other workers.
  if (desk_.shared.budget->Spent()) memory_.PauseReading();
  if (memory_.Active()) memory_.Check();
  mail_.RunLocalControl();
  if (descriptors_.HasOutput()) descriptors_.RunFlushList(Desk::kTurnNs);
  mail_.Flush();
  if (desk_.clock.HasNoted()) desk_.ReadClock();
  const bool goes_on = HasWork() || !stop_turning_;
  if (!HasWork() && goes_on) Sleep(wait_until_ms);
  if (timers_left_) RestBesideTimers();  // For a coordinator that runs the turns itself.
  descriptors_.Bury();
  return goes_on;
}

bool Worker::SharesProcessor(int processor) const {
  if (processor < 0) return false;
  for (const Worker* const other : desk_.shared.workers) {
    if (other != this && other->processor_.load(std::memory_order_relaxed) == processor)
      return true;
  }
  return false;
}

// True: mail came within the spin time. A worker that waits for this very processor cannot send any
// meanwhile.
bool Worker::Spin() {
  const int processor = desk_.os.Processor();
  processor_.store(processor, std::memory_order_relaxed);
  const int64_t start_ns = desk_.os.NowNs();
  // Bounded by rounds too: a simulated clock stands still between turns.
  for (int round = 0; round < kSpinRoundsMax && !SharesProcessor(processor); ++round) {
    for (int look = 0; look < kSpinLooks; ++look) {
      if (mail_.Drain()) return true;
      PauseProcessor();
    }
    if (desk_.os.NowNs() - start_ns >= spin_ns_) return false;
  }
  return false;
}

void Worker::Sleep(int64_t wait_until_ms) {
  // A worker spins only if other workers sent it mail since its last sleep, or since the sleep
  // before that. A worker that only serves sockets never spins.
  if (mail_.CameFromWorkers())
    spin_ns_ = std::clamp<int64_t>(spin_ns_ + spin_ns_ / 2, kSpinMinNs, kSpinMaxNs);
  if (spin_ns_ > 0) {
    if (Spin()) {
      mail_found_ = true;
      return;
    }
    desk_.ReadClock();
  }
  spin_ns_ = spin_ns_ / 2 < kSpinMinNs ? 0 : spin_ns_ / 2;
  desk_.lease.ReturnIdle();
  mail_.sleep_word().FallAsleep();
  // An outside sender that is refused memory first marks the budget as spent, then wakes a worker
  // (Mail::ReserveOutside; its exchange and the one above order the two). If that happened before
  // FallAsleep(), no signal was sent, so check the budget again here.
  if (mail_.Drain() || mail_.HasLocalControl() ||
      (!memory_.ReadingPaused() && desk_.shared.budget->Spent())) {
    mail_found_ = true;
    mail_.sleep_word().WakeUp();
    return;
  }
  const int64_t until_ms =
      std::min({wait_until_ms, desk_.timers.NextMs(),
                memory_.Active() ? NowMs() + MemoryWatch::kCheckMs : TimerWheel::kNever});
  int64_t timeout_ns = -1;
  if (until_ms != TimerWheel::kNever) {
    constexpr int64_t kWaitMaxMs = int64_t{1} << 30;
    timeout_ns = until_ms - NowMs() > kWaitMaxMs
                     ? kWaitMaxMs * 1'000'000
                     : std::max<int64_t>(0, until_ms * 1'000'000 - NowNs());
  }
  // The worker rests until an event or its next turn: a coordinator that runs the turns itself
  // looks in between.
  if (Draining()) drain_.Publish(true);
  if (timeout_ns != 0) desk_.clock.WillSleep();
  processor_.store(-1, std::memory_order_relaxed);
  Poll(timeout_ns);
  processor_.store(desk_.os.Processor(), std::memory_order_relaxed);
  desk_.polled = true;
  mail_.sleep_word().WakeUp();
}

void Worker::Poll(int64_t timeout_ns) {
  descriptors_.Poll(timeout_ns, [this] { drain_.PublishWork(); });
}

// If timers are late turn after turn, a worker never sleeps, and a drain would never find it at
// rest. So in a drain a worker rests when it has only timers to run, also while they run: their
// messages count as if the timers had fired a moment later.
void Worker::RestBeside() {
  if (!HasMoreThanTimers() && !mail_.HasStaged()) drain_.Publish(true);
}

// Runs one portion of each task in turn, until the tasks' share of the turn ends.
void Worker::RunTasks() {
  const int64_t stop_ns = NowNs() + Desk::kTurnNs;
  while (TurnTask* const task = tasks_.PopFront()) {
    BeginShare(Descriptors::kHandlerNs);
    task->OnTurn();
    if (descriptors_.HasOutput()) descriptors_.RunFlushList(Desk::kTurnNs);
    mail_.RunLocalControl();
    desk_.ReadClock();
    if (NowNs() >= stop_ns) break;
  }
}

// --- Messages.

Answer Worker::Refuse(Answer answer) {
  desk_.ledger.refused_full += answer == Answer::kFull;
  desk_.ledger.refused_closed += answer == Answer::kClosed;
  desk_.ledger.refused_overloaded += answer == Answer::kOverloaded || answer == Answer::kTooLarge;
  return answer;
}

bool Worker::Route(Worker& to, Envelope& envelope, int64_t bytes) {
  Worker* const here = Desk::current_worker;
  if (here == nullptr || !here->desk_.IsOurs(&to)) return RouteOutside(to, envelope, bytes);
  if (bytes > 0 && bytes <= Envelope::kChargeMax && here->desk_.lease.ChargeOverdraft(bytes)) {
    envelope.charge = static_cast<uint32_t>(bytes);
  }
  here->mail_.Route(to.mail_, envelope);
  return true;
}

// A thread that is not a worker of the runtime may touch the worker only under the lock of the
// worker's home, and only while the home is open.
bool Worker::RouteOutside(Worker& to, Envelope& envelope, int64_t bytes) {
  Home& home = Home::Of(&to);
  const std::lock_guard<std::mutex> lock(home.Lock());
  if (!home.IsOpen()) return false;
  to.mail_.EnqueueReservedOutside(envelope, bytes);
  return true;
}

Answer Worker::BeginOutside(Worker& to, Slot* target, uint32_t generation, int64_t charge) {
  Home& home = Home::Of(&to);
  std::unique_lock<std::mutex> lock(home.Lock());
  if (!home.IsOpen()) return Answer::kClosed;
  const Answer answer = to.mail_.ReserveOutside(target, generation, charge);
  if (answer == Answer::kOverloaded && to.TooLarge(charge)) return Answer::kTooLarge;
  if (answer == Answer::kAccepted) lock.release();  // CommitOutside unlocks.
  return answer;
}

void Worker::CommitOutside(Worker& to, Envelope& envelope) {
  const std::lock_guard<std::mutex> lock(Home::Of(&to).Lock(), std::adopt_lock);
  to.mail_.EnqueueOutside(envelope);
}

// For control, reserved messages, and messages for an actor that does not live here yet, or no
// longer.
void Worker::ArriveOtherwise(Worker& worker, Envelope* envelope) {
  Desk& desk = worker.desk_;
  Slot* slot = envelope->target;
  if (slot != nullptr && slot->generation != envelope->generation) {
    desk.AdoptPlaced(slot, envelope->generation);
  }
  const MessageKind kind = envelope->Ops()->kind;
  if (kind == MessageKind::kControl) {
    envelope->Ops()->handle(&worker, *envelope);
    desk.pool.Put(envelope);
  } else if (!Desk::Live(slot, envelope->generation)) {
    SLUICE_PLANT(charge_leaked, envelope->charge = 0);
    desk.lease.Refund(envelope->charge);
    if (kind == MessageKind::kReserved) {
      ++desk.ledger.reserved_dropped;
    } else {
      ++desk.ledger.dropped[static_cast<int>(DropReason::kTargetEnded)];
    }
    desk.pool.Put(envelope);
  } else if (kind == MessageKind::kReserved) {
    ++desk.ledger.reserved_held;
    slot->queue.Push(envelope);
    desk.ScheduleIfRunnable(slot);
  } else {
    desk.TakeIn(slot, envelope);
  }
}

// --- Handlers.

bool Worker::StartsFirst(Slot* slot) {
  life_.RunStart(slot);
  EndOfHandlers(slot);  // OnStart may have parked or stopped the actor.
  return slot->Runnable();
}

void Worker::DetachIo(Slot* slot) {
  memory_.Withdraw(descriptors_.Detach(slot));
  if (slot->state == ActorState::kLingering) desk_.Schedule(slot);
}

void Worker::OnBreakWait(Slot* slot, uint32_t generation, uint32_t episode,
                         const std::string& cycle) {
  if (!parking_.BreakWait(slot, generation, episode)) return;
  if (options().on_wait_cycle == OnWaitCycle::kFail) {
    life_.Fail(slot, std::make_exception_ptr(std::runtime_error("wait cycle: " + cycle)));
  }
  parking_.FlushOutbox(slot);
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return;
  if (slot->extra->outbox.WaitsForCredit()) cycles_.ProbeSoon(slot);
}

void Worker::CheckInvariants() const {
  desk_.timers.CheckInvariants();
  desk_.pool.CheckInvariants();
  desk_.run_queue.CheckInvariants();
  tasks_.CheckInvariants();
  mail_.CheckInvariants();
  descriptors_.CheckInvariants();
  memory_.CheckInvariants();
}

}  // namespace sluice
