// Tests of a drain's end, on the simulated system: what the drain waits for past its deadline, and
// for how long.
#include <signal.h>

#include <cstdio>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice::sim::drain_end_test {
namespace {

struct Hold {
  absl::Duration time;
};

struct Tick {};

class Slow : public Actor {
 public:
  Slow(Simulation* simulation, absl::Duration at_end) : simulation_(*simulation), at_end_(at_end) {}
  void On(Hold hold) { simulation_.Sleep(hold.time); }
  void On(Tick) {}
  void OnStop() override { simulation_.Sleep(at_end_); }

 private:
  Simulation& simulation_;
  const absl::Duration at_end_;
};

Ref<Slow> Make(Site& site, int worker, absl::Duration at_end = absl::ZeroDuration()) {
  return site.runtime().SpawnWith<Slow>({.name = "", .mailbox_messages_max = 0, .worker = worker},
                                        &site.simulation(), at_end);
}

// Takes the steps of a drain, as RunUntilSignal does, until DrainStep reports the end.
absl::Duration StepsUntilOver(Site& site, absl::Duration timeout) {
  Simulation& simulation = site.simulation();
  const int64_t start_ns = simulation.NowNs();
  const int64_t deadline_ms = DeadlineMs(start_ns / 1'000'000, timeout);
  while (!site.runtime().DrainStep(deadline_ms)) simulation.Sleep(absl::Milliseconds(1));
  return absl::Nanoseconds(simulation.NowNs() - start_ns);
}

// Sends to another actor each millisecond.
class Ticker : public Actor {
 public:
  explicit Ticker(Ref<Slow> to) : to_(to) {}
  void OnStart() override {
    Every(absl::Milliseconds(1), [this] { EXPECT_EQ(Send(to_, Tick{}), Answer::kAccepted); });
  }

 private:
  const Ref<Slow> to_;
};

// Regression: no interval between two looks was quiet, and at the deadline children ended in any
// order.
TEST(DrainEnd, DrainEndsDespiteTimersThatSendAcrossWorkers) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(2));
  for (int i = 0; i < 2; ++i) {
    site.runtime().SpawnWith<Ticker>({.name = "", .mailbox_messages_max = 0, .worker = i},
                                     Make(site, 1 - i));
  }
  ASSERT_TRUE(site.Start());
  simulation.Sleep(absl::Milliseconds(10));
  const int64_t start_ns = simulation.NowNs();
  site.End(absl::Seconds(10));
  EXPECT_LT(simulation.NowNs() - start_ns, 1'000'000'000);
  EXPECT_EQ(simulation.violation(), "");
}

// Regression: a second after the deadline the process ended itself, before these actors had ended.
TEST(DrainEnd, SlowMachineIsNotAStuckHandler) {
  Simulation simulation(1, Faults::None());
  Options options = SmallOptions(2);
  options.drain_timeout = absl::Milliseconds(10);
  Site site(simulation, options);
  for (int i = 0; i < 30; ++i) Make(site, i % 2, absl::Milliseconds(200));
  const int64_t start_ns = simulation.NowNs();
  simulation.At(absl::Milliseconds(5), [&] { site.os().Signal(SIGTERM); });
  EXPECT_EQ(site.runtime().RunUntilSignal(), 0);
  EXPECT_GT(simulation.NowNs() - start_ns, 3'000'000'000);
  EXPECT_LT(simulation.NowNs() - start_ns, 3'200'000'000);
  EXPECT_EQ(site.runtime().ActorCount(), 0);
  EXPECT_EQ(simulation.violation(), "");
}

SeedOptions FewSeeds() {
  SeedOptions options;
  options.seeds = 5;
  return options;
}

struct Again {};

// Never at rest.
class Busy : public Actor {
 public:
  explicit Busy(Simulation* simulation) : simulation_(*simulation) {}
  void OnStart() override { EXPECT_EQ(Send(RefOf(this), Again{}), Answer::kAccepted); }
  void On(Again) {
    simulation_.Sleep(absl::Milliseconds(1));
    (void)Send(RefOf(this), Again{});
  }

 private:
  Simulation& simulation_;
};

class Polite : public Session {
 public:
  explicit Polite(int64_t* told_ns) : told_ns_(*told_ns) {}
  void OnData(Input& in) override { in.TakeAll(); }
  void OnDrain() override {
    told_ns_ = runtime().os().NowNs();
    WriteOrAbort("bye");
    Close();
  }

 private:
  int64_t& told_ns_;
};

TEST(DrainEnd, SessionsAreNotifiedThoughAnActorNeverRests) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(2));
        int64_t told_ns = 0;
        site.runtime().Spawn<Busy>(&simulation);
        site.runtime().Listen<Polite>("10.0.0.1:7001", &told_ns);
        if (!site.Start()) return;
        SimOs& machine = simulation.NewMachine("clients");
        Client client(machine);
        ASSERT_TRUE(client.Connect("10.0.0.1:7001").ok());
        ASSERT_TRUE(client.Write("hello").ok());
        simulation.Sleep(absl::Milliseconds(100));
        const int64_t start_ns = simulation.NowNs();
        StepsUntilOver(site, absl::Seconds(4));
        EXPECT_GE(told_ns - start_ns, 1'900'000'000);
        EXPECT_LE(told_ns - start_ns, 2'100'000'000);
        EXPECT_TRUE(client.ReadExactly(3).ok());
        site.End();
      },
      FewSeeds());
}

