// Tests of a connection's deadlines: which is next, and which is judged first.
#include "sluice/actors/connection/deadlines.h"

#include "gtest/gtest.h"
#include "sluice/core/slot/deadline.h"

namespace sluice::testing::deadlines_test {
namespace {

using Due = Deadlines::Due;

Options Finite() {
  Options options;
  options.lifetime_timeout = absl::Milliseconds(1'000);
  options.close_timeout = absl::Milliseconds(100);
  options.linger_timeout = absl::Milliseconds(50);
  options.idle_timeout = absl::Milliseconds(300);
  options.half_closed_timeout = absl::Milliseconds(200);
  options.write_stalled_timeout = absl::Milliseconds(60);
  return options;
}

// Facts of a connection that was opened, and last active, at 0.
Deadlines::Facts Quiet(const Options& options) {
  return {.options = options,
          .active_ms = 0,
          .received_ms = 0,
          .stalled_ms = -1,
          .silent_ms = TimerWheel::kNever,
          .look_ms = TimerWheel::kNever,
          .closing = false,
          .lingering = false,
          .draining = false,
          .drain_reads = false,
          .half_closed = false};
}

TEST(Deadlines, WhatIsNextIsDueThenAndNotBefore) {
  const Options options = Finite();
  const Deadlines deadlines(0);
  const auto expect = [&](const Deadlines::Facts& facts, int64_t at_ms, Due due) {
    EXPECT_EQ(deadlines.NextMs(facts), at_ms);
    EXPECT_EQ(deadlines.DueAt(at_ms - 1, facts), Due::kNothing);
    EXPECT_EQ(deadlines.DueAt(at_ms, facts), due);
  };
  Deadlines::Facts facts = Quiet(options);
  expect(facts, 300, Due::kIdle);
  facts.half_closed = true;
  expect(facts, 200, Due::kHalfClosed);
  facts.look_ms = 150;
  expect(facts, 150, Due::kLook);
  facts.closing = true;
  expect(facts, 100, Due::kClose);
  facts.stalled_ms = 20;
  expect(facts, 80, Due::kWriteStalled);
  facts.lingering = true;
  expect(facts, 50, Due::kLinger);
  Deadlines::Facts active = Quiet(options);
  active.active_ms = 900;
  expect(active, 1'000, Due::kLifetime);
}

TEST(Deadlines, WithoutATimeoutNothingIsEverDue) {
  Options options;
  options.idle_timeout = options.lifetime_timeout = absl::InfiniteDuration();
  const Deadlines deadlines(0);
  const Deadlines::Facts facts = Quiet(options);
  EXPECT_EQ(deadlines.NextMs(facts), TimerWheel::kNever);
  EXPECT_EQ(deadlines.DueAt(TimerWheel::kNever - 1, facts), Due::kNothing);
}

TEST(Deadlines, OfSeveralThatAreDueTheLifetimeIsJudgedFirstAndSilenceLast) {
  const Options options = Finite();
  const Deadlines deadlines(0);
  Deadlines::Facts facts = Quiet(options);
  facts.half_closed = facts.drain_reads = facts.closing = true;
  facts.stalled_ms = 0;
  facts.look_ms = 0;
  EXPECT_EQ(deadlines.DueAt(2'000, facts), Due::kLifetime);
  EXPECT_EQ(deadlines.DueAt(999, facts), Due::kClose);
  facts.closing = false;
  EXPECT_EQ(deadlines.DueAt(999, facts), Due::kDrainSilence);
  facts.drain_reads = false;
  EXPECT_EQ(deadlines.DueAt(999, facts), Due::kLook);
  facts.look_ms = TimerWheel::kNever;
  EXPECT_EQ(deadlines.DueAt(999, facts), Due::kWriteStalled);
  facts.stalled_ms = -1;
  EXPECT_EQ(deadlines.DueAt(999, facts), Due::kIdle);
}

TEST(Deadlines, AHalfCloseCountsFromItsStartAndFromTheLastByte) {
  const Options options = Finite();
  Deadlines deadlines(0);
  Deadlines::Facts facts = Quiet(options);
  facts.half_closed = true;
  facts.active_ms = 40;
  deadlines.BeginHalfClosed(70);
  EXPECT_EQ(deadlines.NextMs(facts), 270);
  facts.active_ms = 90;
  EXPECT_EQ(deadlines.NextMs(facts), 290);
}

TEST(Deadlines, ALingeringStartsWithNothingDiscardedAndIsShorterInADrain) {
  const Options options;
  Deadlines deadlines(0);
  deadlines.BeginDrain(/*quiet_ms=*/500'000'000);
  deadlines.BeginHalfClosed(5);
  deadlines.BeginLinger(1'000);
  EXPECT_EQ(deadlines.DiscardedBytes(), 0u);
  Deadlines::Facts facts = Quiet(options);
  facts.lingering = true;
  EXPECT_EQ(deadlines.NextMs(facts), 1'000 + absl::ToInt64Milliseconds(options.linger_timeout));
  facts.draining = true;
  const int64_t in_drain_ms = deadlines.NextMs(facts);
  EXPECT_LT(in_drain_ms, 1'000 + absl::ToInt64Milliseconds(options.linger_timeout));
  deadlines.RestartLinger(1'007);
  EXPECT_EQ(deadlines.NextMs(facts), in_drain_ms + 7);
  deadlines.Discard(1024 * 1024);
  EXPECT_FALSE(deadlines.DiscardedTooMuch());
  deadlines.Discard(1);
  EXPECT_TRUE(deadlines.DiscardedTooMuch());
}

TEST(Deadlines, ATimeoutPastTheRangeDoesNotOverflow) {
  EXPECT_EQ(TimeoutMs(absl::InfiniteDuration()), TimerWheel::kNever);
  EXPECT_GT(TimeoutMs(absl::Hours(int64_t{1} << 50)) + (int64_t{1} << 61), 0);
}

}  // namespace
}  // namespace sluice::testing::deadlines_test
