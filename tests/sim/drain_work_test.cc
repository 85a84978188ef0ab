// Tests of the work that a drain still does: messages that were accepted, waits for room, last
// words, and what hubs hold back for a session.
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice::sim::drain_work_test {
namespace {

// Takes the steps of a drain, as RunUntilSignal does, until DrainStep reports the end.
absl::Duration StepsUntilOver(Site& site, absl::Duration timeout) {
  Simulation& simulation = site.simulation();
  const int64_t start_ns = simulation.NowNs();
  const int64_t deadline_ms = DeadlineMs(start_ns / 1'000'000, timeout);
  while (!site.runtime().DrainStep(deadline_ms)) simulation.Sleep(absl::Milliseconds(1));
  return absl::Nanoseconds(simulation.NowNs() - start_ns);
}

SeedOptions FewSeeds() {
  SeedOptions options;
  options.seeds = 5;
  return options;
}

struct Tick {};

// Sends `count` messages to another actor in one handler; two such actors wait for each other.
struct Number {
  int number;
};
class Linked : public Actor {
 public:
  Linked(int count, int* accepted, int* handled)
      : count_(count), accepted_(*accepted), handled_(*handled) {}
  void On(Ref<Linked> other) {
    for (int i = 0; i < count_; ++i) accepted_ += Send(other, Number{i}) == Answer::kAccepted;
  }
  void On(Number) { ++handled_; }

 private:
  const int count_;
  int& accepted_;
  int& handled_;
};

TEST(DrainEnd, DrainBreaksWaitCyclesAndHandlesAcceptedMessages) {
  for (const int after_ms : {1, 20, 90}) {
    for (const int workers : {1, 2}) {
      Simulation simulation(1, Faults::None());
      Options options = SmallOptions(workers);
      options.mailbox_messages_max = 2;
      options.probe_after = absl::Milliseconds(100);
      options.on_wait_cycle = OnWaitCycle::kDrop;
      Site site(simulation, options);
      int accepted = 0;
      int handled = 0;
      const auto make = [&](int worker) {
        return site.runtime().SpawnWith<Linked>(
            {.name = "", .mailbox_messages_max = 0, .worker = worker}, 10, &accepted, &handled);
      };
      const Ref<Linked> a = make(0);
      const Ref<Linked> b = make(workers - 1);
      ASSERT_EQ(a.TrySend(Ref<Linked>(b)), Answer::kAccepted);
      ASSERT_EQ(b.TrySend(Ref<Linked>(a)), Answer::kAccepted);
      ASSERT_TRUE(site.Start());
      simulation.Sleep(absl::Milliseconds(after_ms));
      ASSERT_EQ(accepted, 20);
      StepsUntilOver(site, absl::Seconds(5));
      EXPECT_GT(site.runtime().WaitCyclesFound(), 0);
      const Ledger ledger = site.runtime().TotalLedger();
      // A message that breaks a cycle is dropped with a reason of its own; no other message is
      // dropped.
      const int64_t broken = ledger.parked_dropped[static_cast<int>(DropReason::kDeadlock)];
      EXPECT_EQ(handled + broken, 20) << ledger.ToString();
      EXPECT_GE(handled, 10);
      site.End();
      EXPECT_EQ(simulation.violation(), "");
    }
  }
}

// Regression: this actor held every drain to its deadline.
class Late : public Actor {
 public:
  explicit Late(Simulation* simulation) : simulation_(*simulation) {}
  void OnStart() override {
    Every(absl::Milliseconds(1), [this] { simulation_.Sleep(absl::Milliseconds(3)); });
  }

 private:
  Simulation& simulation_;
};

TEST(DrainEnd, DrainEndsDespiteTimersThatAreAlwaysLate) {
  for (const int timers : {1, 3}) {
    ForEachSeed(
        [timers](Simulation& simulation) {
          Site site(simulation, SmallOptions(2));
          for (int i = 0; i < timers; ++i) {
            site.runtime().SpawnWith<Late>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                           &simulation);
          }
          if (!site.Start()) return;
          simulation.Sleep(absl::Milliseconds(50));
          EXPECT_LT(StepsUntilOver(site, absl::Seconds(10)), absl::Seconds(1));
          site.End();
        },
        FewSeeds());
  }
}

// Calls the pool in its OnStop, again or for the first time.
class AsksAtTheEnd : public Actor {
 public:
  AsksAtTheEnd(bool before, int* ran) : before_(before), ran_(*ran) {}
  void OnStart() override {
    if (!before_) return;
    EXPECT_EQ(RunBlocking([] {}, [](absl::Status) {}), Answer::kAccepted);
  }
  void OnStop() override {
    EXPECT_EQ(RunBlocking([&ran = ran_] { ++ran; }, [](absl::Status) {}), Answer::kAccepted);
  }

 private:
  const bool before_;
  int& ran_;
};

TEST(DrainEnd, BlockingFunctionSubmittedInOnStopRuns) {
  for (const bool before : {false, true}) {
    for (const int actors : {1, 7}) {
      Simulation simulation(1, Faults::None());
      Options options = SmallOptions(2);
      options.blocking_calls_max = 2;
      options.blocking_threads_max = 2;
      Site site(simulation, options);
      int ran = 0;
      for (int i = 0; i < actors; ++i) site.runtime().Spawn<AsksAtTheEnd>(before, &ran);
      ASSERT_TRUE(site.Start());
      simulation.Sleep(absl::Milliseconds(10));
      EXPECT_LT(StepsUntilOver(site, absl::Seconds(5)), absl::Seconds(1));
      EXPECT_EQ(ran, actors);
      EXPECT_EQ(site.runtime().ActorCount(), 0);
      site.End();
      const BlockingLedger counts = site.runtime().blocking().Counts();
      EXPECT_EQ(counts.finished, counts.submitted) << counts.ToString();
      EXPECT_EQ(simulation.violation(), "");
    }
  }
}

class Listens : public Actor {
 public:
  explicit Listens(int* handled) : handled_(*handled) {}
  void On(Number) { ++handled_; }

 private:
  int& handled_;
};

class LastWords : public Actor {
 public:
  LastWords(Ref<Listens> to, int count, int* accepted)
      : to_(to), count_(count), accepted_(*accepted) {}
  void OnStop() override {
    for (int i = 0; i < count_; ++i) accepted_ += Send(to_, Number{i}) == Answer::kAccepted;
  }

 private:
  const Ref<Listens> to_;
  const int count_;
  int& accepted_;
};

class Parent : public Actor {
 public:
  Parent(int speaker_worker, int count, int* accepted, int* handled)
      : worker_(speaker_worker), count_(count), accepted_(accepted), handled_(handled) {}
  void OnStart() override {
    const Ref<Listens> listens = Spawn<Listens>(handled_);
    for (int i = 0; i < 3; ++i) {
      SpawnWith<LastWords>({.name = "", .mailbox_messages_max = 0, .worker = worker_}, listens,
                           count_, accepted_);
    }
  }

 private:
  const int worker_;
  const int count_;
  int* const accepted_;
  int* const handled_;
};

TEST(DrainEnd, MessagesFromOnStopReachAnOlderSibling) {
  for (const bool elsewhere : {false, true}) {
    ForEachSeed(
        [elsewhere](Simulation& simulation) {
          Options options = SmallOptions(2);
          options.mailbox_messages_max = 64;
          options.outbox_messages_max = 256;
          Site site(simulation, options);
          int accepted = 0;
          int handled = 0;
          // From another worker: as many as there is room for. Otherwise more, and the speakers
          // linger.
          const int count = elsewhere ? 20 : 256;
          site.runtime().SpawnWith<Parent>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                           elsewhere ? 1 : 0, count, &accepted, &handled);
          if (!site.Start()) return;
          simulation.Sleep(absl::Milliseconds(10));
          EXPECT_LT(StepsUntilOver(site, absl::Seconds(5)), absl::Seconds(1));
          EXPECT_EQ(accepted, 3 * count);
          EXPECT_EQ(handled, accepted);
          site.End();
        },
        FewSeeds());
  }
}

