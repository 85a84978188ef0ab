// Tests of files in a connection's output: their place among the writes, what waits until they are
// sent, and what becomes of them when disk, peer, session or runtime let them down.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/task_session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/open_file.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::send_file_test {
namespace {

using Notes = ScriptSession::Notes;

std::string Numbers(size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + ',';
  text.resize(size);
  return text;
}

SharedFile FileOf(std::string_view text) {
  const int fd = memfd_create("file", MFD_CLOEXEC);
  EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return std::make_shared<const OpenFile>(fd, static_cast<int64_t>(text.size()));
}

// One connection, whose session sends what the test tells it to.
struct Sender {
  explicit Sender(Options options = WireOptions()) : rig(options), peer(rig.New()) {
    slot = rig.Open(peer.wire, peer.notes);
    rig.Settle();
  }
  ScriptSession& session() { return *peer.notes.session; }
  Wire& wire() { return peer.wire; }
  void Room(int64_t bytes) {
    rig.Room(wire(), bytes);
    rig.Settle();
  }
  // Sends `file` whole.
  Answer Send(const SharedFile& file) { return session().SendFile(file, 0, file->Bytes()); }
  Rig rig;
  Rig::Peer peer;
  Slot* slot = nullptr;
};

// Holds the threads that call Wait() until Open().
class Gate {
 public:
  ~Gate() { Open(); }
  void Wait() {
    std::unique_lock<std::mutex> lock(lock_);
    opened_.wait(lock, [this] { return open_; });
  }
  void Open() {
    std::lock_guard<std::mutex> lock(lock_);
    open_ = true;
    opened_.notify_all();
  }

