// Worker is one thread: an epoll instance, an inbox, a timer wheel, a run queue and the actors that
// live on it. All work is done in Turn(), so a test or a simulation can step a worker; the worker's
// thread only calls Turn() in a loop.
//
// Its parts, each with its own state; an arrow means "uses":
//
//   desk ◄── mail ◄── wait_cycles ◄── parking ◄── memory
//     ▲        ▲                         ▲
//     │     descriptors                family ◄── life ◄─► restarts
//     └── all parts                                 ▲         │
//                                                 drain ──► holds
//
// Owner:  the Runtime.
// Thread: the worker's own, except where a comment says otherwise; in a simulation, the thread that
//         steps the worker.
// Bound:  a slice handles kSliceMessagesMax messages, or lasts Desk::kSliceNs. In a turn, mail,
//         timers, actors, descriptors and output each get Desk::kTurnNs, or one piece of work if
//         that takes longer; the rest keeps its order and waits for the next turn. So a turn takes
//         at most about 5 ms plus one handler of each class. Each turn takes all events that the
//         poller has.
// Errors: an exception that leaves a handler ends that actor. The IoHandler concerned gets the
//         kernel's refusals as values. Only a poller that cannot be created is fatal, at start.
//
// A deadline is judged only after input that had arrived when it passed: a turn that finds due
// deadlines first polls and takes its mail. If a descriptor is ready, its deadlines are judged
// after its turn (Descriptors::JudgeAfterTurn, Timer::Awaits).
#ifndef SLUICE_CORE_WORKER_WORKER_H_
#define SLUICE_CORE_WORKER_WORKER_H_

#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/slot/turn_task.h"
#include "sluice/core/worker/descriptors.h"
#include "sluice/core/worker/desk.h"
#include "sluice/core/worker/drain_orders.h"
#include "sluice/core/worker/family.h"
#include "sluice/core/worker/life.h"
#include "sluice/core/worker/mail.h"
#include "sluice/core/worker/mail_holds.h"
#include "sluice/core/worker/memory_watch.h"
#include "sluice/core/worker/parking.h"
#include "sluice/core/worker/restarts.h"
#include "sluice/core/worker/wait_cycles.h"

namespace sluice {

class Runtime;

class Worker {
 public:
  static constexpr int kSliceMessagesMax = 64;

