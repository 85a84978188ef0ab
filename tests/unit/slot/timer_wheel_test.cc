#include "sluice/core/slot/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace sluice::testing::timer_wheel_test {
namespace {

constexpr int64_t kDayMs = int64_t{24} * 3600 * 1000;

static_assert(sizeof(TimerNode) <= 32);

void CancelAll(TimerWheel& wheel, std::vector<std::unique_ptr<TimerNode>>& nodes) {
  for (auto& node : nodes) wheel.Cancel(*node);
}

TEST(TimerWheel, NewWheelHasNothingDue) {
  TimerWheel wheel(12345);
  EXPECT_EQ(wheel.NextMs(), TimerWheel::kNever);
  EXPECT_EQ(wheel.PopDue(INT64_MAX), nullptr);
  EXPECT_EQ(wheel.Count(), 0);
}

TEST(TimerWheel, ANodeFiresAtItsDeadlineAndNotBefore) {
  for (int64_t after_ms : {1, 2, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 1 << 30}) {
    TimerWheel wheel(1000);
    TimerNode node;
    wheel.Arm(node, 1000 + after_ms);
    EXPECT_EQ(wheel.PopDue(1000 + after_ms - 1), nullptr);
    EXPECT_TRUE(node.Armed());
    EXPECT_EQ(wheel.PopDue(1000 + after_ms), &node);
    EXPECT_FALSE(node.Armed());
    EXPECT_EQ(node.DeadlineMs(), 1000 + after_ms);
    EXPECT_EQ(wheel.PopDue(1000 + after_ms), nullptr);
    EXPECT_EQ(wheel.Count(), 0);
  }
}

TEST(TimerWheel, PassedDeadlineFiresAtTheNextPopDue) {
  TimerWheel wheel(1000);
  TimerNode past;
  TimerNode now;
  TimerNode negative;
  wheel.Arm(now, 1000);
  wheel.Arm(past, 3);
  wheel.Arm(negative, -5);
  EXPECT_LE(wheel.NextMs(), 1000);
  EXPECT_EQ(wheel.PopDue(1000), &now);  // Armed for this very tick before the others.
  EXPECT_EQ(wheel.PopDue(1000), &past);
  EXPECT_EQ(past.DeadlineMs(), 3);
  EXPECT_EQ(wheel.PopDue(1000), &negative);
  EXPECT_EQ(wheel.PopDue(1000), nullptr);
}

TEST(TimerWheel, NodesOfOneTickFireInArmingOrder) {
  const int64_t deadline = 5 * kDayMs + 7;
  TimerWheel wheel(0);
  std::vector<std::unique_ptr<TimerNode>> nodes;
  // Each node is armed closer to the deadline than the one before, so the nodes start on different
  // levels.
  for (int64_t before : {5 * kDayMs, kDayMs, int64_t{5000}, int64_t{100}, int64_t{1}, int64_t{0}}) {
    EXPECT_EQ(wheel.PopDue(deadline - before),
              nodes.empty() || before > 0 ? nullptr : nodes[0].get());
    if (before == 0) break;
    nodes.push_back(std::make_unique<TimerNode>());
    wheel.Arm(*nodes.back(), deadline);
    wheel.CheckInvariants();
  }
  for (size_t i = 1; i < nodes.size(); ++i) EXPECT_EQ(wheel.PopDue(deadline), nodes[i].get());
  EXPECT_EQ(wheel.PopDue(deadline), nullptr);
}

TEST(TimerWheel, RearmingMovesTheNodeToTheTail) {
  TimerWheel wheel(0);
  TimerNode a;
  TimerNode b;
  wheel.Arm(a, 10);
  wheel.Arm(b, 10);
  wheel.Arm(a, 10);
  EXPECT_EQ(wheel.Count(), 2);
  EXPECT_EQ(wheel.PopDue(10), &b);
  EXPECT_EQ(wheel.PopDue(10), &a);
}

TEST(TimerWheel, ACancelledNodeDoesNotFire) {
  TimerWheel wheel(0);
  TimerNode a;
  TimerNode b;
  wheel.Cancel(a);  // Not armed: does nothing.
  wheel.Arm(a, 10);
  wheel.Arm(b, 100000);
  wheel.Cancel(a);
  wheel.Cancel(b);
  EXPECT_FALSE(a.Armed());
  EXPECT_EQ(wheel.Count(), 0);
  EXPECT_EQ(wheel.NextMs(), TimerWheel::kNever);
  EXPECT_EQ(wheel.PopDue(200000), nullptr);
}

TEST(TimerWheel, ArmAndCancelCountBetweenTwoPops) {
  TimerWheel wheel(0);
  TimerNode a;
  TimerNode b;
  TimerNode c;
  TimerNode later;
  wheel.Arm(a, 10);
  wheel.Arm(b, 10);
  wheel.Arm(later, 12);
  EXPECT_EQ(wheel.PopDue(20), &a);
  wheel.Cancel(b);   // Due at this very tick.
  wheel.Arm(a, 10);  // Again, at this very tick.
  wheel.Arm(c, 11);  // Has passed too, and is before `later`.
  EXPECT_EQ(wheel.PopDue(20), &a);
  EXPECT_EQ(wheel.PopDue(20), &c);
  EXPECT_EQ(wheel.PopDue(20), &later);
  EXPECT_EQ(wheel.PopDue(20), nullptr);
}

TEST(TimerWheel, NothingArmedInARoundIsDueInIt) {
  TimerWheel wheel(1000);
  TimerNode node;
  wheel.Arm(node, 1001);
  wheel.BeginRound(1005);
  ASSERT_EQ(wheel.PopDue(1005), &node);
  wheel.Arm(node, 3);
  EXPECT_EQ(wheel.PopDue(1005), nullptr);
  wheel.EndRound();
  wheel.CheckInvariants();
  EXPECT_EQ(wheel.PopDue(1006), &node);
  wheel.Arm(node, 3);
  EXPECT_EQ(wheel.PopDue(1006), &node);
}

TEST(TimerWheel, DeferredNodeFiresLastInItsTick) {
  TimerWheel wheel(1000);
  TimerNode first;
  TimerNode second;
  TimerNode later;
  wheel.Arm(first, 1001);
  wheel.Arm(second, 1001);
  wheel.Arm(later, 1002);
  wheel.BeginRound(1005);
  ASSERT_EQ(wheel.PopDue(1005), &first);
  wheel.Defer(first);
  EXPECT_TRUE(first.Armed());
  EXPECT_TRUE(first.Deferred());
  wheel.CheckInvariants();
  EXPECT_EQ(wheel.PopDue(1005), &second);
  EXPECT_EQ(wheel.PopDue(1005), &first);
  EXPECT_TRUE(first.Deferred());
  wheel.Arm(first, 2000);
  EXPECT_FALSE(first.Deferred());
  EXPECT_EQ(wheel.PopDue(1005), &later);
  EXPECT_EQ(wheel.PopDue(1005), nullptr);
  wheel.EndRound();
  wheel.Cancel(first);
}

TEST(TimerWheel, TimeJumpCostsByNodesNotByTicks) {
  TimerWheel wheel(0);
  TimerNode near;
  TimerNode far;
  wheel.Arm(near, 1);
  wheel.Arm(far, INT64_MAX - 1);
  EXPECT_EQ(wheel.PopDue(INT64_MAX - 2), &near);  // Tick by tick this would take ages.
  EXPECT_EQ(wheel.PopDue(INT64_MAX - 2), nullptr);
  wheel.CheckInvariants();
  EXPECT_EQ(wheel.PopDue(INT64_MAX - 1), &far);
}

TEST(TimerWheel, TheFarthestDeadlineIsHeldAndNeverFiresEarly) {
  TimerWheel wheel(kDayMs);
  TimerNode never;
  wheel.Arm(never, TimerWheel::kNever);
  for (int64_t now = kDayMs; now < INT64_MAX / 3; now *= 3) EXPECT_EQ(wheel.PopDue(now), nullptr);
  EXPECT_TRUE(never.Armed());
  wheel.Cancel(never);
}

TEST(TimerWheel, NextMsIsExactWithinSixtyFourTicks) {
  TimerWheel wheel(128);
  TimerNode node;
  for (int64_t deadline = 128; deadline < 192; ++deadline) {
    wheel.Arm(node, deadline);
    EXPECT_EQ(wheel.NextMs(), deadline);
  }
  wheel.Cancel(node);
}

TEST(TimerWheel, FarDeadlineCostsAWorkerFewWakes) {
  std::mt19937_64 draw(1);
  for (int round = 0; round < 2000; ++round) {
    const int64_t start = static_cast<int64_t>(draw() % (1 << 30));
    const int64_t deadline = start + static_cast<int64_t>(draw() >> (1 + draw() % 60) >> 2);
    TimerWheel wheel(start);
    TimerNode node;
    wheel.Arm(node, deadline);
    int wakes = 0;
    int64_t now = start;
    TimerNode* fired = nullptr;
    while (fired == nullptr) {
      const int64_t next = wheel.NextMs();
      ASSERT_LE(next, deadline);
      ASSERT_TRUE(next > now || wakes == 0);  // The worker never wakes twice for the same tick.
      now = next;
      fired = wheel.PopDue(now);
      ++wakes;
    }
    ASSERT_EQ(now, deadline);
    ASSERT_LE(wakes, 11);
    if (deadline - start < 60'000) {
      ASSERT_LE(wakes, 6);
    }
  }
}

TEST(TimerWheelDeathTest, ANodeThatDiesArmedEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        TimerWheel wheel(0);
        TimerNode node;
        wheel.Arm(node, 10);
        {
          TimerNode gone;
          wheel.Arm(gone, 5);
        }
      },
      "Armed");
}

