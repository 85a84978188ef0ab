#include "sluice/core/worker/family.h"

#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/down.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

uint64_t Family::AddChild(Slot* parent, Slot* child, uint32_t child_generation) {
  SLUICE_CHECK_ON_WORKER(desk_);
  ActorExtra& extra = desk_.Extra(parent);
  extra.children.emplace_last(++extra.last_child, Child{child, child_generation});
  return extra.last_child;
}

bool Family::MayHaveChild(const Slot* parent) {
  if (parent->state == ActorState::kLive || parent->state == ActorState::kStarting) return true;
  ++desk_.ledger.spawn_refused;
  return false;
}

bool Family::ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers) {
  if (parent->generation != generation || parent->extra == nullptr) return false;
  ActorExtra& extra = *parent->extra;
  if (lingers) {
    extra.children.find(order)->second.stopped = true;
  } else {
    extra.children.erase(order);
  }
  const bool ends = parent->state == ActorState::kStopping;
  if (ends && extra.children.empty()) return true;
  if ((ends || parent->state == ActorState::kRestarting) &&
      (order == extra.stop_below || extra.children.empty())) {
    desk_.Schedule(parent);
  }
  return false;
}

void Family::AddWatcher(Slot* target, uint32_t generation, const Watcher& watcher) {
  SLUICE_CHECK_ON_WORKER(desk_);
  // An ending actor has notified its monitors already, or will notify this one too.
  if (target->generation == generation && target->state != ActorState::kFree) {
    desk_.Extra(target).watchers.emplace(watcher);
    if (target->state == ActorState::kLingering) desk_.Schedule(target);
    return;
  }
  TellDown(watcher, EndReason::kNotFound, MakeDownText("the actor had already ended"));
}

void Family::RemoveWatcher(Slot* target, uint32_t generation, const Watcher& watcher) {
  SLUICE_CHECK_ON_WORKER(desk_);
  if (target->generation != generation || target->extra == nullptr) return;
  auto& watchers = target->extra->watchers;
  SLUICE_PLANT(wrong_monitor, Watcher earliest = watcher; earliest.monitor = 0;
               const auto first = watchers.lower_bound(earliest);
               if (first != watchers.end() && first->slot == watcher.slot) watchers.erase(first);
               return);
  watchers.erase(watcher);
}

void Family::StopNextChild(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  const auto told = extra.children.find(extra.stop_below);
  // The child that was told last still runs handlers.
  if (told != extra.children.end() && !told->second.stopped) return;
  const EndReason reason = extra.reason == EndReason::kFailed ? EndReason::kStopped : extra.reason;
  const Slot* restarting = slot->state == ActorState::kRestarting ? slot : extra.restarting;
  for (int budget = Desk::kStepMax; budget > 0; --budget) {
    auto next = extra.children.lower_bound(extra.stop_below);
    if (next == extra.children.begin()) return;  // All children were told.
    --next;
    extra.stop_below = next->first;
    const Child& child = next->second;
    if (child.stopped) continue;
    if (child.slot->mailbox.Word().MarkStop(child.generation) || restarting != nullptr) {
      Worker::Post(*child.slot->worker, child.slot, child.generation,
                   StopControl{reason, restarting});
    }
    return;  // ChildEnded schedules the next call.
  }
  desk_.Schedule(slot);
}

void Family::Unwatch(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  const auto watched = extra.watching.begin();
  const Watched& of = watched->second;
  if (!of.taken_back) {
    Worker::Post(*of.target->worker, of.target, of.generation,
                 UnwatchControl{Watcher(slot, watched->first), /*answered=*/false});
  }
  extra.watching.erase(watched);
}

}  // namespace sluice
