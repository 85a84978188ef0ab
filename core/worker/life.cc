#include "sluice/core/worker/life.h"

#include "absl/strings/str_cat.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/descriptors.h"
#include "sluice/core/worker/down.h"
#include "sluice/core/worker/family.h"
#include "sluice/core/worker/mail_holds.h"
#include "sluice/core/worker/parking.h"
#include "sluice/core/worker/restarts.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// A log line about a failure must not fail itself, for example for want of memory.
template <class Text>
void TryToLog(Text&& text) {
  try {
    LogError(text());
  } catch (...) {
  }
}

}  // namespace

Life::Life(Desk& desk, Parking& parking, Descriptors& descriptors, Family& family, MailHolds& holds,
           Restarts& restarts)
    : desk_(desk),
      parking_(parking),
      descriptors_(descriptors),
      family_(family),
      holds_(holds),
      restarts_(restarts) {}

Slot* Life::AllocateSlot() {
  SLUICE_CHECK_ON_WORKER(desk_);
  Slot* const slot = desk_.shared.slots.Take(desk_.worker, &free_slots_);
  if (slot == nullptr) ++desk_.ledger.spawn_refused;
  return slot;
}

void Life::Open(Slot* slot, uint32_t capacity) {
  slot->generation.StoreRelease(slot->mailbox.Open(capacity));
  slot->state = ActorState::kStarting;
  ++desk_.actor_count;
  ++desk_.ledger.spawned;
}

void Life::Install(Slot* slot, ActorBase* actor) {
  SLUICE_CHECK_ON_WORKER(desk_);
  slot->actor = actor;
  if (slot->extra != nullptr && slot->extra->restart != nullptr) {
    slot->extra->restart->constructed = true;
  }
  desk_.ScheduleIfRunnable(slot);
  // A drain stops the roots that it finds; this actor was on its way then.
  const bool root = slot->extra == nullptr || slot->extra->parent == nullptr;
  const bool gate = root && desk_.shared.IsGate(desk_.index, slot);
  if (gate ? desk_.drain.gate_stopped : root ? desk_.drain.roots_stopped : desk_.drain.shutdown) {
    Stop(slot, EndReason::kShutdown, "");
  }
  if (desk_.drain.shutdown) desk_.Extra(slot).linger_over = true;
  if (slot->stop_asked && slot->state == ActorState::kStarting) BeginStop(slot);
}

void Life::RunStart(Slot* slot) {
  slot->state = ActorState::kLive;
  slot->started = true;
  {
    const HandlerScope scope(desk_, slot, "OnStart", TypeNameOf(slot->actor));
    try {
      slot->actor->OnStart();
    } catch (...) {
      Fail(slot, std::current_exception());
    }
  }
  desk_.NoteHandler(slot, "OnStart", nullptr);
}

// --- Stop and failure.

void Life::Stop(Slot* slot, EndReason reason, std::string text) {
  SLUICE_CHECK_ON_WORKER(desk_);
  if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting &&
      slot->state != ActorState::kRestarting) {
    return;
  }
  ActorExtra& extra = desk_.Extra(slot);
  if (!slot->stop_asked) {
    slot->stop_asked = true;
    extra.reason = reason;
    extra.reason_text = BoundedReason(std::move(text));
  }
  // If the actor runs a handler, the end begins when the handler has returned; if it is not
  // constructed yet, when it is.
  if (desk_.current == slot) return;
  if (slot->actor == nullptr && slot->state != ActorState::kRestarting) return;
  SLUICE_PLANT(ends_inside, return BeginStop(slot));
  // If another actor runs a handler, the end begins in this actor's own turn. Otherwise OnStop
  // would run inside that handler, and could end the actor that runs it.
  if (desk_.current != nullptr) {
    desk_.Schedule(slot);
    return;
  }
  BeginStop(slot);
}

void Life::StopStarted(Slot* slot, EndReason reason, std::string text) {
  if (slot->state == ActorState::kStarting) desk_.Extra(slot).start_first = true;
  Stop(slot, reason, std::move(text));
}

void Life::BeginStop(Slot* slot) {
  SLUICE_CHECK(slot->state == ActorState::kLive || slot->state == ActorState::kStarting ||
               slot->state == ActorState::kRestarting);
  if (slot->state == ActorState::kStarting && slot->actor != nullptr && slot->extra->start_first) {
    RunStart(slot);
    if (slot->state != ActorState::kLive) return;  // OnStart failed.
  }
  BeginEnd(slot);
}

