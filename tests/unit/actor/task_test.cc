// Tasks of actors: what they wait for, how they end, and what their end destroys.
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/memory/frame_pool.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Twice {
  using Reply = int64_t;
  int64_t number = 0;
};
struct Never {  // Is not answered.
  using Reply = int64_t;
};
struct Poke {
  int64_t number = 0;
};

class Doubler : public Actor {
 public:
  int64_t On(Twice q) { return 2 * q.number; }
  void On(Never, Promise<int64_t> promise) { kept_.push_back(std::move(promise)); }
  void On(Poke) {}

 private:
  std::vector<Promise<int64_t>> kept_;
};

// What a test sees of its actor. Read when the runtime has drained.
struct Seen {
  std::vector<std::string> lines;
  int living = 0;  // Objects in frames.
  std::atomic<bool> ended{false};
  void Add(std::string line) { lines.push_back(std::move(line)); }
  std::string Text() const { return absl::StrJoin(lines, " "); }
};

class Owned {
 public:
  explicit Owned(Seen* seen) : seen_(seen) { ++seen_->living; }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { --seen_->living; }

 private:
  Seen* seen_;
};

class Tasker : public Actor {
 public:
  Tasker(Seen* seen, Ref<Doubler> doubler) : seen_(seen), doubler_(doubler) {}
  ~Tasker() override { seen_->ended = true; }
  void OnStart() override { StartTask(Work()); }

 protected:
  virtual Task<> Work() = 0;
  Task<int64_t> Doubled(int64_t number) {
    const Owned owned(seen_);
    const absl::StatusOr<int64_t> answer = co_await Ask(doubler_, Twice{number}, kLong);
    co_return answer.value_or(-1);
  }
  Seen* const seen_;
  const Ref<Doubler> doubler_;
};

class Tasks : public ::testing::Test {
 protected:
  template <class A>
  void Start() {
    doubler_ = runtime_.Spawn<Doubler>();
    actor_ = runtime_.Spawn<A>(&seen_, doubler_);
    ASSERT_TRUE(runtime_.Start().ok());
  }
  // Until the actor has ended by itself.
  template <class A>
  void Run() {
    Start<A>();
    ASSERT_TRUE(Eventually([&] { return seen_.ended.load(); }));
    EndRuntime();
  }
  void EndRuntime() {
    runtime_.Drain(kLong);
    EXPECT_EQ(seen_.living, 0);
    const Ledger ledger = runtime_.TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  }

  Seen seen_;
  Runtime runtime_{SmallOptions(1)};
  Ref<Doubler> doubler_;
  Ref<Tasker> actor_;
};

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

class WaitsForever : public Tasker {
 public:
  using Tasker::Tasker;
  void On(Poke) { Stop(); }

 private:
  Task<> Asks() {
    const Owned owned(seen_);
    (void)co_await Ask(doubler_, Never{}, absl::InfiniteDuration());
    seen_->Add("not reached");
  }
  Task<> Sleeps() {
    const Owned owned(seen_);
    co_await Sleep(absl::Hours(1));
    seen_->Add("not reached");
  }
  Task<> Work() override {
    const Owned owned(seen_);
    StartTask(Sleeps());
    TaskGroup group(this);
    group.Start(Asks());
    group.Start(Sleeps());
    co_await FirstOf(Asks(), Sleeps(), group.Join());
    seen_->Add("not reached");
  }
};

TEST_F(Tasks, AnActorThatStopsDestroysItsWaitingFrames) {
  Start<WaitsForever>();
  ASSERT_TRUE(Eventually([&] {
    int living = 0;
    OnEachWorker(runtime_, [&](Worker&) { living = seen_.living; });
    return living == 6;
  }));
  actor_.Stop();
  ASSERT_TRUE(Eventually([&] { return seen_.ended.load(); }));
  EndRuntime();
  EXPECT_EQ(seen_.Text(), "");
}

