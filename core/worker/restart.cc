// A failed actor is recreated in its slot, or gives up and fails its parent.
//
// A restart keeps slot, generation, name, mailbox, monitors of the actor and actors that wait for
// its credits. All that the failed incarnation began ends with it: children (first), timers, its
// own monitors, questions. Its outbox has linger_timeout to empty, so that messages keep the order
// in which they were sent. All of this happens in steps, through the run queue.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

constexpr int kRestartStepMax = 256;  // The most items that one step destroys.

}  // namespace

void Worker::MakeRestarting(Slot* slot, std::unique_ptr<Restart> restart) {
  ActorExtra& extra = Extra(slot);
  extra.restart = std::move(restart);
  extra.restart->make(*this, slot);
}

bool Worker::MayRestart(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  // If the constructor throws in the first spawn, the spawn fails. An actor that was told to stop
  // ends. An actor on a descriptor ends with it: a new incarnation would not know the earlier
  // conversation.
  if (extra.restart == nullptr || !extra.restart->constructed || slot->stop_asked || shutdown_ ||
      slot->io != nullptr) {
    return false;
  }
  if (extra.restart->Allow(NowMs())) return true;
  const std::string limit = extra.restart->LimitText();
  const std::string error = std::move(extra.reason_text);
  extra.reason_text = BoundedReason(absl::StrCat("it failed again after ", limit, ": ", error));
  if (extra.parent != nullptr) {
    ++ledger_.escalated;
    Post(*extra.parent->worker, extra.parent, extra.parent_generation,
         EscalateControl{std::make_unique<std::string>(absl::StrCat(
             "its child ", NameOfActor(slot), " failed again after ", limit, ": ", error))});
  }
  return false;
}

// The child of `parent` has given up. While the parent ends or restarts, its children end anyway.
void Worker::Escalate(Slot* parent, uint32_t generation, std::string text) {
  if (parent->generation != generation || parent->mailbox.Closed()) return;
  if (parent->state != ActorState::kLive && parent->state != ActorState::kStarting) return;
  FailWith(parent, std::move(text));
}

void Worker::BeginRestart(Slot* slot) {
  slot->state = ActorState::kRestarting;
  slot->started = false;  // OnStop is not for an actor that failed.
  ActorExtra& extra = *slot->extra;
  extra.linger_over = false;
  if (extra.outbox.count > 0 && !slot->parked) FlushOutbox(slot);
  // A restarting actor handles nothing and so frees no credits. Grant what is free now.
  if (slot->mailbox.HasWaiters()) IssueGrants(slot);
  extra.stop_below = UINT64_MAX;
  extra.restart->asks_left = IdsInOrder(extra.asks);
  std::reverse(extra.restart->asks_left.begin(), extra.restart->asks_left.end());
  Schedule(slot);
}

// Destroys the failed incarnation after its callbacks: their captured objects may use the actor in
// their destructors. The callbacks of a constructor that threw are destroyed, too. False: some are
// left.
bool Worker::DestroyFailed(Slot* slot, int* budget) {
  ActorExtra& extra = *slot->extra;
  std::vector<AskId>& asks_left = extra.restart->asks_left;
  if (slot->actor == nullptr && extra.timers.empty() && asks_left.empty()) return true;
  const char* const type = extra.restart->type;
  {
    const HandlerScope scope(*this, slot, "its end", type);
    *budget -= ForgetTimers(slot, *budget);
    // A question keeps its entry until the reply, or the notice that no reply can come, arrives;
    // but no callback runs.
    for (; *budget > 0 && !asks_left.empty(); --*budget) {
      const auto ask = extra.asks.find(asks_left.back());
      asks_left.pop_back();
      if (ask == extra.asks.end()) continue;
      ask->second.timer = 0;
      const auto gone = std::exchange(ask->second.callback, nullptr);
    }
    if (*budget > 0) {
      extra.due_timers.clear();
      delete std::exchange(slot->actor, nullptr);
    }
  }
  NoteHandler(slot, "its end", type);
  if (*budget <= 0) ReadClock();
  return *budget > 0;
}

void Worker::RestartStep(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  if (slot->stop_asked) {
    BeginStop(slot);  // Told to stop in another actor's handler.
    return;
  }
  if (!extra.children.empty()) {
    StopNextChild(slot);
    return;  // ChildEnded schedules this step again.
  }
  int budget = kRestartStepMax;
  if (!DestroyFailed(slot, &budget)) {
    Schedule(slot);
    return;
  }
  if (slot->stop_asked && !Planted(Plant::kStopInDestructor)) {
    BeginStop(slot);  // The destructor asked for the end.
    return;
  }
  // Messages that the destructor sent.
  if (extra.outbox.count > 0 && !slot->parked) FlushOutbox(slot);
  while (budget-- > 0 && !extra.watching.empty()) Unwatch(slot);
  if (budget <= 0) {
    Schedule(slot);
    return;
  }
  if (extra.outbox.count > 0) {
    if (!extra.linger_over) {
      if (!extra.LingerArmed()) ArmLinger(slot, DeadlineMs(options_.linger_timeout));
      return;  // LingerOver or Unpark schedules this step again.
    }
    DropOutbox(slot, DropReason::kSenderEnded);
  }
  CancelLinger(extra);
  // In a drain the mail is due at once, without back-off. But if the last incarnation handled none
  // of it, the actor waits: otherwise it would fail again and again without a pause.
  const Envelope* const due = slot->queue.Front();
  const bool goes_on = draining_ && due != nullptr && due != extra.restart->found_due;
  if (NowMs() < extra.restart->not_before_ms && !goes_on) {
    ArmLinger(slot, extra.restart->not_before_ms);
    return;
  }
  extra.restart->found_due = due;
  extra.linger_over = false;
  slot->suspended = 0;
  slot->state = ActorState::kStarting;
  if (Planted(Plant::kRestartForgetsMessage) && !slot->queue.Empty())
    CountDropped(slot, slot->queue.Pop(), DropReason::kFailed);
  ++ledger_.restarted;
  extra.restart->make(*this, slot);
}

// The outbox holds messages for an ancestor that waits for this actor's end before it handles any.
// They could only wait until linger_timeout, so drop them now.
void Worker::ForgetMessagesFor(Slot* slot, const Slot* target) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.count == 0) return;
  const bool head = outbox.list.Front()->target == target;
  if (head) {
    WithdrawWait(slot);
    outbox.waits_for_lane = outbox.waits_for_memory = false;
    while (outbox.count > 0 && outbox.list.Front()->target == target) {
      DropOutboxHead(slot, DropReason::kSenderEnded);
    }
  }
  // Behind the head no message has a credit yet, and only the last may be uncharged.
  for (uint32_t left = outbox.count; left > 0; --left) {
    Envelope* envelope = outbox.list.Pop();
    if (envelope->target != target) {
      outbox.list.Push(envelope);
      continue;
    }
    if (left == 1 && outbox.uncharged == 1) {
      outbox.uncharged = 0;
    } else {
      lease_.Refund(envelope->charge);
    }
    slot->has_outbox = --outbox.count > 0;
    ++ledger_.parked_dropped[static_cast<int>(DropReason::kSenderEnded)];
    --ledger_.parked_held;
    pool_.Put(envelope);
  }
  if (head) FlushOutbox(slot);
}

}  // namespace sluice
