// Tests of the life of a write side, its watermarks and its stall clock, without a socket.
#include "sluice/actors/connection/outgoing.h"

#include <cerrno>
#include <string>

#include "gtest/gtest.h"

namespace sluice::testing::outgoing_test {
namespace {

struct Fixture {
  ~Fixture() { outgoing.queue().Clear(lease); }
  bool Append(size_t bytes) { return outgoing.queue().AppendCopy(std::string(bytes, 'x'), lease); }
  Answer Write(size_t bytes, size_t gathered = 0) {
    return outgoing.MayWrite(options, gathered, bytes);
  }

  Options options;
  Budget budget{1 << 24};
  Lease lease{budget, 1};
  Outgoing outgoing;
};

TEST(Outgoing, AHalfCloseSendsTheFinAndGoesOnReading) {
  Outgoing outgoing;
  EXPECT_TRUE(outgoing.HalfClose());
  EXPECT_FALSE(outgoing.HalfClose()) << "the end of the output is told once";
  EXPECT_TRUE(outgoing.FinDue() && !outgoing.Closing());
  outgoing.SentFin();
  EXPECT_TRUE(outgoing.FinSent() && !outgoing.FinDue() && !outgoing.Closing());
}

TEST(Outgoing, ACloseOfEachStateLeadsToOneFinAndThenLingers) {
  for (const bool half_closes : {false, true}) {
    for (const bool fin_sent : {false, true}) {
      Outgoing outgoing;
      if (half_closes) outgoing.HalfClose();
      if (half_closes && fin_sent) outgoing.SentFin();
      EXPECT_EQ(outgoing.Close(), !half_closes);
      EXPECT_FALSE(outgoing.Close());
      EXPECT_TRUE(outgoing.Closing());
      EXPECT_EQ(outgoing.FinDue(), !(half_closes && fin_sent));
      if (outgoing.FinDue()) outgoing.SentFin();
      EXPECT_TRUE(outgoing.FinSent());
      outgoing.Linger(5);
      EXPECT_TRUE(outgoing.Lingering() && outgoing.Closing());
      EXPECT_FALSE(outgoing.Close());
      EXPECT_TRUE(outgoing.Lingering());
    }
  }
}

TEST(OutgoingDeathTest, NoSecondFinAndNoLingeringBeforeIt) {
  Outgoing outgoing;
  EXPECT_DEATH(outgoing.SentFin(), "SLUICE_CHECK");
  outgoing.HalfClose();
  outgoing.SentFin();
  EXPECT_DEATH(outgoing.SentFin(), "SLUICE_CHECK");
  EXPECT_DEATH(outgoing.Linger(0), "SLUICE_CHECK");
}

TEST(Outgoing, GatheredBytesCountAgainstTheMaximum) {
  Fixture f;
  const auto most = static_cast<size_t>(f.options.output_bytes_max);
  EXPECT_EQ(f.Write(most), Answer::kAccepted);
  EXPECT_FALSE(f.outgoing.WantsWritable());
  EXPECT_EQ(f.Write(most + 1), Answer::kTooLarge);
  EXPECT_FALSE(f.outgoing.WantsWritable()) << "no OnWritable can help";
  EXPECT_EQ(f.Write(most - 9, 10), Answer::kFull);
  EXPECT_TRUE(f.outgoing.WantsWritable());
}

TEST(Outgoing, NothingIsAcceptedOrSentBehindAHole) {
  Fixture f;
  ASSERT_TRUE(f.Append(10));
  EXPECT_TRUE(f.outgoing.MaySend());
  EXPECT_EQ(f.outgoing.Keep("kept", f.lease), 0);
  f.outgoing.Refused(ENOMEM);
  EXPECT_EQ(f.outgoing.Keep("lost", f.lease), 4);
  EXPECT_EQ(f.outgoing.size(), 14u);
  EXPECT_EQ(f.Write(1), Answer::kClosed);
  f.outgoing.SetWritable();
  EXPECT_FALSE(f.outgoing.MaySend());
}

TEST(Outgoing, TheStallCountsFromTheLastProgress) {
  Fixture f;
  EXPECT_FALSE(f.outgoing.BeginsToWait(1));
  ASSERT_TRUE(f.Append(10));
  EXPECT_TRUE(f.outgoing.BeginsToWait(2));
  EXPECT_FALSE(f.outgoing.BeginsToWait(3)) << "more output is no progress";
  EXPECT_EQ(f.outgoing.StalledMs(), 2);
  f.outgoing.Sent(4, f.lease);
  EXPECT_TRUE(f.outgoing.BeginsToWait(7));
  EXPECT_EQ(f.outgoing.StalledMs(), 7);
  f.outgoing.Sent(6, f.lease);
  EXPECT_FALSE(f.outgoing.BeginsToWait(8));
  EXPECT_LT(f.outgoing.StalledMs(), 0);
}

TEST(Outgoing, HighOutputHasNoRoomUntilItIsLow) {
  Fixture f;
  const auto high = static_cast<size_t>(f.options.output_bytes_high);
  f.outgoing.NoteHigh(f.options, high);
  EXPECT_TRUE(f.outgoing.HasRoom(f.options, high));
  f.outgoing.NoteHigh(f.options, high + 1);
  EXPECT_FALSE(f.outgoing.HasRoom(f.options, 0)) << "not before TakeHigh";
  EXPECT_TRUE(f.outgoing.TakeHigh());
  EXPECT_FALSE(f.outgoing.TakeHigh());
  EXPECT_TRUE(f.outgoing.HasRoom(f.options, 0));
}

TEST(Outgoing, AChangeOfTheUnacknowledgedNumberIsProgress) {
  Outgoing outgoing;
  EXPECT_EQ(outgoing.UnacknowledgedSince(10, 500, 0), 10);
  EXPECT_EQ(outgoing.UnacknowledgedSince(20, 500, 0), 10);
  EXPECT_EQ(outgoing.UnacknowledgedSince(30, 400, 0), 30);
  EXPECT_EQ(outgoing.UnacknowledgedSince(40, 400, 35), 40) << "the look at 30 does not count";
}

}  // namespace
}  // namespace sluice::testing::outgoing_test
