#include "sluice/core/worker.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/actor.h"
#include "sluice/core/control.h"
#include "sluice/core/log.h"
#include "sluice/core/runtime.h"

namespace sluice {

namespace {

constexpr uint64_t kWakeData = UINT64_MAX;
constexpr int kEventsMax = 256;
constexpr int kReadyTurnsMax = 4'096;  // Descriptors served between two polls.
constexpr int64_t kMemoryCheckMs =
    5;  // How often paused readers look whether there is memory again.
constexpr int64_t kSpinMinNs = 20'000;  // 1 to 5 us are useless: a wake across cores takes some 30.
constexpr int64_t kSpinMaxNs = 50'000;
constexpr int kSpinRoundsMax = 10'000;
constexpr int64_t kProcessorLookNs = 1'000'000;  // A system call, so not for each group.
constexpr int64_t kExactNs =
    1'000'000'000;  // After a slow handler each one is timed alone for so long.

}  // namespace

thread_local constinit Worker* Worker::current_worker_ = nullptr;

Worker::Worker(Runtime& runtime, int index)
    : runtime_(runtime),
      os_(runtime.os()),
      options_(runtime.options()),
      index_(index),
      now_ns_(os_.NowNs()),
      inbox_(runtime.options().workers + 1, runtime.options().lane_messages_max),
      lease_(runtime.budget(), runtime.options().workers),
      timers_(now_ns_ / 1'000'000),
      slow_handler_ns_(absl::ToInt64Nanoseconds(options_.slow_handler)),
      read_buffer_(new char[kReadBytes]) {
  for (int i = 0; i < options_.workers; ++i) {
    stages_.push_back(i == index ? nullptr : std::make_unique<Stage>());
  }
}

Worker::~Worker() {
  while (!local_control_.Empty()) pool_.Put(local_control_.Pop());
  lease_.ReturnIdle();  // Pays a debt: what this worker overdrew, others may have refunded.
  Bury();
  if (poller_ >= 0) os_.Close(poller_);
  if (wake_fd_ >= 0) os_.Close(wake_fd_);
}

absl::Status Worker::Open() {
  poller_ = os_.PollerCreate();
  if (poller_ < 0) return absl::ErrnoToStatus(-poller_, "epoll_create1 for a worker");
  wake_fd_ = os_.WakeCreate();
  if (wake_fd_ < 0) return absl::ErrnoToStatus(-wake_fd_, "eventfd for a worker");
  const int added = os_.PollerAdd(poller_, wake_fd_, EPOLLIN | EPOLLET, kWakeData);
  if (added < 0) return absl::ErrnoToStatus(-added, "epoll_ctl for a worker's eventfd");
  return absl::OkStatus();
}

// --- Sending.

Answer Worker::Refuse(Answer answer) {
  ledger_.refused_full += answer == Answer::kFull;
  ledger_.refused_closed += answer == Answer::kClosed;
  ledger_.refused_overloaded += answer == Answer::kOverloaded;
  return answer;
}

// The order matters: room and charge are this worker's own and can be given up again; a credit
// cannot, as only the owner may give credits back (a waiter would not be told of one that somebody
// else returned).
Answer Worker::ReserveRemote(Slot* target, uint32_t generation, int64_t charge, bool overdraft) {
  Inbox::Lane& lane = target->worker->inbox_.LaneFrom(index_);
  if (!lane.gate.HasRoom()) {
    return target->mailbox.Word().Generation() == generation ? Answer::kFull : Answer::kClosed;
  }
  if (!lease_.Charge(charge) && !(overdraft && lease_.ChargeOverdraft(charge))) {
    return Answer::kOverloaded;
  }
  const Taken taken = target->mailbox.Word().Take(generation);
  if (taken != Taken::kCredit) {
    lease_.Refund(charge);
    return taken == Taken::kFull ? Answer::kFull : Answer::kClosed;
  }
  lane.gate.Sent();
  return Answer::kAccepted;
}

void Worker::StageGrew(Stage& stage, Worker& to) {
  if (!stage.dirty) {
    stage.dirty = true;
    dirty_stages_.push_back(to.index_);
  }
  if (stage.count < kStageMax) return;
  cross_sent_ += stage.count;
  to.inbox_.Enqueue(to.inbox_.LaneFrom(index_), stage.envelopes.data(), stage.count);
  stage.count = 0;
  // The word itself is exchanged when the slice ends; here only if the hint says that it would
  // help.
  if (to.sleep_.LooksAsleep() && to.sleep_.Rouse()) to.Signal();
}

void Worker::Flush(int to) {
  Stage& stage = *stages_[to];
  Worker& worker = runtime_.worker(to);
  if (stage.count > 0) {
    cross_sent_ += stage.count;
    worker.inbox_.Enqueue(worker.inbox_.LaneFrom(index_), stage.envelopes.data(), stage.count);
    stage.count = 0;
  }
  stage.dirty = false;
  if (worker.sleep_.Rouse()) worker.Signal();
}

void Worker::FlushStages() {
  for (int to : dirty_stages_) Flush(to);
  dirty_stages_.clear();
}

void Worker::Route(Worker& to, Envelope& envelope) {
  const bool reserved = envelope.Ops()->kind == MessageKind::kReserved;
  ledger_.reserved_sent += reserved;
  if (&to == this) {
    Envelope* kept = pool_.Get();
    *kept = std::move(envelope);
    if (reserved) {
      Arrive(kept);  // At once: it keeps its order among the messages that are sent directly.
    } else {
      local_control_.Push(kept);
    }
    return;
  }
  Stage& stage = StageFor(to);
  stage.Place() = std::move(envelope);
  StageAdded(stage, to);
}

int64_t Worker::ChargeReserved(Worker& to, int64_t bytes) {
  if (bytes > Envelope::kChargeMax) return 0;
  Worker* here = current_worker_;
  const bool charged = here != nullptr && &here->runtime_ == &to.runtime_
                           ? here->lease_.ChargeOverdraft(bytes)
                           : to.runtime_.budget().Take(bytes);
  return charged ? bytes : 0;
}

void Worker::RouteOutside(Worker& to, Envelope& envelope) {
  Runtime& runtime = to.runtime_;
  {
    std::lock_guard<std::mutex> lock(runtime.OutsideLock(to.index_));
    if (envelope.Ops()->kind == MessageKind::kReserved) runtime.CountOutsideReserved();
    runtime.CountOutsideCross();
    to.inbox_.Enqueue(to.inbox_.LaneFrom(runtime.options().workers), &envelope, 1);
  }
  if (to.sleep_.Rouse()) to.Signal();
}

Answer Worker::BeginOutside(Slot* target, uint32_t generation, int64_t charge) {
  Worker& to = *target->worker;
  Runtime& runtime = to.runtime_;
  if (runtime.OutsideClosed()) return Answer::kClosed;
  if (!runtime.budget().Take(charge)) {
    // All workers may be asleep; one must see to it that this does not last.
    if (runtime.budget().Spent() && !runtime.shedder().Watched() && to.sleep_.Rouse()) to.Signal();
    return Answer::kOverloaded;
  }
  runtime.OutsideLock(to.index_).lock();
  Inbox::Lane& lane = to.inbox_.LaneFrom(runtime.options().workers);
  Answer answer = Answer::kFull;
  if (lane.gate.HasRoom()) {
    const Taken taken = target->mailbox.Word().Take(generation);
    if (taken == Taken::kCredit) {
      lane.gate.Sent();
      return Answer::kAccepted;
    }
    if (taken == Taken::kClosed) answer = Answer::kClosed;
  }
  runtime.OutsideLock(to.index_).unlock();
  runtime.budget().Give(charge);
  return answer;
}

void Worker::CommitOutside(Slot* target, Envelope& envelope) {
  Worker& to = *target->worker;
  Runtime& runtime = to.runtime_;
  runtime.CountOutsideCross();
  runtime.CountOutsideSent();
  to.inbox_.Enqueue(to.inbox_.LaneFrom(runtime.options().workers), &envelope, 1);
  runtime.OutsideLock(to.index_).unlock();
  if (to.sleep_.Rouse()) to.Signal();
}

// --- Receiving.

bool Worker::DrainInbox() {
  bool any = false;
  const int lanes = inbox_.LaneCount();
  for (int from = 0; from < lanes; ++from) {
    if (from == index_) continue;
    Inbox::Lane& lane = inbox_.LaneFrom(from);
    // A lane's share of a turn is what it can hold, so that one sender cannot keep out the others.
    for (uint32_t taken = 0; taken < options_.lane_messages_max;) {
      EnvelopeList drained;
      const size_t count = inbox_.Drain(lane, pool_, drained, kDrainMax);
      if (count == 0) break;
      any = true;
      cross_taken_ += static_cast<int64_t>(count);
      uint64_t user_messages = 0;
      while (!drained.Empty()) {
        Envelope* envelope = drained.Pop();
        user_messages += envelope->Ops()->kind == MessageKind::kUser;
        Arrive(envelope);
      }
      if (user_messages > 0 && lane.gate.Take(user_messages) && from < options_.workers) {
        Post(runtime_.worker(from), nullptr, 0, LaneRoomControl{index_});
      }
      taken += static_cast<uint32_t>(count);
      if (count < kDrainMax) break;
    }
    mail_since_sleep_ |= any && from < options_.workers;
  }
  return any;
}

void Worker::Arrive(Envelope* envelope) {
  Slot* slot = envelope->target;
  if (envelope->Ops()->kind != MessageKind::kUser || !Live(slot, envelope->generation)) {
    ArriveOtherwise(envelope);
    return;
  }
  ++ledger_.held;
  slot->mailbox.Arrived();
  slot->queue.Push(envelope);
  if (!slot->scheduled) ScheduleIfRunnable(slot);
}

// Control, reserved messages, and what comes for an actor that is not there: not yet, or not any
// more.
void Worker::ArriveOtherwise(Envelope* envelope) {
  Slot* slot = envelope->target;
  if (slot != nullptr && slot->generation != envelope->generation) {
    AdoptPlaced(slot, envelope->generation);
  }
  const MessageKind kind = envelope->Ops()->kind;
  if (kind == MessageKind::kControl) {
    envelope->Ops()->handle(this, *envelope);
    pool_.Put(envelope);
  } else if (!Live(slot, envelope->generation)) {
    lease_.Refund(envelope->charge);
    if (kind == MessageKind::kReserved) {
      ++ledger_.reserved_dropped;
    } else {
      ++ledger_.dropped[static_cast<int>(DropReason::kTargetEnded)];
    }
    pool_.Put(envelope);
  } else if (kind == MessageKind::kReserved) {
    ++ledger_.reserved_held;
    slot->queue.Push(envelope);
    ScheduleIfRunnable(slot);
  } else {
    Arrive(envelope);
  }
}

void Worker::RunLocalControl() {
  // What a control posts to this worker is served in this loop too; each consumes a reservation, so
  // it ends.
  while (!local_control_.Empty()) Arrive(local_control_.Pop());
}

// --- Running.

void Worker::RunActors() {
  const int64_t stop_ns = now_ns_ + kTurnNs;
  int slices = 0;
  while (run_first_ != nullptr) {
    Slot* slot = run_first_;
    run_first_ = slot->run_next;
    if (run_first_ == nullptr) run_last_ = nullptr;
    slot->run_next = nullptr;
    slot->scheduled = false;
    RunSlice(slot);
    if (!local_control_.Empty()) RunLocalControl();
    if ((++slices & 7) == 0 && !dirty_stages_.empty()) FlushStages();
    if ((slices & 63) == 0) ReadClock();
    if (now_ns_ >= stop_ns) break;
  }
}

void Worker::DeliverReserved(Slot* slot, Envelope* envelope) {
  --ledger_.reserved_held;
  try {
    envelope->Ops()->handle(slot->actor, *envelope);
    ++ledger_.reserved_delivered;
  } catch (...) {
    ++ledger_.reserved_dropped;
    Fail(slot, std::current_exception());
  }
}

// In RunSlice's loop, and nowhere else: inline, as a message costs about as much as three calls.
[[gnu::always_inline]] inline void Worker::Deliver(Slot* slot, Envelope* envelope) {
  const MessageOps* ops = envelope->Ops();
  running_.Message(ops);
  lease_.Refund(envelope->charge);  // What the handler sends may use it.
  if (ops->kind == MessageKind::kUser) [[likely]] {
    slot->mailbox.Left();
    --ledger_.held;
    try {
      ops->handle(slot->actor, *envelope);
      ++ledger_.delivered;
    } catch (...) {
      ++ledger_.dropped[static_cast<int>(DropReason::kFailed)];
      Fail(slot, std::current_exception());
    }
    if (slot->mailbox.HasWaiters()) [[unlikely]]
      IssueGrants(slot);
  } else {
    DeliverReserved(slot, envelope);
  }
  pool_.Put(envelope);
  NoteHandler(slot, nullptr, ops);
}

void Worker::RunSlice(Slot* slot) {
  if (slot->state != ActorState::kLive) [[unlikely]] {
    if (slot->state == ActorState::kLingering) {
      EndStep(slot);
      return;
    }
    if (slot->state == ActorState::kStopping) {
      StopNextChild(slot);
      return;
    }
    if (slot->state == ActorState::kRestarting) {
      RestartStep(slot);
      return;
    }
    if (slot->state != ActorState::kStarting || !slot->Runnable() || slot->actor == nullptr) return;
    current_ = slot;
    running_.Slice(slot);
    RunStart(slot);
  }
  current_ = slot;
  running_.Slice(slot);
  const int64_t slice_end_ns = now_ns_ + kSliceNs;
  for (int handled = 0; handled < kSliceMessagesMax; ++handled) {
    if (slot->queue.Empty() || !slot->TakesMail()) break;
    Deliver(slot, slot->queue.Pop());
    if (now_ns_ >= slice_end_ns) break;
  }
  current_ = nullptr;
  running_.Slice(nullptr);
  EndOfHandlers(slot);
}

void Worker::RunStart(Slot* slot) {
  slot->state = ActorState::kLive;
  slot->started = true;
  Slot* const before = std::exchange(current_, slot);
  const sluice::Running::Scope running(running_, slot, "OnStart", TypeNameOf(slot->actor));
  try {
    slot->actor->OnStart();
  } catch (...) {
    Fail(slot, std::current_exception());
  }
  current_ = before;
  NoteHandler(slot, "OnStart", nullptr);
}

// After one handler or a slice of them: what they wrote leaves, credits go round, the actor parks,
// stops or goes on.
void Worker::EndOfHandlers(Slot* slot) {
  if (flush_first_ != nullptr) RunFlushList();
  if (slot->TakesMail() && !slot->mailbox.OwesCredits()) [[likely]] {
    if (!slot->queue.Empty()) Schedule(slot);
    return;
  }
  if (slot->state == ActorState::kFree) return;
  if (slot->mailbox.HasWaiters()) IssueGrants(slot);
  if (!slot->mailbox.Closed()) slot->mailbox.Publish(slot->generation);
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) {
    return;  // It failed.
  }
  if (slot->has_outbox && !slot->parked) {
    FlushOutbox(slot);
    // Parked, it frees no more: what is free now must go round now, however little.
    if (slot->parked && slot->mailbox.HasWaiters()) IssueGrants(slot);
  }
  if (slot->stop_asked && slot->state != ActorState::kStopping) {
    BeginStop(slot);
    return;
  }
  ScheduleIfRunnable(slot);
}

