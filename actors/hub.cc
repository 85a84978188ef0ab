#include "sluice/actors/hub.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_format.h"
#include "sluice/core/control.h"
#include "sluice/core/log.h"

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
      "hubs: published %d; due %d = received %d + missed %d + skipped %d + queued %d", published,
      due, received, missed, skipped, queued);
}

HubTotals HubLedger::Sum() const {
  HubTotals totals;
  for (const Cell& cell : cells_) {
    totals.published += cell.published.Get();
    totals.due += cell.due.Get();
    totals.received += cell.received.Get();
    totals.missed += cell.missed.Get();
    totals.skipped += cell.skipped.Get();
    totals.queued += cell.queued.Get();
  }
  return totals;
}

HubTotals HubLedger::Of(Runtime& runtime) {
  return runtime.Attachment<HubLedger>(runtime.WorkerCount()).Sum();
}

constexpr std::string_view kPolicyNames[] = {"park", "drop_oldest", "drop_newest", "disconnect"};

std::string_view SlowPolicyName(SlowPolicy policy) {
  return kPolicyNames[static_cast<int>(policy)];
}

std::optional<SlowPolicy> ParseSlowPolicy(std::string_view name) {
  const auto found = std::find(std::begin(kPolicyNames), std::end(kPolicyNames), name);
  if (found == std::end(kPolicyNames)) return std::nullopt;
  return static_cast<SlowPolicy>(found - std::begin(kPolicyNames));
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
    const Answer answer =
        Send(spokes_[i], internal::Deliver{message.payload, sequence_, message.except});
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
  for (Subscriber* subscriber : order_) {
    subscriber->DropAll();
    if (subscriber->connection_ != nullptr) subscriber->connection_->RemoveListener(subscriber);
  }
}

void Spoke::OnStart() {
  ledger_ = &runtime().Attachment<HubLedger>(runtime().WorkerCount()).At(worker().Index());
}

