#include "sluice/core/worker/worker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"

namespace sluice {

namespace {

// How often a worker looks for free memory, for paused readers and for actors that are parked for
// memory.
constexpr int64_t kMemoryCheckMs = 5;
// 1 to 5 us are useless: a wake across cores takes about 30 us.
constexpr int64_t kSpinMinNs = 20'000;
constexpr int64_t kSpinMaxNs = 50'000;
constexpr int kSpinRoundsMax = 10'000;
// While mail keeps coming, a worker does not sleep; it polls at least this often.
constexpr int64_t kPollEveryNs = 100'000;

}  // namespace

thread_local constinit Worker* Worker::current_worker_ = nullptr;

Worker::Worker(Shared& shared, int index)
    : shared_(shared),
      os_(shared.os),
      options_(shared.options),
      index_(index),
      clock_(os_, index, options_.slow_handler),
      inbox_(shared.options.workers + 1, shared.options.lane_messages_max),
      lease_(*shared.budget, shared.options.workers),
      timers_(clock_.NowMs()),
      read_buffer_(new char[kReadBytes]) {
  for (int i = 0; i < options_.workers; ++i) {
    stages_.push_back(i == index ? nullptr : std::make_unique<Stage>());
  }
}

Worker::~Worker() {
  while (!local_control_.Empty()) pool_.Put(local_control_.Pop());
  lease_.ReturnIdle();  // Pays a debt: other workers may have refunded what this worker overdrew.
  Bury();
  if (poller_ >= 0) os_.Close(poller_);
  if (wake_fd_ >= 0) os_.Close(wake_fd_);
}

// --- Running.

void Worker::RunActors() {
  const int64_t stop_ns = NowNs() + kTurnNs;
  int slices = 0;
  while (!run_queue_.Empty()) {
    RunSlice(run_queue_.Pop());
    if (!local_control_.Empty()) RunLocalControl();
    if ((++slices & 7) == 0 && !dirty_stages_.empty()) FlushStages();
    if ((slices & 63) == 0) ReadClock();
    if (NowNs() >= stop_ns) break;
  }
}

void Worker::DeliverReserved(Slot* slot, Envelope* envelope) {
  try {
    envelope->Ops()->handle(slot->actor, *envelope);
    ++ledger_.reserved_delivered;
  } catch (...) {
    ++ledger_.reserved_dropped;
    Fail(slot, std::current_exception());
  }
  --ledger_.reserved_held;  // Not earlier: a handler that reads the ledger finds it balanced.
}

// Used in RunSlice's loop only. Inline, as handling a message costs about as much as three calls.
[[gnu::always_inline]] inline void Worker::Deliver(Slot* slot, Envelope* envelope) {
  const MessageOps* ops = envelope->Ops();
  running_.Message(ops);
  lease_.Refund(envelope->charge);  // The handler's own messages may use the memory.
  if (ops->kind == MessageKind::kUser) [[likely]] {
    slot->mailbox.Left();
    try {
      ops->handle(slot->actor, *envelope);
      ++ledger_.delivered;
    } catch (...) {
      ++ledger_.dropped[static_cast<int>(DropReason::kFailed)];
      Fail(slot, std::current_exception());
    }
    --ledger_.held;
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
    if (slot->state != ActorState::kStarting || slot->actor == nullptr) return;
    if (slot->stop_asked) {
      BeginStop(slot);  // Told to stop in another actor's handler.
      return;
    }
    if (!slot->Runnable()) return;
    RunStart(slot);
  }
  current_ = slot;
  running_.Slice(slot);
  clock_.BeginShare(kSliceNs);
  for (int handled = 0; handled < kSliceMessagesMax; ++handled) {
    if (slot->queue.Empty() || !slot->TakesMail()) break;
    Deliver(slot, slot->queue.Pop());
    if (TurnOver()) break;
  }
  current_ = nullptr;
  running_.Slice(nullptr);
  EndOfHandlers(slot);
}

void Worker::RunStart(Slot* slot) {
  slot->state = ActorState::kLive;
  slot->started = true;
  {
    const HandlerScope scope(*this, slot, "OnStart", TypeNameOf(slot->actor));
    try {
      slot->actor->OnStart();
    } catch (...) {
      Fail(slot, std::current_exception());
    }
  }
  NoteHandler(slot, "OnStart", nullptr);
}

// After a handler or a slice of them: output leaves, credits are granted, and the actor parks,
// stops or goes on.
void Worker::EndOfHandlers(Slot* slot) {
  // Not inside another actor's handler: a socket's failure would end the state that this handler is
  // using.
  if (!flush_.Empty() && current_ == nullptr) RunFlushList(kIoTurnNs);
  if (slot->TakesMail() && !slot->mailbox.OwesCredits()) [[likely]] {
    if (!slot->queue.Empty()) Schedule(slot);
    return;
  }
  if (slot->state == ActorState::kFree) return;
  if (slot->mailbox.HasWaiters()) IssueGrants(slot);
  if (!slot->mailbox.Closed()) slot->mailbox.Publish(slot->generation);
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) {
    return;  // The actor failed, or has ended.
  }
  if (slot->has_outbox && !slot->parked) {
    FlushOutbox(slot);
    // A parked actor frees no more credits: grant what is free now, however little.
    if (slot->parked && slot->mailbox.HasWaiters()) IssueGrants(slot);
  }
  if (slot->stop_asked && slot->state != ActorState::kStopping) {
    BeginStop(slot);
    return;
  }
  ScheduleIfRunnable(slot);
}

