// Worker is one thread: an epoll instance, an inbox, a timer wheel, a run queue and the actors that
// live on it. All work is done in Turn(), so a test or a simulation can step a worker; the worker's
// thread only calls Turn() in a loop.
//
// Owner:  the Runtime.
// Thread: the worker's own, except where a comment says otherwise; in a simulation, the thread that
//         steps the worker.
// Bound:  a slice handles kSliceMessagesMax messages, or lasts kSliceNs. In a turn, mail, timers,
//         actors, descriptors and output each get kTurnNs, or one piece of work if that takes
//         longer; the rest keeps its order and waits for the next turn. So a turn takes at most
//         about 5 ms plus one handler of each class. Each turn takes all events that the poller
//         has.
// Errors: an exception that leaves a handler ends that actor. The IoHandler concerned gets the
//         kernel's refusals as values. Only a poller that cannot be created is fatal, at start.
//
// A deadline is judged only after input that had arrived when it passed: a turn that finds due
// deadlines first polls and takes its mail. If a descriptor is ready, its deadlines are judged
// after its turn (JudgeAfterTurn, Timer::Awaits).
#ifndef SLUICE_CORE_WORKER_WORKER_H_
#define SLUICE_CORE_WORKER_WORKER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/mailbox/ledger.h"
#include "sluice/core/mailbox/rest.h"
#include "sluice/core/mailbox/sleep_word.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/slot/home.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/core/slot/run_queue.h"
#include "sluice/core/slot/shared.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/slot/turn_task.h"
#include "sluice/core/worker/handler_clock.h"
#include "sluice/core/worker/running.h"

namespace sluice {

class Runtime;

class Worker {
 public:
  static constexpr int kSliceMessagesMax = 64;
  static constexpr int64_t kSliceNs = 1'000'000;
  static constexpr int64_t kTurnNs = 1'000'000;
  static constexpr int64_t kIoTurnNs = 100'000;
  static constexpr int kStageMax = 32;
  static constexpr int kDrainMax = 64;  // Envelopes of one lane at a time.

