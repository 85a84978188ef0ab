// Tasks and the life of their actor: what its messages begin, what its end and its restart destroy,
// and the memory of frames.
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/memory/frame_pool.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/tasks.h"

namespace sluice::testing::task_life_test {
namespace {

using namespace tasks;  // NOLINT(google-build-using-namespace)

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
                           " ms for a time, at task_life_test.cc:", " ms for the first of several",
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
}  // namespace sluice::testing::task_life_test
