// Tests of the search over turns: it must find the one order that breaks a promise, and run no
// order twice.
#include "sluice/tests/model/turns.h"

#include <string>

#include "gtest/gtest.h"

namespace sluice::model {
namespace {

struct Word {
  char letter;
};
class Writer : public Actor {
 public:
  explicit Writer(std::string* text) : text_(*text) {}
  void On(Word word) { text_ += word.letter; }

 private:
  std::string& text_;
};
class Sender : public Actor {
 public:
  explicit Sender(Ref<Writer> writer) : writer_(writer) {}
  void On(Word word) { (void)Send(writer_, word); }  // A refused word is missing in the text.

 private:
  const Ref<Writer> writer_;
};

Options ThreeWorkers() {
  Options options = testing::WireOptions();
  options.workers = 3;
  return options;
}
SpawnOptions On(int worker) { return {.name = "", .mailbox_messages_max = 0, .worker = worker}; }

// Two senders on workers of their own race: the first word to arrive stands first in the text.
class Race : public TurnsSystem {
 public:
  explicit Race(bool expect_order) : TurnsSystem(ThreeWorkers()), expect_order_(expect_order) {
    const Ref<Writer> writer = runtime.SpawnWith<Writer>(On(0), &text_);
    const Ref<Sender> a = runtime.SpawnWith<Sender>(On(1), writer);
    const Ref<Sender> b = runtime.SpawnWith<Sender>(On(2), writer);
    Settle();
    EXPECT_EQ(a.TrySend(Word{'a'}), Answer::kAccepted);
    EXPECT_EQ(b.TrySend(Word{'b'}), Answer::kAccepted);
  }
  void CheckEnd() override {
    Expect(text_ == "ab" || (text_ == "ba" && !expect_order_), "it is " + text_);
  }

 private:
  const bool expect_order_;
  std::string text_;
};

// Workers 1 and 2 in both orders, with the writer's turn between them or not; the writer takes its
// lanes in order, so one order gives "ba".
TEST(Turns, RunEachOrderOnce) {
  const TurnsReport report = AllTurns<Race>(1'000, false);
  EXPECT_EQ(report.failure, "");
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.runs, 4);
}

TEST(Turns, FindTheOneOrderThatBreaksAndNameIt) {
  const TurnsReport report = AllTurns<Race>(1'000, true);
  EXPECT_EQ(report.failure, "it is ba\nafter the turns of workers 2 0 1 0");
  EXPECT_FALSE(report.complete);
}

}  // namespace
}  // namespace sluice::model