  Worker(Shared& shared, int index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The worker that this thread runs; nullptr on outside threads.
  static Worker* Current() { return current_worker_; }

  // --- The thread.

  absl::Status Open();  // Makes the poller. Before the first Turn, on any thread.
  // Runs one pass (mail, timers, actors, descriptors), then waits for events, at most until
  // `wait_until_ms` by the Os's clock (kNever: without limit). False: StopTurning() was called and
  // no work is left.
  bool Turn(int64_t wait_until_ms);
  void Enter() { current_worker_ = this; }  // This thread runs the worker's turns from now on.
  static void Leave() { current_worker_ = nullptr; }
  void StopTurning() { stop_turning_ = true; }
  void GoOnTurning() { stop_turning_ = false; }
  sluice::Running& Running() { return running_; }
  Inbox& inbox() { return inbox_; }
  SleepWord<>& sleep_word() { return sleep_; }  // Any thread: Rouse().
  void Signal() { os_.WakeSignal(wake_fd_); }   // Any thread.

  // --- What actors and handlers of descriptors use.

  Runtime& runtime() { return shared_.runtime; }
  Shared& shared() { return shared_; }
  Os& os() { return os_; }
  const Options& options() const { return options_; }
  int Index() const { return index_; }
  int64_t NowMs() const { return clock_.NowMs(); }  // This turn's time, a moment old.
  int64_t NowNs() const { return clock_.NowNs(); }
  // HandlerClock::NotedMs(). A silence since an event that was noted at `ms` is measured from the
  // answer.
  int64_t NotedMs(int64_t ms) const { return clock_.NotedMs(ms); }
  // NowMs() plus `timeout`; kNever on overflow.
  int64_t DeadlineMs(absl::Duration timeout) const { return sluice::DeadlineMs(NowMs(), timeout); }
  Lease& lease() { return lease_; }
  Ledger& ledger() { return ledger_; }
  TimerWheel& timers() { return timers_; }
  int Poller() const { return poller_; }
  // Output of the running callback, not yet written: one buffer, one holder at a time.
  std::string& Gather() { return gather_; }
  void AcquireGather(IoHandler* holder) {
    if (gather_holder_ != nullptr) gather_holder_->OnGatherTaken();
    SLUICE_CHECK(gather_holder_ == nullptr && gather_.empty());
    gather_holder_ = holder;
  }
  void ReleaseGather() {
    gather_holder_ = nullptr;
    gather_.clear();
  }
  char* ReadBuffer() { return read_buffer_.get(); }
  static constexpr size_t kReadBytes = 32 * 1024;

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

  // Runs f as a handler of the actor. Answers false and does not run f if the actor is parked, ends
  // or was told to stop, or if another handler runs on this worker: no handler runs inside another
  // one.
  template <class F>
  bool RunHandler(Slot* slot, const char* what, F&& f);
  // True: RunHandler() would run a handler. OnStart, which comes before any other handler, has then
  // run.
  bool MayHandle(Slot* slot) {
    if (current_ != nullptr || !slot->Runnable() || slot->stop_asked || slot->actor == nullptr) {
      return false;
    }
    if (slot->state != ActorState::kStarting) return true;
    RunStart(slot);
    EndOfHandlers(slot);  // OnStart may have parked or stopped the actor.
    return slot->Runnable();
  }
  // While a HandlerScope exists, user code runs for `slot`, and its messages keep their order. The
  // code is a handler, or counts as one: a constructor, a destructor, a filter. An end that the
  // code asks for begins after the code has returned: the actor's own end at once, another actor's
  // end in that actor's next turn.
  class HandlerScope {
   public:
    // `what` and `type` (mangled, or nullptr) are static.
    HandlerScope(Worker& worker, Slot* slot, const char* what, const char* type)
        : worker_(worker),
          before_(std::exchange(worker.current_, slot)),
          running_(worker.running_, slot, what, type) {}
    ~HandlerScope() { worker_.current_ = before_; }
    HandlerScope(const HandlerScope&) = delete;
    HandlerScope& operator=(const HandlerScope&) = delete;

   private:
    Worker& worker_;
    Slot* const before_;
    const sluice::Running::Scope running_;
  };
  // HandlerScope for a callback that another actor keeps for `slot`, as a hub keeps a filter. No
  // end of a handler follows the callback. So messages that the actor could not send, and its end,
  // wait for the actor's next turn.
  class CallbackScope {
   public:
    CallbackScope(Worker& worker, Slot* slot, const char* what)
        : worker_(worker), slot_(slot), scope_(worker, slot, what, nullptr) {}
    ~CallbackScope() { worker_.AfterCallback(slot_); }
    CallbackScope(const CallbackScope&) = delete;
    CallbackScope& operator=(const CallbackScope&) = delete;

   private:
    Worker& worker_;
    Slot* const slot_;
    const HandlerScope scope_;
  };

  // Descriptors.
  void AttachIo(Slot* slot, IoHandler* io);
  // `io` is done, and is deleted at the end of the turn. The slot may then go to the next actor.
  void DetachIo(Slot* slot);
  static uint64_t PollData(const Slot* slot) {
    return (uint64_t{slot->generation - slot->first_generation} << 32) | slot->id;
  }
  void MarkReady(IoHandler* io);
  // For work in portions: task.OnTurn() is called once, in this turn or the next. Idempotent.
  void MarkDue(TurnTask& task) {
    if (!tasks_.Linked(task)) tasks_.PushBack(task);
  }
  void Withdraw(TurnTask& task) { tasks_.RemoveIfLinked(task); }
  // True: events for `io` have come and wait for its turn; OnDeadline() follows that turn. So a
  // deadline is judged after what had arrived.
  bool JudgeAfterTurn(IoHandler* io) {
    io->deadline_waits_ = io->OnReadyList() && !Planted(Plant::kJudgedBeforeRead);
    return io->deadline_waits_;
  }
  void FlushAfterSlice(IoHandler* io);
  // True: all mail that was there when this turn began has been taken in.
  bool MailSeen() const { return mail_seen_; }
  // True while the budget is spent: only connections that may use the reserve read. The others
  // return to the ready list when memory is free, or when they may use the reserve.
  bool ReadingPaused() const { return reading_paused_; }
  void PauseReading() { reading_paused_ = true; }
  // The reserve is the worker's overdraft, a part of the fixed memory. True: the reserve has
  // `bytes` to spare. A quarter of the reserve is kept for messages that handlers send.
  bool ReserveHas(int64_t bytes) const {
    return lease_.OverdraftLeftBytes() - bytes >= Lease::kOverdraftBytesMax / 4;
  }
  void WaitForMemory(IoHandler* io) {
    if (io->WaitsForMemory()) return;
    memory_waiters_io_.push_back(io);
    io->memory_place_ = static_cast<uint32_t>(memory_waiters_io_.size());
  }
  int64_t IoCount() const { return io_count_; }
  bool Draining() const { return draining_; }
  bool DrainClosing() const { return drain_closing_; }
  bool DrainInsists() const { return drain_insists_; }  // Half of the drain's time is over.
  bool ShuttingDown() const { return shutdown_; }       // The drain's deadline has come.
  // A hub on this worker begins (+1) or stops (-1) to wait for a slow reader. While a hub waits, a
  // drain does not regard this worker as at rest.
  void NoteHubWaits(int change) { hub_waits_ += change; }

  // --- Time is shared: long work is done in portions.

  // True: the running work (an actor's slice, a descriptor's turn, a timer) has used its share of
  // this turn. The work returns, and goes on in the next turn from the same place. The clock is
  // read after handlers and after pieces of work only.
  bool TurnOver() const { return clock_.ShareOver(); }
  void BeginShare(int64_t ns) { clock_.BeginShare(ns); }
  // Notes that one of many pieces of work is done (a subscriber has its message). How often the
  // clock is read depends on the measured length of the pieces. Answers TurnOver().
  bool PieceDone(const Slot* slot, const char* what) {
    NoteHandler(slot, what, nullptr);
    return TurnOver();
  }

  // --- Life and death (life.cc).

  // True: a handler of the actor, or code that counts as one (HandlerScope), runs on this thread
  // now.
  bool RunsHandlerOf(const Slot* slot) const { return current_ == slot; }
  Slot* AllocateSlot();  // nullptr, and counted: actors_max actors live.
  void Open(Slot* slot, uint32_t capacity);
  // The actor's constructor has run, or threw `error`.
  void Install(Slot* slot, ActorBase* actor);
  void SpawnFailed(Slot* slot, std::exception_ptr error);
  void Stop(Slot* slot, EndReason reason, std::string text);
  // For a drain: stops the actor after it has handled the mail in its mailbox.
  void StopBehindMail(Slot* slot, int rounds);
  // As Stop, for an actor that must be notified of its end (a session): OnStart runs first, if it
  // has not run.
  void StopStarted(Slot* slot, EndReason reason, std::string text);
  void Fail(Slot* slot, std::exception_ptr error);
  bool Live(const Slot* slot, uint32_t generation) const {
    return slot->mailbox.Admits(generation);
  }
  void FailWith(Slot* slot, std::string text);
  // Answers the child's place in the order of the parent's children.
  uint64_t AddChild(Slot* parent, Slot* child, uint32_t child_generation);
  void AddWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  void RemoveWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  void ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers);
  void NoteRestarting(Slot* slot, uint32_t generation, const Slot* ancestor);
  void Escalate(Slot* parent, uint32_t generation, std::string text);
  // Creates the actor for the first time, and keeps `restart`, which recreates the actor when it
  // fails.
  void MakeRestarting(Slot* slot, std::unique_ptr<Restart> restart);
  // False, and counted: the parent ends. An ending actor gets no new children, as nothing would end
  // them.
  bool MayHaveChild(const Slot* parent);
  void AdoptPlaced(Slot* slot, uint32_t generation);
  void LingerOver(Slot* slot);
  ActorExtra& Extra(Slot* slot);

