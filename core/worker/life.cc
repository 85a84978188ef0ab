// Life and death of actors on a worker: slots, spawn, monitors, children, stop, failure, end.
//
// An actor ends in bounded steps, so that the death of an actor with a full mailbox and a thousand
// monitors does not hold the worker; meanwhile the slot answers `closed`. The order: children end;
// OnStop; held messages are dropped; actors that wait for its credits are notified; the outbox
// empties, or linger_timeout passes; monitors get Down; the parent is notified; the descriptor, if
// any, finishes; the slot becomes free.
#include "absl/strings/str_cat.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/down.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// The most items that one step of an end drops, notifies or cancels.
constexpr int kEndStepMax = 256;

// A log line about a failure must not fail itself, for example for want of memory.
template <class Text>
void TryToLog(Text&& text) {
  try {
    LogError(text());
  } catch (...) {
  }
}

}  // namespace

ActorExtra& Worker::Extra(Slot* slot) {
  if (slot->extra == nullptr) slot->extra = new ActorExtra(slot);
  return *slot->extra;
}

Slot* Worker::AllocateSlot() {
  Slot* const slot = shared_.slots.Take(*this, &free_slots_);
  if (slot == nullptr) ++ledger_.spawn_refused;
  return slot;
}

void Worker::Open(Slot* slot, uint32_t capacity) {
  slot->generation.StoreRelease(slot->mailbox.Open(capacity));
  slot->state = ActorState::kStarting;
  ++actor_count_;
  ++ledger_.spawned;
}

// A message or an order has come for an actor that another thread placed here, before its
// PlaceControl.
void Worker::AdoptPlaced(Slot* slot, uint32_t generation) {
  // Read the word first: with a stale handle all other state may belong to another worker by now.
  if (slot->mailbox.Word().Generation() != generation || !MailboxWord<>::IsLive(generation)) return;
  if (slot->state != ActorState::kFree) return;
  slot->generation.StoreRelease(generation);
  slot->mailbox.Adopt(MailboxWord<>::kCreditsMax);
  slot->state = ActorState::kStarting;
  ++actor_count_;
  ++ledger_.spawned;
}

void Worker::Install(Slot* slot, ActorBase* actor) {
  slot->actor = actor;
  if (slot->extra != nullptr && slot->extra->restart != nullptr) {
    slot->extra->restart->constructed = true;
  }
  ScheduleIfRunnable(slot);
  // A drain stops the roots that it finds; this actor was on its way then.
  const bool root = slot->extra == nullptr || slot->extra->parent == nullptr;
  const bool gate = root && shared_.IsGate(index_, slot);
  if (gate ? gate_stopped_ : root ? roots_stopped_ : shutdown_) {
    Stop(slot, EndReason::kShutdown, "");
  }
  if (shutdown_) Extra(slot).linger_over = true;
  if (slot->stop_asked && slot->state == ActorState::kStarting) BeginStop(slot);
}

void Worker::SpawnFailed(Slot* slot, std::exception_ptr error) { Fail(slot, error); }

// --- Stop and failure.

void Worker::Stop(Slot* slot, EndReason reason, std::string text) {
  if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting &&
      slot->state != ActorState::kRestarting) {
    return;
  }
  ActorExtra& extra = Extra(slot);
  if (!slot->stop_asked) {
    slot->stop_asked = true;
    extra.reason = reason;
    extra.reason_text = BoundedReason(std::move(text));
  }
  // If the actor runs a handler, the end begins when the handler has returned; if it is not
  // constructed yet, when it is.
  if (current_ == slot) return;
  if (slot->actor == nullptr && slot->state != ActorState::kRestarting) return;
  // If another actor runs a handler, the end begins in this actor's own turn. Otherwise OnStop
  // would run inside that handler, and could end the actor that runs it.
  if (current_ != nullptr && !Planted(Plant::kEndsInside)) {
    Schedule(slot);
    return;
  }
  BeginStop(slot);
}

void Worker::StopStarted(Slot* slot, EndReason reason, std::string text) {
  if (slot->state == ActorState::kStarting) Extra(slot).start_first = true;
  Stop(slot, reason, std::move(text));
}

void Worker::BeginStop(Slot* slot) {
  SLUICE_CHECK(slot->state == ActorState::kLive || slot->state == ActorState::kStarting ||
               slot->state == ActorState::kRestarting);
  if (slot->state == ActorState::kStarting && slot->actor != nullptr && slot->extra->start_first) {
    RunStart(slot);
    if (slot->state != ActorState::kLive) return;  // OnStart failed.
  }
  BeginEnd(slot);
}

