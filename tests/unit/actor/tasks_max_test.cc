// Tests of the bound on tasks that messages begin: past it an actor takes no message.
#include <cstdint>
#include <memory>
#include <stdexcept>
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
#include "sluice/core/actor/task.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::tasks_max_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Square {
  using Reply = int64_t;
  int64_t number = 0;
};
struct AtOnce {
  using Reply = int64_t;
};
struct Broken {
  using Reply = int64_t;
};
struct Note {
  int64_t number = 0;
};
struct Begin {};
struct AskAll {
  int64_t count = 0;
};
struct AskAtOnce {};
struct AskBroken {};

struct Seen {
  std::vector<std::string> lines;
  int64_t open = 0;
  int64_t most = 0;
  int64_t begun = 0;
  std::string Text() const { return absl::StrJoin(lines, " "); }
};

class Opened {
 public:
  explicit Opened(Seen* seen) : seen_(*seen) {
    ++seen_.begun;
    if (++seen_.open > seen_.most) seen_.most = seen_.open;
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() { --seen_.open; }

 private:
  Seen& seen_;
};

// Its answers take 10 ms each.
class Clerk : public Actor {
 public:
  explicit Clerk(Seen* seen) : seen_(seen) {}
  Task<int64_t> On(Square q) {
    const Opened open(seen_);
    co_await Sleep(absl::Milliseconds(10));
    co_return q.number* q.number;
  }
  Task<int64_t> On(AtOnce) {
    const Opened open(seen_);
    co_return 1;
  }
  Task<int64_t> On(Broken) {
    const Opened open(seen_);
    co_await Sleep(absl::Milliseconds(10));
    throw std::runtime_error("broken");
  }
  Task<> On(Note note) {
    const Opened open(seen_);
    co_await Sleep(absl::Milliseconds(10));
    seen_->lines.push_back(absl::StrCat("n", note.number));
  }
  void On(Begin) {
    StartTask(Rests());
    StartTask(Rests());
  }

 private:
  Task<> Rests() { co_await Sleep(absl::Hours(1)); }
  Seen* const seen_;
};

class Asker : public Actor {
 public:
  Asker(Seen* seen, Ref<Clerk> clerk) : seen_(*seen), clerk_(clerk) {}
  void On(AskAll all) {
    for (int64_t i = 1; i <= all.count; ++i) Order(Square{i});
  }
  void On(AskAtOnce) { Order(AtOnce{}); }
  void On(AskBroken) { Order(Broken{}); }