  // --- Parking (parking.cc, wait_cycles.cc).

  // From its next handler on, an actor of this worker takes no message until it is resumed.
  void Suspend(Slot* slot) { slot->suspended |= Slot::kBySelf; }
  void Resume(Slot* slot) {
    slot->suspended &= static_cast<uint8_t>(~Slot::kBySelf);
    ScheduleIfRunnable(slot);
  }
  // From its next handler on, the actor handles no mail; OnStart, timers and its descriptor's
  // handlers still run.
  void HoldMail(Slot* slot) { slot->suspended |= Slot::kMailHeld; }
  void ReleaseMail(Slot* slot) {
    slot->suspended &= static_cast<uint8_t>(~Slot::kMailHeld);
    ScheduleIfRunnable(slot);
  }

  void OnWait(Slot* target, uint32_t generation, const Waiter& waiter);
  void OnCancel(Slot* target, uint32_t generation, uint64_t key, uint32_t waiter_generation);
  void OnGrant(Slot* waiter, uint32_t generation, uint32_t episode, uint32_t credits, Slot* target,
               uint32_t target_generation);
  void OnTargetClosed(Slot* waiter, uint32_t generation, uint32_t episode);
  void OnGrantBack(Slot* target, uint32_t generation, uint32_t credits);
  void OnLaneRoom(int to_worker);
  void OnProbe(Slot* slot, uint32_t generation, struct ProbeControl& probe);
  void ProbeDue(Slot* slot);
  void OnBreakWait(Slot* slot, uint32_t generation, uint32_t episode, const std::string& cycle);

