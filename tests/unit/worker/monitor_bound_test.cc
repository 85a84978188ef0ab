// monitors_max bounds an actor's monitors, and thereby the messages that are on the way because of
// them.
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::monitor_bound_test {
namespace {

class Watcher : public Actor {
 public:
  void OnDown(const Down& down) override { downs.push_back(down.monitor); }
  using Actor::Demonitor;
  using Actor::Monitor;
  std::vector<MonitorId> downs;
};

class MonitorsMax : public ::testing::TestWithParam<int> {
 protected:
  static Options Few() {
    Options options = SmallOptions(2);
    options.monitors_max = 4;
    return options;
  }
  MonitorsMax() : runtime_(Few()), step_(runtime_) {
    watcher_ = runtime_.SpawnWith<Watcher>({.name = "", .mailbox_messages_max = 0, .worker = 0});
    target_ =
        runtime_.SpawnWith<Watcher>({.name = "", .mailbox_messages_max = 0, .worker = GetParam()});
    step_.Round(2);
  }
  ~MonitorsMax() override { runtime_.Drain(absl::Seconds(5)); }
  template <class F>
  void Do(F act) {
    Worker& worker = *watcher_.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(watcher_.slot(), "test", [&] { act(Self()); }));
    worker.Leave();
  }
  Watcher& Self() { return *static_cast<Watcher*>(watcher_.slot()->actor); }

  Runtime runtime_;
  Stepper step_;
  Ref<Watcher> watcher_;
  Ref<Watcher> target_;
};

TEST_P(MonitorsMax, PastItMonitorAnswersNone) {
  Do([&](Watcher& self) {
    for (int i = 0; i < 4; ++i) EXPECT_NE(self.Monitor(target_), 0u);
    EXPECT_EQ(self.Monitor(target_), 0u);
    EXPECT_EQ(self.Monitor(Ref<Watcher>()), 0u);
  });
  target_.Stop();
  EXPECT_TRUE(step_.Until([&] { return Self().downs.size() == 4; }));
  // The places of the four ended monitors are free.
  Do([&](Watcher& self) { EXPECT_NE(self.Monitor(target_), 0u); });
  EXPECT_TRUE(step_.Until([&] { return Self().downs.size() == 5; }));
}

TEST_P(MonitorsMax, DemonitorKeepsItsPlaceUntilTheTargetConfirms) {
  for (int round = 0; round < 3; ++round) {
    Do([&](Watcher& self) {
      int taken = 0;
      for (int i = 0; i < 1'000; ++i) {
        const MonitorId id = self.Monitor(target_);
        taken += id != 0;
        self.Demonitor(id);
        self.Demonitor(id);
      }
      EXPECT_EQ(taken, 4) << "else a handler could put any number of orders on the way";
    });
    step_.Round(4);
  }
  EXPECT_TRUE(target_.slot()->extra->watchers.empty());
  target_.Stop();
  step_.Round(4);
  EXPECT_TRUE(Self().downs.empty());
}

TEST_P(MonitorsMax, DemonitorDropsADownOnTheWay) {
  std::vector<MonitorId> ids;
  Do([&](Watcher& self) {
    for (int i = 0; i < 4; ++i) ids.push_back(self.Monitor(target_));
  });
  step_.Round(4);
  target_.Stop();
  step_.Turn(target_.slot()->worker->Index() == 0 ? 1 : target_.slot()->worker->Index());
  Do([&](Watcher& self) {
    for (int i = 0; i < 3; ++i) self.Demonitor(ids[i]);
  });
  step_.Round(4);
  EXPECT_EQ(Self().downs, std::vector<MonitorId>{ids[3]});
  Do([&](Watcher& self) {
    for (int i = 0; i < 4; ++i) EXPECT_NE(self.Monitor(watcher_), 0u);
    EXPECT_EQ(self.Monitor(watcher_), 0u);
  });
}

TEST_P(MonitorsMax, TheWatchersEndRemovesAllItsMonitors) {
  Do([&](Watcher& self) {
    for (int i = 0; i < 4; ++i) {
      const MonitorId id = self.Monitor(target_);
      if (i % 2 == 0) self.Demonitor(id);
    }
  });
  watcher_.Stop();
  step_.Round(6);
  EXPECT_TRUE(target_.slot()->extra->watchers.empty());
}

INSTANTIATE_TEST_SUITE_P(OnTheSameWorkerAndOnAnother, MonitorsMax, ::testing::Values(0, 1));

}  // namespace
}  // namespace sluice::testing::monitor_bound_test
