// A timer of an actor comes due: its callback runs as a handler, or waits until the actor may run
// one.
#include <algorithm>
#include <memory>
#include <utility>

#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

IoHandler* ActorTimer::Awaits() { return slot_->io; }

bool ActorTimer::MayRun(Worker& worker) {
  ActorExtra& extra = *slot_->extra;
  if (slot_->state == ActorState::kStarting) {
    // OnStart comes first. It may park the actor or end it, and cancel this very timer.
    const uint64_t own_id = id_;
    (void)worker.MayHandle(slot_);
    if (extra.FindTimer(own_id) == nullptr) return false;
  }
  if (!slot_->Runnable() || slot_->actor == nullptr) {
    // Parked: the timer stays due, once, however often its interval passes. Ended: the actor's end
    // cancels it.
    if (!due && slot_->parked) extra.due_timers.push_back(id_);
    due = slot_->parked;
    return false;
  }
  due = false;
  return true;
}

void UserTimer::OnTimer(Worker& worker) {
  SLUICE_PLANT(timer_after_end, if (slot_->state == ActorState::kStopping) return callback(0));
  if (!MayRun(worker)) return;
  ActorExtra& extra = *slot_->extra;
  // The callback may cancel this very timer. A one-shot timer is removed before its callback runs.
  auto found = extra.timers.find(id());
  std::unique_ptr<UserTimer> self = std::move(found->second);
  extra.timers.erase(found);
  Slot* const slot = slot_;
  const TimerId id = this->id();
  UserTimer* const timer = self.get();
  int64_t skipped = 0;
  if (interval_ms > 0) {
    const int64_t late_ms = std::max<int64_t>(0, worker.NowMs() - timer->due_ms);
    skipped = late_ms / timer->interval_ms;
    worker.ledger().periods_skipped += skipped;
    timer->due_ms = sluice::DeadlineMs(timer->due_ms + skipped * timer->interval_ms,
                                       absl::Milliseconds(timer->interval_ms));
    worker.timers().Arm(*timer, timer->due_ms);
    extra.timers.emplace(id, std::move(self));
  }
  // A callback is destroyed within its handler: its captured objects may call anything, too.
  worker.RunHandler(slot, "timer", [timer, slot, id, skipped] {
    const bool again = timer->interval_ms > 0;
    absl::AnyInvocable<void(int64_t skipped)> run = std::move(timer->callback);
    run(skipped);
    if (!again) return;
    // Put the callback back, unless it has cancelled its timer.
    auto still = slot->extra->timers.find(id);
    if (still != slot->extra->timers.end()) still->second->callback = std::move(run);
  });
}

}  // namespace sluice