// A gap in the numbers is what memory refused on its way here. (While it has no subscribers a spoke
// is sent nothing.)
void Spoke::CatchUp(uint64_t sequence) {
  if (const auto lost = static_cast<int64_t>(sequence - sequence_); lost > 0) {
    for (Subscriber* subscriber : order_) subscriber->Missed(lost);
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
  order_.push_back(subscriber.get());
  subscribers_.emplace(slot, std::move(subscriber));
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
  Remove(found->second.get());
}

void Spoke::On(Deliver message) {
  CatchUp(message.sequence - 1);
  sequence_ = message.sequence;
  // A subscriber may end while it is served (its policy, its socket): by index, over those that
  // were there.
  for (size_t i = 0; i < order_.size();) {
    Subscriber* subscriber = order_[i];
    subscriber->Offer(message.payload, message.except);
    if (i < order_.size() && order_[i] == subscriber) ++i;
  }
  Reconsider();
}

void Spoke::Remove(Subscriber* subscriber) {
  subscriber->DropAll();
  if (subscriber->connection_ != nullptr) subscriber->connection_->RemoveListener(subscriber);
  order_.erase(std::find(order_.begin(), order_.end(), subscriber));
  subscribers_.erase(subscriber->slot_);
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
  for (Subscriber* subscriber : order_) {
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

// --- Subscriber.

Subscriber::Subscriber(Spoke& spoke, Connection& connection, const SubscribeMessage& message,
                       uint64_t sequence)
    : spoke_(spoke),
      connection_(&connection),
      slot_(message.slot),
      generation_(message.generation),
      options_(message.options),
      joined_(sequence) {
  connection.AddListener(this);
}

Subscriber::~Subscriber() {
  spoke_.worker().timers().Cancel(*this);
  SLUICE_CHECK(queue_.empty());
}

// Messages that were due and will not come: told before the next one that does.
void Subscriber::Missed(int64_t count) {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(count);
  ledger.missed.Add(count);
  missed_tail_ += count;
  Pump(/*all=*/false);
}

void Subscriber::Offer(const Bytes& payload, const Except& except) {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(1);
  if (except.slot == slot_ && except.generation == generation_) {
    ledger.skipped.Add(1);
    return;
  }
  if (static_cast<int64_t>(payload.size()) > spoke_.worker().options().output_bytes_max) {
    ++missed_tail_;  // No connection takes it, ever.
    ledger.missed.Add(1);
    Pump(/*all=*/false);
    return;
  }
  if (queue_.empty() && missed_tail_ == 0 && !connection_->OutputAboveLow()) {
    if (WriteOne(payload, 0)) {
      ledger.received.Add(1);
      return;
    }
    if (connection_ == nullptr || !connection_->WriteOpen()) {
      ledger.missed.Add(1);  // It is closing: nothing more reaches it.
      return;
    }
  }
  if (Full()) {
    switch (options_.slow) {
      case SlowPolicy::kDropNewest:
        ++missed_tail_;
        ledger.missed.Add(1);
        return;
      case SlowPolicy::kDisconnect:
        ledger.missed.Add(1);
        connection_->Abort(CloseReason::kSlow);  // OnConnectionEnded removes this.
        return;
      case SlowPolicy::kDropOldest: {
        const int64_t missed = 1 + queue_.front().missed_before;
        queue_.pop_front();
        ledger.missed.Add(1);
        ledger.queued.Add(-1);
        (queue_.empty() ? missed_tail_ : queue_.front().missed_before) += missed;
        break;
      }
      case SlowPolicy::kPark:
        break;  // The spoke takes no message while it is full, so this is the one that came with
                // others.
    }
  }
  if (charged_bytes_ == 0) {
    const int64_t bytes =
        AllocatedBytes(options_.queue_messages_max * sizeof(Entry)) + AllocatedBytes(512);
    if (!spoke_.worker().lease().ChargeOverdraft(bytes)) {
      ++missed_tail_;
      ledger.missed.Add(1);
      connection_->TellListenersWhenMemoryReturns();  // Then it is told.
      return;
    }
    charged_bytes_ = bytes;
  }
  queue_.push_back(Entry{payload, std::exchange(missed_tail_, 0)});
  ledger.queued.Add(1);
  Pump(/*all=*/false);  // Where the output is low no event will come for it.
}

bool Subscriber::TellMissed(int64_t missed) {
  if (missed == 0 || !spoke_.options_.missed_notice) return true;
  return Taken(connection_->Write(spoke_.options_.missed_notice(missed)));
}

bool Subscriber::WriteOne(const Bytes& payload, int64_t missed_before) {
  return TellMissed(missed_before) && Taken(connection_->Write(payload));
}

// Room in the output brings us back by itself; memory has no event, so it is asked for.
bool Subscriber::Taken(Answer answer) {
  if (answer == Answer::kOverloaded) connection_->TellListenersWhenMemoryReturns();
  return answer == Answer::kAccepted;
}

// Moves messages from the queue to the connection while its output is low; with `all`, as long as
// it takes them.
void Subscriber::Pump(bool all) {
  if (pumping_) return;
  pumping_ = true;
  HubLedger::Cell& ledger = *spoke_.ledger_;
  const bool was_full = Full();
  while (connection_ != nullptr && !queue_.empty() && (all || !connection_->OutputAboveLow())) {
    Entry& entry = queue_.front();
    if (!TellMissed(entry.missed_before)) break;
    entry.missed_before = 0;  // Told; not again if the message itself has to wait.
    if (connection_ == nullptr || !Taken(connection_->Write(entry.payload))) break;
    ledger.received.Add(1);
    ledger.queued.Add(-1);
    queue_.pop_front();
  }
  if (connection_ != nullptr && queue_.empty()) {
    if (missed_tail_ > 0 && (all || !connection_->OutputAboveLow()) && TellMissed(missed_tail_))
      missed_tail_ = 0;
    spoke_.worker().lease().Refund(std::exchange(charged_bytes_, 0));
    queue_.shrink_to_fit();
  }
  pumping_ = false;
  if (Parks() && was_full && !Full()) spoke_.Reconsider();
}

void Subscriber::DropAll() {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.missed.Add(static_cast<int64_t>(queue_.size()));
  ledger.queued.Add(-static_cast<int64_t>(queue_.size()));
  queue_.clear();
  spoke_.worker().lease().Refund(std::exchange(charged_bytes_, 0));
}

void Subscriber::Leave() {
  Pump(/*all=*/true);
  if (connection_ == nullptr) return;
  int64_t missed = missed_tail_;
  for (const Entry& entry : queue_) missed += 1 + entry.missed_before;
  if (!TellMissed(missed))
    LogDebug("hub: a subscriber left and could not be told of %d missed messages", missed);
  missed_tail_ = 0;
}

void Subscriber::OnOutputLow(Connection&) { Pump(/*all=*/false); }

void Subscriber::OnClosing(Connection&) { Pump(/*all=*/true); }

void Subscriber::OnConnectionEnded(Connection&) {
  connection_ = nullptr;
  spoke_.Remove(this);  // Deletes this.
}

void Subscriber::ParkBegins() {
  if (Armed()) return;
  Worker& worker = spoke_.worker();
  worker.timers().Arm(*this, worker.NowMs() + absl::ToInt64Milliseconds(options_.park_timeout));
}

void Subscriber::ParkEnds() { spoke_.worker().timers().Cancel(*this); }

void Subscriber::OnTimer(Worker&) {
  if (connection_ == nullptr) return;
  LogInfo("hub: a subscriber took nothing for %s while publishers waited; its connection is ended",
          absl::FormatDuration(options_.park_timeout));
  connection_->Abort(CloseReason::kSlow);
}

}  // namespace internal
}  // namespace sluice