class Silent : public Session {
 public:
  void OnData(Input& in) override { in.TakeAll(); }
};

TEST(DrainEnd, ConnectOnADrainedRuntimeSaysSo) {
  Simulation simulation(1, Faults::None());
  Site site(simulation, SmallOptions(1));
  ASSERT_TRUE(site.Start());
  site.End();
  const auto connected = Connect<Silent>(site.runtime(), "10.0.0.1:7001", absl::Seconds(1));
  EXPECT_EQ(connected.status().code(), absl::StatusCode::kFailedPrecondition) << connected.status();
}

// Works on until the runtime drains. A drain waits for the hold, as it is work under way.
class WorksOn : public Actor {
 public:
  explicit WorksOn(int* steps) : steps_(*steps) {}
  Task<> On(Tick) {
    const MailHold hold = HoldMail();
    while (!Draining()) {
      ++steps_;
      co_await Sleep(absl::Milliseconds(1));
    }
  }

 private:
  int& steps_;
};

TEST(DrainEnd, AnActorMayAskWhetherItsRuntimeDrains) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        int steps = 0;
        const Ref<WorksOn> works = site.runtime().Spawn<WorksOn>(&steps);
        if (!site.Start()) return;
        EXPECT_EQ(works.TrySend(Tick{}), Answer::kAccepted);
        simulation.Sleep(absl::Milliseconds(50));
        EXPECT_GT(steps, 10);
        EXPECT_LT(StepsUntilOver(site, absl::Seconds(10)), absl::Seconds(1));
        site.End();
      },
      FewSeeds());
}

