#include "sluice/actors/hub.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "sluice/actors/hub_control.h"
#include "sluice/actors/hub_spoke.h"
#include "sluice/core/log.h"

namespace sluice {

namespace {

// A spoke has no state that its hub does not know, but for its subscribers; and it fails only where
// memory for a container is refused.
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
    // The outbox holds a handler's messages to all spokes, so only an ended spoke refuses: it has
    // no subscribers left.
    SLUICE_CHECK(answer == Answer::kAccepted || answer == Answer::kClosed ||
                 answer == Answer::kOverloaded);
    // No memory: the spoke finds the gap in the numbers, and tells each subscriber what it missed.
    if (answer == Answer::kOverloaded) {
      LogWarn("hub: message %d is lost to worker %d: no memory", sequence_, i);
    }
  }
}

void Hub::On(internal::SubscribeMessage message) {
  if (&message.slot->worker->runtime() != &runtime()) {
    LogWarn("hub: a session of another runtime asked to join; its workers cannot write to it");
    Worker::SendReserved(message.slot, message.generation, message.subscribed_ops,
                         Subscribed{.hub = RefOf(this)});
    return;
  }
  const int where = message.slot->worker->Index();
  internal::AddSubscriber add{std::move(message), sequence_};
  ++subscribers_[where];
  if (Send(spokes_[where], std::move(add)) != Answer::kAccepted) {
    --subscribers_[where];
    Worker::SendReserved(add.subscriber.slot, add.subscriber.generation,
                         add.subscriber.subscribed_ops, Subscribed{.hub = RefOf(this)});
  }
}

void Unsubscribe(const Session& session, const Subscribed& subscription) {
  if (subscription.spoke == nullptr) return;
  Worker::Post(*subscription.spoke->worker, subscription.spoke, subscription.spoke_generation,
               internal::UnsubscribeControl{session.slot(), session.generation()});
}

}  // namespace sluice
