// Tests of blocking functions that take a std::stop_token: stop is requested when nobody waits for
// the result any more, and not before.
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::stop_token_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Do {
  std::function<void(class Stopper&)>* act;
};
struct Fail {};

class Stopper : public Actor {
 public:
  void On(Do order) { (*order.act)(*this); }
  void On(Fail) { throw std::runtime_error("boom"); }
  using Actor::RunBlocking;
  using Actor::StartTask;
  using Actor::Within;
};

// What functions did, on their threads.
struct Done {
  std::atomic<int> entered{0};
  std::atomic<int> stopped{0};
  std::atomic<int> told{0};
};

// Waits until stop is requested.
auto WaitsForStop(std::shared_ptr<Done> done) {
  return [done = std::move(done)](const std::stop_token& stop) {
    ++done->entered;
    std::mutex lock;
    std::condition_variable_any wait;
    std::unique_lock<std::mutex> held(lock);
    wait.wait(held, stop, [] { return false; });
    ++done->stopped;
    return 1;
  };
}

class StopToken : public ::testing::Test {
 protected:
  static Options OneThread() {
    Options options = SmallOptions(2);
    options.blocking_threads_max = 1;
    return options;
  }
  StopToken() : runtime_(OneThread()) { EXPECT_TRUE(runtime_.Start().ok()); }
  ~StopToken() override {
    runtime_.Drain(kLong);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
    EXPECT_TRUE(runtime_.blocking().Counts().Balanced());
  }
  // Runs `act` in a handler of the actor, and waits for its end.
  void InHandler(const Ref<Stopper>& ref, const std::function<void(Stopper&)>& act) {
    std::atomic<bool> over{false};
    std::function<void(Stopper&)> order = [&](Stopper& self) {
      act(self);
      over = true;
    };
    ASSERT_EQ(ref.TrySend(Do{&order}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] { return over.load(); }));
  }
  void Calls(const Ref<Stopper>& ref) {
    InHandler(ref, [this](Stopper& self) {
      EXPECT_EQ(self.RunBlocking(WaitsForStop(done_),
                                 [done = done_](const absl::StatusOr<int>&) { ++done->told; }),
                Answer::kAccepted);
    });
    ASSERT_TRUE(Eventually([&] { return done_->entered == 1; }));
    EXPECT_EQ(done_->stopped, 0);
  }

  const std::shared_ptr<Done> done_ = std::make_shared<Done>();
  Runtime runtime_;
};

