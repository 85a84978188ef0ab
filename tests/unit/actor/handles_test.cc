// Tests of handles that outlive their runtime: a Ref answers closed, a Promise goes nowhere, from
// any thread, also while the runtime is destroyed.
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::handles_test {
namespace {

struct Note {
  std::string text;
};
struct Question {
  using Reply = std::string;
};

struct Seen {
  std::atomic<int> notes{0};
  std::atomic<int> started{0};
  std::atomic<int> downs{0};
  std::atomic<int> not_found{0};
  std::atomic<int> answers{0};
  std::atomic<int> refused{0};
  std::mutex lock;
  std::vector<Promise<std::string>> promises;
  Promise<std::string> Take() {
    const std::lock_guard<std::mutex> guard(lock);
    if (promises.empty()) return {};
    Promise<std::string> taken = std::move(promises.back());
    promises.pop_back();
    return taken;
  }
};

class Plain : public Actor {
 public:
  explicit Plain(Seen* seen) : seen_(*seen) {}
  void OnStart() override { ++seen_.started; }
  void On(const Note&) { ++seen_.notes; }
  void On(Question, Promise<std::string> promise) {
    const std::lock_guard<std::mutex> guard(seen_.lock);
    seen_.promises.push_back(std::move(promise));
  }
  void OnDown(const Down& down) override {
    ++seen_.downs;
    seen_.not_found += down.reason == EndReason::kNotFound;
  }

 private:
  Seen& seen_;
};

struct AskIt {
  Ref<Plain> whom;
};
struct WatchIt {
  Ref<Plain> whom;
};

// An actor that uses handles of other actors, also of another runtime's actors.
class Outsider : public Actor {
 public:
  explicit Outsider(Seen* seen) : seen_(*seen) {}
  void On(AskIt ask) {
    const Answer answer = Ask(ask.whom, Question{}, absl::Seconds(600),
                              [this](const absl::StatusOr<std::string>&) { ++seen_.answers; });
    seen_.refused += answer == Answer::kClosed;
  }
  void On(WatchIt watch) { Monitor(watch.whom); }
  void On(const Note& note) {
    (void)note;
    ++seen_.notes;
  }
  void OnDown(const Down& down) override {
    ++seen_.downs;
    seen_.not_found += down.reason == EndReason::kNotFound;
  }

 private:
  Seen& seen_;
};

TEST(Handles, ARefAnswersClosedWhenItsRuntimeIsGone) {
  Seen seen;
  Ref<Plain> ref;
  {
    Runtime runtime(SmallOptions(2));
    ref = runtime.Spawn<Plain>(&seen);
    ASSERT_TRUE(runtime.Start().ok());
    EXPECT_EQ(ref.TrySend(Note{"early"}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] { return seen.notes == 1; }));
  }
  EXPECT_EQ(ref.TrySend(Note{"late"}), Answer::kClosed);
  EXPECT_EQ(Recipient<Note>(ref).TrySend(Note{"late"}), Answer::kClosed);
  ref.Stop();
  // The ref does not reach the next actor in its slot either.
  Seen others;
  Runtime next(SmallOptions(2));
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(next.Spawn<Plain>(&others));
  EXPECT_EQ(ref.TrySend(Note{"late"}), Answer::kClosed);
  ref.Stop();
  ASSERT_TRUE(next.Start().ok());
  EXPECT_TRUE(Eventually([&] { return others.started == 200; }));
  next.Drain(absl::Seconds(10));
  EXPECT_EQ(others.notes, 0);
  EXPECT_EQ(seen.notes, 1);
  EXPECT_TRUE(next.TotalLedger().Balanced()) << next.TotalLedger().ToString();
}

TEST(Handles, APromiseGoesNowhereWhenItsRuntimeIsGone) {
  Seen seen;
  Promise<std::string> kept, dropped;
  {
    Runtime runtime(SmallOptions(2));
    const Ref<Plain> plain = runtime.Spawn<Plain>(&seen);
    const Ref<Outsider> asker = runtime.Spawn<Outsider>(&seen);
    ASSERT_TRUE(runtime.Start().ok());
    ASSERT_EQ(asker.TrySend(AskIt{plain}), Answer::kAccepted);
    ASSERT_EQ(asker.TrySend(AskIt{plain}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] {
      const std::lock_guard<std::mutex> guard(seen.lock);
      return seen.promises.size() == 2;
    }));
    kept = seen.Take();
    dropped = seen.Take();
  }
  kept.Resolve(std::string(100, 'x'));
  { const Promise<std::string> gone = std::move(dropped); }
  EXPECT_EQ(seen.answers, 0);  // The asker had ended before.
}

