#include "sluice/actors/hub/hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "sluice/actors/hub/hub_control.h"
#include "sluice/actors/hub/hub_spoke.h"
#include "sluice/core/base/log.h"

namespace sluice {

namespace {

// A spoke is recreated after a failure: apart from its subscribers, the hub knows all of its state,
// and a spoke fails only if a container is refused memory.
constexpr RestartPolicy kSpokeRestarts = {};

}  // namespace

std::string HubTotals::ToString() const {
  return absl::StrFormat(
      "hubs: published %d; due %d = received %d + missed %d + conflated %d + skipped %d + queued "
      "%d",
      published, due, received, missed, conflated, skipped, queued);
}

HubTotals HubLedger::Sum() const {
  HubTotals totals;
  for (const Cell& cell : cells_) {
    totals.published += cell.published.Get();
    totals.due += cell.due.Get();
    totals.received += cell.received.Get();
    totals.missed += cell.missed.Get();
    totals.conflated += cell.conflated.Get();
    totals.skipped += cell.skipped.Get();
    totals.queued += cell.queued.Get();
  }
  return totals;
}

HubTotals HubLedger::Of(Runtime& runtime) {
  return runtime.Attachment<HubLedger>(runtime.WorkerCount()).Sum();
}

void HubLedger::CheckInvariants(int worker) const {
  const Cell& cell = cells_[worker];
  int64_t queued = 0;
  for (const internal::Spoke* spoke = cell.spokes.Front(); spoke != nullptr;
       spoke = cell.spokes.Next(*spoke)) {
    spoke->CheckInvariants();
    queued += static_cast<int64_t>(spoke->Queued());
  }
  SLUICE_CHECK(queued == cell.queued.Get());
}

std::string_view SlowPolicyName(SlowPolicy policy) {
  switch (policy) {
    case SlowPolicy::kPark:
      return "park";
    case SlowPolicy::kDropOldest:
      return "drop_oldest";
    case SlowPolicy::kDropNewest:
      return "drop_newest";
    case SlowPolicy::kDisconnect:
      return "disconnect";
    case SlowPolicy::kConflate:
      return "conflate";
  }
  return "unknown";
}

std::optional<SlowPolicy> ParseSlowPolicy(std::string_view name) {
  for (const SlowPolicy policy :
       {SlowPolicy::kPark, SlowPolicy::kDropOldest, SlowPolicy::kDropNewest,
        SlowPolicy::kDisconnect, SlowPolicy::kConflate}) {
    if (SlowPolicyName(policy) == name) return policy;
  }
  return std::nullopt;
}

// --- Hub.

void Hub::OnStart() {
  const int workers = runtime().WorkerCount();
  ledger_ = &runtime().Attachment<HubLedger>(workers).At(worker().Index());
  subscribers_.resize(workers);
  for (int i = 0; i < workers; ++i) {
    SpawnOptions options;
    options.worker = i;
    spokes_.push_back(
        SpawnRestarting<internal::Spoke>(kSpokeRestarts, options, slot(), generation(), options_));
  }
}

void Hub::On(Publish message) {
  ++sequence_;
  ledger_->published.Add(1);
  for (size_t i = 0; i < spokes_.size(); ++i) {
    if (subscribers_[i] == 0) continue;
    internal::Deliver deliver{message.payload, sequence_, message.except};
    const Answer answer =
        message.key == 0
            ? Send(spokes_[i], std::move(deliver))
            : Send(spokes_[i], internal::DeliverKeyed{std::move(deliver), message.key});
    // The outbox has room for a handler's messages to all spokes, so only an ended spoke refuses:
    // it has no subscribers left.
    SLUICE_CHECK(answer == Answer::kAccepted || answer == Answer::kClosed ||
                 answer == Answer::kOverloaded);
    // No memory: the spoke finds the gap in the numbers, and reports to each subscriber what it
    // missed.
    if (answer == Answer::kOverloaded) {
      lost_log_.Warn(worker().NowMs(), [&] {
        return absl::StrFormat("hub: message %d is lost to worker %d: no memory", sequence_, i);
      });
    }
  }
}

void Hub::On(internal::SubscribeMessage message) {
  message.notice.AcceptedBy(RefOf(this));
  if (&message.slot->worker->runtime() != &runtime()) {
    LogWarn("hub: refused a session of another runtime: this hub cannot write to its connection");
    return message.Refuse(absl::InvalidArgumentError("the hub is of another runtime"));
  }
  const int where = message.slot->worker->Index();
  internal::AddSubscriber add{std::move(message), sequence_};
  ++subscribers_[where];
  if (Send(spokes_[where], std::move(add)) != Answer::kAccepted) {
    --subscribers_[where];
    add.subscriber.Refuse(absl::UnavailableError("the hub is too busy, or has no memory"));
  }
}

void Hub::On(internal::JoinHub question, Promise<std::monostate> promise) {
  On(internal::SubscribeMessage{
      question.slot, question.generation, std::move(question.options),
      internal::JoinNotice(question.slot, question.generation, /*told_ops=*/nullptr),
      /*greeting=*/"", std::move(question.state), std::move(promise)});
}

// RemoveSubscriber is a reserved message: the spoke never refuses it, and it comes after all
// messages that this hub has sent there before.
void Hub::On(internal::Leaving leaving) {
  Slot* const spoke = leaving.spoke();
  const uint32_t spoke_generation = leaving.spoke_generation();
  Worker::SendReserved(spoke, spoke_generation,
                       &internal::kReservedOps<internal::Spoke, internal::RemoveSubscriber>,
                       internal::RemoveSubscriber{std::move(leaving), sequence_});
}

void Hub::StopIfLeft() {
  const bool left = std::all_of(subscribers_.begin(), subscribers_.end(),
                                [](int64_t count) { return count == 0; });
  if (left) Stop();
}

void StopWhenLeft(const Ref<Hub>& hub) {
  if (!hub) return;
  Worker::Post(*hub.slot()->worker, hub.slot(), hub.generation(), internal::StopWhenLeftControl{});
}

namespace internal {

void LeaveHub(const Session& session, const Subscribed& subscription, const MessageOps* told_ops) {
  Leaving leaving(session, subscription, told_ops);
  if (subscription.spoke == nullptr) return;
  Worker::Post(*subscription.spoke->worker, subscription.spoke, subscription.spoke_generation,
               LetGoControl{session.slot(), session.generation()});
  Slot* const hub = subscription.hub.slot();
  const uint32_t generation = subscription.hub.generation();
  // After the messages of this handler that still wait in the session's outbox.
  Slot* const slot = session.slot();
  if (slot->has_outbox && slot->worker->Send(slot, hub, generation, &kMessageOps<Hub, Leaving>,
                                             leaving) == Answer::kAccepted) {
    return;
  }
  Worker::SendReserved(hub, generation, &kReservedOps<Hub, Leaving>, std::move(leaving));
}

void JoinNotice::Tell(const Subscribed& told) {
  const MessageOps* const told_ops = std::exchange(told_ops_, nullptr);
  if (told_ops != nullptr) Worker::SendReserved(session_, generation_, told_ops, Subscribed(told));
}

void SubscribeMessage::Refuse(absl::Status why) {
  notice.Tell({.hub = notice.hub()});
  promise.Fail(std::move(why));
}

void DestroySubscribe(Envelope& envelope) {
  envelope.Get<SubscribeMessage>().notice.AcceptedBy(
      Ref<Hub>(envelope.target, envelope.generation));
  Envelope::DestroyOf<SubscribeMessage>()(envelope);
}

void Leaving::Tell(std::optional<uint64_t> sequence) {
  Slot* const session = std::exchange(session_, nullptr);
  if (session == nullptr || told_ops_ == nullptr) return;
  Worker::SendReserved(session, generation_, told_ops_, Unsubscribed{hub_, sequence});
}

}  // namespace internal

}  // namespace sluice
