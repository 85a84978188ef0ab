#include "sluice/actors/hub.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "sluice/core/control.h"
#include "sluice/core/log.h"
#include "sluice/core/plant.h"

namespace sluice {

namespace {

struct SubscriberGoneControl {
  int worker;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation != generation || slot->actor == nullptr) return;
    static_cast<Hub*>(slot->actor)->SubscriberGone(worker);
  }
};

struct UnsubscribeControl {
  Slot* slot;
  uint32_t generation;
  void Run(Worker&, Slot* spoke, uint32_t spoke_generation) const {
    if (spoke->generation != spoke_generation || spoke->actor == nullptr) return;
    static_cast<internal::Spoke*>(spoke->actor)->Unsubscribe(slot, generation);
  }
};

}  // namespace

std::string HubTotals::ToString() const {
  return absl::StrFormat(
      "hubs: published %d; due %d = received %d + missed %d + conflated %d + skipped %d + queued "
      "%d",
      published, due, received, missed, conflated, skipped, queued);
}

HubTotals HubLedger::Sum() const {
  HubTotals totals;
  for (const Cell& cell : cells_) {
    totals.published += cell.published.Get();
    totals.due += cell.due.Get();
    totals.received += cell.received.Get();
    totals.missed += cell.missed.Get();
    totals.conflated += cell.conflated.Get();
    totals.skipped += cell.skipped.Get();
    totals.queued += cell.queued.Get();
  }
  return totals;
}

HubTotals HubLedger::Of(Runtime& runtime) {
  return runtime.Attachment<HubLedger>(runtime.WorkerCount()).Sum();
}

std::string_view SlowPolicyName(SlowPolicy policy) {
  switch (policy) {
    case SlowPolicy::kPark:
      return "park";
    case SlowPolicy::kDropOldest:
      return "drop_oldest";
    case SlowPolicy::kDropNewest:
      return "drop_newest";
    case SlowPolicy::kDisconnect:
      return "disconnect";
    case SlowPolicy::kConflate:
      return "conflate";
  }
  return "unknown";
}

std::optional<SlowPolicy> ParseSlowPolicy(std::string_view name) {
  for (const SlowPolicy policy :
       {SlowPolicy::kPark, SlowPolicy::kDropOldest, SlowPolicy::kDropNewest,
        SlowPolicy::kDisconnect, SlowPolicy::kConflate}) {
    if (SlowPolicyName(policy) == name) return policy;
  }
  return std::nullopt;
}

// --- Hub.

void Hub::OnStart() {
  const int workers = runtime().WorkerCount();
  ledger_ = &runtime().Attachment<HubLedger>(workers).At(worker().Index());
  subscribers_.resize(workers);
  for (int i = 0; i < workers; ++i) {
    SpawnOptions options;
    options.worker = i;
    spokes_.push_back(SpawnWith<internal::Spoke>(options, slot(), generation(), options_));
  }
}

void Hub::On(Publish message) {
  ++sequence_;
  ledger_->published.Add(1);
  for (size_t i = 0; i < spokes_.size(); ++i) {
    if (subscribers_[i] == 0) continue;
    internal::Deliver deliver{message.payload, sequence_, message.except};
    const Answer answer =
        message.key == 0
            ? Send(spokes_[i], std::move(deliver))
            : Send(spokes_[i], internal::DeliverKeyed{std::move(deliver), message.key});
    // The outbox holds a handler's messages to all spokes, so only an ended spoke refuses: it has
    // no subscribers left.
    SLUICE_CHECK(answer == Answer::kAccepted || answer == Answer::kClosed ||
                 answer == Answer::kOverloaded);
    // No memory: the spoke finds the gap in the numbers, and tells each subscriber what it missed.
    if (answer == Answer::kOverloaded) {
      LogWarn("hub: message %d is lost to worker %d: no memory", sequence_, i);
    }
  }
}

void Hub::On(internal::SubscribeMessage message) {
  const int where = message.slot->worker->Index();
  internal::AddSubscriber add{std::move(message), sequence_};
  ++subscribers_[where];
  if (Send(spokes_[where], std::move(add)) != Answer::kAccepted) {
    --subscribers_[where];
    Worker::SendReserved(add.subscriber.slot, add.subscriber.generation,
                         add.subscriber.subscribed_ops, Subscribed{.hub = RefOf(this)});
  }
}

