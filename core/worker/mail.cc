// Messages between actors: sending, staging for other workers, receiving. The common case of a
// send, to an actor of the same worker, is in the header.
#include <mutex>

#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// --- Sending.

Answer Worker::Refuse(Answer answer) {
  ledger_.refused_full += answer == Answer::kFull;
  ledger_.refused_closed += answer == Answer::kClosed;
  ledger_.refused_overloaded += answer == Answer::kOverloaded;
  return answer;
}

// The order matters: room and charge belong to this worker, which can give them back. A credit
// cannot be given back here: only the owner may, as a waiter would not be told of a credit that
// another worker returned.
Answer Worker::ReserveRemote(Worker& to, Slot* target, uint32_t generation, int64_t charge,
                             bool overdraft) {
  if (Planted(Plant::kCreditsApart)) generation = target->mailbox.Word().Generation();
  Inbox::Lane& lane = to.inbox_.LaneFrom(index_);
  if (!lane.gate.HasRoom()) {
    return target->mailbox.Word().Generation() == generation ? Answer::kFull : Answer::kClosed;
  }
  if (!lease_.Charge(charge) && !(overdraft && lease_.ChargeOverdraft(charge))) {
    return Answer::kOverloaded;
  }
  const Taken taken = target->mailbox.Word().Take(generation);
  if (taken != Taken::kCredit) {
    lease_.Refund(charge);
    return taken == Taken::kFull ? Answer::kFull : Answer::kClosed;
  }
  lane.gate.Sent();
  return Answer::kAccepted;
}

void Worker::StageGrew(Stage& stage, Worker& to) {
  if (!stage.dirty) {
    stage.dirty = true;
    dirty_stages_.push_back(to.index_);
  }
  if (stage.count < kStageMax) return;
  cross_sent_ += stage.count;
  to.inbox_.Enqueue(to.inbox_.LaneFrom(index_), stage.envelopes.data(), stage.count);
  stage.count = 0;
  // Flush() exchanges the sleep word, after some slices or at the end of the turn. Exchange it here
  // only if the hint says that the receiving worker sleeps.
  if (to.sleep_.LooksAsleep() && to.sleep_.Rouse()) to.Signal();
}

void Worker::Flush(int to) {
  Stage& stage = *stages_[to];
  Worker& worker = *shared_.workers[static_cast<size_t>(to)];
  if (stage.count > 0) {
    cross_sent_ += stage.count;
    worker.inbox_.Enqueue(worker.inbox_.LaneFrom(index_), stage.envelopes.data(), stage.count);
    stage.count = 0;
  }
  stage.dirty = false;
  if (Planted(Plant::kStageWakeLost) && cross_sent_ % kStageMax == 0) return;
  if (worker.sleep_.Rouse()) worker.Signal();
}

void Worker::FlushStages() {
  for (int to : dirty_stages_) Flush(to);
  dirty_stages_.clear();
}

void Worker::Route(Worker& to, Envelope& envelope) {
  const bool reserved = envelope.Ops()->kind == MessageKind::kReserved;
  ledger_.reserved_sent += reserved;
  if (&to == this) {
    Envelope* kept = pool_.Get();
    *kept = std::move(envelope);
    if (reserved) {
      Arrive(kept);  // At once, so that it keeps its order among directly sent messages.
    } else {
      local_control_.Push(kept);
    }
    return;
  }
  Stage& stage = StageFor(to);
  stage.Place() = std::move(envelope);
  StageAdded(stage, to);
}

// For an outside thread, the worker and its runtime are safe to use only while the thread holds the
// lock of the worker's home, and the home is open. So the wake-up, too, happens under the lock.
bool Worker::RouteOutside(Worker& to, Envelope& envelope, int64_t bytes) {
  Home& home = Home::Of(&to);
  std::lock_guard<std::mutex> lock(home.Lock());
  if (!home.IsOpen()) return false;
  Shared& shared = to.shared_;
  if (bytes > 0 && bytes <= Envelope::kChargeMax && shared.budget->Take(bytes)) {
    envelope.charge = static_cast<uint32_t>(bytes);
  }
  if (envelope.Ops()->kind == MessageKind::kReserved)
    shared.outside_reserved.fetch_add(1, std::memory_order_relaxed);
  shared.outside_gate.CountSent();
  to.inbox_.Enqueue(to.inbox_.LaneFrom(shared.options.workers), &envelope, 1);
  if (to.sleep_.Rouse()) to.Signal();
  return true;
}

Answer Worker::BeginOutside(Worker& to, Slot* target, uint32_t generation, int64_t charge) {
  Home& home = Home::Of(&to);
  std::unique_lock<std::mutex> lock(home.Lock());
  if (!home.IsOpen()) return Answer::kClosed;
  Shared& shared = to.shared_;
  if (!shared.OutsideAdmits()) return Answer::kClosed;
  if (!shared.budget->Take(charge)) {
    // All workers may be asleep: wake one, to watch the spent memory.
    if (shared.budget->Spent() && !shared.shedder.Watched() && to.sleep_.Rouse()) to.Signal();
    return Answer::kOverloaded;
  }
  Inbox::Lane& lane = to.inbox_.LaneFrom(shared.options.workers);
  Answer answer = Answer::kFull;
  if (lane.gate.HasRoom()) {
    const Taken taken = target->mailbox.Word().Take(generation);
    if (taken == Taken::kCredit) {
      lane.gate.Sent();
      lock.release();  // CommitOutside unlocks.
      return Answer::kAccepted;
    }
    if (taken == Taken::kClosed) answer = Answer::kClosed;
  }
  shared.budget->Give(charge);
  return answer;
}

