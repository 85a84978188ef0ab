// Tests of each timeout of a connection, in virtual time: it fires when it is due, not before, and
// not when there is progress.
#include <string>

#include "gtest/gtest.h"
#include "sluice/core/actor/rate_limit.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::connection_timeouts_test {
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
  EXPECT_EQ(notes.session->Write("out"), Answer::kAccepted);
  rig.Settle();
  rig.Advance(absl::Seconds(29));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kIdle);
  EXPECT_FALSE(wire.reset);
}

// --- SetReceiveTimeout.

class ReceiveTimeout : public ::testing::Test {
 protected:
  ReceiveTimeout() : peer_(rig_.New()) {
    peer_.notes.on_open = [](ScriptSession& self) { self.SetReceiveTimeout(absl::Seconds(10)); };
  }
  void Open() {
    rig_.Open(peer_.wire, peer_.notes);
    rig_.Settle();
  }
  void EndsAfter(absl::Duration time) {
    rig_.Advance(time - absl::Milliseconds(1));
    EXPECT_FALSE(peer_.wire.closed);
    rig_.Advance(absl::Milliseconds(2));
    EXPECT_TRUE(peer_.wire.closed);
    EXPECT_EQ(CloseReasonName(peer_.notes.reason), "peer silent");
  }
  Rig rig_;
  Rig::Peer peer_;
};

TEST_F(ReceiveTimeout, CountsFromTheLastByteReceived) {
  Open();
  rig_.Advance(absl::Seconds(9));
  rig_.Arrive(peer_.wire, "in");
  rig_.Settle();
  rig_.Advance(absl::Seconds(5));
  EXPECT_EQ(peer_.notes.session->Write("out"), Answer::kAccepted);
  rig_.Settle();
  EndsAfter(absl::Seconds(5));
}

TEST_F(ReceiveTimeout, CountsFromTheCallAndMayBeChanged) {
  Open();
  rig_.Advance(absl::Seconds(9));
  peer_.notes.session->SetReceiveTimeout(absl::Seconds(3));
  EndsAfter(absl::Seconds(3));
}

TEST_F(ReceiveTimeout, AnInfiniteOneIsNone) {
  Open();
  peer_.notes.session->SetReceiveTimeout(absl::InfiniteDuration());
  rig_.Advance(absl::Hours(10));
  EXPECT_FALSE(peer_.wire.closed);
  peer_.notes.session->SetReceiveTimeout(-absl::Seconds(1));
  rig_.Advance(absl::Hours(10));
  EXPECT_FALSE(peer_.wire.closed) << "not positive: none";
}

TEST_F(ReceiveTimeout, CountsFromOnOpenIfItIsSetBefore) {
  peer_.notes.on_open = nullptr;
  peer_.notes.on_start = [](ScriptSession& self) { self.SetReceiveTimeout(absl::Seconds(10)); };
  rig_.OpenConnecting(peer_.wire, peer_.notes, absl::InfiniteDuration());
  rig_.Settle();
  rig_.Advance(absl::Seconds(60));
  ASSERT_FALSE(peer_.wire.closed);
  rig_.os.Event(peer_.wire, EPOLLOUT);
  rig_.Settle();
  ASSERT_EQ(peer_.notes.heard, "O");
  EndsAfter(absl::Seconds(10));
}

TEST_F(ReceiveTimeout, APeerThatWaitsForUsIsNotSilent) {
  Open();
  peer_.notes.session->PauseReading();
  rig_.Advance(absl::Seconds(11));
  peer_.notes.session->ResumeReading();
  rig_.Advance(absl::Seconds(8));
  peer_.wire.room = 0;
  EXPECT_EQ(peer_.notes.session->Write("out"), Answer::kAccepted);
  rig_.Settle();
  rig_.Advance(absl::Seconds(13));
  EXPECT_FALSE(peer_.wire.closed) << "output waits";
  rig_.Advance(absl::Seconds(8));
  rig_.Room(peer_.wire, 100);
  rig_.Settle();
  EndsAfter(absl::Seconds(10));
}

TEST_F(ReceiveTimeout, BeginsAgainWhenThisSideReadsAgain) {
  Open();
  for (int i = 0; i < 3; ++i) {
    rig_.Advance(absl::Seconds(9));
    peer_.notes.session->PauseReading();
    rig_.Advance(absl::Seconds(9));
    peer_.notes.session->ResumeReading();
    rig_.Settle();
  }
  EndsAfter(absl::Seconds(10));
}

