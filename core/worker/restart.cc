// What becomes of an actor that fails: it is made anew in its place, or gives up and fails its
// parent.
//
// A restart keeps slot, generation, name, mailbox, those who monitor the actor and those who wait
// for its credits. What the failed incarnation had begun ends with it: children (first), timers,
// monitors, questions; its outbox has linger_timeout to leave, so that the order of its messages is
// the order in which they were sent. All of it in steps, through the run queue.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

constexpr int kRestartStepMax = 256;  // What one step takes away.

}  // namespace

void Worker::MakeRestarting(Slot* slot, std::unique_ptr<Restart> restart) {
  ActorExtra& extra = Extra(slot);
  extra.restart = std::move(restart);
  extra.restart->make(*this, slot);
}

bool Worker::MayRestart(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  // A constructor that throws in the first spawn fails the spawn. One that was told to stop ends.
  // What stands on a descriptor ends with it: a new incarnation could not know what was said there.
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
             "its child ", NameOf(slot), " failed again after ", limit, ": ", error))});
  }
  return false;
}

// The parent of a child that gave up. While it ends or restarts, its children end anyway.
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

// The failed incarnation, behind the callbacks: what they captured may look at it once more as it
// is destroyed. Those of a constructor that threw go as well. False: not all of them yet.
bool Worker::DestroyFailed(Slot* slot, int* budget) {
  ActorExtra& extra = *slot->extra;
  std::vector<AskId>& asks_left = extra.restart->asks_left;
  if (slot->actor == nullptr && extra.timers.empty() && asks_left.empty()) return true;
  const char* const type = extra.restart->type;
  {
    const HandlerScope scope(*this, slot, "its end", type);
    *budget -= ForgetTimers(slot, *budget);
    // Questions keep their place until the reply, or the word that none can come, arrives; but no
    // one is called back.
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
  NoteEnd(slot, "its end", type);
  if (*budget <= 0) ReadClock();
  return *budget > 0;
}

void Worker::RestartStep(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  if (slot->stop_asked) {
    BeginStop(slot);  // Told so in another one's handler.
    return;
  }
  if (!extra.children.empty()) {
    StopNextChild(slot);
    return;  // ChildEnded comes back here.
  }
  int budget = kRestartStepMax;
  if (!DestroyFailed(slot, &budget)) {
    Schedule(slot);
    return;
  }
  if (slot->stop_asked && !Planted(Plant::kStopInDestructor)) {
    BeginStop(slot);  // Its destructor wished so.
    return;
  }
  if (extra.outbox.count > 0 && !slot->parked) FlushOutbox(slot);  // Its destructor's last words.
  while (budget-- > 0 && !extra.watching.empty()) Unwatch(slot);
  if (budget <= 0) {
    Schedule(slot);
    return;
  }
  if (extra.outbox.count > 0) {
    if (!extra.linger_over) {
      if (!extra.LingerArmed()) ArmLinger(slot, DeadlineMs(options_.linger_timeout));
      return;  // LingerOver or Unpark comes back here.
    }
    DropOutbox(slot, DropReason::kSenderEnded);
  }
  CancelLinger(extra);
  // In a drain what its mailbox holds is due, whatever the back-off. But an actor whose last
  // incarnation took nothing of that waits: else it would fail again and again without a pause.
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

// Its outbox holds messages for an ancestor that waits for this actor's end before it handles any:
// they could only be waited for until linger_timeout.
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
