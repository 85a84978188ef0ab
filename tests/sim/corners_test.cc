// Corner cases in which faults planted from outside have survived: rare cases, which must be as
// exact as the rest once a user meets them.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/tests/sim/time_limits.h"

namespace sluice::sim::corners_test {
namespace {

constexpr std::string_view kDoor = "10.0.0.1:7001";
constexpr size_t kFullBytes = 900'000;  // More than all buffers on the way to a client take.

// --- The blocking pool.

// A call that waits for another needs that other to run: an idle thread serves one call, not two.
TEST(Corners, SimultaneousBlockingCallsRunAtTheSameTime) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.blocking_threads_max = 3;
        Site site(simulation, options);
        const auto doer = site.runtime().Spawn<Doer>();
        if (!site.Start()) return;
        int done = 0;
        const auto told = [&](const absl::Status& status) {
          EXPECT_TRUE(status.ok()) << status;
          ++done;
        };
        // Leaves one thread there, and idle.
        Tell(doer,
             [&](Doer& self) { EXPECT_EQ(self.RunBlocking([] {}, told), Answer::kAccepted); });
        EXPECT_TRUE(simulation.RunUntil([&] { return done == 1; }, absl::Seconds(1)));
        simulation.Sleep(absl::Milliseconds(1));
        auto second_ran = std::make_shared<bool>(false);
        Tell(doer, [&](Doer& self) {
          const auto waits = [&simulation, second_ran] {
            for (int i = 0; i < 1'000 && !*second_ran; ++i) {
              simulation.Sleep(absl::Milliseconds(10));
            }
            return *second_ran ? absl::OkStatus() : absl::InternalError("it ran alone");
          };
          EXPECT_EQ(self.RunBlocking(waits, told), Answer::kAccepted);
          EXPECT_EQ(self.RunBlocking([second_ran] { *second_ran = true; }, told),
                    Answer::kAccepted);
        });
        EXPECT_TRUE(simulation.RunUntil([&] { return done == 3; }, absl::Minutes(1)));
        site.End();
      },
      FewSeeds());
}

// A function with a slow destructor, like that of a file on a slow disk.
struct SlowToGo {
  explicit SlowToGo(Simulation* in) : simulation(in) {}
  SlowToGo(SlowToGo&& other) noexcept : simulation(std::exchange(other.simulation, nullptr)) {}
  ~SlowToGo() {
    if (simulation != nullptr) simulation->Sleep(absl::Seconds(3));
  }
  void operator()() const {}
  Simulation* simulation;
};

TEST(Corners, CallDestroyedAtDrainEndIsCountedOnce) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        const auto doer = site.runtime().Spawn<Doer>();
        if (!site.Start()) return;
        bool told = false;
        Tell(doer, [&](Doer& self) {
          EXPECT_EQ(
              self.RunBlocking(SlowToGo(&simulation), [&](const absl::Status&) { told = true; }),
              Answer::kAccepted);
        });
        EXPECT_TRUE(simulation.RunUntil([&] { return told; }, absl::Seconds(1)));
        site.End(absl::Milliseconds(100));
        const BlockingLedger counts = site.runtime().blocking().Counts();
        EXPECT_EQ(counts.submitted, 1);
        EXPECT_EQ(counts.finished, 1);
        EXPECT_EQ(counts.DroppedTotal(), 0) << counts.ToString();
        EXPECT_EQ(counts.held, 0) << counts.ToString();
        simulation.Sleep(absl::Seconds(5));
      },
      FewSeeds());
}

// --- Monitors.

TEST(Corners, MonitorOfAFlushingSessionGetsOneDown) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(2));
        Ref<Speaker> session;
        Speaker::Script script;
        script.on_open = [&](Speaker& self) {
          session = self.RefOf(&self);
          EXPECT_EQ(self.Write(std::string(kFullBytes, 'x')), Answer::kAccepted);
          self.Stop();
        };
        site.runtime().Listen<Speaker>(kDoor, &script);
        Client client(simulation.NewMachine("client"));
        client.LimitBuffers(4'096, 4'096);
        if (!site.Start() || !client.Connect(kDoor).ok()) return;
        simulation.Sleep(absl::Seconds(1));
        TimeLimit down(simulation, "Down", absl::ZeroDuration());
        int downs = 0;
        site.runtime().Spawn<Doer>([&](Doer& self) {
          self.on_down = [&] {
            ++downs;
            down.Ends();
          };
          down.Begins();
          EXPECT_NE(self.Monitor(session), 0u);
        });
        down.Await();
        EXPECT_EQ(client.ReadToEnd()->size(), kFullBytes) << "it flushes on";
        client.Close();
        simulation.Sleep(absl::Seconds(1));
        site.End();
        EXPECT_EQ(downs, 1);
      },
      FewSeeds());
}

