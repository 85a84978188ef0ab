#include "sluice/core/actor/rate_limit.h"

#include <cmath>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(RateLimit, ABurstIsFreeAndThenTheRateHolds) {
  RateLimit limit(10, 5);
  const absl::Duration now = absl::Hours(100);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limit.Take(1, now), absl::ZeroDuration()) << i;
  EXPECT_EQ(limit.Take(1, now), absl::Milliseconds(100));
  EXPECT_EQ(limit.Take(2, now), absl::Milliseconds(300)) << "what was taken ahead adds up";
  EXPECT_EQ(limit.Take(0, now + absl::Milliseconds(300)), absl::ZeroDuration());
  EXPECT_EQ(limit.Take(1, now + absl::Milliseconds(300)), absl::Milliseconds(100));
}

TEST(RateLimit, AQuietTimeSavesNoMoreThanABurst) {
  RateLimit limit(10, 3);
  absl::Duration now = absl::Seconds(1);
  (void)limit.Take(3, now);
  now += absl::Hours(1);
  EXPECT_EQ(limit.Take(3, now), absl::ZeroDuration());
  EXPECT_GT(limit.Take(1, now), absl::ZeroDuration());
}

TEST(RateLimit, TryTakeTakesNothingPastTheRate) {
  RateLimit limit(1, 2);
  const absl::Duration now = absl::Seconds(50);
  EXPECT_TRUE(limit.TryTake(2, now));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limit.TryTake(1, now));
  EXPECT_TRUE(limit.TryTake(1, now + absl::Seconds(1)));
  EXPECT_FALSE(limit.TryTake(3, now + absl::Hours(1))) << "more than a burst never fits";
}

TEST(RateLimit, NonsenseIsTheSmallestRate) {
  const double nan = std::nan("");
  RateLimit none(nan, nan);
  (void)none.Take(nan, absl::ZeroDuration());
  EXPECT_TRUE(none.TryTake(1, absl::ZeroDuration()));
  EXPECT_FALSE(none.TryTake(1, absl::Hours(1)));
  RateLimit limit(0, -1);
  EXPECT_EQ(limit.Take(1, absl::ZeroDuration()), absl::ZeroDuration());
  EXPECT_GT(limit.Take(1, absl::ZeroDuration()), absl::Hours(1));
  EXPECT_GT(limit.Take(-5, absl::ZeroDuration()), absl::Hours(1)) << "nothing is given back";
}

}  // namespace
}  // namespace sluice
