// The time limits of actors, in virtual time: each takes effect when it is due, not before, and
// promptly.
#include <string>
#include <vector>

#include "sluice/core/os/options.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/sim/time_limits.h"

namespace sluice::sim {
namespace {

TEST(TimeLimits, AfterComesNeverEarlyAndPromptly) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(1));
        const auto doer = site.runtime().Spawn<Doer>();
        if (!site.Start()) return;
        // On both sides of each level change of the timer wheel.
        for (const absl::Duration delay :
             {absl::ZeroDuration(), absl::Microseconds(1), absl::Milliseconds(1),
              absl::Milliseconds(63), absl::Milliseconds(64), absl::Milliseconds(65),
              absl::Milliseconds(4'095), absl::Milliseconds(4'097),
              absl::Hours(1) + absl::Microseconds(1)}) {
          TimeLimit after(simulation, "After", delay, kExact);
          Tell(doer, [&](Doer& self) {
            after.Begins();
            self.After(delay, [&] { after.Ends(); });
          });
          after.Await();
        }
        site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, EveryKeepsTimeOverManyPeriods) {
  ForEachSeed(
      [](Simulation& simulation) {
        constexpr int kPeriods = 200;
        Site site(simulation, SmallOptions(1));
        for (const absl::Duration period :
             {absl::Milliseconds(1), absl::Milliseconds(7), absl::Milliseconds(64)}) {
          int fired = 0;
          TimeLimit every(simulation, "Every", period, kExact);
          site.runtime().Spawn<Doer>([&](Doer& self) {
            every.Begins();
            self.Every(period, [&] {
              ++fired;
              every.Promises(period * fired);
              every.Ends();
              every.Judge();
              every.Reopens();
              if (fired == kPeriods) self.Stop();
            });
          });
          if (!site.Start()) return;
          simulation.RunUntil([&] { return fired == kPeriods; }, absl::Minutes(1));
          EXPECT_EQ(fired, kPeriods);
        }
        site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, AnAskIsAnsweredAtItsDeadline) {
  ForEachSeed(
      [](Simulation& simulation) {
        Site site(simulation, SmallOptions(2));
        const auto silent = site.runtime().Spawn<Doer>();
        const auto asker = site.runtime().Spawn<Doer>();
        if (!site.Start()) return;
        for (const absl::Duration timeout :
             {absl::Milliseconds(1), absl::Milliseconds(100), absl::Seconds(10)}) {
          TimeLimit ask(simulation, "Ask", timeout, kExact);
          Tell(asker, [&](Doer& self) {
            ask.Begins();
            EXPECT_EQ(self.Ask(silent, Doer::Question{}, timeout,
                               [&](absl::StatusOr<int64_t> reply) {
                                 EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status()));
                                 ask.Ends();
                               }),
                      Answer::kAccepted);
          });
          ask.Await();
          // The ask has ended and its answer's slot is free again: drop the question, which needs
          // no answer.
          Tell(silent, [](Doer& self) { self.Forget(); });
        }
        site.End();
      },
      FewSeeds());
}

// A held worker: messages for the actor on it keep waiting.
struct Held {
  explicit Held(Simulation& simulation, const Options& options)
      : site(simulation, options), target(site.runtime().SpawnWith<Doer>(On(1, 1))) {}
  // For `time` the worker's handler does not return, so the worker takes no other message.
  void Hold(absl::Duration time) {
    Tell(target, [this, time](Doer&) {
      holds = true;
      site.simulation().Sleep(time);
    });
    site.simulation().RunUntil([this] { return holds; }, absl::Seconds(1));
  }
  // Sends more than the target's mailbox takes.
  void Overfill(Doer& sender) {
    for (int i = 0; i < 3; ++i) (void)sender.Send(target, Doer::Do{[](Doer&) {}});
  }
  Site site;
  const Ref<Doer> target;
  bool holds = false;
};

