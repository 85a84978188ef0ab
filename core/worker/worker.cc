#include "sluice/core/worker/worker.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"

namespace sluice {

namespace {

// How often paused readers look whether there is memory again.
constexpr int64_t kMemoryCheckMs = 5;
constexpr int64_t kSpinMinNs = 20'000;  // 1 to 5 us are useless: a wake across cores takes some 30.
constexpr int64_t kSpinMaxNs = 50'000;
constexpr int kSpinRoundsMax = 10'000;
// Handlers that take so long together share a look at the clock.
constexpr int64_t kGroupNs = 50'000;
// Deadlines may be judged so much too early, and no more.
constexpr int64_t kGapNs = 10'000'000;
// While mail comes without end a worker does not sleep; it polls at least so often.
constexpr int64_t kPollEveryNs = 100'000;
constexpr int64_t kProcessorLookNs = 2'000'000;  // Two system calls, so not for each group.
// After a slow handler each one is timed alone for so long.
constexpr int64_t kExactNs = 1'000'000'000;

}  // namespace

thread_local constinit Worker* Worker::current_worker_ = nullptr;

Worker::Worker(Shared& shared, int index)
    : shared_(shared),
      os_(shared.os),
      options_(shared.options),
      index_(index),
      now_ns_(os_.NowNs()),
      inbox_(shared.options.workers + 1, shared.options.lane_messages_max),
      lease_(*shared.budget, shared.options.workers),
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
  try {
    envelope->Ops()->handle(slot->actor, *envelope);
    ++ledger_.reserved_delivered;
  } catch (...) {
    ++ledger_.reserved_dropped;
    Fail(slot, std::current_exception());
  }
  --ledger_.reserved_held;  // Until here: a handler that asks for the ledger finds it balanced.
}

// In RunSlice's loop, and nowhere else: inline, as a message costs about as much as three calls.
[[gnu::always_inline]] inline void Worker::Deliver(Slot* slot, Envelope* envelope) {
  const MessageOps* ops = envelope->Ops();
  running_.Message(ops);
  lease_.Refund(envelope->charge);  // What the handler sends may use it.
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
      BeginStop(slot);  // Told so in another one's handler.
      return;
    }
    if (!slot->Runnable()) return;
    RunStart(slot);
  }
  current_ = slot;
  running_.Slice(slot);
  share_end_ns_ = now_ns_ + kSliceNs;
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

