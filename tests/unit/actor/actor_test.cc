// Tests of handlers, messages of every kind, promises and exceptions. The test's thread steps the
// workers, unless a test is about threads.
#include "sluice/core/actor/actor.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::actor_test {
namespace {

struct Small {
  int value;
};
struct Text {
  std::string text;
};
struct Boxed {
  char bytes[100];
};
struct alignas(32) Aligned {
  int value;
};
struct Only {
  std::unique_ptr<int> value;
};
struct Query {
  using Reply = int;
  int value;
};
struct Later {
  using Reply = std::string;
};
struct Root {  // The handler answers with a value, or with an error status.
  using Reply = int;
  int value;
};
struct Boom {
  int kind;
};
static_assert(Message<Small> && Message<Text> && Message<Boxed> && Message<Aligned> &&
              Message<Only>);
struct Silent {  // Owns memory, and does not say how much.
  std::function<void()> work;
};
static_assert(!Message<Silent>);
struct Throwing {
  Throwing(Throwing&&) noexcept(false) {}
};
static_assert(!Message<Throwing>);

class Subject : public Actor {
 public:
  explicit Subject(std::vector<std::string>* log) : log_(*log) {}
  ~Subject() override { log_.push_back("gone"); }
  void OnStart() override { log_.push_back("start"); }
  void OnStop() override {
    log_.push_back("stop");
    if (throw_in_stop) throw std::runtime_error("in OnStop");
  }
  void OnDown(const Down& down) override {
    log_.push_back("down: " + std::string(EndReasonName(down.reason)) + ": " + down.text);
  }
  void On(Small small) { log_.push_back("small " + std::to_string(small.value)); }
  void On(Text text) { log_.push_back(std::move(text.text)); }
  void On(const Boxed& boxed) { log_.push_back(std::string("boxed ") + boxed.bytes); }
  void On(const Aligned& aligned) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&aligned) % 32, 0u);
    log_.push_back("aligned");
  }
  void On(Only only) { log_.push_back("only " + std::to_string(*only.value)); }
  int On(Query ask) {
    if (ask.value < 0) throw std::invalid_argument("no negative questions");
    return ask.value + 1;
  }
  absl::StatusOr<int> On(Root ask) {
    if (ask.value < 0) return absl::OutOfRangeError("no root");
    return ask.value / 2;
  }
  void On(Later, Promise<std::string> promise) { promise_ = std::move(promise); }
  void On(Boom boom) {
    if (boom.kind == 0) throw std::runtime_error("boom");
    if (boom.kind == 1) throw 42;
    throw std::bad_alloc();
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::Monitor;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::Stop;
  Promise<std::string> promise_;
  bool throw_in_stop = false;

 private:
  std::vector<std::string>& log_;
};