void Worker::CommitOutside(Worker& to, Envelope& envelope) {
  const std::lock_guard<std::mutex> lock(Home::Of(&to).Lock(), std::adopt_lock);
  Shared& shared = to.shared_;
  shared.outside_gate.CountSent();
  shared.outside_sent.fetch_add(1, std::memory_order_relaxed);
  Inbox::Lane& lane = to.inbox_.LaneFrom(shared.options.workers);
  to.inbox_.Enqueue(lane, &envelope, 1);
  if (Planted(Plant::kOutsideWakeLost) && lane.gate.SentTotal() % 8 == 0) return;
  if (to.sleep_.Rouse()) to.Signal();
}

// --- Receiving.

bool Worker::DrainInbox() {
  bool any = false;
  const int64_t stop_ns = NowNs() + kTurnNs;
  const int lanes = inbox_.LaneCount();
  const int first = first_lane_;
  mail_seen_ = true;
  for (int i = 0; i < lanes; ++i) {
    const int from = first + i < lanes ? first + i : first + i - lanes;
    if (from == index_) continue;
    BeginShare(kSliceNs);
    Inbox::Lane& lane = inbox_.LaneFrom(from);
    // A lane's share of a turn is its capacity, so that one sender cannot keep out the others.
    // Lanes are served in rotation, as control may construct actors, which takes time.
    for (uint32_t taken = 0;;) {
      if (taken >= options_.lane_messages_max || NowNs() >= stop_ns) {
        mail_seen_ = false;
        // The next turn begins with this lane if the lanes before it took all the time, or if some
        // of its batch is left; otherwise with the lane behind it.
        const int next = from + 1 < lanes ? from + 1 : 0;
        first_lane_ = taken == 0 || !batch_.Empty() ? from : next;
        break;
      }
      size_t count = kDrainMax;
      if (batch_.Empty()) count = inbox_.Drain(lane, pool_, batch_, kDrainMax);
      if (count == 0) break;
      any = true;
      mail_since_sleep_ |= from < options_.workers;
      uint32_t arrived = 0;
      uint64_t user_messages = 0;
      while (!batch_.Empty() && NowNs() < stop_ns) {
        Envelope* envelope = batch_.Pop();
        user_messages += envelope->Ops()->kind == MessageKind::kUser;
        ++arrived;
        Arrive(envelope);
      }
      cross_taken_ += arrived;
      if (user_messages > 0 && lane.gate.Take(user_messages) && from < options_.workers) {
        Post(*shared_.workers[static_cast<size_t>(from)], nullptr, 0, LaneRoomControl{index_});
      }
      taken += arrived;
      if (count < kDrainMax && batch_.Empty()) break;
      if (taken % (4 * kDrainMax) == 0) ReadClock();
    }
    if (NowNs() >= stop_ns && !mail_seen_) break;
  }
  return any;
}

void Worker::Arrive(Envelope* envelope) {
  Slot* slot = envelope->target;
  if (Planted(Plant::kStaleHandle) && envelope->Ops()->kind == MessageKind::kUser &&
      slot->state == ActorState::kLive && slot->generation != envelope->generation &&
      slot->mailbox.TakeLocal(slot->generation) == Taken::kCredit) {
    envelope->generation = slot->generation;
  }
  if (envelope->Ops()->kind != MessageKind::kUser || !Live(slot, envelope->generation)) {
    ArriveOtherwise(envelope);
    return;
  }
  ++ledger_.held;
  slot->mailbox.Arrived();
  slot->queue.Push(envelope);
  if (!slot->scheduled) ScheduleIfRunnable(slot);
}

// For control, reserved messages, and messages for an actor that does not live here yet, or no
// longer.
void Worker::ArriveOtherwise(Envelope* envelope) {
  Slot* slot = envelope->target;
  if (slot != nullptr && slot->generation != envelope->generation) {
    AdoptPlaced(slot, envelope->generation);
  }
  const MessageKind kind = envelope->Ops()->kind;
  if (kind == MessageKind::kControl) {
    envelope->Ops()->handle(this, *envelope);
    pool_.Put(envelope);
  } else if (!Live(slot, envelope->generation)) {
    if (Planted(Plant::kChargeLeaked)) envelope->charge = 0;
    lease_.Refund(envelope->charge);
    if (kind == MessageKind::kReserved) {
      ++ledger_.reserved_dropped;
    } else {
      ++ledger_.dropped[static_cast<int>(DropReason::kTargetEnded)];
    }
    pool_.Put(envelope);
  } else if (kind == MessageKind::kReserved) {
    ++ledger_.reserved_held;
    slot->queue.Push(envelope);
    ScheduleIfRunnable(slot);
  } else {
    Arrive(envelope);
  }
}

void Worker::RunLocalControl() {
  // This loop also runs control that its own control posts. Control for new connections runs the
  // first handlers of their sessions, so the loop gets one share of the turn, and no more.
  const int64_t stop_ns = NowNs() + kTurnNs;
  while (!local_control_.Empty() && NowNs() < stop_ns) Arrive(local_control_.Pop());
}

}  // namespace sluice
