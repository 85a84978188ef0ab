// Tests of the input side without a socket: kept bytes, the peer's end, the share of a turn.
#include "sluice/actors/connection/incoming.h"

#include <sys/epoll.h>

#include <string>

#include "gtest/gtest.h"

namespace sluice::testing::incoming_test {
namespace {

struct Fixture {
  ~Fixture() { incoming.Clear(lease); }
  Budget budget{1 << 24};
  Lease lease{budget, 1};
  Incoming incoming{0, 8};
};

TEST(Incoming, BytesThatAreLeftComeBeforeFreshOnes) {
  Fixture f;
  ASSERT_TRUE(f.incoming.Join("abc", f.lease));
  EXPECT_EQ(f.incoming.Offered("abc"), "abc");
  EXPECT_TRUE(f.incoming.Empty()) << "fresh bytes are not copied before they are left";
  ASSERT_TRUE(f.incoming.Keep("c", 3, f.lease));
  ASSERT_TRUE(f.incoming.Join("de", f.lease));
  EXPECT_EQ(f.incoming.Offered("de"), "cde");
  ASSERT_TRUE(f.incoming.Keep("de", 3, f.lease));
  ASSERT_TRUE(f.incoming.Join("", f.lease));
  EXPECT_EQ(f.incoming.Offered(""), "de");
  ASSERT_TRUE(f.incoming.Keep("", 2, f.lease));
  EXPECT_TRUE(f.incoming.Empty());
}

TEST(Incoming, FullFromItsMaximumOn) {
  Fixture f;
  ASSERT_TRUE(f.incoming.Keep("1234567", 7, f.lease));
  EXPECT_FALSE(f.incoming.Full());
  ASSERT_TRUE(f.incoming.Join("8", f.lease));
  EXPECT_TRUE(f.incoming.Full());
  f.incoming.SetBytesMax(9);
  EXPECT_FALSE(f.incoming.Full());
}

TEST(Incoming, ThePeersEndIsKnownThenReadThenTold) {
  Incoming incoming(0, 8);
  EXPECT_FALSE(incoming.NoteEvents(EPOLLIN));
  EXPECT_TRUE(incoming.Readable() && incoming.ShortReadMeansEmpty());
  EXPECT_TRUE(incoming.NoteEvents(EPOLLIN | EPOLLRDHUP));
  EXPECT_TRUE(incoming.EndKnown());
  EXPECT_FALSE(incoming.ReadEnded()) << "unread bytes may precede it";
  EXPECT_FALSE(incoming.ShortReadMeansEmpty());
  EXPECT_FALSE(incoming.NoteEvents(EPOLLHUP)) << "known already";
  incoming.ReadEnd();
  EXPECT_TRUE(incoming.ReadEnded() && !incoming.EofTold());
  incoming.ToldEof();
  incoming.ReadEnd();
  EXPECT_TRUE(incoming.EofTold());
}

TEST(IncomingDeathTest, NoEofIsToldBeforeItIsRead) {
  Incoming incoming(0, 8);
  incoming.NoteEvents(EPOLLRDHUP);
  EXPECT_DEATH(incoming.ToldEof(), "SLUICE_CHECK");
}

TEST(Incoming, TheFirstFrameOfAnOfferNeedsNoTime) {
  Incoming incoming(0, 8);
  EXPECT_TRUE(incoming.AllowsFrame()) << "OnData does not run";
  for (int offer = 0; offer < 2; ++offer) {
    incoming.BeginOffer();
    EXPECT_TRUE(incoming.AllowsFrame());
    EXPECT_FALSE(incoming.AllowsFrame());
    incoming.NoteTurn(/*over=*/false);
    EXPECT_FALSE(incoming.TurnOver());
    EXPECT_FALSE(incoming.AllowsFrame());
    incoming.NoteTurn(/*over=*/true);
    EXPECT_TRUE(incoming.TurnOver());
    incoming.EndOffer();
  }
}

}  // namespace
}  // namespace sluice::testing::incoming_test
