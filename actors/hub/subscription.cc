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

// The end of the task that joins is the end of this join, and so is a refusal. The subscription may
// have gone, or may have begun another join.
class LeaveUnlessJoined {
 public:
  explicit LeaveUnlessJoined(std::shared_ptr<SubscriptionState> state) : state_(std::move(state)) {}
  LeaveUnlessJoined(const LeaveUnlessJoined&) = delete;
  LeaveUnlessJoined& operator=(const LeaveUnlessJoined&) = delete;
  ~LeaveUnlessJoined() {
    if (!joined_) state_->Leave();
  }
  void Joined() { joined_ = true; }

 private:
  const std::shared_ptr<SubscriptionState> state_;
  bool joined_ = false;
};

void SubscriptionState::Leave() {
  if (!std::exchange(wanted, false)) return;
  if (!slot->worker->desk().OnWorker()) RefuseThread(slot, "Subscription::Leave()");
  if (status.ok()) status = absl::CancelledError("it has left the hub");
  SLUICE_PLANT(subscription_left_behind, return);
  if (subscriber != nullptr) subscriber->Leave();
}

}  // namespace internal

Task<absl::Status> Subscription::JoinWith(Ref<Hub> hub, SubscribeOptions options, Where where) {
  if (options.slow == SlowPolicy::kPark) {
    co_return absl::InvalidArgumentError(
        "kPark: an actor that is parked on the hub would wait for itself; choose another policy");
  }
  if (internal::Subscriber::QueueBytesOf(options) >
      actor_.slot()->worker->options().memory_bytes_max) {
    co_return absl::InvalidArgumentError(
        "the queue (queue_messages_max, keys_max) is larger than the memory budget");
  }
  if (state_ != nullptr && state_->wanted) {
    co_return absl::FailedPreconditionError("the subscription has joined a hub already");
  }
  const auto state = std::make_shared<internal::SubscriptionState>();
  state_ = state;
  state->slot = actor_.slot();
  state->generation = actor_.generation();
  internal::LeaveUnlessJoined joining(state);
  internal::AskWait<Hub, internal::JoinHub> asked(
      actor_, hub, internal::JoinHub{state->slot, state->generation, std::move(options), state},
      absl::InfiniteDuration(), where);
  const absl::StatusOr<std::monostate> answer = co_await asked;
  // From here on the subscription may have gone.
  if (!answer.ok() && state->status.ok()) state->status = answer.status();
  if (answer.ok() && state->wanted) joining.Joined();
  co_return state->status;
}

void Subscription::Leave() {
  if (state_ != nullptr) state_->Leave();
}

absl::Status Subscription::status() const {
  if (state_ == nullptr) return absl::FailedPreconditionError("it has not joined a hub");
  if (state_->drains && state_->status.ok()) return absl::UnavailableError("its session drains");
  return state_->status;
}

// --- The wait for a message.

bool Subscription::NextWait::HasMessage() const {
  return state_ != nullptr && state_->subscriber != nullptr && state_->subscriber->HasMessage();
}

// When so many messages are there one after another, the last of them waits a tick: otherwise a
// read beside it (FirstOf) would never be looked at.
constexpr uint8_t kTakenInARow = 64;

// A task that finds message after message does not keep the worker for more than its share.
bool Subscription::NextWait::Ready() const {
  if (state_ == nullptr || state_->subscriber == nullptr) return true;
  if (state_->drains && !HasMessage()) return true;
  if (!HasMessage() || state_->slot->worker->TurnOver()) return false;
  return ++state_->taken < kTakenInARow;
}

bool Subscription::NextWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (state_->waiting != nullptr) [[unlikely]] {
    internal::RefuseWait(state_->slot, where(), "awaits a Subscription that another one awaits");
  }
  const bool last = std::exchange(state_->taken, 0) >= kTakenInARow;
  if (last) return BeginTimer(coroutine, frame, "a message of a hub", absl::ZeroDuration());
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
  const bool over =
      state->drains || state->subscriber == nullptr || state->subscriber->HasMessage();
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

SubscribedActor::SubscribedActor(Spoke& spoke, Connection* connection, SubscribeMessage& message)
    : Subscriber(spoke, message), connection_(connection), state_(std::move(message.state)) {
  state_->subscriber = this;
  if (connection_ != nullptr) connection_->AddListener(this);
}

void SubscribedActor::NoteWaits(bool wait) {
  if (std::exchange(waits_, wait) != wait) worker().drain().NoteHubWaits(wait ? 1 : -1);
}

void SubscribedActor::MessagesWait() {
  NoteWaits(true);
  SubscriptionState::Wake(state_);
}

void SubscribedActor::OnSessionDrains() {
  state_->drains = true;
  SubscriptionState::Wake(state_);
}

Subscription::Message SubscribedActor::Take() {
  Entry entry = TakeFirst();
  NoteWaits(Queued() > 0);
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
  NoteWaits(false);
  if (connection_ != nullptr) std::exchange(connection_, nullptr)->RemoveListener(this);
  state_->subscriber = nullptr;
  state_->wanted = false;
  if (state_->status.ok()) state_->status = absl::UnavailableError("the hub has ended");
  SubscriptionState::Wake(state_);
}

std::string SubscribedActor::Name() const { return NameOfActor(slot()); }

}  // namespace internal
}  // namespace sluice