TEST_F(Tasks, TheDumpSaysWhereATaskWaits) {
  Start<WaitsForever>();
  std::string dump;
  EXPECT_TRUE(Eventually([&] {
    dump = runtime_.Dump();
    return dump.find("waits") != std::string::npos;
  }));
  for (const char* text : {"a task of ", " ms for an answer of actor#",
                           " ms for a time, at task_test.cc:", " ms for the first of several",
                           " ms for the tasks of a group, at "}) {
    EXPECT_NE(dump.find(text), std::string::npos) << text << "\n" << dump;
  }
  EndRuntime();
}

TEST_F(Tasks, ADrainDestroysWaitingFrames) {
  Start<WaitsForever>();
  EndRuntime();
  EXPECT_TRUE(seen_.ended);
  EXPECT_EQ(seen_.Text(), "");
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

// --- Tasks that handle messages.

struct Total {
  using Reply = int64_t;
  int64_t number = 0;
};
struct Refused {
  using Reply = int64_t;
};
struct Thrown {
  using Reply = int64_t;
};

class Handler : public Actor {
 public:
  explicit Handler(Ref<Doubler> doubler) : doubler_(doubler) {}
  Task<int64_t> On(Total q) {
    const absl::StatusOr<int64_t> answer = co_await Ask(doubler_, Twice{q.number}, kLong);
    co_return answer.value_or(-1) + 1;
  }
  Task<absl::StatusOr<int64_t>> On(Refused) {
    co_await Sleep(absl::Milliseconds(1));
    co_return absl::NotFoundError("no such total");
  }
  Task<int64_t> On(Thrown) {
    co_await Sleep(absl::Milliseconds(1));
    throw std::runtime_error("total broke");
  }
  Task<> On(Poke poke) {
    co_await Sleep(absl::ZeroDuration());
    (void)Send(doubler_, Poke{poke.number});
    co_await Unparked();
  }

 private:
  const Ref<Doubler> doubler_;
};

class AsksHandlers : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    const Ref<Handler> handler = Spawn<Handler>(doubler_);
    (void)Send(handler, Poke{1});
    (void)Send(handler, Total{1});  // Sent, not asked: the answer is discarded.
    const absl::StatusOr<int64_t> total = co_await Ask(handler, Total{20}, kLong);
    seen_->Add(absl::StrCat(total.value_or(-1)));
    const absl::StatusOr<int64_t> refused = co_await Ask(handler, Refused{}, kLong);
    seen_->Add(std::string(refused.status().message()));
    const absl::StatusOr<int64_t> thrown = co_await Ask(handler, Thrown{}, kLong);
    seen_->Add(std::string(thrown.status().message()));
    Stop();
  }
};

