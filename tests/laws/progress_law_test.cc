// L5 and L6: every accepted message is handled, whichever worker slept; and a worker waits only in
// its poller.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/laws/storm.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::progress_law_test {
namespace {

struct Ball {
  int left;
};

class Player : public Actor {
 public:
  explicit Player(std::atomic<int>* done) : done_(done) {}
  void On(Ref<Player> other) { other_ = other; }
  void On(Ball ball) {
    if (ball.left == 0) {
      ++*done_;
    } else {
      EXPECT_EQ(Send(other_, Ball{ball.left - 1}), Answer::kAccepted);
    }
  }

 private:
  std::atomic<int>* done_;
  Ref<Player> other_;
};

// A ball passes between two workers that sleep in between: each pass needs its wake-up.
TEST(L5Progress, NoWakeUpIsLostBetweenWorkersThatSleep) {
  for (int pairs : {1, 3}) {
    std::atomic<int> done{0};
    Runtime runtime(SmallOptions(4));
    ASSERT_TRUE(runtime.Start().ok());
    for (int p = 0; p < pairs; ++p) {
      std::vector<Ref<Player>> players;
      for (int i = 0; i < 4; ++i) {
        players.push_back(
            runtime.SpawnWith<Player>({.name = "", .mailbox_messages_max = 1, .worker = i}, &done));
      }
      for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(Eventually(
            [&] { return players[i].TrySend(players[(i + 1) % 4]) == Answer::kAccepted; }));
      }
      ASSERT_TRUE(Eventually([&] { return players[0].TrySend(Ball{3'000}) == Answer::kAccepted; }));
    }
    EXPECT_TRUE(Eventually([&] { return done == pairs; })) << runtime.Dump();
    runtime.Drain(absl::Seconds(10));
    EXPECT_TRUE(runtime.TotalLedger().Balanced());
  }
}

TEST(L5Progress, NoWakeUpIsLostFromOutside) {
  Report report;
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  const Ref<Sink> sink =
      runtime.SpawnWith<Sink>({.name = "", .mailbox_messages_max = 1, .worker = 0}, &report, 1);
  for (uint32_t i = 0; i < 2'000; ++i) {
    ASSERT_TRUE(Eventually([&] { return sink.TrySend(Item{0, i}) == Answer::kAccepted; })) << i;
    ASSERT_TRUE(Eventually([&] { return report.received == i + 1; })) << i;
  }
}

// A handler that feeds itself forever leaves time for its neighbours, for mail and for timers.
class Selfish : public Actor {
 public:
  void OnStart() override { On(Go{}); }
  void On(Go) { EXPECT_EQ(Send(RefOf(this), Go{}), Answer::kAccepted); }
};
class Ticker : public Actor {
 public:
  explicit Ticker(std::atomic<int>* ticks) : ticks_(ticks) {}
  void OnStart() override {
    Every(absl::Milliseconds(1), [this] { ++*ticks_; });
  }

 private:
  std::atomic<int>* ticks_;
};

TEST(L5Progress, AnActorThatFeedsItselfStarvesNobody) {
  Report report;
  std::atomic<int> ticks{0};
  Runtime runtime(SmallOptions(1));
  ASSERT_TRUE(runtime.Start().ok());
  for (int i = 0; i < 3; ++i) runtime.Spawn<Selfish>();
  runtime.Spawn<Ticker>(&ticks);
  const Ref<Sink> sink = runtime.Spawn<Sink>(&report, 1);
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(Eventually([&] { return sink.TrySend(Item{0, i}) == Answer::kAccepted; }));
    ASSERT_TRUE(Eventually([&] { return report.received == i + 1; }));
  }
  EXPECT_TRUE(Eventually([&] { return ticks > 20; }));
  runtime.Drain(absl::ZeroDuration());
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

// Spends the whole budget and more, until it is parked for memory; then its worker has nothing else
// to do.
struct Block {
  std::string text;
};
class Taker : public Actor {
 public:
  explicit Taker(std::atomic<int>* taken) : taken_(taken) {}
  void On(Block) { ++*taken_; }

 private:
  std::atomic<int>* taken_;
};
class Spender : public Actor {
 public:
  Spender(Ref<Taker> taker, std::atomic<int64_t>* spent) : taker_(taker), spent_(spent) {}
  void On(Go) {
    worker().lease().ReturnIdle();
    Budget& budget = runtime().budget();
    const int64_t rest = budget.BytesMax() - budget.UsedBytes();
    ASSERT_TRUE(budget.Take(rest));
    // Two fit into the overdraft; the third waits for memory.
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(Send(taker_, Block{std::string(100'000, 'x')}), Answer::kAccepted);
    *spent_ = rest;
  }

 private:
  Ref<Taker> taker_;
  std::atomic<int64_t>* spent_;
};

TEST(L5Progress, MessageWaitingForMemoryLeavesAnIdleWorker) {
  std::atomic<int> taken{0};
  std::atomic<int64_t> spent{0};
  Runtime runtime(SmallOptions(2));
  const Ref<Taker> taker =
      runtime.SpawnWith<Taker>({.name = "", .mailbox_messages_max = 8, .worker = 1}, &taken);
  const Ref<Spender> spender = runtime.SpawnWith<Spender>(
      {.name = "", .mailbox_messages_max = 8, .worker = 0}, taker, &spent);
  ASSERT_EQ(spender.TrySend(Go{}), Answer::kAccepted);
  ASSERT_TRUE(runtime.Start().ok());
  ASSERT_TRUE(Eventually([&] { return spent != 0 && taken == 2; }));
  runtime.budget().Give(spent);
  EXPECT_TRUE(Eventually([&] { return taken == 3; }, 10)) << taken;
  runtime.Drain(absl::Seconds(5));
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
}

// An Os that counts the workers that sleep until another thread wakes them.
class WatchfulOs : public ForwardingOs {
 public:
  std::atomic<int> resting{0};
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    // Timers for "never" may cause a wake-up after some days.
    const bool rests = Worker::Current() != nullptr && (timeout_ms < 0 || timeout_ms > 1 << 28);
    resting += rests;
    const int count = ForwardingOs::PollerWait(poller, events, events_max, timeout_ms);
    resting -= rests;
    return count;
  }
};

// An actor parked forever does not hold its worker: a neighbour on the same worker is served all
// the time, and an idle worker sleeps in its poller until it has work.
class Stuck : public Actor {
 public:
  Stuck(Recipient<Item> target, std::atomic<int>* parked) : target_(target), parked_(parked) {}
  void OnStart() override {
    EXPECT_EQ(Send(target_, Item{0, 0}), Answer::kAccepted);
    EXPECT_EQ(Send(target_, Item{0, 1}), Answer::kAccepted);
    ++*parked_;
  }
  void On(Item) { ADD_FAILURE() << "a parked actor ran"; }

 private:
  Recipient<Item> target_;
  std::atomic<int>* parked_;
};
class Couple : public Actor {  // Parks itself on a partner that is parked on it.
 public:
  Couple(std::atomic<int>* met, std::atomic<int>* started) : met_(met), started_(started) {}
  void On(Ref<Couple> other) {
    // Both at once, or the first to send would be served by the second.
    ++*met_;
    while (*met_ < 2) std::this_thread::yield();
    for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(Send(other, Item{0, i}), Answer::kAccepted);
    ++*started_;
  }
  void On(Item) {}

 private:
  std::atomic<int>* met_;
  std::atomic<int>* started_;
};

TEST(L6NoBlocking, ParkedActorsHoldNoWorker) {
  Report report;
  std::atomic<int> met{0};
  std::atomic<int> started{0};
  std::atomic<int> stuck{0};
  WatchfulOs os;
  Options options = SmallOptions(2);
  options.probe_after = absl::InfiniteDuration();
  Runtime runtime(options, os);
  ASSERT_TRUE(runtime.Start().ok());
  const SpawnOptions on0{.name = "", .mailbox_messages_max = 2, .worker = 0};
  const SpawnOptions on1{.name = "", .mailbox_messages_max = 2, .worker = 1};
  const Ref<Couple> a = runtime.SpawnWith<Couple>(on0, &met, &started);
  const Ref<Couple> b = runtime.SpawnWith<Couple>(on1, &met, &started);
  ASSERT_EQ(a.TrySend(b), Answer::kAccepted);
  ASSERT_EQ(b.TrySend(a), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return started == 2; }));
  for (int i = 0; i < 10; ++i) runtime.SpawnWith<Stuck>(on0, a, &stuck);
  ASSERT_TRUE(Eventually([&] { return stuck == 10; }));

  const Ref<Sink> sink = runtime.SpawnWith<Sink>(on0, &report, 1);
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(Eventually([&] { return sink.TrySend(Item{0, i}) == Answer::kAccepted; }));
  }
  EXPECT_TRUE(Eventually([&] { return report.received == 200; }));
  // A worker at rest sleeps until another thread wakes it: it does not poll.
  EXPECT_TRUE(Eventually([&] { return os.resting == 2; }));
  runtime.Drain(absl::ZeroDuration());
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

// The only lock of the message path is between outside threads: workers never take it.
TEST(L6NoBlocking, AnOutsideSenderThatStandsStillHoldsNoWorker) {
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  {
    std::lock_guard<std::mutex> held(
        Home::Of(&runtime.worker(0)).Lock());  // Held as by such a sender.
    std::atomic<bool> done{false};
    runtime.Call(1, [&](Worker& worker) {
      worker.runtime().Call(
          0, [&](Worker& other) { other.runtime().Call(1, [&](Worker&) { done = true; }); });
    });
    EXPECT_TRUE(Eventually([&] { return done.load(); }));
  }
}

}  // namespace
}  // namespace sluice::testing::progress_law_test
