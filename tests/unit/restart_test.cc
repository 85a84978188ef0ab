// Supervision: restart in place, how often, escalation, ordered stop.
#include "sluice/core/restart.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/hub.h"
#include "sluice/actors/session.h"
#include "sluice/core/actor.h"
#include "sluice/core/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {
namespace {

struct Note {
  int value;
};
struct Fail {};
struct Do {
  std::function<void(class Phoenix&)>* act;
};
struct Question {
  using Reply = int;
};

using Log = std::vector<std::string>;

// Fails when told to, and writes down what it goes through. `born` counts its incarnations.
class Phoenix : public Actor {
 public:
  Phoenix(Log* log, std::string name, std::shared_ptr<int> born,
          int constructors_fail_after = 1'000)
      : log_(*log), name_(std::move(name)), incarnation_(++*born) {
    if (incarnation_ > constructors_fail_after) throw std::runtime_error("not born");
  }
  ~Phoenix() override { Say("gone"); }
  void OnStart() override {
    Say("start");
    if (on_start) on_start(*this);
  }
  void OnStop() override { Say("stop"); }
  void OnDown(const Down& down) override {
    Say("down " + std::string(EndReasonName(down.reason)) + ": " + down.text);
  }
  void On(Note note) { Say("note " + std::to_string(note.value)); }
  void On(Fail) {
    Say("fails");
    throw std::runtime_error("boom");
  }
  void On(Do order) { (*order.act)(*this); }
  void On(Question, Promise<int> promise) { promises.push_back(std::move(promise)); }
  void Say(const std::string& what) {
    log_.push_back(name_ + std::to_string(incarnation_) + " " + what);
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::Every;
  using Actor::Monitor;
  using Actor::Now;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::SpawnRestarting;
  using Actor::SpawnWith;
  using Actor::Stop;
  std::vector<Promise<int>> promises;
  static inline std::function<void(Phoenix&)> on_start;

 private:
  Log& log_;
  const std::string name_;
  const int incarnation_;
};

SpawnOptions On(int worker, uint32_t capacity = 0, std::string name = "") {
  return {.name = std::move(name), .mailbox_messages_max = capacity, .worker = worker};
}
const RestartPolicy kOften{.restarts_max = 100, .backoff_min = absl::ZeroDuration()};

class RestartTest : public ::testing::Test {
 protected:
  static Options RestartOptions() {
    Options options = SmallOptions(2);
    options.linger_timeout = absl::Seconds(600);  // What waits for it hangs a test.
    return options;
  }
  RestartTest() : runtime_(RestartOptions()), step_(runtime_) { Phoenix::on_start = nullptr; }
  ~RestartTest() override {
    Phoenix::on_start = nullptr;
    runtime_.Drain(absl::Seconds(30));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  Ref<Phoenix> Make(const std::string& name, const RestartPolicy& policy = kOften, int worker = 0,
                    uint32_t capacity = 0) {
    const Ref<Phoenix> ref = runtime_.SpawnRestarting<Phoenix>(policy, On(worker, capacity), &log_,
                                                               name, std::make_shared<int>(0));
    step_.Round(2);
    return ref;
  }
  // As a handler of the actor.
  void Do(const Ref<Phoenix>& ref, std::function<void(Phoenix&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test",
                                  [&] { act(*static_cast<Phoenix*>(ref.slot()->actor)); }));
    worker.Leave();
  }
  int Count(const std::string& line) {
    return static_cast<int>(std::count(log_.begin(), log_.end(), line));
  }
  int IndexOf(const std::string& line) {
    return static_cast<int>(std::find(log_.begin(), log_.end(), line) - log_.begin());
  }
  Ledger TotalLedger() { return runtime_.TotalLedger(); }
  Log log_;
  Runtime runtime_;
  Stepper step_;
};

TEST_F(RestartTest, KeepsRefAndMailboxAndDropsTheMessageBeingHandled) {
  const Ref<Phoenix> a = Make("a");
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(a.TrySend(Note{i}), Answer::kAccepted);
    if (i == 1) {
      ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
    }
  }
  step_.Round(4);
  const Log expected = {"a1 start", "a1 note 0", "a1 note 1", "a1 fails", "a1 gone",
                        "a2 start", "a2 note 2", "a2 note 3", "a2 note 4"};
  EXPECT_EQ(log_, expected);
  EXPECT_EQ(a.TrySend(Note{5}), Answer::kAccepted);
  step_.Round(2);
  EXPECT_EQ(Count("a2 note 5"), 1);
  EXPECT_EQ(TotalLedger().dropped[static_cast<int>(DropReason::kFailed)], 1);
  EXPECT_EQ(TotalLedger().restarted, 1);
  EXPECT_EQ(a.slot()->mailbox.FreeCredits(), a.slot()->mailbox.Capacity());
}

TEST_F(RestartTest, AChildIsMadeAnewOnItsOwnWorkerAsOnAnother) {
  const Ref<Phoenix> parent = Make("p");
  Ref<Phoenix> here, there;
  Do(parent, [&](Phoenix& self) {
    here = self.SpawnRestarting<Phoenix>(kOften, On(0), &log_, "h", std::make_shared<int>(0));
    there = self.SpawnRestarting<Phoenix>(kOften, On(1), &log_, "t", std::make_shared<int>(0));
    self.Send(here, Fail{});
    self.Send(there, Fail{});
    self.Send(here, Note{1});
    self.Send(there, Note{1});
  });
  step_.Round(6);
  EXPECT_EQ(Count("h2 note 1"), 1);
  EXPECT_EQ(Count("t2 note 1"), 1);
  EXPECT_EQ(TotalLedger().restarted, 2);
}

TEST_F(RestartTest, MonitorsHearNothingUntilTheFinalEnd) {
  const Ref<Phoenix> a = Make("a", {.restarts_max = 2, .backoff_min = absl::ZeroDuration()});
  const Ref<Phoenix> watcher = Make("w", kOften, 1);
  Do(watcher, [&](Phoenix& self) { self.Monitor(a); });
  step_.Round(2);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
    step_.Round(4);
  }
  EXPECT_EQ(Count("a3 start"), 1);
  for (const std::string& line : log_) EXPECT_EQ(line.find("down"), std::string::npos) << line;
  ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
  step_.Round(4);
  EXPECT_EQ(Count("w1 down failed: it failed again after 2 restarts within 5s: boom"), 1);
  EXPECT_EQ(a.TrySend(Note{0}), Answer::kClosed);
  EXPECT_EQ(Count("a4 start"), 0);
}

TEST_F(RestartTest, FailuresLongAgoDoNotCount) {
  const absl::Duration within = absl::Milliseconds(5);
  const Ref<Phoenix> a =
      Make("a", {.restarts_max = 1, .within = within, .backoff_min = absl::ZeroDuration()});
  for (int i = 0; i < 4; ++i) {
    const int64_t failed_ms = runtime_.worker(0).NowMs();
    ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
    ASSERT_TRUE(step_.Until([&] { return runtime_.worker(0).NowMs() > failed_ms + 10; }));
  }
  EXPECT_EQ(Count("a5 start"), 1);
  EXPECT_EQ(TotalLedger().restarted, 4);
}

TEST_F(RestartTest, PastItsLimitTheParentFailsWithTheChildsNameAndLastError) {
  for (int worker : {0, 1}) {
    log_.clear();
    const Ref<Phoenix> grandparent = Make("g");
    const Ref<Phoenix> watcher = Make("w", kOften, 1);
    Ref<Phoenix> parent, child, sibling;
    Do(grandparent, [&](Phoenix& self) {
      parent = self.SpawnWith<Phoenix>(On(0), &log_, "p", std::make_shared<int>(0));
    });
    step_.Round(2);
    Do(parent, [&](Phoenix& self) {
      child = self.SpawnRestarting<Phoenix>({.restarts_max = 0}, On(worker, 0, "the child"), &log_,
                                            "c", std::make_shared<int>(0));
      sibling = self.SpawnWith<Phoenix>(On(worker), &log_, "s", std::make_shared<int>(0));
    });
    step_.Round(2);
    Do(watcher, [&](Phoenix& self) { self.Monitor(parent); });
    step_.Round(2);
    ASSERT_EQ(child.TrySend(Fail{}), Answer::kAccepted);
    step_.Round(8);
    EXPECT_EQ(Count("w1 down failed: its child the child failed again after 0 restarts within 5s: "
                    "boom"),
              1);
    EXPECT_EQ(Count("s1 stop"), 1);
    EXPECT_EQ(Count("p1 stop"), 0);  // It failed.
    EXPECT_LT(IndexOf("s1 gone"), IndexOf("p1 gone"));
    // The parent had no policy of its own: it ended, and nobody else with it.
    EXPECT_EQ(grandparent.TrySend(Note{7}), Answer::kAccepted);
    step_.Round(2);
    EXPECT_EQ(Count("g1 note 7"), 1);
    grandparent.Stop();
    watcher.Stop();
    step_.Round(4);
  }
  EXPECT_EQ(TotalLedger().escalated, 2);
}

TEST_F(RestartTest, AParentWithAPolicyIsMadeAnewByItsChildsFailure) {
  Phoenix::on_start = [&](Phoenix& self) {
    if (log_.back().front() != 'p') return;
    self.SpawnRestarting<Phoenix>({.restarts_max = 1, .backoff_min = absl::ZeroDuration()}, On(1),
                                  &log_, "c", std::make_shared<int>(0));
  };
  const Ref<Phoenix> parent = Make("p");
  const auto fail_child = [&] {
    Ref<Phoenix> child;
    Do(parent, [&](Phoenix& self) {
      const Child& entry = self.slot()->extra->children.begin()->second;
      child = Ref<Phoenix>(entry.slot, entry.generation);
    });
    ASSERT_EQ(child.TrySend(Fail{}), Answer::kAccepted);
    step_.Round(8);
  };
  fail_child();
  EXPECT_EQ(Count("c2 start"), 1);
  EXPECT_EQ(Count("p2 start"), 0);
  fail_child();
  EXPECT_EQ(Count("p2 start"), 1);
  EXPECT_EQ(Count("c1 start"), 2);
  EXPECT_EQ(TotalLedger().escalated, 1);
  EXPECT_LT(IndexOf("c2 gone"), IndexOf("p1 gone"));
}

TEST_F(RestartTest, WhatTheFailedOneHadBegunEndsWithIt) {
  const Ref<Phoenix> a = Make("a");
  const Ref<Phoenix> b = Make("b", kOften, 1);
  int called_back = 0, ticks = 0;
  Ref<Phoenix> child;
  Do(a, [&](Phoenix& self) {
    self.Every(absl::Milliseconds(1), [&] { ++ticks; });
    self.Monitor(b);
    EXPECT_EQ(self.Ask(b, Question{}, absl::InfiniteDuration(), [&](auto) { ++called_back; }),
              Answer::kAccepted);
    EXPECT_EQ(self.Ask(b, Question{}, absl::Milliseconds(1), [&](auto) { ++called_back; }),
              Answer::kAccepted);
    child = self.SpawnWith<Phoenix>(On(1), &log_, "c", std::make_shared<int>(0));
  });
  step_.Round(2);
  ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
  step_.Round(8);
  ASSERT_EQ(Count("a2 start"), 1);
  EXPECT_LT(IndexOf("c1 stop"), IndexOf("a1 gone"));
  EXPECT_LT(IndexOf("c1 gone"), IndexOf("a1 gone"));
  EXPECT_EQ(child.TrySend(Note{0}), Answer::kClosed);
  const int before = ticks;
  const int64_t now_ms = runtime_.worker(0).NowMs();
  ASSERT_TRUE(step_.Until([&] { return runtime_.worker(0).NowMs() > now_ms + 5; }));
  EXPECT_EQ(ticks, before);
  // Both late replies come, and are counted; neither calls back. Their places are free again.
  Do(b, [&](Phoenix& self) {
    EXPECT_EQ(self.promises.size(), 2u);
    for (Promise<int>& promise : self.promises) promise.Resolve(1);
  });
  step_.Round(3);
  EXPECT_EQ(called_back, 0);
  EXPECT_EQ(TotalLedger().replies_late, 2);
  EXPECT_TRUE(a.slot()->extra->asks.empty());
  b.Stop();
  step_.Round(4);
  for (const std::string& line : log_) EXPECT_EQ(line.find("a2 down"), std::string::npos) << line;
}

TEST_F(RestartTest, ADownThatWasOnTheWayIsNotForTheNextOne) {
  const Ref<Phoenix> a = Make("a");
  const Ref<Phoenix> b = Make("b");
  Do(a, [&](Phoenix& self) { self.Monitor(b); });
  step_.Round(2);
  ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
  b.Stop();
  step_.Round(6);
  EXPECT_EQ(Count("a2 start"), 1);
  for (const std::string& line : log_) EXPECT_EQ(line.find("a2 down"), std::string::npos) << line;
}

TEST_F(RestartTest, ParkedSendersAreServedByTheNextOneInOrder) {
  for (int worker : {0, 1}) {
    log_.clear();
    const Ref<Phoenix> a = Make("a", kOften, 0, /*capacity=*/2);
    const Ref<Phoenix> sender = Make("s", kOften, worker);
    Do(sender, [&](Phoenix& self) {
      EXPECT_EQ(self.Send(a, Fail{}), Answer::kAccepted);
      for (int i = 0; i < 10; ++i) EXPECT_EQ(self.Send(a, Note{i}), Answer::kAccepted);
    });
    EXPECT_TRUE(sender.slot()->parked);
    step_.Round(40);
    EXPECT_FALSE(sender.slot()->parked);
    int last = IndexOf("a2 start");
    for (int i = 0; i < 10; ++i) {
      const int at = IndexOf("a2 note " + std::to_string(i));
      EXPECT_LT(last, at);
      last = at;
    }
    EXPECT_LT(last, static_cast<int>(log_.size()));
    EXPECT_EQ(a.slot()->mailbox.FreeCredits(), 2u);
    a.Stop();
    sender.Stop();
    step_.Round(4);
  }
}

TEST_F(RestartTest, TheFailedOnesOutboxLeavesBeforeTheNextOneBegins) {
  const Ref<Phoenix> slow = Make("slow", kOften, 1, /*capacity=*/1);
  const Ref<Phoenix> a = Make("a");
  std::function<void(Phoenix&)> act = [&](Phoenix& self) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(self.Send(slow, Note{i}), Answer::kAccepted);
    throw std::runtime_error("after sending");
  };
  ASSERT_EQ(a.TrySend(sluice::testing::Do{&act}), Answer::kAccepted);
  step_.Turn(0);
  step_.Turn(0);
  EXPECT_EQ(Count("a2 start"), 0);  // Its outbox still waits.
  EXPECT_TRUE(a.slot()->parked);
  step_.Round(20);
  EXPECT_EQ(Count("a2 start"), 1);
  EXPECT_LT(IndexOf("slow1 note 2"), IndexOf("a2 start"));
  EXPECT_EQ(Count("slow1 note 3"), 1);
  EXPECT_EQ(TotalLedger().ParkedDroppedTotal(), 0);
}

