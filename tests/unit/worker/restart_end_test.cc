// Tests of supervision: constructors that throw, backoff, stop and drain of failing actors, ordered
// stop.
#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/unit/worker/phoenix.h"

namespace sluice::testing::restart_end_test {
namespace {

TEST_F(RestartTest, ThrowingConstructorOnRestartIsAnotherFailure) {
  const Ref<Phoenix> watcher = Make("w");
  const Ref<Phoenix> a = runtime_.SpawnRestarting<Phoenix>(
      {.restarts_max = 3, .backoff_min = absl::ZeroDuration()}, On(0, 0, "late riser"), &log_, "a",
      std::make_shared<int>(0), /*constructors_fail_after=*/1);
  step_.Round(2);
  Do(watcher, [&](Phoenix& self) { self.Monitor(a); });
  ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
  ASSERT_EQ(a.TrySend(Note{0}), Answer::kAccepted);
  step_.Round(8);
  EXPECT_EQ(Count("w1 down failed: it failed again after 3 restarts within 5s: not born"), 1);
  EXPECT_EQ(TotalLedger().failed, 4);
  EXPECT_EQ(TotalLedger().restarted, 3);
  EXPECT_EQ(TotalLedger().dropped[static_cast<int>(DropReason::kTargetEnded)], 1);
}

struct Births {
  int born = 0;
  int calls = 0;  // Calls of callbacks that an incarnation had begun before its constructor threw.
};

// The second incarnation throws after it has begun a timer and a question.
class BornLater : public Actor {
 public:
  BornLater(Births* births, Ref<Phoenix> silent) {
    if (++births->born != 2) return;
    After(absl::ZeroDuration(), [births] { ++births->calls; });
    EXPECT_EQ(Ask(silent, Question{}, absl::Milliseconds(1),
                  [births](const absl::StatusOr<int>&) { ++births->calls; }),
              Answer::kAccepted);
    throw std::runtime_error("not born");
  }
  void On(Fail) { throw std::runtime_error("boom"); }
};

TEST_F(RestartTest, CallbacksOfAFailedConstructorNeverRun) {
  const Ref<Phoenix> silent = Make("s");
  Births births;
  const Ref<BornLater> a = runtime_.SpawnRestarting<BornLater>(
      {.restarts_max = 3, .backoff_min = absl::ZeroDuration()}, On(0), &births, silent);
  step_.Round(2);
  ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
  ASSERT_TRUE(step_.Until([&] { return births.born == 3; }));
  const int64_t until_ms = runtime_.worker(0).NowMs() + 10;
  ASSERT_TRUE(step_.Until([&] { return runtime_.worker(0).NowMs() > until_ms; }));
  EXPECT_EQ(births.calls, 0);
  a.Stop();
  step_.Round(3);
}

TEST_F(RestartTest, AConstructorThatThrowsAtFirstFailsTheSpawn) {
  const Ref<Phoenix> parent = Make("p");
  Do(parent, [&](Phoenix& self) {
    EXPECT_FALSE(self.SpawnRestarting<Phoenix>(kOften, On(0), &log_, "c", std::make_shared<int>(0),
                                               /*constructors_fail_after=*/0));
    const Ref<Phoenix> placed = self.SpawnRestarting<Phoenix>(
        kOften, On(1), &log_, "c", std::make_shared<int>(0), /*constructors_fail_after=*/0);
    self.Monitor(placed);
  });
  step_.Round(6);
  EXPECT_EQ(runtime_.ActorCount(), 1);
  EXPECT_EQ(TotalLedger().restarted + TotalLedger().escalated, 0);
  EXPECT_EQ(
      Count("p1 down failed: not born") + Count("p1 down not found: the actor had already ended"),
      1);
}

TEST_F(RestartTest, RepeatedFailureBacksOffAndDelaysNoOthers) {
  const Ref<Phoenix> other = Make("o");
  std::vector<int64_t> started_ms;
  Phoenix::on_start = [&](Phoenix&) {
    started_ms.push_back(runtime_.worker(0).NowMs());
    throw std::runtime_error("at once again");
  };
  const Ref<Phoenix> a = Make(
      "a", {.restarts_max = 5, .within = absl::Seconds(60), .backoff_max = absl::Milliseconds(30)});
  int notes = 0;
  ASSERT_TRUE(step_.Until([&] {
    if (a.TrySend(Note{0}) == Answer::kClosed) return true;
    EXPECT_EQ(other.TrySend(Note{++notes}), Answer::kAccepted);
    step_.Round();
    EXPECT_EQ(Count("o1 note " + std::to_string(notes)), 1);  // Handled in the same round.
    return false;
  }));
  ASSERT_EQ(started_ms.size(), 6u);
  // The first restart is immediate, the next ones wait 10, 20, 30 and 30 ms: never less.
  for (size_t i = 2; i < 6; ++i) {
    const int64_t waited_ms = started_ms[i] - started_ms[i - 1];
    EXPECT_GE(waited_ms, std::min<int64_t>(10 << (i - 2), 30)) << i;
  }
}

TEST_F(RestartTest, EndlessFailingWithoutBackoffLeavesTheWorkerToOthers) {
  const Ref<Phoenix> other = Make("o");
  int64_t starts = 0;
  Phoenix::on_start = [&](Phoenix&) {
    ++starts;
    throw 42;
  };
  const Ref<Phoenix> a =
      Make("a", {.restarts_max = 1'000'000, .backoff_min = absl::ZeroDuration()});
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(other.TrySend(Note{i}), Answer::kAccepted);
    const std::string note = "o1 note " + std::to_string(i);
    // Actors share a turn by time: when the machine stops this thread, the note waits for the next
    // turn.
    for (int rounds = 0; rounds < 10 && Count(note) == 0; ++rounds) step_.Round();
    EXPECT_EQ(Count(note), 1);
  }
  EXPECT_GT(starts, 20);
  a.Stop();
  step_.Round(3);
  EXPECT_EQ(a.TrySend(Note{0}), Answer::kClosed);
}

class RestartLater : public RestartTest {
 protected:
  // The actor has failed twice, waits an hour for its third incarnation, and has a message.
  Ref<Phoenix> MakeOneThatWaits() {
    const Ref<Phoenix> ref =
        Make("a", {.backoff_min = absl::Hours(1), .backoff_max = absl::Hours(1)});
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(ref.TrySend(Fail{}), Answer::kAccepted);
      step_.Round(3);
    }
    EXPECT_EQ(ref.TrySend(Note{1}), Answer::kAccepted);
    step_.Round(3);
    return ref;
  }
};

