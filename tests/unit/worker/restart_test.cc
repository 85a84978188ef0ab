// Tests of supervision: restart in place, its limit, escalation, and the fate of what was under
// way.
#include <malloc.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/unit/worker/phoenix.h"

namespace sluice::testing::restart_test {
namespace {

TEST_F(RestartTest, KeepsRefAndMailboxButDropsFailedMessage) {
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

TEST_F(RestartTest, ChildIsRecreatedOnItsOwnWorker) {
  const Ref<Phoenix> parent = Make("p");
  Ref<Phoenix> here, there;
  Do(parent, [&](Phoenix& self) {
    here = self.SpawnRestarting<Phoenix>(kOften, On(0), &log_, "h", std::make_shared<int>(0));
    there = self.SpawnRestarting<Phoenix>(kOften, On(1), &log_, "t", std::make_shared<int>(0));
    EXPECT_EQ(self.Send(here, Fail{}), Answer::kAccepted);
    EXPECT_EQ(self.Send(there, Fail{}), Answer::kAccepted);
    EXPECT_EQ(self.Send(here, Note{1}), Answer::kAccepted);
    EXPECT_EQ(self.Send(there, Note{1}), Answer::kAccepted);
  });
  step_.Round(6);
  EXPECT_EQ(Count("h2 note 1"), 1);
  EXPECT_EQ(Count("t2 note 1"), 1);
  EXPECT_EQ(TotalLedger().restarted, 2);
}

class Idle : public Actor {};

TEST_F(RestartTest, RestartMemoryStaysWithinTheCeiling) {
  constexpr int kActors = 1'000;
  const Ref<Phoenix> parent = Make("p");
  const auto spawn = [&] {
    Do(parent, [&](Phoenix& self) {
      for (int i = 0; i < kActors; ++i) {
        EXPECT_TRUE(self.SpawnRestarting<Idle>(kOften, On(0)));
      }
    });
    step_.Round(8);  // The messages that started them are freed, for reuse.
  };
  spawn();
  const size_t before = mallinfo2().uordblks;
  spawn();
  const int64_t each = static_cast<int64_t>(mallinfo2().uordblks - before) / kActors;
  if (each == 0) GTEST_SKIP() << "a sanitizer's allocator does not count";
  constexpr int64_t kActorBytes = (static_cast<int64_t>(sizeof(Idle)) + 8 + 15) / 16 * 16;
  EXPECT_LE(each, static_cast<int64_t>(sizeof(Slot)) + kActorExtraBytes + kActorBytes);
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

TEST_F(RestartTest, PastTheLimitTheParentFailsToo) {
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
    EXPECT_EQ(Count("p1 stop"), 0);  // The parent failed, so OnStop() does not run.
    EXPECT_LT(IndexOf("s1 gone"), IndexOf("p1 gone"));
    // The parent had no policy of its own: it ended, and no other actor with it.
    EXPECT_EQ(grandparent.TrySend(Note{7}), Answer::kAccepted);
    step_.Round(2);
    EXPECT_EQ(Count("g1 note 7"), 1);
    grandparent.Stop();
    watcher.Stop();
    step_.Round(4);
  }
  EXPECT_EQ(TotalLedger().escalated, 2);
}

TEST_F(RestartTest, ChildsFailureRestartsAParentWithAPolicy) {
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

TEST_F(RestartTest, UnfinishedWorkEndsWithTheFailedIncarnation) {
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
  // Both late replies arrive and are counted; neither calls back. Their places are free again.
  Do(b, [&](Phoenix& self) {
    EXPECT_EQ(self.promises.size(), 2u);
    for (Promise<int>& promise : self.promises) promise.Resolve(1);
  });
  step_.Round(3);
  EXPECT_EQ(called_back, 0);
  EXPECT_EQ(TotalLedger().replies_late, 2);
  EXPECT_EQ(a.slot()->extra->AskCount(), 0u);
  b.Stop();
  step_.Round(4);
  for (const std::string& line : log_) EXPECT_EQ(line.find("a2 down"), std::string::npos) << line;
}

TEST_F(RestartTest, DownOnTheWayMissesTheNextIncarnation) {
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

TEST_F(RestartTest, NextIncarnationServesParkedSendersInOrder) {
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

TEST_F(RestartTest, FailedIncarnationsOutboxLeavesBeforeTheNextBegins) {
  const Ref<Phoenix> slow = Make("slow", kOften, 1, /*capacity=*/1);
  const Ref<Phoenix> a = Make("a");
  std::function<void(Phoenix&)> act = [&](Phoenix& self) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(self.Send(slow, Note{i}), Answer::kAccepted);
    throw std::runtime_error("after sending");
  };
  ASSERT_EQ(a.TrySend(sluice::testing::Do{&act}), Answer::kAccepted);
  step_.Turn(0);
  step_.Turn(0);
  EXPECT_EQ(Count("a2 start"), 0);  // The outbox of the failed incarnation still waits.
  EXPECT_TRUE(a.slot()->parked);
  step_.Round(20);
  EXPECT_EQ(Count("a2 start"), 1);
  EXPECT_LT(IndexOf("slow1 note 2"), IndexOf("a2 start"));
  EXPECT_EQ(Count("slow1 note 3"), 1);
  EXPECT_EQ(TotalLedger().ParkedDroppedTotal(), 0);
}

TEST(RestartLinger, LateOutboxIsDroppedBeforeTheNextIncarnation) {
  Options options = SmallOptions(1);
  options.linger_timeout = absl::Milliseconds(5);
  Log log;
  Runtime runtime(options);
  Stepper step(runtime);
  const auto born = std::make_shared<int>(0);
  // An actor that never runs, as the test suspends it.
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

TEST_F(RestartTest, ChildParkedOnItsParentDelaysNoRestart) {
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
    EXPECT_EQ(Count("a2 start"), 1);  // Without a wait for linger_timeout.
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

}  // namespace
}  // namespace sluice::testing::restart_test
