// A session that one task serves: what its reads and writes wait for, and what ends it.
#include "sluice/actors/connection/task_session.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/strings.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::task_session_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Question {
  using Reply = std::string;
};
class Oracle : public Actor {
 public:
  void On(Question, Promise<std::string> promise) { promise_ = std::move(promise); }
  Promise<std::string> promise_;
};

struct Tally {
  std::string lines;  // What the task has read, with '|' behind each piece.
  std::string heard;  // B: Serve() began, E: it has returned, D: its frame is gone, C: OnClose.
  CloseReason reason = CloseReason::kError;
  Ref<Oracle> oracle;
};

// Notes the end of a frame.
class Mark {
 public:
  explicit Mark(Tally* tally) : tally_(tally) { tally_->heard += 'B'; }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  ~Mark() { tally_->heard += 'D'; }

 private:
  Tally* tally_;
};

class Served : public TaskSession {
 public:
  explicit Served(Tally* tally) : tally_(tally) {}
  void OnClose(CloseReason reason) override {
    tally_->heard += 'C';
    tally_->reason = reason;
  }

 protected:
  void Note(std::string_view text) { tally_->lines.append(text).append("|"); }
  Tally* const tally_;
};

class EchoesLines : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    while (const auto line = co_await Line()) {
      Note(*line);
      co_await Write(*line);
      co_await Write("\n");
    }
    tally_->heard += 'E';
  }
};

template <class S>
struct Under {
  explicit Under(Options options = WireOptions(), int64_t room = INT64_MAX)
      : rig(options), wire(rig.os.NewWire()) {
    wire.room = room;
    tally.oracle = rig.runtime.Spawn<Oracle>();
    slot = rig.OpenAs<S>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &tally);
    rig.Settle();
  }
  void Arrive(std::string_view bytes) {
    rig.Arrive(wire, bytes);
    rig.Settle();
  }
  void Fin() {
    rig.Fin(wire);
    rig.Settle();
  }
  Oracle& oracle() { return *static_cast<Oracle*>(tally.oracle.slot()->actor); }
  void Answer(std::string text) {
    oracle().promise_.Resolve(std::move(text));
    rig.Settle();
  }
  Tally tally;
  Rig rig;
  Wire& wire;
  Slot* slot = nullptr;
};

TEST(TaskSession, LinesComeOneByOneHoweverTheyAreCut) {
  Under<EchoesLines> under;
  under.Arrive("one\r\ntwo\nth");
  EXPECT_EQ(under.tally.lines, "one|two|");
  under.Arrive("r");
  under.Arrive("ee\n\nlast");
  EXPECT_EQ(under.tally.lines, "one|two|three||");
  EXPECT_EQ(under.tally.heard, "B");
  under.Fin();
  EXPECT_EQ(under.tally.lines, "one|two|three||last|");
  EXPECT_EQ(under.wire.output, "one\ntwo\nthree\n\nlast\n");
  EXPECT_EQ(under.tally.heard, "BEDC");
  EXPECT_TRUE(under.wire.closed);
  EXPECT_FALSE(under.wire.reset);
  EXPECT_EQ(under.tally.reason, CloseReason::kPeerClosed);
}

TEST(TaskSession, AnEndBetweenLinesIsNoLine) {
  Under<EchoesLines> under;
  under.Arrive("one\n");
  under.Fin();
  EXPECT_EQ(under.tally.lines, "one|");
  EXPECT_EQ(under.tally.heard, "BEDC");
}

TEST(TaskSession, AResetDestroysTheWaitingTask) {
  Under<EchoesLines> under;
  under.Arrive("one\ntw");
  under.rig.Reset(under.wire);
  under.rig.Settle();
  EXPECT_EQ(under.tally.heard, "BCD");
  EXPECT_EQ(under.tally.reason, CloseReason::kReset);
}

TEST(TaskSession, ALineOverTheMaximumResetsTheConnection) {
  Options options = WireOptions();
  options.input_bytes_max = 64;
  Under<EchoesLines> under(options);
  under.Arrive("one\n" + std::string(64, 'x'));
  EXPECT_EQ(under.tally.lines, "one|");
  EXPECT_EQ(under.tally.heard, "BCD");
  EXPECT_EQ(under.tally.reason, CloseReason::kInputFull);
}