  // --- The Runtime's orders, on this thread.

  void BeginDrain();
  void DrainEndReading();
  void DrainClose();
  void StopGate();
  void DrainInsist();  // From now on messages that hubs hold back delay no session's OnDrain.
  void LogWhatHoldsDrain();
  void StopRoots();
  void ShutdownAll();
  std::string Dump();
  // An actor of this worker and the memory that it holds. TopHolders() lists the heaviest first.
  struct Holder {
    struct Held {
      int messages = 0;
      int64_t bytes = 0;
    };
    Slot* slot = nullptr;
    Held queue;
    Held outbox;
    int64_t connection_bytes = 0;
    int64_t Bytes() const { return queue.bytes + outbox.bytes + connection_bytes; }
  };
  std::vector<Holder> TopHolders(size_t count);
  std::string TextOf(const Holder& holder) const;
  int64_t ActorCount() const { return actor_count_; }
  // Totals of envelopes of all kinds: sent to other workers; taken from other workers and from
  // outside. If the sum of all that was sent, also from outside (OutsideGate::Sent), equals the sum
  // taken, nothing is on its way.
  int64_t CrossSent() const { return cross_sent_; }
  int64_t CrossTaken() const { return cross_taken_; }

 private:
  friend class Inspector;
  friend class Runtime;
  friend class WorkerTestPeer;

  // Gathers the messages to one other worker. They are enqueued in bulk: when the stage is full,
  // after every eighth slice, and at the end of the turn.
  struct Stage {
    std::array<Envelope, kStageMax> envelopes;
    int count = 0;
    bool dirty = false;
    std::vector<std::pair<Slot*, uint32_t>> room_waiters;  // Parked actors that wait for the lane.
    // Free: no stage is left full.
    Envelope& Place() { return envelopes[static_cast<size_t>(count)]; }
  };
  // Timers or descriptors that run between two clock reads, if they run no handler.
  static constexpr int kLookEvery = 16;

  Answer Refuse(Answer answer);
  // `to` is the target's worker, looked up once: if the actor ends meanwhile, its slot may change
  // its worker. kAccepted: the home of `to` is locked until CommitOutside.
  static Answer BeginOutside(Worker& to, Slot* target, uint32_t generation, int64_t charge);
  static void CommitOutside(Worker& to, Envelope& envelope);
  // Control and reserved messages need no credit. Their target may be on this worker or another one
  // of the runtime, and their sender may be outside. `bytes` are charged for a reserved message. A
  // reserved message cannot be refused, so it goes uncharged if memory is spent; its reservation is
  // the bound.
  void Route(Worker& to, Envelope& envelope);
  static bool RouteOutside(Worker& to, Envelope& envelope, int64_t bytes);
  static bool RouteFromHere(Worker& to, Envelope& envelope, int64_t bytes) {
    Worker* here = current_worker_;
    if (here == nullptr || !here->IsOurs(&to)) return RouteOutside(to, envelope, bytes);
    if (bytes > 0 && bytes <= Envelope::kChargeMax && here->lease_.ChargeOverdraft(bytes)) {
      envelope.charge = static_cast<uint32_t>(bytes);
    }
    here->Route(to, envelope);
    return true;
  }
  // Does `worker` belong to this worker's runtime? A worker of another runtime may be gone.
  bool IsOurs(const Worker* worker) const { return Home::Of(worker).IsOf(shared_.runtime); }
  Stage& StageFor(const Worker& to) { return *stages_[static_cast<size_t>(to.index_)]; }
  void StageAdded(Stage& stage, Worker& to) {
    ++stage.count;
    if (!stage.dirty || stage.count == kStageMax) StageGrew(stage, to);
  }
  void StageGrew(Stage& stage, Worker& to);
  void Flush(int to);
  void FlushStages();
  // Reserves the lane's room, the charge and the credit for a message to another worker; or answers
  // why not.
  Answer ReserveRemote(Worker& to, Slot* target, uint32_t generation, int64_t charge,
                       bool overdraft);
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
    Envelope* envelope = pool_.Get();
    Fill(*envelope, target, generation, charge);
    envelope->Put(ops, std::move(message));
    ++ledger_.sent;
    ++ledger_.held;
    target->mailbox.Arrived();
    target->queue.Push(envelope);
    if (!target->scheduled) ScheduleIfRunnable(target);
  }
  static void Fill(Envelope& envelope, Slot* target, uint32_t generation, int64_t charge) {
    envelope.target = target;
    envelope.generation = generation;
    envelope.charge = static_cast<uint32_t>(charge);
  }

