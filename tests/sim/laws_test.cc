// Tests of a simulation's laws: a healthy run breaks no law, whatever happens in it; and the
// matching check finds each deliberate breach.
#include "sluice/sim/check/laws.h"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice {

class LifeTestPeer {
 public:
  static std::vector<Slot*>& FreeSlots(Worker& worker) { return worker.life().free_slots_; }
};

}  // namespace sluice

namespace sluice::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Options LawOptions(int workers) {
  Options options;
  options.workers = workers;
  options.memory_bytes_max = 16 * 1024 * 1024;
  options.max_connections = 16;
  options.lane_messages_max = 8;
  options.outbox_messages_max = 8;
  options.linger_timeout = absl::Milliseconds(20);
  options.log_level = "off";
  return options;
}

// --- A healthy run.

struct Hop {
  int hops;
};

class Wanderer;

struct Crowd {
  explicit Crowd(Simulation& of) : simulation(of) {}
  Simulation& simulation;
  std::vector<Ref<Wanderer>> all;
  bool may_block = false;
  Ref<Wanderer> Any() { return all[simulation.random().Below(all.size())]; }
};

// Passes messages on to any actor, and monitors, fails, stops, blocks and waits as the seed
// decides.
class Wanderer : public Actor {
 public:
  explicit Wanderer(Crowd* crowd) : crowd_(*crowd) {}
  void OnStart() override {
    const MonitorId monitor = Monitor(crowd_.Any());
    if (Chance(3)) return;
    After(absl::Milliseconds(1 + Below(5)), [this] { PassOn(2); });
    if (monitor != 0 && Chance(5)) Demonitor(monitor);
  }
  void On(Hop hop) {
    if (hop.hops == 0) return;
    PassOn(hop.hops - 1);
    if (Chance(3)) PassOn(hop.hops - 1);
    if (Chance(40)) throw std::runtime_error("as the seed has it");
    if (Chance(60)) Stop();
    if (!crowd_.may_block || !Chance(20)) return;
    (void)RunBlocking([] { return 1; }, [](const absl::StatusOr<int>&) {});
  }
  void PassOn(int hops) { (void)Send(crowd_.Any(), Hop{hops}); }

 private:
  int64_t Below(uint64_t count) {
    return static_cast<int64_t>(crowd_.simulation.random().Below(count));
  }
  bool Chance(uint64_t one_in) { return Below(one_in) == 0; }
  Crowd& crowd_;
};

