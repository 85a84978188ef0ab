// Tests that each end in a crowd costs the same, however large the crowd is. The same 64,000 things
// end, once in groups of 2,000 and once in one group, so only the lengths of lists and the depths
// of trees differ. Processor time is measured, so the machine's other load counts little.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::end_growth_test {
namespace {

constexpr int kAll = 64'000;
constexpr int kGroup = 2'000;
// Linear work has the exponent 1, quadratic work 2. Deeper trees and colder caches add a part of
// their own: some 0.05 on a quiet machine, more on a shared one.
constexpr double kExponentMax = 1.25;
constexpr int kTriesMax = 6;

struct Later {
  using Reply = int;
};
struct Full {};

class Being : public Actor {
 public:
  void On(Later, Promise<int> promise) { promises.push_back(std::move(promise)); }
  void On(Full) {}
  void OnDown(const Down&) override { ++downs; }
  using Actor::After;
  using Actor::Ask;
  using Actor::Demonitor;
  using Actor::Monitor;
  using Actor::Send;
  using Actor::Spawn;
  std::vector<Promise<int>> promises;
  int downs = 0;
};

class Waiting : public Actor {
 public:
  explicit Waiting(const Ref<Being>& full) : full_(full) {}
  void OnStart() override { EXPECT_EQ(Send(full_, Full{}), Answer::kAccepted); }

 private:
  const Ref<Being> full_;
};

int64_t ProcessorNs() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Options GrowthOptions() {
  Options options = SmallOptions(1);
  options.memory_bytes_max = int64_t{1} << 30;
  options.actors_max = kAll + 10;
  options.monitors_max = options.asks_max = options.timers_max = kAll;
  options.mailbox_messages_max = kAll + 10;
  options.probe_after = absl::InfiniteDuration();
  options.slow_handler = absl::InfiniteDuration();
  options.linger_timeout = absl::Milliseconds(1);
  return options;
}

class World {
 public:
  World() : runtime(GrowthOptions()) { runtime.worker(0).Enter(); }
  ~World() {
    Worker::Leave();
    runtime.Drain(absl::Seconds(60));
    EXPECT_EQ(runtime.ActorCount(), 0);
  }
  Ref<Being> Make(uint32_t mailbox = 0) {
    const Ref<Being> ref =
        runtime.SpawnWith<Being>({.name = "", .mailbox_messages_max = mailbox, .worker = 0});
    Until([&] { return ref.slot()->started; });
    return ref;
  }
  static Being& Of(const Ref<Being>& ref) { return *static_cast<Being*>(ref.slot()->actor); }
  void Do(const Ref<Being>& ref, const std::function<void(Being&)>& act) {
    EXPECT_TRUE(runtime.worker(0).RunHandler(ref.slot(), "test", [&] { act(Of(ref)); }));
  }
  void Until(const std::function<bool()>& happened) {
    while (!happened()) runtime.worker(0).Turn(runtime.worker(0).NowMs());
  }
  void UntilActors(int64_t count) {
    Until([&] { return runtime.ActorCount() == count; });
  }
  Runtime runtime;
};

// Makes `count` things, and returns the function that ends them.
using Crowd = std::function<std::function<void()>(World& world, int count)>;

int64_t NsInGroupsOf(int count, const Crowd& crowd) {
  World world;
  int64_t ns = 0;
  for (int i = 0; i < kAll / count; ++i) {
    const std::function<void()> end = crowd(world, count);
    const int64_t before = ProcessorNs();
    end();
    ns += ProcessorNs() - before;
  }
  return ns;
}

void ExpectLinear(const char* what, const Crowd& crowd) {
  int64_t small_ns = INT64_MAX;
  int64_t large_ns = INT64_MAX;
  double exponent = 0;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    small_ns = std::min(small_ns, NsInGroupsOf(kGroup, crowd));
    large_ns = std::min(large_ns, NsInGroupsOf(kAll, crowd));
    exponent = 1 + std::log(static_cast<double>(large_ns) / static_cast<double>(small_ns)) /
                       std::log(static_cast<double>(kAll) / kGroup);
    if (exponent <= kExponentMax || exponent > 1.5) break;
  }
  const auto each = [](int64_t ns) { return static_cast<double>(ns) / kAll; };
  std::printf("%s: %.0f ns each of %d, %.0f ns each of %d: exponent %.3f\n", what, each(small_ns),
              kGroup, each(large_ns), kAll, exponent);
  EXPECT_LE(exponent, kExponentMax) << what;
}

