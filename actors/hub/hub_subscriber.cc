// A subscriber of a hub: messages that wait until they are taken, and an exact count of the
// messages that it missed.
#include <algorithm>
#include <exception>
#include <utility>

#include "sluice/actors/hub/hub_spoke.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"

namespace sluice::internal {

namespace {

using Filter = std::function<bool(std::string_view, uint64_t)>;

// A subscriber's place in the spoke's set: a pointer and a byte, in a table that doubles when it is
// 7/8 full.
constexpr int64_t kPlaceBytes = 2 * (sizeof(void*) + 1) * 8 / 7;
constexpr int64_t kDequeBytes = 512;  // A std::deque allocates this much at a time.

int64_t BaseBytes(bool filters) {
  return AllocatedBytes(std::max(sizeof(SubscribedConnection), sizeof(SubscribedActor))) +
         kPlaceBytes + (filters ? AllocatedBytes(sizeof(Filter)) : 0);
}

}  // namespace

int64_t Subscriber::BytesOf(const SubscribeOptions& options) {
  return BaseBytes(options.filter != nullptr);
}

Subscriber::Subscriber(Spoke& spoke, SubscribeMessage& message)
    : spoke_(spoke),
      slot_(message.slot),
      filter_(message.options.filter == nullptr
                  ? nullptr
                  : std::make_unique<const Filter>(std::move(message.options.filter))),
      park_timeout_(message.options.park_timeout),
      generation_(message.generation),
      queue_max_(PlacesOf(message.options)),
      slow_(message.options.slow) {}

Subscriber::~Subscriber() {
  SLUICE_CHECK(Gone() && backlog_ == nullptr);
  lease().Refund(BaseBytes(filter_ != nullptr));
  // The filter's captures are the user's, and their destructors may call anything.
  const Worker::CallbackScope scope(spoke_.worker(), FilterOwner(), "the end of a filter");
  filter_ = nullptr;
}

Worker& Subscriber::worker() const { return spoke_.worker(); }

Lease& Subscriber::lease() const { return worker().lease(); }

// --- Ends.

void Subscriber::Retire() {
  if (!std::exchange(gone_, true)) Detach();
  if (backlog_ != nullptr) {
    spoke_.ledger_->missed.Add(static_cast<int64_t>(Queued()));
    while (Queued() > 0) Pop();
    DropBacklog();
  }
  if (uses_ == 0) delete this;
}

void Subscriber::Remove() { spoke_.Remove(*this); }

void Subscriber::Leave(const std::vector<Due>& batch, Leaving leaving, uint64_t sequence) {
  if (departure_ != nullptr) return;
  const Use use(*this);
  Offer(batch);
  if (Gone()) return;
  departure_ = std::make_unique<Departure>(Departure{std::move(leaving), sequence});
  Pump(/*all=*/true);
  if (Gone()) return;
  CountQueueAsMissed();
  Pump(/*all=*/true);  // The leave is confirmed now, or when the output is low.
}

void Subscriber::LetGo() {
  if (slow_ == SlowPolicy::kPark || slow_ == SlowPolicy::kDisconnect) {
    slow_ = SlowPolicy::kDropNewest;
    NoteFull();
  }
}

void Subscriber::CountQueueAsMissed() {
  while (Queued() > 0) {
    const int64_t missed = 1 + Pop().missed_before;
    SLUICE_PLANT(leaver_forgets, continue);
    missed_tail_ += missed;
    spoke_.ledger_->missed.Add(1);
  }
  if (backlog_ != nullptr) DropBacklog();
}

void Subscriber::Fail() {
  const Use use(*this);
  End(CloseReason::kFailed);
  if (!Gone()) Retire();  // If the connection reports its end later, this spoke is gone by then.
}

// A filter is code of its session, and so is a TrySend in it: sent by the spoke, the message would
// overtake those in the session's outbox.
Slot* Subscriber::FilterOwner() const {
  SLUICE_PLANT(filter_overtakes, return spoke_.slot());
  return slot_->generation == generation_ ? slot_ : spoke_.slot();
}

// Calls back to the user. False: the callback threw, or ended this subscriber.
bool Subscriber::Guarded(const char* what, Slot* owner, absl::FunctionRef<void()> call) {
  try {
    const Worker::CallbackScope scope(spoke_.worker(), owner, what);
    call();
    return !Gone();
  } catch (...) {
    LogError("hub: a %s failed, and its subscriber is ended: %s", what,
             ExceptionText(std::current_exception()));
  }
  if (!Gone()) End(CloseReason::kFailed);
  return false;
}

// --- Messages.

void Subscriber::Offer(const std::vector<Due>& batch) {
  if (departure_ != nullptr) return;  // The batch came after the leave.
  const Use use(*this);
  for (const Due& due : batch) {
    if (due.lost_before > 0) Missed(due.lost_before);
    if (!Gone() && due.is_message) OfferOne(due);
    if (Gone()) return;
  }
  if (Queued() > 0) MessagesWait();
  if (Parks()) spoke_.NoteRoom(Room());
}

// Messages that were due and will not come are reported before the next message that does come.
void Subscriber::Missed(int64_t count) {
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(count);
  ledger.missed.Add(count);
  missed_tail_ += count;
  Pump(/*all=*/false);
}

void Subscriber::OfferOne(const Due& due) {
  const Bytes& payload = due.payload;
  HubLedger::Cell& ledger = *spoke_.ledger_;
  ledger.due.Add(1);
  if (due.except.slot == slot_ && due.except.generation == generation_) {
    ledger.skipped.Add(1);
    return;
  }
  if (filter_ != nullptr) {
    bool wanted = false;
    if (!Guarded("filter", FilterOwner(), [&] { wanted = (*filter_)(payload.view(), due.key); })) {
      ledger.missed.Add(1);
      return;
    }
    if (!wanted) {
      ledger.skipped.Add(1);
      return;
    }
  }
  if (static_cast<int64_t>(payload.size()) > LongestBytes()) {
    ++missed_tail_;  // Too long: it is never taken.
    ledger.missed.Add(1);
    Pump(/*all=*/false);
    return;
  }
  if (backlog_ == nullptr && missed_tail_ == 0 && TakesNow() && Taken(Put(payload))) {
    ledger.received.Add(1);
    return;
  }
  if (slow_ == SlowPolicy::kConflate && Replace(payload, due.key)) {
    Pump(/*all=*/false);
    return;
  }
  if (Full()) {
    switch (slow_) {
      case SlowPolicy::kDropNewest:
        ++missed_tail_;
        ledger.missed.Add(1);
        return;
      case SlowPolicy::kDisconnect:
        ledger.missed.Add(1);
        SLUICE_PLANT(drop_counted_twice, ledger.missed.Add(1));
        End(CloseReason::kSlow);  // Which removes this.
        return;
      case SlowPolicy::kDropOldest:
      case SlowPolicy::kConflate: {
        int64_t missed = 1 + Pop().missed_before;
        SLUICE_PLANT(lag_off_by_one, if (backlog_->popped % queue_max_ == 0) --missed);
        ledger.missed.Add(1);
        (Queued() == 0 ? missed_tail_ : backlog_->queue.front().missed_before) += missed;
        break;
      }
      case SlowPolicy::kPark:
        break;  // Does not happen: no batch is longer than the room.
    }
  }
  if (!MakeBacklog() || !lease().ChargeOverdraft(ChargeOf(payload))) {
    ++missed_tail_;
    ledger.missed.Add(1);
    if (backlog_ != nullptr && Queued() == 0) DropBacklog();
    AwaitMemory();  // The miss is reported then.
    return;
  }
  Push(payload, due.key);
  NoteFull();
  Pump(/*all=*/false);  // If the output is low already, no event would follow.
}

// False: no message with this key waits.
bool Subscriber::Replace(const Bytes& payload, uint64_t key) {
  if (backlog_ == nullptr) return false;
  const auto place = backlog_->places.find(key);
  if (place == backlog_->places.end()) return false;
  HubLedger::Cell& ledger = *spoke_.ledger_;
  std::deque<Entry>& queue = backlog_->queue;
  const size_t at = place->second - backlog_->popped;
  Entry& entry = queue[at];
  SLUICE_PLANT(conflate_keeps_oldest, ++entry.missed_before; ledger.conflated.Add(1); return true);
  // The older message's memory is reused: a key gets its newest message even while memory is spent.
  int64_t more = ChargeOf(payload) - ChargeOf(entry.payload);
  if (more > 0 && !lease().ChargeOverdraft(more)) {
    // The older message stays, and one after it is missing.
    ++(at + 1 < queue.size() ? queue[at + 1].missed_before : missed_tail_);
    SLUICE_PLANT(conflate_uncounted, return true);
    ledger.missed.Add(1);
    return true;
  }
  SLUICE_PLANT(replaced_stays_charged, more = 0);
  if (more < 0) lease().Refund(-more);
  backlog_->payload_bytes += payload.AllocatedBytes() - entry.payload.AllocatedBytes();
  entry.payload = payload;
  ++entry.missed_before;
  ledger.conflated.Add(1);
  return true;
}

// --- The backlog.

uint32_t Subscriber::PlacesOf(const SubscribeOptions& options) {
  return std::max<uint32_t>(
      1, options.slow == SlowPolicy::kConflate ? options.keys_max : options.queue_messages_max);
}

int64_t Subscriber::QueueBytesOf(int64_t places, SlowPolicy slow) {
  int64_t bytes = AllocatedBytes(sizeof(Backlog)) +
                  AllocatedBytes(places * static_cast<int64_t>(sizeof(Entry))) +
                  AllocatedBytes(kDequeBytes);
  // A flat_hash_map doubles when it is 7/8 full: at worst twice the capacity, and a byte more for
  // each entry.
  if (slow == SlowPolicy::kConflate) {
    bytes += AllocatedBytes(4 * places *
                            static_cast<int64_t>(sizeof(std::pair<uint64_t, uint64_t>) + 1));
  }
  return bytes;
}

// Charges the whole queue once, when the first message has to wait.
bool Subscriber::MakeBacklog() {
  if (backlog_ != nullptr) return true;
  const int64_t bytes = QueueBytesOf(queue_max_, slow_);
  if (!lease().ChargeOverdraft(bytes)) return false;
  backlog_ = std::make_unique<Backlog>(*this);
  backlog_->charged_bytes = bytes;
  return true;
}

void Subscriber::DropBacklog() {
  SLUICE_CHECK(backlog_->queue.empty() && backlog_->payload_bytes == 0);
  spoke_.worker().timers().Cancel(*backlog_);
  lease().Refund(backlog_->charged_bytes);
  backlog_ = nullptr;
  NoteFull();
}

void Subscriber::Push(const Bytes& payload, uint64_t key) {
  Backlog& backlog = *backlog_;
  if (slow_ == SlowPolicy::kConflate) backlog.places[key] = backlog.popped + backlog.queue.size();
  backlog.queue.push_back(Entry{payload, key, std::exchange(missed_tail_, 0)});
  backlog.payload_bytes += payload.AllocatedBytes();
  spoke_.ledger_->queued.Add(1);
}

Subscriber::Entry Subscriber::Pop() {
  Backlog& backlog = *backlog_;
  Entry entry = std::move(backlog.queue.front());
  backlog.queue.pop_front();
  ++backlog.popped;
  if (slow_ == SlowPolicy::kConflate) backlog.places.erase(entry.key);
  backlog.payload_bytes -= entry.payload.AllocatedBytes();
  lease().Refund(ChargeOf(entry.payload));
  spoke_.ledger_->queued.Add(-1);
  return entry;
}

Subscriber::Entry Subscriber::TakeFirst() {
  Entry entry = Pop();
  SLUICE_PLANT(subscription_miscounts, ++entry.missed_before);
  spoke_.ledger_->received.Add(1);
  if (Queued() == 0) DropBacklog();
  NoteFull();
  return entry;
}

// True: the notice was written, or there is nothing to report.
bool Subscriber::TellMissed(int64_t missed) {
  if (missed == 0 || !spoke_.options_.missed_notice) return true;
  std::string notice;
  return Guarded("missed_notice", spoke_.slot(),
                 [&] { notice = spoke_.options_.missed_notice(missed); }) &&
         Taken(PutNotice(notice));
}

bool Subscriber::Taken(Answer answer) {
  if (answer == Answer::kOverloaded) AwaitMemory();
  return answer == Answer::kAccepted;
}

// Hands over messages from the queue while they need not wait; with `all`, as long as they are
// taken.
void Subscriber::Pump(bool all) {
  if (pumping_ || Gone()) return;
  const Use use(*this);
  pumping_ = true;
  const auto may_write = [&] { return !Gone() && (all || TakesNow()); };
  while (may_write() && Queued() > 0) {
    Entry& entry = backlog_->queue.front();
    if (!TellMissed(entry.missed_before)) break;
    entry.missed_before = 0;  // Reported; not again if the message itself has to wait.
    if (!Taken(Put(entry.payload))) break;
    spoke_.ledger_->received.Add(1);
    Pop();
  }
  if (!Gone() && Queued() == 0) {
    if (missed_tail_ > 0 && may_write() && TellMissed(missed_tail_)) missed_tail_ = 0;
    if (backlog_ != nullptr) DropBacklog();
  }
  if (!Gone() && departure_ != nullptr && Queued() == 0 && missed_tail_ == 0) {
    departure_->leaving.Tell(departure_->sequence);
    spoke_.Remove(*this);
  }
  pumping_ = false;
  NoteFull();
}

// If a payload's block has its own charge, only this subscriber's share of it counts. The number of
// sharers is taken from the middle of the queue: only the slowest subscribers hold the oldest
// payloads, and messages on their way hold the newest.
int64_t Subscriber::BytesHeld() const {
  const int64_t base = BaseBytes(filter_ != nullptr);
  if (backlog_ == nullptr) return base;
  const int64_t own = base + backlog_->charged_bytes;
  if (Queued() == 0) return own;
  const Bytes& middle = backlog_->queue[Queued() / 2].payload;
  const int64_t sharers = middle.SelfCharged() ? std::max<int64_t>(1, middle.Holders()) : 1;
  return own + backlog_->payload_bytes / sharers;
}

// --- Parking.

// The spoke takes no message while this subscriber is full and may not miss any.
void Subscriber::NoteFull() {
  const bool full = Parks() && !Gone() && Full();
  if (full == counts_as_full_) return;
  counts_as_full_ = full;
  Worker& worker = spoke_.worker();
  if (full) {
    const int64_t deadline_ms = worker.DeadlineMs(park_timeout_);
    if (deadline_ms != TimerWheel::kNever) worker.timers().Arm(*backlog_, deadline_ms);
  } else if (backlog_ != nullptr) {
    worker.timers().Cancel(*backlog_);
  }
  spoke_.NoteFull(full ? 1 : -1);
}

void Subscriber::ParkTimedOut() {
  const Use use(*this);
  LogDebug("hub: %s took nothing for %s while publishers waited; its connection is ended", Name(),
           absl::FormatDuration(park_timeout_));
  End(CloseReason::kSlow);
}

// --- A connection.

SubscribedConnection::SubscribedConnection(Spoke& spoke, Connection& connection,
                                           SubscribeMessage& message)
    : Subscriber(spoke, message), connection_(connection) {
  connection.AddListener(this);
}

int64_t SubscribedConnection::LongestBytes() const { return worker().options().output_bytes_max; }

void SubscribedConnection::OnOutputEnded(Connection&) { Remove(); }

}  // namespace sluice::internal