class ReadsAll : public Served {
 public:
  using Served::Served;
  static size_t Length(std::string_view bytes) {
    return bytes.empty() ? 0 : 1 + static_cast<size_t>(bytes[0] - '0');
  }
  Task<> Serve() override {
    const Mark mark(tally_);
    Note(co_await Exactly(4) == "abcd" ? "four" : "wrong");
    Note((co_await Exactly(0)).value_or("none"));
    Note((co_await Frame(&Length)).value_or("none"));
    Note((co_await Line()).value_or("none"));
    Note((co_await Read(3)).value_or("none"));
    Note((co_await Read()).value_or("none"));
    Note((co_await Exactly(9)).value_or("none"));
    Note((co_await Read()).value_or("none"));
    Note((co_await Read()).value_or("none"));
    tally_->heard += 'E';
  }
};

constexpr std::string_view kAll = "abcd3xyzline\nreadrestend";
constexpr std::string_view kAllNoted = "four||3xyz|line|rea|";

TEST(TaskSession, ReadsOfEachKindTakeWhatTheyAskFor) {
  Under<ReadsAll> under;
  under.Arrive(kAll.substr(0, 17));
  under.Arrive("rest");
  under.Arrive("end");
  under.Fin();
  EXPECT_EQ(under.tally.lines, std::string(kAllNoted) + "d|none|restend|none|");
  EXPECT_EQ(under.tally.heard, "BEDC");
}

TEST(TaskSession, ReadsAreTheSameAtEverySplitPoint) {
  for (size_t split = 0; split <= kAll.size(); ++split) {
    Under<ReadsAll> under;
    under.Arrive(kAll.substr(0, split));
    under.Arrive(kAll.substr(split));
    under.Fin();
    // Read() answers what has come: only the order of the bytes is certain there.
    std::string noted = under.tally.lines;
    EXPECT_EQ(noted.find("four||3xyz|line|"), 0u) << split << ": " << noted;
    std::erase(noted, '|');
    EXPECT_EQ(noted.find("four3xyzlineread"), 0u) << split << ": " << noted;
    EXPECT_EQ(under.tally.heard, "BEDC") << split;
  }
}

// Keeps what it has parsed, and how often it was asked.
class Parses : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    std::string body;
    int asked = 0;
    while (const auto frame = co_await Frame([&](std::string_view bytes) -> size_t {
             ++asked;
             const size_t end = bytes.find(';');
             if (end == std::string_view::npos) return 0;
             body = std::string(bytes.substr(0, end));
             return end + 1;
           })) {
      Note(absl::StrCat(body, asked));
    }
    tally_->heard += 'E';
  }
};

TEST(TaskSession, AFrameMayKeepWhatItParses) {
  Under<Parses> under;
  under.Arrive("one;two;th");
  under.Arrive("ree;");
  under.Arrive("rest");
  under.Fin();
  EXPECT_EQ(under.tally.lines, "one1|two2|three4|");
  EXPECT_EQ(under.tally.heard, "BEDC");
}

class ParsesBadly : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    const auto length = [](std::string_view bytes) -> size_t {
      if (bytes.starts_with('!')) throw std::runtime_error("bad frame");
      return 2;
    };
    try {
      while (const auto frame = co_await Frame(length)) Note(*frame);
    } catch (const std::exception& error) {
      Note(error.what());
    }
    tally_->heard += 'E';
  }
};

TEST(TaskSession, AnErrorOfAFrameReachesItsTaskHoweverTheBytesCome) {
  for (const size_t split : {size_t{4}, size_t{3}, size_t{2}}) {
    Under<ParsesBadly> under;
    const std::string_view all = "abcd!e";
    under.Arrive(all.substr(0, split));
    under.Arrive(all.substr(split));
    EXPECT_EQ(under.tally.lines, "ab|cd|bad frame|") << split;
    EXPECT_EQ(under.tally.heard, "BED") << split;
  }
}

class Asks : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    while (const auto line = co_await Line()) {
      const absl::StatusOr<std::string> answer = co_await Ask(tally_->oracle, Question{}, kLong);
      Note(*line);  // Still there: no other read came between.
      co_await Write(answer.value_or("no answer"));
    }
    tally_->heard += 'E';
  }
};

TEST(TaskSession, NothingIsReadWhileTheTaskWaitsForAnAnswer) {
  Under<Asks> under;
  under.Arrive("first\nsecond\n");
  const int reads = under.wire.reads;
  under.Arrive("third\n");
  EXPECT_EQ(under.wire.reads, reads);
  EXPECT_EQ(under.tally.lines, "");
  under.Answer("1");
  EXPECT_EQ(under.tally.lines, "first|");
  under.Answer("2");
  under.Answer("3");
  EXPECT_EQ(under.tally.lines, "first|second|third|");
  EXPECT_EQ(under.wire.output, "123");
}