// --- Messages that hubs hold back for a session.

class Reader : public Session {
 public:
  Reader(Ref<Hub> hub, SubscribeOptions options, int* joined)
      : hub_(hub), options_(std::move(options)), joined_(*joined) {}
  void OnOpen() override { EXPECT_EQ(Send(hub_, Subscribe(this, options_)), Answer::kAccepted); }
  void On(Subscribed subscribed) { joined_ += subscribed.Joined(); }
  void OnData(Input& in) override { in.TakeAll(); }

 private:
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
  int& joined_;
};

constexpr int kPublished = 200;
constexpr int kPieceBytes = 4'000;

class Publisher : public Actor {
 public:
  explicit Publisher(Ref<Hub> hub) : hub_(hub) {}
  void On(Tick) {
    for (int i = 0; i < kPublished; ++i) {
      EXPECT_EQ(Send(hub_, Publish{Bytes::Copy(std::string(kPieceBytes, 'p')), {}}),
                Answer::kAccepted);
    }
  }

 private:
  const Ref<Hub> hub_;
};

// A peer subscribes, and starts to read `reads_after` after the drain has begun.
HubTotals DrainBeside(SubscribeOptions subscribe, absl::Duration reads_after, size_t* received) {
  Simulation simulation(1, Faults::None());
  Options options = SmallOptions(2);
  options.memory_bytes_max = 64 << 20;
  options.outbox_messages_max = kPublished;
  options.output_bytes_max = 100'000;  // A Close takes only a part of the waiting bytes with it.
  options.write_stalled_timeout = absl::InfiniteDuration();
  options.close_timeout = absl::InfiniteDuration();
  Site site(simulation, options);
  int joined = 0;
  const Ref<Hub> hub = site.runtime().Spawn<Hub>();
  const Ref<Publisher> publisher = site.runtime().Spawn<Publisher>(hub);
  site.runtime().Listen<Reader>("10.0.0.1:7001", hub, subscribe, &joined);
  EXPECT_TRUE(site.Start());
  SimOs& machine = simulation.NewMachine("clients");
  Client client(machine, absl::Seconds(60));
  EXPECT_TRUE(client.Connect("10.0.0.1:7001").ok());
  simulation.Sleep(absl::Milliseconds(100));
  EXPECT_EQ(joined, 1);
  EXPECT_EQ(publisher.TrySend(Tick{}), Answer::kAccepted);
  simulation.Sleep(absl::Milliseconds(100));
  ThreadId peer = 0;
  EXPECT_EQ(machine.ThreadStart(
                [&] {
                  simulation.Sleep(reads_after);
                  const auto all = client.ReadToEnd();
                  if (all.ok()) *received = all->size();
                },
                &peer),
            0);
  StepsUntilOver(site, absl::Seconds(10));
  machine.ThreadJoin(peer);
  site.End();
  EXPECT_EQ(simulation.violation(), "");
  return HubLedger::Of(site.runtime());
}

TEST(DrainEnd, ParkingReaderGetsEverythingBeforeOnDrain) {
  size_t received = 0;
  const HubTotals totals = DrainBeside({.slow = SlowPolicy::kPark, .queue_messages_max = 4},
                                       absl::Milliseconds(500), &received);
  EXPECT_EQ(totals.received, kPublished) << totals.ToString();
  EXPECT_EQ(received, size_t{kPublished} * kPieceBytes);
}

TEST(DrainEnd, SlowReadersQueueIsWrittenBeforeOnDrain) {
  size_t received = 0;
  const HubTotals totals =
      DrainBeside({.slow = SlowPolicy::kDropOldest, .queue_messages_max = 2 * kPublished},
                  absl::Milliseconds(500), &received);
  EXPECT_EQ(totals.received, kPublished) << totals.ToString();
  EXPECT_EQ(received, size_t{kPublished} * kPieceBytes);
}

TEST(DrainEnd, NonReaderHoldsOthersForHalfTheTime) {
  size_t received = 0;
  const HubTotals totals = DrainBeside({.slow = SlowPolicy::kPark, .queue_messages_max = 4},
                                       absl::Seconds(8), &received);
  EXPECT_LT(totals.received, kPublished) << totals.ToString();
  // Bytes that left for the socket within half of the time arrive, and the connection ends with
  // FIN.
  EXPECT_EQ(received, static_cast<size_t>(totals.received) * kPieceBytes);
}

}  // namespace
}  // namespace sluice::sim::drain_work_test