TEST(TimeLimits, AnEndedActorsLastMessagesMayTakeLingerTimeout) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(2);
        options.linger_timeout = absl::Milliseconds(300);
        options.slow_handler = absl::InfiniteDuration();
        TimeLimit linger(simulation, "linger_timeout", options.linger_timeout);
        Held held(simulation, options);
        const auto sender = held.site.runtime().SpawnWith<Doer>(On(0));
        held.site.runtime().SpawnWith<Doer>(On(0), [&](Doer& self) {
          self.on_down = [&] { linger.Ends(); };
          self.Monitor(sender);
        });
        if (!held.site.Start()) return;
        held.Hold(absl::Seconds(2));
        Tell(sender, [&](Doer& self) {
          held.Overfill(self);
          linger.Begins();
          self.Stop();
        });
        linger.Await();
        held.site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, ARestartWaitsForLastMessagesUntilLingerTimeout) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(2);
        options.linger_timeout = absl::Milliseconds(300);
        options.slow_handler = absl::InfiniteDuration();
        TimeLimit linger(simulation, "linger_timeout", options.linger_timeout);
        Held held(simulation, options);
        int started = 0;
        const auto sender = held.site.runtime().SpawnRestarting<Doer>(
            RestartPolicy{}, On(0), std::function<void(Doer&)>([&](Doer&) {
              if (++started == 2) linger.Ends();
            }));
        if (!held.site.Start()) return;
        held.Hold(absl::Seconds(2));
        Tell(sender, [&](Doer& self) {
          held.Overfill(self);
          linger.Begins();
          throw std::runtime_error("on purpose");
        });
        linger.Await();
        held.site.End();
      },
      FewSeeds());
}

// At once, then after backoff_min, twice as long each time, at most backoff_max.
TEST(TimeLimits, RestartsBackOffAsThePolicySays) {
  ForEachSeed(
      [](Simulation& simulation) {
        const RestartPolicy policy{.restarts_max = 7,
                                   .within = absl::Hours(1),
                                   .backoff_min = absl::Milliseconds(20),
                                   .backoff_max = absl::Milliseconds(100)};
        Site site(simulation, SmallOptions(1));
        TimeLimit backoff(simulation, "backoff_min", absl::ZeroDuration());
        TimeLimit most(simulation, "backoff_max", policy.backoff_max);
        int started = 0;
        const auto judge = [&](TimeLimit& limit) {
          limit.Ends();
          limit.Judge();
          limit.Reopens();
        };
        site.runtime().SpawnRestarting<Doer>(policy, SpawnOptions{},
                                             std::function<void(Doer&)>([&](Doer&) {
                                               ++started;
                                               if (started == 3)
                                                 backoff.Promises(policy.backoff_min);
                                               if (started == 4)
                                                 backoff.Promises(2 * policy.backoff_min);
                                               if (started == 5)
                                                 backoff.Promises(4 * policy.backoff_min);
                                               if (started >= 2 && started <= 5) judge(backoff);
                                               if (started >= 6) judge(most);
                                               backoff.Begins();
                                               most.Begins();
                                               throw std::runtime_error("on purpose");
                                             }));
        if (!site.Start()) return;
        simulation.RunUntil([&] { return started == 8; }, absl::Minutes(1));
        EXPECT_EQ(started, 8) << "once, and seven restarts";
        site.End();
      },
      FewSeeds());
}

// A failure counts against the limit for `within`, and no longer.
TEST(TimeLimits, ARestartIsForgottenAfterWithin) {
  ForEachSeed(
      [](Simulation& simulation) {
        const absl::Duration within = absl::Milliseconds(500);
        const RestartPolicy policy{.restarts_max = 1, .within = within};
        for (const absl::Duration gap :
             {within - absl::Milliseconds(10), within + absl::Milliseconds(10)}) {
          Site site(simulation, SmallOptions(1));
          int started = 0;
          bool down = false;
          const auto mortal = site.runtime().SpawnRestarting<Doer>(
              policy, SpawnOptions{}, std::function<void(Doer&)>([&](Doer&) { ++started; }));
          site.runtime().Spawn<Doer>([&](Doer& self) {
            self.on_down = [&] { down = true; };
            self.Monitor(mortal);
          });
          if (!site.Start()) return;
          for (int failures = 0; failures < 2; ++failures) {
            Tell(mortal, [](Doer&) { throw std::runtime_error("on purpose"); });
            simulation.Sleep(gap);
          }
          const TimeLimit limit(simulation, "within", within);
          const bool forgotten = limit.IsPast(gap);
          EXPECT_EQ(started, forgotten ? 3 : 2) << gap;
          EXPECT_EQ(down, !forgotten) << gap;
          site.End();
        }
      },
      FewSeeds());
}

// Two actors: each sends the other more than it takes, and waits.
struct Cycle {
  Cycle(Simulation& simulation, const Options& options, int messages) : site(simulation, options) {
    for (int i = 0; i < 2; ++i) {
      actors[i] = site.runtime().SpawnWith<Doer>(On(i, 1));
    }
    for (int i = 0; i < 2; ++i) {
      Tell(actors[i], [other = actors[1 - i], messages](Doer& self) {
        for (int m = 0; m < messages; ++m) (void)self.Send(other, Doer::Do{[](Doer&) {}});
      });
    }
  }
  bool Stands() const { return actors[0].slot()->parked && actors[1].slot()->parked; }
  Site site;
  Ref<Doer> actors[2];
};

