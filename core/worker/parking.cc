#include "sluice/core/worker/parking.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/mail.h"
#include "sluice/core/worker/wait_cycles.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

bool SameTarget(const Envelope* a, const Envelope* b) {
  return a->target == b->target && a->generation == b->generation;
}

// Number of messages at the head of the outbox that have the same target. Excludes an uncharged
// last message. If it held a credit while it waits for memory, the actors that could free memory
// might need that credit: deadlock.
uint32_t LeadingRun(const Outbox& outbox) {
  const Envelope* first = outbox.list.Front();
  uint32_t charged = outbox.count - outbox.uncharged;
  SLUICE_PLANT(credit_before_memory, charged = outbox.count);
  uint32_t count = 0;
  const Envelope* envelope = first;
  for (uint32_t i = 0; i < charged && SameTarget(envelope, first); ++i) {
    ++count;
    envelope = envelope->next;
  }
  return count;
}

}  // namespace

Answer Parking::Park(Slot* sender, Slot* target, uint32_t generation, int64_t charge,
                     Envelope** place) {
  SLUICE_CHECK_ON_WORKER(desk_);
  SLUICE_CHECK(sender->worker == &desk_.worker);
  if (charge > std::min<int64_t>(desk_.shared.budget->BytesMax(), Envelope::kChargeMax)) {
    return Answer::kTooLarge;
  }
  // An actor cannot wait for its own mailbox: nothing else would make room. Another runtime's
  // actors grant no credits here.
  if (target == sender || !desk_.IsOurs(target->worker)) return Answer::kOverloaded;
  Outbox& outbox = desk_.Extra(sender).outbox;
  if (outbox.count >= desk_.options.outbox_messages_max || outbox.uncharged > 0)
    return Answer::kOverloaded;
  const bool charged = desk_.lease.ChargeOverdraft(charge);
  Envelope* envelope = desk_.pool.Get();
  envelope->AddressTo(target, generation, charge);
  outbox.uncharged = charged ? 0 : 1;
  outbox.list.Push(envelope);
  ++outbox.count;
  sender->has_outbox = true;
  // If another actor's code sends for this sender, no end of the sender's handler would flush this
  // outbox, and the sender would neither park nor go on.
  if (sender != desk_.current) desk_.Schedule(sender);
  ++desk_.ledger.parked;
  ++desk_.ledger.parked_held;
  *place = envelope;
  return Answer::kAccepted;
}

bool Parking::OutboxHolds(const Slot* sender, const Slot* target) const {
  if (!sender->has_outbox) return false;
  const Outbox& outbox = sender->extra->outbox;
  const Envelope* envelope = outbox.list.Front();
  for (uint32_t i = 0; i < outbox.count; ++i, envelope = envelope->next) {
    if (envelope->target == target) return true;
  }
  return false;
}

void Parking::FlushOutbox(Slot* slot) {
  SLUICE_CHECK_ON_WORKER(desk_);
  Outbox& outbox = slot->extra->outbox;
  if (!slot->parked) {
    slot->parked = true;
    outbox.probes_sent = 0;
    outbox.parked_since_ms = desk_.NowMs();
    cycles_.ArmProbe(slot);
  }
  if (outbox.waits_for_lane || outbox.waits_for_memory) return;
  while (outbox.count > 0) {
    Envelope* head = outbox.list.Front();
    Slot* target = head->target;
    Worker& to = *target->worker;
    const bool here = &to == &desk_.worker;
    if (outbox.uncharged == 1 && outbox.count == 1) {
      if (!desk_.lease.ChargeOverdraft(head->charge)) {
        outbox.waits_for_memory = true;
        memory_waiters_.emplace_back(slot, slot->generation);
        return;
      }
      outbox.uncharged = 0;
    }
    if (target->mailbox.Word().Generation() != head->generation) {
      // The credits that this target granted ended with it.
      outbox.paid = outbox.waiting = 0;
      DropOutboxHead(slot, DropReason::kTargetEnded);
      continue;
    }
    // The target was placed here, and is not constructed yet.
    if (here && target->generation != head->generation) desk_.AdoptPlaced(target, head->generation);
    if (outbox.paid == 0) {
      if (outbox.waiting > 0) return;
      const Taken taken = here ? target->mailbox.TakeLocal(head->generation)
                               : target->mailbox.Word().Take(head->generation);
      if (taken == Taken::kClosed) continue;  // The check above sees it in the next round.
      if (taken == Taken::kFull) {
        outbox.waiting = LeadingRun(outbox);
        ++outbox.episode;
        // Earlier probes were about another wait.
        if (!outbox.probe.Armed() || outbox.probes_sent > 0) {
          outbox.probes_sent = 0;
          cycles_.ArmProbe(slot);
        }
        Worker::Post(to, target, head->generation,
                     WaitControl{slot, slot->generation, outbox.episode, outbox.waiting});
        return;
      }
      outbox.paid = 1;
    }
    if (!here) {
      Mail::Stage& stage = mail_.StageTo(to.Index());
      if (!mail_.TakeRoomOrWait(stage)) {
        // The head keeps its credit (to clear `paid` would lose credits).
        SLUICE_PLANT(paid_mark_forgotten, outbox.paid = 0);
        SLUICE_PLANT(outbox_rotated, if (LeadingRun(outbox) == outbox.count)
                         outbox.list.Push(outbox.list.Pop()));
        outbox.waits_for_lane = true;
        stage.room_waiters.emplace_back(slot, slot->generation);
        return;
      }
    }
    Envelope* envelope = outbox.list.Pop();
    slot->has_outbox = --outbox.count > 0;
    --outbox.paid;
    ++desk_.ledger.parked_left;
    --desk_.ledger.parked_held;
    ++desk_.ledger.sent;
    if (here) {
      desk_.TakeIn(target, envelope);
    } else {
      Mail::Stage& stage = mail_.StageTo(to.Index());
      stage.Place() = std::move(*envelope);
      desk_.pool.Put(envelope);
      mail_.Added(stage);
    }
  }
  SLUICE_CHECK(outbox.paid == 0 && outbox.waiting == 0);
  Unpark(slot);
}