TEST(TaskSession, AHalfCloseWaitsForTheAnswerUnderWay) {
  Under<Asks> under;
  under.Arrive("first\nsecond");
  under.Fin();
  EXPECT_FALSE(under.wire.closed);
  under.Answer("1");
  under.Answer("2");
  EXPECT_EQ(under.wire.output, "12");
  EXPECT_EQ(under.tally.lines, "first|second|");
  EXPECT_EQ(under.tally.heard, "BEDC");
  EXPECT_TRUE(under.wire.closed && !under.wire.reset);
}

TEST(TaskSession, AResetWhileTheTaskAsksDestroysIt) {
  Under<Asks> under;
  under.Arrive("first\n");
  under.rig.Reset(under.wire);
  under.rig.Settle();
  EXPECT_EQ(under.tally.heard, "BCD");
  under.Answer("too late");
  EXPECT_EQ(under.tally.lines, "");
}

// Handlers that start tasks, and the default OnEof.
class StartsTasks : public Session {
 public:
  explicit StartsTasks(Tally* tally) : tally_(tally) {}
  void OnData(Input& in) override { StartTask(Later(std::string(in.TakeAll()))); }
  void OnClose(CloseReason) override { tally_->heard += 'C'; }

 private:
  Task<> Later(std::string text) {
    const Mark mark(tally_);
    co_await Sleep(absl::Milliseconds(100));
    WriteOrAbort(text);
  }
  Tally* const tally_;
};

TEST(TaskSession, AHalfCloseWaitsForTasksThatHandlersHaveStarted) {
  Under<StartsTasks> under;
  under.Arrive("one");
  under.Fin();
  EXPECT_EQ(under.tally.heard, "B");
  under.rig.Advance(absl::Milliseconds(200));
  EXPECT_EQ(under.wire.output, "one");
  EXPECT_EQ(under.tally.heard, "BDC");
  EXPECT_TRUE(under.wire.closed && !under.wire.reset);
}

class WritesMuch : public Served {
 public:
  using Served::Served;
  static std::string Text(size_t bytes) {
    std::string text(bytes, ' ');
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + i % 26);
    return text;
  }
  Task<> Serve() override {
    const Mark mark(tally_);
    const std::string text = Text(300'000);
    co_await Write(text);
    tally_->heard += 'W';
    co_await Write("end");
    tally_->heard += 'E';
  }
};

