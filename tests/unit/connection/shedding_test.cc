// Tests of connections while memory stays spent: the connections that hold most and stand still are
// ended, no others, and then all goes on.
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::shedding_test {
namespace {

using Notes = ScriptSession::Notes;

// Takes all that is free of a budget, and is refused more.
class Spent {
 public:
  explicit Spent(Rig& rig) : rig_(rig), budget_(rig.runtime.budget()) {
    rig.worker.lease().ReturnIdle();
    bytes_ = budget_.BytesMax() - budget_.UsedBytes();
    EXPECT_TRUE(budget_.Take(bytes_));
    EXPECT_FALSE(budget_.Take(1));
    rig.Settle();
  }
  ~Spent() { Free(); }
  void Free() { budget_.Give(std::exchange(bytes_, 0)); }
  // Spends at once the memory that ended connections gave back.
  void Again() {
    rig_.worker.lease().ReturnIdle();
    const int64_t more = budget_.BytesMax() - budget_.UsedBytes();
    if (more <= 0) return;
    EXPECT_TRUE(budget_.Take(more));
    bytes_ += more;
    EXPECT_FALSE(budget_.Take(1));
  }

 private:
  Rig& rig_;
  Budget& budget_;
  int64_t bytes_ = 0;
};

struct Client {
  Wire& wire;
  Notes& notes;
  bool Open() const { return !wire.closed; }
};

// A connection with `bytes` of output, of which its peer takes nothing.
Client Stalled(Rig& rig, size_t bytes) {
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  wire.room = 0;
  EXPECT_EQ(notes.session->Write(std::string(bytes, 'x')), Answer::kAccepted);
  rig.Settle();
  return {wire, notes};
}
Client Quiet(Rig& rig) {
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  return {wire, notes};
}

// Lets time pass in steps, as a worker that waits for memory wakes.
void Pass(Rig& rig, absl::Duration time) {
  for (absl::Duration step = absl::ZeroDuration(); step < time; step += absl::Milliseconds(5)) {
    rig.Advance(absl::Milliseconds(5));
  }
}

TEST(Shedding, TheHeaviestIsEndedFirstAfterASecond) {
  Rig rig;
  const Client small = Stalled(rig, 100'000);
  const Client large = Stalled(rig, 300'000);
  const Client middle = Stalled(rig, 200'000);
  const Client reader = Quiet(rig);
  Spent spent(rig);
  rig.Arrive(reader.wire, "patience");
  Pass(rig, absl::Milliseconds(995));
  EXPECT_TRUE(large.Open());
  Pass(rig, absl::Milliseconds(50));
  EXPECT_EQ(large.notes.reason, CloseReason::kShed);
  EXPECT_TRUE(large.wire.reset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 300'000);
  EXPECT_TRUE(middle.Open());
  Pass(rig, absl::Milliseconds(100));
  EXPECT_EQ(middle.notes.reason, CloseReason::kShed);
  EXPECT_EQ(small.notes.reason, CloseReason::kShed);
  EXPECT_EQ(rig.Closed(CloseReason::kShed), 3);
  // The reader never stood still, and was served from the reserve meanwhile.
  EXPECT_TRUE(reader.Open());
  EXPECT_EQ(reader.notes.data, "patience");
}

TEST(Shedding, Each100MsTurnEndsTwiceAsMany) {
  Rig rig;
  for (int i = 0; i < 31; ++i) Stalled(rig, 50'000);
  Spent spent(rig);
  Pass(rig, absl::Milliseconds(995));
  int64_t before = 0;
  std::vector<int64_t> ended;
  std::vector<int64_t> ended_ms;
  for (int i = 0; i < 250 && before < 31; ++i) {
    Pass(rig, absl::Milliseconds(5));
    const int64_t now = rig.Closed(CloseReason::kShed);
    if (now > before) {
      ended.push_back(now - before);
      ended_ms.push_back(rig.worker.NowMs());
    }
    before = now;
  }
  ASSERT_EQ(ended, (std::vector<int64_t>{1, 2, 4, 8, 16}));
  for (size_t i = 1; i < ended_ms.size(); ++i) {
    EXPECT_GE(ended_ms[i] - ended_ms[i - 1], 100);
    EXPECT_LE(ended_ms[i] - ended_ms[i - 1], 110);
  }
}

TEST(Shedding, NoMoreAreEndedThanFreeEnough) {
  Rig rig;
  for (int i = 0; i < 12; ++i) Stalled(rig, 900'000);
  Spent spent(rig);  // Five of them hold a sixteenth of 64 MiB.
  Pass(rig, absl::Milliseconds(2'500));
  EXPECT_EQ(rig.Closed(CloseReason::kShed), 5);
}

TEST(Shedding, TheNextShortageContinuesTheDoubling) {
  Rig rig;
  for (int i = 0; i < 12; ++i) Stalled(rig, 900'000);
  Spent spent(rig);
  Pass(rig, absl::Milliseconds(1'500));
  ASSERT_EQ(rig.Closed(CloseReason::kShed), 5);  // Turns of 1, 2, and 2 of 4 connections.
  spent.Again();
  Pass(rig, absl::Milliseconds(110));
  // The turn comes at once, and 5 of its 8 connections are enough.
  EXPECT_EQ(rig.Closed(CloseReason::kShed), 10);
}

// Answers with its input, and with `more` bytes behind it.
Client Answering(Rig& rig, size_t more = 0) {
  auto [wire, notes] = rig.New();
  notes.on_data = [more](ScriptSession& session, Input& in) {
    session.WriteOrAbort(std::string(in.TakeAll()) + std::string(more, 'm'));
  };
  rig.Open(wire, notes);
  rig.Settle();
  return {wire, notes};
}

TEST(Shedding, WhileMemoryIsSpentPeersThatReadAreServed) {
  Options options = WireOptions();
  options.shed_after = absl::InfiniteDuration();
  Rig rig(options);
  const Client reader = Answering(rig);
  const Client stopped = Answering(rig);
  Spent spent(rig);
  std::string asked;
  for (int i = 0; i < 20; ++i) {
    asked += std::string(10'000, static_cast<char>('a' + i));
    rig.Arrive(reader.wire, std::string(10'000, static_cast<char>('a' + i)));
    Pass(rig, absl::Milliseconds(5));
    EXPECT_EQ(reader.wire.output, asked);
  }
  // A connection is not read while its peer does not acknowledge.
  stopped.wire.unacknowledged = 1;
  rig.Arrive(stopped.wire, "more");
  Pass(rig, absl::Milliseconds(500));
  EXPECT_EQ(stopped.wire.output, "");
  stopped.wire.unacknowledged = 0;
  Pass(rig, absl::Milliseconds(10));
  EXPECT_EQ(stopped.wire.output, "more");
}

TEST(Shedding, LongAnswersWaitForMemoryUnharmed) {
  Options options = WireOptions();
  options.shed_after = absl::InfiniteDuration();
  Rig rig(options);
  const Client client = Answering(rig, 700'000);
  rig.Arrive(client.wire, "?");
  rig.Settle();
  const size_t answer = client.wire.output.size();
  Spent spent(rig);
  client.wire.room = 0;
  rig.Arrive(client.wire, "?");
  Pass(rig, absl::Milliseconds(500));
  EXPECT_TRUE(client.Open());
  EXPECT_EQ(client.wire.output.size(), answer);
  spent.Free();
  client.wire.room = INT64_MAX;
  Pass(rig, absl::Milliseconds(10));
  EXPECT_EQ(client.wire.output.size(), 2 * answer);
}

// A peer that reads gets its turn, however many unread connections wait.
TEST(Shedding, OneReaderAmongAThousandIsServedSoon) {
  Options options = WireOptions();
  options.shed_after = absl::InfiniteDuration();
  options.max_connections = 8'192;
  options.actors_max = 16'384;
  Rig rig(options);
  std::vector<Wire*> wires;
  for (int i = 0; i < 1'001; ++i) wires.push_back(&Answering(rig).wire);
  Spent spent(rig);
  for (Wire* wire : wires) {
    wire->unacknowledged = 1;
    rig.Arrive(*wire, "question");
  }
  Pass(rig, absl::Milliseconds(20));
  for (const Wire* wire : wires) ASSERT_EQ(wire->output, "");
  Wire& reader = *wires[500];
  reader.unacknowledged = 0;
  Pass(rig, absl::Milliseconds(25));  // The worker asks 256 of them in 5 ms.
  EXPECT_EQ(reader.output, "question");
}

TEST(Shedding, ABreakInBetweenBeginsTheSecondAnew) {
  Rig rig;
  const Client stalled = Stalled(rig, 300'000);
  Spent spent(rig);
  Pass(rig, absl::Milliseconds(900));
  spent.Free();
  spent.Again();
  Pass(rig, absl::Milliseconds(900));
  EXPECT_TRUE(stalled.Open());
  Pass(rig, absl::Milliseconds(210));
  EXPECT_EQ(stalled.notes.reason, CloseReason::kShed);
}

TEST(Shedding, ShrinkingKernelBufferIsProgress) {
  Rig rig;
  const Client slow = Stalled(rig, 900'000);
  const Client stalled = Stalled(rig, 50'000);
  slow.wire.unacknowledged = 1'000'000;
  stalled.wire.unacknowledged = 1'000'000;
  Spent spent(rig);
  for (int i = 0; i < 40; ++i) {
    slow.wire.unacknowledged -= 1;
    Pass(rig, absl::Milliseconds(500));
  }
  EXPECT_TRUE(slow.Open());
  EXPECT_EQ(stalled.notes.reason, CloseReason::kShed);
  // When that peer stops, too, its connection is ended.
  Pass(rig, absl::Milliseconds(1'300));
  EXPECT_EQ(slow.notes.reason, CloseReason::kShed);
}

TEST(Shedding, PeerThatTakesOutputIsSpared) {
  Rig rig;
  const Client slow = Stalled(rig, 900'000);
  Spent spent(rig);
  for (int i = 0; i < 10; ++i) {
    Pass(rig, absl::Milliseconds(500));
    rig.Room(slow.wire, 10);
    rig.Settle();
    spent.Again();
  }
  EXPECT_TRUE(slow.Open());
}

// A session that consumes nothing until a frame is whole.
Client WithFrame(Rig& rig, size_t bytes) {
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession&, Input&) {};
  rig.Open(wire, notes);
  rig.Settle();
  rig.Arrive(wire, std::string(bytes, 'f'));
  rig.Settle();
  return {wire, notes};
}

TEST(Shedding, AnUnfinishedFrameIsHeldByItsPeer) {
  Rig rig;
  const Client half = WithFrame(rig, 20'000);
  const Client typing = WithFrame(rig, 10);
  Spent spent(rig);
  Pass(rig, absl::Milliseconds(2'500));
  EXPECT_EQ(half.notes.reason, CloseReason::kShed);
  EXPECT_TRUE(typing.Open());  // Holds next to nothing.
}

TEST(Shedding, FrameWithAnUnreadRestIsSpared) {
  Rig rig;
  const Client half = WithFrame(rig, 20'000);
  half.wire.unacknowledged = 1;  // Keeps the worker from reading it with the reserve.
  Spent spent(rig);
  rig.Arrive(half.wire, "the rest");
  Pass(rig, absl::Milliseconds(2'500));
  EXPECT_TRUE(half.Open());
}

// Such frames hold the memory for which their rest waits: before the fix, 400 such peers stopped a
// server for good.
TEST(Shedding, UnreadableFramesEndWhenNothingElseFreesMemory) {
  Rig rig;
  const Client half = WithFrame(rig, 20'000);
  half.wire.unacknowledged = 1;
  Spent spent(rig);
  rig.Arrive(half.wire, "the rest");
  Pass(rig, absl::Milliseconds(3'500));
  EXPECT_EQ(half.notes.reason, CloseReason::kShed);
}

TEST(Shedding, InputThatASessionLeavesIsSpared) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input&) { session.PauseReading(); };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(20'000, 'f'));
  rig.Settle();
  Spent spent(rig);
  Pass(rig, absl::Milliseconds(2'500));
  EXPECT_FALSE(wire.closed);
}

// A connection that holds `bytes` and has a peer that stands still; counts how often it is asked.
class Heavy : public IoHandler {
 public:
  Heavy(Rig& rig, Slot* slot, int64_t bytes) : rig_(rig), slot_(slot), bytes_(bytes) {
    rig.worker.descriptors().Attach(slot, this);
  }
  int64_t StalledBytes(int64_t, int64_t, int64_t) override {
    ++asked_;
    return bytes_;
  }
  void Shed(int64_t, bool) override { bytes_ = -1; }
  void OnShutdown() override { rig_.worker.DetachIo(slot_); }
  void OnEvents(uint32_t) override {}
  void OnTurn() override {}
  void OnSliceEnd() override {}
  void OnUnparked() override {}
  void OnActorEnded(bool) override {}
  void OnDrain() override {}
  void OnDrainClose() override {}
  int Asked() const { return asked_; }
  bool IsShed() const { return bytes_ < 0; }

 private:
  Rig& rig_;
  Slot* const slot_;
  int64_t bytes_;
  int asked_ = 0;
};
class Nobody : public Actor {};

// A look at many connections does not hold the worker, and passes none over.
TEST(Shedding, FindsTheHeaviestWithBoundedWorkPerTurn) {
  constexpr size_t kMany = 20'000;
  // Two looks at 4,096 slots each. The heaviest is asked again in each look, and before it is
  // ended.
  constexpr int kLookMax = 2 * 4'096 + 3;
  Rig rig;
  std::vector<Heavy*> all;
  for (size_t i = 0; i < kMany; ++i) {
    Slot* const slot = rig.worker.life().AllocateSlot();
    ASSERT_NE(slot, nullptr);
    rig.worker.life().Open(slot, 1);
    internal::Construct<Nobody>(rig.worker, slot);
    all.push_back(new Heavy(rig, slot, 10'000 + static_cast<int64_t>(i == kMany - 1)));
  }
  const auto turns = [&](absl::Duration time) {
    for (absl::Duration at; at < time; at += absl::Milliseconds(5)) {
      rig.os.Advance(absl::Milliseconds(5));
      for (rig.os.slept = false; !rig.os.slept;) {
        rig.worker.Turn(rig.worker.NowMs() + 1'000'000'000);
      }
    }
  };
  turns(absl::Milliseconds(5));
  Budget& budget = rig.runtime.budget();
  rig.worker.lease().ReturnIdle();
  const int64_t taken = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(taken));
  ASSERT_FALSE(budget.Take(1));
  const int64_t spent_ms = rig.worker.NowMs();
  const auto asked = [&] {
    int64_t sum = 0;
    for (const Heavy* one : all) sum += one->Asked();
    return sum;
  };
  for (int64_t before = 0; !all.back()->IsShed(); before = asked()) {
    turns(absl::Milliseconds(5));
    ASSERT_LE(asked() - before, kLookMax);
    ASSERT_LT(rig.worker.NowMs(), spent_ms + 3'000);
  }
  for (const Heavy* one : all) {
    ASSERT_GT(one->Asked(), 0);
    ASSERT_EQ(one->IsShed(), one == all.back());
  }
  budget.Give(taken);
}

TEST(Shedding, ForEverMeansNever) {
  Options options = WireOptions();
  options.shed_after = absl::InfiniteDuration();
  Rig rig(options);
  const Client stalled = Stalled(rig, 900'000);
  Spent spent(rig);
  for (int i = 0; i < 50; ++i) rig.Advance(absl::Seconds(1));
  EXPECT_TRUE(stalled.Open());
}

// When no peer stands still, the log names the actors that hold most, once in a while.
TEST(Shedding, LogNamesHeaviestActorsWhenNoPeerStalls) {
  Rig rig;
  struct Big {
    std::string text;
  };
  class Hoarder : public Actor {
   public:
    void On(Big) {}
  };
  std::vector<Ref<Hoarder>> hoarders;
  for (int i = 0; i < 5; ++i) {
    hoarders.push_back(rig.runtime.SpawnWith<Hoarder>(SpawnOptions{
        .name = "hoarder" + std::to_string(i), .mailbox_messages_max = 16, .worker = 0}));
  }
  rig.Settle();
  for (int i = 0; i < 5; ++i) {
    rig.worker.Suspend(hoarders[i].slot());
    for (int n = 0; n <= i; ++n)
      EXPECT_EQ(hoarders[i].TrySend(Big{std::string(100'000, 'x')}), Answer::kAccepted);
  }
  Spent spent(rig);
  const LogLevelScope level(LogLevel::kWarning);
  EXPECT_TRUE(LogFlush());  // Lines of earlier tests.
  ::testing::internal::CaptureStderr();
  Pass(rig, absl::Milliseconds(4'000));
  LogFlush();
  const std::string log = ::testing::internal::GetCapturedStderr();
  const size_t first = log.find("hoarder4 (");
  const size_t second = log.find("hoarder3 (");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_LT(first, second) << log;
  EXPECT_NE(log.find("5 messages in its mailbox"), std::string::npos) << log;
  EXPECT_EQ(log.find("hoarder0"), std::string::npos) << log;
  EXPECT_EQ(log.find("memory: ", log.find("memory: ") + 1), std::string::npos) << "once: " << log;
  spent.Free();
  for (const Ref<Hoarder>& hoarder : hoarders) rig.worker.Resume(hoarder.slot());
  rig.Settle();
}

}  // namespace
}  // namespace sluice::testing::shedding_test
