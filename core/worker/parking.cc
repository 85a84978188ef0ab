// Parking: what a worker does for an actor that sent to a full target.
//
// A message that cannot go waits in the sender's outbox, and the actor runs no handler until the
// outbox is empty. Only the head waits, for one of three things: a credit of its target, room in
// the lane to the target's worker, or memory. For a credit, the target's worker gets one order
// (Wait, with the number of leading messages for that target), and answers with grants.
#include <utility>
#include <vector>

#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
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
  const uint32_t charged =
      outbox.count - (Planted(Plant::kCreditBeforeMemory) ? 0 : outbox.uncharged);
  uint32_t count = 0;
  const Envelope* envelope = first;
  for (uint32_t i = 0; i < charged && SameTarget(envelope, first); ++i) {
    ++count;
    envelope = envelope->next;
  }
  return count;
}

}  // namespace

Answer Worker::Park(Slot* sender, Slot* target, uint32_t generation, int64_t charge,
                    Envelope** place) {
  SLUICE_CHECK(sender->worker == this);
  // An actor cannot wait for its own mailbox: nothing else would make room.
  if (target == sender) return Answer::kOverloaded;
  // Another runtime's actors grant no credits here; and a message too large ever to be charged need
  // not wait.
  if (!IsOurs(target->worker) ||
      charge > std::min<int64_t>(shared_.budget->BytesMax(), Envelope::kChargeMax)) {
    return Answer::kOverloaded;
  }
  Outbox& outbox = Extra(sender).outbox;
  if (outbox.count >= options_.outbox_messages_max || outbox.uncharged > 0)
    return Answer::kOverloaded;
  const bool charged = lease_.ChargeOverdraft(charge);
  Envelope* envelope = pool_.Get();
  Fill(*envelope, target, generation, charge);
  outbox.uncharged = charged ? 0 : 1;
  outbox.list.Push(envelope);
  ++outbox.count;
  sender->has_outbox = true;
  // If another actor's code sends for this sender, no end of the sender's handler would flush this
  // outbox, and the sender would neither park nor go on.
  if (sender != current_) Schedule(sender);
  ++ledger_.parked;
  ++ledger_.parked_held;
  *place = envelope;
  return Answer::kAccepted;
}

bool Worker::OutboxHolds(Slot* sender, const Slot* target) const {
  if (!sender->has_outbox) return false;
  const Outbox& outbox = sender->extra->outbox;
  const Envelope* envelope = outbox.list.Front();
  for (uint32_t i = 0; i < outbox.count; ++i, envelope = envelope->next) {
    if (envelope->target == target) return true;
  }
  return false;
}

// Sends the messages that can go. The actor is parked while any is left, and runs again when none
// is.
void Worker::FlushOutbox(Slot* slot) {
  Outbox& outbox = slot->extra->outbox;
  if (!slot->parked) {
    slot->parked = true;
    outbox.probes_sent = 0;
    outbox.parked_since_ms = NowMs();
    ArmProbe(slot);
  }
  if (outbox.waits_for_lane || outbox.waits_for_memory) return;
  while (outbox.count > 0) {
    Envelope* head = outbox.list.Front();
    Slot* target = head->target;
    Worker& to = *target->worker;
    if (outbox.uncharged == 1 && outbox.count == 1) {
      if (!lease_.ChargeOverdraft(head->charge)) {
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
    if (&to == this && target->generation != head->generation)
      AdoptPlaced(target, head->generation);
    if (outbox.paid == 0) {
      if (outbox.waiting > 0) return;
      const Taken taken = &to == this ? target->mailbox.TakeLocal(head->generation)
                                      : target->mailbox.Word().Take(head->generation);
      if (taken == Taken::kClosed) continue;  // The check above sees it in the next round.
      if (taken == Taken::kFull) {
        outbox.waiting = LeadingRun(outbox);
        ++outbox.episode;
        // Earlier probes were about another wait.
        if (!outbox.probe.Armed() || outbox.probes_sent > 0) {
          outbox.probes_sent = 0;
          ArmProbe(slot);
        }
        Post(to, target, head->generation,
             WaitControl{slot, slot->generation, outbox.episode, outbox.waiting});
        return;
      }
      outbox.paid = 1;
    }
    if (&to != this) {
      LaneGate<>& gate = to.inbox_.LaneFrom(index_).gate;
      if (!gate.HasRoom() && gate.WaitForRoom()) {
        // The head keeps its credit (to clear `paid` would lose credits).
        if (Planted(Plant::kPaidMarkForgotten)) outbox.paid = 0;
        if (Planted(Plant::kOutboxRotated) && LeadingRun(outbox) == outbox.count)
          outbox.list.Push(outbox.list.Pop());
        outbox.waits_for_lane = true;
        stages_[to.index_]->room_waiters.emplace_back(slot, slot->generation);
        return;
      }
      gate.Sent();
    }
    Envelope* envelope = outbox.list.Pop();
    slot->has_outbox = --outbox.count > 0;
    --outbox.paid;
    ++ledger_.parked_left;
    --ledger_.parked_held;
    ++ledger_.sent;
    if (&to == this) {
      ++ledger_.held;
      target->mailbox.Arrived();
      target->queue.Push(envelope);
      ScheduleIfRunnable(target);
    } else {
      Stage& stage = StageFor(to);
      stage.Place() = std::move(*envelope);
      pool_.Put(envelope);
      StageAdded(stage, to);
    }
  }
  SLUICE_CHECK(outbox.paid == 0 && outbox.waiting == 0);
  Unpark(slot);
}

void Worker::Unpark(Slot* slot) {
  ActorExtra& extra = *slot->extra;
  slot->parked = false;
  extra.outbox.last_round = nullptr;
  timers_.Cancel(extra.outbox.probe);
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) {
    Schedule(slot);
    return;
  }
  // Timers that became due meanwhile run among the worker's timers, in their order: there may be
  // timers_max of them, and other actors may be unparked in this very turn.
  const std::vector<TimerId> due = std::exchange(extra.due_timers, {});
  for (const TimerId id : due) {
    const auto found = extra.timers.find(id);
    if (found == extra.timers.end() || !found->second->due) continue;
    found->second->due = false;
    if (Planted(Plant::kDueForgotten) && id != due.front()) continue;
    timers_.Arm(*found->second, found->second->due_ms);
  }
  ScheduleIfRunnable(slot);
  if (slot->io != nullptr && slot->Runnable()) slot->io->OnUnparked();
}

void Worker::DropOutboxHead(Slot* slot, DropReason reason) {
  Outbox& outbox = slot->extra->outbox;
  Envelope* envelope = outbox.list.Pop();
  if (outbox.uncharged == 1 && outbox.count == 1) {
    outbox.uncharged = 0;
  } else {
    lease_.Refund(envelope->charge);
  }
  slot->has_outbox = --outbox.count > 0;
  if (outbox.paid > 0) {
    Post(*envelope->target->worker, envelope->target, envelope->generation, GrantBackControl{1});
    --outbox.paid;
  }
  ++ledger_.parked_dropped[static_cast<int>(reason)];
  --ledger_.parked_held;
  pool_.Put(envelope);
}

// Withdraws the wait at the head's target, which still owes credits that are no longer wanted.
void Worker::WithdrawWait(Slot* slot) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.waiting == 0) return;
  const Envelope* head = outbox.list.Front();
  Post(*head->target->worker, head->target, head->generation,
       CancelControl{slot, slot->generation});
  outbox.waiting = 0;
  ++outbox.episode;  // A grant on its way finds another episode, and goes back.
}