TEST_F(ReceiveTimeout, AHalfClosedPeerHasNoMoreToSend) {
  peer_.notes.on_eof = [](ScriptSession&) {};
  Open();
  rig_.Fin(peer_.wire);
  rig_.Settle();
  rig_.Advance(absl::Seconds(60));
  EXPECT_FALSE(peer_.wire.closed);
}

// --- LimitReading.

TEST(LimitReading, APeerThatIsTooFastIsHeldToTheRate) {
  Rig rig;
  Rig::Peer peer = rig.New();
  Wire& wire = peer.wire;
  Notes& notes = peer.notes;
  RateLimit limit(1'000, 100);
  notes.on_data = [&](ScriptSession& self, Input& in) {
    notes.data += in.Peek();
    self.LimitReading(limit, static_cast<double>(in.size()));
    in.Skip(in.size());
  };
  rig.Open(wire, notes);
  wire.tcp = false;  // A short read does not mean that nothing is left.
  wire.read_max = 50;
  rig.Arrive(wire, std::string(5'000, 'x'));
  rig.Settle();
  EXPECT_EQ(notes.data.size(), 150u) << "the burst, and the read that went past it";
  rig.Advance(absl::Seconds(1));
  for (int i = 0; i < 9; ++i) rig.Advance(absl::Milliseconds(100));
  EXPECT_GE(notes.data.size(), 900u);
  EXPECT_LE(notes.data.size(), 2'150u);
  for (int i = 0; i < 100; ++i) rig.Advance(absl::Milliseconds(50));
  EXPECT_EQ(notes.data.size(), 5'000u);
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
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
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

// The kernel reports room only when a third of its buffer is free.
TEST(ConnectionTimeouts, ReaderBelowTheKernelsNoticeIsNotStalled) {
  for (const bool closes : {false, true}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    wire.room = 0;
    rig.Open(wire, notes);
    rig.Settle();
    EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
    if (closes) notes.session->Close();
    rig.Settle();
    for (int i = 1; i <= 3; ++i) {
      rig.Advance(absl::Seconds(30));
      wire.room += 100;  // Without an event.
      rig.Advance(absl::Seconds(30));
      ASSERT_FALSE(wire.closed) << i;
      EXPECT_EQ(wire.output.size(), static_cast<size_t>(100 * i));
    }
    rig.Advance(absl::Seconds(59));
    EXPECT_FALSE(wire.closed);
    rig.Advance(absl::Seconds(1));
    EXPECT_TRUE(wire.closed && wire.reset);
    EXPECT_EQ(rig.Closed(CloseReason::kWriteStalled), 1);
  }
}

TEST(ConnectionTimeouts, AClosingSideThatCannotFlushIsStalledToo) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("x"), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(59));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
}

TEST(ConnectionTimeouts, HalfClosedEndsASessionThatStaysOpen) {
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

TEST(ConnectionTimeouts, HalfClosedReapsPeerAfterOurHalfClose) {
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

// The FIN lies behind bytes that the session does not read, so no read ever finds it.
TEST(ConnectionTimeouts, HalfClosedReapsPeerWithUnreadFin) {
  for (const bool we_ended_too : {false, true}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    rig.Open(wire, notes);
    rig.Settle();
    notes.session->PauseReading();
    if (we_ended_too) notes.session->CloseWrite();
    rig.Arrive(wire, "unread");
    rig.Settle();
    rig.Advance(absl::Minutes(4));
    rig.Fin(wire);
    rig.Settle();
    rig.Advance(absl::Minutes(5) - absl::Milliseconds(1));
    EXPECT_FALSE(wire.closed);
    rig.Advance(absl::Milliseconds(1));
    EXPECT_EQ(notes.reason, CloseReason::kHalfClosed);
  }
}

// The kernel had room for all that was written, so no event says that the peer takes bytes.
TEST(ConnectionTimeouts, APeerThatTakesBytesIsNotSilent) {
  for (const bool half_closed : {false, true}) {
    Options options = WireOptions();
    (half_closed ? options.half_closed_timeout : options.idle_timeout) = absl::Seconds(30);
    Rig rig(options);
    auto [wire, notes] = rig.New();
    notes.on_eof = [](ScriptSession&) {};
    rig.Open(wire, notes);
    if (half_closed) rig.Fin(wire);
    rig.Settle();
    EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
    rig.Settle();
    wire.unacknowledged = 1'000;
    for (int i = 0; i < 9; ++i) {
      rig.Advance(absl::Seconds(20));
      wire.unacknowledged -= 100;
      ASSERT_FALSE(wire.closed) << i;
    }
    // The peer takes no more: the next look sees its last step, the look after that sees none.
    rig.Advance(absl::Seconds(30));
    EXPECT_FALSE(wire.closed);
    rig.Advance(absl::Seconds(30));
    EXPECT_EQ(notes.reason, half_closed ? CloseReason::kHalfClosed : CloseReason::kIdle);
  }
}

TEST(ConnectionTimeouts, PeerThatTakesBytesIsNotEvicted) {
  Rig rig;
  auto [wire, notes] = rig.New();
  Slot* const slot = rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
  rig.Settle();
  rig.Advance(absl::Seconds(10));
  const auto takes = [&] { return Rig::Of(slot)->TakesBytesMeanwhile(); };
  EXPECT_FALSE(takes()) << "it has all";
  wire.unacknowledged = 1'000;
  EXPECT_FALSE(takes()) << "nobody can tell";
  int64_t acknowledged_ms = 10'001;
  wire.acknowledged_ms = [&] { return acknowledged_ms; };
  EXPECT_FALSE(takes()) << "its kernel was silent, too";
  acknowledged_ms = 4'000;
  EXPECT_TRUE(takes()) << "since then it may have taken some";
  rig.Advance(absl::Seconds(10));
  EXPECT_FALSE(takes()) << "it did not: its kernel has answered probes";
  wire.unacknowledged = 900;
  EXPECT_TRUE(takes());
}

TEST(ConnectionTimeouts, PeerWithSilentKernelIsEndedInTime) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(30);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
  rig.Settle();
  wire.unacknowledged = 1'000;
  wire.acknowledged_ms = [&] { return int64_t{30'000}; };
  rig.Advance(absl::Seconds(30) - absl::Milliseconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(notes.reason, CloseReason::kIdle);
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

TEST(ConnectionTimeouts, CloseWaitsWhileALateReaderTakesBytes) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  for (wire.unacknowledged = 1'000; wire.unacknowledged > 0; wire.unacknowledged -= 200) {
    rig.Advance(absl::Seconds(40));
    EXPECT_FALSE(wire.closed);
  }
  for (int i = 0; i < 13; ++i) rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
}

TEST(ConnectionTimeouts, CloseGivesUpOnReaderThatTakesNothing) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  wire.unacknowledged = 1'000;
  for (int i = 0; i < 14; ++i) rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
}

// Shedding looked at the peer while output was queued. That look must not shorten the lingering.
TEST(ConnectionTimeouts, CloseWaitsAsLongAfterSheddingsLook) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  Slot* const slot = rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
  rig.Settle();
  wire.unacknowledged = 5'000;
  EXPECT_EQ(Rig::Of(slot)->StalledBytes(rig.worker.NowMs(), 1'000, 1), 0);
  rig.Room(wire, 1'000);
  rig.Settle();
  notes.session->Close();
  rig.Settle();
  for (int i = 0; i < 11; ++i) {
    rig.Advance(absl::Seconds(5));
    ASSERT_FALSE(wire.closed) << i;
  }
  for (int i = 0; i < 3; ++i) rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kWriteStalled);
}

// A byte now and then is progress, but must not hold the connection for as long as the peer likes.
TEST(ConnectionTimeouts, LateReaderGetsNoLongerThanCloseTimeout) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.Advance(absl::Minutes(10));  // The time before the close does not count.
  EXPECT_EQ(notes.session->Write(std::string(1'000, 'x')), Answer::kAccepted);
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

TEST(ConnectionTimeouts, CloseTimeoutBoundsASlowFlushToo) {
  for (const bool ends : {false, true}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    wire.room = 0;
    rig.Open(wire, notes);
    rig.Settle();
    EXPECT_EQ(notes.session->Write(std::string(10'000, 'x')), Answer::kAccepted);
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

TEST(ConnectionTimeouts, InfiniteCloseAndLingerTimeoutsAwaitThePeer) {
  Options options = WireOptions();
  options.close_timeout = absl::InfiniteDuration();
  options.linger_timeout = absl::InfiniteDuration();
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("x"), Answer::kAccepted);
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

// --- A peer that vanishes when all output is in the kernel already.

// A connection that has written 10 bytes, which its peer has not acknowledged.
struct Written {
  explicit Written(Options options = WireOptions()) : rig(options) {
    rig.Open(wire, notes);
    rig.Settle();
    Write();
  }
  void Write() {
    EXPECT_EQ(notes.session->Write("0123456789"), Answer::kAccepted);
    wire.unacknowledged += 10;
    rig.Settle();
  }
  // From now on the peer gives no sign, though it is asked again each second.
  void Vanish() {
    const int64_t sign_ms = rig.worker.NowMs();
    wire.unanswered_ms = [this, sign_ms] { return rig.worker.NowMs() - sign_ms; };
  }
  void Seconds(int count) {
    for (int i = 0; i < count; ++i) rig.Advance(absl::Seconds(1));
  }
  Rig rig;
  Rig::Peer peer = rig.New();
  Wire& wire = peer.wire;
  Notes& notes = peer.notes;
};

TEST(ConnectionTimeouts, AVanishedPeerIsFoundThoughNothingWaitsHere) {
  Written one;
  one.Vanish();
  one.Seconds(25);
  EXPECT_FALSE(one.wire.closed);
  one.Seconds(2);  // The peer was asked once more, and has had its time to answer.
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
  EXPECT_TRUE(one.wire.reset);
}

TEST(ConnectionTimeouts, VanishedPeerIsFoundThoughMoreIsWritten) {
  Written one;
  one.Seconds(100);
  one.Vanish();
  for (int s = 1; s <= 24; ++s) {
    one.Seconds(1);
    ASSERT_FALSE(one.wire.closed) << s;
    one.Write();
  }
  one.Seconds(6);
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
}

TEST(ConnectionTimeouts, VanishedPeerIsFoundBeforeWriteStalled) {
  Written one;
  one.wire.room = 0;
  one.Write();
  one.Vanish();
  one.Seconds(31);
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
}

TEST(ConnectionTimeouts, AnsweringPeerThatReadsNothingIsNotDead) {
  Written one;
  one.Seconds(10'000);
  EXPECT_FALSE(one.wire.closed);
  EXPECT_GT(one.wire.looks, 900);
}

// Like the kernel's probes of a window that has long been closed: they are minutes apart, so the
// last sign is old at each look, and at some looks a probe has just been sent.
TEST(ConnectionTimeouts, AQuestionThatWasJustAskedSaysNothing) {
  Written one;
  one.wire.unanswered_ms = [&] { return one.wire.looks % 2 == 0 ? 100'000 : 0; };
  one.Seconds(10'000);
  EXPECT_FALSE(one.wire.closed);
}

// The looks came late. Since the previous look the peer has answered, but long ago.
TEST(ConnectionTimeouts, AnAnswerBetweenTwoLateLooksCounts) {
  Written one;
  one.Seconds(7);
  one.wire.unanswered_ms = [] { return 26'000; };
  for (int i = 0; i < 50; ++i) one.rig.Advance(absl::Seconds(40));
  EXPECT_FALSE(one.wire.closed);
  one.Vanish();
  one.Seconds(32);
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
}

// Asks as Linux does: at once, after first_ms, and then each time after twice as long as before.
struct Retransmissions {
  explicit Retransmissions(Written& one, int64_t first_ms = 200)
      : one_(one), first_ms_(first_ms), began_ms_(one.rig.worker.NowMs()) {
    one.wire.unanswered = [this] {
      const int64_t silent_ms = one_.rig.worker.NowMs() - began_ms_;
      int64_t last_ms = 0;
      for (int64_t wait_ms = first_ms_; last_ms + wait_ms <= silent_ms; wait_ms *= 2) {
        last_ms += wait_ms;
      }
      return Unanswered{silent_ms, silent_ms, silent_ms - last_ms};
    };
  }
  // Time of the first retransmission after `after_ms`; both count from the first.
  int64_t NextMs(int64_t after_ms) const {
    int64_t at_ms = 0;
    for (int64_t wait_ms = first_ms_; at_ms <= after_ms; wait_ms *= 2) at_ms += wait_ms;
    return at_ms;
  }
  Written& one_;
  const int64_t first_ms_;
  const int64_t began_ms_;
};

TEST(ConnectionTimeouts, RepairedLinkLivesUntilItsNextRetransmission) {
  for (int cut_s = 1; cut_s < 25; ++cut_s) {
    Written one;
    one.Seconds(3);
    const Retransmissions retransmissions(one);
    const int64_t until_ms = retransmissions.NextMs(cut_s * 1'000);
    for (int64_t ms = 0; ms < until_ms; ms += 200) one.rig.Advance(absl::Milliseconds(200));
    EXPECT_FALSE(one.wire.closed) << "cut for " << cut_s << " s, asked after " << until_ms << " ms";
    one.wire.unanswered = nullptr;
    one.Seconds(100);
    EXPECT_FALSE(one.wire.closed);
  }
}

TEST(ConnectionTimeouts, DeadPeerIsFoundAfterTheNextRetransmission) {
  for (const int64_t first_ms : {200, 250, 300, 420, 800}) {
    Written one;
    one.Seconds(3);
    const Retransmissions retransmissions(one, first_ms);
    const int64_t asked_ms = retransmissions.NextMs(25'000);
    while (!one.wire.closed && one.rig.worker.NowMs() < retransmissions.began_ms_ + 60'000) {
      one.rig.Advance(absl::Milliseconds(200));
    }
    const int64_t took_ms = one.rig.worker.NowMs() - retransmissions.began_ms_;
    EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
    EXPECT_GT(took_ms, asked_ms + 999);
    EXPECT_LT(took_ms, asked_ms + 3'200);
    EXPECT_LT(took_ms, 2 * 25'000 + first_ms + 3'200);
  }
}

// Probes of a closed window are far apart, and the kernel does not say when it sent the last one.
TEST(ConnectionTimeouts, AClosedWindowsProbesAreWaitedForToo) {
  Written one;
  const auto probed = [&](uint32_t probes, int64_t silent_ms) {
    one.wire.unanswered = [probes, silent_ms, &one, at_ms = one.rig.worker.NowMs()] {
      Unanswered unanswered{silent_ms + one.rig.worker.NowMs() - at_ms};
      unanswered.probes = probes;
      return unanswered;
    };
  };
  probed(1, 60'000);  // The last answer is as old as the last probe.
  one.Seconds(60);
  EXPECT_FALSE(one.wire.closed);
  probed(2, 120'000);
  one.Seconds(3);
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
}

TEST(ConnectionTimeouts, PeerThatAcknowledgedAllNeedsNoTimer) {
  Written one;
  one.wire.unacknowledged = 0;
  EXPECT_EQ(one.rig.worker.timers().Count(), 1);
  one.Seconds(10);
  EXPECT_EQ(one.rig.worker.timers().Count(), 0);
  EXPECT_EQ(one.wire.looks, 0);
  one.Write();
  EXPECT_EQ(one.rig.worker.timers().Count(), 1);
  one.Seconds(10);
  EXPECT_EQ(one.wire.looks, 1);
}

TEST(ConnectionTimeouts, WritesDoNotMoveTheLook) {
  Written one;
  for (int i = 0; i < 9; ++i) {
    one.Seconds(1);
    const int64_t next_ms = one.rig.worker.timers().NextMs();
    one.Write();
    EXPECT_EQ(one.rig.worker.timers().NextMs(), next_ms);
  }
  EXPECT_EQ(one.rig.worker.timers().Count(), 1);
}

TEST(ConnectionTimeouts, AnInfiniteUnacknowledgedTimeoutLeavesItToTheKernel) {
  Options options = WireOptions();
  options.unacknowledged_timeout = absl::InfiniteDuration();
  Written one(options);
  one.Vanish();
  EXPECT_EQ(one.rig.worker.timers().Count(), 0);
  one.rig.Advance(absl::Hours(24));
  EXPECT_FALSE(one.wire.closed);
}

TEST(ConnectionTimeouts, ATinyUnacknowledgedTimeoutIsNoBusyLoop) {
  Options options = WireOptions();
  options.unacknowledged_timeout = absl::Milliseconds(1);
  Written one(options);
  one.Seconds(5);
  EXPECT_LE(one.wire.looks, 5);
  one.Vanish();
  one.Seconds(3);
  EXPECT_EQ(one.notes.reason, CloseReason::kDeadPeer);
}

TEST(ConnectionTimeouts, ConnectionWithoutADeadlineHasNoTimer) {
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
}  // namespace sluice::testing::connection_timeouts_test