TEST_F(Tasks, AHandlerThatIsATaskAnswersWhenItEnds) {
  Run<AsksHandlers>();
  ASSERT_EQ(seen_.lines.size(), 3u);
  EXPECT_EQ(seen_.lines[0], "41");
  EXPECT_EQ(seen_.lines[1], "no such total");
  EXPECT_NE(seen_.lines[2].find("total broke"), std::string::npos) << seen_.lines[2];
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

// --- Corners.

class StartsInItsConstructor : public Tasker {
 public:
  StartsInItsConstructor(Seen* seen, Ref<Doubler> doubler) : Tasker(seen, doubler) {
    StartTask(Early());
  }

 private:
  Task<> Early() {
    seen_->Add("not reached");
    co_return;
  }
  Task<> Work() override { co_return; }
};

TEST_F(Tasks, ATaskIsNotStartedInAConstructor) {
  Run<StartsInItsConstructor>();
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
}

class StartsInItsDestructor : public Tasker {
 public:
  using Tasker::Tasker;
  ~StartsInItsDestructor() override { StartTask(Late()); }

 private:
  Task<> Late() {
    seen_->Add("not reached");
    co_return;
  }
  Task<> Work() override {
    Stop();
    co_return;
  }
};

TEST_F(Tasks, ATaskIsNotStartedInADestructor) {
  Run<StartsInItsDestructor>();
  EXPECT_EQ(seen_.Text(), "");
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

// --- Restart.

class RestartsOnce : public Actor {
 public:
  RestartsOnce(Seen* seen, std::shared_ptr<int> lives) : seen_(seen), lives_(std::move(lives)) {}
  void OnStart() override {
    StartTask(Work());
    if ((*lives_)++ == 0) throw std::runtime_error("first life");
  }

 private:
  Task<> Work() {
    const Owned owned(seen_);
    co_await Sleep(absl::Milliseconds(2));
    seen_->Add(absl::StrCat("life ", *lives_));
    seen_->ended = true;
    co_await Sleep(absl::Hours(1));
  }
  Seen* const seen_;
  const std::shared_ptr<int> lives_;
};

TEST_F(Tasks, ARestartDestroysTheTasksOfTheFailedLife) {
  runtime_.SpawnRestarting<RestartsOnce>(RestartPolicy{}, SpawnOptions{}, &seen_,
                                         std::make_shared<int>(0));
  ASSERT_TRUE(runtime_.Start().ok());
  ASSERT_TRUE(Eventually([&] { return seen_.ended.load(); }));
  EndRuntime();
  EXPECT_EQ(seen_.Text(), "life 2");
}

// --- Memory.

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// The compiler breaks its frame: to run it would jump to anywhere.
class AwaitsInACondition : public Tasker {
  using Tasker::Tasker;
  Task<> Work() override {
    if ((co_await Ask(doubler_, Twice{1}, kLong)).ok()) co_return;
  }
};
TEST_F(Tasks, AFrameThatTheCompilerBreaksIsNamed) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(Run<AwaitsInACondition>(), "breaks a task without variables");
}
#endif

TEST(FramePool, FramesAreChargedAndTakenFromTheStock) {
  Budget budget(1 << 20);
  Lease lease(budget, 1);
  {
    FramePool pool(lease);
    void* const first = pool.Get(100);
    pool.Put(first, 100);
    EXPECT_EQ(pool.FreeBytes(), 128u);
    EXPECT_EQ(pool.Get(120), first);  // The same kind of block.
    EXPECT_EQ(pool.FreeBytes(), 0u);
    pool.Put(first, 120);
    void* const large = pool.Get(100'000);
    pool.Put(large, 100'000);  // Not kept.
    EXPECT_EQ(pool.FreeBytes(), 128u);
  }
  lease.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(FramePool, AHandIsChargedWhenItIsTaken) {
  Budget budget(1 << 20);
  Lease lease(budget, 1);
  FramePool pool(lease);
  char* const hand = pool.Hand();
  ASSERT_NE(hand, nullptr);
  EXPECT_EQ(pool.Hand(), hand);
  lease.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), 0);
  ASSERT_EQ(pool.TakeHand(), hand);
  lease.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), AllocatedBytes(FramePool::kHandBytes));
  EXPECT_NE(pool.Hand(), hand);
  pool.Put(hand, FramePool::kHandBytes);
  lease.ReturnIdle();
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(FramePool, ASpentBudgetKeepsTheHand) {
  Budget budget(64 * 1024);
  Lease lease(budget, 1);
  FramePool pool(lease);
  char* const hand = pool.Hand();
  std::vector<void*> taken;
  while (void* const place = pool.Get(64)) taken.push_back(place);
  EXPECT_EQ(pool.TakeHand(), nullptr);
  EXPECT_EQ(pool.Hand(), hand);
  for (void* const place : taken) pool.Put(place, 64);
}

TEST(FramePool, ASpentBudgetRefusesAFrame) {
  Budget budget(64 * 1024);
  Lease lease(budget, 1);
  FramePool pool(lease);
  std::vector<void*> taken;
  while (void* const place = pool.Get(2'048)) {
    taken.push_back(place);
    ASSERT_LT(taken.size(), 1'000u);
  }
  for (void* const place : taken) pool.Put(place, 2'048);
  EXPECT_LE(pool.FreeBytes(), FramePool::kFreeBytesMax);
}

}  // namespace
}  // namespace sluice::testing
