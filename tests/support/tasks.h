// What the tests of tasks share: an actor whose task is the test, one that it asks, and what the
// test sees of them.
//
// Owner:  the fixture Tasks, as a member of its test.
// Thread: the test's; Seen is the worker's until the runtime has drained.
// Bound:  one actor for each test.
// Errors: expectations.
#ifndef SLUICE_TESTS_SUPPORT_TASKS_H_
#define SLUICE_TESTS_SUPPORT_TASKS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::tasks {

inline constexpr absl::Duration kLong = absl::Seconds(30);

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

}  // namespace sluice::testing::tasks

#endif  // SLUICE_TESTS_SUPPORT_TASKS_H_