TEST(TimeLimits, AWaitCycleIsFoundAfterProbeAfter) {
  ForEachSeed(
      [](Simulation& simulation) {
        const Options options = SmallOptions(2);
        TimeLimit probe(simulation, "probe_after", options.probe_after);
        // The first dropped message lets both actors go on, or they wait again.
        TimeLimit again(simulation, "kProbeAfterBreakMs", absl::Milliseconds(1));
        Cycle cycle(simulation, options, 8);
        if (!cycle.site.Start()) return;
        EXPECT_TRUE(simulation.RunUntil([&] { return cycle.Stands(); }, absl::Seconds(1)));
        probe.Begins();
        const auto found = [&](int64_t count) {
          return simulation.RunUntil(
              [&] { return cycle.site.runtime().WaitCyclesFound() >= count; }, absl::Seconds(30));
        };
        EXPECT_TRUE(found(1));
        probe.Ends();
        probe.Judge();
        again.Begins();
        EXPECT_TRUE(found(2));
        again.Ends();
        again.Judge();
        EXPECT_TRUE(simulation.RunUntil([&] { return !cycle.Stands(); }, absl::Seconds(1)));
        cycle.site.End();
      },
      FewSeeds());
}

// A new wait in the same parking has probes of its own: its first probe comes after probe_after,
// not as late as the last probe of the old wait.
TEST(TimeLimits, WaitBehindALongWaitIsProbedTimely) {
  ForEachSeed(
      [](Simulation& simulation) {
        Options options = SmallOptions(3);
        options.slow_handler = absl::InfiniteDuration();
        TimeLimit probe(simulation, "probe_after", options.probe_after);
        Held held(simulation, options);
        Runtime& runtime = held.site.runtime();
        Ref<Doer> first = runtime.SpawnWith<Doer>(On(0, 1));
        Ref<Doer> second = runtime.SpawnWith<Doer>(On(2, 1));
        if (!held.site.Start()) return;
        held.Hold(absl::Seconds(20));
        const auto fill = [](Ref<Doer> to, int messages) {
          return [to, messages](Doer& self) {
            for (int i = 0; i < messages; ++i) (void)self.Send(to, Doer::Do{[](Doer&) {}});
          };
        };
        // Waits 20 s for the held actor, then for `second`, which by then waits for `first`.
        Tell(first, [&](Doer& self) {
          held.Overfill(self);
          fill(second, 8)(self);
        });
        simulation.Sleep(absl::Seconds(19));
        Tell(second, fill(first, 8));
        EXPECT_TRUE(simulation.RunUntil(
            [&] { return first.slot()->parked && second.slot()->parked; }, absl::Seconds(1)));
        // The probes of `second` end at `first`, which waits for the held actor; they become rare.
        EXPECT_EQ(runtime.WaitCyclesFound(), 0);
        EXPECT_TRUE(simulation.RunUntil(
            [&] {
              const Outbox& outbox = first.slot()->extra->outbox;
              return outbox.WaitsForCredit() && outbox.list.Front()->target == second.slot();
            },
            absl::Seconds(10)));
        probe.Begins();
        EXPECT_TRUE(
            simulation.RunUntil([&] { return runtime.WaitCyclesFound() > 0; }, absl::Seconds(30)));
        probe.Ends();
        probe.Judge();
        held.site.End();
      },
      FewSeeds());
}

TEST(TimeLimits, HandlerIsNamedWhenLongerThanSlowHandler) {
  ForEachSeed(
      [](Simulation& simulation) {
        const Options options = SmallOptions(1);
        for (const absl::Duration taken : {options.slow_handler - absl::Milliseconds(1),
                                           options.slow_handler + absl::Milliseconds(1)}) {
          const TimeLimit limit(simulation, "slow_handler", options.slow_handler);
          Site site(simulation, options);
          const auto doer = site.runtime().Spawn<Doer>();
          if (!site.Start()) return;
          Tell(doer, [&](Doer&) { simulation.Sleep(taken); });
          simulation.Sleep(absl::Seconds(1));
          EXPECT_EQ(site.runtime().TotalLedger().slow_handlers, limit.IsPast(taken) ? 1 : 0)
              << taken;
          site.End();
        }
      },
      FewSeeds());
}

}  // namespace
}  // namespace sluice::sim