void Parking::Unpark(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  slot->parked = false;
  extra.outbox.last_round = nullptr;
  desk_.timers.Cancel(extra.outbox.probe);
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) {
    desk_.Schedule(slot);
    return;
  }
  // Timers that became due meanwhile run among the worker's timers, in their order: there may be
  // thousands of them, and other actors may be unparked in this very turn.
  const std::vector<uint64_t> due = std::exchange(extra.due_timers, {});
  for (const uint64_t id : due) {
    ActorTimer* const timer = extra.FindTimer(id);
    if (timer == nullptr || !timer->due) continue;
    timer->due = false;
    SLUICE_PLANT(due_forgotten, if (id != due.front()) continue);
    desk_.timers.Arm(*timer, timer->due_ms);
  }
  desk_.ScheduleIfRunnable(slot);
  if (slot->io != nullptr && slot->Runnable()) slot->io->OnUnparked();
}

void Parking::DropOutboxHead(Slot* slot, DropReason reason) {
  Outbox& outbox = slot->extra->outbox;
  Envelope* envelope = outbox.list.Pop();
  if (outbox.uncharged == 1 && outbox.count == 1) {
    outbox.uncharged = 0;
  } else {
    desk_.lease.Refund(envelope->charge);
  }
  slot->has_outbox = --outbox.count > 0;
  if (outbox.paid > 0) {
    Worker::Post(*envelope->target->worker, envelope->target, envelope->generation,
                 GrantBackControl{1});
    --outbox.paid;
  }
  ++desk_.ledger.parked_dropped[static_cast<int>(reason)];
  --desk_.ledger.parked_held;
  desk_.pool.Put(envelope);
}

// Withdraws the wait at the head's target, which still owes credits that are no longer wanted.
void Parking::WithdrawWait(Slot* slot) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.waiting == 0) return;
  const Envelope* head = outbox.list.Front();
  Worker::Post(*head->target->worker, head->target, head->generation,
               CancelControl{slot, slot->generation});
  outbox.waiting = 0;
  ++outbox.episode;  // A grant on its way finds another episode, and goes back.
}

void Parking::DropOutbox(Slot* slot, DropReason reason) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.count == 0) return;
  WithdrawWait(slot);
  while (outbox.count > 0) DropOutboxHead(slot, reason);
  outbox.waits_for_lane = outbox.waits_for_memory = false;
  desk_.timers.Cancel(outbox.probe);
  slot->parked = false;
}

void Parking::OnWait(Slot* target, uint32_t generation, const Waiter& waiter) {
  if (!Desk::Live(target, generation)) {
    Slot* slot = reinterpret_cast<Slot*>(waiter.key);
    Worker::Post(*slot->worker, slot, waiter.generation, ClosedControl{waiter.episode});
    return;
  }
  target->mailbox.AddWaiter(generation, waiter);
  IssueGrants(target);
  // AddWaiter() took all credits from the word. If no actor waits any more, the credits that are
  // left go back to the word, for all senders.
  target->mailbox.Publish(generation);
}

