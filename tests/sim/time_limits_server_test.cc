// The time limits of acceptors, hubs, memory and drains, in virtual time: each takes effect when it
// is due, not before, and promptly.
#include <cerrno>
#include <csignal>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/core/memory/shedder.h"
#include "sluice/tests/sim/time_limits.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kDoor = "10.0.0.1:7001";

// --- Accepting.

// 10 ms, twice as long each time, at most a second; and from the start again after a success.
TEST(TimeLimits, AcceptBacksOffWhileThereAreNoDescriptors) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.at_limit = AtLimit::kWait;
        TimeLimit first(simulation, "kBackoffFirstMs", absl::ZeroDuration());
        // The sum of several waits, each of which may be a tick or two late.
        TimeLimit most(simulation, "kBackoffMaxMs", absl::ZeroDuration(), kTick,
                       absl::Milliseconds(30));
        Speaker::Script script;
        Site site(simulation, options);
        site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("client");
        if (!site.Start()) return;
        simulation.Sleep(absl::Milliseconds(10));
        std::deque<Client> clients;
        const auto comes = [&](TimeLimit& limit, int refusals, absl::Duration after) {
          limit.Reopens();
          limit.Promises(after);
          script.on_open = [&](Speaker&) { limit.Ends(); };
          site.os().RefuseDescriptors(ENFILE, refusals);
          // Each client stays: the end of a connection would restart the back-off too.
          clients.emplace_back(machine);
          limit.Begins();
          EXPECT_TRUE(clients.back().Connect(kDoor).ok());
          limit.Await();
        };
        comes(first, 1, absl::Milliseconds(10));
        comes(most, 9, absl::Milliseconds(10 + 20 + 40 + 80 + 160 + 320 + 640 + 1'000 + 1'000));
        simulation.Sleep(absl::Milliseconds(10));
        comes(first, 2, absl::Milliseconds(10 + 20));
        clients.clear();
        site.End();
      },
      FewSeeds());
}

// The ended connection's descriptor may be the missing one: the next pauses are short again.
TEST(TimeLimits, AConnectionThatEndsBeginsTheBackOffAnew) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.at_limit = AtLimit::kWait;
        TimeLimit first(simulation, "kBackoffFirstMs", absl::Milliseconds(10));
        Speaker::Script script;
        bool waits = false;
        script.on_open = [&](Speaker&) {
          if (waits) first.Ends();
        };
        script.on_close = [&](Speaker&, CloseReason) {
          if (!first.Ended()) first.Begins();
        };
        Site site(simulation, options);
        site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("clients");
        Client before(machine);
        if (!site.Start() || !before.Connect(kDoor).ok()) return;
        simulation.Sleep(absl::Milliseconds(50));
        // Refused at 0, 10, 30 and 70 ms; again when the other connection has ended.
        site.os().RefuseDescriptors(ENFILE, 5);
        waits = true;
        Client client(machine);
        EXPECT_TRUE(client.Connect(kDoor).ok());
        simulation.Sleep(absl::Milliseconds(100));
        EXPECT_FALSE(first.Ended());
        before.Close();
        first.Await();
        client.Close();
        site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, AcceptsKeepToTheirRate) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.accepts_per_second_max = 10;
        options.accepts_burst_max = 1;
        TimeLimit rate(simulation, "accepts_per_second_max", absl::Milliseconds(100));
        Speaker::Script script;
        int opened = 0;
        script.on_open = [&](Speaker&) {
          if (++opened > 1) {
            rate.Ends();
            rate.Judge();
            rate.Reopens();
          }
          rate.Begins();
        };
        Site site(simulation, options);
        site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("clients");
        if (!site.Start()) return;
        std::deque<Client> clients;
        for (int i = 0; i < 6; ++i) {
          clients.emplace_back(machine);
          EXPECT_TRUE(clients.back().Connect(kDoor).ok());
        }
        simulation.RunUntil([&] { return opened == 6; }, absl::Minutes(1));
        EXPECT_EQ(opened, 6);
        clients.clear();
        site.End();
      },
      FewSeeds());
}

// --- Hubs.