  bool DrainInbox();
  void Arrive(Envelope* envelope);
  void ArriveOtherwise(Envelope* envelope);
  void RunLocalControl();
  void RunTimers(int64_t due_ms);
  void RunActors();
  void RunTasks();
  void RunReady();
  void TakeTurn(IoHandler* io);
  void RunSlice(Slot* slot);
  void Deliver(Slot* slot, Envelope* envelope);
  void DeliverReserved(Slot* slot, Envelope* envelope);
  void EndOfHandlers(Slot* slot);
  void Schedule(Slot* slot) { run_queue_.Push(slot); }
  void AfterCallback(Slot* slot) {
    const bool ends = slot->stop_asked &&
                      (slot->state == ActorState::kLive || slot->state == ActorState::kStarting);
    if (ends || (slot->has_outbox && !slot->parked)) Schedule(slot);
  }
  void ScheduleIfRunnable(Slot* slot) {
    const bool mail = !slot->queue.Empty() && !slot->MailHeld();
    if (slot->Runnable() && (mail || slot->state == ActorState::kStarting)) Schedule(slot);
  }
  bool HasWork() const { return timers_left_ || HasMoreThanTimers(); }
  bool HasMoreThanTimers() const {
    return !run_queue_.Empty() || !ready_.Empty() || !flush_.Empty() || !tasks_.Empty() ||
           !local_control_.Empty() || !mail_seen_;
  }
  bool Spin();
  void Sleep(int64_t wait_until_ms);
  void RestBesideTimers();
  void Poll(int64_t timeout_ns);
  void RunFlushList(int64_t share_ns);
  void OrderIo(void (IoHandler::*order)());
  void ForgetMemoryWaiter(IoHandler* io);
  void CheckLists() const;
  void NoteHandler(const Slot* slot, const char* what, const void* of) {
    if (clock_.Note(slot, what, of)) ReadClock();
  }
  void ReadClock() { ledger_.slow_handlers += clock_.Read(/*slept=*/polled_); }
  void Bury();
  void CheckMemory();
  // Memory (memory_watch.cc).
  void LookForReaders();
  void LookForShedding();
  void LookAtConnections();
  void ChooseWhomToShed();
  void ShedSome();
  void LogHolders(int64_t spent_ms);
  void CountDropped(Slot* slot, Envelope* envelope, DropReason reason);
  void IssueGrants(Slot* slot);

  // Parking.
  Answer Park(Slot* sender, Slot* target, uint32_t generation, int64_t charge, Envelope** place);
  void FlushOutbox(Slot* slot);
  void Unpark(Slot* slot);
  void DropOutboxHead(Slot* slot, DropReason reason);
  void DropOutbox(Slot* slot, DropReason reason);
  void WithdrawWait(Slot* slot);
  bool OutboxHolds(Slot* sender, const Slot* target) const;
  void ArmProbe(Slot* slot);
  void BreakCycle(std::vector<ProbeHop> cycle);

  // Life.
  void BeginStop(Slot* slot);
  void BeginEnd(Slot* slot);
  void ChildrenEnded(Slot* slot);
  void FinishStop(Slot* slot);
  void BeginLinger(Slot* slot);
  void StopNextChild(Slot* slot);
  void Unwatch(Slot* slot);
  bool EndActor(Slot* slot, int* budget);
  void DropWhatItHeld(Slot* slot, int* budget);
  int ForgetTimers(Slot* slot, int most);
  void ArmLinger(Slot* slot, int64_t deadline_ms);
  void CancelLinger(ActorExtra& extra);
  int ForgetAsks(Slot* slot, int most);
  bool MayRestart(Slot* slot);
  void BeginRestart(Slot* slot);
  void RestartStep(Slot* slot);
  bool DestroyFailed(Slot* slot, int* budget);
  void ForgetMessagesFor(Slot* slot, const Slot* target);
  int TellWaiters(Slot* slot, int most);
  void RunStart(Slot* slot);
  void EndStep(Slot* slot);
  void Free(Slot* slot);