TEST(Handles, AfterADrainNothingIsCountedAnyMore) {
  Seen seen;
  Runtime runtime(SmallOptions(1));
  const Ref<Plain> plain = runtime.Spawn<Plain>(&seen);
  const Ref<Outsider> asker = runtime.Spawn<Outsider>(&seen);
  ASSERT_TRUE(runtime.Start().ok());
  ASSERT_EQ(asker.TrySend(AskIt{plain}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] {
    const std::lock_guard<std::mutex> guard(seen.lock);
    return seen.promises.size() == 1;
  }));
  Promise<std::string> kept = seen.Take();
  runtime.Drain(absl::Seconds(10));
  const std::string before = runtime.TotalLedger().ToString();
  kept.Resolve("late");
  plain.Stop();
  EXPECT_EQ(plain.TrySend(Note{"late"}), Answer::kClosed);
  EXPECT_EQ(runtime.TotalLedger().ToString(), before);
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << before;
  EXPECT_EQ(runtime.budget().UsedBytes(), 0);
}

TEST(Handles, ActorsOfAnotherRuntimeNoticeItsEnd) {
  Seen seen, here;
  Runtime other(SmallOptions(2));
  const Ref<Outsider> outsider = other.Spawn<Outsider>(&here);
  ASSERT_TRUE(other.Start().ok());
  Ref<Plain> plain;
  {
    Runtime runtime(SmallOptions(2));
    plain = runtime.Spawn<Plain>(&seen);
    ASSERT_TRUE(runtime.Start().ok());
    ASSERT_EQ(outsider.TrySend(WatchIt{plain}), Answer::kAccepted);
    ASSERT_EQ(outsider.TrySend(AskIt{plain}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] {
      const std::lock_guard<std::mutex> guard(seen.lock);
      return seen.promises.size() == 1;
    }));
  }
  // The actor ended with its runtime, and its monitor was notified.
  ASSERT_TRUE(Eventually([&] { return here.downs == 1; }));
  EXPECT_EQ(here.not_found, 0);
  ASSERT_EQ(outsider.TrySend(WatchIt{plain}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return here.not_found == 1; }));
  ASSERT_EQ(outsider.TrySend(AskIt{plain}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return here.refused == 1; }));
  // The answer of a promise that outlived its actor still comes.
  seen.Take().Resolve("from the grave");
  ASSERT_TRUE(Eventually([&] { return here.answers == 1; }));
  other.Drain(absl::Seconds(10));
  EXPECT_EQ(here.downs, 2);
  EXPECT_TRUE(other.TotalLedger().Balanced()) << other.TotalLedger().ToString();
}

// A thread that does not know of the runtime's end goes on using its handles.
TEST(Handles, ThreadSendsWhileTheRuntimeIsDestroyed) {
  for (int round = 0; round < 20; ++round) {
    Seen seen;
    std::atomic<bool> over{false};
    std::atomic<int> closed{0};
    std::vector<std::thread> threads;
    {
      Runtime runtime(SmallOptions(2));
      std::vector<Ref<Plain>> refs;
      for (int i = 0; i < 4; ++i) refs.push_back(runtime.Spawn<Plain>(&seen));
      const Ref<Outsider> asker = runtime.Spawn<Outsider>(&seen);
      ASSERT_TRUE(runtime.Start().ok());
      std::atomic<int> sending{0};
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&seen, &over, &closed, &sending, refs, asker, t] {
          bool told = false;
          for (int i = 0; !over; ++i) {
            const Ref<Plain>& ref = refs[static_cast<size_t>((i + t) % 4)];
            const Answer answer = ref.TrySend(Note{"more, and longer than a short string"});
            if (i % 16 == 0 && asker.TrySend(AskIt{ref}) == Answer::kClosed && i > 1'000) {
              ref.Stop();
            }
            if (i % 64 == 0) seen.Take().Resolve("an answer, longer than a short string");
            if (i == 100) ++sending;
            if (answer == Answer::kClosed && !std::exchange(told, true)) ++closed;
          }
        });
      }
      ASSERT_TRUE(Eventually([&] { return sending == 2; }));
    }
    // The runtime is gone, and the threads still send. The next runtime's actors stand in the same
    // slots.
    {
      Seen others;
      Runtime next(SmallOptions(2));
      for (int i = 0; i < 8; ++i) ASSERT_TRUE(next.Spawn<Plain>(&others));
      ASSERT_TRUE(next.Start().ok());
      EXPECT_TRUE(Eventually([&] { return others.started == 8 && closed == 2; }));
      next.Drain(absl::Seconds(10));
      EXPECT_EQ(others.notes, 0);
      EXPECT_TRUE(next.TotalLedger().Balanced()) << next.TotalLedger().ToString();
    }
    over = true;
    for (std::thread& thread : threads) thread.join();
    seen.promises.clear();
  }
}

