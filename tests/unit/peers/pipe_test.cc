// Tests of two partner pipes: bytes, backpressure, ends and drain, without a kernel.
#include "sluice/actors/peers/pipe.h"

#include <cerrno>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/core/os/address.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::pipe_test {
namespace {

class TestPipe : public Pipe {
 public:
  struct Throw {};
  explicit TestPipe(TestPipe** self, std::string address = "") : self_(self), address_(address) {
    *self = this;
  }
  ~TestPipe() override { *self_ = nullptr; }
  void OnOpen() override {
    if (!address_.empty()) ConnectPartner(*Address::Parse(address_), absl::Seconds(3));
  }
  void On(Throw) { throw std::runtime_error("told to"); }
  using Actor::RefOf;
  using Actor::Stop;
  using Pipe::PairWith;

 private:
  TestPipe** const self_;
  const std::string address_;
};

// A pair of pipes; the far side is connected or still connecting.
class Pair {
 public:
  explicit Pair(Options options = WireOptions(), bool connecting = false)
      : rig(options), near(rig.os.NewWire()), far(rig.os.NewWire()) {
    rig.OpenAs<TestPipe>(near, Connection::Start::kConnected, absl::InfiniteDuration(), &a);
    rig.OpenAs<TestPipe>(
        far, connecting ? Connection::Start::kConnecting : Connection::Start::kConnected,
        absl::Seconds(3), &b);
    a->PairWith(*b);
    rig.Settle();
  }
  void Connected() {
    rig.os.Event(far, EPOLLOUT);
    rig.Settle();
  }
  void BeginDrain() {
    rig.worker.drain().Begin();
    rig.Settle();
    rig.worker.drain().Close();
    rig.Settle();
  }
  bool BothReset() const { return near.closed && near.reset && far.closed && far.reset; }
  bool BothEndedWell() const { return near.closed && !near.reset && far.closed && !far.reset; }

  TestPipe *a = nullptr, *b = nullptr;
  Rig rig;
  Wire& near;
  Wire& far;
};

// --- Calls made too early or too late.

class Hasty : public Pipe {
 public:
  explicit Hasty(absl::Duration timeout) {
    ConnectPartner(*Address::Parse("127.0.0.1:1"), timeout);
  }
};

// Uses all its timers before it connects.
class Busy : public Pipe {
  void OnOpen() override {
    EXPECT_NE(After(absl::Hours(1), [] {}), 0u);
    ConnectPartner(*Target::Parse("no-such-host.invalid:80"), absl::Seconds(3));
  }
};

// Before the fix the call was lost: the client waited for ever, and its bytes were kept.
TEST(Pipe, ConnectPartnerInTheConstructorTakesEffect) {
  for (const absl::Duration timeout : {absl::Seconds(3), absl::Seconds(-1)}) {
    Rig rig;
    Wire& wire = rig.os.NewWire();
    rig.Arrive(wire, "hello");
    rig.OpenAs<Hasty>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), timeout);
    rig.Settle();
    rig.Advance(absl::Milliseconds(5));
    EXPECT_TRUE(wire.closed && wire.reset) << "nobody listens there";
  }
}

TEST(Pipe, PairingWithAnEndedPipeEndsThePipe) {
  Rig rig;
  TestPipe *a = nullptr, *b = nullptr;
  Wire& near = rig.os.NewWire();
  Wire& far = rig.os.NewWire();
  rig.OpenAs<TestPipe>(near, Connection::Start::kConnected, absl::InfiniteDuration(), &a);
  rig.OpenAs<TestPipe>(far, Connection::Start::kConnected, absl::InfiniteDuration(), &b);
  b->connection()->Evict();
  ASSERT_NE(b, nullptr);
  a->PairWith(*b);
  rig.Settle();
  EXPECT_TRUE(near.closed && near.reset);
}

// --- Bytes.

