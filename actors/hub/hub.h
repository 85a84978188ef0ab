// Hub is the broadcast: it numbers each message and sends it once to each worker that has
// subscribers; the spoke there hands the one shared payload to their connections.
//
//   Ref<Hub> room = Spawn<Hub>(HubOptions{...});
//   Send(room, Subscribe(this, {.slow = SlowPolicy::kDropOldest}));  // On(Subscribed) follows.
//   Send(room, Publish{payload, ExceptOf(*this)});
//   Unsubscribe(*this, subscription);  // On(Unsubscribed) follows.
//
// Owner:  an actor like any other; its spokes are its children, one on each worker.
// Thread: its worker's. Spokes write to connections of their own worker only.
// Bound:  each subscriber's queue: queue_messages_max; what the hub and its spokes hold: their
//         mailboxes, and 64 messages that a spoke hands round. All of it is charged to the budget,
//         and so is a subscriber (some 150 bytes).
// Errors: a subscriber whose connection ends, or takes nothing more, is not counted any longer. A
//         callback that throws ends its subscriber's connection, and no other. A spoke that fails
//         is recreated, and ends the connections of its subscribers, as they could not be told what
//         they miss; one that fails again and again fails the hub. For each subscriber, exactly:
//         received + missed + conflated + skipped (its own, and its filter's) + queued = published
//         from where it joined to where it left. What it is told as missed is missed + conflated.
//
// A message to a crowd goes round in portions, and the worker serves everybody else in between: no
// next message is taken meanwhile, so that each subscriber is given each message, in its order.
//
// Only a stopped socket makes a subscriber slow: delivery is bytes to its connection, and goes on
// while its session is parked. (Else a member parked on publishing and full as a subscriber would
// lock the room.)
#ifndef SLUICE_ACTORS_HUB_HUB_H_
#define SLUICE_ACTORS_HUB_HUB_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/log_limit.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

class Hub;
namespace internal {
class Spoke;
struct SpokeTag {};
}  // namespace internal

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
  // The limit is for one message at one subscriber: each of several that stop reading one after the
  // other may hold the publisher for as long.
  absl::Duration park_timeout = absl::Seconds(10);
  uint32_t keys_max = 256;  // kConflate: instead of queue_messages_max. At least 1.
  // False: this message is not for it; counted as skipped. Called for each message, on the
  // session's worker, so it must be quick; one that throws ends its connection. It may end any
  // session of its worker, its own too, and send for it: what finds a full target waits in that
  // session's outbox, as ever. A TrySend of a Ref in here is its own session's, as in a handler.
  // The memory of its captures is the user's.
  std::function<bool(std::string_view payload, uint64_t key)> filter = nullptr;
};

struct HubOptions {
  // The bytes that tell a subscriber how many messages it missed, in their place before the next
  // one. Empty: not told. Copied to each worker, and called there. One that throws ends the
  // connection of the subscriber that it was for.
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
  // False: it was not subscribed (no memory, it is already, or its write side has ended), and gets
  // nothing.
  bool Joined() const { return spoke != nullptr; }
  // For Unsubscribe: the spoke that serves it.
  Slot* spoke = nullptr;
  uint32_t spoke_generation = 0;
};

// A session that has an On() for it hears this once for each Unsubscribe: from here on nothing
// comes from that hub, and it may join again.
struct Unsubscribed {
  Ref<Hub> hub;
  // The last message that was for it: each one behind Subscribed::sequence and up to this one has
  // been written, told as missed, or skipped. Not set: it had left before, or the hub or the
  // subscription ended first.
  std::optional<uint64_t> sequence;
};

// Sums over all hubs of a runtime: due = received + missed + conflated + skipped + queued. A
// message becomes due when it is handed round, for each subscriber that is there then: what was
// published and is handed round when its subscriber has left is due to nobody.
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
    IntrusiveList<internal::Spoke, internal::SpokeTag> spokes;  // That live there.
  };
  static HubTotals Of(Runtime& runtime);  // A moment old; exact when all is at rest.
  explicit HubLedger(int workers) : cells_(static_cast<size_t>(workers)) {}
  Cell& At(int worker) { return cells_[static_cast<size_t>(worker)]; }
  HubTotals Sum() const;
  // Of the spokes of one worker, which stands. Walks them; a broken one ends the process.
  void CheckInvariants(int worker) const;
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
// One reserved message of a known type for an actor of a known type.
template <class A, class M>
inline const MessageOps kReservedOps = {
    MessageKind::kReserved,          &HandleMessage<A, M>,
    Envelope::DestroyOf<M>(),        Envelope::RelocateOf<M>(),
    [] { return typeid(M).name(); },
};