 private:
  std::mutex lock_;
  std::condition_variable opened_;
  bool open_ = false;
};

TEST(SendFile, RangeLeavesInItsPlaceAmongTheWrites) {
  Sender s;
  const std::string text = Numbers(300'000);
  const SharedFile file = FileOf(text);
  s.wire().room = 0;
  EXPECT_EQ(s.session().Write("first "), Answer::kAccepted);
  EXPECT_EQ(s.session().SendFile(file, 1'000, 200'000), Answer::kAccepted);
  EXPECT_EQ(s.session().Write(" and "), Answer::kAccepted);
  EXPECT_EQ(s.session().Write(Bytes::Copy("then ")), Answer::kAccepted);
  EXPECT_EQ(s.session().SendFile(file, 299'990, 10), Answer::kAccepted);
  EXPECT_EQ(s.session().SendFile(file, 5, 0), Answer::kAccepted);
  EXPECT_EQ(s.session().Write(" last"), Answer::kAccepted);
  const std::string all =
      "first " + text.substr(1'000, 200'000) + " and then " + text.substr(299'990) + " last";
  while (s.wire().output.size() < all.size()) s.Room(9'973);
  EXPECT_EQ(s.wire().output, all);
}

TEST(SendFile, FileTakesNoMemoryHoweverLongItIs) {
  Options options = WireOptions();
  options.output_bytes_max = 100'000;
  Sender s(options);
  const std::string text = Numbers(3'000'000);
  s.wire().room = 0;
  EXPECT_EQ(s.Send(FileOf(text)), Answer::kAccepted);
  EXPECT_EQ(s.session().Write("end"), Answer::kAccepted);
  s.rig.Settle();
  EXPECT_EQ(s.session().OutputBytes(), 3u);
  EXPECT_LT(Rig::Of(s.slot)->HeldBytes(), 2'000);
  EXPECT_EQ(s.rig.Ledger().BytesHeld(), 3'000'003);
  while (s.wire().output.size() < text.size() + 3) s.Room(700'001);
  EXPECT_EQ(s.wire().output, text + "end");
}

TEST(SendFile, SessionGetsNoInputUntilItIsSent) {
  Sender s;
  const SharedFile file = FileOf(Numbers(50'000));
  s.wire().room = 0;
  s.peer.notes.on_data = [&](ScriptSession& session, Input& in) {
    s.peer.notes.data += in.Take(1);
    if (session.OutputBytes() == 0) {
      EXPECT_EQ(s.Send(file), Answer::kAccepted);
    }
    EXPECT_FALSE(session.MayGoOn());
    session.WantWritable();
  };
  s.rig.Arrive(s.wire(), "ab");
  s.rig.Settle();
  s.Room(49'999);
  EXPECT_EQ(s.peer.notes.heard, "OD");
  EXPECT_EQ(s.peer.notes.data, "a");
  s.peer.notes.on_data = nullptr;
  s.Room(1);
  EXPECT_EQ(s.peer.notes.heard, "ODWD");
  EXPECT_EQ(s.peer.notes.data, "ab");
  EXPECT_EQ(s.wire().output.size(), 50'000u);
}

// All leaves at the end of the turn, so no event would resume reading.
TEST(SendFile, ReadingGoesOnAfterAFileThatLeavesAtOnce) {
  Sender s;
  const SharedFile file = FileOf("file;");
  s.peer.notes.on_data = [&](ScriptSession& session, Input& in) {
    in.Take(1);
    EXPECT_EQ(s.Send(file), Answer::kAccepted);
    EXPECT_FALSE(session.MayGoOn());
  };
  s.rig.Arrive(s.wire(), "1234");
  s.rig.Settle();
  EXPECT_EQ(s.wire().output, "file;file;file;file;");
}

TEST(SendFile, RangesPastTheBoundAreRefusedUntilOnWritable) {
  Sender s;
  const SharedFile file = FileOf("0123456789");
  s.wire().room = 0;
  for (int i = 0; i < FileRange::kRangesMax; ++i) EXPECT_EQ(s.Send(file), Answer::kAccepted);
  EXPECT_EQ(s.Send(file), Answer::kFull);
  EXPECT_EQ(s.session().Write("x"), Answer::kAccepted);
  s.Room(FileRange::kRangesMax * 10 - 1);
  EXPECT_EQ(s.peer.notes.heard, "O");
  s.Room(100);
  EXPECT_EQ(s.peer.notes.heard, "OW");
  EXPECT_EQ(s.Send(file), Answer::kAccepted);
}

TEST(SendFile, WhatIsNoRangeIsRefused) {
  Sender s;
  const SharedFile file = FileOf("0123456789");
  EXPECT_EQ(s.session().SendFile(nullptr, 0, 1), Answer::kInvalid);
  EXPECT_EQ(s.session().SendFile(file, -1, 1), Answer::kInvalid);
  EXPECT_EQ(s.session().SendFile(file, 0, -1), Answer::kInvalid);
  EXPECT_EQ(s.session().SendFile(file, 2, INT64_MAX - 1), Answer::kInvalid);
  EXPECT_EQ(s.session().SendFile(file, 0, 0), Answer::kAccepted);
  s.session().CloseWrite();
  EXPECT_EQ(s.Send(file), Answer::kClosed);
  s.rig.Settle();
  EXPECT_EQ(s.wire().output, "");
}

TEST(SendFile, WholeFileArrivesBeforeTheFinHoweverTheSessionEnds) {
  const std::string text = Numbers(500'000);
  const SharedFile file = FileOf(text);
  using End = void (*)(ScriptSession&);
  for (const End end : {End([](ScriptSession& session) { session.Close(); }),
                        End([](ScriptSession& session) { session.CloseWhenDone(); }),
                        End([](ScriptSession& session) { session.CloseWrite(); }),
                        End([](ScriptSession& session) { session.Stop(); })}) {
    Sender s;
    s.wire().room = 0;
    EXPECT_EQ(s.Send(file), Answer::kAccepted);
    EXPECT_EQ(s.session().Write("."), Answer::kAccepted);
    end(s.session());
    s.rig.Settle();
    while (s.wire().output.size() < text.size() + 1) {
      EXPECT_FALSE(s.wire().fin);
      s.Room(123'457);
    }
    EXPECT_EQ(s.wire().output, text + ".");
    EXPECT_TRUE(s.wire().fin);
    s.rig.Fin(s.wire());
    s.rig.Settle();
    EXPECT_FALSE(s.wire().reset);
  }
}

TEST(SendFile, FileArrivesWholeInADrain) {
  Sender s;
  const std::string text = Numbers(400'000);
  s.wire().room = 100'000;
  EXPECT_EQ(s.Send(FileOf(text)), Answer::kAccepted);
  s.rig.Settle();
  s.wire().room = INT64_MAX;
  s.rig.os.Event(s.wire(), EPOLLOUT);
  s.rig.os.clock_runs = true;
  s.rig.worker.Leave();
  s.rig.runtime.Drain(absl::Seconds(10));
  s.rig.worker.Enter();
  EXPECT_EQ(s.wire().output, text);
  EXPECT_TRUE(s.wire().fin);
  EXPECT_FALSE(s.wire().reset);
}

TEST(SendFile, AbortCountsWhatWasNotSentAsLost) {
  Sender s;
  s.wire().room = 1'000;
  EXPECT_EQ(s.Send(FileOf(Numbers(10'000))), Answer::kAccepted);
  EXPECT_EQ(s.session().Write("behind"), Answer::kAccepted);
  s.rig.Settle();
  s.session().Abort();
  s.rig.Settle();
  EXPECT_TRUE(s.wire().reset);
  const ConnectionLedger::Totals totals = s.rig.Ledger();
  EXPECT_EQ(totals.bytes_sent, 1'000);
  EXPECT_EQ(totals.bytes_lost, 9'006);
}

TEST(SendFile, SessionMayAbortForThatReasonItself) {
  Sender s;
  const LogLevelScope warnings(LogLevel::kWarning);
  s.session().Abort(CloseReason::kFileFailed);
  s.rig.Settle();
  EXPECT_EQ(s.peer.notes.reason, CloseReason::kFileFailed);
}

TEST(SendFile, FileThatWasCutShortResetsTheConnection) {
  for (const bool cold : {false, true}) {
    Sender s;
    s.rig.os.files_cold = cold;
    const std::string text = Numbers(10'000);
    const SharedFile file = FileOf(text);
    s.wire().room = 3'000;
    EXPECT_EQ(s.Send(file), Answer::kAccepted);
    EXPECT_EQ(s.session().Write("behind"), Answer::kAccepted);
    s.rig.Await([&] { return s.wire().output.size() == 3'000; });
    ASSERT_EQ(ftruncate(file->Descriptor(), 7'000), 0);
    s.rig.Room(s.wire(), 100'000);
    s.rig.Await([&] { return s.wire().closed; });
    EXPECT_EQ(s.wire().output, text.substr(0, 7'000));
    EXPECT_TRUE(s.wire().reset);
    EXPECT_EQ(s.peer.notes.reason, CloseReason::kFileFailed);
    EXPECT_EQ(s.rig.Ledger().bytes_lost, 3'006);
  }
}

TEST(SendFile, FileThatTheDiskCannotReadResetsTheConnection) {
  Sender s;
  s.rig.os.files_cold = true;
  s.rig.os.fetch = [](int64_t, int64_t) { return -EIO; };
  EXPECT_EQ(s.session().Write("head "), Answer::kAccepted);
  EXPECT_EQ(s.Send(FileOf(Numbers(10'000))), Answer::kAccepted);
  EXPECT_EQ(s.session().Write("behind"), Answer::kAccepted);
  s.rig.Await([&] { return s.wire().closed; });
  EXPECT_EQ(s.wire().output, "head ");
  EXPECT_TRUE(s.wire().reset);
  EXPECT_EQ(s.peer.notes.reason, CloseReason::kFileFailed);
}

TEST(SendFile, ResetWhileAFileIsSentIsNoFaultOfTheFile) {
  Sender s;
  s.wire().room = 10;
  EXPECT_EQ(s.Send(FileOf(Numbers(10'000))), Answer::kAccepted);
  s.rig.Settle();
  s.rig.Reset(s.wire());
  s.rig.Settle();
  EXPECT_EQ(s.peer.notes.reason, CloseReason::kReset);
}

TEST(SendFile, ColdFileIsReadByThePoolChunkByChunk) {
  Sender s;
  s.rig.os.files_cold = true;
  Gate gate;
  s.rig.os.fetch = [&gate, workers = std::this_thread::get_id()](int64_t, int64_t bytes) {
    EXPECT_NE(std::this_thread::get_id(), workers);
    gate.Wait();
    return bytes;
  };
  const std::string text = Numbers(3 * FileRange::kChunkBytes);
  EXPECT_EQ(s.Send(FileOf(text)), Answer::kAccepted);
  EXPECT_EQ(s.session().Write("."), Answer::kAccepted);
  s.rig.Await([&] { return s.rig.os.fetches == 1; });
  EXPECT_EQ(s.wire().output, "");
  gate.Open();
  s.rig.Await([&] { return s.wire().output.size() == text.size() + 1; });
  EXPECT_EQ(s.wire().output, text + ".");
  EXPECT_EQ(s.rig.os.fetches, 3);
}

TEST(SendFile, FetchEndsAfterItsConnectionHasEnded) {
  Gate gate;
  Sender s;
  s.rig.os.files_cold = true;
  s.rig.os.fetch = [&gate](int64_t, int64_t bytes) {
    gate.Wait();
    return bytes;
  };
  EXPECT_EQ(s.Send(FileOf(Numbers(10'000))), Answer::kAccepted);
  s.rig.Await([&] { return s.rig.os.fetches == 1; });
  s.session().Abort();
  s.rig.Settle();
  EXPECT_TRUE(s.wire().closed);
  // The next one may well live in the same slot.
  auto [wire, notes] = s.rig.New();
  const Slot* const next = s.rig.Open(wire, notes);
  EXPECT_EQ(next, s.slot);
  s.rig.Settle();
  gate.Open();
  s.rig.Await([&] { return s.rig.runtime.blocking().Counts().finished == 1; });
  s.rig.Settle();
  EXPECT_EQ(wire.output, "");
  EXPECT_FALSE(wire.closed);
}

TEST(SendFile, FetchIsForTheConnectionThatOutlivesItsSession) {
  Gate gate;
  Sender s;
  s.rig.os.files_cold = true;
  s.rig.os.fetch = [&gate](int64_t, int64_t bytes) {
    gate.Wait();
    return bytes;
  };
  const std::string text = Numbers(10'000);
  EXPECT_EQ(s.Send(FileOf(text)), Answer::kAccepted);
  s.rig.Await([&] { return s.rig.os.fetches == 1; });
  s.session().Stop();
  s.rig.Settle();
  EXPECT_EQ(s.peer.notes.heard, "OC");
  gate.Open();
  s.rig.Await([&] { return s.wire().fin; });
  EXPECT_EQ(s.wire().output, text);
}

class Blocks : public Actor {
 public:
  explicit Blocks(Gate* gate) : gate_(gate) {}
  void OnStart() override {
    while (RunBlocking([gate = gate_] { gate->Wait(); }, [](const absl::Status&) {}) ==
           Answer::kAccepted) {
      if (++calls_ == 10) break;
    }
  }

 private:
  Gate* const gate_;
  int calls_ = 0;
};

TEST(SendFile, APathWithAZeroByteIsRefused) {
  const absl::StatusOr<SharedFile> file =
      OpenFile::ForReading(std::string("/proc/self/exe\0.txt", 19));
  EXPECT_EQ(file.status().message(), "cannot open /proc/self/exe...: the path has a zero byte");
}

TEST(SendFile, FullPoolIsAskedAgain) {
  Gate gate;
  Options options = WireOptions();
  options.blocking_threads_max = 1;
  options.blocking_calls_max = 1;
  Sender s(options);
  s.rig.os.files_cold = true;
  s.rig.runtime.Spawn<Blocks>(&gate);
  s.rig.Settle();
  const std::string text = Numbers(10'000);
  EXPECT_EQ(s.Send(FileOf(text)), Answer::kAccepted);
  for (int i = 0; i < 10; ++i) s.rig.Advance(absl::Milliseconds(20));
  EXPECT_EQ(s.rig.os.fetches, 0);
  EXPECT_FALSE(s.wire().closed);
  gate.Open();
  s.rig.Await([&] {
    s.rig.Advance(absl::Milliseconds(20));
    return s.wire().output == text;
  });
}

TEST(SendFile, SlowDiskIsNoFaultOfThePeer) {
  Gate gate;
  Options options = WireOptions();
  options.write_stalled_timeout = absl::Seconds(5);
  Sender s(options);
  s.rig.os.files_cold = true;
  s.rig.os.fetch = [&gate](int64_t, int64_t bytes) {
    gate.Wait();
    return bytes;
  };
  s.wire().room = 100;
  EXPECT_EQ(s.Send(FileOf(Numbers(10'000))), Answer::kAccepted);
  s.rig.Await([&] { return s.rig.os.fetches == 1; });
  for (int i = 0; i < 30; ++i) s.rig.Advance(absl::Seconds(1));
  EXPECT_FALSE(s.wire().closed);
  gate.Open();
  s.rig.Await([&] { return s.wire().output.size() == 100; });
  for (int i = 0; i < 4; ++i) s.rig.Advance(absl::Seconds(1));
  EXPECT_FALSE(s.wire().closed);
  // Each try needs the disk first.
  s.rig.Await([&] {
    s.rig.Advance(absl::Milliseconds(300));
    return s.wire().closed;
  });
  EXPECT_EQ(s.peer.notes.reason, CloseReason::kWriteStalled);
}

TEST(SendFile, CloseTimeoutIsForEachChunkOfAFile) {
  for (const int64_t room : {100'000, 30'000}) {
    Options options = WireOptions();
    options.close_timeout = absl::Seconds(10);
    Sender s(options);
    s.wire().room = 0;
    const size_t bytes = 4 * FileRange::kChunkBytes;
    EXPECT_EQ(s.Send(FileOf(Numbers(bytes))), Answer::kAccepted);
    s.session().Close();
    s.rig.Settle();
    while (!s.wire().closed && !s.wire().fin) {
      s.Room(room);
      s.rig.Advance(absl::Seconds(2));
    }
    EXPECT_EQ(s.wire().output.size() == bytes, room == 100'000);
    EXPECT_EQ(s.wire().fin, room == 100'000);
    for (int i = 0; i < 3; ++i) s.rig.Advance(absl::Seconds(5));
    EXPECT_TRUE(s.wire().closed);
  }
}

TEST(SendFile, FastPeerGetsOneChunkInATurn) {
  Sender s;
  EXPECT_EQ(s.Send(FileOf(Numbers(5 * FileRange::kChunkBytes))), Answer::kAccepted);
  s.rig.Turn();
  EXPECT_EQ(s.wire().output.size(), static_cast<size_t>(FileRange::kChunkBytes));
  s.rig.Turn();
  EXPECT_LE(s.wire().output.size(), static_cast<size_t>(2 * FileRange::kChunkBytes));
  s.rig.Settle();
  EXPECT_EQ(s.wire().output.size(), static_cast<size_t>(5 * FileRange::kChunkBytes));
}

TEST(SendFile, PairReadsNothingForAnOutputWithAFile) {
  Rig rig;
  auto [a, a_notes] = rig.New();
  auto [b, b_notes] = rig.New();
  Slot* const first = rig.Open(a, a_notes);
  Slot* const second = rig.Open(b, b_notes);
  rig.Settle();
  b.room = 0;
  EXPECT_EQ(b_notes.session->SendFile(FileOf("file"), 0, 4), Answer::kAccepted);
  Rig::Of(first)->PairWith(*Rig::Of(second));
  rig.Settle();
  rig.Arrive(a, "to b");
  rig.Settle();
  EXPECT_EQ(a_notes.data, "");
  rig.Room(b, 4);
  rig.Settle();
  EXPECT_EQ(b.output, "file");
  EXPECT_EQ(a_notes.data, "to b");
}

class EarlySender : public ScriptSession {
 public:
  EarlySender(Notes* notes, SharedFile file) : ScriptSession(notes) {
    EXPECT_EQ(Write("head "), Answer::kAccepted);
    for (int i = 0; i < FileRange::kRangesMax; ++i) {
      EXPECT_EQ(SendFile(file, i, 1), Answer::kAccepted);
    }
    EXPECT_EQ(SendFile(file, 0, 1), Answer::kFull);
    EXPECT_EQ(SendFile(file, 0, -1), Answer::kInvalid);
  }
};

TEST(SendFile, FileSentBeforeThereIsAConnectionLeavesWhenThereIs) {
  for (const bool connects : {true, false}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    rig.OpenAs<EarlySender>(wire, Connection::Start::kConnecting, absl::Seconds(10), &notes,
                            FileOf("0123456789abcdefgh"));
    rig.Settle();
    EXPECT_EQ(wire.output, "");
    if (!connects) wire.socket_error = ECONNREFUSED;
    rig.os.Event(wire, connects ? EPOLLOUT : EPOLLOUT | EPOLLERR | EPOLLHUP);
    rig.Settle();
    EXPECT_EQ(wire.output, connects ? "head 0123456789abcdef" : "");
    EXPECT_EQ(notes.heard, connects ? "OW" : "C");
    EXPECT_EQ(rig.Ledger().bytes_lost, connects ? 0 : 5 + FileRange::kRangesMax);
  }
}

// --- In a task.

struct Served {
  std::string heard;
  SharedFile file;
};

class SendsFiles : public TaskSession {
 public:
  explicit SendsFiles(Served* served) : served_(*served) {}
  void OnClose(CloseReason reason) override {
    served_.heard += reason == CloseReason::kFailed ? 'F' : 'C';
  }
  Task<> Serve() override {
    while (const auto line = co_await Line()) {
      if (*line == "bad") co_await SendFile(served_.file, -1, 1);
      if (*line == "end") After(absl::Milliseconds(10), [this] { CloseWrite(); });
      if (*line == "none") served_.heard += co_await SendFile(served_.file, 0, 0) ? '0' : 'x';
      served_.heard += co_await SendFile(served_.file, 0, served_.file->Bytes()) ? '1' : 'x';
      served_.heard += co_await Write(";") ? 'w' : 'y';
    }
  }

 private:
  Served& served_;
};

struct TaskSender {
  TaskSender() : wire(rig.os.NewWire()) {
    served.file = FileOf("file");
    wire.room = 0;
    rig.OpenAs<SendsFiles>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &served);
    rig.Settle();
  }
  void Arrive(std::string_view bytes) {
    rig.Arrive(wire, bytes);
    rig.Settle();
  }
  void Room(int64_t bytes) {
    rig.Room(wire, bytes);
    rig.Settle();
  }
  Served served;
  Rig rig;
  Wire& wire;
};

TEST(SendFileInATask, WaitsUntilTheFileIsSent) {
  TaskSender t;
  t.Arrive("one\nnone\n");
  t.Room(3);
  EXPECT_EQ(t.served.heard, "");
  t.Room(1);
  EXPECT_EQ(t.served.heard, "1w0");
  t.Room(100);
  EXPECT_EQ(t.served.heard, "1w01w");
  EXPECT_EQ(t.wire.output, "file;file;");
}

TEST(SendFileInATask, AnswersFalseWhenTheWriteSideEnds) {
  TaskSender t;
  t.Arrive("end\n");
  t.rig.Advance(absl::Milliseconds(20));
  EXPECT_EQ(t.served.heard, "xy");
  t.Room(100);
  EXPECT_EQ(t.wire.output, "file");
  EXPECT_TRUE(t.wire.fin);
}

TEST(SendFileInATask, ThrowsIfThereIsNoSuchRange) {
  TaskSender t;
  t.Arrive("bad\n");
  EXPECT_EQ(t.served.heard, "F");
  EXPECT_EQ(t.wire.output, "");
}

}  // namespace
}  // namespace sluice::testing::send_file_test