// A member that took nothing for park_timeout while publishers waited is ended, however many other
// members come and go meanwhile.
TEST(TimeLimits, MemberHoldingTheRoomEndsAfterParkTimeout) {
  ForEachSeed(
      [](Simulation& simulation) {
        const absl::Duration park_timeout = absl::Seconds(6);
        const Options options = SmallOptions(1);
        TimeLimit park(simulation, "park_timeout", park_timeout);
        Site site(simulation, options);
        const auto hub = site.runtime().Spawn<Hub>();
        Speaker::Script slow;
        std::optional<CloseReason> ended;
        slow.on_open = [&](Speaker& self) {
          SubscribeOptions slowly;
          slowly.slow = SlowPolicy::kPark;
          slowly.queue_messages_max = 4;
          slowly.park_timeout = park_timeout;
          EXPECT_EQ(self.Send(hub, Subscribe(&self, slowly)), Answer::kAccepted);
        };
        slow.on_close = [&](Speaker&, CloseReason reason) {
          ended = reason;
          park.Ends();
        };
        Speaker::Script guest;
        guest.on_open = [&](Speaker& self) {
          EXPECT_EQ(self.Send(hub, Subscribe(&self, SubscribeOptions())), Answer::kAccepted);
        };
        site.runtime().Listen<Speaker>(kDoor, &slow);
        site.runtime().Listen<Speaker>("10.0.0.1:7002", &guest);
        SimOs& machine = simulation.NewMachine("clients");
        Client stands(machine, absl::Hours(1));
        stands.LimitBuffers(4'096, 4'096);
        std::deque<Client> guests;
        if (!site.Start() || !stands.Connect(kDoor).ok()) return;
        for (int i = 0; i < 5; ++i) {
          guests.emplace_back(machine);
          EXPECT_TRUE(guests.back().Connect("10.0.0.1:7002").ok());
        }
        simulation.Sleep(absl::Milliseconds(100));
        // The publisher sends until it must wait; from then on the member holds the room.
        const auto publisher = site.runtime().Spawn<Doer>();
        const std::function<void(Doer&)> publish = [&](Doer& self) {
          (void)self.Send(hub, Publish{Bytes::Copy(std::string(20'000, 'x')), {}});
          self.After(absl::ZeroDuration(), [&] { publish(self); });
        };
        Tell(publisher, publish);
        bool held = false;
        int64_t due = 0;
        simulation.AfterEachStep([&] {
          // The spoke takes no message: it is the hub's child, and the suspended slot. If it dealt
          // a line out since the step before, the room was free meanwhile.
          bool suspended = false;
          site.runtime().shared().slots.ForEach(&site.runtime().worker(0), [&](Slot* one) {
            suspended |= one->suspended && one->state == ActorState::kLive;
          });
          const int64_t now_due = HubLedger::Of(site.runtime()).due;
          if (suspended && (!held || now_due > due)) park.Begins();
          held = suspended;
          due = now_due;
        });
        // Guests leave, one after the other.
        while (!ended.has_value() && !simulation.Failed() &&
               simulation.NowNs() < int64_t{100'000'000'000}) {
          simulation.Sleep(absl::Seconds(1));
          if (!guests.empty()) guests.pop_front();
        }
        EXPECT_EQ(ended, CloseReason::kSlow);
        park.Judge();
        Tell(publisher, [](Doer& self) { self.Stop(); });
        site.End();
      },
      FewSeeds());
}

// --- Memory.

// Memory must be spent for shed_after without a pause; then one stalled connection ends. While that
// is not enough, twice as many as before end each 100 ms.
TEST(TimeLimits, StalledConnectionsAreShedInTurns) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(1);
        options.output_bytes_max = 1024 * 1024;
        options.memory_bytes_max = 32 * 1024 * 1024;
        options.max_connections = 128;
        options.write_stalled_timeout = absl::Minutes(10);
        // Workers propose each 100 ms, and the first look already finds that a peer stands still.
        TimeLimit first(simulation, "shed_after", options.shed_after, kTick,
                        absl::Milliseconds(Shedder::kEveryMs) + absl::Milliseconds(15));
        TimeLimit next(simulation, "kEveryMs", absl::Milliseconds(Shedder::kEveryMs), kTick,
                       absl::Milliseconds(15));
        int shed = 0;
        int turn = 1;  // How many connections this turn may end...
        int left = 0;  // ...and how many of them are left.
        Speaker::Script script;
        script.on_open = [&](Speaker& self) {
          (void)self.Write(std::string(static_cast<size_t>(options.output_bytes_max), 'x'));
        };
        script.on_close = [&](Speaker&, CloseReason reason) {
          if (reason != CloseReason::kShed) return;
          if (shed == 0) {
            first.Ends();
            first.Judge();
          } else if (left == 0) {
            next.Ends();
            next.Judge();
            next.Reopens();
            turn *= 2;
          }
          if (left == 0) {
            next.Begins();
            left = turn;
          }
          --left;
          ++shed;
        };
        Site site(simulation, options);
        site.runtime().Listen<Speaker>(kDoor, &script);
        SimOs& machine = simulation.NewMachine("clients");
        if (!site.Start()) return;
        std::deque<Client> clients;
        const auto come = [&](int count) {
          for (int i = 0; i < count; ++i) {
            clients.emplace_back(machine, absl::Hours(1));
            clients.back().LimitBuffers(4'096, 4'096);
            (void)clients.back().Connect(kDoor).ok();
          }
        };
        bool spent = false;
        simulation.AfterEachStep([&] {
          const bool now = site.runtime().budget().Spent();
          if (now && !spent && shed == 0) first.Begins();
          spent = now;
        });
        come(48);
        EXPECT_TRUE(simulation.RunUntil([&] { return !site.runtime().budget().Spent(); },
                                        absl::Minutes(1)));
        EXPECT_GE(shed, 2) << "one alone does not make room";
        clients.clear();
        site.End();
      },
      FewSeeds());
}

// The peer does not read: otherwise the session would be read all the same.
class Taker : public Session {
 public:
  explicit Taker(TimeLimit* limit) : limit_(*limit) {}
  void OnOpen() override { WriteOrAbort(std::string(20'000, 'o')); }
  void OnData(Input& in) override {
    in.TakeAll();
    limit_.Ends();
  }

 private:
  TimeLimit& limit_;
};

TEST(TimeLimits, ReadingGoesOnSoonAfterThereIsMemory) {
  ForEachSeed(
      [](Simulation& simulation) {
        TimeLimit check(simulation, "kMemoryCheckMs", absl::Milliseconds(5),
                        absl::Milliseconds(5));  // At any time up to it: the next look.
        // Not a Site, for its laws would miss the memory that this test takes from the budget.
        Runtime runtime(SmallOptions(1), simulation.os());
        runtime.Listen<Taker>(kDoor, &check);
        Client client(simulation.NewMachine("client"));
        client.LimitBuffers(4'096, 4'096);
        ASSERT_TRUE(runtime.Start().ok());
        EXPECT_TRUE(client.Connect(kDoor).ok());
        simulation.Sleep(absl::Milliseconds(100));
        Budget& budget = runtime.budget();
        const int64_t taken = budget.TakeUpTo(0, budget.BytesMax());
        EXPECT_FALSE(budget.Take(1));
        EXPECT_TRUE(client.Write("x").ok());
        simulation.Sleep(absl::Milliseconds(simulation.random().Between(200, 300)));
        EXPECT_FALSE(check.Ended()) << "it read though memory was spent";
        check.Begins();
        budget.Give(taken);
        check.Await();
        client.Close();
        runtime.Drain(absl::Seconds(10));
      },
      FewSeeds());
}

// --- Drain.

// A session that does not close is ended at the deadline, and no drain takes longer.
TEST(TimeLimits, ADrainEndsAtItsTimeout) {
  for (const int workers : {1, 3}) {
    ForEachSeed(
        [=](Simulation& simulation) {
          const absl::Duration timeout = absl::Seconds(2);
          TimeLimit deadline(simulation, "drain_timeout", timeout);
          TimeLimit drained(simulation, "drain_timeout", timeout, kTick, absl::Milliseconds(10));
          Speaker::Script script;
          script.on_drain = [](Speaker&) {};
          int shut = 0;
          script.on_close = [&](Speaker&, CloseReason reason) {
            EXPECT_EQ(reason, CloseReason::kShutdown);
            ++shut;
            deadline.Ends();
          };
          Site site(simulation, SmallOptions(workers));
          site.runtime().Listen<Speaker>(kDoor, &script);
          SimOs& machine = simulation.NewMachine("clients");
          if (!site.Start()) return;
          std::deque<Client> clients;
          for (int i = 0; i < 4; ++i) {
            clients.emplace_back(machine, absl::Hours(1));
            EXPECT_TRUE(clients.back().Connect(kDoor).ok());
          }
          simulation.Sleep(absl::Seconds(1));
          deadline.Begins();
          drained.Begins();
          site.End(timeout);
          drained.Ends();
          EXPECT_EQ(shut, 4);
          deadline.Judge();
          drained.Judge();
        },
        FewSeeds());
  }
}

// A handler that has not returned a second after the deadline is held, and the drain no longer
// waits for it.
TEST(TimeLimits, HandlerIsHeldASecondAfterTheDeadline) {
  ForEachSeed(
      [](Simulation& simulation) {
        constexpr int64_t kDeadlineMs = 500;
        // The steps are a millisecond apart.
        TimeLimit grace(simulation, "kShutdownGraceMs", absl::Seconds(1), kTick,
                        absl::Milliseconds(10));
        Site site(simulation, SmallOptions(2));
        const auto doer = site.runtime().SpawnWith<Doer>(On(1));
        if (!site.Start()) return;
        Tell(doer, [&](Doer&) { simulation.Sleep(absl::Seconds(20)); });
        simulation.Sleep(absl::Milliseconds(1));
        simulation.At(absl::Milliseconds(kDeadlineMs), [&] { grace.Begins(); });
        const int64_t deadline_ms = simulation.NowNs() / 1'000'000 + kDeadlineMs;
        while (!site.runtime().DrainStep(deadline_ms) && !simulation.Failed()) {
          simulation.Sleep(absl::Milliseconds(1));
        }
        grace.Ends();
        grace.Judge();
        site.End();
      },
      FewSeeds());
}

}  // namespace
}  // namespace sluice::sim
