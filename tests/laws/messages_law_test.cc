// L1 to L4 under a storm of messages: nothing is lost, out of order or past its bound, and no two
// handlers of an actor overlap.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/laws/storm.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {
namespace {

struct Shape {
  int workers;
  uint32_t mailbox_messages_max;
  uint32_t lane_messages_max;
  uint32_t burst;
};

std::string NameOfShape(const ::testing::TestParamInfo<Shape>& info) {
  return "Workers" + std::to_string(info.param.workers) + "Mailbox" +
         std::to_string(info.param.mailbox_messages_max) + "Lane" +
         std::to_string(info.param.lane_messages_max) + "Burst" + std::to_string(info.param.burst);
}

class Storm : public ::testing::TestWithParam<Shape> {
 protected:
  void Run(StormPlan plan = StormPlan()) {
    Options options = SmallOptions(GetParam().workers);
    options.lane_messages_max = GetParam().lane_messages_max;
    plan.mailbox_messages_max = GetParam().mailbox_messages_max;
    plan.burst = GetParam().burst;
    Runtime runtime(options);
    ASSERT_TRUE(runtime.Start().ok());
    StartStorm(runtime, plan, report_);
    EXPECT_TRUE(Eventually([&] { return report_.received == plan.ItemsInAll(); }))
        << runtime.Dump();
    EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
        << CreditsMissing(runtime) << runtime.Dump();
    EXPECT_EQ(runtime.WaitCyclesFound(), 0) << runtime.LastWaitCycle();
    runtime.Drain(absl::Seconds(30));
    ledger_ = runtime.TotalLedger();
    EXPECT_EQ(runtime.budget().UsedBytes(), 0 + Leased(runtime));
  }
  static int64_t Leased(Runtime& runtime) {
    int64_t sum = 0;
    for (int w = 0; w < runtime.WorkerCount(); ++w) sum += runtime.worker(w).lease().LeftBytes();
    return sum;
  }
  Report report_;
  Ledger ledger_;
};
class L1Ledger : public Storm {};
class L2Order : public Storm {};
class L3Bound : public Storm {};
class L4OneAtATime : public Storm {};

TEST_P(L1Ledger, EveryMessageOfAStormIsAccountedFor) {
  Run();
  EXPECT_EQ(report_.refused, 0);
  EXPECT_TRUE(ledger_.Balanced()) << ledger_.ToString();
  EXPECT_EQ(ledger_.held, 0);
  EXPECT_EQ(ledger_.parked_held, 0);
  EXPECT_EQ(ledger_.DroppedTotal() + ledger_.ParkedDroppedTotal(), 0) << ledger_.ToString();
}

TEST_P(L2Order, AStreamKeepsItsOrderParkedOrNot) {
  Run();
  EXPECT_EQ(report_.out_of_order, 0);
}

TEST_P(L3Bound, NoMailboxIsFoundPastItsCapacity) {
  Run();
  EXPECT_EQ(report_.over_bound, 0);
}

TEST_P(L4OneAtATime, HandlersNeverOverlapAndNeverLeaveTheirWorker) {
  Run();
  EXPECT_EQ(report_.overlaps, 0);
  EXPECT_EQ(report_.strays, 0);
}

const Shape kShapes[] = {{1, 1, 1'024, 8}, {1, 16, 1'024, 100}, {2, 1, 1, 8},         {2, 2, 4, 8},
                         {2, 3, 2, 1},     {2, 16, 3, 100},     {2, 256, 1'024, 100}, {3, 2, 1, 8},
                         {4, 1, 1, 1},     {4, 3, 1'024, 8},    {4, 16, 16, 100}};
const Shape kFewShapes[] = {{1, 3, 1'024, 8}, {2, 1, 1, 8}, {4, 16, 4, 100}};
INSTANTIATE_TEST_SUITE_P(All, L1Ledger, ::testing::ValuesIn(kShapes), NameOfShape);
INSTANTIATE_TEST_SUITE_P(All, L2Order, ::testing::ValuesIn(kShapes), NameOfShape);
INSTANTIATE_TEST_SUITE_P(All, L3Bound, ::testing::ValuesIn(kFewShapes), NameOfShape);
INSTANTIATE_TEST_SUITE_P(All, L4OneAtATime, ::testing::ValuesIn(kFewShapes), NameOfShape);

// Each non-worker thread is a sender of its own: its accepted messages arrive, in order.
TEST(L2Order, OutsideThreadsKeepTheirOrder) {
  for (uint32_t capacity : {1u, 2u, 16u}) {
    constexpr uint32_t kThreads = 3;
    constexpr uint32_t kItems = 2'000;
    Report report;
    Runtime runtime(SmallOptions(2));
    ASSERT_TRUE(runtime.Start().ok());
    const Ref<Sink> sink =
        runtime.SpawnWith<Sink>({.name = "", .mailbox_messages_max = capacity, .worker = 0},
                                &report, static_cast<int>(kThreads));
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([sink, t] {
        for (uint32_t i = 0; i < kItems;) {
          const Answer answer = sink.TrySend(Item{t, i});
          if (answer == Answer::kAccepted) {
            ++i;
          } else {
            std::this_thread::yield();
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(Eventually([&] { return report.received == kThreads * kItems; })) << runtime.Dump();
    EXPECT_EQ(report.out_of_order, 0);
    EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
        << CreditsMissing(runtime);
    runtime.Drain(absl::Seconds(30));
    EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
  }
}

// No worker runs, so no message is handled: exactly `capacity` messages go in.
TEST(L3Bound, MailboxRefusesTheMessagePastItsCapacity) {
  for (uint32_t capacity : {1u, 2u, 3u, 16u, 100u}) {
    Report report;
    Runtime runtime(SmallOptions(2));
    const Ref<Sink> sink = runtime.SpawnWith<Sink>(
        {.name = "", .mailbox_messages_max = capacity, .worker = 0}, &report, 1);
    for (uint32_t i = 0; i < capacity; ++i) EXPECT_EQ(sink.TrySend(Item{0, i}), Answer::kAccepted);
    EXPECT_EQ(sink.TrySend(Item{0, capacity}), Answer::kFull);
    Stepper stepper(runtime);
    EXPECT_TRUE(stepper.Until([&] { return report.received == capacity; }));
    EXPECT_EQ(sink.TrySend(Item{0, capacity}), Answer::kAccepted);
    EXPECT_TRUE(stepper.Until([&] { return report.received == capacity + 1; }));
    runtime.Drain(absl::Seconds(10));
    EXPECT_TRUE(runtime.TotalLedger().Balanced());
  }
}

}  // namespace
}  // namespace sluice::testing
