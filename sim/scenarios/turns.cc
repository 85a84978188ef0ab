// Workers are kept busy by slow handlers of sockets, timers and messages, and held for seconds now
// and then: by a handler, or as a stopped process at any point of a turn. Timers fire in their
// turn, however many sockets are busy; no connection with timely bytes is ended as idle, and no
// timely answer is reported as late.
#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/scenarios/watch.h"
#include "sluice/sim/world/client.h"

namespace sluice::sim::turns_scenario {

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr absl::Duration kIdle = absl::Seconds(1);
constexpr absl::Duration kAnswerIn = absl::Seconds(1);
constexpr int64_t kTickers = 2;
// More than an answer takes from its promise to the lane of its asker.
constexpr int64_t kWayNs = 200 * kMs;

struct World {
  explicit World(Simulation& of) : simulation(of) {}
  void Spend() {
    if (handler_us > 0) simulation.Sleep(absl::Microseconds(handler_us));
  }
  // A part of a turn may be exceeded by one handler; so many turns pass until the timers due
  // earlier have run.
  int64_t LateMaxNs() const {
    const int64_t turn_ns = 6 * (kMs + handler_us * 1'000);
    return (kTickers + 2) * turn_ns + 4 * kMs;
  }
  // An answer given shortly before all threads are stopped may leave its worker only afterwards.
  bool StoppedBetween(int64_t from_ns, int64_t until_ns) const {
    return std::ranges::any_of(stops_ns, [=](const std::pair<int64_t, int64_t>& stop) {
      return stop.first <= until_ns && from_ns <= stop.second;
    });
  }
  Simulation& simulation;
  int64_t handler_us = 0;
  int64_t frozen_ns = 0;  // Sum, for worker 0.
  int64_t freezes_left = 0;
  std::vector<std::pair<int64_t, int64_t>> stops_ns;  // Stops of the whole process: from, until.
  std::map<int64_t, int64_t> answered_ns;
  int64_t ticks = 0;
};

class Busy : public Session {
 public:
  explicit Busy(World* world) : world_(*world) {}
  void OnData(Input& in) override {
    world_.Spend();
    if (Write(in.TakeAll()) != Answer::kAccepted) Abort();
  }

 private:
  World& world_;
};

struct Question {
  using Reply = int64_t;
  int64_t number;
};
struct Grain {};
struct Freeze {
  absl::Duration time;
};

// Longer than any deadline here.
absl::Duration FreezeTime(Random& random) {
  return absl::Milliseconds(random.Between(1'200, 2'500));
}

class Answerer : public Actor {
 public:
  explicit Answerer(World* world) : world_(*world) {}
  int64_t On(Question question) {
    world_.answered_ns[question.number] = world_.simulation.NowNs();
    return question.number;
  }

 private:
  World& world_;
};

// Holds its worker, like a handler that does not end.
class Freezer : public Actor {
 public:
  explicit Freezer(World* world) : world_(*world) {}
  void On(Freeze freeze) {
    const int64_t from_ns = world_.simulation.NowNs();
    world_.simulation.Sleep(freeze.time);
    world_.frozen_ns += world_.simulation.NowNs() - from_ns;
  }

 private:
  World& world_;
};

// Asks again and again, and has messages of its own; its worker may be held until long after the
// answer has come.
class Asker : public Actor {
 public:
  Asker(World* world, Ref<Answerer> whom, Ref<Freezer> freezer)
      : world_(*world), whom_(whom), freezer_(freezer) {}
  void OnStart() override {
    Every(absl::Milliseconds(70), [this] { AskOne(); });
  }
  void On(Grain) { world_.Spend(); }

 private:
  void AskOne() {
    const int64_t number = ++last_;
    const int64_t deadline_ns = world_.simulation.NowNs() + absl::ToInt64Nanoseconds(kAnswerIn);
    (void)Ask(whom_, Question{number}, kAnswerIn,
              [this, number, deadline_ns](absl::StatusOr<int64_t> reply) {
                const auto answered = world_.answered_ns.find(number);
                if (!reply.ok() && answered != world_.answered_ns.end() &&
                    answered->second + kWayNs < deadline_ns &&
                    !world_.StoppedBetween(answered->second, answered->second + kWayNs)) {
                  world_.simulation.Broken(
                      "late", absl::StrCat("question ", number, " was answered ",
                                           (deadline_ns - answered->second) / kMs,
                                           " ms before its deadline, and is reported as late"));
                }
              });
    for (int i = 0; i < 3; ++i) (void)Send(RefOf(this), Grain{});
    if (world_.freezes_left == 0 || world_.simulation.random().Below(4) != 0) return;
    --world_.freezes_left;
    (void)Send(freezer_, Freeze{FreezeTime(world_.simulation.random())});
  }

