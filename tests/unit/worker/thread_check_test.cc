// A worker's state belongs to its thread: any other thread that comes in ends the process, with a
// line that says what to do.
#include <string>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::thread_check_test {
namespace {

constexpr char kOtherThread[] = "called on another thread than the worker's own";

// Makes its timers and its end callable from the test's thread.
class Open : public Actor {
 public:
  using Actor::After;
  using Actor::Stop;
};

// A runtime whose workers have threads, and an actor on its first worker.
struct Running {
  Running() : runtime(SmallOptions(2)) {
    ref = runtime.SpawnWith<Open>({.name = "", .mailbox_messages_max = 0, .worker = 0});
    (void)runtime.Start();
    Eventually([&] { return runtime.TotalLedger().spawned > 0; });
  }
  Worker& worker() { return runtime.worker(0); }
  Open& actor() { return *static_cast<Open*>(ref.slot()->actor); }
  Runtime runtime;
  Ref<Open> ref;
};

class ThreadCheck : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
using ThreadCheckDeathTest = ThreadCheck;

TEST_F(ThreadCheckDeathTest, AnActorIsNotStoppedFromOutside) {
  EXPECT_DEATH(Running().actor().Stop(), R"(Stop\(\) of .*Open#[0-9]+ was called on a thread)");
}

TEST_F(ThreadCheckDeathTest, ATimerIsNotSetFromOutside) {
  EXPECT_DEATH(Running().actor().After(absl::Seconds(1), [] {}), R"(After\(\) or Every\(\) of )");
}

// Everybody's first mistake: the function of RunBlocking calls the actor that waits for it.
class Eager : public Actor {
 public:
  void OnStart() override {
    (void)RunBlocking([this] { (void)RunBlocking([] {}, [](absl::Status) {}); },
                      [](absl::Status) {});
  }
};

TEST_F(ThreadCheckDeathTest, ABlockingFunctionDoesNotCallItsActor) {
  EXPECT_DEATH(
      {
        Runtime runtime(SmallOptions(1));
        runtime.Spawn<Eager>();
        (void)runtime.Start();
        runtime.Drain(absl::Seconds(30));
      },
      R"(RunBlocking\(\) of .*Eager#[0-9]+ was called on a thread that is not its worker's own)");
}

TEST_F(ThreadCheckDeathTest, AWorkersPartsAreNotUsedFromOutside) {
  EXPECT_DEATH(Running().worker().life().AllocateSlot(), kOtherThread);
  EXPECT_DEATH(Running().worker().Turn(0), kOtherThread);
}

TEST_F(ThreadCheckDeathTest, AnotherWorkersThreadIsOutside) {
  EXPECT_DEATH(
      {
        Running running;
        Slot* const slot = running.ref.slot();
        running.runtime.Call(
            1, [slot](Worker&) { slot->worker->life().Stop(slot, EndReason::kStopped, ""); });
        running.runtime.Drain(absl::Seconds(30));
      },
      kOtherThread);
}

TEST_F(ThreadCheck, BeforeTheStartAnyThreadMayPrepareAWorker) {
  Runtime runtime(SmallOptions(1));
  const Ref<Open> ref = runtime.Spawn<Open>();
  Stepper step(runtime);
  ASSERT_TRUE(
      step.Until([&] { return runtime.ActorCount() == 1 && ref.slot()->actor != nullptr; }));
  static_cast<Open*>(ref.slot()->actor)->Stop();
  EXPECT_TRUE(step.Until([&] { return runtime.ActorCount() == 0; }));
}

}  // namespace
}  // namespace sluice::testing::thread_check_test