 private:
  template <class Q>
  void Order(Q question) {
    EXPECT_EQ(Ask(clerk_, question, kLong,
                  [this](const absl::StatusOr<int64_t>& reply) {
                    seen_.lines.push_back(reply.ok()
                                              ? absl::StrCat(*reply)
                                              : absl::StatusCodeToString(reply.status().code()));
                  }),
              Answer::kAccepted);
  }
  Seen& seen_;
  const Ref<Clerk> clerk_;
};

class TasksMax : public ::testing::Test {
 protected:
  static Options OptionsOf(uint32_t tasks_max) {
    Options options = SmallOptions(2);
    if (tasks_max != 0) options.tasks_max = tasks_max;
    return options;
  }
  explicit TasksMax(uint32_t of_runtime = 0)
      : runtime_(OptionsOf(of_runtime), os_), step_(runtime_) {}
  ~TasksMax() override {
    os_.runs = true;
    runtime_.Drain(kLong);
    EXPECT_EQ(seen_.open, 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  void Make(uint32_t tasks_max, uint32_t mailbox = 0) {
    SpawnOptions options{.name = "clerk", .mailbox_messages_max = mailbox, .worker = 0};
    options.tasks_max = tasks_max;
    clerk_ = runtime_.SpawnWith<Clerk>(options, &seen_);
    asker_ = runtime_.SpawnWith<Asker>({.name = "", .mailbox_messages_max = 0, .worker = 1}, &seen_,
                                       clerk_);
    step_.Round(2);
  }
  void Passes(absl::Duration time) {
    os_.Advance(time);
    step_.Round(6);
  }
  ClockOs os_;
  Seen seen_;
  Runtime runtime_;
  Stepper step_;
  Ref<Clerk> clerk_;
  Ref<Asker> asker_;
};

TEST_F(TasksMax, OfOneEndsAQuestionBeforeTheNextIsTaken) {
  Make(1);
  ASSERT_EQ(asker_.TrySend(AskAll{4}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_EQ(seen_.begun, 1);
  for (int i = 0; i < 4; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.Text(), "1 4 9 16");
  EXPECT_EQ(seen_.most, 1);
}

TEST_F(TasksMax, AsManyRunAtOnceAsTheSpawnSaysAndNotOneMore) {
  Make(3);
  ASSERT_EQ(asker_.TrySend(AskAll{7}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_EQ(seen_.open, 3);
  EXPECT_NE(runtime_.Dump().find("clerk holds its mail for 0 ms (3 tasks of at most 3), and 4"),
            std::string::npos)
      << runtime_.Dump();
  for (int i = 0; i < 3; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.Text(), "1 4 9 16 25 36 49");
  EXPECT_EQ(seen_.most, 3);
}

TEST_F(TasksMax, ATaskThatNeedsNoWaitLeavesNoHold) {
  Make(1);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(asker_.TrySend(AskAtOnce{}), Answer::kAccepted);
  step_.Round(10);
  EXPECT_EQ(seen_.Text(), "1 1 1 1 1");
}

TEST_F(TasksMax, AlsoBoundsMessagesThatATaskHandles) {
  Make(2);
  for (int64_t i = 1; i <= 5; ++i) ASSERT_EQ(clerk_.TrySend(Note{i}), Answer::kAccepted);
  step_.Round(2);
  for (int i = 0; i < 3; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.Text(), "n1 n2 n3 n4 n5");
  EXPECT_EQ(seen_.most, 2);
}

TEST_F(TasksMax, DoesNotCountTasksOfStartTask) {
  Make(1);
  ASSERT_EQ(clerk_.TrySend(Begin{}), Answer::kAccepted);
  ASSERT_EQ(asker_.TrySend(AskAll{1}), Answer::kAccepted);
  step_.Round(4);
  Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.Text(), "1");
  clerk_.Stop();  // A drain would wait for the hour of its tasks' timers.
}

TEST_F(TasksMax, AFloodOfAskersFromAnotherWorkerIsParked) {
  Make(2, /*mailbox=*/2);
  ASSERT_EQ(asker_.TrySend(AskAll{20}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_TRUE(asker_.slot()->parked);
  for (int i = 0; i < 12; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.lines.size(), 20u) << seen_.Text();
  EXPECT_EQ(seen_.most, 2);
  EXPECT_FALSE(asker_.slot()->parked);
}

TEST_F(TasksMax, ARestartBeginsWithNoneOpen) {
  SpawnOptions one{.name = "clerk", .mailbox_messages_max = 0, .worker = 0};
  one.tasks_max = 1;
  clerk_ = runtime_.SpawnRestarting<Clerk>({.backoff_min = absl::ZeroDuration()}, one, &seen_);
  asker_ = runtime_.SpawnWith<Asker>({.name = "", .mailbox_messages_max = 0, .worker = 1}, &seen_,
                                     clerk_);
  ASSERT_EQ(asker_.TrySend(AskBroken{}), Answer::kAccepted);
  ASSERT_EQ(asker_.TrySend(AskAll{2}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_EQ(seen_.begun, 1);
  for (int i = 0; i < 4; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.Text(), "ABORTED 1 4");
  EXPECT_EQ(seen_.most, 1);
}

class TasksMaxOfTheRuntime : public TasksMax {
 protected:
  TasksMaxOfTheRuntime() : TasksMax(2) {}
};

TEST_F(TasksMaxOfTheRuntime, HoldsForASpawnThatSaysNothing) {
  Make(0);
  ASSERT_EQ(asker_.TrySend(AskAll{5}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_EQ(seen_.open, 2);
  for (int i = 0; i < 3; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.lines.size(), 5u);
}

TEST_F(TasksMaxOfTheRuntime, ADrainEndsTheWorkOnWhatWaits) {
  Make(1);
  for (int64_t i = 1; i <= 4; ++i) ASSERT_EQ(clerk_.TrySend(Note{i}), Answer::kAccepted);
  os_.runs = true;
  runtime_.Drain(kLong);
  EXPECT_EQ(seen_.Text(), "n1 n2 n3 n4");
}

// Below tasks_max nothing is held: the tasks themselves are what the drain waits for.
TEST_F(TasksMax, ADrainWaitsForTasksThatMessagesBegan) {
  Make(0);
  for (int64_t i = 1; i <= 4; ++i) ASSERT_EQ(clerk_.TrySend(Note{i}), Answer::kAccepted);
  step_.Round(4);
  ASSERT_EQ(seen_.open, 4);
  os_.runs = true;
  runtime_.Drain(kLong);
  EXPECT_EQ(seen_.lines.size(), 4u);
}

// Each task has a timer and a question open. With as many tasks as questions may wait the actor
// would fail: timers_max.
TEST_F(TasksMax, ByDefaultAFloodOfQuestionsLeavesEachTaskItsTimers) {
  Make(0, 5'000);
  ASSERT_EQ(asker_.TrySend(AskAll{1'000}), Answer::kAccepted);
  step_.Round(10);
  EXPECT_EQ(seen_.open, 256);
  for (int i = 0; i < 5; ++i) Passes(absl::Milliseconds(12));
  EXPECT_EQ(seen_.lines.size(), 1'000u);
  EXPECT_EQ(runtime_.TotalLedger().failed, 0);
}

}  // namespace
}  // namespace sluice::testing::tasks_max_test
