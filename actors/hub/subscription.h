// Subscription is an actor's own part in a hub: messages wait in its queue until a task takes them,
// where those to a session's connection leave as bytes.
//
//   sluice::Subscription news(this);
//   const absl::Status joined = co_await news.Join(hub);
//   while (const auto message = co_await news.Next()) Use(message->payload, message->missed);
//
// Owner:  a frame of the actor's, or a member. Its end leaves the hub at once.
// Thread: the actor's worker's.
// Bound:  queue_messages_max (keys_max with kConflate), as any subscriber of a hub; it is charged
//         to the budget.
// Errors: Join says why the actor has not joined. kPark is refused: an actor that is parked on the
//         hub's full mailbox would wait for itself. With kDisconnect a full queue ends the
//         subscription; so do the end of the hub and a filter that throws. status() says which.
#ifndef SLUICE_ACTORS_HUB_SUBSCRIPTION_H_
#define SLUICE_ACTORS_HUB_SUBSCRIPTION_H_

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/ref.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/actor/waits.h"
#include "sluice/core/memory/buffer.h"

namespace sluice {

class Subscription {
 public:
  struct Message {
    Bytes payload;
    uint64_t key = 0;
    // Messages that were due since the last one and are lost: dropped, replaced (kConflate), or
    // refused by memory.
    int64_t missed = 0;
  };
  class NextWait;

  explicit Subscription(Actor* actor) : actor_(*actor) {}
  ~Subscription() { Leave(); }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // Each message that the hub takes from now on is for this subscription. An actor joins a hub
  // once. If the task is cancelled, or Leave() is called meanwhile, it has not joined. A queue that
  // is larger than the memory budget is refused.
  Task<absl::Status> Join(Ref<Hub> hub, Where where = SLUICE_HERE) {
    return JoinWith(hub, SubscribeOptions(), where);
  }
  // g++ before 13 would destroy options in braces twice: give them a name first.
  Task<absl::Status> Join(Ref<Hub> hub, const SubscribeOptions& options,
                          Where where = SLUICE_HERE) {
    return JoinWith(hub, options, where);
  }
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
  Task<absl::Status> Join(Ref<Hub> hub, SubscribeOptions&& options_need_a_name_first) = delete;
#endif
  // Waits for the next message; nullopt: none will come, or its session drains and has taken those
  // that had come; status() says which. A drain waits, within its deadline, until the queue is
  // empty. One task at a time.
  // Among many messages that come at once, other waits of the task have their turn, too.
  NextWait Next(Where where = SLUICE_HERE);
  // Messages that wait are dropped, and counted as missed. It may join again.
  void Leave();

  // OK while it is joined; otherwise why it is not.
  absl::Status status() const;

 private:
  Task<absl::Status> JoinWith(Ref<Hub> hub, SubscribeOptions options, Where where);

  Actor& actor_;
  std::shared_ptr<internal::SubscriptionState> state_;  // nullptr: it has never joined.
};

namespace internal {

// The state that a subscription and its subscriber share. Messages on their way hold it, too;
// only the worker's thread reads and writes it.
struct SubscriptionState {
  Slot* slot = nullptr;
  uint32_t generation = 0;
  bool wanted = true;                     // The subscription wants to be joined.
  bool woken = false;                     // A wake-up is on its way.
  bool drains = false;                    // Its session drains: nullopt follows what has come.
  uint8_t taken = 0;                      // Messages that were there at once, one after another.
  SubscribedActor* subscriber = nullptr;  // While it is joined.
  Subscription::NextWait* waiting = nullptr;
  absl::Status status;
  // Tells the actor to look, by a message: a handler of the spoke runs.
  static void Wake(const std::shared_ptr<SubscriptionState>& state);
  void Leave();
};

}  // namespace internal

class SLUICE_AWAITED Subscription::NextWait : public internal::TimerWait {
 public:
  NextWait(NextWait&& other) noexcept = default;  // Until it waits.
  ~NextWait() {
    if (state_ != nullptr && state_->waiting == this) state_->waiting = nullptr;
  }
  bool Ready() const;
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);
  std::optional<Message> Result();
  // A message has come, or none will.
  void Told() { GoOn(); }

 private:
  friend class Subscription;
  NextWait(Actor& actor, std::shared_ptr<internal::SubscriptionState> state, Where where)
      : TimerWait(actor, where), state_(std::move(state)) {}
  bool HasMessage() const;

  const std::shared_ptr<internal::SubscriptionState> state_;
};

inline Subscription::NextWait Subscription::Next(Where where) {
  return NextWait(actor_, state_, where);
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_HUB_SUBSCRIPTION_H_
