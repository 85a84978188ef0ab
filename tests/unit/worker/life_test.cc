// Tests of timers, monitors, children and names.
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/os/os.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::life_test {
namespace {

struct Note {
  int value;
};

class Being : public Actor {
 public:
  explicit Being(std::vector<std::string>* log, std::string name = "", bool fails = false)
      : log_(*log), name_(std::move(name)) {
    if (fails) throw std::runtime_error("not to be");
  }
  ~Being() override { log_.push_back(name_ + " gone"); }
  void OnStart() override { log_.push_back(name_ + " start"); }
  void OnStop() override {
    log_.push_back(name_ + " stop");
    if (on_stop) on_stop(*this);
  }
  void OnDown(const Down& down) override {
    log_.push_back(name_ + " down " + std::to_string(down.monitor) + " " +
                   std::string(EndReasonName(down.reason)));
  }
  void On(Note note) { log_.push_back(name_ + " note " + std::to_string(note.value)); }
  using Actor::After;
  using Actor::CancelTimer;
  using Actor::Demonitor;
  using Actor::Every;
  using Actor::Monitor;
  using Actor::Now;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::SpawnWith;
  using Actor::Stop;
  std::function<void(Being&)> on_stop;

 private:
  std::vector<std::string>& log_;
  const std::string name_;
};

class Life : public ::testing::Test {
 protected:
  static Options LifeOptions() {
    Options options = SmallOptions(2);
    options.actors_max = 8;
    options.timers_max = 3;
    options.names_max = 2;
    return options;
  }
  Life() : runtime_(LifeOptions()), step_(runtime_) {}
  ~Life() override {
    runtime_.Drain(absl::Seconds(5));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  static SpawnOptions On(int worker) {
    return {.name = "", .mailbox_messages_max = 0, .worker = worker};
  }
  Ref<Being> Make(const std::string& name, int worker = 0) {
    const Ref<Being> ref = runtime_.SpawnWith<Being>(On(worker), &log_, name);
    step_.Round(2);
    return ref;
  }
  void Do(const Ref<Being>& ref, std::function<void(Being&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test",
                                  [&] { act(*static_cast<Being*>(ref.slot()->actor)); }));
    worker.Leave();
  }
  int Count(const std::string& line) {
    return static_cast<int>(std::count(log_.begin(), log_.end(), line));
  }
  int IndexOf(const std::string& line) {
    return static_cast<int>(std::find(log_.begin(), log_.end(), line) - log_.begin());
  }
  Runtime runtime_;
  Stepper step_;
  std::vector<std::string> log_;
};

TEST_F(Life, TimersRunOnceOrAgainOrCancelThemselves) {
  const Ref<Being> a = Make("a");
  int once = 0, every = 0, self_cancelled = 0;
  TimerId timer = 0;
  Do(a, [&](Being& self) {
    self.After(absl::Milliseconds(1), [&] { ++once; });
    self.Every(absl::Milliseconds(1), [&] { ++every; });
    timer = self.Every(absl::Milliseconds(1), [&] {
      ++self_cancelled;
      self.CancelTimer(timer);
    });
    EXPECT_EQ(self.After(absl::Seconds(1), [] {}), 0u);  // timers_max.
  });
  EXPECT_TRUE(step_.Until([&] { return every >= 5; }));
  EXPECT_EQ(once, 1);
  EXPECT_EQ(self_cancelled, 1);
  Do(a, [&](Being& self) {
    EXPECT_NE(self.After(absl::InfiniteDuration(), [] { ADD_FAILURE(); }), 0u);
  });
  step_.Round(10);
  a.Stop();  // Ends the actor before the variables that its timers count in are gone.
  EXPECT_TRUE(step_.Until([&] { return runtime_.ActorCount() == 0; }));
}

// A fraction of a millisecond counts, too (found by the stress test).
TEST_F(Life, TimerIsNeverEarlyWithinAMillisecond) {
  const Ref<Being> ref = Make("a");
  constexpr int kTimers = 40;
  int fired = 0;
  int64_t early_ns = 0;
  for (int i = 0; i < kTimers; ++i) {
    // Start late in a millisecond: the tick that has begun must not count as a whole one.
    ASSERT_TRUE(step_.Until([] { return LinuxOs().NowNs() % 1'000'000 > 800'000; }));
    Do(ref, [&](Being& self) {
      const absl::Duration delay = absl::Microseconds(1'900);
      const int64_t due_ns = absl::ToInt64Nanoseconds(self.Now() + delay);
      const auto note = [&fired, &early_ns, due_ns] {
        ++fired;
        early_ns = std::max(early_ns, due_ns - LinuxOs().NowNs());
      };
      EXPECT_NE(self.After(delay, note), 0u);
    });
    ASSERT_TRUE(step_.Until([&] { return fired == i + 1; }));
  }
  EXPECT_LE(early_ns, 0);
}

TEST_F(Life, AnEveryOfMicrosecondsRunsNoMoreOften) {
  const Ref<Being> ref = Make("a");
  constexpr int kFirings = 20;
  constexpr int64_t kIntervalNs = 1'900'000;
  int fired = 0;
  int64_t begin_ns = 0;
  Do(ref, [&](Being& self) {
    begin_ns = absl::ToInt64Nanoseconds(self.Now());
    EXPECT_NE(self.Every(absl::Nanoseconds(kIntervalNs), [&fired] { ++fired; }), 0u);
  });
  ASSERT_TRUE(step_.Until([&] { return fired >= kFirings; }));
  EXPECT_GE(LinuxOs().NowNs() - begin_ns, fired * kIntervalNs);
  ref.Stop();  // Ends the actor before the variables that its timers count in are gone.
  step_.Round(3);
}

TEST_F(Life, ATimerMayEndItsOwnActor) {
  const Ref<Being> a = Make("a");
  int later = 0;
  Do(a, [&](Being& self) {
    self.After(absl::Milliseconds(1), [&self] { self.Stop(); });
    self.After(absl::Milliseconds(1), [&] { ++later; });
  });
  EXPECT_TRUE(step_.Until([&] { return Count("a gone") == 1; }));
  step_.Round(5);
  EXPECT_EQ(later, 0);
}

class Ticker : public Actor {
 public:
  explicit Ticker(int* ticks) : ticks_(*ticks) {}
  void OnStart() override {
    Every(absl::Milliseconds(5), [this] { ++ticks_; });
  }

 private:
  int& ticks_;
};

TEST(LifeClock, EveryKeepsTimeHoweverLongItsTurns) {
  ClockOs os;
  Runtime runtime(SmallOptions(1), os);
  int ticks = 0;
  runtime.Spawn<Ticker>(&ticks);
  Stepper step(runtime);
  step.Round(2);
  for (int ms = 0; ms < 204; ms += 4) {  // The first firing is due after 6 ms: never early.
    os.Advance(absl::Milliseconds(4));
    step.Round();
  }
  EXPECT_EQ(ticks, 40);  // With a drift by the lateness of each turn it would be 25.
  os.runs = true;
  runtime.Drain(absl::Seconds(5));
}

TEST_F(Life, EachMonitorGetsOneDownFromAnyWorker) {
  for (int worker : {0, 1}) {
    log_.clear();
    const Ref<Being> watcher = Make("w", 0);
    const Ref<Being> target = Make("t", worker);
    MonitorId first = 0, second = 0, taken_back = 0, late = 0, null = 0;
    Do(watcher, [&](Being& self) {
      first = self.Monitor(target);
      second = self.Monitor(target);
      taken_back = self.Monitor(target);
      self.Demonitor(taken_back);
    });
    step_.Round(3);
    target.Stop();
    step_.Round(6);
    Do(watcher, [&](Being& self) {
      late = self.Monitor(target);
      null = self.Monitor(Ref<Being>());
    });
    step_.Round(6);
    EXPECT_EQ(Count("w down " + std::to_string(first) + " stopped"), 1);
    EXPECT_EQ(Count("w down " + std::to_string(second) + " stopped"), 1);
    EXPECT_EQ(Count("w down " + std::to_string(taken_back) + " stopped"), 0);
    EXPECT_EQ(Count("w down " + std::to_string(late) + " not found"), 1);
    EXPECT_EQ(Count("w down " + std::to_string(null) + " not found"), 1);
    watcher.Stop();
    step_.Round(6);
  }
}

TEST_F(Life, MutualMonitorsSurviveAWatcherThatEndsFirst) {
  const Ref<Being> a = Make("a", 0);
  const Ref<Being> b = Make("b", 1);
  Do(a, [&](Being& self) { self.Monitor(b); });
  Do(b, [&](Being& self) { self.Monitor(a); });
  step_.Round(3);
  a.Stop();
  step_.Round(6);
  EXPECT_EQ(Count("b down 1 stopped"), 1);
  b.Stop();
  step_.Round(6);
  EXPECT_EQ(Count("a down 1 stopped"), 0);
  EXPECT_EQ(runtime_.ActorCount(), 0);
}

TEST_F(Life, ChildrenEndBeforeTheirParent) {
  const Ref<Being> parent = Make("parent", 0);
  Do(parent, [&](Being& self) {
    self.SpawnWith<Being>(On(0), &log_, "here");
    self.SpawnWith<Being>(On(1), &log_, "there");
  });
  step_.Round(3);
  Do(parent, [&](Being& self) { self.Stop(); });
  step_.Round(8);
  EXPECT_EQ(runtime_.ActorCount(), 0);
  EXPECT_LT(IndexOf("here stop"), IndexOf("parent stop"));
  EXPECT_LT(IndexOf("there stop"), IndexOf("parent stop"));
  EXPECT_LT(IndexOf("there gone"), IndexOf("parent stop"));
}

TEST_F(Life, AReusedSlotIsAnotherChild) {
  const Ref<Being> parent = Make("parent", 0);
  // Fill the stock of free slots that the other worker keeps: the slot of the next actor that ends
  // goes back to the stock, and from there to the next child.
  for (uint32_t i = 0; i < SlotTable::kFreeSlotsMax; ++i) {
    const Ref<Being> before = Make("before", 1);
    before.Stop();
    EXPECT_TRUE(step_.Until([&] { return runtime_.ActorCount() == 1; }));
  }
  Ref<Being> first, second;
  Do(parent, [&](Being& self) { first = self.SpawnWith<Being>(On(1), &log_, "first"); });
  step_.Turn(0);
  step_.Turn(1);
  first.Stop();
  step_.Turn(1);  // The child has ended, and its parent is not notified yet.
  Do(parent, [&](Being& self) { second = self.SpawnWith<Being>(On(1), &log_, "second"); });
  EXPECT_EQ(first.slot(), second.slot());
  step_.Round(4);
  parent.Stop();
  step_.Round(8);
  EXPECT_EQ(Count("second stop"), 1);
  EXPECT_LT(IndexOf("second stop"), IndexOf("parent stop"));
}

TEST_F(Life, AnActorThatEndsHasNoMoreChildren) {
  const Ref<Being> parent = Make("parent", 0);
  std::vector<Ref<Being>> children;
  Do(parent, [&](Being& self) {
    self.on_stop = [&](Being& ending) {
      for (int worker : {0, 1})
        children.push_back(ending.SpawnWith<Being>(On(worker), &log_, "late"));
    };
    self.Stop();
  });
  step_.Round(6);
  EXPECT_EQ(children, std::vector<Ref<Being>>(2));
  EXPECT_EQ(runtime_.ActorCount(), 0);
  EXPECT_EQ(runtime_.TotalLedger().spawn_refused, 2);
}

TEST_F(Life, ActorsMaxAnswersADeadRefAndIsCounted) {
  const Ref<Being> parent = Make("parent", 0);
  std::vector<Ref<Being>> children;
  Do(parent, [&](Being& self) {
    for (int i = 0; i < 7; ++i)
      children.push_back(self.SpawnWith<Being>(On(i % 2), &log_, "child"));
    EXPECT_FALSE(self.SpawnWith<Being>(On(0), &log_, "child"));
    EXPECT_FALSE(self.SpawnWith<Being>(On(1), &log_, "child"));
  });
  EXPECT_FALSE(runtime_.Spawn<Being>(&log_, "root"));
  for (const Ref<Being>& child : children) EXPECT_TRUE(child);
  EXPECT_GE(runtime_.TotalLedger().spawn_refused, 1);
  step_.Round(3);
  children[0].Stop();
  step_.Round(4);
  EXPECT_TRUE(Make("again", 0));
}

TEST_F(Life, ThrowingConstructorGivesADeadRefOrDown) {
  const Ref<Being> parent = Make("parent", 0);
  Do(parent, [&](Being& self) {
    EXPECT_FALSE(self.SpawnWith<Being>(On(0), &log_, "child", true));
    const Ref<Being> placed = self.SpawnWith<Being>(On(1), &log_, "child", true);
    EXPECT_TRUE(placed);
    EXPECT_EQ(self.Send(placed, Note{1}), Answer::kAccepted);
    self.Monitor(placed);
  });
  step_.Round(6);
  EXPECT_TRUE(Count("parent down 1 failed") + Count("parent down 1 not found") == 1);
  EXPECT_EQ(runtime_.ActorCount(), 1);
  EXPECT_EQ(runtime_.TotalLedger().failed, 2);
  parent.Stop();
  step_.Round(6);
  EXPECT_EQ(runtime_.ActorCount(), 0);
}

TEST_F(Life, MessagesMayOvertakeAPlacedActorsSpawn) {
  const Ref<Being> a = Make("a", 0);
  const Ref<Being> placed = runtime_.SpawnWith<Being>(On(1), &log_, "placed");
  Do(a, [&](Being& self) { EXPECT_EQ(self.Send(placed, Note{1}), Answer::kAccepted); });
  EXPECT_EQ(placed.TrySend(Note{2}), Answer::kAccepted);
  step_.Turn(0);
  step_.Round(4);
  EXPECT_EQ(Count("placed note 1") + Count("placed note 2"), 2);
  EXPECT_LT(IndexOf("placed start"), IndexOf("placed note 1"));
  EXPECT_LT(IndexOf("placed start"), IndexOf("placed note 2"));
  EXPECT_EQ(placed.slot()->mailbox.FreeCredits(), placed.slot()->mailbox.Capacity());
}

TEST_F(Life, AnActorStoppedBeforeItsStartStopsSilently) {
  const Ref<Being> placed = runtime_.SpawnWith<Being>(On(1), &log_, "placed");
  placed.Stop();
  step_.Round(4);
  EXPECT_EQ(Count("placed start"), Count("placed stop"));
  EXPECT_EQ(Count("placed gone"), 1);
}

TEST_F(Life, NamesAreForOneLiveActorEach) {
  const Ref<Being> a = Make("a");
  const Ref<Being> b = Make("b");
  EXPECT_TRUE(runtime_.Register("name", a).ok());
  EXPECT_EQ(runtime_.Register("name", b).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(runtime_.Find<Being>("name"), a);
  EXPECT_FALSE(runtime_.Find<Actor>("name"));  // Find() compares the actor's type, too.
  EXPECT_FALSE(runtime_.Find<Being>("other"));
  EXPECT_FALSE(runtime_.Register("null", Ref<Being>()).ok());
  EXPECT_TRUE(runtime_.Register("second", b).ok());
  EXPECT_EQ(runtime_.Register("third", b).code(), absl::StatusCode::kResourceExhausted);
  a.Stop();
  step_.Round(4);
  EXPECT_FALSE(runtime_.Find<Being>("name"));
  EXPECT_TRUE(runtime_.Register("third", b).ok());  // Takes the place of the ended actor's name.
  runtime_.Unregister("third");
  EXPECT_FALSE(runtime_.Find<Being>("third"));
}

}  // namespace
}  // namespace sluice::testing::life_test