TEST(RestartLinger, WhatDoesNotLeaveInTimeIsDroppedAndTheNextOneBegins) {
  Options options = SmallOptions(1);
  options.linger_timeout = absl::Milliseconds(5);
  Log log;
  Runtime runtime(options);
  Stepper step(runtime);
  const auto born = std::make_shared<int>(0);
  // One that never runs: it is parked on itself by way of the other.
  const Ref<Phoenix> full = runtime.SpawnWith<Phoenix>(On(0, 1), &log, "f", born);
  const Ref<Phoenix> a =
      runtime.SpawnRestarting<Phoenix>(kOften, On(0), &log, "a", std::make_shared<int>(0));
  step.Round(2);
  runtime.worker(0).Suspend(full.slot());
  std::function<void(Phoenix&)> act = [&](Phoenix& self) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(self.Send(full, Note{i}), Answer::kAccepted);
    throw std::runtime_error("after sending");
  };
  ASSERT_EQ(a.TrySend(sluice::testing::Do{&act}), Answer::kAccepted);
  EXPECT_TRUE(step.Until([&] { return std::count(log.begin(), log.end(), "a2 start") == 1; }));
  EXPECT_EQ(runtime.TotalLedger().parked_dropped[static_cast<int>(DropReason::kSenderEnded)], 3);
  EXPECT_FALSE(a.slot()->parked);
  runtime.Drain(absl::Seconds(5));
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

