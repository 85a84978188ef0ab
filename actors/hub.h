// Hub is the broadcast: it numbers each message and sends it once to each worker that has
// subscribers; the spoke there hands the one shared payload to their connections.
//
//   Ref<Hub> room = Spawn<Hub>(HubOptions{...});
//   Send(room, Subscribe(this, {.slow = SlowPolicy::kDropOldest}));  // On(Subscribed) follows.
//   Send(room, Publish{payload, ExceptOf(*this)});
//
// Owner:  an actor like any other; its spokes are its children, one on each worker.
// Thread: its worker's. Spokes write to connections of their own worker only.
// Bound:  each subscriber's queue: queue_messages_max; what the hub and its spokes hold: their
//         mailboxes.
// Errors: none of its own; a subscriber that ends is forgotten. For each one, exactly:
//         received + missed + conflated + skipped (its own, and its filter's) + queued = published
//         since it joined. What it is told as missed is missed + conflated.
//
// Only a stopped socket makes a subscriber slow: delivery is bytes to its connection, and goes on
// while its session is parked. (Else a member parked on publishing and full as a subscriber would
// lock the room.)
#ifndef SLUICE_ACTORS_HUB_H_
#define SLUICE_ACTORS_HUB_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "sluice/actors/connection.h"
#include "sluice/actors/session.h"
#include "sluice/core/actor.h"
#include "sluice/core/buffer.h"

namespace sluice {

class Hub;

// What becomes of a message for a subscriber whose queue is full.
enum class SlowPolicy : uint8_t {
  kPark,        // The publisher waits; past park_timeout the subscriber's connection is ended.
  kDropOldest,  // The oldest in its queue is dropped, and counted.
  kDropNewest,  // This one is dropped, and counted.
  kDisconnect,  // Its connection is ended.
  // It replaces an older one with the same key, in that one's place, so that a key that changes
  // often does not wait for ever: newest for each key, in order within a key. Counted as conflated.
  // Past keys_max the one that waits longest is dropped, and counted as missed.
  kConflate,
};

// "park", "drop_oldest", "drop_newest", "disconnect".
std::string_view SlowPolicyName(SlowPolicy policy);
std::optional<SlowPolicy> ParseSlowPolicy(std::string_view name);

struct SubscribeOptions {
  SlowPolicy slow = SlowPolicy::kDropOldest;
  uint32_t queue_messages_max = 256;  // At least 1.
  absl::Duration park_timeout = absl::Seconds(10);
  uint32_t keys_max = 256;  // kConflate: instead of queue_messages_max. At least 1.
  // False: this message is not for it; counted as skipped. Called for each message, on the
  // session's worker, so it must be quick; one that throws ends its connection. What it captures is
  // the user's memory.
  std::function<bool(std::string_view payload, uint64_t key)> filter = nullptr;
};

struct HubOptions {
  // The bytes that tell a subscriber how many messages it missed, in their place before the next
  // one. Empty: not told. Copied to each worker, and called there.
  std::function<std::string(int64_t missed)> missed_notice;
};

// Who is not to get a message.
struct Except {
  Slot* slot = nullptr;
  uint32_t generation = 0;
};

// To a hub: the payload goes to each subscriber but `except`.
struct Publish {
  Bytes payload;
  Except except;
  uint64_t key = 0;  // For kConflate and filters: a number, or a hash of what names it.
  int64_t HeldBytes() const { return sluice::HeldBytes(payload); }
};

// What a session hears once for each Subscribe that a hub took. (A hub that ends says nothing more:
// monitor it.)
struct Subscribed {
  Ref<Hub> hub;
  // Every message after this number is for it.
  uint64_t sequence = 0;
  // False: it was not subscribed (no memory, or it is already), and gets nothing.
  bool Joined() const { return spoke != nullptr; }
  // For Unsubscribe: the spoke that serves it.
  Slot* spoke = nullptr;
  uint32_t spoke_generation = 0;
};

// Sums over all hubs of a runtime: due = received + missed + conflated + skipped + queued.
struct HubTotals {
  int64_t published = 0;
  int64_t due = 0;
  int64_t received = 0;
  int64_t missed = 0;
  int64_t conflated = 0;
  int64_t skipped = 0;
  int64_t queued = 0;
  std::string ToString() const;
};
class HubLedger {  // An attachment of the runtime; a cell is written by its worker alone.
 public:
  struct alignas(64) Cell {
    ConnectionLedger::Counter published, due, received, missed, conflated, skipped, queued;
  };
  static HubTotals Of(Runtime& runtime);  // A moment old; exact when all is at rest.
  explicit HubLedger(int workers) : cells_(static_cast<size_t>(workers)) {}
  Cell& At(int worker) { return cells_[static_cast<size_t>(worker)]; }
  HubTotals Sum() const;
  std::string Report() const { return Sum().ToString(); }

