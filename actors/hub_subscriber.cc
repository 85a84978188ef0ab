// One subscriber of a hub: what waits for its connection while the socket stands still, and what it
// missed, exactly.
#include <algorithm>
#include <exception>
#include <utility>

#include "sluice/actors/hub.h"
#include "sluice/core/log.h"
#include "sluice/core/plant.h"

namespace sluice::internal {

namespace {

// What a holder of such a payload is charged for it.
int64_t ChargeOf(const Bytes& payload) {
  return payload.SelfCharged() ? 0 : payload.AllocatedBytes();
}

}  // namespace

Subscriber::Subscriber(Spoke& spoke, Connection& connection, const SubscribeMessage& message,
                       uint64_t sequence)
    : spoke_(spoke),
      connection_(&connection),
      slot_(message.slot),
      generation_(message.generation),
      options_(message.options),
      queue_max_(std::max<size_t>(1, options_.slow == SlowPolicy::kConflate
                                         ? options_.keys_max
                                         : options_.queue_messages_max)),
      joined_(sequence) {
  connection.AddListener(this);
}

Subscriber::~Subscriber() {
  spoke_.worker().timers().Cancel(*this);
  SLUICE_CHECK(queue_.empty() && payload_bytes_ == 0);
}

Lease& Subscriber::lease() const { return spoke_.worker().lease(); }

// Messages that were due and will not come: told before the next one that does.
void Subscriber::Missed(int64_t count) {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(count);
  ledger.missed.Add(count);
  missed_tail_ += count;
  Pump(/*all=*/false);
}

Subscriber::Wanted Subscriber::Filter(const Bytes& payload, uint64_t key) {
  if (!options_.filter) return Wanted::kYes;
  try {
    return options_.filter(payload.view(), key) ? Wanted::kYes : Wanted::kNo;
  } catch (const std::exception& error) {
    LogError("hub: a filter failed, and its subscriber is ended: %s", error.what());
  } catch (...) {
    LogError("hub: a filter failed, and its subscriber is ended");
  }
  spoke_.ledger_->missed.Add(1);
  connection_->Abort(CloseReason::kFailed);  // OnConnectionEnded removes this.
  return Wanted::kEnded;
}

void Subscriber::Offer(const Bytes& payload, const Except& except, uint64_t key) {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(1);
  if (except.slot == slot_ && except.generation == generation_) {
    ledger.skipped.Add(1);
    return;
  }
  if (const Wanted wanted = Filter(payload, key); wanted != Wanted::kYes) {
    if (wanted == Wanted::kNo) ledger.skipped.Add(1);
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
  if (options_.slow == SlowPolicy::kConflate && Replace(payload, key)) {
    Pump(/*all=*/false);
    return;
  }
  if (Full()) {
    switch (options_.slow) {
      case SlowPolicy::kDropNewest:
        ++missed_tail_;
        ledger.missed.Add(1);
        return;
      case SlowPolicy::kDisconnect:
        ledger.missed.Add(1);
        if (Planted(Plant::kDropCountedTwice)) ledger.missed.Add(1);
        connection_->Abort(CloseReason::kSlow);  // OnConnectionEnded removes this.
        return;
      case SlowPolicy::kDropOldest:
      case SlowPolicy::kConflate: {
        int64_t missed = 1 + Pop().missed_before;
        if (Planted(Plant::kLagOffByOne) && popped_ % queue_max_ == 0) --missed;
        ledger.missed.Add(1);
        (queue_.empty() ? missed_tail_ : queue_.front().missed_before) += missed;
        break;
      }
      case SlowPolicy::kPark:
        break;  // The spoke takes no message while it is full, so this is the one that came with
                // others.
    }
  }
  if (!ChargeQueue() || !lease().ChargeOverdraft(ChargeOf(payload))) {
    ++missed_tail_;
    ledger.missed.Add(1);
    connection_->TellListenersWhenMemoryReturns();  // Then it is told.
    return;
  }
  Push(payload, key);
  Pump(/*all=*/false);  // Where the output is low no event will come for it.
}

// False: there is none with this key.
bool Subscriber::Replace(const Bytes& payload, uint64_t key) {
  const auto place = places_.find(key);
  if (place == places_.end()) return false;
  HubLedger::Cell& ledger = *spoke_.ledger_;
  const size_t at = place->second - popped_;
  Entry& entry = queue_[at];
  if (Planted(Plant::kConflateKeepsOldest)) {
    ++entry.missed_before;
    ledger.conflated.Add(1);
    return true;
  }
  if (!lease().ChargeOverdraft(ChargeOf(payload))) {
    // No memory: the older one stays, and behind it one is missing.
    ++(at + 1 < queue_.size() ? queue_[at + 1].missed_before : missed_tail_);
    ledger.missed.Add(1);
    return true;
  }
  lease().Refund(ChargeOf(entry.payload));
  payload_bytes_ += payload.AllocatedBytes() - entry.payload.AllocatedBytes();
  entry.payload = payload;
  ++entry.missed_before;
  ledger.conflated.Add(1);
  return true;
}

// Once, for the whole queue, when the first one has to wait.
bool Subscriber::ChargeQueue() {
  if (charged_bytes_ != 0) return true;
  int64_t bytes = AllocatedBytes(queue_max_ * sizeof(Entry)) + AllocatedBytes(512);
  // A flat_hash_map doubles when it is 7/8 full: at worst twice the capacity, a byte more for each.
  if (options_.slow == SlowPolicy::kConflate) {
    bytes += AllocatedBytes(4 * queue_max_ * (sizeof(std::pair<uint64_t, uint64_t>) + 1));
  }
  if (!lease().ChargeOverdraft(bytes)) return false;
  charged_bytes_ = bytes;
  return true;
}

void Subscriber::Push(const Bytes& payload, uint64_t key) {
  if (options_.slow == SlowPolicy::kConflate) places_[key] = popped_ + queue_.size();
  queue_.push_back(Entry{payload, key, std::exchange(missed_tail_, 0)});
  payload_bytes_ += payload.AllocatedBytes();
  spoke_.ledger_->queued.Add(1);
}

Subscriber::Entry Subscriber::Pop() {
  Entry entry = std::move(queue_.front());
  queue_.pop_front();
  ++popped_;
  if (options_.slow == SlowPolicy::kConflate) places_.erase(entry.key);
  payload_bytes_ -= entry.payload.AllocatedBytes();
  lease().Refund(ChargeOf(entry.payload));
  spoke_.ledger_->queued.Add(-1);
  return entry;
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
    Pop();
  }
  if (connection_ != nullptr && queue_.empty()) {
    if (missed_tail_ > 0 && (all || !connection_->OutputAboveLow()) && TellMissed(missed_tail_))
      missed_tail_ = 0;
    lease().Refund(std::exchange(charged_bytes_, 0));
    queue_.shrink_to_fit();
    places_ = {};
  }
  pumping_ = false;
  if (Parks() && was_full && !Full()) spoke_.Reconsider();
}

void Subscriber::DropAll() {
  spoke_.ledger_->missed.Add(static_cast<int64_t>(queue_.size()));
  while (!queue_.empty()) Pop();
  lease().Refund(std::exchange(charged_bytes_, 0));
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

// Of a payload that pays for itself, its share. How many share one is looked at in the middle of
// the queue alone: the oldest are held by the slowest only, the newest by messages that are on
// their way.
int64_t Subscriber::HeldBytes() const {
  if (queue_.empty()) return charged_bytes_;
  const Bytes& middle = queue_[queue_.size() / 2].payload;
  const int64_t sharers = middle.SelfCharged() ? std::max<int64_t>(1, middle.Holders()) : 1;
  return charged_bytes_ + payload_bytes_ / sharers;
}

void Subscriber::OnOutputLow(Connection&) { Pump(/*all=*/false); }

void Subscriber::OnClosing(Connection&) { Pump(/*all=*/true); }

void Subscriber::OnConnectionEnded(Connection&) {
  connection_ = nullptr;
  spoke_.Remove(this);  // Deletes this.
}

void Subscriber::ParkBegins() {
  if (Armed()) return;
  const int64_t deadline_ms = spoke_.worker().DeadlineMs(options_.park_timeout);
  if (deadline_ms != TimerWheel::kNever) spoke_.worker().timers().Arm(*this, deadline_ms);
}

void Subscriber::ParkEnds() { spoke_.worker().timers().Cancel(*this); }

void Subscriber::OnTimer(Worker&) {
  if (connection_ == nullptr) return;
  LogInfo("hub: a subscriber took nothing for %s while publishers waited; its connection is ended",
          absl::FormatDuration(options_.park_timeout));
  connection_->Abort(CloseReason::kSlow);
}

}  // namespace sluice::internal