// After one handler or a slice of them: what they wrote leaves, credits go round, the actor parks,
// stops or goes on.
void Worker::EndOfHandlers(Slot* slot) {
  // Not inside another's handler: a socket's failure would end what that one is at work on.
  if (!flush_.Empty() && current_ == nullptr) RunFlushList(kIoTurnNs);
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

// Those that were due when the turn began, and for as long as timers have; the rest stays due.
void Worker::RunTimers(int64_t due_ms) {
  timers_left_ = false;
  if (timers_.NextMs() > due_ms) return;
  const int64_t stop_ns = now_ns_ + kTurnNs;
  timers_.BeginRound(due_ms);
  for (int ran = 1;; ++ran) {
    TimerNode* node = timers_.PopDue(due_ms);
    if (node == nullptr) break;
    auto* timer = static_cast<Timer*>(node);
    IoHandler* const io = timer->Awaits();
    BeginShare(kSliceNs);
    if (io != nullptr && io->OnReadyList() && !node->Deferred()) {
      // Fires then, unless what came moves it or ends its owner; and if more has come, all the
      // same.
      timers_.Defer(*node);
      TakeTurn(io);
    } else {
      timer->OnTimer(*this);
    }
    if (!flush_.Empty()) RunFlushList(kIoTurnNs);
    if (!local_control_.Empty()) RunLocalControl();
    if (ran % kLookEvery == 0) ReadClock();
    if (now_ns_ >= stop_ns && !Planted(Plant::kTurnUnshared)) {
      timers_left_ = timers_.NextMs() <= due_ms;
      break;
    }
  }
  timers_.EndRound();
}

void Worker::ReadClock() {
  const int64_t before = now_ns_;
  now_ns_ = os_.NowNs();
  // Not while it slept: nothing was noted then.
  if (now_ns_ - before >= kGapNs && !polled_ && !Planted(Plant::kGapUnnoted)) {
    gap_from_ms_ = before / 1'000'000;
    gap_until_ms_ = NowMs();
  }
  if (recent_count_ > 0) {
    const int64_t ns = now_ns_ - before;
    if (ns > slow_handler_ns_) ReportSlow(ns);
    // The next group is as large as these handlers allow, and at most twice as large as this one:
    // the first of many slow ones ends its group.
    if (ns > kGroupNs) {
      recent_max_ = static_cast<int>(std::max<int64_t>(1, kGroupNs * recent_count_ / ns));
    } else if (ns <= kGroupNs / 2) {
      recent_max_ = std::min(2 * recent_max_, static_cast<int>(recent_.size()));
    }
    recent_count_ = 0;
  }
  // The processor time that a slow group will be measured from, at most so much too early.
  if (now_ns_ - processor_look_ns_ >= kProcessorLookNs) {
    processor_look_ns_ = now_ns_;
    processor_ns_ = os_.ThreadProcessorNs();
    switches_ = os_.ThreadSwitchCounts();
    sleeps_ = 0;
  }
  if (now_ns_ < exact_until_ns_) recent_max_ = 1;
}

// The clock is read for a group of handlers, not for each; so a slow group names all that ran in
// it, and from then on each handler is timed alone for a while. One that works is known by its
// processor time, one that blocks by a wait of its thread that was none in the poller. Where
// neither is seen, the machine had no processor for the thread: that is no handler's fault.
void Worker::ReportSlow(int64_t ns) {
  const int64_t processor_ns = std::clamp<int64_t>(os_.ThreadProcessorNs() - processor_ns_, 0, ns);
  const ThreadSwitches switches = os_.ThreadSwitchCounts();
  const int64_t waits = switches.voluntary - switches_.voluntary;
  // A sleep that an event ended at once was no wait. So a wait more or less is judged by whether
  // anybody else had the processor.
  const bool blocked =
      waits > sleeps_ || (waits > 0 && switches.involuntary == switches_.involuntary);
  if (processor_ns <= slow_handler_ns_ && !blocked) {
    LogDebug("worker %d had no processor for %d of %d ms: other threads of the machine had it",
             index_, (ns - processor_ns) / 1'000'000, ns / 1'000'000);
    return;
  }
  ++ledger_.slow_handlers;
  exact_until_ns_ = now_ns_ + kExactNs;
  std::vector<std::string> names;
  for (int i = 0; i < recent_count_; ++i) {
    const Recent& recent = recent_[i];
    std::string name = NameOf(recent);
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  std::string text = absl::StrFormat(
      "slow handler: worker %d was held for %d ms (processor %d ms) by %s%s", index_,
      ns / 1'000'000, processor_ns / 1'000'000, names.size() > 1 ? "one of " : "", names[0]);
  for (size_t i = 1; i < names.size(); ++i) absl::StrAppend(&text, ", ", names[i]);
  LogWarn(text);
}

std::string Worker::NameOf(const Recent& recent) const {
  if (recent.what == nullptr) {
    return absl::StrCat(NameOf(recent.slot), ".On(",
                        Demangle(static_cast<const MessageOps*>(recent.of)->name()), ")");
  }
  if (recent.slot == nullptr) return recent.what;
  const bool named = recent.slot->extra != nullptr && !recent.slot->extra->name.empty();
  const auto* const type = static_cast<const char*>(recent.of);
  return absl::StrCat(named || type == nullptr ? NameOf(recent.slot)
                                               : absl::StrCat(Demangle(type), "#", recent.slot->id),
                      ".", recent.what);
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

// --- One turn.

bool Worker::Turn(int64_t wait_until_ms) {
  if (rest_.Rests()) PublishRest(false);
  if (draining_) rest_.CountStep();
  ReadClock();
  // Deadlines up to now are judged in this turn, behind what had arrived by now.
  const int64_t due_ms = NowMs();
  const bool polled = std::exchange(polled_, false);
  const bool mail_found = std::exchange(mail_found_, false);
  if (polled) polled_ns_ = now_ns_;
  if ((timers_.NextMs() <= due_ms && !Planted(Plant::kJudgedBeforePoll)) ||
      (!polled && !mail_found) || now_ns_ - polled_ns_ >= kPollEveryNs) {
    if (!dirty_stages_.empty()) FlushStages();  // From mail that was found before it slept.
    Poll(0);
    polled_ns_ = now_ns_;
  }
  DrainInbox();
  RunLocalControl();
  RestBesideTimers();
  RunTimers(due_ms);
  if (rest_.Rests()) PublishRest(false);
  RunActors();
  RunTasks();
  RunReady();
  // Before the stages are flushed: who is given memory here may send to other workers.
  if (shared_.budget->Spent()) reading_paused_ = true;
  if (reading_paused_ || !memory_waiters_.empty()) CheckMemory();
  RunLocalControl();
  if (!flush_.Empty()) RunFlushList(kTurnNs);
  FlushStages();
  if (recent_count_ > 0) ReadClock();
  const bool goes_on = HasWork() || !stop_turning_;
  if (!HasWork() && goes_on) Sleep(wait_until_ms);
  if (timers_left_) RestBesideTimers();  // For a coordinator that takes the turns itself.
  Bury();
  return goes_on;
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
  if (Spin()) {
    mail_found_ = true;
    return;
  }
  spin_ns_ = spin_ns_ / 2 < kSpinMinNs ? 0 : spin_ns_ / 2;
  lease_.ReturnIdle();
  sleep_.FallAsleep();
  // Memory, too: who is refused it outside rouses this worker only after it has said so
  // (BeginOutside; the exchange there and the one above order the two).
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
                     : std::max<int64_t>(0, until_ms * 1'000'000 - now_ns_);
  }
  // It rests until an event, or until its next turn: a coordinator that takes the turns itself
  // looks in between.
  if (draining_) PublishRest(true);
  if (timeout_ns != 0) ++sleeps_;
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