  static thread_local constinit Worker* current_worker_;

  Shared& shared_;
  Os& os_;
  const Options& options_;
  const int index_;
  int poller_ = -1;
  int wake_fd_ = -1;
  HandlerClock clock_;

  Inbox inbox_;
  SleepWord<> sleep_;
  std::vector<std::unique_ptr<Stage>> stages_;  // By worker; none for this worker.
  std::vector<int> dirty_stages_;
  EnvelopeList local_control_;
  EnvelopePool pool_;
  Lease lease_;
  Ledger ledger_;
  TimerWheel timers_;

  RunQueue run_queue_;
  // The actor that runs a handler, or code that counts as one (HandlerScope).
  Slot* current_ = nullptr;
  sluice::Running running_;
  IntrusiveList<TurnTask, TaskTag> tasks_;
  IntrusiveList<IoHandler, ReadyTag> ready_;
  int ready_count_ = 0;
  IntrusiveList<IoHandler, FlushTag> flush_;
  int64_t io_count_ = 0;
  std::vector<std::unique_ptr<IoHandler>> graveyard_;
  std::vector<IoHandler*> memory_waiters_io_;               // Each IoHandler knows its place here.
  std::vector<std::pair<Slot*, uint32_t>> memory_waiters_;  // Parked for memory.
  size_t reserve_look_ = 0;  // LookForReaders goes on here in memory_waiters_io_.
  int64_t memory_check_ms_ = 0;
  int64_t next_proposal_ms_ = 0;
  uint32_t look_chunk_ = 0;  // LookAtConnections goes on here; 0: from the start.
  struct Stalled {
    Slot* slot = nullptr;
    uint32_t generation = 0;
    int64_t bytes = 0;
  };
  Stalled heaviest_;  // The heaviest connection found, with its bytes at that time.
  // The heaviest stalled connections of the last complete round, and of the current round: each
  // holds at most 2 * ShedBoard's kConnectionsMax.
  std::vector<Stalled> stalled_;
  std::vector<Stalled> stalled_so_far_;
  std::vector<Stalled> to_shed_;  // To end in this worker's turn at shedding, the heaviest last...
  int shed_left_ = 0;             // ...and how many of them may be ended.
  int64_t next_holders_log_ms_ = 0;
  bool reading_paused_ = false;
  std::vector<Slot*> free_slots_;
  int64_t actor_count_ = 0;

  int64_t spin_ns_ = 0;  // How long to spin for mail before sleeping; 0: not at all.
  bool mail_since_sleep_ = false;
  bool mail_seen_ = true;
  int first_lane_ = 0;        // DrainInbox goes on with this lane.
  EnvelopeList batch_;        // Taken from that lane when the turn's time ended; not arrived yet.
  bool timers_left_ = false;  // Some timers are due, but their time was over.
  bool polled_ = false;  // The last turn ended with a poll, so this turn need not begin with one.
  // The last turn ended without a sleep: mail had come, or memory was spent.
  bool mail_found_ = false;
  int64_t polled_ns_ = 0;  // Time of the last poll by this worker's clock.
  bool stop_turning_ = false;
  bool draining_ = false;
  bool drain_closing_ = false;
  bool drain_insists_ = false;
  bool roots_stopped_ = false;  // A root that arrives later is stopped at once.
  bool gate_stopped_ = false;
  bool shutdown_ = false;
  int64_t cross_sent_ = 0;
  int64_t cross_taken_ = 0;
  int64_t hub_waits_ = 0;
  RestCounts<> rest_;  // For the coordinator of a drain.
  void PublishRest(bool rests);

  std::string gather_;
  IoHandler* gather_holder_ = nullptr;
  std::unique_ptr<char[]> read_buffer_;
};

// -------------------------------------------------------------------------------------------------