void Worker::RunFlushList() {
  while (flush_first_ != nullptr) {
    IoHandler* io = flush_first_;
    flush_first_ = io->flush_next_;
    io->flush_next_ = nullptr;
    io->on_flush_list_ = false;
    io->OnSliceEnd();
  }
}

void Worker::FlushAfterSlice(IoHandler* io) {
  if (io->on_flush_list_) return;
  io->on_flush_list_ = true;
  io->flush_next_ = std::exchange(flush_first_, io);
}

void Worker::MarkReady(IoHandler* io) {
  if (io->on_ready_list_) return;
  io->on_ready_list_ = true;
  io->ready_next_ = nullptr;
  if (ready_last_ == nullptr) {
    ready_first_ = io;
  } else {
    ready_last_->ready_next_ = io;
  }
  ready_last_ = io;
  ++ready_count_;
}

void Worker::RunReady() {
  // As many as stand there now; whoever comes back waits for the next turn.
  for (int turns = std::min(ready_count_, kReadyTurnsMax); ready_first_ != nullptr && turns > 0;
       --turns) {
    IoHandler* io = ready_first_;
    ready_first_ = io->ready_next_;
    if (ready_first_ == nullptr) ready_last_ = nullptr;
    io->ready_next_ = nullptr;
    io->on_ready_list_ = false;
    --ready_count_;
    io->OnTurn();
    if (flush_first_ != nullptr) RunFlushList();
    if (!local_control_.Empty()) RunLocalControl();
  }
}