TEST_F(RestartTest, AChildParkedOnItsFailingParentDoesNotHoldTheRestart) {
  for (int worker : {0, 1}) {
    log_.clear();
    const Ref<Phoenix> a = Make("a", kOften, 0, /*capacity=*/2);
    const Ref<Phoenix> other = Make("o", kOften, 0, /*capacity=*/1);
    Ref<Phoenix> child;
    Do(a, [&](Phoenix& self) {
      child = self.SpawnWith<Phoenix>(On(worker), &log_, "c", std::make_shared<int>(0));
    });
    step_.Round(2);
    Do(child, [&](Phoenix& self) {
      EXPECT_EQ(self.Send(a, Fail{}), Answer::kAccepted);
      for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(self.Send(a, Note{i}), Answer::kAccepted);
        EXPECT_EQ(self.Send(other, Note{i}), Answer::kAccepted);
      }
    });
    EXPECT_TRUE(child.slot()->parked);
    step_.Round(20);
    EXPECT_EQ(Count("a2 start"), 1);  // Not after linger_timeout.
    for (int i = 0; i < 4; ++i) EXPECT_EQ(Count("o1 note " + std::to_string(i)), 1) << i;
    EXPECT_EQ(Count("a2 note 0"), 1);
    EXPECT_EQ(Count("a2 note 3"), 0);
    EXPECT_EQ(a.slot()->mailbox.FreeCredits(), 2u);
    a.Stop();
    other.Stop();
    step_.Round(4);
  }
  EXPECT_GT(TotalLedger().parked_dropped[static_cast<int>(DropReason::kSenderEnded)], 0);
}

