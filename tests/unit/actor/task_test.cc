// Tasks of actors: what they wait for, and how an answer or an error comes back.
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/tests/support/tasks.h"

namespace sluice::testing::task_test {
namespace {

using namespace tasks;  // NOLINT(google-build-using-namespace)

class AsksThrice : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    for (int64_t i = 1; i <= 3; ++i) {
      const absl::StatusOr<int64_t> answer = co_await Ask(doubler_, Twice{i}, kLong);
      seen_->Add(absl::StrCat(answer.value_or(-1)));
    }
    Stop();
  }
};

TEST_F(Tasks, AnAnswerComesBackToItsTask) {
  Run<AsksThrice>();
  EXPECT_EQ(seen_.Text(), "2 4 6");
}

class AwaitsTasks : public Tasker {
  using Tasker::Tasker;
  Task<int64_t> Sum(int64_t from, int64_t to) {
    int64_t sum = 0;
    for (int64_t i = from; i <= to; ++i) sum += co_await Doubled(i);
    co_return sum;
  }
  Task<std::unique_ptr<std::string>> Text() { co_return std::make_unique<std::string>("moved"); }
  Task<> Work() override {
    seen_->Add(absl::StrCat(co_await Sum(1, 10)));
    seen_->Add(*co_await Text());
    Stop();
  }
};

TEST_F(Tasks, ATaskAnswersTheTaskThatAwaitsIt) {
  Run<AwaitsTasks>();
  EXPECT_EQ(seen_.Text(), "110 moved");
}

class Loops : public Tasker {
  using Tasker::Tasker;
  Task<int64_t> Next(int64_t number) { co_return number + 1; }
  Task<> Work() override {
    int64_t number = 0;
    while (number < 300'000) number = co_await Next(number);
    seen_->Add(absl::StrCat(number));
    Stop();
  }
};

// A debug build would need more stack than there is, if each task resumed the next.
TEST_F(Tasks, ALongLoopOfTasksNeedsNoStack) {
  Run<Loops>();
  EXPECT_EQ(seen_.Text(), "300000");
}

class Throws : public Tasker {
  using Tasker::Tasker;
  Task<int64_t> Fails() {
    const Owned owned(seen_);
    co_await Sleep(absl::Milliseconds(1));
    throw std::runtime_error("out of ink");
  }
  Task<> Work() override {
    try {
      co_await Fails();
    } catch (const std::exception& error) {
      seen_->Add(absl::StrCat("caught: ", error.what()));
    }
    co_await Fails();
    seen_->Add("not reached");
  }
};

TEST_F(Tasks, AnExceptionGoesToTheAwaitingTaskThenFailsTheActor) {
  Run<Throws>();
  EXPECT_EQ(seen_.Text(), "caught: out of ink");
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
}

class ThrowsAtOnce : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    const Owned owned(seen_);
    if (doubler_) throw std::runtime_error("at once");
    co_return;
  }
};

TEST_F(Tasks, AnExceptionBeforeTheFirstWaitFailsTheActor) {
  Run<ThrowsAtOnce>();
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
}

class TakesTheFirst : public Tasker {
  using Tasker::Tasker;
  Task<> Forever() {
    const Owned owned(seen_);
    co_await Sleep(absl::Hours(1));
  }
  Task<int64_t> AtOnce() { co_return 7; }
  Task<int64_t> Fails() {
    co_await Sleep(absl::Milliseconds(1));
    throw std::runtime_error("broken");
  }
  Task<> Work() override {
    auto first = co_await FirstOf(Forever(), Doubled(4), Sleep(absl::Hours(1)));
    seen_->Add(absl::StrCat(first.index(), ":", std::get<1>(first), ":", seen_->living));
    auto at_once = co_await FirstOf(Forever(), AtOnce(), Forever());
    seen_->Add(absl::StrCat(at_once.index(), ":", std::get<1>(at_once), ":", seen_->living));
    try {
      co_await FirstOf(Forever(), Fails());
    } catch (const std::exception& error) {
      seen_->Add(absl::StrCat(error.what(), ":", seen_->living));
    }
    Stop();
  }
};

TEST_F(Tasks, TheFirstOfSeveralWinsAndTheOthersAreDestroyed) {
  Run<TakesTheFirst>();
  EXPECT_EQ(seen_.Text(), "1:8:0 1:7:0 broken:0");
}

class HasDeadlines : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    const auto late = co_await Within(absl::Milliseconds(2), Ask(doubler_, Never{}, kLong));
    seen_->Add(absl::StatusCodeToString(late.status().code()));
    const auto early = co_await Within(kLong, Doubled(21));
    seen_->Add(absl::StrCat(early.value_or(-1)));
    const absl::StatusOr<int64_t> own = co_await Ask(doubler_, Never{}, absl::Milliseconds(2));
    seen_->Add(absl::StatusCodeToString(own.status().code()));
    Stop();
  }
};

TEST_F(Tasks, ADeadlineCancelsTheWait) {
  Run<HasDeadlines>();
  EXPECT_EQ(seen_.Text(), "DEADLINE_EXCEEDED 42 DEADLINE_EXCEEDED");
}

class Blocks : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    const std::thread::id own = std::this_thread::get_id();
    const absl::StatusOr<bool> other =
        co_await RunBlocking([own] { return std::this_thread::get_id() != own; });
    seen_->Add(absl::StrCat(other.value_or(false)));
    const absl::Status failed =
        co_await RunBlocking([]() { throw std::runtime_error("no such file"); });
    seen_->Add(std::string(failed.message()));
    Stop();
  }
};

TEST_F(Tasks, ABlockingCallRunsElsewhereAndComesBack) {
  Run<Blocks>();
  EXPECT_EQ(seen_.lines[0], "1");
  EXPECT_NE(seen_.lines[1].find("no such file"), std::string::npos) << seen_.lines[1];
}

class AsksTheEnded : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    const absl::StatusOr<int64_t> none = co_await Ask(Ref<Doubler>(), Twice{1}, kLong);
    seen_->Add(absl::StatusCodeToString(none.status().code()));
    doubler_.Stop();
    const absl::StatusOr<int64_t> ended = co_await Ask(doubler_, Twice{1}, kLong);
    seen_->Add(ended.ok() ? "ok" : "ended");
    const absl::StatusOr<int64_t> later = co_await Ask(doubler_, Twice{1}, kLong);
    seen_->Add(absl::StatusCodeToString(later.status().code()));
    Stop();
  }
};

TEST_F(Tasks, AQuestionToAnEndedActorIsAnsweredAtOnce) {
  Run<AsksTheEnded>();
  EXPECT_EQ(seen_.lines.front(), "UNAVAILABLE");
  EXPECT_EQ(seen_.lines.back(), "UNAVAILABLE");
}

class SendsMany : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    SpawnOptions small;
    small.mailbox_messages_max = 4;
    const Ref<Doubler> target = SpawnWith<Doubler>(small);
    int accepted = 0;
    for (int64_t i = 0; i < 5'000; ++i) {
      accepted += Send(target, Poke{i}) == Answer::kAccepted;
      co_await Unparked();
    }
    seen_->Add(absl::StrCat(accepted));
    Stop();
  }
};

// Without the wait the 1,024 places of the outbox would be used up in one handler.
TEST_F(Tasks, ATaskThatSendsMuchWaitsForRoom) {
  Run<SendsMany>();
  EXPECT_EQ(seen_.Text(), "5000");
}

}  // namespace
}  // namespace sluice::testing::task_test