// From here on the mailbox takes no message. The children end first.
void Worker::BeginEnd(Slot* slot) {
  slot->state = ActorState::kStopping;
  slot->mailbox.Close(slot->generation);
  ActorExtra& extra = Extra(slot);
  CancelLinger(extra);  // A restart that waited is cancelled.
  if (extra.children.empty()) {
    ChildrenEnded(slot);
    return;
  }
  // A child may be parked on this very actor. Notify it of the end now: we wait for the child's own
  // end.
  TellWaiters(slot, INT32_MAX);
  extra.stop_below = UINT64_MAX;
  Schedule(slot);
}

void Worker::ChildrenEnded(Slot* slot) {
  if (slot->extra->reason == EndReason::kFailed) {
    BeginLinger(slot);
  } else {
    FinishStop(slot);
  }
}

// Stops the youngest child that has not been told to stop. The next child is told when this child
// runs no more handlers.
void Worker::StopNextChild(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  const auto told = extra.children.find(extra.stop_below);
  // This child still runs handlers.
  if (told != extra.children.end() && !told->second.stopped) return;
  const EndReason reason = extra.reason == EndReason::kFailed ? EndReason::kStopped : extra.reason;
  const Slot* restarting = slot->state == ActorState::kRestarting ? slot : extra.restarting;
  for (int budget = kEndStepMax; budget > 0; --budget) {
    auto next = extra.children.lower_bound(extra.stop_below);
    if (next == extra.children.begin()) return;  // All children were told.
    --next;
    extra.stop_below = next->first;
    const Child& child = next->second;
    if (child.stopped) continue;
    if (child.slot->mailbox.Word().MarkStop(child.generation) || restarting != nullptr) {
      Post(*child.slot->worker, child.slot, child.generation, StopControl{reason, restarting});
    }
    return;  // ChildEnded schedules the next call.
  }
  Schedule(slot);
}

void Worker::NoteRestarting(Slot* slot, uint32_t generation, const Slot* ancestor) {
  if (slot->generation != generation || slot->state == ActorState::kFree) return;
  Extra(slot).restarting = ancestor;
  if (slot->state == ActorState::kLingering) Schedule(slot);
}

// Notifies at most `most` actors that wait for credits of this closed mailbox. Answers how many.
int Worker::TellWaiters(Slot* slot, int most) {
  int told = 0;
  Waiter waiter;
  while (told < most && slot->mailbox.TakeWaiter(&waiter)) {
    ++told;
    Slot* parked = reinterpret_cast<Slot*>(waiter.key);
    Post(*parked->worker, parked, waiter.generation, ClosedControl{waiter.episode});
  }
  return told;
}

void Worker::FinishStop(Slot* slot) {
  if (std::exchange(slot->started, false)) {
    const char* const type = TypeNameOf(slot->actor);
    {
      const HandlerScope scope(*this, slot, "OnStop", type);
      try {
        slot->actor->OnStop();
      } catch (...) {
        slot->extra->reason = EndReason::kFailed;
        slot->extra->reason_text = ExceptionText(std::current_exception());
        ++ledger_.failed;
        TryToLog([&] {
          return absl::StrCat(NameOfActor(slot), " failed in OnStop: ", slot->extra->reason_text);
        });
      }
    }
    NoteHandler(slot, "OnStop", type);
  }
  BeginLinger(slot);
}

// From here on no handler of the actor runs.
void Worker::BeginLinger(Slot* slot) {
  slot->state = ActorState::kLingering;
  if (slot->extra->outbox.count > 0 && !slot->parked) FlushOutbox(slot);
  Schedule(slot);
}

void Worker::Fail(Slot* slot, std::exception_ptr error) { FailWith(slot, ExceptionText(error)); }

void Worker::FailWith(Slot* slot, std::string text) {
  ActorExtra& extra = Extra(slot);
  extra.reason = EndReason::kFailed;
  extra.reason_text = BoundedReason(std::move(text));
  ++ledger_.failed;
  const bool ends = slot->state == ActorState::kStopping || slot->state == ActorState::kLingering;
  const bool again = !ends && MayRestart(slot);
  TryToLog([&] {
    return absl::StrCat(NameOfActor(slot),
                        again ? " failed, and is restarted: " : " failed: ", extra.reason_text);
  });
  if (again) {
    BeginRestart(slot);
  } else if (!ends) {
    BeginEnd(slot);
  }
}

// --- The end, step by step.

void Worker::CountDropped(Slot* slot, Envelope* envelope, DropReason reason) {
  lease_.Refund(envelope->charge);
  if (envelope->Ops()->kind == MessageKind::kReserved) {
    --ledger_.reserved_held;
    ++ledger_.reserved_dropped;
  } else {
    --ledger_.held;
    ++ledger_.dropped[static_cast<int>(reason)];
    slot->mailbox.Left();
  }
  pool_.Put(envelope);
}