TEST(TaskSession, AWriteWaitsForRoomAndMayBeLongerThanTheOutput) {
  Options options = WireOptions();
  options.output_bytes_max = 100'000;
  options.output_bytes_high = 64'000;
  options.output_bytes_low = 16'000;
  Under<WritesMuch> under(options, /*room=*/0);
  Tally& tally = under.tally;
  Wire& slow = under.wire;
  EXPECT_EQ(tally.heard, "B");
  EXPECT_EQ(Rig::Of(under.slot)->OutputBytes(), 100'000u);
  for (int i = 0; i < 40; ++i) {
    under.rig.Room(slow, 10'000);
    under.rig.Settle();
  }
  EXPECT_EQ(slow.output, WritesMuch::Text(300'000) + "end");
  under.rig.Fin(slow);
  under.rig.Settle();
  EXPECT_EQ(tally.heard, "BWEDC");
}

TEST(TaskSession, ADeadWriterIsDestroyedWhileItWaitsForRoom) {
  Options options = WireOptions();
  options.output_bytes_max = 100'000;
  Under<WritesMuch> under(options, /*room=*/0);
  Tally& tally = under.tally;
  Wire& slow = under.wire;
  under.rig.Reset(slow);
  under.rig.Settle();
  EXPECT_EQ(tally.heard, "BCD");
}

// Keeps the bytes of its second read while it waits for an answer.
class KeepsWhatItReads : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    while (co_await Line()) {
      const auto kept = co_await Line();
      const auto answer = co_await Ask(tally_->oracle, Question{}, kLong);
      Note(absl::StrCat(ToAbsl(kept.value_or("none")), answer.value_or("none")));
    }
    tally_->heard += 'E';
  }
};

TEST(TaskSession, BytesOfAReadStayWhileItsTaskWaitsForAnAnswer) {
  const std::string shorter(100, 's');
  const std::string longer(1'000, 'l');
  for (const std::string& first : {shorter, longer}) {
    for (const std::string& kept : {std::string(), shorter, longer}) {
      Under<KeepsWhatItReads> under;
      under.Arrive(absl::StrCat(first, "\n", kept, "\n"));
      Wire& other_wire = under.rig.os.NewWire();
      Tally other;
      other.oracle = under.rig.runtime.Spawn<Oracle>();
      under.rig.OpenAs<KeepsWhatItReads>(other_wire, Connection::Start::kConnected,
                                         absl::InfiniteDuration(), &other);
      under.rig.Settle();
      // Reads of another session of the same worker meanwhile.
      under.rig.Arrive(other_wire,
                       absl::StrCat(std::string(90, 'x'), "\n", std::string(90, 'y'), "\n"));
      under.rig.Settle();
      under.Answer("!");
      EXPECT_EQ(under.tally.lines, absl::StrCat(kept, "!|"));
      under.Arrive("again\nmore\n");
      under.Answer("?");
      EXPECT_EQ(under.tally.lines, absl::StrCat(kept, "!|more?|"));
      under.rig.Reset(other_wire);
      under.rig.Settle();
    }
  }
}

class HasDeadlines : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    const auto line = co_await Within(absl::Milliseconds(100), Line());
    Note(line.ok() ? line->value_or("none") : "late");
    Note((co_await Line()).value_or("none"));
    tally_->heard += 'E';
  }
};

TEST(TaskSession, AReadThatIsTooLateIsCancelledAndTheNextOneGoesOn) {
  Under<HasDeadlines> under;
  under.Arrive("be");
  under.rig.Advance(absl::Milliseconds(200));
  EXPECT_EQ(under.tally.lines, "late|");
  under.Arrive("gun\n");
  EXPECT_EQ(under.tally.lines, "late|begun|");
  under.Fin();
  EXPECT_EQ(under.tally.heard, "BEDC");
}

TEST(TaskSession, AReadThatIsInTimeIsAnswered) {
  Under<HasDeadlines> under;
  under.Arrive("begun\nand\n");
  under.rig.Advance(absl::Milliseconds(200));
  EXPECT_EQ(under.tally.lines, "begun|and|");
}

class LooksTwice : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    const auto much = co_await Within(absl::Milliseconds(100), Exactly(100));
    Note(much.ok() ? "much" : "late");
    Note((co_await Line()).value_or("none"));  // Has come already.
    tally_->heard += 'E';
  }
};

TEST(TaskSession, AReadTakesWhatACancelledReadHasLeft) {
  Under<LooksTwice> under;
  under.Arrive("abc\n");
  under.rig.Advance(absl::Milliseconds(200));
  EXPECT_EQ(under.tally.lines, "late|abc|");
}

class EndsItsWrites : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    const std::string text(90'000, 'x');
    Note(co_await Write(text) ? "written" : "not");
    After(absl::Milliseconds(10), [this] { CloseWrite(); });
    Note(co_await Write(text) ? "written" : "not");
    Note(co_await Write("") ? "written" : "not");
  }
};

TEST(TaskSession, AWriteThatWaitsAnswersFalseWhenTheWriteSideEnds) {
  Options options = WireOptions();
  options.output_bytes_max = 100'000;
  Under<EndsItsWrites> under(options, /*room=*/0);
  Tally& tally = under.tally;
  Wire& slow = under.wire;
  under.rig.Advance(absl::Milliseconds(20));
  EXPECT_EQ(tally.lines, "written|not|not|");
  under.rig.Room(slow, 1'000'000);
  under.rig.Settle();
  EXPECT_EQ(slow.output.size(), 90'000u);  // The second write was not begun.
}

class EndsWhileItWrites : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    After(absl::Milliseconds(10), [this] { End(); });
    co_await Write(std::string(300'000, 'x'));
  }

 private:
  virtual void End() = 0;
};
class StopsWhileItWrites : public EndsWhileItWrites {
  using EndsWhileItWrites::EndsWhileItWrites;
  void End() override { Stop(); }
};
class FailsWhileItWrites : public EndsWhileItWrites {
  using EndsWhileItWrites::EndsWhileItWrites;
  void End() override { throw std::runtime_error("broken"); }
};
class ClosesWhileItWrites : public EndsWhileItWrites {
  using EndsWhileItWrites::EndsWhileItWrites;
  void End() override { Close(); }
};
class ClosesItsWritesMeanwhile : public EndsWhileItWrites {
  using EndsWhileItWrites::EndsWhileItWrites;
  void End() override { CloseWrite(); }
};

template <class S>
class CutShort : public ::testing::Test {};
using WaysToEnd = ::testing::Types<StopsWhileItWrites, FailsWhileItWrites, ClosesWhileItWrites,
                                   ClosesItsWritesMeanwhile>;
TYPED_TEST_SUITE(CutShort, WaysToEnd);

TYPED_TEST(CutShort, AHalfOfAWriteEndsInAReset) {
  Options options = WireOptions();
  options.output_bytes_max = 100'000;
  Under<TypeParam> under(options, /*room=*/0);
  Wire& slow = under.wire;
  under.rig.Advance(absl::Milliseconds(20));
  under.rig.Room(slow, 1'000'000);
  under.rig.Settle();
  EXPECT_TRUE(slow.closed && slow.reset);
  EXPECT_FALSE(slow.fin);
}

class Generates : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    const std::string text(1'000, 'x');
    (void)co_await Line();
    while (co_await Write(text)) static_cast<WireOs&>(worker().os()).Advance(absl::Microseconds(1));
  }
};

