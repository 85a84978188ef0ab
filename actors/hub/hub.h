// Hub is the broadcast: it numbers each message and sends it once to each worker that has
// subscribers. The spoke on that worker gives the one shared payload to their connections.
//
//   Ref<Hub> room = Spawn<Hub>(HubOptions{...});
//   Send(room, Subscribe(this, {.slow = SlowPolicy::kDropOldest}));  // On(Subscribed) follows.
//   Send(room, Publish{payload, ExceptOf(*this)});
//   Unsubscribe(*this, subscription);  // On(Unsubscribed) follows.
//
// Owner:  an actor like any other; its spokes are its children, one on each worker.
// Thread: its worker's. Spokes write to connections of their own worker only.
// Bound:  each subscriber's queue: queue_messages_max. The hub and its spokes: their mailboxes, and
//         64 messages that a spoke hands round. All of it is charged to the budget, and so is each
//         subscriber (some 150 bytes).
// Errors: a subscriber is no longer counted when its connection ends or takes no more output. A
//         callback that throws ends its subscriber's connection, and no other. A spoke that fails
//         is recreated, and the connections of its subscribers end, as the spoke cannot report what
//         they miss. If a spoke fails again and again, the hub fails.
//
// The count is exact for each subscriber: received + missed + conflated + skipped (its own
// messages, and those that its filter refused) + queued = messages published from its join to its
// leave. The missed_notice reports missed + conflated.
//
// A spoke hands messages to many subscribers in portions, and the worker serves other actors in
// between. Meanwhile the spoke takes no new message, so that each subscriber gets each message, in
// order.
//
// Only a stopped socket makes a subscriber slow: messages go to its connection as bytes, also while
// its session is parked. Otherwise a session that is parked on publishing, and full as a
// subscriber, would block its own hub: deadlock.
#ifndef SLUICE_ACTORS_HUB_HUB_H_
#define SLUICE_ACTORS_HUB_HUB_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/ref.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/log_limit.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

class Hub;
namespace internal {
class Spoke;
class SubscribedActor;
struct SpokeTag {};
struct SubscriptionState;
}  // namespace internal

// Policy for a message to a subscriber with a full queue.
enum class SlowPolicy : uint8_t {
  kPark,        // The publisher waits; past park_timeout the subscriber's connection ends.
  kDropOldest,  // The oldest message in the queue is dropped, and counted.
  kDropNewest,  // The new message is dropped, and counted.
  kDisconnect,  // The subscriber's connection ends.
  // The message replaces the queued one with the same key, if any, in its place in the queue, so
  // that a key that changes often does not wait for ever. Each key keeps its newest message, and
  // the messages of one key stay in order. A replaced message counts as conflated. Past keys_max
  // keys the message that has waited longest is dropped, and counted as missed.
  kConflate,
};

// "park", "drop_oldest", "drop_newest", "disconnect", "conflate".
std::string_view SlowPolicyName(SlowPolicy policy);
std::optional<SlowPolicy> ParseSlowPolicy(std::string_view name);

struct SubscribeOptions {
  SlowPolicy slow = SlowPolicy::kDropOldest;
  uint32_t queue_messages_max = 256;  // At least 1.
  // Limit for one message at one subscriber. If several subscribers stop reading one after the
  // other, each may hold the publisher this long.
  absl::Duration park_timeout = absl::Seconds(10);
  uint32_t keys_max = 256;  // kConflate: instead of queue_messages_max. At least 1.
  // Returns false if the message is not for this subscriber; the message then counts as skipped.
  // The filter is called for each message, on the session's worker, so it must be quick. If it
  // throws, its subscriber's connection ends. A filter may end any session of its worker, also its
  // own, and may send on a session's behalf: if the target is full, the message waits in that
  // session's outbox, as always. A TrySend on a Ref in a filter is sent by the filter's own
  // session, as in a handler. The budget does not count the memory of its captures.
  std::function<bool(std::string_view payload, uint64_t key)> filter = nullptr;
};

struct HubOptions {
  // Makes the bytes that tell a subscriber how many messages it missed. They are written in the
  // place of these messages, before the next one. nullptr: no notice. The function is copied to
  // each worker, and called there. If it throws, the connection of that subscriber ends.
  std::function<std::string(int64_t missed)> missed_notice;
};

