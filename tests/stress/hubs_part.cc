#include "sluice/tests/stress/hubs_part.h"

#include "absl/strings/str_cat.h"
#include "sluice/tests/stress/connections_part.h"

namespace sluice::stress {

HubsPart::HubsPart(Stress& stress)
    : stress_(stress), ends_(stress.laws), feeds_(static_cast<size_t>(kHubs)) {}

void HubsPart::Prepare() {
  Runtime& runtime = stress_.runtime;
  Random random(stress_.seed + 4);
  acceptor_ = runtime.Listen<FeedSession>("127.0.0.1:0", &stress_, &ends_, &feeds_);
  if (acceptor_.TrySend(SetConnectionLimit{kSubscribersMax, AtLimit::kRefuse}) !=
      Answer::kAccepted) {
    stress_.laws.Broken("set-up", "an acceptor takes no limit");
  }
  for (int i = 0; i < kHubs; ++i) {
    Feed& feed = feeds_[static_cast<size_t>(i)];
    feed.publishers = i % 2 == 0 ? 1 : kPublishersMax;
    SpawnOptions where;
    where.worker = i % runtime.WorkerCount();
    where.mailbox_messages_max = 64;
    feed.hub = runtime.SpawnWith<Hub>(where, HubOptions{.missed_notice = &MissedNotice});
  }
  for (int i = 0; i < kHubs; ++i) {
    Feed& feed = feeds_[static_cast<size_t>(i)];
    for (int publisher = 0; publisher < feed.publishers; ++publisher) {
      SpawnOptions where;
      where.worker = (i + publisher) % runtime.WorkerCount();
      runtime.SpawnWith<Publisher>(where, &stress_, &feed, publisher, random());
    }
  }
}

void HubsPart::Start() {
  port_ = PortOf(stress_.runtime, acceptor_);
  loop_ = std::make_unique<ClientLoop>(stress_, stress_.seed + 200, kClients,
                                       [this](Random& random) { return MakeClient(random); });
  loop_->Start();
}

std::unique_ptr<Client> HubsPart::MakeClient(Random& random) {
  FeedClient::Plan plan;
  plan.port = port_;
  plan.hub = static_cast<int>(random.Below(kHubs));
  plan.manner = random.OneIn(12)  ? FeedClient::Manner::kStops
                : random.OneIn(3) ? FeedClient::Manner::kPauses
                                  : FeedClient::Manner::kReads;
  // A subscriber that does not read and may park would hold its hub most of the time: rare.
  plan.policy = random.OneIn(16) ? SlowPolicy::kPark
                                 : static_cast<SlowPolicy>(1 + random.Below(kPoliciesMax - 1));
  plan.stays = plan.manner != FeedClient::Manner::kStops && random.OneIn(6) &&
               tally_.staying.Get() < kStaying;
  return std::make_unique<FeedClient>(stress_, ends_, tally_, feeds_[static_cast<size_t>(plan.hub)],
                                      plan, random());
}

int64_t HubsPart::Published() const {
  int64_t published = 0;
  for (const Feed& feed : feeds_) published += feed.published.Get();
  return published;
}

bool HubsPart::Done() {
  for (const Feed& feed : feeds_) {
    if (feed.publishers_done.Get() != feed.publishers) return false;
  }
  return loop_->Quiet();
}

std::string HubsPart::State() {
  int64_t publishers_done = 0;
  for (const Feed& feed : feeds_) publishers_done += feed.publishers_done.Get();
  return absl::StrCat("published ", Published(), ", received ", tally_.received.Get(), ", missed ",
                      tally_.missed.Get(), "; publishers done ", publishers_done,
                      "; sessions begun ", ends_.Begun(), ", ended ", ends_.Ended());
}

void HubsPart::Finish() {
  loop_->Finish();
  const HubTotals totals =
      stress_.runtime.Attachment<HubLedger>(stress_.runtime.WorkerCount()).Sum();
  if (totals.published != Published()) {
    stress_.laws.Broken("L1", absl::StrCat("publishers sent ", Published(), " and hubs numbered ",
                                           totals.published));
  }
  if (totals.due != totals.received + totals.missed + totals.skipped || totals.queued != 0) {
    stress_.laws.Broken("L1", totals.ToString());
  }
  if (ends_.Begun() != ends_.Ended()) {
    stress_.laws.Broken(
        "L9", absl::StrCat("of ", ends_.Begun(), " feed sessions ", ends_.Ended(), " got OnClose"));
  }
}

std::vector<Rate> HubsPart::Rates() const {
  return {{"broadcasts", Published()},
          {"received", tally_.received.Get()},
          {"missed", tally_.missed.Get()},
          {"joined", tally_.joined.Get()},
          {"said bye", tally_.said_bye.Get()},
          {"stopped reading", tally_.stopped.Get()},
          {"refused", tally_.refused.Get()},
          {"ended as slow", tally_.ended_slow.Get()},
          {"ended for memory", tally_.ended_memory.Get()},
          {"stayed to the end", tally_.stayed.Get()}};
}

}  // namespace sluice::stress