// From here on the mailbox takes no message. The children end first.
void Life::BeginEnd(Slot* slot) {
  slot->state = ActorState::kStopping;
  slot->mailbox.Close(slot->generation);
  holds_.EndAll(slot);
  ActorExtra& extra = desk_.Extra(slot);
  CancelLinger(slot);  // A restart that waited is cancelled.
  if (extra.children.empty()) {
    ChildrenEnded(slot);
    return;
  }
  // A child may be parked on this very actor. Notify it of the end now: we wait for the child's own
  // end.
  parking_.TellClosed(slot, INT32_MAX);
  extra.stop_below = UINT64_MAX;
  desk_.Schedule(slot);
}

void Life::ChildrenEnded(Slot* slot) {
  if (slot->extra->reason == EndReason::kFailed) {
    BeginLinger(slot);
  } else {
    FinishStop(slot);
  }
}

void Life::NoteRestarting(Slot* slot, uint32_t generation, const Slot* ancestor) {
  if (slot->generation != generation || slot->state == ActorState::kFree) return;
  desk_.Extra(slot).restarting = ancestor;
  if (slot->state == ActorState::kLingering) desk_.Schedule(slot);
}

void Life::ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers) {
  if (family_.ChildEnded(parent, generation, order, lingers)) ChildrenEnded(parent);
}

void Life::FinishStop(Slot* slot) {
  if (std::exchange(slot->started, false)) {
    const char* const type = TypeNameOf(slot->actor);
    {
      const HandlerScope scope(desk_, slot, "OnStop", type);
      try {
        slot->actor->OnStop();
      } catch (...) {
        slot->extra->reason = EndReason::kFailed;
        slot->extra->reason_text = ExceptionText(std::current_exception());
        ++desk_.ledger.failed;
        TryToLog([&] {
          return absl::StrCat(NameOfActor(slot), " failed in OnStop: ", slot->extra->reason_text);
        });
      }
    }
    desk_.NoteHandler(slot, "OnStop", type);
  }
  BeginLinger(slot);
}

// From here on no handler of the actor runs.
void Life::BeginLinger(Slot* slot) {
  slot->state = ActorState::kLingering;
  if (slot->extra->outbox.count > 0 && !slot->parked) parking_.FlushOutbox(slot);
  desk_.Schedule(slot);
}

void Life::Fail(Slot* slot, std::exception_ptr error) { FailWith(slot, ExceptionText(error)); }

void Life::FailWith(Slot* slot, std::string text) {
  SLUICE_CHECK_ON_WORKER(desk_);
  ActorExtra& extra = desk_.Extra(slot);
  extra.reason = EndReason::kFailed;
  extra.reason_text = BoundedReason(std::move(text));
  ++desk_.ledger.failed;
  const bool ends = slot->state == ActorState::kStopping || slot->state == ActorState::kLingering;
  const bool again = !ends && restarts_.May(slot);
  TryToLog([&] {
    return absl::StrCat(NameOfActor(slot),
                        again ? " failed, and is restarted: " : " failed: ", extra.reason_text);
  });
  if (again) {
    restarts_.Begin(slot);
  } else if (!ends) {
    // Askers of questions that it leaves are told its name, also when the actor is destroyed.
    if (extra.name.empty()) extra.name = NameOfActor(slot);
    BeginEnd(slot);
  }
}

void Life::Escalate(Slot* parent, uint32_t generation, std::string text) {
  if (parent->generation != generation || parent->mailbox.Closed()) return;
  if (parent->state != ActorState::kLive && parent->state != ActorState::kStarting) return;
  FailWith(parent, std::move(text));
}

// --- The end, step by step.

void Life::CountDropped(Slot* slot, Envelope* envelope, DropReason reason) {
  desk_.lease.Refund(envelope->charge);
  if (envelope->Ops()->kind == MessageKind::kReserved) {
    --desk_.ledger.reserved_held;
    ++desk_.ledger.reserved_dropped;
  } else {
    --desk_.ledger.held;
    ++desk_.ledger.dropped[static_cast<int>(reason)];
    slot->mailbox.Left();
  }
  desk_.pool.Put(envelope);
}

