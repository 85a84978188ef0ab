// Tests of questions that are passed on: the answer, or why there is none, goes to the promise.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::ask_for_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Twice {
  using Reply = int;
  int number = 0;
};
struct Refuses {
  using Reply = int;
};
struct Never {
  using Reply = int;
};
struct Text {
  using Reply = std::unique_ptr<std::string>;
};

class Oracle : public Actor {
 public:
  int On(Twice q) { return 2 * q.number; }
  absl::StatusOr<int> On(Refuses) { return absl::NotFoundError("no oracle"); }
  void On(Never, Promise<int> promise) { kept_.push_back(std::move(promise)); }
  std::unique_ptr<std::string> On(Text) { return std::make_unique<std::string>("moved"); }

 private:
  std::vector<Promise<int>> kept_;
};

struct Wide {  // An int64_t is made of the oracle's int without loss.
  using Reply = int64_t;
};
struct Late {
  using Reply = int;
};
struct OfNobody {
  using Reply = int;
};

// Passes each question on to the oracle.
class Clerk : public Actor {
 public:
  explicit Clerk(Ref<Oracle> oracle) : oracle_(oracle) {}
  ~Clerk() override { AskFor(std::move(last_), oracle_, Twice{8}, kLong); }
  void On(Twice q, Promise<int> promise) { AskFor(std::move(promise), oracle_, q, kLong); }
  void On(Refuses q, Promise<int> promise) { AskFor(std::move(promise), oracle_, q, kLong); }
  void On(Never q, Promise<int> promise) {
    AskFor(std::move(promise), oracle_, q, absl::Milliseconds(50));
  }
  void On(Text q, Promise<std::unique_ptr<std::string>> promise) {
    AskFor(std::move(promise), oracle_, q, kLong);
  }
  void On(Wide, Promise<int64_t> promise) { AskFor(std::move(promise), oracle_, Twice{21}, kLong); }
  void On(OfNobody, Promise<int> promise) {
    AskFor(std::move(promise), Ref<Oracle>(), Twice{1}, kLong);
  }
  void On(Late, Promise<int> promise) { last_ = std::move(promise); }
  using Actor::Stop;

 private:
  const Ref<Oracle> oracle_;
  Promise<int> last_;
};

struct Do {
  std::function<void(class Asker&)>* act;
};
class Asker : public Actor {
 public:
  explicit Asker(std::vector<std::string>* told) : told_(*told) {}
  void On(Do order) { (*order.act)(*this); }
  template <class Q>
  void Order(const Ref<Clerk>& clerk, Q question) {
    EXPECT_EQ(Ask(clerk, std::move(question), kLong,
                  [this](absl::StatusOr<typename Q::Reply> reply) {
                    if (!reply.ok()) return told_.push_back(reply.status().ToString());
                    if constexpr (requires { **reply; }) {
                      told_.push_back(**reply);
                    } else {
                      told_.push_back(absl::StrCat(*reply));
                    }
                  }),
              Answer::kAccepted);
  }

 private:
  std::vector<std::string>& told_;
};

class PassedOn : public ::testing::Test {
 protected:
  PassedOn() : runtime_(Limits(), os_), step_(runtime_) {
    oracle_ = runtime_.SpawnWith<Oracle>(On(0));
    clerk_ = runtime_.SpawnWith<Clerk>(On(1), oracle_);
    asker_ = runtime_.SpawnWith<Asker>(On(0), &told_);
    step_.Round(2);
  }
  ~PassedOn() override {
    os_.runs = true;
    runtime_.Drain(kLong);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  static Options Limits() {
    Options options = SmallOptions(2);
    options.asks_max = 4;
    return options;
  }
  static SpawnOptions On(int worker) {
    return {.name = "", .mailbox_messages_max = 0, .worker = worker};
  }
  template <class Q>
  std::string Told(Q question) {
    told_.clear();
    Order(question);
    step_.Round(8);
    return absl::StrJoin(told_, " ");
  }
  template <class Q>
  void Order(Q question) {
    std::function<void(Asker&)> order = [&](Asker& self) { self.Order(clerk_, question); };
    ASSERT_EQ(asker_.TrySend(Do{&order}), Answer::kAccepted);
    step_.Round(2);
  }

  ClockOs os_;
  std::vector<std::string> told_;
  Runtime runtime_;
  Stepper step_;
  Ref<Oracle> oracle_;
  Ref<Clerk> clerk_;
  Ref<Asker> asker_;
};

TEST_F(PassedOn, TheAnswerGoesToThePromise) {
  EXPECT_EQ(Told(Twice{4}), "8");
  EXPECT_EQ(Told(Text{}), "moved");
  EXPECT_EQ(Told(Wide{}), "42");
  EXPECT_EQ(Told(Refuses{}), "NOT_FOUND: no oracle");
}

TEST_F(PassedOn, TheDeadlineOfThePassedQuestionFailsThePromise) {
  EXPECT_EQ(Told(Never{}), "");
  os_.Advance(absl::Milliseconds(60));
  step_.Round(6);
  EXPECT_EQ(absl::StrJoin(told_, " "), "DEADLINE_EXCEEDED: no answer before the deadline");
}

// The same words as for a task that awaits the question.
TEST_F(PassedOn, ARefusedQuestionSaysWhy) {
  EXPECT_EQ(Told(OfNobody{}), "UNAVAILABLE: the actor asked has ended");
  for (int i = 0; i < 4; ++i) Order(Never{});
  asker_ = runtime_.SpawnWith<Asker>(On(0), &told_);  // The first one has asks_max open, too.
  EXPECT_EQ(Told(Twice{1}), "UNAVAILABLE: too busy, try again");
  oracle_.Stop();
  step_.Round(6);
  told_.clear();
  EXPECT_EQ(Told(Twice{1}), "UNAVAILABLE: the actor asked has ended");
}

TEST_F(PassedOn, TheEndOfTheClerkDropsThePromise) {
  Order(Never{});
  clerk_.Stop();
  step_.Round(8);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0].ends_with("Clerk#1 has ended")) << told_[0];
}

TEST_F(PassedOn, AQuestionOfTheClerksDestructorHasNoAnswer) {
  Order(Late{});
  clerk_.Stop();
  step_.Round(8);
  EXPECT_EQ(absl::StrJoin(told_, " "), "ABORTED: actor#1 has ended");
}

}  // namespace
}  // namespace sluice::testing::ask_for_test