// Destroys the actor; none of its handlers runs any more. False: not yet, as it has many callbacks.
bool Worker::EndActor(Slot* slot, int* budget) {
  const bool failed = slot->extra->reason == EndReason::kFailed;
  const HandlerScope scope(*this, slot, "its end", TypeNameOf(slot->actor));
  if (failed && std::exchange(slot->started, false)) {
    // Notify the descriptor first: output that OnEndedByFailure() writes must not count as part of
    // the actor's regular output.
    if (slot->io != nullptr) slot->io->OnActorEnded(failed);
    try {
      slot->actor->OnEndedByFailure();
    } catch (...) {
      TryToLog([&] {
        return absl::StrCat(NameOfActor(slot), " failed again while it ended: ",
                            ExceptionText(std::current_exception()));
      });
    }
  }
  // Callbacks are destroyed before the actor: their captured objects may use the actor in their
  // destructors.
  if (!Planted(Plant::kCallbacksLast)) {
    *budget -= ForgetTimers(slot, *budget);
    if (*budget > 0) *budget -= ForgetAsks(slot, *budget);
    if (*budget <= 0) return false;
  }
  if (slot->io != nullptr) slot->io->OnActorEnded(failed);
  delete std::exchange(slot->actor, nullptr);
  return true;
}

// Destroys what an ended actor leaves: the messages of its mailbox, and the callbacks that its
// constructor or destructor created. Their destructors are user code, too.
void Worker::DropWhatItHeld(Slot* slot, int* budget) {
  ActorExtra& extra = *slot->extra;
  if (slot->queue.Empty() && extra.timers.empty() && extra.asks.empty()) return;
  const char* const type = extra.restart == nullptr ? nullptr : extra.restart->type;
  {
    const HandlerScope scope(*this, slot, "its end", type);
    for (; !slot->queue.Empty() && *budget > 0; --*budget) {
      CountDropped(slot, slot->queue.Pop(),
                   shutdown_ ? DropReason::kShutdown : DropReason::kTargetEnded);
    }
    if (*budget > 0) *budget -= ForgetTimers(slot, *budget);
    if (*budget > 0) *budget -= ForgetAsks(slot, *budget);
  }
  NoteHandler(slot, "its end", type);
  if (*budget <= 0) ReadClock();
}

void Worker::EndStep(Slot* slot) {
  ActorExtra& extra = Extra(slot);
  int budget = kEndStepMax;
  // The actor itself is destroyed first, so that what it held is free.
  if (slot->actor != nullptr) {
    const char* const type = TypeNameOf(slot->actor);
    const bool gone = EndActor(slot, &budget);
    NoteHandler(slot, "its end", type);
    if (!gone) {
      // These callbacks may have taken long: the next step may have to wait for the next turn.
      ReadClock();
      Schedule(slot);
      return;
    }
    // Messages that its destructor sent.
    if (extra.outbox.count > 0 && !slot->parked && !Planted(Plant::kLastWordsUnsent)) {
      FlushOutbox(slot);
    }
  }
  DropWhatItHeld(slot, &budget);
  if (budget > 0) budget -= TellWaiters(slot, budget);
  while (budget-- > 0 && !extra.watching.empty()) Unwatch(slot);
  if (budget <= 0) {
    Schedule(slot);
    return;
  }
  if (extra.restarting != nullptr) ForgetMessagesFor(slot, extra.restarting);
  if (extra.outbox.count > 0) {
    if (!extra.linger_over) {
      if (!extra.LingerArmed()) {
        ArmLinger(slot, DeadlineMs(options_.linger_timeout));
        if (extra.parent != nullptr) {
          Post(*extra.parent->worker, extra.parent, extra.parent_generation,
               ChildEndedControl{extra.child_order, /*lingers=*/true});
        }
      }
      return;  // LingerOver or Unpark schedules this step again.
    }
    DropOutbox(slot, shutdown_ ? DropReason::kShutdown : DropReason::kSenderEnded);
  }
  CancelLinger(extra);
  timers_.Cancel(extra.outbox.probe);
  if (!extra.watchers.empty()) {
    const DownText text = MakeDownText(extra.reason_text);
    while (budget-- > 0 && !extra.watchers.empty()) {
      const Watcher watcher = *extra.watchers.begin();
      extra.watchers.erase(extra.watchers.begin());
      TellDown(watcher, extra.reason, text);
    }
  }
  if (!extra.watchers.empty()) {
    Schedule(slot);
    return;
  }
  if (extra.parent != nullptr) {
    Post(*extra.parent->worker, extra.parent, extra.parent_generation,
         ChildEndedControl{extra.child_order});
    extra.parent = nullptr;
  }
  if (slot->io != nullptr) return;  // DetachIo schedules this step again.
  // The destructor's messages left in this very step, and scheduled the slot: its slice calls this
  // step again. A free slot may go to another worker, so it must not be in this worker's run queue.
  if (slot->scheduled) return;
  Free(slot);
}