// Compares the wheel with an ordered map of (deadline, order of arming), for random calls.
void CompareWithMap(uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 draw(seed);
  const int node_count = 1 + static_cast<int>(draw() % 200);
  std::vector<std::unique_ptr<TimerNode>> nodes;
  for (int i = 0; i < node_count; ++i) nodes.push_back(std::make_unique<TimerNode>());

  int64_t reached =
      static_cast<int64_t>(draw() >> (1 + draw() % 63));  // The tick that the wheel has reached.
  reached = std::min(reached, INT64_MAX / 2);
  TimerWheel wheel(reached);
  std::multimap<int64_t, TimerNode*> expected;  // Equal keys stay in the order of insertion.
  std::map<TimerNode*, std::multimap<int64_t, TimerNode*>::iterator> where;
  const auto forget = [&](TimerNode* node) {
    const auto it = where.find(node);
    if (it == where.end()) return;
    expected.erase(it->second);
    where.erase(it);
  };
  // A time up to about 2^magnitude away, mostly near.
  const auto distance = [&] {
    const uint64_t magnitudes = draw() % 8 == 0 ? 45 : 14;
    const uint64_t magnitude = draw() % magnitudes;
    return static_cast<int64_t>(draw() & ((uint64_t{1} << magnitude) - 1));
  };
  const auto arm = [&] {
    TimerNode* node = nodes[draw() % nodes.size()].get();
    const int64_t deadline = reached + (draw() % 8 == 0 ? -distance() : distance());
    forget(node);
    where[node] = expected.emplace(std::max(deadline, reached), node);
    wheel.Arm(*node, deadline);
    ASSERT_EQ(node->DeadlineMs(), deadline);
  };
  const auto cancel = [&] {
    TimerNode* node = nodes[draw() % nodes.size()].get();
    forget(node);
    wheel.Cancel(*node);
  };

  for (int step = 0; step < 400; ++step) {
    const uint64_t what = draw() % 4;
    if (what <= 1) {
      arm();
    } else if (what == 2) {
      cancel();
    } else {
      const int64_t now = reached + distance();
      while (true) {
        const bool due = !expected.empty() && expected.begin()->first <= now;
        TimerNode* fired = wheel.PopDue(now);
        ASSERT_EQ(fired, due ? expected.begin()->second : nullptr);
        reached = due ? expected.begin()->first : now;
        if (!due) break;
        ASSERT_FALSE(fired->Armed());
        forget(fired);
        if (draw() % 4 == 0) arm();
        if (draw() % 4 == 0) cancel();
        if (draw() % 16 == 0) break;  // A worker's time limit may end the loop early.
      }
    }
    ASSERT_EQ(wheel.Count(), static_cast<int64_t>(expected.size()));
    if (expected.empty()) {
      ASSERT_EQ(wheel.NextMs(), TimerWheel::kNever);
    } else {
      ASSERT_LE(wheel.NextMs(), expected.begin()->first);
      ASSERT_GE(wheel.NextMs(), reached);
    }
    wheel.CheckInvariants();
  }
  CancelAll(wheel, nodes);
}

TEST(TimerWheel, FiresAsAnOrderedMapWould) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    CompareWithMap(seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace sluice::testing::timer_wheel_test