// That a session leaves: on its way to the hub, to the spoke and to the subscriber. Wherever it
// ends, the session is told, once.
class Leaving {
 public:
  Leaving(const Session& session, const Subscribed& subscription, const MessageOps* told_ops)
      : session_(session.slot()),
        told_ops_(told_ops),
        hub_(subscription.hub),
        spoke_(subscription.spoke),
        generation_(session.generation()),
        spoke_generation_(subscription.spoke_generation) {}
  ~Leaving() { Tell(std::nullopt); }
  Leaving(Leaving&& other) noexcept
      : session_(std::exchange(other.session_, nullptr)),
        told_ops_(other.told_ops_),
        hub_(other.hub_),
        spoke_(other.spoke_),
        generation_(other.generation_),
        spoke_generation_(other.spoke_generation_) {}
  Leaving& operator=(Leaving&&) = delete;

  void Tell(std::optional<uint64_t> sequence);
  Slot* session() const { return session_; }
  uint32_t generation() const { return generation_; }
  Slot* spoke() const { return spoke_; }
  uint32_t spoke_generation() const { return spoke_generation_; }
  int64_t HeldBytes() const { return 0; }

 private:
  Slot* session_;               // nullptr: it has been told, or another one tells it.
  const MessageOps* told_ops_;  // nullptr: it has no On(Unsubscribed).
  Ref<Hub> hub_;
  Slot* spoke_;
  uint32_t generation_;
  uint32_t spoke_generation_;
};

}  // namespace internal

class Hub : public Actor {
 public:
  static constexpr bool kRestartable = false;  // Its subscribers are its spokes', and end with it.

  explicit Hub(HubOptions options = {}) : options_(std::move(options)) {}
  void OnStart() override;
  void On(Publish message);
  void On(internal::SubscribeMessage message);
  void On(internal::Leaving leaving);

  // Control: from a spoke, and from StopWhenLeft().
  void SubscribersGone(int worker, int64_t count) {
    subscribers_[static_cast<size_t>(worker)] -= count;
    if (stops_when_left_) StopIfLeft();
  }
  void StopWhenLeft() {
    stops_when_left_ = true;
    StopIfLeft();
  }

 private:
  void StopIfLeft();

  const HubOptions options_;
  std::vector<Ref<internal::Spoke>> spokes_;
  std::vector<int64_t> subscribers_;  // By worker; a spoke without any is sent nothing.
  uint64_t sequence_ = 0;
  HubLedger::Cell* ledger_ = nullptr;
  LogLimit lost_log_;
  bool stops_when_left_ = false;
};

// What a session sends to a hub to join it. S has On(Subscribed); from then on each message is for
// it. The greeting is written to its connection at that very point, before any of them; a
// connection that has no room for it is reset (kMemory). A hub of another runtime lets no session
// join.
template <class S>
internal::SubscribeMessage Subscribe(S* session, SubscribeOptions options = {},
                                     std::string greeting = "") {
  static_assert(std::derived_from<S, Session>, "a subscriber is a Session");
  return {session->slot(), session->generation(), std::move(options),
          &internal::kReservedOps<S, Subscribed>, std::move(greeting)};
}
namespace internal {
void LeaveHub(const Session& session, const Subscribed& subscription, const MessageOps* told_ops);
}  // namespace internal

// Leaves a hub. The session never waits for it, however full the hub is, and holds up nobody from
// here on: a message that finds no room is missed, whatever its policy was. The session leaves
// behind all that it published before, in the hub's order; until then messages come, and
// On(Unsubscribed) says when. Messages that are queued then are still written, or told as missed. A
// session that closes, or whose connection ends, leaves by that, at once.
template <std::derived_from<Session> S>
void Unsubscribe(const S& session, const Subscribed& subscription) {
  const MessageOps* told_ops = nullptr;
  if constexpr (TakesMessage<S, Unsubscribed>) told_ops = &internal::kReservedOps<S, Unsubscribed>;
  internal::LeaveHub(session, subscription, told_ops);
}
// The hub ends as soon as it has no subscriber: those who are leaving still get what is theirs.
// (Ref::Stop ends it at once, and what is on its way to them is lost.) For one that nobody joins
// any more.
void StopWhenLeft(const Ref<Hub>& hub);
inline Except ExceptOf(const Actor& session) { return {session.slot(), session.generation()}; }

}  // namespace sluice

#endif  // SLUICE_ACTORS_HUB_HUB_H_