TEST(Pipe, BytesReadAreWrittenInTheSameTurn) {
  Pair pair;
  pair.near.reads = pair.far.writes = 0;
  pair.rig.Arrive(pair.near, "to and");
  pair.rig.Arrive(pair.far, " fro");
  pair.rig.Turn();  // Takes the events.
  pair.rig.Turn();  // Does the work.
  EXPECT_EQ(pair.far.output, "to and");
  EXPECT_EQ(pair.near.output, " fro");
  EXPECT_EQ(pair.near.reads, 1);
  EXPECT_EQ(pair.far.writes, 1);
}

TEST(Pipe, NothingIsReadNorLostBeforeTheConnect) {
  Pair pair(WireOptions(), /*connecting=*/true);
  pair.rig.Arrive(pair.near, "early");
  pair.rig.Fin(pair.near);
  pair.rig.Settle();
  EXPECT_EQ(pair.near.reads, 0);
  pair.Connected();
  EXPECT_EQ(pair.far.output, "early");
  EXPECT_TRUE(pair.far.fin);
}

TEST(Pipe, EveryByteArrivesHoweverTheKernelCutsThem) {
  std::mt19937_64 random(20261124);
  for (int64_t output_max : {1, 5'000, 64 * 1024, 1024 * 1024}) {
    Options options = WireOptions();
    options.output_bytes_max = output_max;
    options.output_bytes_high = std::min<int64_t>(output_max, options.output_bytes_high);
    options.output_bytes_low = options.output_bytes_high / 4;
    Pair pair(options);
    const int pieces = output_max == 1 ? 20 : 200;
    std::string sent[2];
    Wire* wires[2] = {&pair.near, &pair.far};
    for (Wire* wire : wires) wire->room = 0;
    for (int i = 0; i < pieces; ++i) {
      for (int side : {0, 1}) {
        wires[side]->read_max = 1 + random() % 40'000;
        wires[side]->write_max = 1 + random() % 40'000;
        std::string piece(random() % (output_max == 1 ? 50 : 70'000), '\0');
        for (char& byte : piece) byte = static_cast<char>(random());
        sent[side] += piece;
        pair.rig.Arrive(*wires[side], piece);
        pair.rig.Room(*wires[side], static_cast<int64_t>(random() % 60'000));
      }
      pair.rig.Settle();
    }
    for (Wire* wire : wires) {
      pair.rig.Fin(*wire);
      pair.rig.Room(*wire, 100'000'000);
    }
    pair.rig.Settle(200'000);
    EXPECT_TRUE(pair.far.output == sent[0]) << output_max;
    EXPECT_TRUE(pair.near.output == sent[1]) << output_max;
    EXPECT_TRUE(pair.BothEndedWell()) << output_max;
  }
}

// --- Backpressure.

TEST(Pipe, AStoppedReaderStopsOnlyTheOppositeWriter) {
  Pair pair;
  pair.far.room = 0;
  const std::string much(400'000, 'm');
  pair.rig.Arrive(pair.near, much);
  pair.rig.Settle();
  const size_t taken = much.size() - pair.near.input.size();
  EXPECT_GT(taken, 64u * 1024);
  EXPECT_LE(taken, 64u * 1024 + Descriptors::kReadBytes);
  // The other direction continues, though the far side's own output is full.
  pair.rig.Arrive(pair.far, std::string(300'000, 'f'));
  pair.rig.Settle();
  EXPECT_EQ(pair.near.output, std::string(300'000, 'f'));
  while (pair.far.output.size() < much.size()) {
    pair.rig.Room(pair.far, 30'000);
    pair.rig.Settle();
  }
  EXPECT_EQ(pair.far.output, much);
}

TEST(Pipe, TwoStoppedReadersStopBothWritersForNow) {
  Pair pair;
  pair.near.room = pair.far.room = 0;
  const std::string much(400'000, 'm');
  pair.rig.Arrive(pair.near, much);
  pair.rig.Arrive(pair.far, much);
  pair.rig.Settle();
  EXPECT_LE(pair.a->connection()->OutputBytes(), 64u * 1024 + Descriptors::kReadBytes);
  EXPECT_LE(pair.b->connection()->OutputBytes(), 64u * 1024 + Descriptors::kReadBytes);
  for (Wire* wire : {&pair.near, &pair.far}) pair.rig.Room(*wire, 1'000'000);
  pair.rig.Settle();
  EXPECT_EQ(pair.near.output, much);
  EXPECT_EQ(pair.far.output, much);
}

TEST(Pipe, AtRestNothingIsHeld) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, std::string(100'000, 'x'));
  pair.rig.Settle();
  pair.rig.Room(pair.far, 1'000'000);
  pair.rig.Settle();
  pair.rig.worker.lease().ReturnIdle();
  EXPECT_EQ(pair.rig.runtime.budget().UsedBytes(), 0);
  pair.rig.Advance(absl::Minutes(2));  // The stall timer fires once more.
  EXPECT_EQ(pair.rig.worker.timers().Count(), 0);
}

// --- Ends.

TEST(Pipe, HalfCloseFollowsTheLastByteOneWay) {
  for (bool from_near : {true, false}) {
    Pair pair;
    Wire& ending = from_near ? pair.near : pair.far;
    Wire& other = from_near ? pair.far : pair.near;
    other.room = 0;
    pair.rig.Arrive(ending, "last words");
    pair.rig.Fin(ending);
    pair.rig.Settle();
    EXPECT_FALSE(other.fin);
    pair.rig.Room(other, 100);
    pair.rig.Settle();
    EXPECT_EQ(other.output, "last words");
    EXPECT_TRUE(other.fin);
    for (int i = 0; i < 3; ++i) {
      pair.rig.Arrive(other, "more");
      pair.rig.Settle();
    }
    EXPECT_EQ(ending.output, "moremoremore");
    EXPECT_FALSE(ending.fin || ending.closed);
    pair.rig.Fin(other);
    pair.rig.Settle();
    EXPECT_TRUE(ending.fin);
    EXPECT_TRUE(pair.BothEndedWell());
    EXPECT_TRUE(pair.a == nullptr && pair.b == nullptr);
  }
}

TEST(Pipe, OneSideEndsWhileTheOtherFlushes) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, "still on its way");
  pair.rig.Fin(pair.near);
  pair.rig.Fin(pair.far);
  pair.rig.Settle();
  EXPECT_TRUE(pair.near.closed && !pair.near.reset);
  EXPECT_FALSE(pair.far.closed);
  pair.rig.Room(pair.far, 100);
  pair.rig.Settle();
  EXPECT_EQ(pair.far.output, "still on its way");
  EXPECT_TRUE(pair.BothEndedWell());
}

TEST(Pipe, AResetIsPassedOnAsAReset) {
  for (bool from_near : {true, false}) {
    Pair pair;
    pair.rig.Reset(from_near ? pair.near : pair.far);
    pair.rig.Settle();
    EXPECT_TRUE(pair.BothReset()) << from_near;
    EXPECT_EQ(pair.rig.Closed(CloseReason::kReset), 1);
    EXPECT_EQ(pair.rig.Closed(CloseReason::kAborted), 1);
  }
}

// A server has answered, and does not read the rest of the request: HTTP's 413, say. Before the fix
// the relay threw away the part of the answer that it still held.
TEST(Pipe, ResetAfterHalfCloseLosesNoEarlierByte) {
  for (bool from_near : {true, false}) {
    Pair pair;
    Wire& ending = from_near ? pair.near : pair.far;
    Wire& other = from_near ? pair.far : pair.near;
    other.room = 3;
    pair.rig.Arrive(ending, "the answer");
    pair.rig.Fin(ending);
    pair.rig.Settle();
    pair.rig.Reset(ending);
    pair.rig.Settle();
    EXPECT_EQ(other.output, "the");
    EXPECT_FALSE(other.closed);
    pair.rig.Arrive(other, "more for nobody");
    pair.rig.Room(other, 100);
    pair.rig.Settle();
    EXPECT_EQ(other.output, "the answer");
    EXPECT_TRUE(other.fin);
    pair.rig.Fin(other);
    pair.rig.Settle();
    EXPECT_TRUE(other.closed && !other.reset) << from_near;
    EXPECT_TRUE(pair.a == nullptr && pair.b == nullptr);
  }
}

TEST(Pipe, ResetIsNoticedWhileTheOtherSideStalls) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, std::string(400'000, 'x'));
  pair.rig.Settle();
  pair.rig.Reset(pair.near);
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothReset());
}

TEST(Pipe, AResetThatAWriteMeetsEndsBoth) {
  Pair pair;
  pair.far.write_error = EPIPE;
  pair.rig.Arrive(pair.near, "hello?");
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothReset());
}

TEST(Pipe, RefusedConnectResetsTheClient) {
  Pair pair(WireOptions(), /*connecting=*/true);
  pair.rig.Arrive(pair.near, "early");
  pair.far.socket_error = ECONNREFUSED;
  pair.rig.os.Event(pair.far, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
  pair.rig.Settle();
  EXPECT_TRUE(pair.near.closed && pair.near.reset);
  EXPECT_EQ(pair.rig.Closed(CloseReason::kConnectFailed), 1);
}

TEST(Pipe, ConnectTimeoutResetsTheClient) {
  Pair pair(WireOptions(), /*connecting=*/true);
  pair.rig.Advance(absl::Milliseconds(2'999));
  EXPECT_FALSE(pair.near.closed);
  pair.rig.Advance(absl::Milliseconds(2));
  EXPECT_TRUE(pair.near.closed && pair.near.reset);
}

TEST(Pipe, AResetWhileThePartnerConnectsEndsTheConnecting) {
  Pair pair(WireOptions(), /*connecting=*/true);
  pair.rig.Reset(pair.near);
  pair.rig.Settle();
  EXPECT_TRUE(pair.far.closed);
}

// Real sockets: no server is bound to these addresses, so the kernel refuses at once.
TEST(Pipe, ImmediateConnectFailureResetsTheClient) {
  for (const char* address : {"unix:@sluice-pipe-test-nobody", "unix:/no/such/socket"}) {
    Rig rig;
    Wire& wire = rig.os.NewWire();
    TestPipe* pipe = nullptr;
    rig.OpenAs<TestPipe>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &pipe,
                         std::string(address));
    rig.Settle();
    EXPECT_TRUE(wire.closed && wire.reset) << address;
    EXPECT_EQ(pipe, nullptr);
    EXPECT_EQ(rig.Closed(CloseReason::kConnectFailed), 1);
    EXPECT_EQ(rig.worker.desk().actor_count, 0);
  }
}

class Other : public Actor {
 public:
  struct Note {};
  void On(Note) {}
};

// The client has already sent more than may be kept, yet the close reason is not "frame too long".
// The worker is busy, so it reads before the near pipe is notified of its partner's end.
TEST(Pipe, ImmediateConnectFailureBeatsInputFull) {
  Options options = WireOptions();
  options.input_bytes_max = 1'024;
  Rig rig(options);
  Wire& wire = rig.os.NewWire();
  rig.Arrive(wire, std::string(40'000, 'x'));
  TestPipe* pipe = nullptr;
  std::vector<Ref<Other>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(rig.runtime.Spawn<Other>());
  }
  rig.Settle();
  for (const Ref<Other>& other : others) {
    EXPECT_EQ(other.TrySend(Other::Note{}), Answer::kAccepted);
  }
  // Each reading of the clock takes 2 ms, so each turn has time for one actor.
  rig.os.tick_ns = 2'000'000;
  rig.OpenAs<TestPipe>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &pipe,
                       std::string("unix:@sluice-pipe-test-nobody"));
  rig.Settle();
  EXPECT_TRUE(wire.closed && wire.reset);
  EXPECT_EQ(rig.Closed(CloseReason::kInputFull), 0);
  EXPECT_EQ(rig.Closed(CloseReason::kAborted), 1);
}

// Without the timer the pair would wait for a resolver that does not answer, for as long as that
// takes.
TEST(Pipe, ClientIsResetWhenNoTimerIsFree) {
  Options options = WireOptions();
  options.timers_max = 1;
  Rig rig(options);
  Wire& wire = rig.os.NewWire();
  rig.OpenAs<Busy>(wire, Connection::Start::kConnected, absl::InfiniteDuration());
  rig.Settle();
  EXPECT_TRUE(wire.closed && wire.reset);
  EXPECT_EQ(rig.Closed(CloseReason::kAborted), 1);
}

TEST(Pipe, ClientIsResetWhenNoSlotIsFree) {
  Options options = WireOptions();
  options.actors_max = 1;
  Rig rig(options);
  Wire& wire = rig.os.NewWire();
  TestPipe* pipe = nullptr;
  rig.OpenAs<TestPipe>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &pipe,
                       std::string("unix:@sluice-pipe-test-nobody"));
  rig.Settle();
  EXPECT_TRUE(wire.closed && wire.reset);
  EXPECT_EQ(rig.Closed(CloseReason::kRefused), 1);
}

TEST(Pipe, AnActorThatFailsResetsItsPartner) {
  Pair pair;
  ASSERT_EQ(pair.a->RefOf(pair.a).TrySend(TestPipe::Throw{}), Answer::kAccepted);
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothReset());
  EXPECT_EQ(pair.rig.Closed(CloseReason::kFailed), 1);
}

TEST(Pipe, StoppingAnActorClosesBothAfterTheirOutput) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, "accepted");
  pair.rig.Settle();
  pair.a->Stop();
  pair.rig.Settle();
  pair.rig.Room(pair.far, 100);
  pair.rig.Settle();
  EXPECT_EQ(pair.far.output, "accepted");
  EXPECT_TRUE(pair.far.fin && pair.near.fin);
}

TEST(Pipe, NoMemoryForWhatWasReadResetsBoth) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, "x");  // Output is queued: from now on all is copied.
  pair.rig.Settle();
  // The budget is spent between the check before the read and the write: only the overdraft is
  // left, and then not even that.
  Lease& lease = pair.rig.worker.lease();
  Budget& budget = pair.rig.runtime.budget();
  lease.ReturnIdle();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  int64_t overdrawn = 0;
  pair.near.delay = [&] {
    if (overdrawn > 0) return false;
    lease.ReturnIdle();
    EXPECT_TRUE(budget.Take(all));
    while (lease.ChargeOverdraft(1'024)) overdrawn += 1'024;
    return false;
  };
  pair.rig.Arrive(pair.near, std::string(20'000, 'y'));
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothReset());
  EXPECT_EQ(pair.rig.Closed(CloseReason::kMemory), 1);
  pair.near.delay = nullptr;
  lease.Refund(overdrawn);
  budget.Give(all);
}

// --- Time.

TEST(Pipe, SilentHalfClosedPairIsReset) {
  Options options = WireOptions();
  options.half_closed_timeout = absl::Seconds(10);
  Pair pair(options);
  pair.rig.Fin(pair.near);
  pair.rig.Settle();
  for (int i = 0; i < 5; ++i) {  // A peer that goes on sending is not silent.
    pair.rig.Advance(absl::Seconds(9));
    pair.rig.Arrive(pair.far, "x");
    pair.rig.Settle();
  }
  EXPECT_EQ(pair.near.output, "xxxxx");
  pair.rig.Advance(absl::Milliseconds(9'999));
  EXPECT_FALSE(pair.near.closed || pair.far.closed);
  pair.rig.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(pair.BothReset());
}

TEST(Pipe, AnIdlePairIsClosedNotReset) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(10);
  Pair pair(options);
  pair.rig.Advance(absl::Milliseconds(9'999));
  EXPECT_FALSE(pair.near.closed || pair.far.closed);
  pair.rig.Advance(absl::Milliseconds(1));
  pair.rig.Fin(pair.far);
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothEndedWell());
}

TEST(Pipe, IdlePairThatAwaitsAnAnswerIsReset) {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(10);
  Pair pair(options);
  pair.rig.Arrive(pair.near, "question");
  pair.rig.Fin(pair.near);
  pair.rig.Settle();
  pair.rig.Advance(absl::Seconds(10));
  EXPECT_TRUE(pair.near.closed && pair.near.reset);
}

TEST(Pipe, ALifetimeThatIsOverResetsBoth) {
  Options options = WireOptions();
  options.lifetime_timeout = absl::Seconds(10);
  Pair pair(options);
  for (int i = 0; i < 10; ++i) {
    pair.rig.Arrive(pair.near, "x");
    pair.rig.Advance(absl::Seconds(1));
  }
  EXPECT_TRUE(pair.BothReset());
}

TEST(Pipe, ReaderThatStandsStillTooLongResetsBoth) {
  Pair pair;
  pair.far.room = 0;
  pair.rig.Arrive(pair.near, "x");
  pair.rig.Settle();
  pair.rig.Advance(absl::Seconds(59));
  EXPECT_FALSE(pair.far.closed);
  pair.rig.Advance(absl::Seconds(1));
  EXPECT_TRUE(pair.BothReset());
}

// --- Drain.

TEST(Pipe, ADrainClosesAPairThatIsSilent) {
  Pair pair;
  pair.BeginDrain();
  pair.rig.Advance(Pipe::kDrainQuiet);
  EXPECT_TRUE(pair.near.fin && pair.far.fin);
  pair.rig.Advance(absl::Milliseconds(200));
  EXPECT_TRUE(pair.BothEndedWell());
}

TEST(Pipe, DrainLetsAPairContinueWhileBytesFlow) {
  Pair pair;
  pair.BeginDrain();
  for (int i = 0; i < 20; ++i) {
    pair.rig.Arrive(i % 2 == 0 ? pair.near : pair.far, "x");
    pair.rig.Advance(Pipe::kDrainQuiet - absl::Milliseconds(10));
  }
  EXPECT_EQ(pair.near.output, std::string(10, 'x'));
  EXPECT_EQ(pair.far.output, std::string(10, 'x'));
  EXPECT_FALSE(pair.near.fin || pair.far.fin);
}

TEST(Pipe, DrainWaitsForBytesOfALateReader) {
  Pair pair;
  pair.far.room = 0;
  const std::string much(400'000, 'm');
  pair.rig.Arrive(pair.near, much);
  pair.rig.Settle();
  pair.BeginDrain();
  pair.rig.Advance(absl::Seconds(4));
  EXPECT_FALSE(pair.near.fin || pair.far.fin);
  pair.rig.Room(pair.far, 1'000'000);
  pair.rig.Settle();
  EXPECT_EQ(pair.far.output, much);
  pair.rig.Advance(2 * Pipe::kDrainQuiet);
  EXPECT_TRUE(pair.near.fin && pair.far.fin);
}

TEST(Pipe, DrainWaitsForAnAnswerAfterHalfClose) {
  Pair pair;
  pair.rig.Arrive(pair.near, "question");
  pair.rig.Fin(pair.near);
  pair.rig.Settle();
  pair.BeginDrain();
  pair.rig.Advance(absl::Seconds(4));
  pair.rig.Arrive(pair.far, "answer");
  pair.rig.Fin(pair.far);
  pair.rig.Settle();
  EXPECT_EQ(pair.near.output, "answer");
  EXPECT_TRUE(pair.BothEndedWell());
}

TEST(Pipe, ADrainWaitsForAPartnerThatConnects) {
  Pair pair(WireOptions(), /*connecting=*/true);
  pair.rig.Arrive(pair.near, "early");
  pair.BeginDrain();
  pair.rig.Advance(absl::Seconds(2));
  EXPECT_FALSE(pair.near.closed || pair.far.closed);
  pair.Connected();
  EXPECT_EQ(pair.far.output, "early");
  pair.rig.Advance(2 * Pipe::kDrainQuiet);
  EXPECT_TRUE(pair.near.fin && pair.far.fin);
}

TEST(Pipe, FlowingPairIsResetAtTheDrainDeadline) {
  Pair pair;
  pair.rig.Arrive(pair.near, "x");
  pair.BeginDrain();
  pair.rig.worker.drain().ShutdownAll();
  pair.rig.Settle();
  EXPECT_TRUE(pair.BothReset());
  EXPECT_EQ(pair.rig.Closed(CloseReason::kShutdown), 2);
}

}  // namespace
}  // namespace sluice::testing::pipe_test