template <class M>
Answer Worker::Attempt(Slot* target, uint32_t generation, const MessageOps* ops, M& message,
                       bool overdraft) {
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (charge > Envelope::kChargeMax) return Answer::kOverloaded;
  // Read once: if the actor ends meanwhile, its slot may change its worker.
  Worker& to = *target->worker;
  if (&to == this) {
    if (!Live(target, generation)) [[unlikely]] {
      // A message to an actor that was placed here may come before the order that constructs the
      // actor.
      AdoptPlaced(target, generation);
      if (!Live(target, generation)) return Answer::kClosed;
    }
    if (!lease_.Charge(charge) && !(overdraft && lease_.ChargeOverdraft(charge))) {
      return Answer::kOverloaded;
    }
    const Taken taken = target->mailbox.TakeLocal(generation);
    if (taken != Taken::kCredit) {
      lease_.Refund(charge);
      return taken == Taken::kFull ? Answer::kFull : Answer::kClosed;
    }
    PutLocal(target, generation, ops, charge, message);
    return Answer::kAccepted;
  }
  if (!IsOurs(&to)) {
    return TrySendOutside(target, generation, ops, message);
  }
  const Answer answer = ReserveRemote(to, target, generation, charge, overdraft);
  if (answer != Answer::kAccepted) return answer;
  Stage& stage = StageFor(to);
  Envelope& envelope = stage.Place();
  Fill(envelope, target, generation, charge);
  envelope.Put(ops, std::move(message));
  ++ledger_.sent;
  StageAdded(stage, to);
  return Answer::kAccepted;
}

template <class M>
Answer Worker::TrySend(Slot* target, uint32_t generation, const MessageOps* ops, M& message) {
  if (current_ != nullptr && OutboxHolds(current_, target) &&
      !(Planted(Plant::kTrySendOvertakes) && current_->actor == nullptr)) {
    return Refuse(Answer::kFull);
  }
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
      lease_.HasLeft(charge) && pool_.HasFree()) [[likely]] {
    (void)lease_.Charge(charge);
    target->mailbox.TakeReserve();
    PutLocal(target, generation, ops, charge, message);
    return Answer::kAccepted;
  }
  return SendOtherwise(sender, target, generation, ops, message);
}

template <class M>
Answer Worker::SendOtherwise(Slot* sender, Slot* target, uint32_t generation, const MessageOps* ops,
                             M& message) {
  // An actor's outbox holds no messages to the actor itself, so a message to itself overtakes
  // nothing.
  if (!sender->has_outbox || target == sender) [[likely]] {
    const Answer answer = Attempt(target, generation, ops, message, /*overdraft=*/true);
    if (answer == Answer::kAccepted) return answer;
    if (answer == Answer::kClosed) return Refuse(answer);
  }
  Envelope* envelope = nullptr;
  const Answer answer = Park(sender, target, generation, Envelope::BytesOf<M>(message), &envelope);
  if (answer != Answer::kAccepted) return Refuse(answer);
  envelope->Put(ops, std::move(message));
  return Answer::kAccepted;
}

template <class M>
Answer Worker::TrySendOutside(Slot* target, uint32_t generation, const MessageOps* ops,
                              M& message) {
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (charge > Envelope::kChargeMax) return Answer::kOverloaded;
  Worker& to = *target->worker;
  const Answer answer = BeginOutside(to, target, generation, charge);
  if (answer != Answer::kAccepted) return answer;
  Envelope envelope;
  Fill(envelope, target, generation, charge);
  envelope.Put(ops, std::move(message));
  CommitOutside(to, envelope);
  return Answer::kAccepted;
}

template <class M>
void Worker::SendReserved(Slot* target, uint32_t generation, const MessageOps* ops, M&& message) {
  Envelope envelope;
  Fill(envelope, target, generation, /*charge=*/0);
  const int64_t bytes = Envelope::BytesOf<std::remove_cvref_t<M>>(message);
  envelope.Put(ops, std::forward<M>(message));
  RouteFromHere(*target->worker, envelope, bytes);
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
  Fill(envelope, target, generation, /*charge=*/0);
  envelope.Put(&kControlOps<C>, std::move(control));
  return RouteFromHere(to, envelope, /*bytes=*/0);
}

template <class F>
bool Worker::RunHandler(Slot* slot, const char* what, F&& f) {
  if (!MayHandle(slot)) return false;
  {
    const HandlerScope scope(*this, slot, what, TypeNameOf(slot->actor));
    try {
      f();
    } catch (...) {
      Fail(slot, std::current_exception());
    }
  }
  NoteHandler(slot, what, nullptr);
  EndOfHandlers(slot);
  return true;
}

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_WORKER_H_