void Worker::DropOutbox(Slot* slot, DropReason reason) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.count == 0) return;
  WithdrawWait(slot);
  while (outbox.count > 0) DropOutboxHead(slot, reason);
  outbox.waits_for_lane = outbox.waits_for_memory = false;
  timers_.Cancel(outbox.probe);
  slot->parked = false;
}

void Worker::OnWait(Slot* target, uint32_t generation, const Waiter& waiter) {
  if (!Live(target, generation)) {
    Slot* slot = reinterpret_cast<Slot*>(waiter.key);
    Post(*slot->worker, slot, waiter.generation, ClosedControl{waiter.episode});
    return;
  }
  target->mailbox.AddWaiter(generation, waiter);
  IssueGrants(target);
  // AddWaiter() took all credits from the word. If no actor waits any more, the credits that are
  // left go back to the word, for all senders.
  target->mailbox.Publish(generation);
}

void Worker::OnCancel(Slot* target, uint32_t generation, uint64_t key, uint32_t waiter_generation) {
  if (!Live(target, generation)) return;
  target->mailbox.RemoveWaiter(key, waiter_generation);
  IssueGrants(target);
  target->mailbox.Publish(generation);
}

void Worker::IssueGrants(Slot* slot) {
  Grant grant;
  while (slot->mailbox.NextGrant(&grant, /*eager=*/!slot->Runnable() || slot->MailHeld())) {
    Slot* waiter = reinterpret_cast<Slot*>(grant.waiter.key);
    Post(*waiter->worker, waiter, grant.waiter.generation,
         GrantControl{slot, slot->generation, grant.waiter.episode, grant.credits});
  }
}

void Worker::OnGrant(Slot* waiter, uint32_t generation, uint32_t episode, uint32_t credits,
                     Slot* target, uint32_t target_generation) {
  if (waiter->generation != generation || waiter->extra == nullptr ||
      waiter->extra->outbox.episode != episode || waiter->extra->outbox.waiting == 0) {
    if (Planted(Plant::kCreditLeakedOnDeath)) return;
    Post(*target->worker, target, target_generation, GrantBackControl{credits});
    return;
  }
  Outbox& outbox = waiter->extra->outbox;
  SLUICE_CHECK(credits <= outbox.waiting);
  outbox.waiting -= credits;
  outbox.paid += credits;
  FlushOutbox(waiter);
}

void Worker::OnTargetClosed(Slot* waiter, uint32_t generation, uint32_t episode) {
  if (waiter->generation != generation || waiter->extra == nullptr ||
      waiter->extra->outbox.episode != episode || waiter->extra->outbox.waiting == 0) {
    return;
  }
  if (Planted(Plant::kParkedOnTheDead)) return;
  waiter->extra->outbox.waiting = 0;
  FlushOutbox(waiter);  // Finds the head's generation stale, and drops the messages for it.
}

void Worker::OnGrantBack(Slot* target, uint32_t generation, uint32_t credits) {
  if (!Live(target, generation)) return;
  target->mailbox.GrantReturned(generation, credits);
  IssueGrants(target);
  target->mailbox.Publish(generation);
}

void Worker::OnLaneRoom(int to_worker) {
  std::vector<std::pair<Slot*, uint32_t>> waiting =
      std::exchange(stages_[to_worker]->room_waiters, {});
  for (const auto& [slot, generation] : waiting) {
    if (slot->generation != generation || slot->extra == nullptr) continue;
    if (!slot->extra->outbox.waits_for_lane) continue;
    slot->extra->outbox.waits_for_lane = false;
    if (slot->extra->outbox.count > 0) FlushOutbox(slot);
    if (Planted(Plant::kLaneRoomLost)) break;
  }
}

}  // namespace sluice