TEST_F(RestartTest, AConstructorThatThrowsOnRestartIsOneMoreFailure) {
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
  EXPECT_EQ(Count("p1 down failed: not born") + Count("p1 down not found: it had ended before"), 1);
}

TEST_F(RestartTest, OneThatFailsBackToBackHoldsNobodyUpAndIsPutOff) {
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
    EXPECT_EQ(Count("o1 note " + std::to_string(notes)), 1);  // In the same turn.
    return false;
  }));
  ASSERT_EQ(started_ms.size(), 6u);
  // At once, then 10, 20, 30 and 30 ms: never early.
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
    step_.Round();
    EXPECT_EQ(Count("o1 note " + std::to_string(i)), 1);
  }
  EXPECT_GT(starts, 20);
  a.Stop();
  step_.Round(3);
  EXPECT_EQ(a.TrySend(Note{0}), Answer::kClosed);
}

TEST_F(RestartTest, StopEndsWhatWaitsForItsRestart) {
  const Ref<Phoenix> a = Make("a", {.backoff_min = absl::Hours(1), .backoff_max = absl::Hours(1)});
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
    step_.Round(3);
  }
  ASSERT_EQ(a.TrySend(Note{1}), Answer::kAccepted);
  step_.Round(3);
  EXPECT_EQ(Count("a3 start"), 0);
  a.Stop();
  step_.Round(3);
  EXPECT_EQ(a.TrySend(Note{1}), Answer::kClosed);
  EXPECT_EQ(Count("a2 stop"), 0);
  EXPECT_EQ(TotalLedger().dropped[static_cast<int>(DropReason::kTargetEnded)], 1);
}

