#include "sluice/core/worker/restarts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/family.h"
#include "sluice/core/worker/life.h"
#include "sluice/core/worker/mail_holds.h"
#include "sluice/core/worker/parking.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

void Restarts::Make(Slot* slot, std::unique_ptr<Restart> restart) {
  SLUICE_CHECK_ON_WORKER(desk_);
  ActorExtra& extra = desk_.Extra(slot);
  extra.restart = std::move(restart);
  extra.restart->make(desk_.worker, slot);
}

bool Restarts::May(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  // If the constructor throws in the first spawn, the spawn fails. An actor that was told to stop
  // ends. An actor on a descriptor ends with it: a new incarnation would not know the earlier
  // conversation.
  if (extra.restart == nullptr || !extra.restart->constructed || slot->stop_asked ||
      desk_.drain.shutdown || slot->io != nullptr) {
    return false;
  }
  if (extra.restart->Allow(desk_.NowMs())) return true;
  const std::string limit = extra.restart->LimitText();
  const std::string error = std::move(extra.reason_text);
  extra.reason_text = BoundedReason(absl::StrCat("it failed again after ", limit, ": ", error));
  if (extra.parent != nullptr) {
    ++desk_.ledger.escalated;
    Worker::Post(
        *extra.parent->worker, extra.parent, extra.parent_generation,
        EscalateControl{std::make_unique<std::string>(absl::StrCat(
            "its child ", NameOfActor(slot), " failed again after ", limit, ": ", error))});
  }
  return false;
}

void Restarts::Begin(Slot* slot) {
  SLUICE_CHECK_ON_WORKER(desk_);
  slot->state = ActorState::kRestarting;
  slot->started = false;  // OnStop is not for an actor that failed.
  holds_.EndAll(slot);
  ActorExtra& extra = *slot->extra;
  extra.linger_over = false;
  if (extra.outbox.count > 0 && !slot->parked) parking_.FlushOutbox(slot);
  // A restarting actor handles nothing and so frees no credits. Grant what is free now.
  if (slot->mailbox.HasWaiters()) parking_.IssueGrants(slot);
  extra.stop_below = UINT64_MAX;
  extra.restart->asks_left = extra.asks == nullptr ? std::vector<AskId>() : extra.asks->Ids();
  std::reverse(extra.restart->asks_left.begin(), extra.restart->asks_left.end());
  desk_.Schedule(slot);
}

// Destroys the failed incarnation after its callbacks: their captured objects may use the actor in
// their destructors. The callbacks of a constructor that threw are destroyed, too. False: some are
// left.
bool Restarts::DestroyFailed(Slot* slot, int* budget) {
  ActorExtra& extra = *slot->extra;
  std::vector<AskId>& asks_left = extra.restart->asks_left;
  if (slot->actor == nullptr && extra.tasks.Empty() && extra.timers.empty() && asks_left.empty()) {
    return true;
  }
  const char* const type = extra.restart->type;
  {
    const HandlerScope scope(desk_, slot, "its end", type);
    *budget -= Life::CancelTasks(slot, *budget);
    if (*budget > 0) *budget -= life_.ForgetTimers(slot, *budget);
    // A question keeps its entry until the reply, or the notice that no reply can come, arrives;
    // but no callback runs.
    for (; *budget > 0 && !asks_left.empty(); --*budget) {
      OpenQuestion* const question = extra.FindAsk(asks_left.back());
      asks_left.pop_back();
      if (question == nullptr) continue;
      desk_.timers.Cancel(*question);
      const auto gone = std::exchange(question->callback, nullptr);
      if (gone != nullptr) ++extra.asks_over;
    }
    if (*budget > 0) {
      extra.due_timers.clear();
      delete std::exchange(slot->actor, nullptr);
    }
  }
  desk_.NoteHandler(slot, "its end", type);
  if (*budget <= 0) desk_.ReadClock();
  return *budget > 0;
}

void Restarts::Step(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  if (slot->stop_asked) {
    life_.BeginStop(slot);  // Told to stop in another actor's handler.
    return;
  }
  if (!extra.children.empty()) {
    family_.StopNextChild(slot);
    return;  // ChildEnded schedules this step again.
  }
  int budget = Desk::kStepMax;
  if (!DestroyFailed(slot, &budget)) {
    desk_.Schedule(slot);
    return;
  }
  bool ends = slot->stop_asked;
  SLUICE_PLANT(stop_in_destructor, ends = false);
  if (ends) {
    life_.BeginStop(slot);  // The destructor asked for the end.
    return;
  }
  // Messages that the destructor sent.
  if (extra.outbox.count > 0 && !slot->parked) parking_.FlushOutbox(slot);
  while (budget-- > 0 && !extra.watching.empty()) family_.Unwatch(slot);
  if (budget <= 0) {
    desk_.Schedule(slot);
    return;
  }
  if (extra.outbox.count > 0) {
    if (!extra.linger_over) {
      if (!extra.LingerArmed())
        life_.ArmLinger(slot, DeadlineMs(desk_.NowMs(), desk_.options.linger_timeout));
      return;  // LingerOver or Unpark schedules this step again.
    }
    parking_.DropOutbox(slot, DropReason::kSenderEnded);
  }
  life_.CancelLinger(slot);
  // In a drain the mail is due at once, without back-off. But if the last incarnation handled none
  // of it, the actor waits: otherwise it would fail again and again without a pause.
  const Envelope* const due = slot->queue.Front();
  const bool goes_on = desk_.drain.begun && due != nullptr && due != extra.restart->found_due;
  if (desk_.NowMs() < extra.restart->not_before_ms && !goes_on) {
    life_.ArmLinger(slot, extra.restart->not_before_ms);
    return;
  }
  extra.restart->found_due = due;
  extra.linger_over = false;
  slot->suspended = 0;
  slot->state = ActorState::kStarting;
  SLUICE_PLANT(restart_forgets_message, if (!slot->queue.Empty())
                   life_.CountDropped(slot, slot->queue.Pop(), DropReason::kFailed));
  ++desk_.ledger.restarted;
  extra.restart->make(desk_.worker, slot);
}

}  // namespace sluice