// An actor's end notifies many monitors in more than one step.
TEST(Corners, EachOfManyMonitorsGetsOneDown) {
  ForEachSeed(
      [](Simulation& simulation) {
        constexpr int kMonitors = 700;
        Site site(simulation, SmallOptions(2));
        const auto mortal = site.runtime().SpawnWith<Doer>(On(0));
        int downs = 0;
        site.runtime().SpawnWith<Doer>(On(1), [&](Doer& self) {
          self.on_down = [&] { ++downs; };
          for (int i = 0; i < kMonitors; ++i) EXPECT_NE(self.Monitor(mortal), 0u);
        });
        if (!site.Start()) return;
        simulation.Sleep(absl::Milliseconds(100));
        Tell(mortal, [](Doer& self) { self.Stop(); });
        simulation.Sleep(absl::Seconds(1));
        EXPECT_EQ(downs, kMonitors);
        site.End();
      },
      FewSeeds());
}

// --- Closing.

// "Silent" means a peer that sends nothing: a drain reads on from a peer that still sends.
TEST(Corners, DrainDoesNotCutOffASendingPeer) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        Speaker::Script script;
        site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("client");
        Client client(machine);
        if (!site.Start() || !client.Connect(kDoor).ok()) return;
        simulation.Sleep(absl::Milliseconds(100));
        const ThreadId speaks = simulation.StartThread(machine, "speaks", [&] {
          for (int i = 0; i < 12; ++i) {
            EXPECT_TRUE(client.Write("x").ok()) << i;
            simulation.Sleep(absl::Milliseconds(60));
          }
          client.Close();
        });
        simulation.Sleep(absl::Milliseconds(30));
        site.End();
        simulation.Join(speaks);
      },
      FewSeeds());
}

// --- A drain that holds newcomers.

TEST(Corners, RaisedLimitInADrainAdmitsHeldNewcomers) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.at_limit = AtLimit::kWait;
        options.max_connections = 1;
        Site site(simulation, options);
        int open = 0;
        int most = 0;
        Speaker::Script script;
        script.on_open = [&](Speaker&) { most = std::max(most, ++open); };
        script.on_close = [&](Speaker&, CloseReason) { --open; };
        script.on_drain = [](Speaker& self) {
          self.After(absl::Seconds(3), [&self] { self.Close(); });
        };
        const Ref<Acceptor> acceptor = site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("clients");
        if (!site.Start()) return;
        std::vector<std::unique_ptr<Client>> clients;
        for (int i = 0; i < 3; ++i) {
          clients.push_back(std::make_unique<Client>(machine));
          EXPECT_TRUE(clients.back()->Connect(kDoor).ok());
        }
        site.runtime().Spawn<Doer>([&](Doer& self) {
          self.After(absl::Seconds(2), [&] {
            EXPECT_EQ(most, 1);
            EXPECT_EQ(self.Send(acceptor, SetConnectionLimit{3, AtLimit::kWait}),
                      Answer::kAccepted);
          });
        });
        simulation.Sleep(absl::Seconds(1));
        site.End();
        EXPECT_EQ(most, 3) << "those who waited were let in one by one";
      },
      FewSeeds());
}

// --- Timers.

// Each timer stays due while its actor is parked, and the first that runs parks the actor again.
TEST(Corners, DueTimersComeThoughTheirActorParksAgain) {
  ForEachSeed(
      [](Simulation& simulation) {
        constexpr int kTimers = 4;
        Options options = SmallOptions(2);
        options.slow_handler = absl::InfiniteDuration();
        Site site(simulation, options);
        const auto slow = site.runtime().SpawnWith<Doer>(On(1, 1));
        const auto doer = site.runtime().SpawnWith<Doer>(On(0));
        if (!site.Start()) return;
        const auto fill = [&simulation, slow](Doer& self) {
          for (int i = 0; i < 3; ++i) {
            (void)self.Send(slow, Doer::Do{[&simulation](Doer&) {
                              simulation.Sleep(absl::Milliseconds(100));
                            }});
          }
        };
        std::vector<int> fired(kTimers);
        Tell(doer, [&](Doer& self) {
          for (int i = 0; i < kTimers; ++i) {
            self.After(absl::Milliseconds(10 + i), [&, i] {
              ++fired[static_cast<size_t>(i)];
              fill(self);
            });
          }
          fill(self);
        });
        simulation.Sleep(absl::Seconds(10));
        EXPECT_EQ(fired, std::vector<int>(kTimers, 1));
        site.End();
      },
      FewSeeds());
}

}  // namespace
}  // namespace sluice::sim::corners_test
