// A worker's clock: shares, groups of handlers, gaps, and the report of slow handlers.
#include "sluice/core/worker/handler_clock.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "sluice/tests/support/clock_os.h"

namespace sluice::testing::handler_clock_test {
namespace {

class HandlerClockTest : public ::testing::Test {
 protected:
  HandlerClockTest() { clock_.Read(/*slept=*/true); }  // As each turn begins.
  // Notes handlers of `each` until the clock wants to be read. Answers how many.
  int Group(absl::Duration each) {
    int handlers = 0;
    for (bool full = false; !full; ++handlers) {
      os_.Advance(each);
      os_.UseProcessor(each);
      full = clock_.Note(nullptr, "work", nullptr);
    }
    slow_ += clock_.Read(/*slept=*/false);
    return handlers;
  }

  ClockOs os_;
  HandlerClock clock_{os_, /*worker=*/0, /*slow_handler=*/absl::Milliseconds(20)};
  int slow_ = 0;
};

TEST_F(HandlerClockTest, TimeStandsStillBetweenReads) {
  const int64_t then_ns = clock_.NowNs();
  os_.Advance(absl::Seconds(1));
  EXPECT_EQ(clock_.NowNs(), then_ns);
  clock_.Read(/*slept=*/false);
  EXPECT_EQ(clock_.NowNs(), then_ns + 1'000'000'000);
}

TEST_F(HandlerClockTest, ShareEndsWithTheFirstReadBehindIt) {
  clock_.BeginShare(1'000'000);
  EXPECT_FALSE(clock_.ShareOver());
  os_.Advance(absl::Microseconds(999));
  clock_.Read(/*slept=*/false);
  EXPECT_FALSE(clock_.ShareOver());
  os_.Advance(absl::Microseconds(1));
  clock_.Read(/*slept=*/false);
  EXPECT_TRUE(clock_.ShareOver());
}

TEST_F(HandlerClockTest, QuickHandlersShareMoreAndMoreOfARead) {
  for (const int expected : {1, 2, 4, 8, 16, 32, 32}) {
    EXPECT_EQ(Group(absl::Nanoseconds(100)), expected);
  }
}

TEST_F(HandlerClockTest, GroupShrinksToWhatTakes50Microseconds) {
  while (Group(absl::Nanoseconds(100)) < 32) {
  }
  Group(absl::Microseconds(10));  // 320 us: the next group may hold 5.
  EXPECT_EQ(Group(absl::Microseconds(10)), 5);
}

TEST_F(HandlerClockTest, HandlersAreTimedAloneForASecondBehindASlowOne) {
  EXPECT_EQ(Group(absl::Milliseconds(21)), 1);
  EXPECT_EQ(slow_, 1);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Group(absl::Nanoseconds(100)), 1);
  os_.Advance(absl::Seconds(1));
  clock_.Read(/*slept=*/true);
  EXPECT_EQ(Group(absl::Nanoseconds(100)), 1);
  EXPECT_EQ(Group(absl::Nanoseconds(100)), 2);
  EXPECT_EQ(slow_, 1);
}

TEST_F(HandlerClockTest, PreemptedHandlerIsNotReported) {
  os_.Preempt(absl::Milliseconds(500));
  clock_.Note(nullptr, "work", nullptr);
  EXPECT_EQ(clock_.Read(/*slept=*/false), 0);
}

TEST_F(HandlerClockTest, BlockedHandlerIsReported) {
  os_.Block(absl::Milliseconds(21));
  clock_.Note(nullptr, "work", nullptr);
  EXPECT_EQ(clock_.Read(/*slept=*/false), 1);
}

TEST_F(HandlerClockTest, EventNotedBeforeAGapMayBeAsLateAsItsEnd) {
  const int64_t noted_ms = clock_.NowMs();
  os_.Advance(absl::Milliseconds(15));
  clock_.Read(/*slept=*/false);
  EXPECT_EQ(clock_.NotedMs(noted_ms), noted_ms + 15);
  EXPECT_EQ(clock_.NotedMs(noted_ms - 1), noted_ms - 1);
}

TEST_F(HandlerClockTest, SleepIsNoGap) {
  const int64_t noted_ms = clock_.NowMs();
  os_.Advance(absl::Milliseconds(15));
  clock_.Read(/*slept=*/true);
  EXPECT_EQ(clock_.NotedMs(noted_ms), noted_ms);
}

}  // namespace
}  // namespace sluice::testing::handler_clock_test