TEST_F(StopToken, IsNotRequestedWhileTheActorWaits) {
  const Ref<Stopper> actor = runtime_.Spawn<Stopper>();
  std::atomic<int> sum{0};
  InHandler(actor, [&](Stopper& self) {
    EXPECT_EQ(
        self.RunBlocking([](const std::stop_token& stop) { return stop.stop_requested() ? 1 : 2; },
                         [&](absl::StatusOr<int> got) { sum += got.value_or(100); }),
        Answer::kAccepted);
    EXPECT_EQ(self.RunBlocking(
                  [](std::stop_token stop) {
                    return stop.stop_possible() ? absl::NotFoundError("as asked")
                                                : absl::OkStatus();
                  },
                  [&](const absl::Status& status) { sum += status.ok() ? 1'000 : 20; }),
              Answer::kAccepted);
    EXPECT_EQ(self.RunBlocking([own = std::make_unique<int>(3)](std::stop_token) { (void)*own; },
                               [&](const absl::Status& status) { sum += status.ok() ? 300 : 0; }),
              Answer::kAccepted);
  });
  EXPECT_TRUE(Eventually([&] { return sum == 322; })) << sum;
}

TEST_F(StopToken, IsRequestedWhenTheActorEnds) {
  const Ref<Stopper> actor = runtime_.Spawn<Stopper>();
  Calls(actor);
  actor.Stop();
  EXPECT_TRUE(Eventually([&] { return done_->stopped == 1; }));
  EXPECT_EQ(done_->told, 0);
}

TEST_F(StopToken, IsRequestedWhenTheActorIsRestarted) {
  const Ref<Stopper> actor = runtime_.SpawnRestarting<Stopper>({}, {});
  Calls(actor);
  ASSERT_EQ(actor.TrySend(Fail{}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return done_->stopped == 1; }));
  InHandler(actor, [](Stopper&) {});  // It lives on.
  EXPECT_EQ(done_->told, 0);
}

struct Awaits : Stopper {
  Awaits(std::shared_ptr<Done> done, absl::Duration patience)
      : done_(std::move(done)), patience_(patience) {}
  void OnStart() override { StartTask(Waits()); }
  Task<absl::StatusOr<int>> Calls() {
    auto call = RunBlocking(WaitsForStop(done_));
    co_return co_await call;
  }
  Task<> Waits() {
    const auto late = co_await Within(patience_, Calls());
    done_->told += absl::IsDeadlineExceeded(late.status()) ? 1 : 100;
  }
  const std::shared_ptr<Done> done_;
  const absl::Duration patience_;
};

TEST_F(StopToken, IsRequestedWhenTheAwaitingTaskIsCancelled) {
  runtime_.Spawn<Awaits>(done_, absl::Milliseconds(20));
  EXPECT_TRUE(Eventually([&] { return done_->stopped == 1 && done_->told == 1; }));
}

TEST_F(StopToken, IsRequestedWhenTheRuntimeEnds) {
  const Ref<Stopper> actor = runtime_.Spawn<Stopper>();
  Calls(actor);
  runtime_.Drain(absl::ZeroDuration());
  // The function may be left behind, and goes on without the runtime.
  EXPECT_TRUE(Eventually([&] { return done_->stopped == 1; }));
}

TEST_F(StopToken, IsRequestedOfACallThatWaitsForAThread) {
  const SpawnOptions on{.name = "", .mailbox_messages_max = 0, .worker = 0};
  const Ref<Stopper> first = runtime_.SpawnWith<Stopper>(on);
  const Ref<Stopper> second = runtime_.SpawnWith<Stopper>(on);
  Calls(first);
  std::atomic<int> seen{0};
  InHandler(second, [&](Stopper& self) {
    EXPECT_EQ(self.RunBlocking([&](std::stop_token stop) { seen = stop.stop_requested() ? 1 : 2; },
                               [](const absl::Status&) { ADD_FAILURE(); }),
              Answer::kAccepted);
  });
  second.Stop();
  ASSERT_TRUE(Eventually([&] { return runtime_.ActorCount() == 2; }));  // With the pool's gate.
  first.Stop();
  EXPECT_TRUE(Eventually([&] { return seen != 0; }));
  EXPECT_EQ(seen, 1);
}

TEST_F(StopToken, AStopCallbackRunsOnTheActorsWorker) {
  const Ref<Stopper> actor =
      runtime_.SpawnWith<Stopper>({.name = "", .mailbox_messages_max = 0, .worker = 1});
  std::atomic<int> worker{-1};
  std::atomic<bool> entered{false};
  std::atomic<bool> returned{false};
  InHandler(actor, [&](Stopper& self) {
    EXPECT_EQ(self.RunBlocking(
                  [&](const std::stop_token& stop) {
                    const std::stop_callback note(stop, [&] {
                      worker = Worker::Current() == nullptr ? 9 : Worker::Current()->Index();
                    });
                    entered = true;
                    while (worker == -1) std::this_thread::yield();
                    returned = true;
                  },
                  [](const absl::Status&) {}),
              Answer::kAccepted);
  });
  ASSERT_TRUE(Eventually([&] { return entered.load(); }));
  actor.Stop();
  EXPECT_TRUE(Eventually([&] { return returned.load(); }));
  EXPECT_EQ(worker, 1);
}

TEST_F(StopToken, AFunctionThatNeverLooksIsLeftAlone) {
  const Ref<Stopper> actor = runtime_.Spawn<Stopper>();
  std::atomic<bool> go{false};
  std::atomic<bool> entered{false};
  InHandler(actor, [&](Stopper& self) {
    EXPECT_EQ(self.RunBlocking(
                  [&](const std::stop_token&) {
                    entered = true;
                    while (!go) std::this_thread::yield();
                  },
                  [](const absl::Status&) { ADD_FAILURE(); }),
              Answer::kAccepted);
  });
  ASSERT_TRUE(Eventually([&] { return entered.load(); }));
  actor.Stop();
  ASSERT_TRUE(Eventually([&] { return runtime_.ActorCount() == 1; }));
  go = true;
  EXPECT_TRUE(Eventually([&] { return runtime_.blocking().Counts().finished == 1; }));
}

}  // namespace
}  // namespace sluice::testing::stop_token_test
