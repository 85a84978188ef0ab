#include "sluice/core/worker/mail.h"

#include <algorithm>

#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

Mail::Mail(Desk& desk, Otherwise otherwise)
    : desk_(desk),
      otherwise_(otherwise),
      // One lane more: the last is for outside threads.
      inbox_(std::make_unique<Inbox>(desk.options.workers + 1, desk.options.lane_messages_max)) {}

Mail::~Mail() {
  while (HasLocalControl()) desk_.pool.Put(local_control_.Pop());
  if (wake_fd_ >= 0) desk_.os.Close(wake_fd_);
}

absl::Status Mail::Open() {
  wake_fd_ = desk_.os.WakeCreate();
  return wake_fd_ < 0 ? absl::ErrnoToStatus(-wake_fd_, "eventfd for a worker") : absl::OkStatus();
}

void Mail::Connect(const std::vector<Worker*>& workers) {
  for (Worker* const worker : workers) {
    Mail& to = worker->mail();
    stages_.push_back(&to == this ? nullptr
                                  : std::make_unique<Stage>(to, to.inbox_->LaneFrom(desk_.index)));
  }
}

// --- Sending.

// The order matters: room and charge belong to this worker, which can give them back. A credit
// cannot be given back here: only the owner may, as a waiter would not be told of a credit that
// another worker returned.
Answer Mail::Reserve(Stage& stage, Slot* target, uint32_t generation, int64_t charge,
                     bool overdraft) {
  SLUICE_PLANT(credits_apart, generation = target->mailbox.Word().Generation());
  LaneGate<>& gate = stage.lane.gate;
  if (!gate.HasRoom()) {
    return target->mailbox.Word().Generation() == generation ? Answer::kFull : Answer::kClosed;
  }
  if (!desk_.lease.Charge(charge) && !(overdraft && desk_.lease.ChargeOverdraft(charge))) {
    return Answer::kOverloaded;
  }
  const Taken taken = target->mailbox.Word().Take(generation);
  if (taken != Taken::kCredit) {
    desk_.lease.Refund(charge);
    return taken == Taken::kFull ? Answer::kFull : Answer::kClosed;
  }
  gate.Sent();
  return Answer::kAccepted;
}

bool Mail::TakeRoomOrWait(Stage& stage) {
  LaneGate<>& gate = stage.lane.gate;
  if (!gate.HasRoom() && gate.WaitForRoom()) return false;
  gate.Sent();
  return true;
}

void Mail::Route(Mail& to, Envelope& envelope) {
  const bool reserved = envelope.Ops()->kind == MessageKind::kReserved;
  desk_.ledger.reserved_sent += reserved;
  if (&to == this) {
    Envelope* const kept = desk_.pool.Get();
    *kept = std::move(envelope);
    if (reserved) {
      Arrive(kept);  // At once, so that it keeps its order among directly sent messages.
    } else {
      local_control_.Push(kept);
    }
    return;
  }
  Stage& stage = StageTo(to.desk_.index);
  stage.Place() = std::move(envelope);
  Added(stage);
}

void Mail::Enqueue(Stage& stage) {
  cross_sent_ += stage.count;
  stage.to.inbox_->Enqueue(stage.lane, stage.envelopes.data(), static_cast<size_t>(stage.count));
  stage.count = 0;
}

void Mail::Grew(Stage& stage) {
  if (!stage.dirty) {
    stage.dirty = true;
    dirty_stages_.push_back(stage.to.desk_.index);
  }
  if (stage.count < kStageMax) return;
  Enqueue(stage);
  // Flush() exchanges the sleep word, after some slices or at the end of the turn. Exchange it here
  // only if the hint says that the receiving worker sleeps.
  if (stage.to.sleep_.LooksAsleep()) stage.to.Rouse();
}

void Mail::Flush() {
  for (const int to : dirty_stages_) {
    Stage& stage = StageTo(to);
    if (stage.count > 0) Enqueue(stage);
    stage.dirty = false;
    SLUICE_PLANT(stage_wake_lost, if (cross_sent_ % kStageMax == 0) continue);
    stage.to.Rouse();
  }
  dirty_stages_.clear();
}

// --- From outside.

// The worker and its runtime are safe to use only while the thread holds the lock of the worker's
// home, and the home is open. So the wake-up, too, happens under the lock.
InboxLane& Mail::OutsideLane() { return inbox_->LaneFrom(desk_.options.workers); }

Answer Mail::ReserveOutside(Slot* target, uint32_t generation, int64_t charge) {
  Shared& shared = desk_.shared;
  if (!shared.OutsideAdmits()) return Answer::kClosed;
  if (!shared.budget->Take(charge)) {
    // All workers may be asleep: wake one, to watch the spent memory.
    if (shared.budget->Spent() && !shared.shedder.Watched()) Rouse();
    return Answer::kOverloaded;
  }
  LaneGate<>& gate = OutsideLane().gate;
  Answer answer = Answer::kFull;
  if (gate.HasRoom()) {
    const Taken taken = target->mailbox.Word().Take(generation);
    if (taken == Taken::kCredit) {
      gate.Sent();
      return Answer::kAccepted;
    }
    if (taken == Taken::kClosed) answer = Answer::kClosed;
  }
  shared.budget->Give(charge);
  return answer;
}