void Unsubscribe(const Session& session, const Subscribed& subscription) {
  if (subscription.spoke == nullptr) return;
  Worker::Post(*subscription.spoke->worker, subscription.spoke, subscription.spoke_generation,
               UnsubscribeControl{session.slot(), session.generation()});
}

namespace internal {

// --- Spoke.

Spoke::~Spoke() {
  for (std::unique_ptr<Subscriber>& subscriber : order_) {
    subscriber->DropAll();
    if (subscriber->connection_ != nullptr) {
      subscriber->connection_->RemoveListener(subscriber.get());
    }
    subscriber = nullptr;  // Here, as what its filter holds is the user's.
  }
}

void Spoke::OnStart() {
  ledger_ = &runtime().Attachment<HubLedger>(runtime().WorkerCount()).At(worker().Index());
}

// A gap in the numbers is what memory refused on its way here. (While it has no subscribers a spoke
// is sent nothing.)
void Spoke::CatchUp(uint64_t sequence) {
  if (const auto lost = static_cast<int64_t>(sequence - sequence_); lost > 0) {
    for (next_ = 0; next_ < order_.size();) order_[next_++]->Missed(lost);
  }
  sequence_ = sequence;
}

void Spoke::On(AddSubscriber add) {
  CatchUp(add.sequence);
  Slot* const slot = add.subscriber.slot;
  auto* session =
      slot->generation == add.subscriber.generation ? static_cast<Session*>(slot->actor) : nullptr;
  Connection* connection = session == nullptr ? nullptr : session->connection();
  if (connection == nullptr || subscribers_.contains(slot)) {
    TellGone();  // It ended on the way, or is here already.
    Worker::SendReserved(slot, add.subscriber.generation, add.subscriber.subscribed_ops,
                         Subscribed{.hub = hub()});
    return;
  }
  auto subscriber = std::make_unique<Subscriber>(*this, *connection, add.subscriber, add.sequence);
  subscribers_.emplace(slot, subscriber.get());
  order_.push_back(std::move(subscriber));
  Worker::SendReserved(slot, add.subscriber.generation, add.subscriber.subscribed_ops,
                       Subscribed{hub(), add.sequence, this->slot(), generation()});
  if (!add.subscriber.greeting.empty() &&
      connection->Write(add.subscriber.greeting) != Answer::kAccepted) {
    LogDebug("hub: a subscriber's connection did not take its greeting");
  }
}

void Spoke::Unsubscribe(Slot* slot, uint32_t generation) {
  auto found = subscribers_.find(slot);
  if (found == subscribers_.end() || found->second->generation_ != generation) return;
  found->second->Leave();
  if (Planted(Plant::kSpokeLost)) TellGone();
  Remove(found->second);
}

void Spoke::Hand(const Deliver& message, uint64_t key) {
  CatchUp(message.sequence - 1);
  sequence_ = message.sequence;
  for (next_ = 0; next_ < order_.size();) {
    const size_t place = next_++;
    order_[place]->Offer(message.payload, message.except, key);
    if (Planted(Plant::kPassedOver)) next_ = std::max(next_, place);
  }
  Reconsider();
}

void Spoke::Remove(Subscriber* subscriber) {
  subscriber->DropAll();
  if (subscriber->connection_ != nullptr) subscriber->connection_->RemoveListener(subscriber);
  subscribers_.erase(subscriber->slot_);
  const auto found =
      std::find_if(order_.begin(), order_.end(),
                   [&](const std::unique_ptr<Subscriber>& s) { return s.get() == subscriber; });
  // Some end while all are served: by their policy, or by what a session does when it ends.
  if (static_cast<size_t>(found - order_.begin()) < next_) --next_;
  const std::unique_ptr<Subscriber> removed = std::move(*found);
  order_.erase(found);
  TellGone();
  Reconsider();
}

void Spoke::TellGone() {
  Worker::Post(*hub_->worker, hub_, hub_generation_, SubscriberGoneControl{worker().Index()});
}

// The spoke takes no message while a subscriber that may not miss any has no room: its mailbox
// fills, the hub parks, and so do the publishers.
void Spoke::Reconsider() {
  bool wait = false;
  for (const auto& subscriber : order_) {
    if (!subscriber->Parks()) continue;
    if (subscriber->Full()) {
      wait = true;
      subscriber->ParkBegins();
    } else {
      subscriber->ParkEnds();
    }
  }
  if (wait) {
    worker().Suspend(slot());
  } else {
    worker().Resume(slot());
  }
}

}  // namespace internal
}  // namespace sluice