// The session that does not get a message.
struct Except {
  Slot* slot = nullptr;
  uint32_t generation = 0;
};

// To a hub: the payload goes to each subscriber but `except`.
struct Publish {
  Bytes payload;
  Except except;
  uint64_t key = 0;  // For kConflate and filters: a number, or the hash of a name.
};

// A session receives this once for each Subscribe() that its Send accepted.
struct Subscribed {
  Ref<Hub> hub;
  // Every message with a higher number is for this subscriber.
  uint64_t sequence = 0;
  // False: the session was not subscribed, and gets no message. Reasons: no memory, subscribed
  // already, write side ended, the spoke failed, the hub ended first, or it is of another runtime.
  bool Joined() const { return spoke != nullptr; }
  // For Unsubscribe: the spoke that serves the session.
  Slot* spoke = nullptr;
  uint32_t spoke_generation = 0;
};

// A session that has On(Unsubscribed) receives this once for each Unsubscribe. No message comes
// from that hub afterwards, and the session may join again.
struct Unsubscribed {
  Ref<Hub> hub;
  // Number of the last message for this session: each message after Subscribed::sequence and up to
  // this one was written, reported as missed, or skipped. Not set: the session had left before, or
  // the hub or the subscription ended first.
  std::optional<uint64_t> sequence;
};

// Sums over all hubs of a runtime: due = received + missed + conflated + skipped + queued. A
// message becomes due when a spoke hands it round, once for each subscriber of that moment. If a
// subscriber has left by then, the message is not due to it.
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
class HubLedger {  // An attachment of the runtime; only its worker writes a cell.
 public:
  struct alignas(64) Cell {
    ConnectionLedger::Counter published, due, received, missed, conflated, skipped, queued;
    IntrusiveList<internal::Spoke, internal::SpokeTag> spokes;  // The live spokes.
  };
  static HubTotals Of(Runtime& runtime);  // A moment old; exact when all is at rest.
  explicit HubLedger(int workers) : cells_(static_cast<size_t>(workers)) {}
  Cell& At(int worker) { return cells_[static_cast<size_t>(worker)]; }
  HubTotals Sum() const;
  // Walks the spokes of one worker; a broken invariant ends the process. Requires: the worker is
  // between turns, or has ended.
  void CheckInvariants(int worker) const;
  std::string Report() const { return Sum().ToString(); }

 private:
  std::vector<Cell> cells_;
};

namespace internal {

// JoinNotice tells a session, once, whether it has joined: after a hub has accepted it, it tells
// that the session has not joined wherever it is destroyed.
class JoinNotice {
 public:
  JoinNotice(Slot* session, uint32_t generation, const MessageOps* told_ops)
      : session_(session), told_ops_(told_ops), generation_(generation) {}
  ~JoinNotice() {
    SLUICE_PLANT(lost_join_silent, return);
    if (hub_) Tell({.hub = hub_});
  }
  JoinNotice(JoinNotice&& other) noexcept
      : session_(other.session_),
        told_ops_(std::exchange(other.told_ops_, nullptr)),
        hub_(other.hub_),
        generation_(other.generation_) {}
  JoinNotice& operator=(JoinNotice&&) = delete;

  void AcceptedBy(const Ref<Hub>& hub) { hub_ = hub; }
  const Ref<Hub>& hub() const { return hub_; }
  void Tell(const Subscribed& told);

 private:
  Slot* session_;
  const MessageOps* told_ops_;  // nullptr: it was told, or this was moved from.
  Ref<Hub> hub_ = {};           // Dead: no hub has accepted this.
  uint32_t generation_;
};

struct SubscribeMessage {
  bool OfActor() const { return state != nullptr; }  // `promise` tells it, not `notice`.
  // The subscriber is told that it has not joined.
  void Refuse(absl::Status why);
  int64_t HeldBytes() const { return sluice::HeldBytes(greeting); }