class Echo : public Session {
 public:
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

void Talk(Simulation& simulation, SimOs& machine) {
  Client client(machine, absl::Seconds(1));
  if (!client.Connect("10.0.0.1:7001").ok()) return;
  for (int i = 0; i < 3; ++i) {
    const std::string text(1 + simulation.random().Below(20'000), 'x');
    if (!client.Write(text).ok() || !client.ReadExactly(text.size()).ok()) return;
  }
  if (simulation.random().Below(2) == 0) client.Reset();
}

void RunCrowd(uint64_t seed, const Faults& faults) {
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  Simulation simulation(seed, faults);
  Crowd crowd(simulation);
  crowd.may_block = seed % 5 == 0;
  Laws laws(simulation);
  const int workers = 1 + static_cast<int>(seed % 3);
  {
    Runtime runtime(LawOptions(workers), simulation.os());
    laws.Watch(runtime);
    simulation.faults.no_descriptor = 0;
    runtime.Listen<Echo>("10.0.0.1:7001");
    ASSERT_TRUE(runtime.Start().ok());
    simulation.faults.no_descriptor = faults.no_descriptor;
    SimOs& machine = simulation.NewMachine("clients");
    std::vector<ThreadId> clients;
    for (int i = 0; i < 3; ++i) {
      clients.push_back(simulation.StartThread(machine, absl::StrCat("client ", i),
                                               [&] { Talk(simulation, machine); }));
    }
    for (int i = 0; i < 40; ++i) {
      const SpawnOptions options{
          .name = "",
          .mailbox_messages_max = 1 + static_cast<uint32_t>(simulation.random().Below(4)),
          .worker = i % workers};
      crowd.all.push_back(
          simulation.random().Below(2) == 0
              ? runtime.SpawnWith<Wanderer>(options, &crowd)
              : runtime.SpawnRestarting<Wanderer>(RestartPolicy{}, options, &crowd));
      for (int hop = 0; hop < 5; ++hop) (void)crowd.Any().TrySend(Hop{12});
      simulation.Sleep(absl::Microseconds(100));
    }
    for (const ThreadId client : clients) simulation.Join(client);
    // Some seeds leave no time for everything.
    runtime.Drain(seed % 4 == 0 ? absl::Milliseconds(1) : absl::Seconds(10));
    laws.AtEnd(runtime);
    EXPECT_GT(runtime.TotalLedger().delivered, 20);
    EXPECT_GT(laws.Accounts(), 1);  // Once at the end.
  }
  laws.NoConnections(absl::Hours(3));
  EXPECT_EQ(simulation.violation(), "");
  EXPECT_THAT(laws.Lines(), ::testing::IsEmpty());
}

TEST(Laws, AHealthyRunBreaksNone) {
  for (uint64_t seed = 1; seed <= 60 && !testing::Test::HasFailure(); ++seed) {
    RunCrowd(seed, seed % 2 == 0 ? Faults() : Faults::Harsh());
  }
}

// --- Deliberate breaches.

struct Poke {};
struct Note {
  int number;
};

// Idle, and can be made to hold its messages.
class Rester : public Actor {
 public:
  explicit Rester(bool beats) : beats_(beats) {}
  void OnStart() override {
    // The timer makes steps, and each step checks the laws.
    if (beats_) Every(absl::Milliseconds(1), [] {});
  }
  void On(Poke) {}
  void On(Note) {}
  using Actor::Send;

 private:
  const bool beats_;
};

// rest` and `full` hold their messages; `parked` waits for a place in `full`.
class Doctored : public ::testing::Test {
 protected:
  static Options RestingOptions() {
    Options options = LawOptions(2);
    options.probe_after = absl::Hours(1);  // A parked actor sends no probes meanwhile.
    return options;
  }
  Doctored() : laws_(simulation_), runtime_(RestingOptions(), simulation_.os()) {
    laws_.Watch(runtime_);
    beat_ = Make(0, 8, /*beats=*/true);
    rest_ = Make(0, 8, false);
    full_ = Make(1, 2, false);
    parked_ = Make(0, 8, false);
    SLUICE_CHECK(runtime_.Start().ok());
    Wait();
    OnWorker(0, [&](Worker& worker) { worker.Suspend(rest_.slot()); });
    OnWorker(1, [&](Worker& worker) { worker.Suspend(full_.slot()); });
    EXPECT_EQ(rest_.TrySend(Note{1}), Answer::kAccepted);
    OnWorker(0, [&](Worker& worker) {
      worker.RunHandler(parked_.slot(), "test", [&] {
        auto& actor = *static_cast<Rester*>(parked_.slot()->actor);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(actor.Send(full_, Note{i}), Answer::kAccepted);
      });
    });
    Wait();
    EXPECT_EQ(simulation_.violation(), "");
    EXPECT_TRUE(parked_.slot()->parked);
  }
  ~Doctored() override { runtime_.Drain(absl::ZeroDuration()); }

  Ref<Rester> Make(int worker, uint32_t capacity, bool beats) {
    return runtime_.SpawnWith<Rester>(
        {.name = "", .mailbox_messages_max = capacity, .worker = worker}, beats);
  }
  void OnWorker(int worker, std::function<void(Worker&)> act) {
    bool done = false;
    runtime_.Call(worker, [&](Worker& w) {
      act(w);
      done = true;
    });
    while (!done) simulation_.Sleep(absl::Microseconds(100));
  }
  void Wait() { simulation_.Sleep(absl::Milliseconds(300)); }
  // Returns the violation that is found between `harm` and `heal`.
  std::string Broken(const std::function<void()>& harm, const std::function<void()>& heal) {
    harm();
    Wait();
    heal();
    return simulation_.violation();
  }

  Simulation simulation_{7, Faults::None()};
  Laws laws_;
  Runtime runtime_;
  Ref<Rester> beat_, rest_, full_, parked_;
};

TEST_F(Doctored, ACreditThatIsGoneIsMissed) {
  MailboxWord<>& word = beat_.slot()->mailbox.Word();
  const std::string found =
      Broken([&] { ASSERT_EQ(word.Take(beat_.generation()), Taken::kCredit); },
             [&] { word.Give(beat_.generation(), 1); });
  EXPECT_THAT(found, StartsWith("L1 credits"));
  EXPECT_THAT(found, HasSubstr("7 credits at its mailbox and 0 given to waiters, of 8"));
}

TEST_F(Doctored, ACreditTooManyIsFound) {
  MailboxWord<>& word = beat_.slot()->mailbox.Word();
  EXPECT_THAT(Broken([&] { word.Give(beat_.generation(), 1); },
                     [&] { ASSERT_EQ(word.Take(beat_.generation()), Taken::kCredit); }),
              StartsWith("L3 bound"));
}

TEST_F(Doctored, AMessageCountedTwiceIsFound) {
  EXPECT_THAT(Broken([&] { ++runtime_.worker(1).ledger().delivered; },
                     [&] { --runtime_.worker(1).ledger().delivered; }),
              StartsWith("L1 ledger"));
}

TEST_F(Doctored, AReplyThatIsCountedAndNowhereIsFound) {
  EXPECT_THAT(Broken([&] { ++runtime_.worker(1).ledger().reserved_sent; },
                     [&] { --runtime_.worker(1).ledger().reserved_sent; }),
              StartsWith("L1 ledger"));
}

TEST_F(Doctored, AMessageThatALaneLosesIsFound) {
  EnvelopePool pool;
  EnvelopeList lost;
  Inbox& inbox = runtime_.worker(1).mail().inbox();
  InboxLane& lane = inbox.LaneFrom(2);  // The lane of outside threads.
  const std::string found = Broken(
      [&] {
        runtime_.Call(1, [](Worker&) {});
        ASSERT_EQ(inbox.Drain(lane, pool, lost, 1), 1u);
      },
      [&] {
        Envelope* envelope = lost.Pop();
        inbox.Enqueue(lane, envelope, 1);
        pool.Put(envelope);
        if (runtime_.worker(1).mail().sleep_word().Rouse()) runtime_.worker(1).mail().Signal();
      });
  EXPECT_THAT(found, StartsWith("L1 ledger"));
  EXPECT_THAT(found, HasSubstr("1 messages are on their way between threads, and 0 are in lanes"));
}

TEST_F(Doctored, AWakeUpThatIsLostIsFound) {
  Worker& worker = runtime_.worker(1);
  const std::string found = Broken([&] { ASSERT_TRUE(worker.mail().sleep_word().Rouse()); },
                                   [&] { worker.mail().Signal(); });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  EXPECT_THAT(found, HasSubstr("worker 1 sleeps, was roused, and no signal has come"));
}

TEST_F(Doctored, MailForANeverWokenWorkerIsFound) {
  Worker& worker = runtime_.worker(1);
  const std::string found = Broken(
      [&] {
        // As if the sender had read a stale word.
        ASSERT_TRUE(worker.mail().sleep_word().Rouse());
        runtime_.Call(1, [](Worker&) {});
        worker.mail().sleep_word().FallAsleep();
      },
      [&] {
        if (worker.mail().sleep_word().Rouse()) worker.mail().Signal();
      });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  EXPECT_THAT(found, HasSubstr("sleeps with 1 messages in its inbox, and nothing will rouse it"));
}

TEST_F(Doctored, ATimerThatIsSleptOverIsFound) {
  TimerNode timer;
  TimerWheel& timers = runtime_.worker(1).timers();
  const std::string found =
      Broken([&] { timers.Arm(timer, runtime_.worker(1).NowMs()); }, [&] { timers.Cancel(timer); });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  // The wheel reports when it must be checked, which may be before the timer's own tick.
  EXPECT_THAT(found, HasSubstr("worker 1 sleeps for -1 ms, and its next timer is due in "));
}

TEST_F(Doctored, UnscheduledActorWithMailIsFound) {
  const std::string found =
      Broken([&] { rest_.slot()->suspended = false; }, [&] { rest_.slot()->suspended = true; });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  EXPECT_THAT(found, HasSubstr("it has mail, may run, and is not scheduled"));
}

TEST_F(Doctored, AWaitThatItsTargetForgotIsFound) {
  Mailbox<>& mailbox = full_.slot()->mailbox;
  const auto key = reinterpret_cast<uint64_t>(parked_.slot());
  const uint32_t episode = parked_.slot()->extra->outbox.episode;
  const std::string found = Broken(
      [&] { ASSERT_TRUE(mailbox.RemoveWaiter(key, parked_.generation())); },
      [&] {
        mailbox.AddWaiter(full_.generation(), {key, parked_.generation(), episode, /*wanted=*/1});
      });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  EXPECT_THAT(found, HasSubstr("which does not know it"));
}

TEST_F(Doctored, AnActorParkedForNothingIsFound) {
  Outbox& outbox = parked_.slot()->extra->outbox;
  const std::string found = Broken([&] { outbox.waiting = 0; }, [&] { outbox.waiting = 1; });
  EXPECT_THAT(found, StartsWith("L5 progress"));
  EXPECT_THAT(found, HasSubstr("it is parked, and waits for nothing"));
}

TEST_F(Doctored, AMessageForAnEarlierGenerationIsFound) {
  Envelope& envelope = *rest_.slot()->queue.Front();
  EXPECT_THAT(Broken([&] { envelope.generation -= 2; }, [&] { envelope.generation += 2; }),
              StartsWith("L10 handles"));
}

TEST_F(Doctored, MemoryThatIsHeldAndNotChargedIsFound) {
  Envelope& envelope = *rest_.slot()->queue.Front();
  EXPECT_THAT(Broken([&] { envelope.charge += 1 << 20; }, [&] { envelope.charge -= 1 << 20; }),
              StartsWith("L3 bound"));
}

TEST_F(Doctored, MemoryGivenBackTwiceIsFound) {
  EXPECT_THAT(Broken([&] { runtime_.budget().Give(1 << 20); },
                     [&] { ASSERT_TRUE(runtime_.budget().Take(1 << 20)); }),
              StartsWith("L3 bound"));
}

TEST_F(Doctored, ASlotThatIsLostIsFound) {
  std::vector<Slot*>& free = LifeTestPeer::FreeSlots(runtime_.worker(0));
  OnWorker(0, [](Worker& worker) {  // From here on the worker has slots of its own.
    Slot* slot = worker.life().AllocateSlot();
    LifeTestPeer::FreeSlots(worker).push_back(slot);
    worker.shared().slots.Uncount();
  });
  Slot* const lost = free.back();
  EXPECT_THAT(Broken([&] { free.pop_back(); }, [&] { free.push_back(lost); }), StartsWith("leak"));
}

TEST_F(Doctored, LeftoversAtTheEndAreReported) {
  runtime_.Drain(absl::ZeroDuration());
  EXPECT_EQ(simulation_.violation(), "");
  const int left = simulation_.os().SpareOpen();
  ASSERT_TRUE(runtime_.budget().Take(100));
  ++runtime_.worker(0).ledger().held;
  ++runtime_.worker(0).ledger().sent;
  TimerNode timer;
  runtime_.worker(1).timers().Arm(timer, 1'000'000);
  ConnectionLedger::Cell& cell = runtime_.Attachment<ConnectionLedger>(2).At(0);
  cell.bytes_accepted.Add(5);
  laws_.AtEnd(runtime_);
  EXPECT_THAT(
      laws_.Lines(),
      ::testing::IsSupersetOf(
          {HasSubstr("messages are held at the end"), HasSubstr("100 bytes of memory are charged"),
           HasSubstr("worker 1 ended with 1 timers"), HasSubstr("descriptors are open at the end"),
           HasSubstr("L9 close: at the end: connections")}));
  runtime_.worker(1).timers().Cancel(timer);
  runtime_.budget().Give(100);
  simulation_.os().Close(left);
}

TEST_F(Doctored, ActorsThatAreLeftAreTold) {
  // The actor is counted, and its place is free again.
  std::vector<Slot*> places = {runtime_.shared().slots.Take(runtime_.worker(0), nullptr)};
  runtime_.shared().slots.Give(&places, 0);
  runtime_.Drain(absl::ZeroDuration());
  laws_.AtEnd(runtime_);
  EXPECT_THAT(simulation_.violation(), HasSubstr("1 actors live at the end, and 0 should"));
}

}  // namespace
}  // namespace sluice::sim
