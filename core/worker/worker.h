// Worker is one thread: an epoll instance, an inbox, a timer wheel, a run queue and the actors that
// live on it. Everything happens in Turn(), so that a test or a simulation can step it; the thread
// around it is a loop.
//
// Owner:  the Runtime.
// Thread: its own for all but what is marked; in a simulation whichever thread steps it.
// Bound:  a slice handles kSliceMessagesMax messages or kSliceNs. Mail, timers, actors, descriptors
//         and what was written each have kTurnNs of a turn, or one piece of work if that is longer;
//         the rest waits for the next turn, in its order. So a turn is at most some 5 ms and one
//         handler of each class. Each turn polls, for all events that are there.
// Errors: an exception that leaves a handler ends that actor. The kernel's refusals are values for
//         the IoHandler concerned. Only a poller that cannot be made is fatal, at start.
//
// A deadline is judged only against what had arrived when it passed: a turn that finds deadlines
// due polls and takes its mail first; and where a descriptor is ready, its deadlines are judged
// behind its turn (JudgeAfterTurn, Timer::Awaits).
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
#include "sluice/core/slot/shared.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/slot/turn_task.h"
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

  // The worker whose thread this is; nullptr on outside threads.
  static Worker* Current() { return current_worker_; }

  // --- The thread.

  absl::Status Open();  // Makes the poller. Before the first Turn, on any thread.
  // One pass: mail, timers, actors, descriptors; then waits for more, at most until `wait_until_ms`
  // by the Os's clock (kNever: as long as it takes). False: StopTurning() was called and there is
  // nothing left to do.
  bool Turn(int64_t wait_until_ms);
  void Enter() { current_worker_ = this; }  // This thread takes its turns from now on.
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
  int64_t NowMs() const { return now_ns_ / 1'000'000; }  // Of this turn, a moment old.
  int64_t NowNs() const { return now_ns_; }
  // `ms` as NowMs() told it. No clock is read between the handlers of a group: where one of them
  // took long, or the process was stopped, what was noted in that millisecond may have happened up
  // to the next look. A silence counts from there. (The last such gap alone is known.)
  int64_t NotedMs(int64_t ms) const { return ms == gap_from_ms_ ? gap_until_ms_ : ms; }
  // Start of this turn plus `timeout`, in ms; kNever on overflow.
  int64_t DeadlineMs(absl::Duration timeout) const { return sluice::DeadlineMs(NowMs(), timeout); }
  Lease& lease() { return lease_; }
  Ledger& ledger() { return ledger_; }
  TimerWheel& timers() { return timers_; }
  int Poller() const { return poller_; }
  // Output of the callback that runs, not yet written: one buffer, one holder at a time.
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
  // From a thread that is no worker of the target's runtime.
  template <class M>
  static Answer TrySendOutside(Slot* target, uint32_t generation, const MessageOps* ops,
                               M& message);
  // From a handler of `sender`: parks it where TrySend would answer full.
  template <class M>
  Answer Send(Slot* sender, Slot* target, uint32_t generation, const MessageOps* ops, M& message);
  // A message that has its place reserved in the target's mailbox. It goes nowhere, quietly, when
  // the target's runtime has ended. Any thread.
  template <class M>
  static void SendReserved(Slot* target, uint32_t generation, const MessageOps* ops, M&& message);
  // Runtime control: C has Run(Worker&, Slot* target, uint32_t generation), called on `to`'s
  // thread. Any thread. False: the runtime of `to` has ended.
  template <class C>
  static bool Post(Worker& to, Slot* target, uint32_t generation, C control);

  // Runs f as a handler of the actor. False, and not run: the actor is parked, ends, or was told
  // to; or another handler runs on this worker: no handler runs inside another one.
  template <class F>
  bool RunHandler(Slot* slot, const char* what, F&& f);
  // Whether it would; and OnStart, which comes before any other handler, has run then.
  bool MayHandle(Slot* slot) {
    if (current_ != nullptr || !slot->Runnable() || slot->stop_asked || slot->actor == nullptr) {
      return false;
    }
    if (slot->state != ActorState::kStarting) return true;
    RunStart(slot);
    EndOfHandlers(slot);  // The actor may have parked or stopped in there.
    return slot->Runnable();
  }
  // Code of a user's runs for `slot`, and what it sends keeps its order: a handler, and what counts
  // as one: a constructor, a destructor, a filter. An end that is asked for meanwhile begins when
  // it has returned: its own at once, another actor's in that actor's next turn.
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
  // The same for a callback that another one keeps for `slot`, as a hub keeps a filter. No end of a
  // handler follows it: what its actor could not send, or its end, is for the actor's next turn.
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
  // `io` is done; it is deleted at the end of the turn. Its slot may then go to the next actor.
  void DetachIo(Slot* slot);
  static uint64_t PollData(const Slot* slot) {
    return (uint64_t{slot->generation - slot->first_generation} << 32) | slot->id;
  }
  void MarkReady(IoHandler* io);
  // Work in portions: its OnTurn comes once, in this turn or the next. Idempotent.
  void MarkDue(TurnTask& task) {
    if (!tasks_.Linked(task)) tasks_.PushBack(task);
  }
  void Withdraw(TurnTask& task) { tasks_.RemoveIfLinked(task); }
  // True: something has come for it, and waits for its turn; OnDeadline() follows then. So a
  // deadline is judged behind what had arrived.
  bool JudgeAfterTurn(IoHandler* io) {
    io->deadline_waits_ = io->OnReadyList() && !Planted(Plant::kJudgedBeforeRead);
    return io->deadline_waits_;
  }
  void FlushAfterSlice(IoHandler* io);
  // Whether all mail that was there when this turn began has been taken in.
  bool MailSeen() const { return mail_seen_; }
  // True while the budget is spent: connections do not read, but for those that may from the
  // reserve. They are put on the ready list when it is not, or when the reserve is theirs.
  bool ReadingPaused() const { return reading_paused_; }
  void PauseReading() { reading_paused_ = true; }
  // The reserve is the worker's overdraft, which is a part of the fixed memory: true if it has so
  // much. A quarter of it is left for what handlers send.
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
  bool DrainInsists() const { return drain_insists_; }  // Half of its time is over.
  bool ShuttingDown() const { return shutdown_; }       // The drain's deadline has come.
  // A hub here waits for a slow reader from now on (+1), or no more (-1): so long a drain does not
  // take this worker for one at rest.
  void NoteHubWaits(int change) { hub_waits_ += change; }

  // --- Time is shared: whoever has much to do does it in portions.

  // True: what runs now (an actor's slice, a descriptor's turn, a timer) has had its share of this
  // turn. It keeps its place, stands where the next turn finds it, and returns. `now` moves when
  // the clock is read: after handlers, and after pieces.
  bool TurnOver() const { return now_ns_ >= share_end_ns_; }
  void BeginShare(int64_t ns) { share_end_ns_ = now_ns_ + ns; }
  // One of many pieces of work is done (a subscriber has its message): the clock is read as often
  // as the pieces' measured length asks for. Answers TurnOver().
  bool PieceDone(const Slot* slot, const char* what) {
    NoteHandler(slot, what, nullptr);
    return TurnOver();
  }

  // --- Life and death (life.cc).

  // Its handler, or what counts as one, runs on this thread now.
  bool RunsHandlerOf(const Slot* slot) const { return current_ == slot; }
  Slot* AllocateSlot();  // nullptr: actors_max; counted.
  void Open(Slot* slot, uint32_t capacity);
  // The actor's constructor ran, or threw `error`.
  void Install(Slot* slot, ActorBase* actor);
  void SpawnFailed(Slot* slot, std::exception_ptr error);
  void Stop(Slot* slot, EndReason reason, std::string text);
  // In a drain: once it has handled what lies in its mailbox.
  void StopBehindMail(Slot* slot, int rounds);
  // As Stop, for one that must hear of its end (a session): OnStart comes first, if it has not run.
  void StopStarted(Slot* slot, EndReason reason, std::string text);
  void Fail(Slot* slot, std::exception_ptr error);
  bool Live(const Slot* slot, uint32_t generation) const {
    return slot->mailbox.Admits(generation);
  }
  void FailWith(Slot* slot, std::string text);
  // Answers its place in the order of the parent's children.
  uint64_t AddChild(Slot* parent, Slot* child, uint32_t child_generation);
  void AddWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  void RemoveWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  void ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers);
  void NoteRestarting(Slot* slot, uint32_t generation, const Slot* ancestor);
  void Escalate(Slot* parent, uint32_t generation, std::string text);
  // Makes the actor for the first time, and keeps what makes it anew when it fails.
  void MakeRestarting(Slot* slot, std::unique_ptr<Restart> restart);
  // False, and counted: an actor that ends has no more children, as nobody would end them.
  bool MayHaveChild(const Slot* parent);
  void AdoptPlaced(Slot* slot, uint32_t generation);
  void LingerOver(Slot* slot);
  ActorExtra& Extra(Slot* slot);

  // --- Parking (park.cc).

  // An actor of this worker takes no message from its next handler on, until it is resumed.
  void Suspend(Slot* slot) { slot->suspended |= Slot::kBySelf; }
  void Resume(Slot* slot) {
    slot->suspended &= static_cast<uint8_t>(~Slot::kBySelf);
    ScheduleIfRunnable(slot);
  }
  // From its next handler on what lies in its mailbox waits, and only that: OnStart, timers and
  // what its descriptor tells go on.
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
  void DrainInsist();  // Messages that hubs hold back delay no session's OnDrain any more.
  void LogWhatHoldsDrain();
  void StopRoots();
  void ShutdownAll();
  std::string Dump();
  // Who holds most of the memory on this worker, the heaviest first.
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
  // Messages to other workers and from them, in all: equal sums over all workers mean that nothing
  // is on its way.
  int64_t CrossSent() const { return cross_sent_; }
  int64_t CrossTaken() const { return cross_taken_; }

 private:
  friend class Inspector;
  friend class Runtime;
  friend class WorkerTestPeer;

  // What goes to one other worker, gathered: enqueued in bulk when full and when the slice ends.
  struct Stage {
    std::array<Envelope, kStageMax> envelopes;
    int count = 0;
    bool dirty = false;
    std::vector<std::pair<Slot*, uint32_t>> room_waiters;  // Parked actors that wait for the lane.
    Envelope& Place() { return envelopes[static_cast<size_t>(count)]; }  // Free; never left full.
  };
  // Timers or descriptors that ran no handler, between two looks at the clock.
  static constexpr int kLookEvery = 16;

  struct Recent {  // A handler that ran since the clock was read.
    const Slot* slot;
    const char* what;  // nullptr: that of a message.
    // The message's MessageOps; else the actor's type (mangled), where the actor is gone.
    const void* of;
  };

  Answer Refuse(Answer answer);
  // `to` is the target's worker, looked up once: the slot of an actor that ends meanwhile may
  // change it. kAccepted: the home of `to` is locked until CommitOutside.
  static Answer BeginOutside(Worker& to, Slot* target, uint32_t generation, int64_t charge);
  static void CommitOutside(Worker& to, Envelope& envelope);
  // Control and reserved messages need no credit: to this worker, another one of the runtime, or
  // from outside. `bytes` are to be charged for a reserved one: it cannot be refused, so where
  // there is no memory it goes uncharged, and its reservation is the bound.
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
  // Does it belong to this worker's runtime? One of another runtime may be gone.
  bool IsOurs(const Worker* worker) const { return Home::Of(worker).IsOf(shared_.runtime); }
  Stage& StageFor(const Worker& to) { return *stages_[static_cast<size_t>(to.index_)]; }
  void StageAdded(Stage& stage, Worker& to) {
    ++stage.count;
    if (!stage.dirty || stage.count == kStageMax) StageGrew(stage, to);
  }
  void StageGrew(Stage& stage, Worker& to);
  void Flush(int to);
  void FlushStages();
  // The lane's room, the charge and the credit for a message to another worker, or why not.
  Answer ReserveRemote(Worker& to, Slot* target, uint32_t generation, int64_t charge,
                       bool overdraft);
  template <class M>
  Answer Attempt(Slot* target, uint32_t generation, const MessageOps* ops, M& message,
                 bool overdraft);
  template <class M>
  [[gnu::noinline]] Answer SendOtherwise(Slot* sender, Slot* target, uint32_t generation,
                                         const MessageOps* ops, M& message);
  // A message whose credit and charge are taken, into the mailbox of an actor that lives here.
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
  void Schedule(Slot* slot) {
    if (slot->scheduled) return;
    slot->scheduled = true;
    slot->run_next = nullptr;
    if (run_last_ == nullptr) {
      run_first_ = slot;
    } else {
      run_last_->run_next = slot;
    }
    run_last_ = slot;
  }
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
    return run_first_ != nullptr || !ready_.Empty() || !flush_.Empty() || !tasks_.Empty() ||
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
  void NoteHandler(const Slot* slot, const char* what, const MessageOps* ops) {
    Note({slot, what, ops});
  }
  // A last handler, or what is destroyed: the log may name it when the actor is gone.
  void NoteEnd(const Slot* slot, const char* what, const char* type) { Note({slot, what, type}); }
  void Note(const Recent& recent) {
    recent_[static_cast<size_t>(recent_count_++)] = recent;
    if (recent_count_ >= recent_max_) ReadClock();
  }
  std::string NameOf(const Recent& recent) const;
  void ReadClock();
  void ReportSlow(int64_t ns);
  void Bury();
  void CheckMemory();
  // shedding.cc
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
  std::string NameOf(const Slot* slot) const;

  static thread_local constinit Worker* current_worker_;

  Shared& shared_;
  Os& os_;
  const Options& options_;
  const int index_;
  int poller_ = -1;
  int wake_fd_ = -1;
  int64_t now_ns_ = 0;
  int64_t share_end_ns_ = 0;  // When what runs now has had its share of the turn.

  Inbox inbox_;
  SleepWord<> sleep_;
  std::vector<std::unique_ptr<Stage>> stages_;  // By worker; none for itself.
  std::vector<int> dirty_stages_;
  EnvelopeList local_control_;
  EnvelopePool pool_;
  Lease lease_;
  Ledger ledger_;
  TimerWheel timers_;

  Slot* run_first_ = nullptr;
  Slot* run_last_ = nullptr;
  Slot* current_ = nullptr;  // Whose handler runs, or what counts as one (HandlerScope).
  sluice::Running running_;
  IntrusiveList<TurnTask, TaskTag> tasks_;
  IntrusiveList<IoHandler, ReadyTag> ready_;
  int ready_count_ = 0;
  IntrusiveList<IoHandler, FlushTag> flush_;
  int64_t io_count_ = 0;
  std::vector<std::unique_ptr<IoHandler>> graveyard_;
  std::vector<IoHandler*> memory_waiters_io_;               // Each knows its place here.
  std::vector<std::pair<Slot*, uint32_t>> memory_waiters_;  // Parked for memory.
  size_t reserve_look_ = 0;  // Where LookForReaders goes on in memory_waiters_io_.
  int64_t memory_check_ms_ = 0;
  int64_t next_proposal_ms_ = 0;
  uint32_t look_chunk_ = 0;  // Where LookAtConnections goes on; 0: it begins again.
  struct Stalled {
    Slot* slot = nullptr;
    uint32_t generation = 0;
    int64_t bytes = 0;
  };
  Stalled heaviest_;  // Of those looked at, as they were then.
  // Of the last whole round of looks, and of the one under way: the heaviest, at most
  // 2 * ShedBoard's kConnectionsMax.
  std::vector<Stalled> stalled_;
  std::vector<Stalled> stalled_so_far_;
  std::vector<Stalled> to_shed_;  // Of this worker's turn, the heaviest last...
  int shed_left_ = 0;             // ...and how many of them may be ended.
  int64_t next_holders_log_ms_ = 0;
  bool reading_paused_ = false;
  std::vector<Slot*> free_slots_;
  int64_t actor_count_ = 0;

  std::array<Recent, 32> recent_{};
  int recent_count_ = 0;
  // How many handlers share a look at the clock: one after each poll, then twice as many as long as
  // they take kGroupNs at most. 1 for a while after a slow handler, so that the next is named
  // alone.
  int recent_max_ = 1;
  int64_t exact_until_ns_ = 0;
  int64_t processor_ns_ = 0;  // This thread's processor time at processor_look_ns_.
  ThreadSwitches switches_;   // And how often it had waited by then.
  int64_t sleeps_ = 0;        // Waits in the poller since then, at most.
  int64_t processor_look_ns_ = -1'000'000'000;
  const int64_t slow_handler_ns_;

  int64_t spin_ns_ = 0;  // How long it is worth to wait for mail before sleeping; 0: not at all.
  bool mail_since_sleep_ = false;
  bool mail_seen_ = true;
  int first_lane_ = 0;        // Where DrainInbox goes on.
  EnvelopeList batch_;        // Taken out of that lane; the turn's time was over before it arrived.
  bool timers_left_ = false;  // Some are due, and their time was over.
  bool polled_ = false;  // The turn before ended with a poll, so this one need not begin with it.
  int64_t gap_from_ms_ = -1;  // The last long gap between two looks at the clock in a turn.
  int64_t gap_until_ms_ = -1;
  bool mail_found_ = false;  // It ended with mail that came before this worker slept.
  int64_t polled_ns_ = 0;    // When it was last polled, as this worker's clock had it.
  bool stop_turning_ = false;
  bool draining_ = false;
  bool drain_closing_ = false;
  bool drain_insists_ = false;
  bool roots_stopped_ = false;  // A root that comes later is stopped at once.
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

// ---------------------------------------------------------------------------------------------------------

template <class M>
Answer Worker::Attempt(Slot* target, uint32_t generation, const MessageOps* ops, M& message,
                       bool overdraft) {
  const int64_t charge = Envelope::BytesOf<M>(message);
  if (charge > Envelope::kChargeMax) return Answer::kOverloaded;
  Worker& to = *target->worker;  // Once: the slot of an actor that ends meanwhile may change it.
  if (&to == this) {
    if (!Live(target, generation)) [[unlikely]] {
      // An actor placed here may be written to before the order that makes it has come.
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
  // Most sends: to an actor of this worker, and all that it takes is at hand. No call, no atomic.
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
  // To oneself nothing waits in the outbox, so nothing is overtaken.
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

// One static table for each kind of control.
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
