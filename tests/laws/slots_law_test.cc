// L10: a handle of an actor that ended reaches no actor, also while places go from worker to worker
// under real threads; and no place is lost.
#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::slots_law_test {
namespace {

constexpr int kWorkers = 3;
constexpr int kThreads = 2;
constexpr uint32_t kActorsMax = 500;
constexpr int kRounds = 60;
constexpr int kCrowd = 180;

struct Word {
  int64_t to;
};
class Cell;
struct Tell {
  Ref<Cell> whom;
  int64_t key;
  int how;
};
struct Breed {
  int children;
};

struct Seen {
  std::atomic<int64_t> strays{0};
  std::atomic<int64_t> bred{-1};
};

class Cell : public Actor {
 public:
  Cell(Seen* seen, int64_t key) : seen_(*seen), key_(key) {}
  void On(Word word) { seen_.strays += word.to != key_; }
  void On(Tell tell) {
    if (tell.how == 0) Demonitor(Monitor(tell.whom));
    if (tell.how == 1) Monitor(tell.whom);
    if (tell.how == 2) (void)tell.whom.TrySend(Word{tell.key});
    if (tell.how == 3) (void)Send(tell.whom, Word{tell.key});
    if (tell.how == 4) tell.whom.Stop();
  }
  void On(Breed breed) {
    int64_t bred = 0;
    for (int i = 0; i < breed.children; ++i) bred += static_cast<bool>(Spawn<Cell>(&seen_, -1));
    seen_.bred = bred;
  }

 private:
  Seen& seen_;
  const int64_t key_;
};

// Spawns crowds on one worker after the other, and sends to all actors that this thread ever
// spawned.
void Crowds(Runtime& runtime, Seen& seen, int thread) {
  struct Known {
    Ref<Cell> ref;
    int64_t key;
  };
  std::mt19937_64 random(static_cast<uint64_t>(thread));
  std::vector<Known> known;
  const auto any = [&] { return known[random() % known.size()]; };
  size_t stopped = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kCrowd; ++i) {
      const int64_t key = static_cast<int64_t>(known.size()) * kThreads + thread;
      known.push_back(
          {runtime.SpawnWith<Cell>(
               {.name = "", .mailbox_messages_max = 2, .worker = (round + thread) % kWorkers},
               &seen, key),
           key});
      const Known one = any();
      const Known other = any();
      // Each of the two may have ended.
      (void)one.ref.TrySend(Word{one.key});
      (void)one.ref.TrySend(Tell{other.ref, other.key, static_cast<int>(random() % 5)});
    }
    for (; stopped < known.size(); ++stopped) known[stopped].ref.Stop();
  }
}

TEST(L10Handles, DeadHandleReachesNobodyWhilePlacesMove) {
  Options options = SmallOptions(kWorkers);
  options.actors_max = kActorsMax;
  options.linger_timeout = absl::Milliseconds(20);
  Runtime runtime(options);
  ASSERT_TRUE(runtime.Start().ok());
  Seen seen;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { Crowds(runtime, seen, i); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([&] { return runtime.ActorCount() == 0; })) << runtime.Dump();
  EXPECT_EQ(seen.strays, 0);
  for (int worker = 0; worker < kWorkers; ++worker) {
    seen.bred = -1;
    const Ref<Cell> parent = runtime.SpawnWith<Cell>(
        {.name = "", .mailbox_messages_max = 0, .worker = worker}, &seen, -1);
    EXPECT_EQ(parent.TrySend(Breed{kActorsMax - 1}), Answer::kAccepted);
    EXPECT_TRUE(Eventually([&] { return seen.bred >= 0; }));
    EXPECT_EQ(seen.bred, int64_t{kActorsMax} - 1) << "worker " << worker;
    parent.Stop();
    EXPECT_TRUE(Eventually([&] { return runtime.ActorCount() == 0; }));
  }
  runtime.Drain(absl::Seconds(10));
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

}  // namespace
}  // namespace sluice::testing::slots_law_test