void Mail::EnqueueOutside(Envelope& envelope) {
  Shared& shared = desk_.shared;
  shared.outside_gate.CountSent();
  shared.outside_sent.fetch_add(1, std::memory_order_relaxed);
  InboxLane& lane = OutsideLane();
  inbox_->Enqueue(lane, &envelope, 1);
  SLUICE_PLANT(outside_wake_lost, if (lane.gate.SentTotal() % 8 == 0) return);
  Rouse();
}

void Mail::EnqueueReservedOutside(Envelope& envelope, int64_t bytes) {
  Shared& shared = desk_.shared;
  if (bytes > 0 && bytes <= Envelope::kChargeMax && shared.budget->Take(bytes)) {
    envelope.charge = static_cast<uint32_t>(bytes);
  }
  if (envelope.Ops()->kind == MessageKind::kReserved) {
    shared.outside_reserved.fetch_add(1, std::memory_order_relaxed);
  }
  shared.outside_gate.CountSent();
  inbox_->Enqueue(OutsideLane(), &envelope, 1);
  Rouse();
}

// --- Receiving.

bool Mail::Drain() {
  seen_ = true;
  return (!batch_.Empty() || inbox_->Count() > 0) && DrainLanes();
}

bool Mail::DrainLanes() {
  SLUICE_PLANT(lost_wake_up, if (sleep_.LooksAsleep()) return false);
  bool any = false;
  const int64_t stop_ns = desk_.NowNs() + Desk::kTurnNs;
  const int lanes = inbox_->LaneCount();
  const int first = first_lane_;
  for (int i = 0; i < lanes; ++i) {
    const int from = first + i < lanes ? first + i : first + i - lanes;
    if (from == desk_.index) continue;
    desk_.clock.BeginShare(Desk::kSliceNs);
    InboxLane& lane = inbox_->LaneFrom(from);
    // A lane's share of a turn is its capacity, so that one sender cannot keep out the others.
    // Lanes are served in rotation, as control may construct actors, which takes time.
    for (uint32_t taken = 0;;) {
      if (taken >= desk_.options.lane_messages_max || desk_.NowNs() >= stop_ns) {
        seen_ = false;
        // The next turn begins with this lane if the lanes before it took all the time, or if some
        // of its batch is left; otherwise with the lane behind it.
        const int next = from + 1 < lanes ? from + 1 : 0;
        first_lane_ = taken == 0 || !batch_.Empty() ? from : next;
        break;
      }
      size_t count = kDrainMax;
      if (batch_.Empty()) count = inbox_->Drain(lane, desk_.pool, batch_, kDrainMax);
      if (count == 0) break;
      any = true;
      came_from_workers_ |= from < desk_.options.workers;
      uint32_t arrived = 0;
      uint64_t user_messages = 0;
      while (!batch_.Empty() && desk_.NowNs() < stop_ns) {
        Envelope* envelope = batch_.Pop();
        user_messages += envelope->Ops()->kind == MessageKind::kUser;
        ++arrived;
        Arrive(envelope);
      }
      cross_taken_ += arrived;
      if (user_messages > 0 && lane.gate.Take(user_messages) && from < desk_.options.workers) {
        Worker::Post(*desk_.shared.workers[static_cast<size_t>(from)], nullptr, 0,
                     LaneRoomControl{desk_.index});
      }
      taken += arrived;
      if (count < kDrainMax && batch_.Empty()) break;
      if (taken % (4 * kDrainMax) == 0) desk_.ReadClock();
    }
    if (desk_.NowNs() >= stop_ns && !seen_) break;
  }
  return any;
}

void Mail::Arrive(Envelope* envelope) {
  Slot* slot = envelope->target;
  SLUICE_PLANT(stale_handle,
               if (envelope->Ops()->kind == MessageKind::kUser && slot->state == ActorState::kLive &&
                   slot->generation != envelope->generation &&
                   slot->mailbox.TakeLocal(slot->generation) == Taken::kCredit)
                   envelope->generation = slot->generation);
  if (envelope->Ops()->kind == MessageKind::kUser && slot->mailbox.Admits(envelope->generation))
      [[likely]] {
    desk_.TakeIn(slot, envelope);
  } else {
    otherwise_(desk_.worker, envelope);
  }
}

// The loop also runs control that its own control posts. Control for new connections runs the
// first handlers of their sessions.
void Mail::RunAllLocalControl() {
  const int64_t stop_ns = desk_.NowNs() + Desk::kTurnNs;
  while (HasLocalControl() && desk_.NowNs() < stop_ns) Arrive(local_control_.Pop());
}

void Mail::CheckInvariants() const {
  std::vector<int> dirty = dirty_stages_;
  std::sort(dirty.begin(), dirty.end());
  SLUICE_CHECK(std::adjacent_find(dirty.begin(), dirty.end()) == dirty.end());
  for (size_t to = 0; to < stages_.size(); ++to) {
    if (stages_[to] == nullptr) continue;
    const bool listed = std::binary_search(dirty.begin(), dirty.end(), static_cast<int>(to));
    SLUICE_CHECK(stages_[to]->dirty == listed);
    SLUICE_CHECK(stages_[to]->count == 0 || listed);
  }
}

}  // namespace sluice