  World& world_;
  const Ref<Answerer> whom_;
  const Ref<Freezer> freezer_;
  int64_t last_ = 0;
};

// A timer with a handler that may take longer than its interval.
class Ticker : public Actor {
 public:
  Ticker(World* world, absl::Duration interval) : world_(*world), interval_(interval) {}
  void OnStart() override {
    Every(interval_, [this] { world_.Spend(); });
  }

 private:
  World& world_;
  const absl::Duration interval_;
};

// A short timer on the busiest worker.
class Metronome : public Actor {
 public:
  explicit Metronome(World* world) : world_(*world) {}
  void OnStart() override {
    due_ns_ = world_.simulation.NowNs() + kPeriodNs;
    Every(absl::Nanoseconds(kPeriodNs), [this](int64_t skipped) { Tick(skipped); });
  }

 private:
  static constexpr int64_t kPeriodNs = 20 * kMs;
  void Tick(int64_t skipped) {
    ++world_.ticks;
    const int64_t now_ns = world_.simulation.NowNs();
    const int64_t frozen_ns = world_.frozen_ns - std::exchange(frozen_ns_, world_.frozen_ns);
    const int64_t late_ns = now_ns - due_ns_ - frozen_ns;
    if (late_ns > world_.LateMaxNs()) {
      world_.simulation.Broken("turns", absl::StrCat("a timer is ", late_ns / kMs, " ms late"));
    }
    due_ns_ += (skipped + 1) * kPeriodNs;
    if (due_ns_ + 2 * kMs < now_ns) {
      world_.simulation.Broken("turns", "a periodic timer says too few skipped periods");
    }
  }

  World& world_;
  int64_t due_ns_ = 0;
  int64_t frozen_ns_ = 0;
};

// As SIGSTOP, and SIGCONT later.
void StopAll(World& world, SimOs& machine) {
  Simulation& simulation = world.simulation;
  const absl::Duration time = FreezeTime(simulation.random());
  const int64_t ns = absl::ToInt64Nanoseconds(time);
  world.stops_ns.emplace_back(simulation.NowNs(), simulation.NowNs() + ns);
  machine.Stop(time);
  simulation.At(time, [&world, ns] { world.frozen_ns += ns; });
  simulation.Sleep(time);
}

void Talk(World& world, SimOs& machine, int64_t rounds) {
  Simulation& simulation = world.simulation;
  Client client(machine);
  if (!client.Connect("10.0.0.1:7001").ok()) return simulation.Broken("turns", "no connection");
  for (int64_t i = 0; i < rounds; ++i) {
    if (!client.Write("x").ok() || !client.ReadExactly(1).ok()) {
      return simulation.Broken("turns", "a client that sent in time was ended");
    }
    simulation.Sleep(absl::Microseconds(
        simulation.random().Below(simulation.random().Below(8) == 0 ? 300'000 : 2'000)));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 2));
  Options options = SmallOptions(workers);
  options.idle_timeout = kIdle;
  options.max_connections = 128;
  Site site(simulation, options);
  World world(simulation);
  world.handler_us = simulation.Amount("handler_us", 0, 2'000);
  world.freezes_left = simulation.Amount("asked_freezes", 0, 2);
  Runtime& runtime = site.runtime();
  runtime.Listen<Busy>("10.0.0.1:7001", &world);
  const auto on = [](int worker) {
    return SpawnOptions{.name = "", .mailbox_messages_max = 64, .worker = worker};
  };
  const auto answerer = runtime.SpawnWith<Answerer>(on(workers - 1), &world);
  const auto freezer = runtime.SpawnWith<Freezer>(on(0), &world);
  (void)runtime.SpawnWith<Asker>(on(0), &world, answerer, freezer);
  (void)runtime.SpawnWith<Metronome>(on(0), &world);
  for (int64_t i = 0; i < kTickers; ++i) {
    (void)runtime.SpawnWith<Ticker>(on(0), &world,
                                    absl::Milliseconds(simulation.Amount("interval_ms", 1, 10)));
  }
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  Crowd crowd(simulation, machine);
  const int64_t rounds = simulation.Amount("rounds", 1, 30);
  for (int64_t i = simulation.Amount("clients", 0, 90); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&] { Talk(world, machine, rounds); });
  }
  for (int64_t i = simulation.Amount("freezes", 0, 2); i > 0; --i) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Between(1, 300)));
    (void)freezer.TrySend(Freeze{FreezeTime(simulation.random())});
  }
  for (int64_t i = simulation.Amount("stops", 0, 3); i > 0; --i) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Between(1, 300)));
    StopAll(world, site.os());
  }
  crowd.Join();
  const int64_t ticks = world.ticks;
  Happens(site, "timers go on", [&] { return world.ticks > ticks + 3; });
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  if (totals.closed[static_cast<int>(CloseReason::kIdle)] > 0) {
    simulation.Broken("late", "connections whose bytes had come in time were ended as idle");
  }
  site.End();
}

}  // namespace sluice::sim::turns_scenario