class ActorTest : public ::testing::Test {
 protected:
  ActorTest() : runtime_(SmallOptions(2)), step_(runtime_) {}
  ~ActorTest() override {
    runtime_.Drain(absl::Seconds(5));
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  Ref<Subject> Make(std::vector<std::string>* log, int worker = 0) {
    const Ref<Subject> ref =
        runtime_.SpawnWith<Subject>({.name = "", .mailbox_messages_max = 0, .worker = worker}, log);
    step_.Round(2);
    return ref;
  }
  static Subject& Of(const Ref<Subject>& ref) { return *static_cast<Subject*>(ref.slot()->actor); }
  void Do(const Ref<Subject>& ref, std::function<void(Subject&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test", [&] { act(Of(ref)); }));
    worker.Leave();
  }
  bool LogHas(const std::vector<std::string>& log, const std::string& line) {
    return step_.Until([&] { return std::find(log.begin(), log.end(), line) != log.end(); }, 10);
  }
  Runtime runtime_;
  Stepper step_;
  std::vector<std::string> log_;
  std::vector<std::string> other_log_;
};

TEST_F(ActorTest, StartIsFirstStopIsLast) {
  const Ref<Subject> ref = Make(&log_);
  EXPECT_EQ(ref.TrySend(Small{1}), Answer::kAccepted);
  step_.Round(2);
  ref.Stop();
  step_.Round(4);
  EXPECT_EQ(log_, (std::vector<std::string>{"start", "small 1", "stop", "gone"}));
}

TEST_F(ActorTest, MessagesOfEveryKindArriveWhole) {
  for (int worker : {0, 1}) {
    const Ref<Subject> from = Make(&other_log_, 0);
    const Ref<Subject> to = Make(&log_, worker);
    log_.clear();
    Do(from, [&](Subject& self) {
      const Text kept{"a text that is longer than a short string"};
      EXPECT_EQ(self.Send(to, kept), Answer::kAccepted);
      EXPECT_EQ(kept.text.size(), 41u);  // An lvalue is copied.
      EXPECT_EQ(self.Send(to, Boxed{"hundred bytes"}), Answer::kAccepted);
      EXPECT_EQ(self.Send(to, Aligned{1}), Answer::kAccepted);
      EXPECT_EQ(self.Send(to, Only{std::make_unique<int>(7)}), Answer::kAccepted);
      EXPECT_EQ(self.Send(Recipient<Small>(to), Small{2}), Answer::kAccepted);
      const Small small{3};
      EXPECT_EQ(self.Send(Recipient<Small>(to), small), Answer::kAccepted);
    });
    step_.Round(4);
    EXPECT_EQ(log_, (std::vector<std::string>{"a text that is longer than a short string",
                                              "boxed hundred bytes", "aligned", "only 7", "small 2",
                                              "small 3"}));
    EXPECT_EQ(to.slot()->mailbox.FreeCredits(), to.slot()->mailbox.Capacity());
  }
}

TEST_F(ActorTest, OnlyAnAcceptedMessageIsMovedFrom) {
  const Ref<Subject> ref = Make(&log_);
  ref.Stop();
  step_.Round(4);
  Text text{"a text that is longer than a short string"};
  EXPECT_EQ(ref.TrySend(std::move(text)), Answer::kClosed);
  EXPECT_EQ(text.text.size(), 41u);
  Only only{std::make_unique<int>(7)};
  EXPECT_EQ(Recipient<Only>(ref).TrySend(std::move(only)), Answer::kClosed);
  ASSERT_NE(only.value, nullptr);
  const Ref<Subject> other = Make(&other_log_);
  Do(other, [&](Subject& self) {
    EXPECT_EQ(self.Send(Recipient<Only>(ref), std::move(only)), Answer::kClosed);
    EXPECT_NE(only.value, nullptr);
    EXPECT_EQ(self.Send(Ref<Subject>(), std::move(only)), Answer::kClosed);
    EXPECT_NE(only.value, nullptr);
  });
}

TEST_F(ActorTest, ExceptionEndsOnlyItsActorWithItsText) {
  const std::vector<std::pair<int, std::string>> kinds = {
      {0, "boom"}, {1, "an exception of type int"}, {2, "std::bad_alloc"}};
  const Ref<Subject> watcher = Make(&other_log_, 1);
  for (const auto& [kind, text] : kinds) {
    const Ref<Subject> ref = Make(&log_);
    Do(watcher, [&](Subject& self) { self.Monitor(ref); });
    step_.Round(4);
    EXPECT_EQ(ref.TrySend(Boom{kind}), Answer::kAccepted);
    EXPECT_TRUE(LogHas(other_log_, "down: failed: " + text));
    EXPECT_EQ(ref.TrySend(Small{1}), Answer::kClosed);
    EXPECT_EQ(std::count(log_.begin(), log_.end(), "stop"),
              0);  // A failed actor runs no handler, not even OnStop.
  }
  EXPECT_EQ(runtime_.TotalLedger().failed, 3);
  EXPECT_EQ(runtime_.TotalLedger().dropped[static_cast<int>(DropReason::kFailed)], 3);
}

TEST_F(ActorTest, ExceptionInTimerOrOnStopEndsActor) {
  const Ref<Subject> watcher = Make(&other_log_, 1);
  const Ref<Subject> ref = Make(&log_);
  Do(watcher, [&](Subject& self) { self.Monitor(ref); });
  Do(ref, [](Subject& self) {
    self.After(absl::Milliseconds(1), [] { throw std::runtime_error("in a timer"); });
  });
  EXPECT_TRUE(LogHas(other_log_, "down: failed: in a timer"));
  const Ref<Subject> second = Make(&log_);
  Do(watcher, [&](Subject& self) { self.Monitor(second); });
  Do(second, [](Subject& self) { self.throw_in_stop = true; });
  step_.Round(3);
  second.Stop();
  EXPECT_TRUE(LogHas(other_log_, "down: failed: in OnStop"));
}

TEST_F(ActorTest, AnswersComeByReturnPromiseAndOtherThreads) {
  for (int worker : {0, 1}) {
    const Ref<Subject> asker = Make(&other_log_, 0);
    const Ref<Subject> asked = Make(&log_, worker);
    int answer = 0;
    std::vector<std::string> later;
    Do(asker, [&](Subject& self) {
      EXPECT_EQ(self.Ask(asked, Query{41}, absl::Seconds(5),
                         [&](absl::StatusOr<int> reply) { answer = *reply; }),
                Answer::kAccepted);
      EXPECT_EQ(self.Ask(asked, Later{}, absl::Seconds(5),
                         [&](absl::StatusOr<std::string> reply) { later.push_back(*reply); }),
                Answer::kAccepted);
    });
    EXPECT_TRUE(step_.Until([&] { return answer == 42; }));
    step_.Round(4);
    EXPECT_TRUE(later.empty());
    std::thread([promise = std::move(Of(asked).promise_)]() mutable {
      promise.Resolve("from a thread");
    }).join();
    EXPECT_TRUE(step_.Until([&] { return later.size() == 1; }));
    EXPECT_EQ(later, std::vector<std::string>{"from a thread"});
  }
}

TEST_F(ActorTest, AHandlerMayRefuseAQuestionWithAStatus) {
  const Ref<Subject> asker = Make(&other_log_, 0);
  const Ref<Subject> asked = Make(&log_, 1);
  std::vector<std::string> heard;
  Do(asker, [&](Subject& self) {
    for (int value : {8, -1}) {
      EXPECT_EQ(self.Ask(asked, Root{value}, absl::Seconds(50),
                         [&](absl::StatusOr<int> reply) {
                           heard.push_back(reply.ok() ? std::to_string(*reply)
                                                      : reply.status().ToString());
                         }),
                Answer::kAccepted);
    }
  });
  EXPECT_TRUE(step_.Until([&] { return heard.size() == 2; }));
  EXPECT_EQ(heard, (std::vector<std::string>{"4", "OUT_OF_RANGE: no root"}));
}

TEST_F(ActorTest, AQuestionThatCannotBeAnsweredIsAnsweredSo) {
  const Ref<Subject> asker = Make(&other_log_, 0);
  for (int worker : {0, 1}) {
    const Ref<Subject> asked = Make(&log_, worker);
    std::vector<absl::Status> statuses;
    const auto note = [&](const auto& reply) { statuses.push_back(reply.status()); };
    Do(asker, [&](Subject& self) {
      EXPECT_EQ(self.Ask(asked, Later{}, absl::Seconds(50), note), Answer::kAccepted);
    });
    step_.Round(3);
    Do(asked, [](Subject& self) { self.promise_ = Promise<std::string>(); });  // Dropped.
    EXPECT_TRUE(step_.Until([&] { return statuses.size() == 1; }));
    EXPECT_EQ(statuses[0].code(), absl::StatusCode::kAborted);
    Do(asker, [&](Subject& self) {
      EXPECT_EQ(self.Ask(asked, Later{}, absl::Seconds(50), note), Answer::kAccepted);
    });
    step_.Round(3);
    Do(asked, [](Subject& self) { self.promise_.Fail(absl::OkStatus()); });
    EXPECT_TRUE(step_.Until([&] { return statuses.size() == 2; }));
    EXPECT_EQ(statuses[1].code(), absl::StatusCode::kInternal);
    statuses.pop_back();
    // The handler throws, and the second question still waits in the mailbox of the dead actor.
    Do(asker, [&](Subject& self) {
      EXPECT_EQ(self.Ask(asked, Query{-1}, absl::Seconds(50), note), Answer::kAccepted);
      EXPECT_EQ(self.Ask(asked, Query{1}, absl::Seconds(50), note), Answer::kAccepted);
    });
    EXPECT_TRUE(step_.Until([&] { return statuses.size() == 3; }));
    EXPECT_EQ(statuses[1].code(), absl::StatusCode::kAborted);
    EXPECT_EQ(statuses[2].code(), absl::StatusCode::kAborted);
    Do(asker, [&](Subject& self) {
      EXPECT_EQ(self.Ask(asked, Query{1}, absl::Seconds(50), note), Answer::kClosed);
    });
  }
}

TEST_F(ActorTest, EndDropsTimersAndQuestionsInTheirOrder) {
  const Ref<Subject> asker = Make(&other_log_, 0);
  const Ref<Subject> asked = Make(&log_, 1);
  std::vector<int> forgotten;
  const auto held = [&](int number) {
    return std::shared_ptr<void>(nullptr, [&, number](void*) { forgotten.push_back(number); });
  };
  Do(asker, [&](Subject& self) {
    for (int i = 0; i < 20; ++i) {
      EXPECT_NE(self.After(absl::Hours(1), [kept = held(i)] {}), 0u);
      EXPECT_EQ(self.Ask(asked, Later{}, absl::InfiniteDuration(),
                         [kept = held(20 + i)](const absl::StatusOr<std::string>&) {}),
                Answer::kAccepted);
    }
  });
  asker.Stop();
  EXPECT_TRUE(LogHas(other_log_, "gone"));
  step_.Round(4);
  std::vector<int> made(40);
  std::iota(made.begin(), made.end(), 0);
  EXPECT_EQ(forgotten, made);
}

TEST_F(ActorTest, DeadlineAnswersOnceAndLateReplyIsDropped) {
  const Ref<Subject> asker = Make(&other_log_, 0);
  const Ref<Subject> asked = Make(&log_, 1);
  std::vector<absl::Status> statuses;
  Do(asker, [&](Subject& self) {
    EXPECT_EQ(self.Ask(asked, Later{}, absl::Milliseconds(2),
                       [&](const absl::StatusOr<std::string>& reply) {
                         statuses.push_back(reply.status());
                       }),
              Answer::kAccepted);
  });
  EXPECT_TRUE(step_.Until([&] { return statuses.size() == 1; }));
  EXPECT_EQ(statuses[0].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(asker.slot()->extra->AskCount(), 1u);  // The reply's place stays reserved...
  Of(asked).promise_.Resolve("late");
  // ...until the late reply comes.
  EXPECT_TRUE(step_.Until([&] { return asker.slot()->extra->AskCount() == 0; }));
  EXPECT_EQ(statuses.size(), 1u);
}

TEST(AsksMax, OneMoreIsRefusedUntilAnAnswerComes) {
  Options options = SmallOptions(1);
  options.asks_max = 2;
  std::vector<std::string> log;
  Runtime runtime(options);
  Stepper step(runtime);
  const Ref<Subject> a = runtime.Spawn<Subject>(&log);
  step.Round(2);
  Worker& worker = runtime.worker(0);
  worker.Enter();
  std::vector<Answer> answers;
  int replies = 0;
  worker.RunHandler(a.slot(), "test", [&] {
    auto& self = *static_cast<Subject*>(a.slot()->actor);
    for (int i = 0; i < 3; ++i) {
      answers.push_back(
          self.Ask(a, Query{i}, absl::InfiniteDuration(), [&](absl::StatusOr<int>) { ++replies; }));
    }
  });
  worker.Leave();
  EXPECT_EQ(answers,
            (std::vector<Answer>{Answer::kAccepted, Answer::kAccepted, Answer::kOverloaded}));
  EXPECT_TRUE(step.Until([&] { return replies == 2; }));
}

}  // namespace
}  // namespace sluice::testing::actor_test
