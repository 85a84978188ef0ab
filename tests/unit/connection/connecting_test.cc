// Tests of when a connect has failed, and when it is tried again.
#include "sluice/actors/connection/connecting.h"

#include "gtest/gtest.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice::testing::connecting_test {
namespace {

constexpr int64_t kNever = TimerWheel::kNever;

TEST(Connecting, TheUsersLimitCountsFromTheStart) {
  const Connecting connecting(100, 40);
  EXPECT_EQ(connecting.DeadlineMs(/*give_up_ms=*/kNever), 140);
  EXPECT_EQ(connecting.DeadlineMs(/*give_up_ms=*/120), 140) << "the user's limit counts alone";
  EXPECT_EQ(Connecting(100, -5).DeadlineMs(kNever), 100);
}

TEST(Connecting, WithoutALimitOnlyAClosedSessionGivesUp) {
  const Connecting connecting(100, kNever);
  EXPECT_EQ(connecting.NextMs(/*give_up_ms=*/kNever), kNever);
  EXPECT_EQ(connecting.NextMs(/*give_up_ms=*/700), 700);
}

TEST(Connecting, AFullBacklogIsTriedAgainUntilTheDeadline) {
  Connecting connecting(100, 25);
  connecting.To(Address(), /*again=*/true);
  EXPECT_EQ(connecting.NextMs(kNever), 110);
  connecting.Tried(112, /*again=*/true);
  EXPECT_EQ(connecting.NextMs(kNever), 122);
  connecting.Tried(122, /*again=*/true);
  EXPECT_EQ(connecting.NextMs(kNever), 125);
  connecting.Tried(122, /*again=*/false);
  EXPECT_FALSE(connecting.Again());
  EXPECT_EQ(connecting.NextMs(kNever), 125);
}

}  // namespace
}  // namespace sluice::testing::connecting_test
