#include "sluice/core/runtime/progress_watch.h"

#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::progress_watch_test {
namespace {

using Marks = std::vector<ProgressWatch::Mark>;

class Watch : public ::testing::Test {
 protected:
  Watch() { watch_.Begin(2, now_ms_); }
  void Look(int64_t passed_ms, const Marks& marks) {
    now_ms_ += passed_ms;
    watch_.Look(now_ms_, [&](size_t i) { return marks[i]; });
  }
  ProgressWatch watch_;
  int64_t now_ms_ = 5'000;
};

TEST_F(Watch, IsOverAfterASecondWithoutProgress) {
  const Marks still = {{.steps = 7}, {.steps = 9}};
  Look(1, still);
  for (int i = 0; i < 999; ++i) Look(1, still);
  EXPECT_FALSE(watch_.Over());
  Look(1, still);
  EXPECT_TRUE(watch_.Over());
}

TEST_F(Watch, ProgressOfOneWorkerKeepsTheWatchWaiting) {
  Marks marks = {{.steps = 7}, {.steps = 9}};
  for (int i = 0; i < 3'000; ++i) {
    Look(1, marks);
    if (i % 900 == 0) ++marks[1].steps;
    EXPECT_FALSE(watch_.Over());
  }
}

TEST_F(Watch, AnotherHandlerOfTheSameTurnIsProgress) {
  const int things[3] = {};
  Marks marks(2);
  for (int i = 0; i < 20; ++i) {
    if (i % 4 == 0) marks[0].slot = &things[(i / 4) % 3];
    if (i % 4 == 1) marks[0].message = &things[(i / 4) % 3];
    if (i % 4 == 2) marks[0].handler = &things[(i / 4) % 3];
    if (i % 4 == 3) ++marks[0].steps;
    for (int look = 0; look < 90; ++look) Look(10, marks);
    EXPECT_FALSE(watch_.Over());
  }
}

TEST_F(Watch, AProcessThatStoodStillItselfHasNotLooked) {
  const Marks still(2);
  Look(1, still);
  Look(3'600'000, still);
  EXPECT_FALSE(watch_.Over());
  for (int i = 0; i < 98; ++i) Look(10, still);
  EXPECT_FALSE(watch_.Over());
  Look(10, still);
  EXPECT_TRUE(watch_.Over());
}

TEST_F(Watch, EndlessProgressIsAwaitedForAMinuteOnly) {
  Marks marks(2);
  for (int i = 0; i < 5'999; ++i) {
    ++marks[0].steps;
    Look(10, marks);
  }
  EXPECT_FALSE(watch_.Over());
  Look(10, marks);
  EXPECT_TRUE(watch_.Over());
}

}  // namespace
}  // namespace sluice::testing::progress_watch_test
