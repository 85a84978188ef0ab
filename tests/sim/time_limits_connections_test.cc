// The time limits of connections, in virtual time: each ends a connection when it is due, not
// before, promptly, and with the true reason.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/actors/peers/pipe.h"
#include "sluice/sim/world/network.h"
#include "sluice/tests/sim/time_limits.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kDoor = "10.0.0.1:7001";
// More than all buffers between a server and its client take.
constexpr size_t kFullBytes = 900'000;

// A server with one script, and a client on another machine.
struct Scene {
  explicit Scene(Simulation& in, const Options& options = SmallOptions(1))
      : simulation(in),
        site(in, options),
        machine(in.NewMachine("client")),
        client(machine, absl::Hours(1)) {
    script.on_close = [this](Speaker&, CloseReason reason) {
      closed = reason;
      if (limit != nullptr) limit->Ends();
    };
    site.runtime().Listen<Speaker>(kDoor, &script);
  }
  bool Start() { return site.Start() && client.Connect(kDoor).ok(); }
  // The limit must end the scene's one connection with this reason.
  void Expect(TimeLimit& which, CloseReason reason) {
    simulation.RunUntil([this] { return closed.has_value(); }, absl::Hours(2));
    ASSERT_TRUE(closed.has_value());
    EXPECT_EQ(CloseReasonName(*closed), CloseReasonName(reason));
    which.Judge();
  }
  // Calls `moved` after each step in which bytes left the server or were taken: the output made
  // progress.
  void OnProgress(std::function<void()> moved) {
    simulation.AfterEachStep([this, moved = std::move(moved), before = int64_t{-1}]() mutable {
      const int64_t now = site.runtime()
                              .Attachment<ConnectionLedger>(site.runtime().WorkerCount())
                              .Sum()
                              .bytes_sent;
      if (now != before) moved();
      before = now;
    });
  }
  Simulation& simulation;
  Speaker::Script script;
  std::optional<CloseReason> closed;
  TimeLimit* limit = nullptr;
  Site site;
  SimOs& machine;
  Client client;
};

TEST(TimeLimits, IdleComesAfterTheLastByteOfEitherSide) {
  for (const bool server_speaks : {false, true}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          Options options = SmallOptions(1);
          options.idle_timeout = absl::Seconds(10);
          TimeLimit idle(simulation, "idle_timeout", options.idle_timeout);
          Scene scene(simulation, options);
          scene.limit = &idle;
          scene.script.on_data = [&](Speaker&, std::string_view) { idle.Begins(); };
          scene.script.on_open = [&](Speaker& self) {
            if (!server_speaks) return;
            for (int i = 1; i <= 3; ++i) {
              self.After(i * absl::Seconds(9), [&] {
                idle.Begins();
                EXPECT_EQ(self.Write("x"), Answer::kAccepted);
              });
            }
          };
          if (!scene.Start()) return;
          for (int i = 0; i < 3 && !server_speaks; ++i) {
            simulation.Sleep(absl::Seconds(9));
            EXPECT_TRUE(scene.client.Write("x").ok());
          }
          scene.Expect(idle, CloseReason::kIdle);
          scene.site.End();
        },
        FewSeeds());
  }
}

TEST(TimeLimits, LifetimeEndsAConnectionThatNeverPauses) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.lifetime_timeout = absl::Seconds(7);
        TimeLimit lifetime(simulation, "lifetime_timeout", options.lifetime_timeout);
        Scene scene(simulation, options);
        scene.limit = &lifetime;
        scene.script.on_open = [&](Speaker&) { lifetime.Begins(); };
        if (!scene.Start()) return;
        while (!scene.closed.has_value() && !simulation.Failed()) {
          if (!scene.client.Write("x").ok()) break;
          simulation.Sleep(absl::Milliseconds(100));
        }
        scene.Expect(lifetime, CloseReason::kLifetime);
        scene.site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, HalfClosedCountsFromTheLastByte) {
  for (const bool peer_ends : {false, true}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          Options options = SmallOptions(1);
          options.half_closed_timeout = absl::Seconds(4);
          TimeLimit half(simulation, "half_closed_timeout", options.half_closed_timeout);
          Scene scene(simulation, options);
          scene.limit = &half;
          scene.script.on_eof = [&](Speaker& self) {
            half.Begins();
            // A download that goes on after the peer's end, with pauses.
            for (int i = 1; i <= 3; ++i) {
              self.After(i * absl::Seconds(3), [&] {
                half.Begins();
                EXPECT_EQ(self.Write("x"), Answer::kAccepted);
              });
            }
          };
          scene.script.on_data = [&](Speaker& self, std::string_view) {
            half.Begins();
            self.CloseWrite();
          };
          if (!scene.Start()) return;
          // While both sides are open, half_closed_timeout does not apply.
          simulation.Sleep(absl::Minutes(10));
          EXPECT_FALSE(scene.closed.has_value());
          if (peer_ends) {
            EXPECT_TRUE(scene.client.CloseWrite().ok());
          } else {
            for (int i = 0; i < 4; ++i) {
              EXPECT_TRUE(scene.client.Write("x").ok());
              simulation.Sleep(absl::Seconds(3));
            }
          }
          scene.Expect(half, CloseReason::kHalfClosed);
          scene.site.End();
        },
        FewSeeds());
  }
}