TEST_F(RestartLater, StopEndsWhatWaitsForItsRestart) {
  const Ref<Phoenix> a = MakeOneThatWaits();
  EXPECT_EQ(Count("a3 start"), 0);
  a.Stop();
  step_.Round(3);
  EXPECT_EQ(a.TrySend(Note{1}), Answer::kClosed);
  EXPECT_EQ(Count("a2 stop"), 0);
  EXPECT_EQ(TotalLedger().dropped[static_cast<int>(DropReason::kTargetEnded)], 1);
}

TEST_F(RestartLater, DrainSkipsTheBackoffAndLosesNoMessage) {
  MakeOneThatWaits();
  runtime_.Drain(absl::Seconds(30));
  EXPECT_EQ(Count("a3 note 1"), 1);
  EXPECT_EQ(Count("a3 stop"), 1);
}

TEST_F(RestartTest, StoppedActorEndsThoughItFails) {
  const Ref<Phoenix> a = Make("a");
  std::function<void(Phoenix&)> act = [](Phoenix& self) {
    self.Stop();
    throw std::runtime_error("on the way out");
  };
  ASSERT_EQ(a.TrySend(sluice::testing::Do{&act}), Answer::kAccepted);
  step_.Round(4);
  EXPECT_EQ(Count("a2 start"), 0);
  EXPECT_EQ(a.TrySend(Note{0}), Answer::kClosed);
}