 private:
  std::vector<Cell> cells_;
};

namespace internal {

struct SubscribeMessage {
  Slot* slot;
  uint32_t generation;
  SubscribeOptions options;
  const MessageOps* subscribed_ops;
  std::string greeting;
  int64_t HeldBytes() const { return sluice::HeldBytes(greeting); }
};
struct AddSubscriber {
  SubscribeMessage subscriber;
  uint64_t sequence;
  int64_t HeldBytes() const { return subscriber.HeldBytes(); }
};
struct Deliver {
  Bytes payload;
  uint64_t sequence;
  Except except;
  int64_t HeldBytes() const { return sluice::HeldBytes(payload); }
};
static_assert(Envelope::kInline<Deliver>);  // One that has no key needs no box.
struct DeliverKeyed {
  Deliver message;
  uint64_t key;
  int64_t HeldBytes() const { return message.HeldBytes(); }
};

// One reserved message of a known type for an actor of a known type.
template <class A, class M>
inline const MessageOps kReservedOps = {
    MessageKind::kReserved,          &HandleMessage<A, M>,
    Envelope::DestroyOf<M>(),        Envelope::RelocateOf<M>(),
    [] { return typeid(M).name(); },
};

class Spoke;

// One subscriber, on its own worker: what waits for its connection, and what it missed.
class Subscriber final : public OutputListener, private Timer {
 public:
  Subscriber(Spoke& spoke, Connection& connection, const SubscribeMessage& message,
             uint64_t sequence);
  ~Subscriber();
  // May end the connection, and with it this.
  void Offer(const Bytes& payload, const Except& except, uint64_t key);
  void Missed(int64_t count);
  bool Full() const { return queue_.size() >= queue_max_; }
  bool Parks() const { return options_.slow == SlowPolicy::kPark; }
  void ParkBegins();
  void ParkEnds();
  void Leave();  // Unsubscribed: what is queued is written if it can be, else it counts as missed.

  void OnOutputLow(Connection& connection) override;
  void OnConnectionEnded(Connection& connection) override;
  void OnClosing(Connection& connection) override;
  int64_t HeldBytes() const override;

 private:
  friend class Spoke;
  struct Entry {
    Bytes payload;
    uint64_t key;
    int64_t missed_before;  // Dropped between the one before and this one, or replaced by it.
  };
  enum class Wanted : uint8_t { kYes, kNo, kEnded };
  void OnTimer(Worker& worker) override;
  Wanted Filter(const Bytes& payload, uint64_t key);
  bool Replace(const Bytes& payload, uint64_t key);
  bool ChargeQueue();
  void Push(const Bytes& payload, uint64_t key);
  Entry Pop();
  Lease& lease() const;
  void Pump(bool all);
  bool WriteOne(const Bytes& payload, int64_t missed_before);
  bool TellMissed(int64_t missed);
  bool Taken(Answer answer);
  void DropAll();

  Spoke& spoke_;
  Connection* connection_;  // nullptr once it has ended.
  Slot* const slot_;
  const uint32_t generation_;
  const SubscribeOptions options_;
  const size_t queue_max_;
  const uint64_t joined_;
  std::deque<Entry> queue_;
  uint64_t popped_ = 0;  // So many have left the queue: place - popped_ is where one stands now.
  absl::flat_hash_map<uint64_t, uint64_t> places_;  // kConflate: by key.
  int64_t missed_tail_ = 0;                         // Dropped behind the last one in the queue.
  int64_t charged_bytes_ = 0;  // For the queue itself; for a payload only if it does not itself.
  int64_t payload_bytes_ = 0;  // Of all in the queue.
  bool pumping_ = false;
};

class Spoke : public Actor {
 public:
  Spoke(Slot* hub, uint32_t hub_generation, HubOptions options)
      : hub_(hub), hub_generation_(hub_generation), options_(options) {}
  ~Spoke() override;
  void OnStart() override;
  void On(AddSubscriber add);
  void Unsubscribe(Slot* slot, uint32_t generation);  // By a control message: it never waits.
  void On(Deliver message) { Hand(message, 0); }
  void On(DeliverKeyed keyed) { Hand(keyed.message, keyed.key); }

 private:
  friend class Subscriber;
  Ref<Hub> hub() const { return Ref<Hub>(hub_, hub_generation_); }
  void Hand(const Deliver& message, uint64_t key);
  void Remove(Subscriber* subscriber);
  void CatchUp(uint64_t sequence);
  void Reconsider();
  void TellGone();

  Slot* const hub_;
  const uint32_t hub_generation_;
  const HubOptions options_;
  HubLedger::Cell* ledger_ = nullptr;
  absl::flat_hash_map<Slot*, Subscriber*> subscribers_;  // To find one; never walked.
  // In the order of their coming: a run repeats exactly.
  std::vector<std::unique_ptr<Subscriber>> order_;
  size_t next_ = 0;  // Whose turn it is, while all are served.
  uint64_t sequence_ = 0;
};

}  // namespace internal

class Hub : public Actor {
 public:
  static constexpr bool kRestartable = false;  // Its subscribers are its spokes', and end with it.

  explicit Hub(HubOptions options = {}) : options_(options) {}
  void OnStart() override;
  void On(Publish message);
  void On(internal::SubscribeMessage message);

  // Control, from a spoke: one of its subscribers has gone. Reserved by its subscription.
  void SubscriberGone(int worker) { --subscribers_[static_cast<size_t>(worker)]; }

 private:
  const HubOptions options_;
  std::vector<Ref<internal::Spoke>> spokes_;
  std::vector<int64_t> subscribers_;  // By worker; a spoke without any is sent nothing.
  uint64_t sequence_ = 0;
  HubLedger::Cell* ledger_ = nullptr;
};

// What a session sends to a hub to join it. S has On(Subscribed); from then on each message is for
// it. The greeting is written to its connection at that very point, before any of them.
template <class S>
internal::SubscribeMessage Subscribe(S* session, SubscribeOptions options = {},
                                     std::string greeting = "") {
  static_assert(std::derived_from<S, Session>, "a subscriber is a Session");
  return {session->slot(), session->generation(), options, &internal::kReservedOps<S, Subscribed>,
          std::move(greeting)};
}
// Leaves a hub, now: it never waits, however full the hub is. What is queued is still written, or
// told as missed. The end of its connection does the same.
void Unsubscribe(const Session& session, const Subscribed& subscription);
inline Except ExceptOf(const Actor& session) { return {session.slot(), session.generation()}; }

}  // namespace sluice

#endif  // SLUICE_ACTORS_HUB_H_