TEST(TimeLimits, WriteStalledCountsFromTheLastByteTaken) {
  for (const bool closes : {false, true}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          Options options = SmallOptions(1);
          options.write_stalled_timeout = absl::Seconds(6);
          TimeLimit stalled(simulation, "write_stalled_timeout", options.write_stalled_timeout);
          Scene scene(simulation, options);
          scene.limit = &stalled;
          scene.script.on_open = [&](Speaker& self) {
            EXPECT_EQ(self.Write(std::string(kFullBytes, 'x')), Answer::kAccepted);
            if (closes) self.Close();
          };
          scene.OnProgress([&] { stalled.Begins(); });
          scene.client.LimitBuffers(4'096, 4'096);
          if (!scene.Start()) return;
          for (int i = 0; i < 4; ++i) {
            simulation.Sleep(absl::Seconds(5));
            EXPECT_TRUE(scene.client.ReadExactly(100'000).ok());
          }
          scene.Expect(stalled, CloseReason::kWriteStalled);
          scene.site.End();
        },
        FewSeeds());
  }
}

TEST(TimeLimits, CloseTimeoutEndsAVerySlowReader) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.close_timeout = absl::Seconds(20);
        options.write_stalled_timeout = absl::Seconds(15);
        TimeLimit close(simulation, "close_timeout", options.close_timeout);
        Scene scene(simulation, options);
        scene.limit = &close;
        scene.script.on_data = [&](Speaker& self, std::string_view) {
          EXPECT_EQ(self.Write(std::string(kFullBytes, 'x')), Answer::kAccepted);
          close.Begins();
          self.Close();
        };
        scene.client.LimitBuffers(4'096, 4'096);
        if (!scene.Start()) return;
        simulation.Sleep(absl::Minutes(1));  // Time before the close does not count.
        EXPECT_TRUE(scene.client.Write("x").ok());
        while (!scene.closed.has_value() && !simulation.Failed()) {
          simulation.Sleep(absl::Seconds(1));
          if (!scene.client.ReadExactly(10'000).ok()) break;
        }
        scene.Expect(close, CloseReason::kLingered);
        scene.site.End();
      },
      FewSeeds());
}

// The reader takes 10 kB now and then, for longer than each limit except close_timeout: nothing is
// lost. Between two reads some looks find no progress, but the output does not stand still yet.
TEST(TimeLimits, ClosedSideWaitsForALateSteadyReader) {
  for (const absl::Duration every : {absl::Seconds(5), absl::Seconds(13)}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          Options options = SmallOptions(1);
          // A kernel that has no memory for a moment says nothing about the peer.
          simulation.faults.refused_send = 0;
          options.close_timeout = absl::Hours(1);
          options.write_stalled_timeout = absl::Seconds(60);
          options.linger_timeout = absl::Seconds(5);
          Scene scene(simulation, options);
          scene.script.on_open = [&](Speaker& self) {
            EXPECT_EQ(self.Write(std::string(kFullBytes, 'x')), Answer::kAccepted);
            self.Close();
          };
          scene.client.LimitBuffers(4'096, 4'096);
          if (!scene.Start()) return;
          size_t got = 0;
          for (; got < kFullBytes && !simulation.Failed(); got += 10'000) {
            simulation.Sleep(every);
            const auto read = scene.client.ReadExactly(10'000);
            ASSERT_TRUE(read.ok()) << read.status() << " behind " << got << " bytes";
          }
          EXPECT_EQ(*scene.client.ReadToEnd(), "");
          scene.client.Close();
          simulation.RunUntil([&] { return scene.closed.has_value(); }, absl::Minutes(1));
          // The peer's kernel may have had all of it for longer than linger_timeout.
          EXPECT_TRUE(scene.closed == CloseReason::kClosed ||
                      scene.closed == CloseReason::kLingered);
          scene.site.End();
        },
        FewSeeds());
  }
}