// A thread that does not know of the runtime's end still spawns. Each spawn is refused, and leaves
// nothing behind for the next runtime, which lives in the same slots.
TEST(Handles, SpawnAfterDrainIsRefusedAndLeavesNothing) {
  Seen seen;
  {
    Runtime runtime(SmallOptions(2));
    ASSERT_TRUE(runtime.Spawn<Plain>(&seen));
    ASSERT_TRUE(runtime.Start().ok());
    runtime.Drain(absl::Seconds(10));
    const int64_t refused = runtime.TotalLedger().spawn_refused;
    for (int i = 0; i < 100; ++i) {
      const Ref<Plain> late = runtime.Spawn<Plain>(&seen);
      EXPECT_FALSE(late);
      EXPECT_EQ(late.TrySend(Note{"late"}), Answer::kClosed);
    }
    EXPECT_EQ(runtime.ActorCount(), 0);
    EXPECT_EQ(runtime.TotalLedger().spawn_refused, refused + 100);
    EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
  }
  EXPECT_EQ(seen.started, 1);
  Seen others;
  Runtime next(SmallOptions(2));
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(next.Spawn<Plain>(&others));
  ASSERT_TRUE(next.Start().ok());
  EXPECT_TRUE(Eventually([&] { return others.started == 300; }));
  next.Drain(absl::Seconds(10));
}

// A thread that spawns on and on delays a drain's end until the deadline, and no longer.
TEST(Handles, AThreadGoesOnSpawningWhileTheRuntimeDrains) {
  for (int round = 0; round < 20; ++round) {
    Seen seen;
    std::atomic<int> spawned{0};
    Runtime runtime(SmallOptions(2));
    ASSERT_TRUE(runtime.Start().ok());
    std::thread spawner([&] {
      while (const Ref<Plain> ref = runtime.Spawn<Plain>(&seen)) {
        ++spawned;
        ref.Stop();
        // Bounds the actors under way, so that no spawn is refused because of actors_max.
        EXPECT_TRUE(Eventually([&] { return runtime.ActorCount() < 1'000; }));
      }
    });
    ASSERT_TRUE(Eventually([&] { return spawned > 50; }));
    runtime.Drain(absl::Milliseconds(20));
    spawner.join();
    EXPECT_EQ(runtime.ActorCount(), 0);
    EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
  }
}

struct Hold {
  std::atomic<bool>* reached;
  std::atomic<bool>* go_on;
};
class Holdable : public Actor {
 public:
  void On(Hold hold) {
    *hold.reached = true;
    Eventually([&] { return hold.go_on->load(); });
  }
};
class Monitoring : public Actor {
 public:
  explicit Monitoring(Ref<Holdable> whom) : whom_(whom) {}
  void OnStart() override { Monitor(whom_); }

 private:
  const Ref<Holdable> whom_;
};

// The next runtime numbers the slots again while the target's worker still has the monitors of the
// previous runtime.
TEST(Handles, EndedRuntimesMonitorsLeaveRenumberedSlots) {
  const auto monitors = [](Runtime& of, const Ref<Holdable>& target) {
    size_t count = 0;
    OnEachWorker(of, [&](Worker&) {
      if (target.slot()->extra != nullptr) count = target.slot()->extra->watchers.size();
    });
    return count;
  };
  constexpr int kMonitors = 300;
  Runtime other(SmallOptions(1));
  const Ref<Holdable> target = other.Spawn<Holdable>();
  ASSERT_TRUE(other.Start().ok());
  std::atomic<bool> reached{false}, go_on{false};
  {
    Runtime runtime(SmallOptions(1));
    for (int i = 0; i < kMonitors; ++i) ASSERT_TRUE(runtime.Spawn<Monitoring>(target));
    ASSERT_TRUE(runtime.Start().ok());
    ASSERT_TRUE(Eventually([&] { return monitors(other, target) == kMonitors; }));
    ASSERT_EQ(target.TrySend(Hold{&reached, &go_on}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] { return reached.load(); }));
  }
  Runtime next(SmallOptions(1));
  for (int i = 0; i < kMonitors; ++i) ASSERT_TRUE(next.Spawn<Holdable>());
  go_on = true;
  EXPECT_EQ(monitors(other, target), 0u);
  other.Drain(absl::Seconds(10));
  EXPECT_TRUE(other.TotalLedger().Balanced()) << other.TotalLedger().ToString();
}

}  // namespace
}  // namespace sluice::testing::handles_test
