// Tests of when a silent peer counts as dead, from looks with chosen answers.
#include "sluice/actors/connection/silence.h"

#include "gtest/gtest.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice::testing::silence_test {
namespace {

constexpr int64_t kTimeoutMs = 25'000;

// A look that finds data unanswered, which was last sent `last_ms` ago.
Unanswered Data(int64_t last_ms, int64_t round_trip_ms = 0) {
  Unanswered look;
  look.silent_ms = 100'000;
  look.last_ms = last_ms;
  look.round_trip_ms = round_trip_ms;
  return look;
}

Unanswered Probes(uint32_t probes) {
  Unanswered look;
  look.silent_ms = 100'000;
  look.probes = probes;
  return look;
}

TEST(Silence, APeerThatWasNotAskedAfterTheTimeoutIsNotDead) {
  Silence silence(0);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs - 1, Data(0), kTimeoutMs));
  // The last retransmission was before the timeout: the link may have been repaired since.
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 10'000, Data(10'001), kTimeoutMs));
}

TEST(Silence, APeerIsDeadWhenItHadTimeForALateQuestion) {
  Silence silence(0);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 500, Data(0), kTimeoutMs));
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 1'499, Data(999), kTimeoutMs));
  EXPECT_TRUE(silence.IsDead(kTimeoutMs + 1'500, Data(1'000), kTimeoutMs));
}

TEST(Silence, ALongRoundTripGetsItsTime) {
  Silence silence(0);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs, Data(0, 3'000), kTimeoutMs));
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 2'999, Data(2'999, 3'000), kTimeoutMs));
  EXPECT_TRUE(silence.IsDead(kTimeoutMs + 3'000, Data(3'000, 3'000), kTimeoutMs));
}

TEST(Silence, ProbesShowAQuestionWhenTheirNumberGrows) {
  Silence silence(0);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs, Probes(4), kTimeoutMs));
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 5'000, Probes(4), kTimeoutMs));
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 6'000, Probes(5), kTimeoutMs));
  EXPECT_TRUE(silence.IsDead(kTimeoutMs + 7'000, Probes(5), kTimeoutMs));
}

TEST(Silence, ASignOfLifeBeginsANewSilence) {
  Silence silence(0);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs, Data(0), kTimeoutMs));
  silence.HeardAt(kTimeoutMs + 500);
  EXPECT_FALSE(silence.IsDead(kTimeoutMs + 2'000, Data(1'000), kTimeoutMs));
  silence.HeardAt(kTimeoutMs);  // Older: no news.
  EXPECT_EQ(Silence::NextLookMs(0, kTimeoutMs, &silence), kTimeoutMs / 5);
  EXPECT_FALSE(silence.IsDead(2 * kTimeoutMs + 499, Data(0), kTimeoutMs));
}

TEST(Silence, LooksComeCloserWhileAPeerIsSilent) {
  EXPECT_EQ(Silence::NextLookMs(50'000, TimerWheel::kNever, nullptr), TimerWheel::kNever);
  EXPECT_EQ(Silence::NextLookMs(50'000, kTimeoutMs, nullptr), 60'000);
  const Silence silence(50'000);
  EXPECT_EQ(Silence::NextLookMs(50'000, kTimeoutMs, &silence), 55'000);
  EXPECT_EQ(Silence::NextLookMs(72'000, kTimeoutMs, &silence), 75'000) << "the timeout itself";
  EXPECT_EQ(Silence::NextLookMs(80'000, kTimeoutMs, &silence), 81'000);
}

}  // namespace
}  // namespace sluice::testing::silence_test