TEST_F(RestartTest, ADrainDoesNotWaitForBetterTimesAndLosesNoMessage) {
  const Ref<Phoenix> a = Make("a", {.backoff_min = absl::Hours(1), .backoff_max = absl::Hours(1)});
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(a.TrySend(Fail{}), Answer::kAccepted);
    step_.Round(3);
  }
  ASSERT_EQ(a.TrySend(Note{1}), Answer::kAccepted);
  step_.Round(3);
  runtime_.Drain(absl::Seconds(30));
  EXPECT_EQ(Count("a3 note 1"), 1);
  EXPECT_EQ(Count("a3 stop"), 1);
}

TEST_F(RestartTest, OneThatWasToldToStopEndsThoughItFails) {
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

TEST_F(RestartTest, ChildrenStopInReverseOrderOfSpawnEachAfterTheOneBefore) {
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

TEST_F(RestartTest, AChildThatLingersHoldsItsParentButNotItsSiblings) {
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

// What the compiler refuses, with a sentence (internal::RestartingMaker).
struct MoveOnly : Actor {
  explicit MoveOnly(std::unique_ptr<int>) {}
};
struct TakesReference : Actor {
  explicit TakesReference(std::string&) {}
};
struct TakesValue : Actor {
  explicit TakesValue(std::string) {}
};
static_assert(!internal::MadeFromCopies<MoveOnly, std::unique_ptr<int>>);
static_assert(!internal::MadeFromCopies<TakesReference, std::string&>);
static_assert(internal::MadeFromCopies<TakesValue, const char (&)[4]>);
static_assert(internal::MadeFromCopies<TakesValue, std::string>);
static_assert(TakesValue::kRestartable && !Session::kRestartable && !Hub::kRestartable);

}  // namespace
}  // namespace sluice::testing