// A peer that reads as fast as this writes: the worker's other actors have their turns.
TEST(TaskSession, AnEndlessWriterLeavesTheWorkerToOthers) {
  Under<EchoesLines> under;
  Tally tally;
  Wire& fast = under.rig.os.NewWire();
  under.rig.OpenAs<Generates>(fast, Connection::Start::kConnected, absl::InfiniteDuration(),
                              &tally);
  under.rig.Arrive(fast, "go\n");
  for (int i = 0; i < 50; ++i) under.rig.Turn();
  EXPECT_GT(fast.output.size(), 1'000u);
  under.rig.Arrive(under.wire, "still here\n");
  for (int i = 0; i < 50; ++i) under.rig.Turn();
  EXPECT_EQ(under.wire.output, "still here\n");
  under.rig.Reset(fast);
  for (int i = 0; i < 50 && tally.heard != "BDC"; ++i) under.rig.Turn();
  EXPECT_EQ(tally.heard, "BDC");
}

class AsksThenDrains : public Asks {
 public:
  using Asks::Asks;
};

TEST(TaskSession, ADrainStillServesLinesThatHadCome) {
  Under<AsksThenDrains> under;
  under.Arrive("first\nsecond\n");
  Connection* const connection = Rig::Of(under.slot);
  connection->OnDrain();
  connection->OnDrainEndReading();
  connection->OnDrainClose();
  under.rig.Settle();
  under.Answer("1");
  under.Answer("2");
  EXPECT_EQ(under.tally.lines, "first|second|");
  EXPECT_EQ(under.wire.output, "12");
}

class Throws : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    (void)co_await Line();
    co_await Write("last words");
    throw std::runtime_error("bad line");
  }
};

TEST(TaskSession, AnExceptionEndsTheSessionAfterItsOutput) {
  Under<Throws> under;
  under.Arrive("line\n");
  EXPECT_EQ(under.tally.heard, "BDC");
  EXPECT_EQ(under.tally.reason, CloseReason::kFailed);
  EXPECT_EQ(under.wire.output, "last words");
  under.Fin();
}

class ClosesAtOnce : public Served {
 public:
  using Served::Served;
  Task<> Serve() override {
    const Mark mark(tally_);
    co_await Write("bye");
  }
};

TEST(TaskSession, TheConnectionIsClosedWhenItsTaskReturns) {
  Under<ClosesAtOnce> under;
  EXPECT_EQ(under.wire.output, "bye");
  EXPECT_TRUE(under.wire.fin);
  under.Arrive("more");
  under.Fin();
  EXPECT_EQ(under.tally.heard, "BDC");
  EXPECT_FALSE(under.wire.reset);
}

TEST(TaskSession, ADrainEndsASessionThatWaitsForItsNextRequest) {
  Under<EchoesLines> under;
  under.Arrive("one\n");
  under.rig.os.clock_runs = true;
  under.rig.worker.Leave();
  under.rig.runtime.Drain(absl::Seconds(5));
  under.rig.worker.Enter();
  EXPECT_EQ(under.tally.heard.substr(0, 2), "BE");
  EXPECT_EQ(under.wire.output, "one\n");
}

}  // namespace
}  // namespace sluice::testing::task_session_test
