#include "sluice/core/memory/budget.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace sluice::testing::budget_test {
namespace {

constexpr int64_t kOverdraft = Lease::kOverdraftBytesMax;

TEST(AllocatedBytes, IsNeverLessThanWhatMallocTakes) {
  std::mt19937_64 draw(1);
  for (int i = 0; i < 2000; ++i) {
    const size_t requested = i < 600 ? i : draw() % (1 << (1 + i % 22));
    void* memory = std::malloc(requested);
    EXPECT_GE(AllocatedBytes(requested), static_cast<int64_t>(malloc_usable_size(memory)) + 8)
        << requested;
    EXPECT_LE(AllocatedBytes(requested), static_cast<int64_t>(requested) + 32 + 4096 + 16);
    std::free(memory);
  }
  EXPECT_EQ(AllocatedBytes(0), 32);
  EXPECT_EQ(AllocatedBytes(24), 32);
  EXPECT_EQ(AllocatedBytes(25), 48);
  EXPECT_EQ(AllocatedBytes(504), 512);
}

TEST(Budget, IsTakenToTheLastByteAndNotBeyond) {
  Budget budget(1000);
  EXPECT_TRUE(budget.Take(600));
  EXPECT_FALSE(budget.Take(401));
  EXPECT_EQ(budget.UsedBytes(), 600);  // A refused Take takes nothing.
  EXPECT_TRUE(budget.Take(400));
  EXPECT_FALSE(budget.Take(1));
  EXPECT_FALSE(budget.Take(INT64_MAX));
  budget.Give(1000);
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Budget, TakeUpToTakesWhatItsBoundsAllow) {
  Budget budget(1000);
  EXPECT_EQ(budget.TakeUpTo(100, 300), 300);
  EXPECT_EQ(budget.TakeUpTo(100, 5000), 700);
  EXPECT_EQ(budget.TakeUpTo(1, 5000), -1);
  EXPECT_EQ(budget.TakeUpTo(0, 5000), 0);
  budget.Give(1000);
}

TEST(Budget, StaysSpentUntilASixteenthIsFree) {
  Budget budget(1600);
  ASSERT_TRUE(budget.Take(1600));
  EXPECT_FALSE(budget.Spent());  // Full, but no Take was refused.
  EXPECT_FALSE(budget.Take(1));
  EXPECT_TRUE(budget.Spent());
  budget.Give(99);
  EXPECT_TRUE(budget.Spent());
  EXPECT_TRUE(budget.Take(9));  // A spent budget still gives what is free...
  EXPECT_TRUE(budget.Spent());  // ...and a Take that succeeds does not end this state.
  budget.Give(9);
  EXPECT_TRUE(budget.Spent());
  budget.Give(1);
  EXPECT_FALSE(budget.Spent());
  budget.Give(1500);
}

TEST(Budget, IsNotSpentWhileASixteenthIsFree) {
  Budget budget(1600);
  EXPECT_FALSE(budget.Take(1601));
  EXPECT_FALSE(budget.Spent());  // Nothing is taken, so no Give would ever clear it.
  ASSERT_TRUE(budget.Take(1500));
  EXPECT_FALSE(budget.Take(101));
  EXPECT_FALSE(budget.Spent());
  ASSERT_TRUE(budget.Take(1));
  EXPECT_FALSE(budget.Take(100));
  EXPECT_TRUE(budget.Spent());
  budget.Give(1501);
  EXPECT_FALSE(budget.Spent());
}

TEST(Lease, ChargesAreLocalBetweenDrawsFromTheBudget) {
  Budget budget(16'000'000);
  Lease lease(budget, 1);  // At most 1,000,000 idle.
  ASSERT_TRUE(lease.Charge(100));
  const int64_t used = budget.UsedBytes();
  EXPECT_GT(used, 100);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(lease.Charge(100));
  EXPECT_EQ(budget.UsedBytes(), used);
  lease.Refund(100 * 1001);
  EXPECT_EQ(budget.UsedBytes(), used);
}

TEST(Lease, NeverHoldsMoreIdleThanItsShare) {
  Budget budget(16'000'000);
  Lease lease(budget, 4);
  std::mt19937_64 draw(7);
  int64_t charged = 0;
  for (int i = 0; i < 20000; ++i) {
    const int64_t bytes = static_cast<int64_t>(draw() % 300'000);
    if (draw() % 2 == 0 && lease.Charge(bytes)) {
      charged += bytes;
    } else if (bytes <= charged) {
      lease.Refund(bytes);
      charged -= bytes;
    }
    ASSERT_LE(lease.LeftBytes(), 16'000'000 / (16 * 4));
    ASSERT_GE(lease.LeftBytes(), 0);
    ASSERT_EQ(budget.UsedBytes(), charged + lease.LeftBytes());  // L1 for bytes.
  }
  lease.Refund(charged);
}

TEST(Lease, ChargesAMessageLargerThanItsIdleShare) {
  Budget budget(16'000);
  Lease lease(budget, 1);  // 1,000 idle.
  ASSERT_TRUE(lease.Charge(15'500));
  EXPECT_FALSE(lease.Charge(501));
  EXPECT_TRUE(
      lease.Charge(500));  // The last bytes, from what the first draw left or from the budget.
  EXPECT_FALSE(lease.Charge(1));
  EXPECT_EQ(budget.UsedBytes(), 16'000);
  lease.Refund(16'000);
  EXPECT_LE(budget.UsedBytes(), 1'000);
  EXPECT_FALSE(budget.Spent());
}

TEST(Lease, ChargeBeyondTheBudgetIsRefusedWithoutHarm) {
  Budget budget(16'000);
  Lease lease(budget, 1);
  EXPECT_FALSE(lease.Charge(16'001));
  EXPECT_FALSE(lease.Charge(INT64_MAX));
  EXPECT_FALSE(lease.ChargeOverdraft(INT64_MAX));
  EXPECT_EQ(lease.LeftBytes(), 0);
  EXPECT_FALSE(budget.Spent());
}

TEST(Lease, WorksInABudgetWithoutAnyIdleShare) {
  Budget budget(10);
  Lease lease(budget, 8);
  EXPECT_TRUE(lease.Charge(0));
  EXPECT_TRUE(lease.Charge(10));
  EXPECT_FALSE(lease.Charge(1));
  lease.Refund(10);
  EXPECT_EQ(budget.UsedBytes(), 0);
  EXPECT_FALSE(budget.Spent());
}

TEST(Lease, ReturnIdleLeavesOnlyWhatIsCharged) {
  Budget budget(16'000);
  Lease lease(budget, 1);
  ASSERT_TRUE(lease.Charge(100));
  EXPECT_GT(budget.UsedBytes(), 100);
  lease.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), 100);
  EXPECT_EQ(lease.LeftBytes(), 0);
  lease.Refund(100);
}

TEST(Lease, GivesBackWhatIsLeftWhenItDies) {
  Budget budget(16'000);
  {
    Lease lease(budget, 1);
    ASSERT_TRUE(lease.Charge(100));
    lease.Refund(100);
    EXPECT_GT(budget.UsedBytes(), 0);
  }
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Lease, OverdraftIsBoundedWhenTheBudgetIsSpent) {
  Budget budget(16'000);
  Lease lease(budget, 1);
  ASSERT_TRUE(lease.Charge(16'000));
  EXPECT_FALSE(lease.Charge(1));
  EXPECT_TRUE(lease.ChargeOverdraft(kOverdraft - 1));
  EXPECT_FALSE(lease.ChargeOverdraft(2));
  EXPECT_TRUE(lease.ChargeOverdraft(1));
  EXPECT_EQ(lease.LeftBytes(), -kOverdraft);
  EXPECT_EQ(budget.UsedBytes(), 16'000);
  lease.Refund(16'000 + kOverdraft);
}

TEST(Lease, AChargeOfNothingSucceedsInDebtToo) {
  Budget budget(16'000);
  Lease lease(budget, 1);
  ASSERT_TRUE(lease.Charge(16'000));
  ASSERT_TRUE(lease.ChargeOverdraft(100));
  EXPECT_TRUE(lease.Charge(0));
  EXPECT_EQ(lease.LeftBytes(), -100);
  lease.Refund(16'100);
}

TEST(Lease, AChargeAfterADebtPaysTheDebtFirst) {
  Budget budget(1'600'000);
  Lease other(budget, 2);
  Lease lease(budget, 2);
  ASSERT_TRUE(other.Charge(1'600'000));
  ASSERT_TRUE(lease.ChargeOverdraft(1'000));
  other.Refund(1'050);
  other.ReturnIdle();
  EXPECT_FALSE(lease.Charge(100));  // 1,050 are free, and 1,000 of them are owed.
  EXPECT_EQ(lease.LeftBytes(), -1'000);
  EXPECT_TRUE(lease.Charge(50));
  EXPECT_EQ(lease.LeftBytes(), 0);
  EXPECT_EQ(budget.UsedBytes(), 1'600'000);
  EXPECT_TRUE(lease.Charge(0));
  lease.Refund(1'050);
  other.Refund(1'600'000 - 1'050);
}

TEST(Lease, ReturnIdleSettlesADebtRefundedElsewhere) {
  Budget budget(16'000);
  Lease from(budget, 2);
  Lease to(budget, 2);
  ASSERT_TRUE(from.ChargeOverdraft(16'000));
  ASSERT_TRUE(from.ChargeOverdraft(5'000));
  to.Refund(21'000);  // The messages went to `to`, and were freed there.
  to.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), -5'000);
  from.ReturnIdle();
  EXPECT_EQ(from.LeftBytes(), 0);
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Lease, ReturnIdlePaysADebtAsBudgetAllows) {
  Budget budget(16'000);
  Lease lease(budget, 1);
  ASSERT_TRUE(lease.Charge(16'000));
  ASSERT_TRUE(lease.ChargeOverdraft(5'000));
  lease.ReturnIdle();
  EXPECT_EQ(lease.LeftBytes(), -5'000);
  budget.Give(2'000);  // Freed elsewhere.
  lease.ReturnIdle();
  EXPECT_EQ(lease.LeftBytes(), -3'000);
  EXPECT_EQ(budget.UsedBytes(), 16'000);
  lease.Refund(19'000);
}

TEST(L3Bound, SpentBudgetRecoversWhateverTheOrderOfRefunds) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 draw(seed);
    Budget budget(100'000 + static_cast<int64_t>(draw() % 1'000'000));
    Lease leases[] = {Lease(budget, 3), Lease(budget, 3), Lease(budget, 3)};
    std::vector<int64_t> held;
    int64_t sum = 0;
    const auto left = [&] {
      return leases[0].LeftBytes() + leases[1].LeftBytes() + leases[2].LeftBytes();
    };
    while (!budget.Spent()) {
      const int64_t bytes = 1 + static_cast<int64_t>(draw() % 5'000);
      Lease& lease = leases[draw() % 3];
      const bool overdraft = draw() % 4 == 0;
      if (!lease.Charge(bytes, overdraft ? Charging::kOverdraft : Charging::kBudget)) continue;
      held.push_back(bytes);
      sum += bytes;
      ASSERT_EQ(budget.UsedBytes(), sum + left());
      ASSERT_LE(sum, budget.BytesMax() + 3 * kOverdraft);
    }
    while (!held.empty()) {
      std::swap(held[draw() % held.size()], held.back());
      leases[draw() % 3].Refund(held.back());
      sum -= held.back();
      held.pop_back();
      ASSERT_EQ(budget.UsedBytes(), sum + left());
    }
    EXPECT_FALSE(budget.Spent());
    for (Lease& lease : leases) lease.ReturnIdle();
    EXPECT_EQ(budget.UsedBytes(), 0);
  }
}

TEST(L3Bound, ThreadsNeverHoldMoreThanTheBudget) {
  constexpr int kThreads = 4;
  constexpr int64_t kBytesMax = 100'000;
  Budget budget(kBytesMax);
  std::atomic<int64_t> held{0};  // Raised after a Take and lowered before a Give: never too high.
  std::atomic<bool> exceeded{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 draw(t + 1);
      std::vector<int64_t> mine;
      for (int i = 0; i < 50'000; ++i) {
        const int64_t bytes = 1 + static_cast<int64_t>(draw() % 20'000);
        if (budget.Take(bytes)) {
          if (held.fetch_add(bytes) + bytes > kBytesMax) exceeded = true;
          mine.push_back(bytes);
        } else if (!mine.empty()) {
          held.fetch_sub(mine.back());
          budget.Give(mine.back());
          mine.pop_back();
        }
        if (budget.UsedBytes() > kBytesMax) exceeded = true;
      }
      for (int64_t bytes : mine) {
        held.fetch_sub(bytes);
        budget.Give(bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(budget.UsedBytes(), 0);
  EXPECT_FALSE(budget.Spent());  // Holds even when the last refused Take races with the last Give.
}

TEST(L3Bound, WorkersThatHandOverChargesKeepTheBooks) {
  constexpr int kWorkers = 3;
  Budget budget(3'000'000);
  std::atomic<int64_t> in_transit{0};  // Bytes charged here that any worker may refund.
  std::vector<std::thread> threads;
  for (int t = 0; t < kWorkers; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 draw(t + 1);
      Lease lease(budget, kWorkers);
      for (int i = 0; i < 50'000; ++i) {
        const int64_t bytes = 1 + static_cast<int64_t>(draw() % 100'000);
        const Charging how = draw() % 2 == 0 ? Charging::kBudget : Charging::kOverdraft;
        if (draw() % 2 == 0 && lease.Charge(bytes, how)) {
          in_transit.fetch_add(bytes);
        } else {
          lease.Refund(in_transit.exchange(0));
        }
        if (draw() % 64 == 0) lease.ReturnIdle();
      }
      // As at a shutdown: all is freed somewhere, then each worker settles.
      while (true) {
        lease.Refund(in_transit.exchange(0));
        lease.ReturnIdle();
        if (lease.LeftBytes() == 0) break;
        std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  budget.Give(in_transit.load());
  EXPECT_EQ(budget.UsedBytes(), 0);
  EXPECT_FALSE(budget.Spent());
}

}  // namespace
}  // namespace sluice::testing::budget_test
