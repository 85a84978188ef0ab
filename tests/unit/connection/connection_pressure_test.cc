// Tests of a connection that does not read, as memory is spent or its session is paused or parked,
// and of resets that it must notice even then.
#include <functional>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::connection_pressure_test {
namespace {

using Notes = ScriptSession::Notes;

// A framed session stops between frames when it must, and goes on where it stopped.
void TakeFrames(ScriptSession& session, Input& in, std::string* frames,
                const std::function<void()>& on_frame) {
  while (session.MayGoOn() && in.size() >= 2) {
    *frames += in.Take(2);
    *frames += ' ';
    on_frame();
  }
}

// --- Output.

// Writes for others, as a hub's spoke does.
struct Filler : OutputListener {
  void OnOutputLow(Connection& connection) override {
    if (std::exchange(left, 0) > 0) {
      EXPECT_EQ(connection.Write(Bytes::Copy(std::string(2'000, 'x'))), Answer::kAccepted);
    }
  }
  void OnFlush(Connection&) override {}
  void OnOutputEnded(Connection&) override {}
  int left = 1;
};

// The kernel takes all output at the end of the turn, so no event follows.
TEST(ConnectionPressure, InputIsReadAfterListenerFilledTheOutput) {
  Options options = WireOptions();
  options.output_bytes_high = 1'000;
  options.output_bytes_low = 100;
  Filler filler;  // Outlives the rig: ~Rig notifies it of the connection's end.
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  wire.room = 0;
  EXPECT_EQ(notes.session->Write(Bytes::Copy(std::string(500, 'w'))), Answer::kAccepted);
  rig.Settle();
  notes.session->connection()->AddListener(&filler);
  rig.Arrive(wire, "question");
  rig.Room(wire, 100'000);
  rig.Settle();
  EXPECT_EQ(wire.output.size(), 2'500);
  EXPECT_EQ(notes.data, "question");
}

// --- Memory.

TEST(ConnectionPressure, ReadingPausesOnlyWhileMemoryIsSpent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  Budget& budget = rig.runtime.budget();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(all));
  EXPECT_FALSE(budget.Take(1));
  wire.reads = 0;
  // A peer that acknowledges all may still be read (tests/unit/connection/shedding_test.cc).
  wire.unacknowledged = 1;
  rig.Arrive(wire, "patience");
  rig.Settle();
  EXPECT_EQ(wire.reads, 0);
  budget.Give(all);
  rig.Advance(absl::Milliseconds(10));
  EXPECT_EQ(notes.data, "patience");
}

// Memory comes back, and is spent again before the connection's turn comes. The connection must
// then be queued once more.
TEST(ConnectionPressure, ReaderIsWokenEachTimeMemoryReturns) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  Budget& budget = rig.runtime.budget();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(budget.Take(all));
    EXPECT_FALSE(budget.Take(1));
    rig.Arrive(wire, "x");
    rig.Settle();
    budget.Give(all);
    rig.os.Advance(absl::Milliseconds(10));
    rig.Turn();  // The readers are put on the ready list at the end of this turn.
    ASSERT_TRUE(budget.Take(all));
    EXPECT_FALSE(budget.Take(1));
    rig.Turn();
    rig.Settle();
    budget.Give(all);
    rig.Advance(absl::Milliseconds(10));
    rig.Advance(absl::Milliseconds(10));
    EXPECT_EQ(notes.data, std::string(round + 1, 'x'));
  }
}

TEST(ConnectionPressure, AResetIsNoticedWhileMemoryIsSpent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  Budget& budget = rig.runtime.budget();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(all));
  EXPECT_FALSE(budget.Take(1));
  wire.input = "never read";
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kReset);
  budget.Give(all);
}

// --- Errors, noticed even when the session does not read.

TEST(ConnectionPressure, AResetEndsTheConnectionWithThatReason) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OC");
  EXPECT_EQ(notes.reason, CloseReason::kReset);
  EXPECT_EQ(rig.Closed(CloseReason::kReset), 1);
}

TEST(ConnectionPressure, AResetIsNoticedWhileReadingIsPaused) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->PauseReading();
  wire.input = "unread";
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kReset);
}

// The event came while the session read. The session paused at the bytes in front of the error.
TEST(ConnectionPressure, ResetIsNoticedBehindBytesThatPauseReading) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    in.TakeAll();
    session.PauseReading();
  };
  rig.Open(wire, notes);
  rig.Settle();
  wire.input = std::string(2 * Descriptors::kReadBytes, 'x');
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kReset);
}

TEST(ConnectionPressure, HangUpWhilePausedIsNoBusyLoop) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->PauseReading();
  rig.os.Event(wire, EPOLLIN | EPOLLHUP | EPOLLRDHUP);
  rig.Settle(10);
  EXPECT_FALSE(wire.closed);
}