// Takes back one monitor of the actor.
void Worker::Unwatch(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  const auto watched = extra.watching.begin();
  const auto [target, generation, taken_back] = watched->second;
  if (!taken_back) {
    Post(*target->worker, target, generation,
         UnwatchControl{Watcher(slot, watched->first), /*answered=*/false});
  }
  extra.watching.erase(watched);
}

// Destroys at most `most` timers. Answers how many.
int Worker::ForgetTimers(Slot* slot, int most) {
  ActorExtra& extra = *slot->extra;
  return extra.forgetting.Take(extra.timers, most, [&](auto timer) {
    timers_.Cancel(*timer->second);
    const std::unique_ptr<UserTimer> gone = std::move(timer->second);
    extra.timers.erase(timer);
  });
}

int Worker::ForgetAsks(Slot* slot, int most) {
  ActorExtra& extra = *slot->extra;
  return extra.forgetting.Take(extra.asks, most, [&](auto ask) {
    // Objects in the callback may ask again as they are destroyed.
    const AskEntry gone = std::move(ask->second);
    extra.asks.erase(ask);
  });
}

void LingerTimer::OnTimer(Worker& worker) { worker.LingerOver(slot_); }

void Worker::ArmLinger(Slot* slot, int64_t deadline_ms) {
  std::unique_ptr<LingerTimer>& linger = slot->extra->linger;
  if (linger == nullptr) linger = std::make_unique<LingerTimer>(slot);
  timers_.Arm(*linger, deadline_ms);
}

void Worker::CancelLinger(ActorExtra& extra) {
  if (extra.linger != nullptr) timers_.Cancel(*extra.linger);
}

void Worker::LingerOver(Slot* slot) {
  slot->extra->linger_over = true;
  Schedule(slot);
}

void Worker::Free(Slot* slot) {
  SLUICE_CHECK(!slot->scheduled);
  delete std::exchange(slot->extra, nullptr);
  slot->mailbox.Reset();
  slot->state = ActorState::kFree;
  slot->suspended = 0;
  slot->parked = slot->started = slot->stop_asked = slot->has_outbox = false;
  // From odd to even: no Ref equals this generation, so late messages for the old actor are
  // recognized.
  slot->generation = slot->generation + 1;
  --actor_count_;
  shared_.slots.Uncount();
  if (slot->UsedUp()) return;
  free_slots_.push_back(slot);
  if (free_slots_.size() > SlotTable::kFreeSlotsMax && !Planted(Plant::kSlotsStay)) {
    // First drop what still points to the slots: handlers noted for the log of slow handlers, and
    // descriptors that finished in this turn. No handler is running here.
    ReadClock();
    Bury();
    shared_.slots.Give(&free_slots_, SlotTable::kFreeSlotsMax / 2);
  }
}

// --- Children and monitors.

uint64_t Worker::AddChild(Slot* parent, Slot* child, uint32_t child_generation) {
  ActorExtra& extra = Extra(parent);
  extra.children.emplace_last(++extra.last_child, Child{child, child_generation});
  return extra.last_child;
}

bool Worker::MayHaveChild(const Slot* parent) {
  if (parent->state == ActorState::kLive || parent->state == ActorState::kStarting) return true;
  ++ledger_.spawn_refused;
  return false;
}

void Worker::ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers) {
  if (parent->generation != generation || parent->extra == nullptr) return;
  ActorExtra& extra = *parent->extra;
  if (lingers) {
    extra.children.find(order)->second.stopped = true;
  } else {
    extra.children.erase(order);
  }
  const bool ends = parent->state == ActorState::kStopping;
  if (ends && extra.children.empty()) {
    ChildrenEnded(parent);
  } else if ((ends || parent->state == ActorState::kRestarting) &&
             (order == extra.stop_below || extra.children.empty())) {
    Schedule(parent);
  }
}

void Worker::AddWatcher(Slot* target, uint32_t generation, const Watcher& watcher) {
  // An ending actor has notified its monitors already, or will notify this one too.
  if (target->generation == generation && target->state != ActorState::kFree) {
    Extra(target).watchers.emplace(watcher);
    if (target->state == ActorState::kLingering) Schedule(target);
    return;
  }
  TellDown(watcher, EndReason::kNotFound, MakeDownText("the actor had already ended"));
}

void Worker::RemoveWatcher(Slot* target, uint32_t generation, const Watcher& watcher) {
  if (target->generation != generation || target->extra == nullptr) return;
  auto& watchers = target->extra->watchers;
  if (Planted(Plant::kWrongMonitor)) {
    Watcher earliest = watcher;
    earliest.monitor = 0;
    const auto first = watchers.lower_bound(earliest);
    if (first != watchers.end() && first->slot == watcher.slot) watchers.erase(first);
    return;
  }
  watchers.erase(watcher);
}

}  // namespace sluice
