// Tests of the one decision for all workers: which connections are ended, when, and that no two
// workers claim the same turn.
#include "sluice/core/memory/shedder.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::shedder_test {
namespace {

using Verdict = Shedder::Verdict;
constexpr int64_t kBudget = 100'000'000;

TEST(Shedder, KnowsSinceWhenTheBudgetIsSpent) {
  Budget budget(1600);
  Shedder shedder(budget, 2, 10);
  EXPECT_EQ(shedder.SpentSinceMs(5'000), -1);
  EXPECT_FALSE(shedder.Watched());
  ASSERT_TRUE(budget.Take(1600));
  EXPECT_FALSE(budget.Take(1));
  EXPECT_EQ(shedder.SpentSinceMs(6'000), 6'000);
  EXPECT_TRUE(shedder.Watched());
  EXPECT_EQ(shedder.SpentSinceMs(6'500), 6'000);
  // The budget is free and spent again between two looks: the time starts again.
  budget.Give(200);
  ASSERT_TRUE(budget.Take(200));
  EXPECT_FALSE(budget.Take(1));
  EXPECT_EQ(shedder.SpentSinceMs(7'000), 7'000);
  budget.Give(1600);
  EXPECT_EQ(shedder.SpentSinceMs(7'001), -1);
  EXPECT_FALSE(shedder.Watched());
}

TEST(Shedder, GreatestProposalIsClaimedOncePer100Ms) {
  Budget budget(kBudget);
  Shedder shedder(budget, 3, 1);
  shedder.Propose(0, 5'000, 1'000);
  shedder.Propose(1, 9'000, 1'000);
  shedder.Propose(2, 7'000, 1'000);
  EXPECT_EQ(shedder.Decide(1, 1'001, 1'000), Verdict::kWait);  // Too early.
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'000), Verdict::kWait);
  EXPECT_EQ(shedder.Decide(2, 1'000, 1'000), Verdict::kWait);
  EXPECT_EQ(shedder.Decide(1, 1'000, 1'000), Verdict::kMine);
  shedder.Propose(1, 0, 1'001);
  EXPECT_EQ(shedder.Decide(2, 1'000, 1'099), Verdict::kWait);
  EXPECT_EQ(shedder.Decide(2, 1'000, 1'100), Verdict::kMine);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'150), Verdict::kWait);
}

TEST(Shedder, ClaimsDoubleUntilThereIsAPause) {
  Budget budget(kBudget);
  Shedder shedder(budget, 2, 1);
  EXPECT_FALSE(shedder.GoesOn(1'000));
  int64_t now_ms = 1'000;
  const auto claim = [&](int worker) {
    shedder.Propose(0, worker == 0 ? 9'000 : 5'000, now_ms);
    shedder.Propose(1, worker == 1 ? 9'000 : 5'000, now_ms);
    EXPECT_EQ(shedder.Decide(worker, 1'000, now_ms), Verdict::kMine);
    return shedder.Connections();
  };
  for (int most = 1; most < 1'024; most *= 2, now_ms += 100) EXPECT_EQ(claim(most % 2), most);
  EXPECT_EQ(claim(0), 1'024);
  now_ms += 2'200;  // Twice shed_after, and two looks.
  EXPECT_TRUE(shedder.GoesOn(now_ms));
  EXPECT_EQ(claim(1), 1'024);
  now_ms += 2'201;
  EXPECT_FALSE(shedder.GoesOn(now_ms));
  EXPECT_EQ(claim(1), 1);
}

TEST(Shedder, AWorkerThatIsHeldIsPassedOver) {
  Budget budget(kBudget);
  Shedder shedder(budget, 2, 1);
  shedder.Propose(0, 5'000, 1'000);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'000), Verdict::kWait);  // Worker 1 may still propose.
  shedder.Propose(0, 5'000, 1'200);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'200), Verdict::kMine);
  // Worker 1 has proposed more, and does not come back.
  shedder.Propose(1, 9'000, 1'210);
  shedder.Propose(0, 5'000, 1'400);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'400), Verdict::kWait);
  shedder.Propose(0, 5'000, 1'500);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'500), Verdict::kMine);
}

TEST(Shedder, TinyConnectionsAreNeverClaimed) {
  Budget budget(kBudget);
  Shedder shedder(budget, 1, 10);
  EXPECT_EQ(shedder.BytesMin(), 1'024);
  shedder.Propose(0, 1'023, 1'000);
  EXPECT_EQ(shedder.Decide(0, 1'000, 1'000), Verdict::kNobody);
  // When so many connections may come that less than 1 KiB each spends the whole budget, the
  // minimum is lower.
  EXPECT_EQ(Shedder(budget, 1, 100'000).BytesMin(), 250);
  EXPECT_EQ(Shedder(budget, 1, INT32_MAX).BytesMin(), 1);
}

// Four threads look as fast as they can, all with similar proposals.
TEST(Shedder, NoTwoWorkersClaimTheSameTurn) {
  constexpr int kWorkers = 4;
  Budget budget(kBudget);
  Shedder shedder(budget, kWorkers, 1);
  std::atomic<int64_t> now_ms{1'000};
  std::atomic<int> claims{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&, w] {
      for (int64_t now = 0; now < 21'000;) {
        now = now_ms.fetch_add(1);
        shedder.Propose(w, 5'000 + (now / 64) % 7 * w, now);
        claims += shedder.Decide(w, 1'000, now) == Verdict::kMine;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(claims, 0);
  EXPECT_LE(claims, 201);  // 20 s, at most one claim per 100 ms.
}

}  // namespace
}  // namespace sluice::testing::shedder_test
