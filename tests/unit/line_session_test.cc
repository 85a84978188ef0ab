// A session that asks somebody for each line: the order of its answers, and its last line.
#include "sluice/protocols/line_session.h"

#include <string>
#include <string_view>
#include <utility>

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
  int64_t HeldBytes() const { return sluice::HeldBytes(text); }
};

// Answers when the test lets it, or refuses what begins with '!'.
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

TEST_F(LineSessionTest, OneLineAtATimeWhileItAsksInOrder) {
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

TEST_F(LineSessionTest, ACallbackThatAsksOnKeepsTheNextLineWaiting) {
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

TEST_F(LineSessionTest, TheAnswerToALastLineWithoutEndComesBeforeTheGoodbye) {
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

TEST_F(LineSessionTest, WhoAsksAnActorThatHasEndedIsToldAndReadsOn) {
  oracle_.Stop();
  rig_.Settle();
  rig_.Arrive(wire_, "a\nb\n");
  rig_.Settle();
  EXPECT_EQ(wire_.output,
            "UNAVAILABLE: whom it was for has ended\nUNAVAILABLE: whom it was for has ended\n");
}

// Ends itself in its first line, by its own Stop() or through its Ref.
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

TEST(LineSession, NoLineFollowsTheOneInWhichItsSessionStops) {
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

}  // namespace
}  // namespace sluice::testing::line_session_test