void Worker::RunTimers() {
  while (TimerNode* node = timers_.PopDue(NowMs())) {
    static_cast<Timer*>(node)->OnTimer(*this);
    if (flush_first_ != nullptr) RunFlushList();
    if (!local_control_.Empty()) RunLocalControl();
  }
}

void Worker::ReadClock() {
  const int64_t before = now_ns_;
  now_ns_ = os_.NowNs();
  if (recent_count_ > 0 && now_ns_ - before > slow_handler_ns_) {
    ReportSlow(now_ns_ - before);
  }
  recent_count_ = 0;
  // The processor time that a slow group will be measured from, at most so much too early.
  if (now_ns_ - processor_look_ns_ >= kProcessorLookNs) {
    processor_look_ns_ = now_ns_;
    processor_ns_ = os_.ThreadProcessorNs();
  }
  recent_max_ = now_ns_ < exact_until_ns_ ? 1 : static_cast<int>(recent_.size());
}

// The clock is read for a group of handlers, not for each; so a slow group names all that ran in
// it, and from then on each handler is timed alone for a while. One that blocks uses no processor
// time, and neither does one whose thread the machine had no processor for: both are named, and the
// line says how much was used.
void Worker::ReportSlow(int64_t ns) {
  ++ledger_.slow_handlers;
  exact_until_ns_ = now_ns_ + kExactNs;
  std::vector<std::string> names;
  for (int i = 0; i < recent_count_; ++i) {
    const Recent& recent = recent_[i];
    std::string what = recent.ops != nullptr
                           ? absl::StrCat("On(", Demangle(recent.ops->name()), ")")
                           : std::string(recent.what);
    std::string name = absl::StrCat(NameOf(recent.slot), ".", what);
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  const int64_t processor_ns = std::clamp<int64_t>(os_.ThreadProcessorNs() - processor_ns_, 0, ns);
  std::string text = absl::StrFormat(
      "slow handler: worker %d was held for %d ms (processor %d ms) by %s%s", index_,
      ns / 1'000'000, processor_ns / 1'000'000, names.size() > 1 ? "one of " : "", names[0]);
  for (size_t i = 1; i < names.size(); ++i) absl::StrAppend(&text, ", ", names[i]);
  LogWarn(text);
}

std::string Worker::NameOf(const Slot* slot) const {
  if (slot == nullptr) return "nobody";
  if (slot->extra != nullptr && !slot->extra->name.empty()) return slot->extra->name;
  if (slot->actor == nullptr) {
    const char* type = slot->extra != nullptr && slot->extra->restart != nullptr
                           ? slot->extra->restart->type
                           : nullptr;
    return absl::StrCat(type != nullptr ? Demangle(type) : "actor", "#", slot->id);
  }
  return absl::StrCat(Demangle(typeid(*slot->actor).name()), "#", slot->id);
}

std::string Demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

// --- One turn.

bool Worker::Turn(int64_t wait_until_ms) {
  if (rests_) PublishRest(false);
  ReadClock();
  DrainInbox();
  RunLocalControl();
  RunTimers();
  RunActors();
  RunReady();
  // Before the stages are flushed: who is given memory here may send to other workers.
  if (runtime_.budget().Spent()) reading_paused_ = true;
  if (reading_paused_ || !memory_waiters_.empty()) CheckMemory();
  RunLocalControl();
  if (flush_first_ != nullptr) RunFlushList();
  FlushStages();
  ReadClock();
  if (HasWork()) {
    Poll(0);
  } else if (stop_turning_) {
    Bury();
    return false;
  } else {
    Sleep(wait_until_ms);
  }
  Bury();
  return true;
}

// True: mail came while it was worth waiting for it.
bool Worker::Spin() {
  if (spin_ns_ == 0) return false;
  const int64_t start_ns = os_.NowNs();
  // Bounded by rounds too: a simulated clock stands still between turns.
  for (int round = 0; round < kSpinRoundsMax; ++round) {
    if (DrainInbox()) return true;
    if (os_.NowNs() - start_ns >= spin_ns_) return false;
  }
  return false;
}

void Worker::Sleep(int64_t wait_until_ms) {
  // Only a worker that other workers have written to since it slept spins; one that serves sockets
  // alone never does.
  if (mail_since_sleep_)
    spin_ns_ = std::clamp<int64_t>(spin_ns_ + spin_ns_ / 2, kSpinMinNs, kSpinMaxNs);
  mail_since_sleep_ = false;
  if (Spin()) return;
  spin_ns_ = spin_ns_ / 2 < kSpinMinNs ? 0 : spin_ns_ / 2;
  lease_.ReturnIdle();
  sleep_.FallAsleep();
  // Memory, too: who is refused it outside rouses this worker only after it has said so
  // (BeginOutside; the exchange there and the one above order the two).
  if (DrainInbox() || !local_control_.Empty() || (!reading_paused_ && runtime_.budget().Spent())) {
    sleep_.WakeUp();
    return;
  }
  const int64_t until_ms =
      std::min({wait_until_ms, timers_.NextMs(),
                reading_paused_ || !memory_waiters_.empty() ? NowMs() + kMemoryCheckMs
                                                            : TimerWheel::kNever});
  int timeout_ms = -1;
  if (until_ms != TimerWheel::kNever) {
    // Rounded up: a timer must not find itself a fraction too early and poll again.
    timeout_ms = static_cast<int>(std::clamp<int64_t>(until_ms - NowMs() + 1, 0, 1 << 30));
    if (until_ms <= NowMs()) timeout_ms = 0;
  }
  // It rests until an event, or until its next turn: a coordinator that takes the turns itself
  // looks in between.
  if (draining_) PublishRest(true);
  Poll(timeout_ms);
  sleep_.WakeUp();
}

void Worker::Poll(int timeout_ms) {
  if (poller_ < 0) return;  // It could not be opened: the runtime says so, and never starts.
  std::array<epoll_event, kEventsMax> events;
  const int count = os_.PollerWait(poller_, events.data(), kEventsMax, timeout_ms);
  SLUICE_CHECK(count >= 0, "epoll_wait failed");
  if (timeout_ms != 0) ReadClock();
  if (rests_ && count > 0) PublishRest(false);
  for (int i = 0; i < count; ++i) {
    const uint64_t data = events[i].data.u64;
    if (data == kWakeData) {
      os_.WakeClear(wake_fd_);
      continue;
    }
    // The generation tells the events of a descriptor closed in this very batch from its
    // successor's.
    Slot* slot = runtime_.SlotAt(static_cast<uint32_t>(data));
    if (slot->generation == data >> 32 && slot->io != nullptr) slot->io->OnEvents(events[i].events);
  }
}

void Worker::Bury() { graveyard_.clear(); }

// --- Descriptors.

void Worker::AttachIo(Slot* slot, IoHandler* io) {
  SLUICE_CHECK(slot->io == nullptr);
  slot->io = io;
  io->prev_ = nullptr;
  io->next_ = std::exchange(io_all_, io);
  if (io->next_ != nullptr) io->next_->prev_ = io;
  ++io_count_;
}

void Worker::DetachIo(Slot* slot) {
  IoHandler* io = std::exchange(slot->io, nullptr);
  SLUICE_CHECK(io != nullptr);
  if (io->prev_ != nullptr) {
    io->prev_->next_ = io->next_;
  } else {
    io_all_ = io->next_;
  }
  if (io->next_ != nullptr) io->next_->prev_ = io->prev_;
  --io_count_;
  // The lists that it may still stand on: the ready list and the flush list are short walks, and
  // rare here.
  if (io->on_ready_list_) {
    IoHandler* before = nullptr;
    for (IoHandler* i = ready_first_; i != io; i = i->ready_next_) before = i;
    (before == nullptr ? ready_first_ : before->ready_next_) = io->ready_next_;
    if (ready_last_ == io) ready_last_ = before;
    io->on_ready_list_ = false;
    --ready_count_;
  }
  if (io->on_flush_list_) {
    IoHandler** link = &flush_first_;
    while (*link != io) link = &(*link)->flush_next_;
    *link = io->flush_next_;
    io->on_flush_list_ = false;
  }
  if (io->waits_for_memory_) std::erase(memory_waiters_io_, io);
  graveyard_.emplace_back(io);
  if (slot->state == ActorState::kLingering) Schedule(slot);
}

// --- Memory.

void Worker::CheckMemory() {
  if (NowMs() < memory_check_ms_) return;
  memory_check_ms_ = NowMs() + kMemoryCheckMs;
  std::vector<std::pair<Slot*, uint32_t>> waiting = std::exchange(memory_waiters_, {});
  for (const auto& [slot, generation] : waiting) {
    if (slot->generation == generation && slot->extra != nullptr &&
        slot->extra->outbox.waits_for_memory) {
      slot->extra->outbox.waits_for_memory = false;
      FlushOutbox(slot);
    }
  }
  LookForShedding();
  if (reading_paused_ && !runtime_.budget().Spent()) {
    reading_paused_ = false;
    for (IoHandler* io : std::exchange(memory_waiters_io_, {})) {
      io->waits_for_memory_ = false;
      MarkReady(io);
    }
  }
}

}  // namespace sluice
