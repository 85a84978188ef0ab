// Numbers of timers, monitors and questions never wrap around; a spawn reports what it cannot do;
// every worker can reach actors_max.
#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::numbers_test {
namespace {

struct Query {
  using Reply = int;
  int value;
};

class Being : public Actor {
 public:
  int On(Query query) { return query.value; }
  void OnDown(const Down& down) override { downs.push_back(down.monitor); }
  using Actor::After;
  using Actor::Ask;
  using Actor::CancelTimer;
  using Actor::Demonitor;
  using Actor::Monitor;
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::Spawn;
  using Actor::SpawnRestarting;
  using Actor::SpawnWith;
  using Actor::TimerId;
  using Actor::worker;
  std::vector<MonitorId> downs;
};

SpawnOptions On(int worker) { return {.name = "", .mailbox_messages_max = 0, .worker = worker}; }

class Numbers : public ::testing::Test {
 protected:
  explicit Numbers(uint32_t actors_max = 1'000, int workers = 2)
      : runtime_(WithActors(actors_max, workers)), step_(runtime_) {}
  ~Numbers() override {
    runtime_.Drain(absl::Seconds(5));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  static Options WithActors(uint32_t actors_max, int workers) {
    Options options = SmallOptions(workers);
    options.actors_max = actors_max;
    return options;
  }
  static Being& Of(const Ref<Being>& ref) { return *static_cast<Being*>(ref.slot()->actor); }
  Ref<Being> Make(int worker = 0) {
    const Ref<Being> ref = runtime_.SpawnWith<Being>(On(worker));
    step_.Round(2);
    return ref;
  }
  void Do(const Ref<Being>& ref, std::function<void(Being&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test", [&] { act(Of(ref)); }));
    worker.Leave();
  }
  Runtime runtime_;
  Stepper step_;
};

// At 100,000 questions a second an actor asks 2^32 of them in 12 hours.
TEST_F(Numbers, TimersGoOnPast32BitNumbers) {
  const Ref<Being> a = Make();
  int fired = 0;
  Do(a, [&](Being& self) {
    self.worker().Extra(a.slot()).last_id = std::numeric_limits<uint32_t>::max() - 1;
    std::set<Being::TimerId> ids;
    for (int i = 0; i < 4; ++i) {
      const Being::TimerId id = self.After(absl::Hours(1), [&] { ++fired; });
      EXPECT_NE(id, 0u) << "0 says that the timer was refused, and this one runs";
      ids.insert(id);
    }
    EXPECT_EQ(ids.size(), 4u);
    for (const Being::TimerId id : ids) self.CancelTimer(id);
    EXPECT_TRUE(a.slot()->extra->timers.empty());
  });
}

TEST_F(Numbers, MonitorsGetTheirOwnDownsPast32Bits) {
  const Ref<Being> a = Make(0);
  const Ref<Being> b = Make(1);
  std::vector<MonitorId> ids;
  Do(a, [&](Being& self) {
    self.worker().Extra(a.slot()).last_id = std::numeric_limits<uint32_t>::max() - 1;
    for (int i = 0; i < 3; ++i) ids.push_back(self.Monitor(b));
    for (const MonitorId id : ids) EXPECT_NE(id, 0u);
    self.Demonitor(ids[1]);
  });
  step_.Round(4);
  b.Stop();
  EXPECT_TRUE(step_.Until([&] { return Of(a).downs.size() == 2; }));
  EXPECT_EQ(std::set<MonitorId>(Of(a).downs.begin(), Of(a).downs.end()),
            (std::set<MonitorId>{ids[0], ids[2]}));
}

TEST_F(Numbers, QuestionsAreAnsweredOncePast32Bits) {
  const Ref<Being> a = Make(0);
  const Ref<Being> b = Make(1);
  std::vector<Answer> answers;
  std::vector<int> replies;
  Do(a, [&](Being& self) {
    self.worker().Extra(a.slot()).last_id = std::numeric_limits<uint32_t>::max() - 2;
    for (int i = 0; i < 4; ++i) {
      answers.push_back(
          self.Ask(b, Query{i}, absl::InfiniteDuration(), [&, i](absl::StatusOr<int> reply) {
            EXPECT_EQ(*reply, i);
            replies.push_back(i);
          }));
    }
    answers.push_back(self.RunBlocking(
        [] { return 4; }, [&](absl::StatusOr<int> reply) { replies.push_back(*reply); }));
  });
  EXPECT_EQ(answers, std::vector<Answer>(5, Answer::kAccepted));
  EXPECT_TRUE(step_.Until([&] { return replies.size() == 5; }));
}

// --- Refused spawns.

TEST_F(Numbers, TooLargeAMailboxIsADeadRef) {
  const SpawnOptions huge{.name = "", .mailbox_messages_max = uint32_t{1} << 31, .worker = -1};
  EXPECT_FALSE(runtime_.SpawnWith<Being>(huge));
  EXPECT_FALSE(runtime_.SpawnRestarting<Being>(RestartPolicy{}, huge));
  const Ref<Being> a = Make();
  Do(a, [&](Being& self) {
    EXPECT_FALSE(self.SpawnWith<Being>(huge));
    EXPECT_FALSE(self.SpawnRestarting<Being>(RestartPolicy{}, huge));
    SpawnOptions elsewhere = huge;
    elsewhere.worker = 1;
    EXPECT_FALSE(self.SpawnWith<Being>(elsewhere));
    SpawnOptions largest = huge;
    largest.mailbox_messages_max = static_cast<uint32_t>(std::numeric_limits<int32_t>::max());
    EXPECT_TRUE(self.SpawnWith<Being>(largest));
  });
  EXPECT_EQ(runtime_.TotalLedger().spawn_refused, 5);
}

TEST_F(Numbers, UnknownWorkerIsADeadRef) {
  for (const int worker : {2, 1'000, -2, std::numeric_limits<int>::min()}) {
    EXPECT_FALSE(runtime_.SpawnWith<Being>(On(worker))) << worker;
  }
  const Ref<Being> a = Make();
  Do(a, [&](Being& self) {
    for (const int worker : {2, 1'000, -2}) EXPECT_FALSE(self.SpawnWith<Being>(On(worker)));
    EXPECT_FALSE(self.SpawnRestarting<Being>(RestartPolicy{}, On(2)));
    EXPECT_TRUE(self.SpawnWith<Being>(On(-1)));
    EXPECT_TRUE(self.SpawnWith<Being>(On(1)));
  });
  EXPECT_EQ(runtime_.TotalLedger().spawn_refused, 8);
}

// --- actors_max is reached on any worker and by any kind of spawn.

TEST_F(Numbers, SlotsOfEndedRootsServeOneActorsChildren) {
  std::vector<Ref<Being>> roots;
  for (int i = 0; i < 990; ++i) roots.push_back(runtime_.SpawnWith<Being>(On(i % 2)));
  for (const Ref<Being>& root : roots) EXPECT_TRUE(root);
  step_.Round(4);
  for (const Ref<Being>& root : roots) root.Stop();
  EXPECT_TRUE(step_.Until([&] { return runtime_.ActorCount() == 0; }));
  const Ref<Being> parent = Make(1);
  int made = 0;
  Do(parent, [&](Being& self) {
    for (int i = 0; i < 999; ++i) made += static_cast<bool>(self.Spawn<Being>());
    EXPECT_FALSE(self.Spawn<Being>());  // actors_max.
  });
  EXPECT_EQ(made, 999);
  parent.Stop();
  EXPECT_TRUE(step_.Until([&] { return runtime_.ActorCount() == 0; }));
  // Then roots on the other worker use the slots.
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(runtime_.SpawnWith<Being>(On(0))) << i;
  EXPECT_FALSE(runtime_.SpawnWith<Being>(On(0)));
}

}  // namespace
}  // namespace sluice::testing::numbers_test