// Destroys the actor; none of its handlers runs any more. False: not yet, as it has many callbacks.
bool Life::EndActor(Slot* slot, int* budget) {
  const bool failed = slot->extra->reason == EndReason::kFailed;
  const HandlerScope scope(desk_, slot, "its end", TypeNameOf(slot->actor));
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
  SLUICE_PLANT(callbacks_last, if (slot->io != nullptr) slot->io->OnActorEnded(failed);
               delete std::exchange(slot->actor, nullptr); return true);
  *budget -= CancelTasks(slot, *budget);
  if (*budget > 0) *budget -= ForgetTimers(slot, *budget);
  if (*budget > 0) *budget -= ForgetAsks(slot, *budget);
  if (*budget <= 0) return false;
  if (slot->io != nullptr) slot->io->OnActorEnded(failed);
  delete std::exchange(slot->actor, nullptr);
  return true;
}

// Destroys what an ended actor leaves: the messages of its mailbox, and the callbacks that its
// constructor or destructor created. Their destructors are user code, too.
void Life::DropWhatItHeld(Slot* slot, int* budget) {
  ActorExtra& extra = *slot->extra;
  if (slot->queue.Empty() && extra.timers.empty() && extra.AskCount() == 0 && extra.tasks.Empty()) {
    return;
  }
  const char* const type = extra.restart == nullptr ? nullptr : extra.restart->type;
  {
    const HandlerScope scope(desk_, slot, "its end", type);
    for (; !slot->queue.Empty() && *budget > 0; --*budget) {
      CountDropped(slot, slot->queue.Pop(),
                   desk_.drain.shutdown ? DropReason::kShutdown : DropReason::kTargetEnded);
    }
    if (*budget > 0) *budget -= CancelTasks(slot, *budget);
    if (*budget > 0) *budget -= ForgetTimers(slot, *budget);
    if (*budget > 0) *budget -= ForgetAsks(slot, *budget);
  }
  desk_.NoteHandler(slot, "its end", type);
  if (*budget <= 0) desk_.ReadClock();
}

void Life::EndStep(Slot* slot) {
  SLUICE_CHECK_ON_WORKER(desk_);
  ActorExtra& extra = desk_.Extra(slot);
  int budget = Desk::kStepMax;
  // The actor itself is destroyed first, so that what it held is free.
  if (slot->actor != nullptr) {
    const char* const type = TypeNameOf(slot->actor);
    const bool gone = EndActor(slot, &budget);
    desk_.NoteHandler(slot, "its end", type);
    if (!gone) {
      // These callbacks may have taken long: the next step may have to wait for the next turn.
      desk_.ReadClock();
      desk_.Schedule(slot);
      return;
    }
    // Messages that its destructor sent.
    bool last_words = extra.outbox.count > 0 && !slot->parked;
    SLUICE_PLANT(last_words_unsent, last_words = false);
    if (last_words) parking_.FlushOutbox(slot);
  }
  DropWhatItHeld(slot, &budget);
  if (budget > 0) budget -= parking_.TellClosed(slot, budget);
  while (budget-- > 0 && !extra.watching.empty()) family_.Unwatch(slot);
  if (budget <= 0) {
    desk_.Schedule(slot);
    return;
  }
  if (extra.restarting != nullptr) parking_.ForgetMessagesFor(slot, extra.restarting);
  if (extra.outbox.count > 0) {
    if (!extra.linger_over) {
      if (!extra.LingerArmed()) {
        ArmLinger(slot, DeadlineMs(desk_.NowMs(), desk_.options.linger_timeout));
        if (extra.parent != nullptr) {
          Worker::Post(*extra.parent->worker, extra.parent, extra.parent_generation,
                       ChildEndedControl{extra.child_order, /*lingers=*/true});
        }
      }
      return;  // LingerOver or Unpark schedules this step again.
    }
    parking_.DropOutbox(slot,
                        desk_.drain.shutdown ? DropReason::kShutdown : DropReason::kSenderEnded);
  }
  CancelLinger(slot);
  desk_.timers.Cancel(extra.outbox.probe);
  if (!extra.watchers.empty()) {
    const DownText text = MakeDownText(extra.reason_text);
    while (budget-- > 0 && !extra.watchers.empty()) {
      const Watcher watcher = *extra.watchers.begin();
      extra.watchers.erase(extra.watchers.begin());
      TellDown(watcher, extra.reason, text);
    }
  }
  if (!extra.watchers.empty()) {
    desk_.Schedule(slot);
    return;
  }
  if (extra.parent != nullptr) {
    Worker::Post(*extra.parent->worker, extra.parent, extra.parent_generation,
                 ChildEndedControl{extra.child_order});
    extra.parent = nullptr;
  }
  if (slot->io != nullptr) return;  // DetachIo schedules this step again.
  // The destructor's messages left in this very step, and scheduled the slot: its slice calls this
  // step again. A free slot may go to another worker, so it must not be in this worker's run queue.
  if (slot->scheduled) return;
  Free(slot);
}

