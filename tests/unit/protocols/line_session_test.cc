// Tests of a session that asks an actor for each line: the order of its answers, and its last line.
#include "sluice/protocols/line_session.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::line_session_test {
namespace {

struct Upper {
  using Reply = std::string;
  std::string text;
};

// Answers when the test says so; refuses a question that begins with '!'.
class Oracle : public Actor {
 public:
  struct Notes {
    std::vector<std::pair<std::string, Promise<std::string>>> open;
    void AnswerFirst() {
      auto [text, promise] = std::move(open.front());
      open.erase(open.begin());
      if (text[0] == '!') {
        promise.Fail(absl::InvalidArgumentError("refused"));
      } else {
        promise.Resolve(text + text);
      }
    }
  };
  explicit Oracle(Notes* notes) : notes_(*notes) {}
  void On(Upper question, Promise<std::string> promise) {
    notes_.open.emplace_back(std::move(question.text), std::move(promise));
  }

 private:
  Notes& notes_;
};

class Asker : public LineSession {
 public:
  explicit Asker(Ref<Oracle> oracle) : LineSession(100), oracle_(oracle) {}
  void OnLine(std::string_view line) override {
    const bool twice = line[0] == '2';
    AskInOrder(oracle_, Upper{std::string(line)}, absl::InfiniteDuration(),
               [this, twice](absl::StatusOr<std::string> reply) {
                 if (twice && reply.ok()) {
                   AskInOrder(oracle_, Upper{"again"}, absl::InfiniteDuration(),
                              [this](absl::StatusOr<std::string> second) { Say(second); });
                 }
                 Say(reply);
               });
  }
  void OnLastLine() override {
    WriteOrAbort("bye\n");
    Close();
  }

 private:
  void Say(const absl::StatusOr<std::string>& reply) {
    WriteOrAbort((reply.ok() ? *reply : reply.status().ToString()) + "\n");
  }
  const Ref<Oracle> oracle_;
};

class LineSessionTest : public ::testing::Test {
 protected:
  LineSessionTest() : oracle_(rig_.runtime.Spawn<Oracle>(&notes_)), wire_(rig_.New().wire) {
    rig_.OpenAs<Asker>(wire_, Connection::Start::kConnected, absl::InfiniteDuration(), oracle_);
    rig_.Settle();
  }
  ~LineSessionTest() override { notes_.open.clear(); }

  Oracle::Notes notes_;
  Rig rig_;
  Ref<Oracle> oracle_;
  Wire& wire_;
};

TEST_F(LineSessionTest, LinesAreHandledOneByOneInOrder) {
  rig_.Arrive(wire_, "a\n!b\nc\n");
  for (const char* expected : {"", "aa\n", "aa\nINVALID_ARGUMENT: refused\n"}) {
    rig_.Settle();
    EXPECT_EQ(wire_.output, expected);
    ASSERT_EQ(notes_.open.size(), 1u);
    notes_.AnswerFirst();
  }
  rig_.Settle();
  EXPECT_EQ(wire_.output, "aa\nINVALID_ARGUMENT: refused\ncc\n");
}

TEST_F(LineSessionTest, ACallbackThatAsksAgainKeepsLinesWaiting) {
  rig_.Arrive(wire_, "2\nz\n");
  rig_.Settle();
  notes_.AnswerFirst();
  rig_.Settle();
  ASSERT_EQ(notes_.open.size(), 1u);
  EXPECT_EQ(notes_.open[0].first, "again");
  notes_.AnswerFirst();
  rig_.Settle();
  ASSERT_EQ(notes_.open.size(), 1u);
  EXPECT_EQ(notes_.open[0].first, "z");
  EXPECT_EQ(wire_.output, "22\nagainagain\n");
}

TEST_F(LineSessionTest, UnendedLastLineIsAnsweredBeforeTheGoodbye) {
  rig_.Arrive(wire_, "a\nlast");
  rig_.Fin(wire_);
  rig_.Settle();
  notes_.AnswerFirst();
  rig_.Settle();
  ASSERT_EQ(notes_.open.size(), 1u);
  EXPECT_EQ(wire_.output, "aa\n");
  notes_.AnswerFirst();
  rig_.Settle();
  EXPECT_EQ(wire_.output, "aa\nlastlast\nbye\n");
  EXPECT_TRUE(wire_.closed);
}

TEST_F(LineSessionTest, AskingAnEndedActorFailsAndReadingContinues) {
  oracle_.Stop();
  rig_.Settle();
  rig_.Arrive(wire_, "a\nb\n");
  rig_.Settle();
  EXPECT_EQ(wire_.output,
            "UNAVAILABLE: the actor asked has ended\nUNAVAILABLE: the actor asked has ended\n");
}

// Stops in its first line, by its own Stop() or through its Ref.
class Quitter : public LineSession {
 public:
  Quitter(int* lines, bool by_ref) : LineSession(100), lines_(*lines), by_ref_(by_ref) {}
  void OnLine(std::string_view) override {
    ++lines_;
    if (by_ref_) {
      RefOf(this).Stop();
    } else {
      Stop();
    }
  }

 private:
  int& lines_;
  const bool by_ref_;
};

TEST(LineSession, NoLineFollowsTheSessionsStop) {
  for (const bool by_ref : {false, true}) {
    int lines = 0;
    Rig rig;
    Wire& wire = rig.New().wire;
    rig.OpenAs<Quitter>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &lines,
                        by_ref);
    rig.Settle();
    rig.Arrive(wire, "a\nb\nc\n");
    rig.Settle();
    EXPECT_EQ(lines, 1) << by_ref;
  }
}

// Notes the sizes of its lines; a line that is too long counts as -1. The first line pauses
// reading.
class Measurer : public LineSession {
 public:
  static constexpr uint32_t kLineBytesMax = 200'000;  // Far more than input_bytes_max.
  explicit Measurer(std::vector<int64_t>* sizes) : LineSession(kLineBytesMax), sizes_(*sizes) {}
  void OnLine(std::string_view line) override {
    if (sizes_.empty()) hold_ = HoldReading();
    sizes_.push_back(static_cast<int64_t>(line.size()));
  }
  void OnLongLine() override { sizes_.push_back(-1); }
  void On(Upper) { hold_.Release(); }

 private:
  std::vector<int64_t>& sizes_;
  ReadHold hold_;
};

TEST(LineSession, ALineLongerThanInputBytesMaxIsTaken) {
  std::vector<int64_t> sizes;
  Rig rig;
  ASSERT_LT(rig.runtime.options().input_bytes_max, Measurer::kLineBytesMax);
  Wire& wire = rig.New().wire;
  Slot* const slot =
      rig.OpenAs<Measurer>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &sizes);
  const std::string longest(Measurer::kLineBytesMax, 'x');
  rig.Arrive(wire, longest + "\r\n" + longest + "\r\n" + longest + "x\r\nend\n");
  rig.Settle();
  const int64_t size = Measurer::kLineBytesMax;
  EXPECT_EQ(sizes, std::vector<int64_t>{size});
  EXPECT_EQ(Ref<Measurer>(slot, slot->generation).TrySend(Upper{}), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(sizes, (std::vector<int64_t>{size, size, -1, 3}));
}

}  // namespace
}  // namespace sluice::testing::line_session_test
