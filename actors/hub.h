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
//         mailboxes, and 64 messages that a spoke hands round. All of it is charged to the budget,
//         and so is a subscriber (some 150 bytes).
// Errors: a subscriber whose connection ends, or takes nothing more, is not counted any longer. A
//         callback that throws ends its subscriber's connection, and no other. A spoke that fails
//         is recreated, and ends the connections of its subscribers, as they could not be told what
//         they miss; one that fails again and again fails the hub. For each subscriber, exactly:
//         received + missed + conflated + skipped (its own, and its filter's) + queued = published
//         since it joined. What it is told as missed is missed + conflated.
//
// A message to a crowd goes round in portions, and the worker serves everybody else in between: no
// next message is taken meanwhile, so that each subscriber is given each message, in its order.
//
// Only a stopped socket makes a subscriber slow: delivery is bytes to its connection, and goes on
// while its session is parked. (Else a member parked on publishing and full as a subscriber would
// lock the room.)
#ifndef SLUICE_ACTORS_HUB_H_
#define SLUICE_ACTORS_HUB_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "sluice/actors/connection.h"
#include "sluice/actors/session.h"
#include "sluice/core/actor.h"
#include "sluice/core/buffer.h"
#include "sluice/core/intrusive_list.h"

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
  // Of one message at one subscriber: of several that stop reading one after the other, each may
  // hold the publisher for as long.
  absl::Duration park_timeout = absl::Seconds(10);
  uint32_t keys_max = 256;  // kConflate: instead of queue_messages_max. At least 1.
  // False: this message is not for it; counted as skipped. Called for each message, on the
  // session's worker, so it must be quick; one that throws ends its connection. It may end any
  // session of its worker, its own too, and send for it: what finds a full target waits in that
  // session's outbox, as ever, but no TrySend of a Ref in here knows of it, and may overtake it.
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

}  // namespace internal

class Hub : public Actor {
 public:
  static constexpr bool kRestartable = false;  // Its subscribers are its spokes', and end with it.

  explicit Hub(HubOptions options = {}) : options_(std::move(options)) {}
  void OnStart() override;
  void On(Publish message);
  void On(internal::SubscribeMessage message);

  // Control, from a spoke.
  void SubscribersGone(int worker, int64_t count) {
    subscribers_[static_cast<size_t>(worker)] -= count;
  }

 private:
  const HubOptions options_;
  std::vector<Ref<internal::Spoke>> spokes_;
  std::vector<int64_t> subscribers_;  // By worker; a spoke without any is sent nothing.
  uint64_t sequence_ = 0;
  HubLedger::Cell* ledger_ = nullptr;
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
// Leaves a hub, now: it never waits, however full the hub is. What is queued is still written, or
// told as missed. A session that closes, or whose connection ends, leaves by that.
void Unsubscribe(const Session& session, const Subscribed& subscription);
inline Except ExceptOf(const Actor& session) { return {session.slot(), session.generation()}; }

}  // namespace sluice

#endif  // SLUICE_ACTORS_HUB_H_