TEST(TimeLimits, ClosedSocketLingersForAnOpenPeer) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.linger_timeout = absl::Seconds(3);
        TimeLimit linger(simulation, "linger_timeout", options.linger_timeout);
        Scene scene(simulation, options);
        scene.limit = &linger;
        scene.script.on_data = [&](Speaker& self, std::string_view) {
          EXPECT_EQ(self.Write("good-bye"), Answer::kAccepted);
          linger.Begins();
          self.Close();
        };
        if (!scene.Start()) return;
        simulation.Sleep(absl::Minutes(1));
        EXPECT_TRUE(scene.client.Write("x").ok());
        EXPECT_EQ(*scene.client.ReadToEnd(), "good-bye");
        scene.Expect(linger, CloseReason::kLingered);
        scene.site.End();
      },
      FewSeeds());
}

// The kernel's own limits, as set on the socket. It checks idle connections from probe to probe, so
// a byte that came after the last probe may delay the end by up to one probe.
TEST(TimeLimits, KeepaliveFindsADeadPeerAfterItsProbes) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.keepalive_idle = absl::Seconds(7);
        options.keepalive_interval = absl::Seconds(3);
        options.keepalive_probes = 4;
        TimeLimit idle(
            simulation, "keepalive_idle",
            options.keepalive_idle + options.keepalive_probes * options.keepalive_interval);
        // The same end, counted from the last byte: the two parts of the time.
        TimeLimit probes(simulation, "keepalive_interval",
                         options.keepalive_probes * options.keepalive_interval);
        Scene scene(simulation, options);
        scene.limit = &idle;
        scene.script.on_data = [&](Speaker&, std::string_view) { idle.Begins(); };
        if (!scene.Start()) return;
        EXPECT_TRUE(scene.client.Write("x").ok());
        simulation.Sleep(absl::Seconds(1));
        scene.machine.SetPlugged(false);
        simulation.At(options.keepalive_idle - absl::Seconds(1), [&] { probes.Begins(); });
        scene.Expect(idle, CloseReason::kDeadPeer);
        probes.Ends();
        probes.Judge();
        scene.site.End();
      },
      FewSeeds());
}

// Counted from the first byte that waits for an answer. The kernel probes the peer at least each
// fifth of the timeout, gives it a second to answer the last probe, and checks at full seconds.
TEST(TimeLimits, UnacknowledgedFindsAVanishedPeer) {
  ForEachSeed(
      [](Simulation& simulation) {
        const absl::Duration written_after = absl::Seconds(2);
        Options options = SmallOptions(1);
        options.keepalive_idle = absl::Hours(1);
        options.unacknowledged_timeout = absl::Seconds(25);
        TimeLimit unacknowledged(simulation, "unacknowledged_timeout",
                                 options.unacknowledged_timeout, kTick,
                                 options.unacknowledged_timeout / 5 + absl::Seconds(3));
        Scene scene(simulation, options);
        scene.limit = &unacknowledged;
        scene.script.on_data = [&](Speaker& self, std::string_view) {
          self.After(written_after, [&] {
            unacknowledged.Begins();
            EXPECT_EQ(self.Write("is anybody there?"), Answer::kAccepted);
          });
        };
        if (!scene.Start()) return;
        EXPECT_TRUE(scene.client.Write("x").ok());
        simulation.Sleep(absl::Seconds(1));
        scene.machine.SetPlugged(false);
        scene.Expect(unacknowledged, CloseReason::kDeadPeer);
        scene.site.End();
      },
      FewSeeds());
}

// --- Connecting.