  Worker(Shared& shared, int index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The worker that this thread runs; nullptr on outside threads.
  static Worker* Current() { return Desk::current_worker; }

  // --- The thread.

  absl::Status Open() { return descriptors_.Open(); }  // Before the first Turn, on any thread.
  // Runs one pass (mail, timers, actors, descriptors), then waits for events, at most until
  // `wait_until_ms` by the Os's clock (kNever: without limit). False: StopTurning() was called and
  // no work is left.
  bool Turn(int64_t wait_until_ms);
  void Enter() { Desk::current_worker = this; }  // This thread runs the worker's turns from now on.
  static void Leave() { Desk::current_worker = nullptr; }
  void StopTurning() { stop_turning_ = true; }
  void GoOnTurning() { stop_turning_ = false; }
  bool HasWork() const { return timers_left_ || HasMoreThanTimers(); }

  // --- Its parts.

  Desk& desk() { return desk_; }
  Mail& mail() { return mail_; }
  WaitCycles& wait_cycles() { return cycles_; }
  Parking& parking() { return parking_; }
  Descriptors& descriptors() { return descriptors_; }
  MemoryWatch& memory() { return memory_; }
  Family& family() { return family_; }
  Life& life() { return life_; }
  MailHolds& holds() { return holds_; }
  Restarts& restarts() { return restarts_; }
  DrainOrders& drain() { return drain_; }

  Runtime& runtime() { return desk_.shared.runtime; }
  Shared& shared() { return desk_.shared; }
  Os& os() { return desk_.os; }
  const Options& options() const { return desk_.options; }
  int Index() const { return desk_.index; }
  sluice::Running& Running() { return desk_.running; }
  Lease& lease() { return desk_.lease; }
  Ledger& ledger() { return desk_.ledger; }
  TimerWheel& timers() { return desk_.timers; }
  ActorExtra& Extra(Slot* slot) { return desk_.Extra(slot); }

  // --- Time.

  int64_t NowMs() const { return desk_.NowMs(); }  // The time of this turn, a moment old.
  int64_t NowNs() const { return desk_.NowNs(); }
  // HandlerClock::NotedMs(). A silence since an event that was noted at `ms` is measured from the
  // answer.
  int64_t NotedMs(int64_t ms) const { return desk_.clock.NotedMs(ms); }
  // NowMs() plus `timeout`; kNever on overflow.
  int64_t DeadlineMs(absl::Duration timeout) const { return sluice::DeadlineMs(NowMs(), timeout); }

  // Time is shared: long work is done in portions.
  //
  // True: the running work (an actor's slice, a descriptor's turn, a timer) has used its share of
  // this turn. The work returns, and goes on in the next turn from the same place. The clock is
  // read after handlers and after pieces of work only.
  bool TurnOver() const { return desk_.clock.ShareOver(); }
  void BeginShare(int64_t ns) { desk_.clock.BeginShare(ns); }
  // Notes that one of many pieces of work is done (a subscriber has its message). How often the
  // clock is read depends on the measured length of the pieces. Answers TurnOver().
  bool PieceDone(const Slot* slot, const char* what) {
    desk_.NoteHandler(slot, what, nullptr);
    return TurnOver();
  }
  // For work in portions: task.OnTurn() is called once, in this turn or the next. Idempotent.
  void MarkDue(TurnTask& task) {
    if (!tasks_.Linked(task)) tasks_.PushBack(task);
  }
  void Withdraw(TurnTask& task) { tasks_.RemoveIfLinked(task); }

  // --- Messages: the one place where mail (room, charge, credit) and parking (outbox) meet.

  template <class M>
  Answer TrySend(Slot* target, uint32_t generation, const MessageOps* ops, M& message);
  // For a thread that is not a worker of the target's runtime.
  template <class M>
  static Answer TrySendOutside(Slot* target, uint32_t generation, const MessageOps* ops,
                               M& message);
  // For a handler of `sender`: parks `sender` where TrySend would answer full.
  template <class M>
  Answer Send(Slot* sender, Slot* target, uint32_t generation, const MessageOps* ops, M& message);
  // Sends a message that has a reserved place in the target's mailbox. If the target's runtime has
  // ended, the message is dropped silently. Any thread.
  template <class M>
  static void SendReserved(Slot* target, uint32_t generation, const MessageOps* ops, M&& message);
  // Runtime control: C has Run(Worker&, Slot* target, uint32_t generation), called on `to`'s
  // thread. Any thread. False: the runtime of `to` has ended.
  template <class C>
  static bool Post(Worker& to, Slot* target, uint32_t generation, C control);

  // --- Handlers.

  // Runs f as a handler of the actor. Answers false and does not run f if the actor is parked, ends
  // or was told to stop, or if another handler runs on this worker: no handler runs inside another
  // one.
  template <class F>
  bool RunHandler(Slot* slot, const char* what, F&& f);
  // True: RunHandler() would run a handler. OnStart, which comes before any other handler, has then
  // run.
  bool MayHandle(Slot* slot) {
    if (desk_.current != nullptr || !slot->Runnable() || slot->stop_asked ||
        slot->actor == nullptr) {
      return false;
    }
    return slot->state == ActorState::kLive || StartsFirst(slot);
  }
  // True: a handler of the actor, or code that counts as one (HandlerScope), runs on this thread
  // now.
  bool RunsHandlerOf(const Slot* slot) const { return desk_.current == slot; }
  // HandlerScope for a callback that another actor keeps for `slot`, as a hub keeps a filter. No
  // end of a handler follows the callback. So messages that the actor could not send, and its end,
  // wait for the actor's next turn.
  class CallbackScope {
   public:
    CallbackScope(Worker& worker, Slot* slot, const char* what)
        : worker_(worker), slot_(slot), scope_(worker.desk_, slot, what, nullptr) {}
    ~CallbackScope() { worker_.AfterCallback(slot_); }
    CallbackScope(const CallbackScope&) = delete;
    CallbackScope& operator=(const CallbackScope&) = delete;

   private:
    Worker& worker_;
    Slot* const slot_;
    const HandlerScope scope_;
  };

  // From its next handler on, an actor of this worker takes no message until it is resumed.
  void Suspend(Slot* slot) { slot->suspended |= Slot::kBySelf; }
  void Resume(Slot* slot) {
    slot->suspended &= static_cast<uint8_t>(~Slot::kBySelf);
    desk_.ScheduleIfRunnable(slot);
  }
  // From its next handler on, the actor handles no mail; OnStart, timers and its descriptor's
  // handlers still run.
  void HoldMail(Slot* slot) { slot->suspended |= Slot::kMailHeld; }
  void ReleaseMail(Slot* slot) {
    slot->suspended &= static_cast<uint8_t>(~Slot::kMailHeld);
    desk_.ScheduleIfRunnable(slot);
  }
  // The slot's handler is done, and is deleted at the end of the turn. The slot may then go to the
  // next actor.
  void DetachIo(Slot* slot);
  // An order to an actor that is parked in a wait cycle: its waiting message is dropped, and it
  // fails if on_wait_cycle says so.
  void OnBreakWait(Slot* slot, uint32_t generation, uint32_t episode, const std::string& cycle);

  // --- What the drain has ordered.

  bool Draining() const { return desk_.drain.begun; }
  bool DrainClosing() const { return desk_.drain.closing; }
  bool DrainInsists() const { return desk_.drain.insists; }
  bool ShuttingDown() const { return desk_.drain.shutdown; }

  std::string Dump();
  void CheckInvariants() const;

 private:
  friend class Inspector;

  // The whole budget would not be enough.
  bool TooLarge(int64_t charge) const { return charge > desk_.shared.budget->BytesMax(); }
  // Counts a refusal.
  Answer Refuse(Answer answer);
  // `to` is the target's worker, looked up once: if the actor ends meanwhile, its slot may change
  // its worker. kAccepted: the home of `to` is locked until CommitOutside.
  static Answer BeginOutside(Worker& to, Slot* target, uint32_t generation, int64_t charge);
  static void CommitOutside(Worker& to, Envelope& envelope);
  // Control and reserved messages need no credit. Their target may be on this worker or another one
  // of the runtime, and their sender may be outside. `bytes` are charged for a reserved message. A
  // reserved message cannot be refused, so it goes uncharged if memory is spent; its reservation is
  // the bound.
  static bool Route(Worker& to, Envelope& envelope, int64_t bytes);
  static bool RouteOutside(Worker& to, Envelope& envelope, int64_t bytes);
  template <class M>
  Answer Attempt(Slot* target, uint32_t generation, const MessageOps* ops, M& message,
                 bool overdraft);
  template <class M>
  [[gnu::noinline]] Answer SendOtherwise(Slot* sender, Slot* target, uint32_t generation,
                                         const MessageOps* ops, M& message);
  // Puts a message into the mailbox of an actor of this worker. Requires: credit and charge are
  // taken.
  template <class M>
  void PutLocal(Slot* target, uint32_t generation, const MessageOps* ops, int64_t charge,
                M& message) {
    Envelope* envelope = desk_.pool.Get();
    envelope->AddressTo(target, generation, charge);
    envelope->Put(ops, std::move(message));
    ++desk_.ledger.sent;
    desk_.TakeIn(target, envelope);
  }

  static void ArriveOtherwise(Worker& worker, Envelope* envelope);
  void RunTimers(int64_t due_ms);
  void RunActors();
  void RunTasks();
  void RunSlice(Slot* slot);
  void Deliver(Slot* slot, Envelope* envelope);
  void DeliverReserved(Slot* slot, Envelope* envelope);
  bool StartsFirst(Slot* slot);
  void EndOfHandlers(Slot* slot);
  void AfterCallback(Slot* slot) {
    const bool ends = slot->stop_asked &&
                      (slot->state == ActorState::kLive || slot->state == ActorState::kStarting);
    if (ends || (slot->has_outbox && !slot->parked)) desk_.Schedule(slot);
  }
  bool HasMoreThanTimers() const {
    return !desk_.run_queue.Empty() || descriptors_.HasReady() || descriptors_.HasOutput() ||
           !tasks_.Empty() || mail_.HasLocalControl() || !mail_.Seen();
  }
  bool Spin();
  bool SharesProcessor(int processor) const;
  void Sleep(int64_t wait_until_ms);
  void Poll(int64_t timeout_ns);
  void RestBesideTimers() {
    if (Draining()) RestBeside();
  }
  void RestBeside();

  Desk desk_;
  Mail mail_;
  WaitCycles cycles_;
  Parking parking_;
  Descriptors descriptors_;
  MemoryWatch memory_;
  Family family_;
  MailHolds holds_;
  Life life_;
  Restarts restarts_;
  DrainOrders drain_;
  IntrusiveList<TurnTask, TaskTag> tasks_;

  // Where this worker's thread runs, as of the last sleep or spin; -1: it sleeps. Partner:
  // SharesProcessor() of other workers. Relaxed: a hint.
  std::atomic<int> processor_{-1};
  int64_t spin_ns_ = 0;       // How long to spin for mail before sleeping; 0: not at all.
  int64_t polled_ns_ = 0;     // Time of the last poll by this worker's clock.
  bool timers_left_ = false;  // Some timers are due, but their time was over.
  // The last turn ended without a sleep: mail had come, or memory was spent.
  bool mail_found_ = false;
  bool stop_turning_ = false;
};

// -------------------------------------------------------------------------------------------------

template <class M>
Answer Worker::Attempt(Slot* target, uint32_t generation, const MessageOps* ops, M& message,
                       bool overdraft) {
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (charge > Envelope::kChargeMax) return Answer::kTooLarge;
  // Read once: if the actor ends meanwhile, its slot may change its worker.
  Worker& to = *target->worker;
  if (&to == this) {
    if (!Desk::Live(target, generation)) [[unlikely]] {
      // A message to an actor that was placed here may come before the order that constructs the
      // actor.
      desk_.AdoptPlaced(target, generation);
      if (!Desk::Live(target, generation)) return Answer::kClosed;
    }
    if (!desk_.lease.Charge(charge) && !(overdraft && desk_.lease.ChargeOverdraft(charge))) {
      return TooLarge(charge) ? Answer::kTooLarge : Answer::kOverloaded;
    }
    const Taken taken = target->mailbox.TakeLocal(generation);
    if (taken != Taken::kCredit) {
      desk_.lease.Refund(charge);
      return taken == Taken::kFull ? Answer::kFull : Answer::kClosed;
    }
    PutLocal(target, generation, ops, charge, message);
    return Answer::kAccepted;
  }
  if (!desk_.IsOurs(&to)) {
    return TrySendOutside(target, generation, ops, message);
  }
  Mail::Stage& stage = mail_.StageTo(to.Index());
  const Answer answer = mail_.Reserve(stage, target, generation, charge, overdraft);
  if (answer == Answer::kOverloaded && TooLarge(charge)) return Answer::kTooLarge;
  if (answer != Answer::kAccepted) return answer;
  Envelope& envelope = stage.Place();
  envelope.AddressTo(target, generation, charge);
  envelope.Put(ops, std::move(message));
  ++desk_.ledger.sent;
  mail_.Added(stage);
  return Answer::kAccepted;
}

template <class M>
Answer Worker::TrySend(Slot* target, uint32_t generation, const MessageOps* ops, M& message) {
  const Slot* const current = desk_.current;
  bool overtakes =
      current != nullptr && current->has_outbox && parking_.OutboxHolds(current, target);
  SLUICE_PLANT(try_send_overtakes, overtakes = overtakes && current->actor != nullptr);
  if (overtakes) return Refuse(Answer::kFull);
  const Answer answer = Attempt(target, generation, ops, message, /*overdraft=*/false);
  return answer == Answer::kAccepted ? answer : Refuse(answer);
}

template <class M>
Answer Worker::Send(Slot* sender, Slot* target, uint32_t generation, const MessageOps* ops,
                    M& message) {
  // The common case needs no call and no atomic: the target is an actor of this worker, and credit,
  // charge and envelope are at hand.
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (target->worker == this && target->mailbox.Admits(generation) &&
      target->mailbox.HasReserve() && !sender->has_outbox && charge <= UINT32_MAX &&
      desk_.lease.HasLeft(charge) && desk_.pool.HasFree()) [[likely]] {
    (void)desk_.lease.Charge(charge);
    target->mailbox.TakeReserve();
    PutLocal(target, generation, ops, charge, message);
    return Answer::kAccepted;
  }
  return SendOtherwise(sender, target, generation, ops, message);
}

template <class M>
Answer Worker::SendOtherwise(Slot* sender, Slot* target, uint32_t generation, const MessageOps* ops,
                             M& message) {
  SLUICE_CHECK_ON_WORKER(desk_);
  // An actor's outbox holds no messages to the actor itself, so a message to itself overtakes
  // nothing.
  if (!sender->has_outbox || target == sender) [[likely]] {
    const Answer answer = Attempt(target, generation, ops, message, /*overdraft=*/true);
    if (answer == Answer::kAccepted) return answer;
    if (answer == Answer::kClosed) return Refuse(answer);
  }
  Envelope* envelope = nullptr;
  const Answer answer =
      parking_.Park(sender, target, generation, Envelope::BytesOf<M>(message), &envelope);
  if (answer != Answer::kAccepted) return Refuse(answer);
  envelope->Put(ops, std::move(message));
  return Answer::kAccepted;
}

template <class M>
Answer Worker::TrySendOutside(Slot* target, uint32_t generation, const MessageOps* ops,
                              M& message) {
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (charge > Envelope::kChargeMax) return Answer::kTooLarge;
  Worker& to = *target->worker;
  const Answer answer = BeginOutside(to, target, generation, charge);
  if (answer != Answer::kAccepted) return answer;
  Envelope envelope;
  envelope.AddressTo(target, generation, charge);
  envelope.Put(ops, std::move(message));
  CommitOutside(to, envelope);
  return Answer::kAccepted;
}

template <class M>
void Worker::SendReserved(Slot* target, uint32_t generation, const MessageOps* ops, M&& message) {
  Envelope envelope;
  envelope.AddressTo(target, generation, /*charged=*/0);
  const int64_t bytes = Envelope::BytesOf<std::remove_cvref_t<M>>(message);
  envelope.Put(ops, std::forward<M>(message));
  (void)Route(*target->worker, envelope, bytes);
}

// There is one static table for each kind of control.
template <class C>
inline const MessageOps kControlOps = {
    MessageKind::kControl,
    [](void* worker, Envelope& e) {
      e.Get<C>().Run(*static_cast<Worker*>(worker), e.target, e.generation);
    },
    Envelope::DestroyOf<C>(),
    Envelope::RelocateOf<C>(),
    [] { return typeid(C).name(); },
};

template <class C>
bool Worker::Post(Worker& to, Slot* target, uint32_t generation, C control) {
  Envelope envelope;
  envelope.AddressTo(target, generation, /*charged=*/0);
  envelope.Put(&kControlOps<C>, std::move(control));
  return Route(to, envelope, /*bytes=*/0);
}

template <class F>
bool Worker::RunHandler(Slot* slot, const char* what, F&& f) {
  if (!MayHandle(slot)) return false;
  desk_.current = slot;
  desk_.running.Handler(slot, what, TypeNameOf(slot->actor));
  try {
    f();
  } catch (...) {
    life_.Fail(slot, std::current_exception());
  }
  desk_.current = nullptr;
  desk_.running.Slice(nullptr);
  desk_.NoteHandler(slot, what, nullptr);
  EndOfHandlers(slot);
  return true;
}

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_WORKER_H_