// Runs timers that were due when the turn began, until the timers' share ends; the rest stay due.
void Worker::RunTimers(int64_t due_ms) {
  timers_left_ = false;
  if (timers_.NextMs() > due_ms) return;
  const int64_t stop_ns = NowNs() + kTurnNs;
  timers_.BeginRound(due_ms);
  for (int ran = 1;; ++ran) {
    TimerNode* node = timers_.PopDue(due_ms);
    if (node == nullptr) break;
    auto* timer = static_cast<Timer*>(node);
    IoHandler* const io = timer->Awaits();
    BeginShare(kSliceNs);
    if (io != nullptr && io->OnReadyList() && !node->Deferred()) {
      // The timer fires after the descriptor's turn, unless the new events move the timer or end
      // its owner. It fires even if more events have come by then.
      timers_.Defer(*node);
      TakeTurn(io);
    } else {
      timer->OnTimer(*this);
    }
    if (!flush_.Empty()) RunFlushList(kIoTurnNs);
    if (!local_control_.Empty()) RunLocalControl();
    if (ran % kLookEvery == 0) ReadClock();
    if (NowNs() >= stop_ns && !Planted(Plant::kTurnUnshared)) {
      timers_left_ = timers_.NextMs() <= due_ms;
      break;
    }
  }
  timers_.EndRound();
}

// --- One turn.

bool Worker::Turn(int64_t wait_until_ms) {
  if (rest_.Rests()) PublishRest(false);
  if (draining_) rest_.CountStep();
  ReadClock();
  // Deadlines up to now are judged in this turn, after what had arrived by now.
  const int64_t due_ms = NowMs();
  const bool polled = std::exchange(polled_, false);
  const bool mail_found = std::exchange(mail_found_, false);
  if (polled) polled_ns_ = NowNs();
  if ((timers_.NextMs() <= due_ms && !Planted(Plant::kJudgedBeforePoll)) ||
      (!polled && !mail_found) || NowNs() - polled_ns_ >= kPollEveryNs) {
    if (!dirty_stages_.empty()) FlushStages();  // From mail that was found before the worker slept.
    Poll(0);
    polled_ns_ = NowNs();
  }
  DrainInbox();
  RunLocalControl();
  RestBesideTimers();
  RunTimers(due_ms);
  if (rest_.Rests()) PublishRest(false);
  RunActors();
  RunTasks();
  RunReady();
  // Before the stages are flushed: actors that get memory here may send to other workers.
  if (shared_.budget->Spent()) reading_paused_ = true;
  if (reading_paused_ || !memory_waiters_.empty()) CheckMemory();
  RunLocalControl();
  if (!flush_.Empty()) RunFlushList(kTurnNs);
  FlushStages();
  if (clock_.HasNoted()) ReadClock();
  const bool goes_on = HasWork() || !stop_turning_;
  if (!HasWork() && goes_on) Sleep(wait_until_ms);
  if (timers_left_) RestBesideTimers();  // For a coordinator that runs the turns itself.
  Bury();
  return goes_on;
}

// True: mail came within the spin time.
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
  // A worker spins only if other workers sent it mail since its last sleep, or since the sleep
  // before that. A worker that only serves sockets never spins.
  if (mail_since_sleep_)
    spin_ns_ = std::clamp<int64_t>(spin_ns_ + spin_ns_ / 2, kSpinMinNs, kSpinMaxNs);
  mail_since_sleep_ = false;
  if (Spin()) {
    mail_found_ = true;
    return;
  }
  spin_ns_ = spin_ns_ / 2 < kSpinMinNs ? 0 : spin_ns_ / 2;
  lease_.ReturnIdle();
  sleep_.FallAsleep();
  // An outside sender that is refused memory first marks the budget as spent, then wakes a worker
  // (BeginOutside; its exchange and the one above order the two). If that happened before
  // FallAsleep(), no signal was sent, so check the budget again here.
  if ((!Planted(Plant::kLostWakeUp) && DrainInbox()) || !local_control_.Empty() ||
      (!reading_paused_ && shared_.budget->Spent())) {
    mail_found_ = true;
    sleep_.WakeUp();
    return;
  }
  const int64_t until_ms =
      std::min({wait_until_ms, timers_.NextMs(),
                reading_paused_ || !memory_waiters_.empty() ? NowMs() + kMemoryCheckMs
                                                            : TimerWheel::kNever});
  int64_t timeout_ns = -1;
  if (until_ms != TimerWheel::kNever) {
    ReadClock();
    constexpr int64_t kWaitMaxMs = int64_t{1} << 30;
    timeout_ns = until_ms - NowMs() > kWaitMaxMs
                     ? kWaitMaxMs * 1'000'000
                     : std::max<int64_t>(0, until_ms * 1'000'000 - NowNs());
  }
  // The worker rests until an event or its next turn: a coordinator that runs the turns itself
  // looks in between.
  if (draining_) PublishRest(true);
  if (timeout_ns != 0) clock_.WillSleep();
  Poll(timeout_ns);
  polled_ = true;
  sleep_.WakeUp();
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
  if (reading_paused_ && shared_.budget->Spent()) LookForReaders();
  if (reading_paused_ && !shared_.budget->Spent()) {
    reading_paused_ = false;
    const std::vector<IoHandler*> waiting = std::exchange(memory_waiters_io_, {});
    for (IoHandler* io : waiting) {
      io->memory_place_ = 0;
      if (Planted(Plant::kMemoryWaitersLost) && io != waiting.front()) continue;
      MarkReady(io);
    }
  }
}

}  // namespace sluice
