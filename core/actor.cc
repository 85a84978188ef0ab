#include "sluice/core/actor.h"

#include <algorithm>

#include "sluice/core/plant.h"

namespace sluice {

namespace internal {

thread_local constinit Slot* ConstructionScope::current = nullptr;

void HandleReply(void* actor, AskId ask, void* reply) {
  static_cast<Actor*>(actor)->Replied(ask, reply);
}

void StopActor(Slot* slot, uint32_t generation) {
  if (slot == nullptr || !slot->mailbox.Word().MarkStop(generation)) return;
  Worker* const here = Worker::Current();
  if (here != nullptr && here->RunsHandlerOf(slot)) {
    here->Stop(slot, EndReason::kStopped, "");
    return;
  }
  Worker::Post(*slot->worker, slot, generation, StopControl{EndReason::kStopped});
}

}  // namespace internal

Actor::Actor() : slot_(internal::ConstructionScope::current) {
  SLUICE_CHECK(slot_ != nullptr, "an actor is made by Spawn, not by hand");
}

Slot* Actor::OpenChild(const SpawnOptions& options) {
  if (!runtime().Allows(options)) {
    ++worker().ledger().spawn_refused;
    return nullptr;
  }
  Slot* slot = worker().AllocateSlot();
  if (slot == nullptr) return nullptr;
  worker().Open(slot, options.MailboxMax(runtime()));
  ActorExtra& extra = worker().Extra(slot);
  extra.name = options.name;
  extra.child_order = worker().AddChild(slot_, slot, slot->generation);
  extra.parent = slot_;
  extra.parent_generation = slot_->generation;
  return slot;
}

// --- Timers.

TimerId Actor::AddTimer(absl::Duration delay, absl::Duration interval,
                        absl::AnyInvocable<void(int64_t skipped)> callback) {
  ActorExtra& extra = worker().Extra(slot_);
  if (!HearsBack() || extra.timers.size() >= runtime().options().timers_max) return 0;
  const TimerId id = ++extra.last_id;
  auto timer = std::make_unique<UserTimer>(slot_, id);
  timer->callback = std::move(callback);
  timer->interval_ms =
      interval > absl::ZeroDuration() ? std::max<int64_t>(1, Worker::WholeMs(interval)) : 0;
  // Never early: from now on, as the handler may have run for a while, and without the tick under
  // way.
  const int64_t now_ms = worker().os().NowNs() / 1'000'000;
  timer->due_ms = Worker::DeadlineMs(now_ms + (Planted(Plant::kTimerEarly) ? 0 : 1), delay);
  worker().timers().Arm(*timer, timer->due_ms);
  extra.timers.emplace(id, std::move(timer));
  return id;
}

void Actor::CancelTimer(TimerId id) {
  if (slot_->extra == nullptr) return;
  auto found = slot_->extra->timers.find(id);
  if (found == slot_->extra->timers.end()) return;
  if (Planted(Plant::kTimerAfterCancel) && found->second->due_ms <= worker().NowMs()) return;
  worker().timers().Cancel(*found->second);
  // Destroyed last: what its callback captured may call anything, timers included.
  const std::unique_ptr<UserTimer> gone = std::move(found->second);
  slot_->extra->timers.erase(found);
}

IoHandler* UserTimer::Awaits() { return slot_->io; }

void UserTimer::OnTimer(Worker& worker) {
  ActorExtra& extra = *slot_->extra;
  if (slot_->state == ActorState::kStarting) {
    // OnStart comes first. It may park the actor or end it, and cancel this very timer.
    const TimerId own_id = id_;
    (void)worker.MayHandle(slot_);
    if (extra.timers.find(own_id) == extra.timers.end()) return;
  }
  if (Planted(Plant::kTimerAfterEnd) && slot_->state == ActorState::kStopping) return callback(0);
  if (!slot_->Runnable() || slot_->actor == nullptr) {
    // Parked: it stays due, once, however often its interval passes. Ended: the end takes it away.
    if (!due && slot_->parked) extra.due_timers.push_back(id_);
    due = slot_->parked;
    return;
  }
  due = false;
  // The callback may cancel this very timer; a one-shot is gone before it runs.
  auto found = extra.timers.find(id_);
  std::unique_ptr<UserTimer> self = std::move(found->second);
  extra.timers.erase(found);
  Slot* const slot = slot_;
  const TimerId id = id_;
  UserTimer* const timer = self.get();
  int64_t skipped = 0;
  if (interval_ms > 0) {
    const int64_t late_ms = std::max<int64_t>(0, worker.NowMs() - timer->due_ms);
    skipped = late_ms / timer->interval_ms;
    worker.ledger().periods_skipped += skipped;
    timer->due_ms = Worker::DeadlineMs(timer->due_ms + skipped * timer->interval_ms,
                                       absl::Milliseconds(timer->interval_ms));
    worker.timers().Arm(*timer, timer->due_ms);
    extra.timers.emplace(id, std::move(self));
  }
  // A callback is destroyed as a part of its handler: what it captured may call anything, too.
  worker.RunHandler(slot, "timer", [timer, slot, id, skipped] {
    const bool again = timer->interval_ms > 0;
    absl::AnyInvocable<void(int64_t skipped)> run = std::move(timer->callback);
    run(skipped);
    if (!again) return;
    // Given back, unless it has cancelled its timer.
    auto still = slot->extra->timers.find(id);
    if (still != slot->extra->timers.end()) still->second->callback = std::move(run);
  });
}

// --- Monitors.

MonitorId Actor::MonitorSlot(Slot* target, uint32_t generation) {
  ActorExtra& extra = worker().Extra(slot_);
  if (extra.watching.size() >= runtime().options().monitors_max) return 0;
  const MonitorId id = ++extra.last_id;
  const Watcher watcher(slot_, id);
  if (target == nullptr) {
    TellDown(watcher, EndReason::kNotFound, MakeDownText("it was never alive"));
    extra.watching.emplace_last(id, Watched{slot_, 0});
    return id;
  }
  extra.watching.emplace_last(id, Watched{target, generation});
  if (!Worker::Post(*target->worker, target, generation, WatchControl{watcher})) {
    TellDown(watcher, EndReason::kNotFound, MakeDownText("its runtime has ended"));
  }
  return id;
}

void Actor::Demonitor(MonitorId id) {
  if (slot_->extra == nullptr) return;
  auto found = slot_->extra->watching.find(id);
  if (found == slot_->extra->watching.end() || found->second.taken_back) return;
  Watched& watched = found->second;
  watched.taken_back = true;
  // The answer frees its place; where its runtime has ended there is nobody to answer.
  if (!Worker::Post(*watched.target->worker, watched.target, watched.generation,
                    UnwatchControl{Watcher(slot_, id)})) {
    slot_->extra->watching.erase(found);
  }
}

void internal::HandleDown(void* actor, Envelope& e) {
  Actor* self = static_cast<Actor*>(actor);
  DownNotice& notice = e.Get<DownNotice>();
  // One that was taken back while its Down was on the way is not told.
  if (self->slot_->extra == nullptr) return;
  auto& watching = self->slot_->extra->watching;
  auto found = watching.find(notice.monitor);
  if (found == watching.end() || found->second.taken_back) return;
  watching.erase(found);
  Down down{notice.monitor, notice.reason, ""};
  try {
    if (notice.text != nullptr) down.text = *notice.text;
  } catch (...) {
    // No memory for the text: the end itself is told all the same.
  }
  if (Planted(Plant::kDoubleDown) && down.reason == EndReason::kFailed) self->OnDown(down);
  self->OnDown(down);
}

namespace {

const MessageOps kDownOps = {
    MessageKind::kReserved,
    &internal::HandleDown,
    Envelope::DestroyOf<DownNotice>(),
    Envelope::RelocateOf<DownNotice>(),
    [] { return typeid(Down).name(); },
};
static_assert(Envelope::kInline<DownNotice>);

}  // namespace

DownText MakeDownText(std::string_view text) noexcept {
  try {
    return text.empty() ? nullptr : std::make_shared<const std::string>(text);
  } catch (...) {
    return nullptr;  // No memory for the text: the end itself is told all the same.
  }
}

void TellDown(const Watcher& watcher, EndReason reason, DownText text) {
  Worker::SendReserved(watcher.slot, watcher.generation, &kDownOps,
                       DownNotice{watcher.monitor, reason, std::move(text)});
}

// --- Questions.

namespace {

// Comes behind what waits in the mailbox when the deadline of a question has passed: an answer that
// lies there was in time.
struct AskOver {
  AskId ask;
};

const MessageOps kAskOverOps = {
    MessageKind::kReserved,
    &internal::HandleAskOver,
    Envelope::DestroyOf<AskOver>(),
    Envelope::RelocateOf<AskOver>(),
    [] { return typeid(AskOver).name(); },
};
// As many ticks a deadline waits at most for mail that is there and could not be taken in yet.
constexpr uint8_t kMailLooksMax = 100;

}  // namespace

void internal::HandleAskOver(void* actor, Envelope& e) {
  static_cast<Actor*>(actor)->AskIsOver(e.Get<AskOver>().ask);
}

AskId Actor::OpenAsk(absl::Duration timeout,
                     absl::AnyInvocable<void(void* reply, const absl::Status& status)> callback) {
  ActorExtra& extra = worker().Extra(slot_);
  if (extra.asks.size() >= runtime().options().asks_max) return 0;
  const AskId ask = ++extra.last_id;
  TimerId timer = 0;
  if (HearsBack() && timeout < absl::InfiniteDuration()) {
    timer = After(timeout, [this, ask] { AskTimedOut(ask); });
    if (timer == 0) return 0;
  }
  AskEntry& entry = extra.asks[ask];
  entry.timer = timer;
  // In its destructor the question goes, and nobody hears the answer.
  if (HearsBack()) entry.callback = std::move(callback);
  return ask;
}

void Actor::CloseAsk(AskId ask) {
  ActorExtra& extra = *slot_->extra;
  auto found = extra.asks.find(ask);
  // Destroyed last: what its callback captured may call anything, Ask included.
  const AskEntry gone = std::move(found->second);
  extra.asks.erase(found);
  CancelTimer(gone.timer);
}

Answer Actor::SubmitBlocking(AskId ask, size_t bytes,
                             std::unique_ptr<internal::BlockingTask> task) {
  BlockingPool& pool = runtime().blocking();
  const auto [gate, generation] = pool.GateOf(worker());
  internal::BlockingTask* const sent = task.get();
  internal::BlockingCall call{std::move(task), static_cast<int64_t>(bytes)};
  const Answer answer =
      gate == nullptr ? (runtime().DeadlinePassed() ? Answer::kClosed : Answer::kOverloaded)
                      : worker().Send(slot_, gate, generation, &internal::kBlockingCallOps, call);
  if (answer == Answer::kAccepted) {
    sent->Accepted(pool.state());  // It is still on this worker: the gate runs after this handler.
  } else {
    call.task->Forget();
    CloseAsk(ask);
  }
  return answer;
}

void Actor::AskTimedOut(AskId ask) {
  auto found = slot_->extra->asks.find(ask);
  if (found == slot_->extra->asks.end()) return;
  found->second.timer = 0;
  if (!worker().MailSeen() && found->second.looks < kMailLooksMax) {
    ++found->second.looks;
    found->second.timer = After(absl::ZeroDuration(), [this, ask] { AskTimedOut(ask); });
    if (found->second.timer != 0) return;
  }
  // Mail that is held waits for OnOpen: a deadline behind it would pass that much later, or never.
  const bool mail_waits = !slot_->queue.Empty() && !slot_->MailHeld();
  if (!mail_waits || Planted(Plant::kAskJudgedBeforeMail)) return AskIsOver(ask);
  Worker::SendReserved(slot_, generation(), &kAskOverOps, AskOver{ask});
}

void Actor::AskIsOver(AskId ask) {
  if (slot_->extra == nullptr) return;
  auto found = slot_->extra->asks.find(ask);
  if (found == slot_->extra->asks.end()) return;
  // The entry stays, without its callback: the reply, or the word that none can come, still needs
  // its place.
  auto callback = std::exchange(found->second.callback, nullptr);
  if (callback) callback(nullptr, absl::DeadlineExceededError("no answer within the time given"));
}

void Actor::Replied(AskId ask, void* reply) {
  auto found = slot_->extra->asks.find(ask);
  if (found == slot_->extra->asks.end()) return;
  auto callback = std::move(found->second.callback);
  CloseAsk(ask);
  if (callback) {
    callback(reply, absl::OkStatus());
  } else {
    ++worker().ledger().replies_late;
  }
}

}  // namespace sluice
