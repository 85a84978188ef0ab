#include "sluice/core/actor/actor.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/down.h"

namespace sluice {

namespace internal {

thread_local constinit Slot* ConstructionScope::current = nullptr;

void HandleReply(void* actor, AskId ask, void* reply) {
  static_cast<Actor*>(static_cast<ActorBase*>(actor))->Replied(ask, reply);
}

void StopActor(Slot* slot, uint32_t generation) {
  if (slot == nullptr || !slot->mailbox.Word().MarkStop(generation)) return;
  Worker* const here = Worker::Current();
  if (here != nullptr && here->RunsHandlerOf(slot)) {
    here->life().Stop(slot, EndReason::kStopped, "");
    return;
  }
  Worker::Post(*slot->worker, slot, generation, StopControl{EndReason::kStopped});
}

}  // namespace internal

Actor::Actor() : slot_(internal::ConstructionScope::current) {
  SLUICE_CHECK(slot_ != nullptr, "an actor is made by Spawn, not by hand");
}

Slot* Actor::OpenChild(const SpawnOptions& options) {
  CheckThread("Spawn()");
  if (!internal::Allows(worker().shared(), options)) {
    ++worker().ledger().spawn_refused;
    return nullptr;
  }
  Slot* slot = worker().life().AllocateSlot();
  if (slot == nullptr) return nullptr;
  worker().life().Open(slot, options.MailboxMax(worker().options()));
  ActorExtra& extra = worker().Extra(slot);
  extra.name = options.name;
  extra.child_order = worker().family().AddChild(slot_, slot, slot->generation);
  extra.parent = slot_;
  extra.parent_generation = slot_->generation;
  if (options.tasks_max != 0) worker().holds().SetTasksMax(slot, options.tasks_max);
  return slot;
}

// --- Timers.

// Deadlines are never early: a delay counts from now, not from an older reading of the clock, and
// from the next tick, as the present tick has begun already.
int64_t Actor::NextTickMs() const {
  int64_t next_tick_ms = worker().os().NowNs() / 1'000'000 + 1;
  SLUICE_PLANT(timer_early, --next_tick_ms);
  return next_tick_ms;
}

TimerId Actor::AddTimer(absl::Duration delay, absl::Duration interval,
                        absl::AnyInvocable<void(int64_t skipped)> callback) {
  CheckThread("After() or Every()");
  ActorExtra& extra = worker().Extra(slot_);
  if (!HearsBack() || extra.timers.size() >= worker().options().timers_max) return 0;
  const TimerId id = ++extra.last_id;
  auto timer = std::make_unique<UserTimer>(slot_, id);
  timer->callback = std::move(callback);
  timer->interval_ms =
      interval > absl::ZeroDuration() ? std::max<int64_t>(1, WholeMs(interval)) : 0;
  timer->due_ms = DeadlineMs(NextTickMs(), delay);
  worker().timers().Arm(*timer, timer->due_ms);
  extra.timers.emplace(id, std::move(timer));
  return id;
}

void Actor::SetName(std::string name) {
  CheckThread("SetName()");
  worker().Extra(slot_).name = std::move(name);
}

// Not SLUICE_CHECK: the mistake is the program's, and the line is for its author.
void internal::RefuseThread(const Slot* slot, const char* call) {
  std::fprintf(stderr,
               "sluice: %s of %s was called on a thread that is not its worker's own. A blocking "
               "function, or a thread of the program, sends the actor a message instead: it keeps "
               "RefOf(this), and calls TrySend on that\n",
               call, NameOfActor(slot).c_str());
  std::abort();
}

void Actor::CancelTimer(TimerId id) {
  CheckThread("CancelTimer()");
  if (slot_->extra == nullptr) return;
  auto found = slot_->extra->timers.find(id);
  if (found == slot_->extra->timers.end()) return;
  SLUICE_PLANT(timer_after_cancel, if (found->second->due_ms <= worker().NowMs()) return);
  worker().timers().Cancel(*found->second);
  // Destroyed last: what its callback captured may call anything, timers included.
  const std::unique_ptr<UserTimer> gone = std::move(found->second);
  slot_->extra->timers.erase(found);
}

// --- Monitors.

MonitorId Actor::MonitorSlot(Slot* target, uint32_t generation) {
  CheckThread("Monitor()");
  ActorExtra& extra = worker().Extra(slot_);
  if (extra.watching.size() >= worker().options().monitors_max) return 0;
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
  CheckThread("Demonitor()");
  if (slot_->extra == nullptr) return;
  auto found = slot_->extra->watching.find(id);
  if (found == slot_->extra->watching.end() || found->second.taken_back) return;
  Watched& watched = found->second;
  watched.taken_back = true;
  // The target's worker answers, and the answer frees the monitor's place. If the target's runtime
  // has ended, no answer comes: free the place now.
  if (!Worker::Post(*watched.target->worker, watched.target, watched.generation,
                    UnwatchControl{Watcher(slot_, id)})) {
    slot_->extra->watching.erase(found);
  }
}

// --- Questions.

namespace {

// Sent to the asker itself when the deadline of a question has passed. AskOver stands behind the
// messages that wait in the mailbox: an answer among those was in time.
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
// The most ticks that a deadline waits for mail that has come but is not taken in yet.
constexpr uint8_t kMailLooksMax = 100;

}  // namespace

void internal::HandleAskOver(void* actor, Envelope& e) {
  static_cast<Actor*>(static_cast<ActorBase*>(actor))->AskIsOver(e.Get<AskOver>().ask);
}

AskId Actor::OpenAsk(absl::Duration timeout, ReplyCallback& callback) {
  ActorExtra& extra = worker().Extra(slot_);
  if (extra.asks == nullptr) extra.asks = std::make_unique<OpenQuestions>();
  if (extra.asks->Size() >= worker().options().asks_max) return 0;
  OpenQuestion& question = extra.asks->Open(slot_);
  // In the actor's destructor the question is still sent, but the answer calls no callback.
  if (HearsBack()) {
    question.callback = std::move(callback);
    if (timeout < absl::InfiniteDuration()) {
      question.due_ms = DeadlineMs(NextTickMs(), timeout);
      worker().timers().Arm(question, question.due_ms);
    }
  } else {
    ++extra.asks_over;
  }
  return question.id();
}

void Actor::DisarmAsk(OpenQuestion& question) {
  SLUICE_PLANT(timer_after_cancel, if (question.due_ms <= worker().NowMs()) return);
  worker().timers().Cancel(question);
  question.due = false;
}

// Answers the callback, which the caller destroys last: what it captured may call anything, Ask
// included.
Actor::ReplyCallback Actor::CloseAsk(OpenQuestion& question) {
  ActorExtra& extra = *slot_->extra;
  ReplyCallback callback = std::exchange(question.callback, nullptr);
  if (callback == nullptr) --extra.asks_over;
  DisarmAsk(question);
  extra.asks->Close(question);
  return callback;
}

Actor::ReplyCallback Actor::DropAsk(AskId ask) { return CloseAsk(*slot_->extra->FindAsk(ask)); }

// The callback may have ended all that the connection waited for, or asked again.
void Actor::CallbackRan() {
  SLUICE_PLANT(last_answer_unnoticed, return);
  const ActorExtra* const extra = slot_->extra;
  if (extra != nullptr && extra->io_awaits_asks && slot_->io != nullptr) [[unlikely]] {
    slot_->io->OnAnswered();
  }
}

Answer Actor::SubmitBlocking(AskId ask, size_t bytes,
                             std::unique_ptr<internal::BlockingTask> task) {
  BlockingPool& pool = *worker().shared().blocking;
  const auto [gate, generation] = pool.GateOf(worker());
  internal::BlockingTask* const sent = task.get();
  internal::BlockingCall call{std::move(task), static_cast<int64_t>(bytes)};
  const Answer answer =
      gate == nullptr
          ? (worker().shared().outside_gate.IsShut() ? Answer::kClosed : Answer::kOverloaded)
          : worker().Send(slot_, gate, generation, &internal::kBlockingCallOps, call);
  if (answer == Answer::kAccepted) {
    // The task is still on this worker: the gate runs after this handler.
    sent->Accepted(pool.state());
  } else {
    call.task->Forget();
    (void)DropAsk(ask);
  }
  return answer;
}

void OpenQuestion::OnTimer(Worker& worker) {
  if (!MayRun(worker)) return;
  const AskId ask = id();
  auto* const asker = static_cast<Actor*>(slot_->actor);
  worker.RunHandler(slot_, "a deadline", [asker, ask] { asker->AskTimedOut(ask); });
}

void Actor::AskTimedOut(AskId ask) {
  OpenQuestion* const question = slot_->extra->FindAsk(ask);
  if (question == nullptr) return;
  if (!worker().mail().Seen() && question->looks < kMailLooksMax) {
    ++question->looks;
    question->due_ms = NextTickMs();
    worker().timers().Arm(*question, question->due_ms);
    return;
  }
  // Mail that is held waits for OnOpen: an AskOver behind it would come only then, or never.
  const bool mail_waits = !slot_->queue.Empty() && !slot_->MailHeld();
  SLUICE_PLANT(ask_judged_before_mail, return AskIsOver(ask));
  if (!mail_waits) return AskIsOver(ask);
  Worker::SendReserved(slot_, generation(), &kAskOverOps, AskOver{ask});
}

void Actor::AskIsOver(AskId ask) {
  OpenQuestion* const question = slot_->extra == nullptr ? nullptr : slot_->extra->FindAsk(ask);
  if (question == nullptr) return;
  // The question stays, without its callback: the late reply, or the notice that none can come,
  // still needs its place.
  auto callback = std::exchange(question->callback, nullptr);
  if (!callback) return;
  ++slot_->extra->asks_over;
  callback(nullptr, absl::DeadlineExceededError("no answer before the deadline"));
  CallbackRan();
}

void Actor::Replied(AskId ask, void* reply) {
  OpenQuestion* const question = slot_->extra->FindAsk(ask);
  if (question == nullptr) return;
  if (ReplyCallback callback = CloseAsk(*question)) {
    callback(reply, absl::OkStatus());
    CallbackRan();
  } else {
    ++worker().ledger().replies_late;
  }
}

}  // namespace sluice
