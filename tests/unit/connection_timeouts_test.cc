// Each timeout of a connection, in virtual time: it fires when it is due, not before, and not when
// there is progress.
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing {
namespace {

using Notes = ScriptSession::Notes;

TEST(ConnectionTimeouts, IdleCountsFromTheLastByteInEitherDirection) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(30);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.Advance(absl::Seconds(29));
  rig.Arrive(wire, "in");
  rig.Settle();
  rig.Advance(absl::Seconds(29));
  notes.session->Write("out");
  rig.Settle();
  rig.Advance(absl::Seconds(29));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kIdle);
  EXPECT_FALSE(wire.reset);
}

TEST(ConnectionTimeouts, IdleFiresThoughTheSessionHasPaused) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(30);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->PauseReading();
  rig.Arrive(wire, "unread");
  rig.Advance(absl::Seconds(30));
  EXPECT_EQ(notes.reason, CloseReason::kIdle);
}

TEST(ConnectionTimeouts, ReadsAndWritesDoNotMoveTheTimer) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(30);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  const int64_t next_ms = rig.worker.timers().NextMs();
  rig.os.Advance(absl::Seconds(1));
  rig.Arrive(wire, "x");
  rig.Settle();
  EXPECT_EQ(rig.worker.timers().NextMs(), next_ms);
  EXPECT_EQ(rig.worker.timers().Count(), 1);
}

TEST(ConnectionTimeouts, LifetimeEndsABusyConnectionToo) {
  Options options = WireOptions();
  options.lifetime_timeout = absl::Seconds(10);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  for (int i = 0; i < 9; ++i) {
    rig.Arrive(wire, "x");
    rig.Advance(absl::Seconds(1));
  }
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kLifetime);
}

TEST(ConnectionTimeouts, WriteStalledCountsFromTheLastProgress) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Write(std::string(1'000, 'x'));
  rig.Settle();
  rig.Advance(absl::Seconds(59));
  rig.Room(wire, 1);
  rig.Settle();
  rig.Advance(absl::Seconds(59));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
  EXPECT_TRUE(wire.reset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 999);
}

TEST(ConnectionTimeouts, AClosingSideThatCannotFlushIsStalledToo) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Write("x");
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(59));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
}

TEST(ConnectionTimeouts, HalfClosedReapsAPeerThatEndedAndASessionThatDoesNot) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_eof = [](ScriptSession&) {};
  rig.Open(wire, notes);
  rig.Settle();
  rig.Advance(absl::Minutes(10));
  rig.Fin(wire);
  rig.Settle();
  rig.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kHalfClosed);
}

TEST(ConnectionTimeouts, HalfClosedReapsAPeerThatNeverEndsAfterOurOwnHalfClose) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->CloseWrite();
  rig.Settle();
  rig.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kHalfClosed);
}

TEST(ConnectionTimeouts, ALingeringCloseGivesUpInTime) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(5) - absl::Milliseconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
}

TEST(ConnectionTimeouts, ALateReaderIsWaitedForAsLongAsItTakesSome) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Write(std::string(1'000, 'x'));
  notes.session->Close();
  rig.Settle();
  for (wire.unacknowledged = 1'000; wire.unacknowledged > 0; wire.unacknowledged -= 200) {
    rig.Advance(absl::Seconds(40));
    EXPECT_FALSE(wire.closed);
  }
  for (int i = 0; i < 13; ++i) rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
}

TEST(ConnectionTimeouts, AReaderThatTakesNothingIsNotWaitedForForEver) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Write(std::string(1'000, 'x'));
  notes.session->Close();
  rig.Settle();
  wire.unacknowledged = 1'000;
  for (int i = 0; i < 14; ++i) rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
}

// A byte now and then is progress, and would hold the connection for as long as the peer likes.
TEST(ConnectionTimeouts, ALateReaderIsWaitedForNoLongerThanCloseTimeout) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.Advance(absl::Minutes(10));  // What was before the close does not count.
  notes.session->Write(std::string(1'000, 'x'));
  notes.session->Close();
  rig.Settle();
  wire.unacknowledged = 1'000;
  for (int s = 10; s < 300; s += 10) {
    --wire.unacknowledged;
    rig.Advance(absl::Seconds(10));
    ASSERT_FALSE(wire.closed) << s;
  }
  rig.Advance(absl::Seconds(10));
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
  EXPECT_TRUE(wire.reset) << "what is cut short must not look like an end";
}

TEST(ConnectionTimeouts, AClosingSideThatFlushesAByteNowAndThenIsBoundedByCloseTimeoutToo) {
  for (const bool ends : {false, true}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    wire.room = 0;
    rig.Open(wire, notes);
    rig.Settle();
    notes.session->Write(std::string(10'000, 'x'));
    rig.Settle();
    rig.Advance(absl::Seconds(5));
    ends ? notes.session->Stop() : notes.session->Close();
    rig.Settle();
    for (int s = 10; s < 300; s += 10) {
      rig.Room(wire, 1);
      rig.Advance(absl::Seconds(10));
      ASSERT_FALSE(wire.closed) << s;
    }
    rig.Advance(absl::Seconds(10));
    EXPECT_TRUE(wire.closed);
    EXPECT_TRUE(wire.reset);
    EXPECT_EQ(rig.Closed(CloseReason::kLingered), 1);
    EXPECT_EQ(rig.Ledger().bytes_lost, 10'000 - 29);
  }
}

TEST(ConnectionTimeouts, InfiniteCloseAndLingerTimeoutsWaitForThePeerForAsLongAsItTakes) {
  Options options = WireOptions();
  options.close_timeout = absl::InfiniteDuration();
  options.linger_timeout = absl::InfiniteDuration();
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Write("x");
  notes.session->Close();
  for (int year = 0; year < 3; ++year) rig.Advance(absl::Hours(24 * 365));
  EXPECT_FALSE(wire.closed);
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionTimeouts, ADeadPeerHasItsOwnReason) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.Reset(wire, ETIMEDOUT);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kDeadPeer);
}

TEST(ConnectionTimeouts, NoTimerStandsForAConnectionThatHasNoDeadline) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Arrive(wire, "x");
  rig.Settle();
  EXPECT_EQ(rig.worker.timers().Count(), 0);
}

TEST(ConnectionTimeouts, ATimeoutOfAgesIsNoOverflow) {
  Options options = WireOptions();
  options.idle_timeout = absl::Hours(int64_t{2'500'000'000'000});
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Advance(absl::Hours(24));
  EXPECT_FALSE(wire.closed);
}

}  // namespace
}  // namespace sluice::testing