// Fails as soon as it is constructed.
class Fails : public Actor {
 public:
  explicit Fails(int* starts) : starts_(*starts) {}
  void OnStart() override {
    ++starts_;
    throw std::runtime_error("no database");
  }

 private:
  int& starts_;
};

TEST(DrainEnd, DrainDoesNotRestartAnAlwaysFailingActor) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        int starts = 0;
        site.runtime().SpawnRestarting<Fails>(
            {.restarts_max = 1'000'000, .within = absl::InfiniteDuration()}, {}, &starts);
        if (!site.Start()) return;
        simulation.Sleep(absl::Seconds(3));
        const int before = starts;
        StepsUntilOver(site, absl::Seconds(4));
        EXPECT_LE(starts - before, 5);
        site.End();
      },
      FewSeeds());
}

TEST(DrainEnd, EndlessHandlerIsHeldAndOtherWorkersEnd) {
  for (const int held : {0, 1, 2}) {
    Simulation simulation(1, Faults::None());
    Site site(simulation, SmallOptions(3));
    std::vector<Ref<Slow>> actors;
    for (int i = 0; i < 9; ++i) actors.push_back(Make(site, i % 3));
    ASSERT_TRUE(site.Start());
    simulation.Sleep(absl::Milliseconds(1));
    ASSERT_EQ(actors[held].TrySend(Hold{absl::Seconds(20)}), Answer::kAccepted);
    ASSERT_EQ(actors[held].TrySend(Hold{absl::Seconds(20)}), Answer::kAccepted);
    const absl::Duration took = StepsUntilOver(site, absl::Milliseconds(500));
    EXPECT_GE(took, absl::Milliseconds(1'500));
    EXPECT_LT(took, absl::Milliseconds(1'550));
    EXPECT_EQ(site.runtime().ActorCount(), 3);  // Those of the held worker.
    // Drain() itself waits for the handler, and counts the message that waits behind it.
    site.End();
    EXPECT_GT(simulation.NowNs(), 20'000'000'000);
    EXPECT_EQ(site.runtime().ActorCount(), 0);
    const Ledger ledger = site.runtime().TotalLedger();
    EXPECT_EQ(ledger.delivered + ledger.dropped[static_cast<int>(DropReason::kShutdown)], 2)
        << ledger.ToString();
    EXPECT_EQ(simulation.violation(), "");
  }
}

TEST(DrainEnd, DrainWaitsASecondForHandlersToReturn) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(2));
  const Ref<Slow> slow = Make(site, 1);
  ASSERT_TRUE(site.Start());
  simulation.Sleep(absl::Milliseconds(1));
  ASSERT_EQ(slow.TrySend(Hold{absl::Milliseconds(1'400)}), Answer::kAccepted);
  const absl::Duration took = StepsUntilOver(site, absl::Milliseconds(500));
  EXPECT_GE(took, absl::Milliseconds(1'390));
  EXPECT_LT(took, absl::Milliseconds(1'450));
  EXPECT_EQ(site.runtime().ActorCount(), 0);
  site.End();
  EXPECT_EQ(simulation.violation(), "");
}

TEST(DrainEnd, ProgressWithoutAnEndIsWaitedForAMinute) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(1));
  for (int i = 0; i < 400; ++i) Make(site, 0, absl::Milliseconds(200));
  ASSERT_TRUE(site.Start());
  simulation.Sleep(absl::Milliseconds(1));
  const absl::Duration took = StepsUntilOver(site, absl::Milliseconds(500));
  EXPECT_GE(took, absl::Milliseconds(60'500));
  EXPECT_LT(took, absl::Milliseconds(60'600));
  site.End();
  EXPECT_EQ(simulation.violation(), "");
}

// A program with a held worker gets these signals. At the last one it must end itself.
void SendSignals(const std::vector<std::pair<absl::Duration, int>>& signals) {
  Simulation simulation(1, Faults::None());
  Options options = SmallOptions(2);
  options.drain_timeout = absl::Milliseconds(500);
  Site site(simulation, options);
  EXPECT_EQ(Make(site, 1).TrySend(Hold{absl::Seconds(20)}), Answer::kAccepted);
  for (const auto& [when, signal] : signals) {
    simulation.At(when, [&site, number = signal] { site.os().Signal(number); });
  }
  simulation.At(signals.back().first + absl::Milliseconds(10), [] {
    std::fputs("it still runs\n", stderr);
    std::_Exit(3);
  });
  site.runtime().RunUntilSignal();
  std::_Exit(4);
}

// Regression: signals that came while the dump waited for the held worker were taken a second
// later, as one.
TEST(DrainEndDeathTest, SecondSignalEndsTheProcessDuringADump) {
  EXPECT_DEATH(SendSignals({{absl::Milliseconds(50), SIGUSR1},
                            {absl::Milliseconds(100), SIGTERM},
                            {absl::Milliseconds(400), SIGTERM}}),
               "ended itself with code 1");
  EXPECT_DEATH(SendSignals({{absl::Milliseconds(50), SIGTERM},
                            {absl::Milliseconds(100), SIGUSR1},
                            {absl::Milliseconds(400), SIGINT}}),
               "ended itself with code 1");
}

// Some supervisors signal the process, and then its group.
TEST(DrainEndDeathTest, ASignalThatComesTwiceAtOnceIsOne) {
  EXPECT_EXIT(SendSignals({{absl::Milliseconds(5), SIGTERM}, {absl::Milliseconds(7), SIGTERM}}),
              ::testing::ExitedWithCode(3), "it still runs");
}

// The drain is over after 1.5 s; then the ledger waits for a second.
TEST(DrainEndDeathTest, SecondSignalEndsTheProcessDuringTheLedger) {
  EXPECT_DEATH(
      SendSignals({{absl::Milliseconds(5), SIGTERM}, {absl::Milliseconds(2'000), SIGTERM}}),
      "ended itself with code 1");
}

// Captured by a blocking function; slow to destroy.
class SlowToDestroy {
 public:
  SlowToDestroy(Simulation* simulation, int* destroyed)
      : simulation_(simulation), destroyed_(destroyed) {}
  SlowToDestroy(SlowToDestroy&& other) noexcept
      : simulation_(other.simulation_), destroyed_(std::exchange(other.destroyed_, nullptr)) {}
  ~SlowToDestroy() {
    if (destroyed_ == nullptr) return;
    simulation_->Sleep(absl::Milliseconds(300));
    ++*destroyed_;
  }

 private:
  Simulation* const simulation_;
  int* destroyed_;
};

class Blocker : public Actor {
 public:
  Blocker(Simulation* simulation, int* destroyed) {
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(RunBlocking([held = SlowToDestroy(simulation, destroyed)] {}, [](absl::Status) {}),
                Answer::kAccepted);
    }
  }
};

TEST(DrainEnd, BlockingFunctionsCapturesAreDestroyedInADrain) {
  for (const int threads : {1, 2, 3}) {
    Simulation simulation(1, Faults::None());
    Options options = SmallOptions(2);
    options.blocking_threads_max = threads;
    options.drain_timeout = absl::Seconds(10);
    Site site(simulation, options);
    int destroyed = 0;
    site.runtime().Spawn<Blocker>(&simulation, &destroyed);
    simulation.At(absl::Milliseconds(5), [&] { site.os().Signal(SIGTERM); });
    const int64_t start_ns = simulation.NowNs();
    EXPECT_EQ(site.runtime().RunUntilSignal(), 0);
    EXPECT_EQ(destroyed, 6);
    EXPECT_GE(simulation.NowNs() - start_ns, int64_t{300'000'000} * 6 / threads);
    EXPECT_LT(simulation.NowNs() - start_ns, int64_t{300'000'000} * 6 / threads + 50'000'000);
    EXPECT_EQ(simulation.violation(), "");
  }
}

// Regression: the drain waited on an invalid descriptor, over and over.
TEST(DrainEnd, ADrainNeedsNoDescriptor) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(2));
  const Ref<Slow> slow = Make(site, 1);
  ASSERT_TRUE(site.Start());
  simulation.Sleep(absl::Milliseconds(1));
  ASSERT_EQ(slow.TrySend(Hold{absl::Milliseconds(50)}), Answer::kAccepted);
  site.os().descriptors_max = 0;
  site.End();
  EXPECT_EQ(simulation.violation(), "");
}

}  // namespace
}  // namespace sluice::sim::drain_end_test
