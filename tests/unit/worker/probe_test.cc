// Tests of the probes for cycles of waits: when they leave, how they back off, what a second wait
// of one park does; and of lingering without an end. Virtual time, stepped.
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::probe_test {
namespace {

struct Number {
  int value;
};

class Node : public Actor {
 public:
  void On(Number number) { seen.push_back(number.value); }
  void OnDown(const Down& down) override { downs.push_back(down.reason); }
  using Actor::Monitor;
  using Actor::Send;
  std::vector<int> seen;
  std::vector<EndReason> downs;
};

class Probe : public ::testing::Test {
 protected:
  static Options ProbeOptions() {
    Options options = SmallOptions(2);
    options.linger_timeout = absl::InfiniteDuration();
    options.on_wait_cycle =
        OnWaitCycle::kReport;  // A reported cycle stays, so the test can look at its probe.
    return options;
  }
  Probe() : runtime_(ProbeOptions(), os_), step_(runtime_) {}
  ~Probe() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  Ref<Node> Make(int worker, std::string name, uint32_t capacity = 1) {
    const Ref<Node> ref = runtime_.SpawnWith<Node>(
        {.name = std::move(name), .mailbox_messages_max = capacity, .worker = worker});
    step_.Round(2);
    return ref;
  }
  static Node& Of(const Ref<Node>& ref) { return *static_cast<Node*>(ref.slot()->actor); }
  void Do(const Ref<Node>& ref, const std::function<void(Node&)>& act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test", [&] { act(Of(ref)); }));
    worker.Leave();
  }
  // Suspends a target without parking it: no cycle, however long the wait.
  void Hold(const Ref<Node>& ref) {
    On(ref, [&](Worker& worker) { worker.Suspend(ref.slot()); });
  }
  void Release(const Ref<Node>& ref) {
    On(ref, [&](Worker& worker) { worker.Resume(ref.slot()); });
  }
  void On(const Ref<Node>& ref, const std::function<void(Worker&)>& act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    act(worker);
    worker.Leave();
  }
  void Advance(absl::Duration by) {
    os_.Advance(by);
    step_.Round(4);
  }
  static const Outbox& OutboxOf(const Ref<Node>& ref) { return ref.slot()->extra->outbox; }

  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
};

TEST_F(Probe, BacksOffFrom100MsTo12800Ms) {
  const Ref<Node> a = Make(0, "a");
  const Ref<Node> b = Make(1, "b");
  Hold(b);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  step_.Round(2);
  ASSERT_TRUE(a.slot()->parked);
  int sent = 0;
  for (const int ms : {100, 200, 400, 800, 1'600, 3'200, 6'400, 12'800, 12'800, 12'800}) {
    Advance(absl::Milliseconds(ms - 1));
    EXPECT_EQ(OutboxOf(a).probes_sent, sent) << ms;
    Advance(absl::Milliseconds(1));
    EXPECT_EQ(OutboxOf(a).probes_sent, ++sent) << ms;
  }
  EXPECT_EQ(runtime_.WaitCyclesFound(), 0);
  Release(b);
  step_.Round(4);
  EXPECT_FALSE(a.slot()->parked);
  EXPECT_FALSE(OutboxOf(a).probe.Armed());
}

TEST_F(Probe, RestartsItsBackoffWithEachWait) {
  const Ref<Node> a = Make(0, "a");
  const Ref<Node> b = Make(1, "b");
  const Ref<Node> c = Make(0, "c");
  Hold(b);
  Hold(c);
  Do(a, [&](Node& self) {
    for (const Ref<Node>& to : {b, b, c, c}) EXPECT_EQ(self.Send(to, Number{1}), Answer::kAccepted);
  });
  Advance(absl::Milliseconds(100));
  EXPECT_EQ(OutboxOf(a).probes_sent, 1);
  const uint32_t episode = OutboxOf(a).episode;
  Release(b);
  step_.Round(4);
  ASSERT_TRUE(a.slot()->parked);
  EXPECT_NE(OutboxOf(a).episode, episode) << "it should wait for c now";
  Advance(absl::Milliseconds(99));
  EXPECT_EQ(OutboxOf(a).probes_sent, 0);
  Advance(absl::Milliseconds(1));
  EXPECT_EQ(OutboxOf(a).probes_sent, 1);
  Release(c);
  step_.Round(4);
  ASSERT_FALSE(a.slot()->parked);
  Hold(b);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(self.Send(b, Number{2}), Answer::kAccepted);
  });
  Advance(absl::Milliseconds(100));
  EXPECT_EQ(OutboxOf(a).probes_sent, 1);
  Release(b);
  step_.Round(4);
}