TEST(TimeLimits, AConnectThatNobodyAnswersFailsAtItsTimeout) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        SimOs& gone = simulation.NewMachine("gone");
        gone.SetPlugged(false);
        if (!site.Start()) return;
        for (const absl::Duration timeout :
             {absl::Milliseconds(1), absl::Milliseconds(300), absl::Seconds(20)}) {
          TimeLimit connect(simulation, "Connect", timeout);
          Speaker::Script script;
          script.on_close = [&](Speaker&, CloseReason reason) {
            EXPECT_EQ(reason, CloseReason::kConnectFailed);
            connect.Ends();
          };
          connect.Begins();
          EXPECT_TRUE(Connect<Speaker>(site.runtime(), "10.0.0.2:80", timeout, &script).ok());
          connect.Await();
        }
        site.End();
      },
      FewSeeds());
}

// If the backlog of a UNIX socket is full, no event reports new room.
TEST(TimeLimits, AFullUnixBacklogIsTriedAgainSoon) {
  ForEachSeed(
      [](Simulation& simulation) {
        SimOs& os = simulation.os();
        Site site(simulation, SmallOptions(1));
        TimeLimit again(simulation, "kConnectAgainMs", absl::Milliseconds(10),
                        absl::Milliseconds(10));  // At any time up to it: the next try.
        const Address door = *Address::Parse("unix:@full");
        const int listener = os.SocketOpen(AF_UNIX, SOCK_STREAM);
        ASSERT_EQ(os.Bind(listener, door.sockaddr(), door.size()), 0);
        ASSERT_EQ(os.Listen(listener, 0), 0);
        std::vector<std::unique_ptr<Client>> before;
        for (int i = 0; i < 8; ++i) {
          before.push_back(std::make_unique<Client>(os, absl::Milliseconds(1)));
          if (!before.back()->Connect("unix:@full").ok()) break;
        }
        if (!site.Start()) return;
        Speaker::Script script;
        script.on_open = [&](Speaker& self) {
          again.Ends();
          self.Abort();
        };
        EXPECT_TRUE(Connect<Speaker>(site.runtime(), "unix:@full", absl::Minutes(1), &script).ok());
        simulation.Sleep(absl::Milliseconds(simulation.random().Between(100, 200)));
        EXPECT_FALSE(again.Ended());
        again.Begins();
        sockaddr_storage peer;
        std::vector<int> accepted;
        for (socklen_t size = sizeof(peer); !again.Ended() && !simulation.Failed();) {
          const int fd = os.Accept(listener, &peer, &size);
          if (fd >= 0) accepted.push_back(fd);
          if (accepted.size() == before.size() - 1) break;  // All earlier clients.
        }
        again.Await();
        before.clear();
        for (const int fd : accepted) os.Close(fd);
        os.Close(listener);
        site.End();
      },
      FewSeeds());
}

// --- By name.

class Relay : public Pipe {
 public:
  Relay(std::string target, absl::Duration timeout)
      : target_(*Target::Parse(target)), timeout_(timeout) {}
  void OnOpen() override { ConnectPartner(target_, timeout_); }

 private:
  const Target target_;
  const absl::Duration timeout_;
};

class Echo : public Session {
  void OnData(Input& in) override { EXPECT_EQ(Write(in.TakeAll()), Answer::kAccepted); }
};

TEST(TimeLimits, UnansweredLookUpIsGivenUpInTime) {
  ForEachSeed(
      [](Simulation& simulation) {
        const absl::Duration timeout = absl::Seconds(2);
        TimeLimit lookup(simulation, "ConnectPartner", timeout);
        simulation.network().SetHost("far", {"10.0.0.9"});
        simulation.faults.lost_lookup = 1'000'000;
        Site site(simulation, SmallOptions(1));
        site.runtime().Listen<Relay>(kDoor, std::string("far:80"), timeout);
        Client client(simulation.NewMachine("client"), absl::Hours(1));
        if (!site.Start() || !client.Connect(kDoor).ok()) return;
        lookup.Begins();
        EXPECT_FALSE(client.ReadToEnd().ok()) << "a reset";
        lookup.Ends();
        lookup.Judge();
        site.End();
      },
      FewSeeds());
}