TEST(ConnectionPressure, EventsOfAJustClosedConnectionReachNobody) {
  Rig rig;
  auto [first, first_notes] = rig.New();
  auto [second, second_notes] = rig.New();
  rig.Open(first, first_notes);
  rig.Open(second, second_notes);
  rig.Settle();
  const auto end_the_other = [](Notes* other) {
    return [other](ScriptSession&, Input& in) {
      in.TakeAll();
      if (other->session != nullptr && other->session->connection() != nullptr)
        other->session->Abort();
    };
  };
  first_notes.on_data = end_the_other(&second_notes);
  second_notes.on_data = end_the_other(&first_notes);
  rig.Arrive(first, "x");
  rig.Arrive(second, "y");
  rig.Settle();
  EXPECT_EQ(rig.Closed(CloseReason::kAborted), 1);
  EXPECT_EQ(rig.Ledger().Open(), 1);
}

// --- Parking: the framework goes on to serve the connection.

// Takes no message while it is suspended: an actor that sends past its capacity is parked.
class Wall : public Actor {
 public:
  explicit Wall(std::string* got) : got_(got) {}
  void On(ScriptSession::Poke poke) { *got_ += static_cast<char>('0' + poke.value); }

 private:
  std::string* got_;
};

struct Walled {
  explicit Walled(Rig& rig)
      : wall(rig.runtime.SpawnWith<Wall>(
            SpawnOptions{.name = "wall", .mailbox_messages_max = 1, .worker = 0}, &got)),
        rig_(rig) {
    rig.Settle();
    Close();
  }
  void Close() { rig_.worker.Suspend(wall.slot()); }
  void Open() { rig_.worker.Resume(wall.slot()); }
  std::string got;
  Ref<Wall> wall;
  Rig& rig_;
};

TEST(ConnectionPressure, ParkedSessionReadsNothingUntilOutboxIsEmpty) {
  Rig rig;
  Walled walled(rig);
  auto [wire, notes] = rig.New();
  std::string frames;
  int number = 0;
  notes.on_data = [&, &notes = notes](ScriptSession& session, Input& in) {
    TakeFrames(session, in, &frames, [&] {
      EXPECT_EQ(notes.session->Send(walled.wall, ScriptSession::Poke{++number}), Answer::kAccepted);
    });
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "aabbccdd");
  rig.Settle();
  EXPECT_EQ(frames, "aa bb ");  // The mailbox holds the first, the outbox the second.
  wire.reads = 0;
  rig.Arrive(wire, "ee");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(wire.reads, 0);
  walled.Open();
  rig.Settle();
  EXPECT_EQ(frames, "aa bb cc dd ee ");
  EXPECT_EQ(walled.got, "12345");
  EXPECT_EQ(notes.reason, CloseReason::kPeerClosed);
}

TEST(ConnectionPressure, AResetIsNoticedWhileTheSessionIsParked) {
  Rig rig;
  Walled walled(rig);
  auto [wire, notes] = rig.New();
  notes.on_data = [&](ScriptSession& session, Input& in) {
    in.TakeAll();
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(session.Send(walled.wall, ScriptSession::Poke{i}), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "park");
  rig.Settle();
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kReset);
  walled.Open();
  rig.Settle();
}

TEST(ConnectionPressure, SenderToAParkedSessionIsNotIdle) {
  for (const bool speaks : {true, false}) {
    Options options = WireOptions();
    options.idle_timeout = absl::Seconds(30);
    Rig rig(options);
    Walled walled(rig);
    auto [wire, notes] = rig.New();
    std::string got;
    notes.on_data = [&](ScriptSession& session, Input& in) {
      got += in.TakeAll();
      for (int i = 0; i < 3; ++i)
        EXPECT_EQ(session.Send(walled.wall, ScriptSession::Poke{i}), Answer::kAccepted);
    };
    rig.Open(wire, notes);
    rig.Settle();
    rig.Arrive(wire, "park ");
    rig.Settle();
    if (speaks) rig.Arrive(wire, "unread");
    rig.Advance(absl::Seconds(29));
    EXPECT_FALSE(wire.closed);
    for (int i = 0; i < 10; ++i) rig.Advance(absl::Seconds(10));
    EXPECT_EQ(wire.closed, !speaks);
    walled.Open();
    rig.Settle();
    if (!speaks) continue;
    EXPECT_EQ(got, "park unread");
    rig.Advance(absl::Seconds(31));
    EXPECT_EQ(notes.reason, CloseReason::kIdle);
  }
}

// The session parks in OnStart, long before the connection is established.
TEST(ConnectionPressure, ParkedSessionGetsOnOpenWhenItResumes) {
  Rig rig;
  Walled walled(rig);
  auto [wire, notes] = rig.New();
  notes.on_start = [&](ScriptSession& session) {
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(session.Send(walled.wall, ScriptSession::Poke{i}), Answer::kAccepted);
  };
  rig.OpenConnecting(wire, notes, absl::Seconds(10));
  rig.Settle();
  rig.os.Event(wire, EPOLLOUT);
  rig.Arrive(wire, "hello");
  rig.Settle();
  EXPECT_EQ(notes.heard, "");
  walled.Open();
  rig.Settle();
  EXPECT_EQ(notes.heard, "OD");
  EXPECT_EQ(notes.data, "hello");
}

}  // namespace
}  // namespace sluice::testing::connection_pressure_test
