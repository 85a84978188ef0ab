// Tests of a connection's writes: gathered, in order, within its bound; watermarks, and listeners
// that are notified of room.
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::connection_write_test {
namespace {

using Notes = ScriptSession::Notes;

std::string Numbered(size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + ' ';
  text.resize(size);
  return text;
}

TEST(ConnectionWrite, SmallWritesOfOneCallbackLeaveTogether) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    in.TakeAll();
    for (const char* word : {"one ", "two ", "three"})
      EXPECT_EQ(session.Write(word), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "?");
  rig.Settle();
  EXPECT_EQ(wire.output, "one two three");
  EXPECT_EQ(wire.writes, 1);
}

TEST(ConnectionWrite, EchoedMessageTakesOneReadAndOneWrite) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Settle();
  wire.reads = 0;
  rig.Arrive(wire, "echo");
  rig.Settle();
  EXPECT_EQ(wire.output, "echo");
  EXPECT_EQ(wire.reads + wire.writes, 2);
}

// The gather buffer belongs to the worker: the connection that writes next takes it, and no bytes
// are mixed up.
TEST(ConnectionWrite, ConnectionsOfOneHandlerShareTheGatherBuffer) {
  Rig rig;
  auto [first, first_notes] = rig.New();
  auto [second, second_notes] = rig.New();
  rig.Open(first, first_notes);
  rig.Open(second, second_notes);
  rig.Settle();
  second.room = 3;
  first_notes.on_data = [&, &second_notes = second_notes](ScriptSession& session, Input& in) {
    in.TakeAll();
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(session.Write("a"), Answer::kAccepted);
      EXPECT_EQ(second_notes.session->Write("bb"), Answer::kAccepted);
    }
  };
  rig.Arrive(first, "?");
  rig.Settle();
  EXPECT_EQ(first.output, "aaa");
  EXPECT_EQ(second.output, "bbb");
  rig.Room(second, 100);
  rig.Settle();
  EXPECT_EQ(second.output, "bbbbbb");
}