// The probe rests once its cycle is reported; a second wait may stand in another cycle.
TEST_F(Probe, FindsTheCycleOfAParksSecondWait) {
  const Ref<Node> a = Make(0, "a");
  const Ref<Node> b = Make(1, "b");
  const Ref<Node> c = Make(1, "c");
  const auto send = [](const std::vector<Ref<Node>>& targets) {
    return [targets](Node& self) {
      for (const Ref<Node>& to : targets) EXPECT_EQ(self.Send(to, Number{1}), Answer::kAccepted);
    };
  };
  for (const Ref<Node>& node : {a, b, c}) Hold(node);  // Holds all three until each is parked.
  ASSERT_EQ(a.TrySend(Number{0}), Answer::kAccepted);
  ASSERT_EQ(b.TrySend(Number{0}), Answer::kAccepted);
  ASSERT_EQ(c.TrySend(Number{0}), Answer::kAccepted);
  for (const Ref<Node>& node : {a, b, c}) Release(node);
  Do(a, send({b, c}));
  Do(b, send({a}));
  Do(c, send({a}));
  Advance(absl::Milliseconds(100));
  step_.Round(20);
  ASSERT_EQ(runtime_.WaitCyclesFound(), 1);
  EXPECT_NE(runtime_.LastWaitCycle().find("a -> b -> a"), std::string::npos)
      << runtime_.LastWaitCycle();
  EXPECT_FALSE(OutboxOf(a).probe.Armed());
  b.Stop();
  step_.Round(6);
  ASSERT_TRUE(a.slot()->parked) << "it waits for c now";
  EXPECT_TRUE(OutboxOf(a).probe.Armed());
  Advance(absl::Seconds(1));
  step_.Round(20);
  EXPECT_EQ(runtime_.WaitCyclesFound(), 2);
  EXPECT_NE(runtime_.LastWaitCycle().find("a -> c -> a"), std::string::npos)
      << runtime_.LastWaitCycle();
}

TEST_F(Probe, InfiniteLingerTimeoutWaitsWithoutLimit) {
  const Ref<Node> a = Make(0, "a");
  const Ref<Node> b = Make(1, "b");
  const Ref<Node> watcher = Make(1, "watcher", 8);
  Do(watcher, [&](Node& self) { self.Monitor(a); });
  Hold(b);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  a.Stop();
  for (int year = 0; year < 3; ++year) {
    Advance(absl::Hours(24 * 365));
    EXPECT_TRUE(Of(watcher).downs.empty());
  }
  Release(b);
  step_.Round(6);
  EXPECT_EQ(Of(b).seen, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(Of(watcher).downs, (std::vector<EndReason>{EndReason::kStopped}));
}

TEST_F(Probe, AnInfiniteLingerTimeoutDoesNotHoldADrain) {
  const Ref<Node> a = Make(0, "a");
  const Ref<Node> b = Make(1, "b");
  Hold(b);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  a.Stop();
  step_.Round(4);
  os_.runs = true;
  runtime_.Drain(absl::Milliseconds(100));
  const Ledger ledger = runtime_.TotalLedger();
  EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  EXPECT_EQ(ledger.held + ledger.parked_held, 0) << ledger.ToString();
}

}  // namespace
}  // namespace sluice::testing::probe_test