  Slot* slot;
  uint32_t generation;
  SubscribeOptions options;
  JoinNotice notice;
  std::string greeting;
  std::shared_ptr<SubscriptionState> state = nullptr;
  Promise<std::monostate> promise = {};
};

// The question by which an actor joins a hub (actors/hub/subscription.h).
struct JoinHub {
  using Reply = std::monostate;
  Slot* slot;
  uint32_t generation;
  SubscribeOptions options;
  std::shared_ptr<SubscriptionState> state;
  int64_t HeldBytes() const { return 0; }
};
// Operations of a reserved message of type M to an actor of type A.
template <class A, class M>
inline const MessageOps kReservedOps = {
    MessageKind::kReserved,          &HandleMessage<A, M>,
    Envelope::DestroyOf<M>(),        Envelope::RelocateOf<M>(),
    [] { return typeid(M).name(); },
};

// Leaving carries a session's leave to the hub, to the spoke and to the subscriber. Wherever it is
// destroyed, the session is notified, once.
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
  Slot* session_;               // nullptr: the session was notified, or this was moved from.
  const MessageOps* told_ops_;  // nullptr: the session has no On(Unsubscribed).
  Ref<Hub> hub_;
  Slot* spoke_;
  uint32_t generation_;
  uint32_t spoke_generation_;
};

}  // namespace internal

class Hub : public Actor {
 public:
  // The subscribers belong to the spokes, and end with the hub.
  static constexpr bool kRestartable = false;

  explicit Hub(HubOptions options = {}) : options_(std::move(options)) {}
  bool IsKind(const void* kind) const override { return kind == KindOf<Hub>(); }
  void OnStart() override;
  void On(Publish message);
  void On(internal::SubscribeMessage message);
  void On(internal::JoinHub question, Promise<std::monostate> promise);
  void On(internal::Leaving leaving);

  // Runtime control: from a spoke, and from the function StopWhenLeft().
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
  std::vector<int64_t> subscribers_;  // By worker; a spoke without subscribers is sent nothing.
  uint64_t sequence_ = 0;
  HubLedger::Cell* ledger_ = nullptr;
  LogLimit lost_log_;
  bool stops_when_left_ = false;
};

// Makes the message that a session sends to a hub to join it. S has On(Subscribed). Each message
// that the hub takes after this one is for the session. The greeting is written to its connection
// at the moment of the join, before any of these messages; a connection without room for the
// greeting is reset (kMemory). A hub of another runtime lets no session join.
template <class S>
internal::SubscribeMessage Subscribe(S* session, SubscribeOptions options = {},
                                     std::string greeting = "") {
  static_assert(std::derived_from<S, Session>, "a subscriber is a Session");
  static_assert(TakesMessage<S, Subscribed>, "a subscriber has a public On(sluice::Subscribed)");
  return {session->slot(), session->generation(), std::move(options),
          internal::JoinNotice(session->slot(), session->generation(),
                               &internal::kReservedOps<S, Subscribed>),
          std::move(greeting)};
}
namespace internal {
// The hub may end before it takes the message: what destroys it then names the hub.
void DestroySubscribe(Envelope& envelope);
template <>
inline const MessageOps kMessageOps<Hub, SubscribeMessage> = {
    MessageKind::kUser,
    &HandleMessage<Hub, SubscribeMessage>,
    &DestroySubscribe,
    Envelope::RelocateOf<SubscribeMessage>(),
    [] { return typeid(SubscribeMessage).name(); },
    [] { return typeid(Hub).name(); },
};
void LeaveHub(const Session& session, const Subscribed& subscription, const MessageOps* told_ops);
}  // namespace internal

// Leaves a hub. The session never waits for this, however full the hub is, and holds up no
// publisher from here on: if its queue is full, messages are missed, whatever its policy was. The
// leave follows all that the session has published before, in the hub's order. Messages come until
// then, and On(Unsubscribed) reports the moment. Messages that are queued at that moment are still
// written, or reported as missed. A session also leaves, at once, when it closes or its connection
// ends.
template <std::derived_from<Session> S>
void Unsubscribe(const S& session, const Subscribed& subscription) {
  const MessageOps* told_ops = nullptr;
  if constexpr (TakesMessage<S, Unsubscribed>) told_ops = &internal::kReservedOps<S, Unsubscribed>;
  internal::LeaveHub(session, subscription, told_ops);
}
// Ends the hub as soon as it has no subscriber: sessions that are leaving still get their messages.
// (Ref::Stop ends the hub at once, and messages on their way are lost.) For a hub that no session
// joins any more.
void StopWhenLeft(const Ref<Hub>& hub);
inline Except ExceptOf(const Actor& session) { return {session.slot(), session.generation()}; }

}  // namespace sluice

#endif  // SLUICE_ACTORS_HUB_HUB_H_
