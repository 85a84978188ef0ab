#include "sluice/actors/hub/hub_spoke.h"

#include <algorithm>
#include <utility>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub_control.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_as.h"

namespace sluice::internal {

Spoke::~Spoke() {
  worker().Withdraw(*this);
  round_ = false;
  DropBatch();
  if (ledger_ != nullptr) ledger_->spokes.Remove(*this);
  if (!stopped_ && joining_.has_value()) {
    RefuseJoining(absl::AbortedError("the hub failed on this worker"));
  }
  // The hub lives on and must not count them: a failed spoke is recreated without its subscribers.
  if (!stopped_ && !by_slot_.empty()) TellGone(static_cast<int64_t>(by_slot_.size()));
  while (Subscriber* const subscriber = subscribers_.PopFront()) {
    if (stopped_) {
      subscriber->Retire();
    } else {
      subscriber->Fail();
    }
  }
}

void Spoke::OnStart() {
  ledger_ = &runtime().Attachment<HubLedger>(runtime().WorkerCount()).At(worker().Index());
  ledger_->spokes.PushBack(*this);
}

// A gap in the numbers: messages that were lost on their way here, as memory was spent. (A spoke
// without subscribers is sent nothing.)
int64_t Spoke::LostBefore(uint64_t sequence) {
  const auto lost = static_cast<int64_t>(sequence - sequence_);
  return subscribers_.Empty() ? 0 : std::max<int64_t>(lost, 0);
}

void Spoke::On(AddSubscriber add) {
  if (const int64_t lost = LostBefore(add.sequence); lost > 0) batch_.push_back({lost});
  sequence_ = add.sequence;
  // Kept from here on: if this spoke fails, the session is told that it did not join.
  joining_.emplace(std::move(add));
  if (batch_.empty()) {
    Join();
    return;
  }
  if (!Hold(sluice::HeldBytes(*joining_))) {
    RefuseJoining(absl::ResourceExhaustedError("the memory budget is spent"));
  }
  BeginRound();
}

// With many subscribers, messages are collected in a batch, so that each socket is written to once.
// With few, each message is handed out at once.
void Spoke::Take(Deliver message, uint64_t key) {
  const int64_t lost = LostBefore(message.sequence - 1);
  sequence_ = message.sequence;
  if (subscribers_.Empty()) {
    DropBatch();  // All subscribers that the batch was for have gone.
    return;
  }
  // The envelope's charge was given back before this handler.
  const bool held = Hold(ChargeOf(message.payload));
  batch_.push_back({lost, true, key, std::move(message.payload), message.except});
  if (!held || by_slot_.size() <= kPortionMax || batch_.size() >= batch_max_ ||
      slot()->queue.Empty()) {
    BeginRound();
  }
}

// False: memory is spent, and nothing is charged.
bool Spoke::Hold(int64_t bytes) {
  if (bytes > 0 && !worker().lease().ChargeOverdraft(bytes)) return false;
  batch_bytes_ += bytes;
  return true;
}

void Spoke::DropBatch() {
  batch_.clear();
  if (batch_bytes_ > 0) worker().lease().Refund(std::exchange(batch_bytes_, 0));
}

// --- A round.

void Spoke::BeginRound() {
  round_ = true;
  next_ = subscribers_.Front();
  Portion();
}

void Spoke::Portion() {
  for (size_t left = kPortionMax; next_ != nullptr && left > 0; --left) {
    Subscriber& subscriber = *next_;
    next_ = subscribers_.Next(subscriber);
    subscriber.Offer(batch_);  // May delete this subscriber, and others.
    if (worker().PieceDone(slot(), "Hand")) break;
  }
  SLUICE_PLANT(portion_is_all, next_ = nullptr);
  if (next_ == nullptr) {
    EndRound();
  } else {
    worker().MarkDue(*this);
  }
  UpdateWait();
}

void Spoke::OnTurn() {
  if (!round_) return;
  // Runs as a handler although the spoke takes no message. If the spoke has ended meanwhile,
  // RunHandler does nothing.
  slot()->suspended = waits_ = false;
  worker().RunHandler(slot(), "Hand", [this] { Portion(); });
}

void Spoke::EndRound() {
  round_ = false;
  next_ = nullptr;
  DropBatch();
  batch_max_ = std::clamp<size_t>(std::exchange(room_min_, kBatchMax), 1, kBatchMax);
  if (joining_.has_value()) Join();
}

// --- Subscribers.

// Requires: a session or an actor waits to join. If the spoke fails before the join, it tells them
// that they did not join; after the join, it ends the session's connection, or the subscription.
void Spoke::Join() {
  absl::Status why;
  const bool is_actor = joining_->subscriber.OfActor();
  Subscriber* const subscriber = MakeSubscriber(&why);
  if (subscriber == nullptr) return RefuseJoining(std::move(why));
  subscribers_.PushBack(*subscriber);
  by_slot_.insert(subscriber);
  SubscribeMessage& message = joining_->subscriber;
  const uint64_t sequence = joining_->sequence;
  const std::string greeting = std::move(message.greeting);
  if (subscriber->Parks()) batch_max_ = std::min<size_t>(batch_max_, subscriber->Room());
  if (is_actor) {
    message.promise.Resolve(std::monostate());
    joining_.reset();
    return;
  }
  message.notice.Tell({hub(), sequence, slot(), generation()});
  joining_.reset();
  // Without the greeting the peer would take what follows for the whole.
  if (!greeting.empty() && subscriber->PutNotice(greeting) != Answer::kAccepted) {
    LogDebug("hub: a subscriber's connection did not take the greeting, and is ended");
    subscriber->End(CloseReason::kMemory);
  }
}

Subscriber* Spoke::MakeSubscriber(absl::Status* why) {
  SubscribeMessage& message = joining_->subscriber;
  Slot* const slot = message.slot;
  const bool is_actor = message.OfActor();
  bool alive = slot->generation == message.generation && slot->actor != nullptr;
  Connection* connection = nullptr;
  if (alive && slot->actor->IsKind(KindOf<Session>())) {
    connection = ActorAs<Session>(slot).connection();
    if (connection != nullptr && !connection->WriteOpen()) connection = nullptr;
  }
  alive = alive && (is_actor ? message.state->wanted : connection != nullptr);
  if (!alive) {
    *why = absl::AbortedError("it has ended or left on the way");
  } else if (by_slot_.contains(slot)) {
    *why = absl::AlreadyExistsError("the actor has joined this hub already");
  } else if (!worker().lease().Charge(Subscriber::BytesOf(message.options))) {
    *why = absl::ResourceExhaustedError("the memory budget is spent");
  } else if (is_actor) {
    return new SubscribedActor(*this, connection, message);
  } else {
    return new SubscribedConnection(*this, *connection, message);
  }
  return nullptr;
}

void Spoke::RefuseJoining(absl::Status why) {
  TellGone(1);
  joining_->subscriber.Refuse(std::move(why));
  joining_.reset();
}

Subscriber* Spoke::Find(Slot* slot, uint32_t generation) {
  const auto found = by_slot_.find(slot);
  if (found == by_slot_.end() || (*found)->generation() != generation) return nullptr;
  return (*found)->LeavesByMessage() ? *found : nullptr;
}

void Spoke::LetGo(Slot* slot, uint32_t generation) {
  Subscriber* const subscriber = Find(slot, generation);
  if (subscriber == nullptr) return;
  subscriber->LetGo();
  SLUICE_PLANT(leaves_at_once,
               subscriber->Leave({}, Leaving(ActorAs<Session>(slot), {}, nullptr), sequence_));
}

void Spoke::On(RemoveSubscriber remove) {
  const int64_t lost = LostBefore(remove.sequence);
  if (lost > 0) batch_.push_back({lost});
  sequence_ = std::max(sequence_, remove.sequence);
  if (Subscriber* const leaver = Find(remove.leaving.session(), remove.leaving.generation())) {
    SLUICE_PLANT(spoke_lost, TellGone(1));
    leaver->Leave(batch_, std::move(remove.leaving), sequence_);
  }
  // For all other subscribers the batch may grow. If no more messages wait, or there is a gap to
  // report, it is handed round now.
  if (!batch_.empty() && (lost > 0 || slot()->queue.Empty())) BeginRound();
}

void Spoke::Remove(Subscriber& subscriber) {
  if (Subscribers::Linked(subscriber)) {
    if (next_ == &subscriber) next_ = subscribers_.Next(subscriber);
    SLUICE_PLANT(passed_over, if (round_ && next_ != nullptr) next_ = subscribers_.Next(*next_));
    subscribers_.Remove(subscriber);
    by_slot_.erase(by_slot_.find(subscriber.slot()));
    TellGone(1);
  }
  subscriber.Retire();
}

void Spoke::TellGone(int64_t count) {
  Worker::Post(*hub_->worker, hub_, hub_generation_,
               SubscriberGoneControl{worker().Index(), count});
}

// --- Suspension.

// The spoke takes no message during a round, or while a subscriber that may not miss any has no
// room. Then the mailbox fills, the hub parks, and so do the publishers.

void Spoke::NoteFull(int change) {
  const bool waited = full_ > 0;
  full_ += change;
  if (waited != (full_ > 0)) worker().drain().NoteHubWaits(full_ > 0 ? 1 : -1);
  UpdateWait();
}

void Spoke::UpdateWait() {
  const bool wait = round_ || full_ > 0;
  if (wait == waits_) return;
  waits_ = wait;
  if (wait) {
    worker().Suspend(slot());
  } else {
    worker().Resume(slot());
  }
}

size_t Spoke::Queued() const {
  size_t queued = 0;
  for (const Subscriber* subscriber = subscribers_.Front(); subscriber != nullptr;
       subscriber = subscribers_.Next(*subscriber)) {
    queued += subscriber->Queued();
  }
  return queued;
}

void Spoke::CheckInvariants() const {
  subscribers_.CheckInvariants();
  size_t count = 0;
  int64_t full = 0;
  for (const Subscriber* subscriber = subscribers_.Front(); subscriber != nullptr;
       subscriber = subscribers_.Next(*subscriber)) {
    ++count;
    full += subscriber->Parks() && subscriber->Full();
    SLUICE_CHECK(subscriber->CountsAsFull() == (subscriber->Parks() && subscriber->Full()));
    SLUICE_CHECK(by_slot_.contains(subscriber->slot()));
  }
  SLUICE_CHECK(count == by_slot_.size());
  SLUICE_CHECK(full == full_);
  if (slot()->state != ActorState::kLive) return;
  SLUICE_CHECK(slot()->suspended == waits_ && waits_ == (round_ || full_ > 0));
  SLUICE_CHECK(batch_.size() <= kBatchMax + 1);
  // Between turns: a spoke with more to do is on its worker's list of tasks, or has messages.
  SLUICE_CHECK(round_ ? Tasks::Linked(*this) : batch_.empty() || !slot()->queue.Empty());
}

}  // namespace sluice::internal
