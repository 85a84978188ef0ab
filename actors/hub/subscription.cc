#include "sluice/actors/hub/subscription.h"

#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/hub/hub_spoke.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace internal {

// The end of the task that joins is the end of the join, and so is a refusal.
class LeaveUnlessJoined {
 public:
  explicit LeaveUnlessJoined(Subscription& subscription) : subscription_(subscription) {}
  LeaveUnlessJoined(const LeaveUnlessJoined&) = delete;
  LeaveUnlessJoined& operator=(const LeaveUnlessJoined&) = delete;
  ~LeaveUnlessJoined() {
    if (!joined_) subscription_.Leave();
  }
  void Joined() { joined_ = true; }

 private:
  Subscription& subscription_;
  bool joined_ = false;
};

}  // namespace internal

Task<absl::Status> Subscription::Join(Ref<Hub> hub, SubscribeOptions options, Where where) {
  if (options.slow == SlowPolicy::kPark) {
    co_return absl::InvalidArgumentError(
        "kPark: an actor that is parked on the hub would wait for itself; choose another policy");
  }
  if (state_ != nullptr && state_->wanted) {
    co_return absl::FailedPreconditionError("the subscription has joined a hub already");
  }
  state_ = std::make_shared<internal::SubscriptionState>();
  state_->slot = actor_.slot();
  state_->generation = actor_.generation();
  internal::LeaveUnlessJoined joining(*this);
  internal::AskWait<Hub, internal::JoinHub> asked(
      actor_, hub,
      internal::JoinHub{actor_.slot(), actor_.generation(), std::move(options), state_},
      absl::InfiniteDuration(), where);
  const absl::StatusOr<std::monostate> answer = co_await asked;
  if (!answer.ok()) state_->status = answer.status();
  if (answer.ok()) joining.Joined();
  co_return state_->status;
}

void Subscription::Leave() {
  if (state_ == nullptr || !std::exchange(state_->wanted, false)) return;
  if (state_->status.ok()) state_->status = absl::CancelledError("it has left the hub");
  SLUICE_PLANT(subscription_left_behind, return);
  if (state_->subscriber != nullptr) state_->subscriber->Leave();
}

absl::Status Subscription::status() const {
  return state_ == nullptr ? absl::FailedPreconditionError("it has not joined a hub")
                           : state_->status;
}

// --- The wait for a message.

bool Subscription::NextWait::HasMessage() const {
  return state_ != nullptr && state_->subscriber != nullptr && state_->subscriber->HasMessage();
}

// A task that finds message after message does not keep the worker for more than its share.
bool Subscription::NextWait::Ready() const {
  if (state_ == nullptr || state_->subscriber == nullptr) return true;
  return HasMessage() && !state_->slot->worker->TurnOver();
}

bool Subscription::NextWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  SLUICE_CHECK(state_->waiting == nullptr, "two tasks await one subscription");
  Suspend(coroutine, frame, "a message of a hub");
  state_->waiting = this;
  if (HasMessage()) internal::SubscriptionState::Wake(state_);
  return true;
}

std::optional<Subscription::Message> Subscription::NextWait::Result() {
  if (!HasMessage()) return std::nullopt;
  return state_->subscriber->Take();
}

namespace internal {

namespace {

struct WakeSubscription {
  std::shared_ptr<SubscriptionState> state;
  int64_t HeldBytes() const { return 0; }
};

void HandleWake(void*, Envelope& envelope) {
  // Kept while the task runs, which may end the subscription.
  const std::shared_ptr<SubscriptionState> state = envelope.Get<WakeSubscription>().state;
  state->woken = false;
  SLUICE_PLANT(subscription_wake_lost, state->woken = true);
  // Another wait than the one that was woken may have nothing to take yet.
  const bool over = state->subscriber == nullptr || state->subscriber->HasMessage();
  if (state->waiting == nullptr || !over) return;
  std::exchange(state->waiting, nullptr)->Told();
}

const MessageOps kWakeOps = {
    MessageKind::kReserved,
    &HandleWake,
    Envelope::DestroyOf<WakeSubscription>(),
    Envelope::RelocateOf<WakeSubscription>(),
    [] { return typeid(WakeSubscription).name(); },
};

}  // namespace

void SubscriptionState::Wake(const std::shared_ptr<SubscriptionState>& state) {
  if (state->waiting == nullptr || std::exchange(state->woken, true)) return;
  Worker::SendReserved(state->slot, state->generation, &kWakeOps, WakeSubscription{state});
}

// --- The subscriber.

SubscribedActor::SubscribedActor(Spoke& spoke, SubscribeMessage& message)
    : Subscriber(spoke, message), state_(std::move(message.state)) {
  state_->subscriber = this;
}

Subscription::Message SubscribedActor::Take() {
  Entry entry = TakeFirst();
  return {std::move(entry.payload), entry.key, entry.missed_before};
}

void SubscribedActor::End(CloseReason reason) {
  if (state_->status.ok()) {
    state_->status = absl::AbortedError(reason == CloseReason::kSlow
                                            ? "it was too slow: its queue was full (kDisconnect)"
                                            : "its filter threw, or the hub failed on this worker");
  }
  Remove();
}

void SubscribedActor::Detach() {
  state_->subscriber = nullptr;
  state_->wanted = false;
  if (state_->status.ok()) state_->status = absl::UnavailableError("the hub has ended");
  SubscriptionState::Wake(state_);
}

std::string SubscribedActor::Name() const { return NameOfActor(slot()); }

}  // namespace internal
}  // namespace sluice