TEST_F(RestartTest, ChildrenStopOneByOneInReverseOrder) {
  for (const bool fails : {false, true}) {
    log_.clear();
    const Ref<Phoenix> parent =
        runtime_.SpawnWith<Phoenix>(On(0), &log_, "p", std::make_shared<int>(0));
    step_.Round(2);
    Do(parent, [&](Phoenix& self) {
      for (int i = 0; i < 6; ++i) {
        const std::string name(1, static_cast<char>('a' + i));
        self.SpawnWith<Phoenix>(On(i % 2), &log_, name, std::make_shared<int>(0));
      }
    });
    step_.Round(2);
    log_.clear();
    if (fails) {
      ASSERT_EQ(parent.TrySend(Fail{}), Answer::kAccepted);
    } else {
      parent.Stop();
    }
    step_.Round(30);
    Log expected;
    if (fails) expected.push_back("p1 fails");
    for (char name = 'f'; name >= 'a'; --name) {
      expected.push_back(std::string(1, name) + "1 stop");
      expected.push_back(std::string(1, name) + "1 gone");
    }
    if (!fails) expected.push_back("p1 stop");
    expected.push_back("p1 gone");
    EXPECT_EQ(log_, expected);
  }
}

TEST_F(RestartTest, LingeringChildHoldsItsParentNotItsSiblings) {
  const Ref<Phoenix> parent = Make("p");
  const Ref<Phoenix> full = Make("full", kOften, 0, /*capacity=*/1);
  Ref<Phoenix> elder, younger;
  Do(parent, [&](Phoenix& self) {
    elder = self.SpawnWith<Phoenix>(On(1), &log_, "elder", std::make_shared<int>(0));
    younger = self.SpawnWith<Phoenix>(On(1), &log_, "younger", std::make_shared<int>(0));
  });
  step_.Round(2);
  runtime_.worker(0).Suspend(full.slot());
  Do(younger, [&](Phoenix& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(full, Note{i}), Answer::kAccepted);
  });
  parent.Stop();
  step_.Round(10);
  EXPECT_EQ(Count("younger1 stop"), 1);
  EXPECT_EQ(Count("elder1 gone"), 1);
  EXPECT_EQ(Count("p1 stop"), 0);
  Worker& worker = runtime_.worker(0);
  worker.Enter();
  worker.Resume(full.slot());
  worker.Leave();
  step_.Round(10);
  EXPECT_EQ(Count("full1 note 2"), 1);
  EXPECT_EQ(Count("p1 gone"), 1);
}

TEST_F(RestartTest, ARestartableSpawnCountsAgainstActorsMax) {
  Options options = SmallOptions(1);
  options.actors_max = 1;
  Log log;
  Runtime runtime(options);
  EXPECT_TRUE(runtime.SpawnRestarting<Phoenix>({}, {}, &log, "a", std::make_shared<int>(0)));
  EXPECT_FALSE(runtime.SpawnRestarting<Phoenix>({}, {}, &log, "b", std::make_shared<int>(0)));
}

// The compiler refuses these, with an explanation (core/actor/refused.h).
struct MoveOnly : Actor {
  explicit MoveOnly(std::unique_ptr<int>) {}
};
struct TakesReference : Actor {
  explicit TakesReference(std::string&) {}
};
struct TakesValue : Actor {
  explicit TakesValue(std::string) {}
};
static_assert(!std::is_void_v<internal::RestartRefused<MoveOnly, std::unique_ptr<int>>>);
static_assert(!std::is_void_v<internal::RestartRefused<TakesReference, std::string&>>);
static_assert(std::is_void_v<internal::RestartRefused<TakesValue, const char (&)[4]>>);
static_assert(std::is_void_v<internal::RestartRefused<TakesValue, std::string>>);
static_assert(!std::is_void_v<internal::RestartRefused<Hub>>);
static_assert(TakesValue::kRestartable && !Session::kRestartable && !Hub::kRestartable);

}  // namespace
}  // namespace sluice::testing::restart_end_test