// Each address has its part of the time that is left, wherever the live address stands.
TEST(TimeLimits, LiveAddressServesANameInEveryPosition) {
  constexpr int kAddresses = 3;
  for (int live = 0; live < kAddresses; ++live) {
    for (const bool refuses : {false, true}) {
      ForEachSeed(
          [=](Simulation& simulation) {
            const absl::Duration timeout = absl::Seconds(3);
            TimeLimit served(simulation, "ConnectPartner",
                             refuses ? absl::ZeroDuration() : live * timeout / kAddresses, kTick,
                             absl::Milliseconds(20));  // Look-up, connects, and the way back.
            Site site(simulation, SmallOptions(1));
            std::vector<std::unique_ptr<Site>> far;
            std::vector<std::string> addresses;
            for (int i = 0; i < kAddresses; ++i) {
              SimOs& machine = simulation.NewMachine(absl::StrCat("far ", i));
              addresses.push_back(absl::StrCat("10.0.0.", i + 2));
              if (i == live) {
                far.push_back(std::make_unique<Site>(simulation, machine, SmallOptions(1)));
                far.back()->runtime().Listen<Echo>(absl::StrCat(addresses.back(), ":80"));
                if (!far.back()->Start()) return;
              } else if (!refuses) {
                machine.SetPlugged(false);
              }
            }
            simulation.network().SetHost("far", addresses);
            site.runtime().Listen<Relay>(kDoor, std::string("far:80"), timeout);
            Client client(simulation.NewMachine("client"), absl::Hours(1));
            if (!site.Start() || !client.Connect(kDoor).ok()) return;
            served.Begins();
            EXPECT_TRUE(client.Write("hello").ok());
            const absl::StatusOr<std::string> echo = client.ReadExactly(5);
            EXPECT_TRUE(echo.ok()) << echo.status();
            served.Ends();
            client.Close();
            site.End();
            for (auto& one : far) one->End();
            served.Judge();
          },
          FewSeeds());
    }
  }
}

// --- Drain.

// The peer has everything and does not end its side: a drain does not wait long for it, even if the
// connection lingered before the drain began.
TEST(TimeLimits, DrainWaitsForSilentPeersWithinLinger) {
  for (const bool lingers_already : {false, true}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          TimeLimit linger(simulation, "kDrainLingerMs", absl::Milliseconds(100));
          Options options = SmallOptions(1);
          options.linger_timeout = absl::Seconds(30);
          Scene scene(simulation, options);
          scene.limit = &linger;
          scene.script.on_data = [&](Speaker& self, std::string_view) { self.Close(); };
          scene.script.on_drain = [&](Speaker& self) {
            linger.Begins();
            self.Close();
          };
          if (!scene.Start()) return;
          simulation.Sleep(absl::Seconds(5));
          if (lingers_already) {
            EXPECT_TRUE(scene.client.Write("x").ok());
            simulation.Sleep(absl::Seconds(2));
            EXPECT_FALSE(scene.closed.has_value());
            linger.Begins();
          }
          scene.site.End();
          scene.Expect(linger, CloseReason::kClosed);
        },
        FewSeeds());
  }
}

// A pair that is silent for kDrainQuiet is closed; until then each byte restarts the time.
TEST(TimeLimits, ADrainClosesAPairThatIsQuiet) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        Site far(simulation, simulation.NewMachine("far"), SmallOptions(1));
        far.runtime().Listen<Echo>("10.0.0.2:80");
        site.runtime().Listen<Relay>(kDoor, std::string("10.0.0.2:80"), absl::Seconds(5));
        Client client(simulation.NewMachine("client"), absl::Hours(1));
        if (!far.Start() || !site.Start() || !client.Connect(kDoor).ok()) return;
        // Checked four times in that time.
        TimeLimit quiet(simulation, "kDrainQuiet", Pipe::kDrainQuiet, kTick,
                        Pipe::kDrainQuiet / 4 + absl::Milliseconds(10));
        const ThreadId script =
            simulation.StartThread(*simulation.machines().back(), "script", [&] {
              for (int i = 0; i < 6; ++i) {
                EXPECT_TRUE(client.Write("x").ok());
                EXPECT_TRUE(client.ReadExactly(1).ok());
                quiet.Begins();
                simulation.Sleep(absl::Milliseconds(400));
              }
              EXPECT_TRUE(client.ReadToEnd().ok());
              quiet.Ends();
              client.Close();
            });
        simulation.Sleep(absl::Milliseconds(600));
        site.End();
        simulation.Join(script);
        quiet.Judge();
        far.End();
      },
      FewSeeds());
}

}  // namespace
}  // namespace sluice::sim