TEST(ConnectionWrite, BytesKeepTheirOrderThroughOneByteWrites) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.write_max = 1;
  wire.room = 0;
  const std::string small = Numbered(700), large = Numbered(40'000), shared = Numbered(5'000);
  notes.on_open = [&](ScriptSession& session) {
    EXPECT_EQ(session.Write(small), Answer::kAccepted);
    EXPECT_EQ(session.Write(large), Answer::kAccepted);
    EXPECT_EQ(session.Write(Bytes::Copy(shared)), Answer::kAccepted);
    EXPECT_EQ(session.Write(small), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  const std::string all = small + large + shared + small;
  while (wire.output.size() < all.size()) {
    rig.Room(wire, 997);
    rig.Settle();
  }
  EXPECT_EQ(wire.output, all);
}

TEST(ConnectionWrite, LargeWriteFollowsGatheredBytesWithoutACopy) {
  Rig rig;
  auto [wire, notes] = rig.New();
  const std::string large = Numbered(200'000);
  notes.on_open = [&](ScriptSession& session) {
    EXPECT_EQ(session.Write("head "), Answer::kAccepted);
    EXPECT_EQ(session.Write(large), Answer::kAccepted);
    EXPECT_EQ(session.Write(" tail"), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(wire.output, "head " + large + " tail");
}

TEST(ConnectionWrite, ReadingStopsAndResumesAtTheWatermarks) {
  Rig rig;
  auto [wire, notes] = rig.New();
  const Options& options = rig.runtime.options();
  wire.room = 0;
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  const std::string sent = Numbered(300'000);
  rig.Arrive(wire, sent);
  rig.Settle();
  const int64_t held =
      static_cast<int64_t>(Rig::Of(notes.session->connection()->slot())->OutputBytes());
  EXPECT_GT(held, options.output_bytes_high);
  EXPECT_LE(held, options.output_bytes_high + static_cast<int64_t>(Descriptors::kReadBytes));
  const int reads = wire.reads;
  rig.Room(wire, held - options.output_bytes_low - 1);
  rig.Settle();
  EXPECT_EQ(wire.reads, reads);
  rig.Room(wire, 1);
  rig.Settle();
  EXPECT_GT(wire.reads, reads);
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle();
  EXPECT_EQ(wire.output, sent);
}

TEST(ConnectionWrite, WritePastMaximumIsRefusedUntilOnWritable) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  const size_t bytes_max = static_cast<size_t>(rig.runtime.options().output_bytes_max);
  EXPECT_EQ(notes.session->Write(std::string(bytes_max, 'x')), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write("y"), Answer::kFull);
  EXPECT_EQ(notes.session->Write(Bytes::Copy("y")), Answer::kFull);
  EXPECT_EQ(notes.session->OutputBytes(), bytes_max);
  rig.Settle();
  EXPECT_EQ(notes.heard, "O");
  rig.Room(wire, static_cast<int64_t>(bytes_max) - rig.runtime.options().output_bytes_low);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OW");
  EXPECT_EQ(notes.session->Write("y"), Answer::kAccepted);
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle();
  EXPECT_EQ(wire.output, std::string(bytes_max, 'x') + "y");
  EXPECT_EQ(notes.heard, "OW");
}

TEST(ConnectionWrite, WantWritableIsAnsweredOnceAtLowOutput) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->WantWritable();  // Output is low already.
  rig.Settle();
  EXPECT_EQ(notes.heard, "OW");
  wire.room = 0;
  EXPECT_EQ(notes.session->Write(std::string(100'000, 'x')), Answer::kAccepted);
  notes.session->WantWritable();
  rig.Settle();
  rig.Room(wire, 100'000 - rig.runtime.options().output_bytes_low - 1);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OW");
  rig.Room(wire, 1);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OWW");
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OWW");
}

// The usual way to relay: stop reading until there is room.
TEST(ConnectionWrite, OnWritableComesWhileReadingIsPaused) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(1'000'000, 'x')), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write(std::string(100'000, 'y')), Answer::kFull);
  notes.session->PauseReading();
  notes.on_writable = [](ScriptSession& session) { session.ResumeReading(); };
  rig.Arrive(wire, "more");
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle();
  EXPECT_EQ(notes.heard, "OWD");
}

TEST(ConnectionWrite, AWriteThatNeverFitsIsTooLarge) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  const std::string too_much(static_cast<size_t>(rig.runtime.options().output_bytes_max) + 1, 'x');
  EXPECT_EQ(notes.session->Write(too_much), Answer::kTooLarge);
  EXPECT_EQ(notes.session->Write(Bytes::Copy(too_much)), Answer::kTooLarge);
  rig.Settle();
  EXPECT_EQ(notes.heard, "O");
  notes.session->WriteOrAbort(too_much);
  rig.Settle();
  EXPECT_EQ(CloseReasonName(notes.reason), "output full");
  EXPECT_TRUE(wire.reset);
}

// A session may want more room than the low watermark leaves. Calling its OnWritable again at once
// would be a busy loop.
TEST(ConnectionWrite, SessionThatLacksRoomIsNoBusyLoop) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  const std::string big(1'040'000, 'b');
  // The session tries again, whatever the answer was.
  notes.on_writable = [&](ScriptSession& session) { (void)session.Write(big); };
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write(std::string(20'000, 'x')), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write(big), Answer::kFull);
  rig.Room(wire, 10'000);
  rig.Settle(50);
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle(50);
  EXPECT_EQ(wire.output.size(), 20'000 + big.size());
}

TEST(ConnectionWrite, AFailedWriteEndsTheConnectionAfterItsHandler) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string trace;
  notes.on_data = [&, &wire = wire](ScriptSession& session, Input& in) {
    in.TakeAll();
    wire.write_error = EPIPE;
    EXPECT_EQ(session.Write(std::string(100'000, 'x')), Answer::kAccepted);
    trace += "written ";
    EXPECT_EQ(session.Write("more"), Answer::kClosed);
  };
  notes.on_close = [&](ScriptSession&) { trace += "closed"; };
  rig.Open(wire, notes);
  rig.Arrive(wire, "?");
  rig.Settle();
  EXPECT_EQ(trace, "written closed");
  EXPECT_EQ(notes.reason, CloseReason::kReset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 100'000);
}

TEST(ConnectionWrite, OutputWithoutMemoryEndsItsConnection) {
  Options options = WireOptions();
  options.memory_bytes_max = 4 * 1024 * 1024;
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  Budget& budget = rig.runtime.budget();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(all));
  wire.room = 0;
  EXPECT_EQ(notes.session->Write(std::string(900'000, 'x')), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kMemory);
  EXPECT_TRUE(wire.reset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 900'000);
  budget.Give(all);
}

TEST(ConnectionWrite, NothingFollowsBehindBytesThatFoundNoMemory) {
  Options options = WireOptions();
  options.memory_bytes_max = 4 * 1024 * 1024;
  Rig rig(options);
  auto [wire, notes] = rig.New();
  wire.write_max = 1;  // A short write says nothing about room for the next write.
  rig.Open(wire, notes);
  rig.Settle();
  Budget& budget = rig.runtime.budget();
  const int64_t all = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(all));
  Lease& lease = rig.worker.lease();
  int64_t debt = 0;
  while (lease.ChargeOverdraft(16)) debt += 16;
  lease.Refund(256);  // Enough to share a payload, not to copy what is left of the notice.
  EXPECT_EQ(notes.session->Write("missed 1\n"), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write(Bytes::Copy("message\n")), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(wire.output, "m");
  EXPECT_EQ(notes.reason, CloseReason::kMemory);
  EXPECT_TRUE(wire.reset);
  lease.Refund(debt - 256);
  budget.Give(all);
}

// --- Listeners, which write for others.

struct Listener : OutputListener {
  void OnOutputLow(Connection& connection) override {
    ++low;
    if (abort) connection.Abort(CloseReason::kSlow);
  }
  void OnFlush(Connection&) override { ++closing; }
  void OnOutputEnded(Connection& connection) override {
    ++ended;
    EXPECT_EQ(connection.Write("too late"), Answer::kClosed);
    connection.Abort(CloseReason::kSlow);  // A second Abort() does nothing.
  }
  bool abort = false;
  int low = 0, closing = 0, ended = 0;
};

TEST(ConnectionWrite, ListenerMayEndItsConnectionAtLowOutput) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  Listener first, second;
  first.abort = second.abort = true;
  notes.session->connection()->AddListener(&first);
  notes.session->connection()->AddListener(&second);
  EXPECT_EQ(notes.session->Write("x"), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kSlow);
  EXPECT_EQ(first.low + second.low, 1);
  EXPECT_EQ(first.ended, 1);
  EXPECT_EQ(second.ended, 1);
  EXPECT_EQ(rig.Closed(CloseReason::kSlow), 1);
}

// --- Memory of an idle connection.

TEST(ConnectionWrite, IdleConnectionTakesAtMost512UserBytes) {
  const int64_t bytes = static_cast<int64_t>(sizeof(Slot)) + AllocatedBytes(sizeof(Connection)) +
                        AllocatedBytes(sizeof(PlainStream)) + AllocatedBytes(sizeof(Session) + 8);
  EXPECT_LE(bytes, 512) << "Slot " << sizeof(Slot) << ", Connection " << sizeof(Connection)
                        << ", PlainStream " << sizeof(PlainStream) << ", Session "
                        << sizeof(Session);
  std::printf("an idle connection: %d bytes\n", static_cast<int>(bytes));
}

TEST(ConnectionWrite, ConnectionIdleAgainHoldsNoChargedMemory) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    if (in.size() > 10'000) session.WriteOrAbort(in.TakeAll());
  };
  rig.Open(wire, notes);
  rig.Settle();
  const int64_t before = rig.runtime.budget().UsedBytes();
  wire.room = 0;
  for (int i = 0; i < 20; ++i) {
    rig.Arrive(wire, std::string(1'000, 'x'));
    rig.Settle();
  }
  EXPECT_GT(rig.runtime.budget().UsedBytes(), before);
  rig.Room(wire, INT64_MAX / 2);
  rig.Arrive(wire, std::string(10'001, 'x'));
  rig.Settle();
  EXPECT_EQ(rig.runtime.budget().UsedBytes(), before);
}

}  // namespace
}  // namespace sluice::testing::connection_write_test
