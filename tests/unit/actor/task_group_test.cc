// Several tasks of one actor: groups, their joins and their errors, and tasks that are cancelled
// while another runs.
#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/tasks.h"

namespace sluice::testing::task_group_test {
namespace {

using namespace tasks;  // NOLINT(google-build-using-namespace)

class Groups : public Tasker {
  using Tasker::Tasker;
  Task<> Adds(int64_t number) { sum_ += co_await Doubled(number); }
  Task<> Fails() {
    co_await Sleep(absl::Milliseconds(1));
    throw std::runtime_error("one of many");
  }
  Task<> Forever() {
    const Owned owned(seen_);
    co_await Sleep(absl::Hours(1));
  }
  Task<> Work() override {
    TaskGroup group(this);
    co_await group.Join();  // Of none.
    for (int64_t i = 1; i <= 100; ++i) group.Start(Adds(i));
    seen_->Add(absl::StrCat(group.size()));
    co_await group.Join();
    seen_->Add(absl::StrCat(sum_, ":", group.size()));
    group.Start(Forever());
    group.Start(Fails());
    try {
      co_await group.Join();
    } catch (const std::exception& error) {
      seen_->Add(absl::StrCat(error.what(), ":", seen_->living, ":", group.size()));
    }
    group.Start(Forever());  // Destroyed with the group.
    Stop();
  }
  int64_t sum_ = 0;
};

TEST_F(Tasks, AGroupWaitsForAllAndEndsWithItsFirstError) {
  Run<Groups>();
  EXPECT_EQ(seen_.Text(), "100 10100:0 one of many:0:0");
}

class LeavesAJoin : public Tasker {
  using Tasker::Tasker;
  Task<> Rests(int64_t ms) {
    co_await Sleep(absl::Milliseconds(ms));
    seen_->Add(absl::StrCat("rested ", ms));
  }
  Task<> Work() override {
    TaskGroup group(this);
    group.Start(Rests(20));
    const absl::Status late = co_await Within(absl::Milliseconds(2), group.Join());
    seen_->Add(absl::StatusCodeToString(late.code()));
    co_await group.Join();
    const absl::Status early = co_await Within(kLong, Rests(1));
    seen_->Add(absl::StatusCodeToString(early.code()));
    Stop();
  }
};

TEST_F(Tasks, AJoinThatIsCancelledMayBeRepeated) {
  Run<LeavesAJoin>();
  EXPECT_EQ(seen_.Text(), "DEADLINE_EXCEEDED rested 20 rested 1 OK");
}

class CancelsAMember : public Tasker {
  using Tasker::Tasker;
  Task<> Rests() {
    const Owned owned(seen_);
    co_await Sleep(absl::Milliseconds(20));
    seen_->Add("not reached");
  }
  Task<> Awaits() { co_await std::move(member_); }
  Task<> Work() override {
    member_ = Rests();
    const absl::Status late = co_await Within(absl::Milliseconds(2), Awaits());
    seen_->Add(absl::StrCat(absl::StatusCodeToString(late.code()), ":", seen_->living));
    co_await Sleep(absl::Milliseconds(40));
    Stop();
  }
  Task<> member_;
};

TEST_F(Tasks, ACancelledTaskTakesTheTaskThatItAwaitsAlong) {
  Run<CancelsAMember>();
  EXPECT_EQ(seen_.Text(), "DEADLINE_EXCEEDED:0");
}

class FailsInside : public Tasker {
  using Tasker::Tasker;
  Task<> ThrowsNow() {
    throw std::runtime_error("at once");
    co_return;
  }
  Task<> StartsOne(TaskGroup* group) {
    const Owned owned(seen_);
    co_await Sleep(absl::Milliseconds(1));
    group->Start(ThrowsNow());  // The joiner waits until this task lets it run.
    seen_->Add("started");
    co_await Sleep(absl::Hours(1));
  }
  Task<> Work() override {
    TaskGroup group(this);
    group.Start(StartsOne(&group));
    try {
      co_await group.Join();
    } catch (const std::exception& error) {
      seen_->Add(absl::StrCat(error.what(), ":", seen_->living));
    }
    Stop();
  }
};

TEST_F(Tasks, AnErrorInsideARunningTaskEndsTheGroupBehindIt) {
  Run<FailsInside>();
  EXPECT_EQ(seen_.Text(), "started at once:0");
}

class CancelsFromOutside : public Tasker {
 public:
  using Tasker::Tasker;
  void OnStart() override {
    Tasker::OnStart();
    After(absl::Milliseconds(2), [this] { group_.Cancel(); });
  }