void Parking::OnCancel(Slot* target, uint32_t generation, uint64_t key,
                       uint32_t waiter_generation) {
  if (!Desk::Live(target, generation)) return;
  target->mailbox.RemoveWaiter(key, waiter_generation);
  IssueGrants(target);
  target->mailbox.Publish(generation);
}

void Parking::IssueGrants(Slot* slot) {
  Grant grant;
  // An actor that takes no message frees no credits: what is free now is all there is.
  const bool eager = !slot->Runnable() || slot->suspended != 0;
  while (slot->mailbox.NextGrant(&grant, eager)) {
    Slot* waiter = reinterpret_cast<Slot*>(grant.waiter.key);
    Worker::Post(*waiter->worker, waiter, grant.waiter.generation,
                 GrantControl{slot, slot->generation, grant.waiter.episode, grant.credits});
  }
}

void Parking::OnGrant(Slot* waiter, uint32_t generation, uint32_t episode, uint32_t credits,
                      Slot* target, uint32_t target_generation) {
  if (waiter->generation != generation || waiter->extra == nullptr ||
      waiter->extra->outbox.episode != episode || waiter->extra->outbox.waiting == 0) {
    SLUICE_PLANT(credit_leaked_on_death, return);
    Worker::Post(*target->worker, target, target_generation, GrantBackControl{credits});
    return;
  }
  Outbox& outbox = waiter->extra->outbox;
  SLUICE_CHECK(credits <= outbox.waiting);
  outbox.waiting -= credits;
  outbox.paid += credits;
  FlushOutbox(waiter);
}

void Parking::OnTargetClosed(Slot* waiter, uint32_t generation, uint32_t episode) {
  if (waiter->generation != generation || waiter->extra == nullptr ||
      waiter->extra->outbox.episode != episode || waiter->extra->outbox.waiting == 0) {
    return;
  }
  SLUICE_PLANT(parked_on_the_dead, return);
  waiter->extra->outbox.waiting = 0;
  FlushOutbox(waiter);  // Finds the head's generation stale, and drops the messages for it.
}

void Parking::OnGrantBack(Slot* target, uint32_t generation, uint32_t credits) {
  if (!Desk::Live(target, generation)) return;
  target->mailbox.GrantReturned(generation, credits);
  IssueGrants(target);
  target->mailbox.Publish(generation);
}

void Parking::OnLaneRoom(int to_worker) {
  std::vector<std::pair<Slot*, uint32_t>> waiting =
      std::exchange(mail_.StageTo(to_worker).room_waiters, {});
  for (const auto& [slot, generation] : waiting) {
    if (slot->generation != generation || slot->extra == nullptr) continue;
    if (!slot->extra->outbox.waits_for_lane) continue;
    slot->extra->outbox.waits_for_lane = false;
    if (slot->extra->outbox.count > 0) FlushOutbox(slot);
    SLUICE_PLANT(lane_room_lost, break);
  }
}

void Parking::ForgetMessagesFor(Slot* slot, const Slot* target) {
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
      desk_.lease.Refund(envelope->charge);
    }
    slot->has_outbox = --outbox.count > 0;
    ++desk_.ledger.parked_dropped[static_cast<int>(DropReason::kSenderEnded)];
    --desk_.ledger.parked_held;
    desk_.pool.Put(envelope);
  }
  if (head) FlushOutbox(slot);
}

bool Parking::BreakWait(Slot* slot, uint32_t generation, uint32_t episode) {
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return false;
  const Outbox& outbox = slot->extra->outbox;
  if (outbox.episode != episode || !outbox.WaitsForCredit()) return false;
  WithdrawWait(slot);  // From here on that episode is over.
  DropOutboxHead(slot, DropReason::kDeadlock);
  return true;
}

void Parking::RetryForMemory() {
  const std::vector<std::pair<Slot*, uint32_t>> waiting = std::exchange(memory_waiters_, {});
  for (const auto& [slot, generation] : waiting) {
    if (slot->generation != generation || slot->extra == nullptr) continue;
    if (!slot->extra->outbox.waits_for_memory) continue;
    slot->extra->outbox.waits_for_memory = false;
    FlushOutbox(slot);
  }
}

int Parking::TellClosed(Slot* slot, int most) {
  int told = 0;
  Waiter waiter;
  while (told < most && slot->mailbox.TakeWaiter(&waiter)) {
    ++told;
    Slot* parked = reinterpret_cast<Slot*>(waiter.key);
    Worker::Post(*parked->worker, parked, waiter.generation, ClosedControl{waiter.episode});
  }
  return told;
}

}  // namespace sluice
