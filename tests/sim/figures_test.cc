// Tests of a running runtime's ledger and dump, on the simulated system: what they wait for, how
// long, and what they say of a held worker.
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/world/sim_os.h"

namespace sluice::sim::figures_test {
namespace {

struct Hold {
  absl::Duration time;
};
struct Look {
  std::function<void()>* look;
};

class Handler : public Actor {
 public:
  explicit Handler(Simulation* simulation) : simulation_(*simulation) {}
  void On(Hold hold) { simulation_.Sleep(hold.time); }
  void On(Look order) { (*order.look)(); }

 private:
  Simulation& simulation_;
};

class Figures : public ::testing::Test {
 protected:
  Figures() : simulation_(1, Faults::None()), site_(simulation_, SmallOptions(2)) {
    for (int worker : {0, 1}) {
      handlers_[worker] = site_.runtime().SpawnWith<Handler>(
          {.name = "", .mailbox_messages_max = 0, .worker = worker}, &simulation_);
    }
    EXPECT_TRUE(site_.Start());
    simulation_.Sleep(absl::Milliseconds(1));
  }
  ~Figures() override {
    site_.os().descriptors_max = 1'000;
    site_.End();
    EXPECT_EQ(simulation_.violation(), "");
  }
  void HoldWorker(int worker, absl::Duration time) {
    EXPECT_EQ(handlers_[worker].TrySend(Hold{time}), Answer::kAccepted);
    simulation_.Sleep(absl::Milliseconds(1));
  }
  // Runs `look` in a handler on worker 0.
  void InAHandler(std::function<void()> look) {
    bool done = false;
    std::function<void()> order = [&] {
      look();
      done = true;
    };
    EXPECT_EQ(handlers_[0].TrySend(Look{&order}), Answer::kAccepted);
    EXPECT_TRUE(simulation_.RunUntil([&] { return done; }, absl::Seconds(60)));
  }
  absl::Duration TimeOf(const std::function<void()>& act) {
    const int64_t start_ns = simulation_.NowNs();
    act();
    return absl::Nanoseconds(simulation_.NowNs() - start_ns);
  }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  Simulation simulation_;
  Site site_;
  Ref<Handler> handlers_[2];
};

TEST_F(Figures, BusyWorkerIsAwaitedWithoutAnyDescriptorLeft) {
  site_.os().descriptors_max = 0;
  HoldWorker(1, absl::Milliseconds(300));
  std::string text;
  const absl::Duration took = TimeOf([&] { text = site_.runtime().Dump(); });
  EXPECT_TRUE(Has(text, "worker 1: 1 actors")) << text;
  EXPECT_FALSE(Has(text, "no answer")) << text;
  EXPECT_GT(took, absl::Milliseconds(290));
  EXPECT_LT(took, absl::Milliseconds(310));
}

TEST_F(Figures, HeldWorkerIsNamedAfterASecond) {
  site_.os().descriptors_max = 0;
  HoldWorker(1, absl::Seconds(5));
  std::string text;
  const absl::Duration took = TimeOf([&] { text = site_.runtime().Dump(); });
  EXPECT_TRUE(Has(text, "worker 0: 1 actors")) << text;
  EXPECT_TRUE(Has(text, "worker 1: no answer within 1 s; it is held by On(")) << text;
  EXPECT_GE(took, absl::Seconds(1));
  EXPECT_LT(took, absl::Milliseconds(1'010));
}

TEST_F(Figures, HandlerGetsItsWorkersExactFiguresAtOnce) {
  HoldWorker(1, absl::Seconds(5));
  InAHandler([&] {
    std::string text;
    Ledger ledger;
    const absl::Duration took = TimeOf([&] {
      text = site_.runtime().Dump();
      ledger = site_.runtime().TotalLedger();
    });
    EXPECT_LT(took, absl::Milliseconds(1));
    EXPECT_TRUE(Has(text, "\nworker 0: 1 actors")) << text;
    EXPECT_TRUE(Has(text, " ms ago: worker 1: ")) << text;
    EXPECT_FALSE(Has(text, "no answer")) << text;
    // This message is in hand; the other message, on worker 1, is not known yet.
    EXPECT_EQ(ledger.held, 1) << ledger.ToString();
  });
}

TEST_F(Figures, HandlerGetsOtherWorkersLastReportedFigures) {
  HoldWorker(1, absl::Milliseconds(10));
  simulation_.Sleep(absl::Seconds(2));
  const auto delivered = [&] {
    int64_t count = 0;
    InAHandler([&] { count = site_.runtime().TotalLedger().delivered; });
    simulation_.Sleep(absl::Milliseconds(1));
    return count;
  };
  EXPECT_EQ(delivered(), 0);      // Worker 1 counts as when it started. It is asked now.
  EXPECT_EQ(delivered(), 1 + 1);  // A message of each worker.
}

TEST_F(Figures, LedgerInAHandlerCountsItsOwnMessage) {
  InAHandler([&] {
    const Ledger ledger = site_.runtime().TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
    EXPECT_EQ(ledger.held, 1);
  });
}

TEST_F(Figures, HeldWorkerGetsABoundedNumberOfQuestions) {
  HoldWorker(1, absl::Minutes(10));
  for (int i = 0; i < 200; ++i) (void)site_.runtime().TotalLedger();
  // Each call waited for a second, in vain.
  EXPECT_LE(site_.runtime().worker(1).mail().inbox().Count(), 64u);
  InAHandler([&] {
    for (int i = 0; i < 200; ++i) (void)site_.runtime().TotalLedger();
  });
  EXPECT_LE(site_.runtime().worker(1).mail().inbox().Count(), 65u);
}

TEST(FiguresAtRest, AreReadAtOnceWithoutRunningWorkers) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(2));
  const int64_t start_ns = simulation.NowNs();
  EXPECT_NE(site.runtime().Dump().find("worker 1: 0 actors"), std::string::npos);
  EXPECT_LT(simulation.NowNs() - start_ns, 1'000'000);
  EXPECT_TRUE(site.Start());
  site.End();
  const int64_t ended_ns = simulation.NowNs();
  EXPECT_NE(site.runtime().Dump().find("worker 1: 0 actors"), std::string::npos);
  EXPECT_LT(simulation.NowNs() - ended_ns, 1'000'000);
}

}  // namespace
}  // namespace sluice::sim::figures_test