 private:
  Task<> Forever() {
    const Owned owned(seen_);
    co_await Sleep(absl::Hours(1));
  }
  Task<> Work() override {
    group_.Start(Forever());
    co_await group_.Join();
    seen_->Add(absl::StrCat("joined:", seen_->living));
    Stop();
  }
  TaskGroup group_{this};
};

TEST_F(Tasks, AGroupThatIsCancelledLetsItsJoinerGoOn) {
  Run<CancelsFromOutside>();
  EXPECT_EQ(seen_.Text(), "joined:0");
}

class JoinsInTurn : public Tasker {
  using Tasker::Tasker;
  Task<> Rests(absl::Duration time) { co_await Sleep(time); }
  Task<> Joins(TaskGroup* work) {
    const Owned owned(seen_);
    co_await work->Join();
    seen_->Add("joined");
  }
  Task<> Work() override {
    TaskGroup work(this);
    TaskGroup second(this);
    {
      TaskGroup first(this);
      work.Start(Rests(kLong));
      first.Start(Joins(&work));
      work.Cancel();  // The first joiner goes on when this task waits.
      work.Start(Rests(absl::Milliseconds(1)));
      second.Start(Joins(&work));
    }
    const absl::Status in_time = co_await Within(absl::Seconds(5), second.Join());
    seen_->Add(absl::StrCat(in_time.ok() ? "in time:" : "late:", seen_->living));
    Stop();
  }
};

TEST_F(Tasks, ACancelledJoinLeavesTheNextOneAlone) {
  Run<JoinsInTurn>();
  EXPECT_EQ(seen_.Text(), "joined in time:0");
}

// The loser of a FirstOf was told to go on, behind the winner; the FirstOf lives on, as it has a
// name.
class CancelsWhatWasToGoOn : public Tasker {
  using Tasker::Tasker;
  Task<> Rests() {
    const Owned owned(seen_);
    co_await Sleep(kLong);
  }
  Task<> Cancels(TaskGroup* group) {
    co_await Sleep(absl::Milliseconds(2));
    group->Cancel();
  }
  Task<> Work() override {
    TaskGroup group(this);
    group.Start(Rests());
    auto wait = FirstOf(group.Join(), Cancels(&group));
    seen_->Add(absl::StrCat((co_await wait).index()));
    co_await Sleep(absl::Milliseconds(2));
    seen_->Add("goes on");
    Stop();
  }
};
TEST_F(Tasks, ALoserThatWasToGoOnDoesNot) {
  Run<CancelsWhatWasToGoOn>();
  EXPECT_EQ(seen_.Text(), "1 goes on");
}

class ReplacesItsGroup : public Tasker {
  using Tasker::Tasker;
  Task<> Rests() { co_await Sleep(kLong); }
  Task<> Fails() {
    throw std::runtime_error("the next group failed");
    co_return;
  }
  Task<> Joins() {
    try {
      co_await work_->Join();
      seen_->Add("joined,");
    } catch (const std::exception& error) {
      seen_->Add(absl::StrCat("not: ", error.what()));
    }
  }
  Task<> Work() override {
    work_.emplace(this);
    work_->Start(Rests());
    StartTask(Joins());
    work_->Cancel();  // The joiner goes on when this task waits.
    work_.emplace(this);
    work_->Start(Fails());
    co_await Sleep(absl::Milliseconds(1));
    try {
      co_await work_->Join();
    } catch (const std::exception& error) {
      seen_->Add(error.what());
    }
    Stop();
  }
  std::optional<TaskGroup> work_;
};

TEST_F(Tasks, AGroupMayEndBeforeItsJoinerHasGoneOn) {
  Run<ReplacesItsGroup>();
  EXPECT_EQ(seen_.Text(), "joined, the next group failed");
}

class FailsThrice : public Tasker {
  using Tasker::Tasker;
  Task<> Fails(std::string text) {
    throw std::runtime_error(text);
    co_return;
  }
  Task<> Work() override {
    TaskGroup group(this);
    group.Start(Fails("the first"));
    group.Start(Fails("the second"));
    group.Start(Fails("the third"));
    try {
      co_await group.Join();
    } catch (const std::exception& error) {
      seen_->Add(error.what());
    }
    Stop();
  }
};

TEST_F(Tasks, EachErrorBehindTheFirstOfAGroupIsLogged) {
  const LogLevelScope level(LogLevel::kError);
  EXPECT_TRUE(LogFlush());  // Lines of earlier tests.
  ::testing::internal::CaptureStderr();
  Run<FailsThrice>();
  EXPECT_TRUE(LogFlush());
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(seen_.Text(), "the first");
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2) << log;
  EXPECT_NE(log.find("error 2 of a group of tasks, behind the one that Join tells: the second"),
            std::string::npos)
      << log;
  EXPECT_NE(log.find("error 3 of a group"), std::string::npos) << log;
}

class JoinsTwice : public Tasker {
  using Tasker::Tasker;
  Task<> Waits() { co_await Sleep(absl::Hours(1)); }
  Task<> Joins(TaskGroup* group) { co_await group->Join(); }
  Task<> Work() override {
    TaskGroup group(this);
    group.Start(Waits());
    StartTask(Joins(&group));
    co_await group.Join();
  }
};

TEST_F(Tasks, ASecondJoinOfAGroupIsNamed) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(Run<JoinsTwice>(),
               "a task of .*JoinsTwice.* joins a group that another one joins, at "
               ".*task_group_test.cc:");
}

}  // namespace
}  // namespace sluice::testing::task_group_test