int Life::CancelTasks(Slot* slot, int most) {
  SLUICE_PLANT(tasks_outlive_actor, return 0);
  int cancelled = 0;
  for (; cancelled < most; ++cancelled) {
    Coroutine* const task = FirstTask(slot);
    if (task == nullptr) break;
    task->LeaveList();
    task->Cancel();
  }
  return cancelled;
}

Coroutine* Life::FirstTask(const Slot* slot) {
  if (slot->extra != nullptr && !slot->extra->tasks.Empty()) return slot->extra->tasks.Front();
  Coroutines* const own = slot->actor == nullptr ? nullptr : slot->actor->Tasks();
  return own == nullptr ? nullptr : own->Front();
}

int Life::ForgetTimers(Slot* slot, int most) {
  ActorExtra& extra = *slot->extra;
  if (extra.timers.empty()) return 0;
  return extra.forgetting.Take([&] { return IdsInOrder(extra.timers); }, most,
                               [&](TimerId id) {
                                 const auto timer = extra.timers.find(id);
                                 if (timer == extra.timers.end()) return false;
                                 desk_.timers.Cancel(*timer->second);
                                 const std::unique_ptr<UserTimer> gone = std::move(timer->second);
                                 extra.timers.erase(timer);
                                 return true;
                               });
}

int Life::ForgetAsks(Slot* slot, int most) {
  ActorExtra& extra = *slot->extra;
  if (extra.AskCount() == 0) return 0;
  return extra.forgetting.Take([&] { return extra.asks->Ids(); }, most,
                               [&](AskId id) {
                                 OpenQuestion* const question = extra.FindAsk(id);
                                 if (question == nullptr) return false;
                                 desk_.timers.Cancel(*question);
                                 // Objects in the callback may ask again as they are destroyed.
                                 const auto gone = std::exchange(question->callback, nullptr);
                                 if (gone == nullptr) --extra.asks_over;
                                 extra.asks->Close(*question);
                                 return true;
                               });
}

void LingerTimer::OnTimer(Worker& worker) { worker.life().LingerOver(slot_); }

void Life::ArmLinger(Slot* slot, int64_t deadline_ms) {
  std::unique_ptr<LingerTimer>& linger = slot->extra->linger;
  if (linger == nullptr) linger = std::make_unique<LingerTimer>(slot);
  desk_.timers.Arm(*linger, deadline_ms);
}

void Life::CancelLinger(Slot* slot) {
  if (slot->extra->linger != nullptr) desk_.timers.Cancel(*slot->extra->linger);
}

void Life::LingerOver(Slot* slot) {
  slot->extra->linger_over = true;
  desk_.Schedule(slot);
}

void Life::Free(Slot* slot) {
  SLUICE_CHECK(!slot->scheduled);
  delete std::exchange(slot->extra, nullptr);
  slot->mailbox.Reset();
  slot->state = ActorState::kFree;
  slot->suspended = 0;
  slot->parked = slot->started = slot->stop_asked = slot->has_outbox = false;
  // From odd to even: no Ref equals this generation, so late messages for the old actor are
  // recognized.
  slot->generation = slot->generation + 1;
  --desk_.actor_count;
  desk_.shared.slots.Uncount();
  if (slot->UsedUp()) return;
  free_slots_.push_back(slot);
  SLUICE_PLANT(slots_stay, return);
  if (free_slots_.size() > SlotTable::kFreeSlotsMax) {
    // First drop what still points to the slots: handlers noted for the log of slow handlers, and
    // descriptors that finished in this turn. No handler is running here.
    desk_.ReadClock();
    descriptors_.Bury();
    desk_.shared.slots.Give(&free_slots_, SlotTable::kFreeSlotsMax / 2);
  }
}

}  // namespace sluice