TEST(EndGrowth, AMonitorOfManyEnds) {
  ExpectLinear("the end of a monitor", [](World& world, int count) {
    const Ref<Being> target = world.Make();
    const Ref<Being> monitor = world.Make();
    world.Do(monitor, [&](Being& self) {
      for (int i = 0; i < count; ++i) EXPECT_NE(self.Monitor(target), 0u);
    });
    world.Until([&] {
      return target.slot()->extra != nullptr &&
             target.slot()->extra->watchers.size() == static_cast<size_t>(count);
    });
    return [&world, target, monitor] {
      monitor.Stop();
      world.Until([&] { return target.slot()->extra->watchers.empty(); });
    };
  });
}

TEST(EndGrowth, MonitorsAreTakenBackTheLastOneFirst) {
  ExpectLinear("a monitor taken back", [](World& world, int count) {
    const Ref<Being> target = world.Make();
    const Ref<Being> monitor = world.Make();
    std::vector<MonitorId> ids;
    world.Do(monitor, [&](Being& self) {
      for (int i = 0; i < count; ++i) ids.push_back(self.Monitor(target));
    });
    world.Until([&] {
      return target.slot()->extra != nullptr &&
             target.slot()->extra->watchers.size() == static_cast<size_t>(count);
    });
    std::reverse(ids.begin(), ids.end());
    return [&world, target, monitor, ids] {
      world.Do(monitor, [&](Being& self) {
        for (const MonitorId id : ids) self.Demonitor(id);
      });
      world.Until([&] { return monitor.slot()->extra->watching.empty(); });
      EXPECT_TRUE(target.slot()->extra->watchers.empty());
    };
  });
}

TEST(EndGrowth, ActorWithManyMonitorsEnds) {
  ExpectLinear("the end of whom many monitor", [](World& world, int count) {
    const Ref<Being> target = world.Make();
    const Ref<Being> monitor = world.Make();
    world.Do(monitor, [&](Being& self) {
      for (int i = 0; i < count; ++i) EXPECT_NE(self.Monitor(target), 0u);
    });
    world.Until([&] { return target.slot()->extra != nullptr; });
    return [&world, target, monitor, count] {
      target.Stop();
      world.Until([&] { return World::Of(monitor).downs == count; });
    };
  });
}

TEST(EndGrowth, AParentOfManyEnds) {
  ExpectLinear("the end of a child", [](World& world, int count) {
    const int64_t before = world.runtime.ActorCount();
    const Ref<Being> parent = world.Make();
    world.Do(parent, [&](Being& self) {
      for (int i = 0; i < count && world.runtime.ActorCount() < kAll; ++i) self.Spawn<Being>();
    });
    return [&world, parent, before] {
      parent.Stop();
      world.UntilActors(before);
    };
  });
}

TEST(EndGrowth, AnActorWithManyTimersEnds) {
  ExpectLinear("a timer at its actor's end", [](World& world, int count) {
    const int64_t before = world.runtime.ActorCount();
    const Ref<Being> actor = world.Make();
    world.Do(actor, [&](Being& self) {
      for (int i = 0; i < count; ++i) EXPECT_NE(self.After(absl::Hours(1), [] {}), 0u);
    });
    return [&world, actor, before] {
      actor.Stop();
      world.UntilActors(before);
    };
  });
}

TEST(EndGrowth, AnActorWithManyQuestionsEnds) {
  ExpectLinear("a question at its actor's end", [](World& world, int count) {
    const Ref<Being> asked = world.Make();
    const int64_t before = world.runtime.ActorCount();
    const Ref<Being> actor = world.Make();
    world.Do(actor, [&](Being& self) {
      for (int i = 0; i < count; ++i) {
        EXPECT_EQ(self.Ask(asked, Later{}, absl::InfiniteDuration(), [](absl::StatusOr<int>) {}),
                  Answer::kAccepted);
      }
    });
    world.Until([&] { return World::Of(asked).promises.size() == static_cast<size_t>(count); });
    return [&world, actor, before] {
      actor.Stop();
      world.UntilActors(before);
    };
  });
}

TEST(EndGrowth, WaitersForOneMailboxEndLastOneFirst) {
  ExpectLinear("the end of one that waits", [](World& world, int count) {
    const Ref<Being> full = world.Make(1);
    world.runtime.worker(0).Suspend(full.slot());
    const int64_t before = world.runtime.ActorCount();
    std::vector<Ref<Waiting>> waiting;
    const int room = static_cast<int>(kAll - before);
    for (int i = 0; i < std::min(count, room); ++i) {
      waiting.push_back(world.runtime.SpawnWith<Waiting>(
          {.name = "", .mailbox_messages_max = 1, .worker = 0}, full));
    }
    world.Until([&] { return waiting.back().slot()->parked; });
    std::reverse(waiting.begin(), waiting.end());
    return [&world, waiting, before, full] {
      for (const Ref<Waiting>& one : waiting) one.Stop();
      world.UntilActors(before);
      full.Stop();
    };
  });
}

}  // namespace
}  // namespace sluice::testing::end_growth_test
