// Misbehaving actors and sessions: handlers that take long, timers shorter than their handlers,
// callbacks of every kind that throw, actors that end others in the middle of a handler, and
// hundreds that end at once, on workers that now and then do not run for seconds. None of that
// stops a worker: polite actors are answered in time, each question is answered once, each monitor
// is notified once, and a client that speaks is not taken for silent.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/scenarios/watch.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::unruly_scenario {

namespace {

constexpr absl::Duration kAskTimeout = absl::Milliseconds(500);
// A tick, and the time of calls, lanes and other threads on an answer's way.
constexpr int64_t kOnTheWayNs = 2'000'000;
constexpr absl::Duration kIdleTimeout = absl::Seconds(2);
constexpr absl::Duration kSpeaksEvery = absl::Milliseconds(200);
// A client's own time-out, above the server's delays.
constexpr absl::Duration kPatience = absl::Minutes(5);

class Rogue;

// A whole cache line, so it travels in a box.
struct Word {
  int64_t from = 0;
  int64_t number = 0;
  char rest[48] = {};
};
static_assert(sizeof(Word) == 64);

struct Ping {
  using Reply = int64_t;
  int64_t number = 0;
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()), random(simulation.random()) {}
  void Broken(std::string_view law, const std::string& what) { simulation.Broken(law, what); }
  void Spend() {
    if (slow_us == 0 || random.Below(4) != 0) return;
    simulation.Sleep(absl::Microseconds(random.Between(1, slow_us)));
  }
  // Bounds the acts of all rogues together.
  bool MayAct() { return acts_left > 0 && acts_left-- > 0; }
  bool Throws() { return !over && thrown < throws && random.Below(8) == 0 && ++thrown > 0; }
  void MayThrow() {
    if (Throws()) ThrowSomething(random);
  }

  Site& site;
  Simulation& simulation;
  Random& random;
  int64_t slow_us = 0;
  int64_t timer_us = 0;
  int64_t throws = 0;
  int64_t enders = 0;
  int64_t late_ms = 0;
  int64_t acts_left = 0;
  int64_t thrown = 0;
  int64_t incarnations = 0;
  bool over = false;
  std::vector<Ref<Rogue>> rogues;
  // Looked up by key only; in order of their start.
  std::map<const Worker*, std::vector<Rogue*>> here;
  std::map<int64_t, int64_t> answered_ns;  // By number: when a polite actor answered.
  int64_t pings = 0;
  int64_t ponged = 0;
  int64_t monitors = 0;
  int64_t downs = 0;
  int64_t late_until_ns = 0;  // Until then some worker does not run.
};

// Answers at once.
class Polite : public Actor {
 public:
  explicit Polite(World* world) : world_(*world) {}
  int64_t On(Ping ping) {
    world_.answered_ns[ping.number] = world_.simulation.NowNs();
    return ping.number;
  }

 private:
  World& world_;
};

// Asks a polite actor of another worker, again and again.
class Asker : public Actor {
 public:
  Asker(World* world, Ref<Polite> polite, int64_t rounds)
      : world_(*world), polite_(polite), rounds_(rounds) {}
  void OnStart() override { AskOne(); }

 private:
  void AskOne() {
    if (rounds_-- == 0 || world_.over) return;
    const int64_t number = ++world_.pings;
    const int64_t deadline_ns = world_.simulation.NowNs() + absl::ToInt64Nanoseconds(kAskTimeout);
    const Answer answer = Ask(polite_, Ping{number}, kAskTimeout,
                              [this, number, deadline_ns](const absl::StatusOr<int64_t>& reply) {
                                Pong(number, deadline_ns, reply);
                              });
    if (answer != Answer::kAccepted) world_.Broken("asks", "a question cannot be asked");
  }
  void Pong(int64_t number, int64_t deadline_ns, const absl::StatusOr<int64_t>& reply) {
    Handling handling(world_.simulation, inside_, slot());
    ++world_.ponged;
    const auto answered = world_.answered_ns.find(number);
    const bool in_time =
        answered != world_.answered_ns.end() && answered->second + kOnTheWayNs < deadline_ns;
    if (in_time && !reply.ok()) {
      world_.Broken("asks", absl::StrCat("an answer came ", deadline_ns - answered->second,
                                         " ns before its deadline, and is reported as: ",
                                         reply.status().ToString()));
    }
    After(absl::Milliseconds(world_.random.Between(1, 50)), [this] { AskOne(); });
  }

  World& world_;
  const Ref<Polite> polite_;
  int64_t rounds_;
  bool inside_ = false;
};

// Holds its worker for seconds now and then, like a machine without a free processor.
class Holder : public Actor {
 public:
  explicit Holder(World* world) : world_(*world) {}
  void OnStart() override { Rest(); }

 private:
  void Rest() {
    if (holds_ == 2 || world_.late_ms == 0) return;
    ++holds_;
    After(absl::Milliseconds(world_.random.Between(10, 1'500)), [this] {
      if (world_.over) return;
      const auto time = absl::Milliseconds(world_.random.Between(1, world_.late_ms));
      world_.late_until_ns = std::max(world_.late_until_ns,
                                      world_.simulation.NowNs() + absl::ToInt64Nanoseconds(time));
      world_.simulation.Sleep(time);
      Rest();
    });
  }

  World& world_;
  int holds_ = 0;
};

class Rogue : public Actor {
 public:
  explicit Rogue(World* world) : world_(*world), key_(++world->incarnations) {}
  ~Rogue() override {
    std::erase(world_.here[&worker()], this);
    // A timer, question or function that still holds this must not run any more.
    alive_ = 0;
  }
  void OnStart() override {
    Handling handling(world_.simulation, inside_, slot());
    world_.here[&worker()].push_back(this);
    if (world_.timer_us > 0) {
      const auto period = absl::Microseconds(world_.random.Between(1, world_.timer_us));
      Every(period, [this] {
        Handling in_timer(world_.simulation, inside_, slot());
        CheckAlive();
        world_.Spend();
        world_.MayThrow();
      });
    }
    Act();
  }
  void On(const Word& word) {
    Handling handling(world_.simulation, inside_, slot());
    int64_t& next = expected_[word.from];
    if (word.number < next) world_.Broken("L2 order", "a word came twice, or out of order");
    next = word.number + 1;
    world_.Spend();
    Act();
  }
  void OnDown(const Down&) override {
    Handling handling(world_.simulation, inside_, slot());
    world_.Spend();
    world_.MayThrow();
  }

 private:
  void CheckAlive() {
    if (alive_ != kAlive) world_.Broken("L10 handles", "a callback of an actor that is gone runs");
  }
  void Act() {
    if (!world_.MayAct()) return;
    const size_t to = world_.random.Below(world_.rogues.size());
    switch (world_.random.Below(8)) {
      case 0:
        After(absl::Microseconds(world_.random.Below(2'000)), [this] {
          Handling handling(world_.simulation, inside_, slot());
          CheckAlive();
          world_.Spend();
          Act();
          world_.MayThrow();
        });
        break;
      case 1:
        (void)Ask(world_.rogues[to], Ping{}, absl::Microseconds(world_.random.Below(3'000)),
                  [this](const absl::StatusOr<int64_t>&) {
                    Handling handling(world_.simulation, inside_, slot());
                    CheckAlive();
                    Act();
                    world_.MayThrow();
                  });
        break;
      case 2:
        (void)RunBlocking(
            [world = &world_] {
              world->Spend();
              world->MayThrow();
              return 1;
            },
            [this](const absl::StatusOr<int>&) {
              Handling handling(world_.simulation, inside_, slot());
              CheckAlive();
              Act();
              world_.MayThrow();
            });
        break;
      case 3:
        if (Monitor(world_.rogues[to]) == 0) world_.Broken("bounds", "a monitor is refused");
        break;
      case 4:
        EndAnother();
        break;
      default:
        break;
    }
    for (int64_t i = world_.random.Between(1, 4); i > 0; --i) {
      // TrySend, so that no cycle of waits is possible.
      const size_t next = world_.random.Below(world_.rogues.size());
      if (world_.rogues[next].TrySend(Word{key_, sent_[next]}) == Answer::kAccepted) {
        ++sent_[next];
      }
    }
    world_.MayThrow();
  }
  // In the middle of a handler of this actor.
  void EndAnother() {
    std::vector<Rogue*>& all = world_.here[&worker()];
    if (world_.enders == 0 || all.empty()) return;
    --world_.enders;
    all[world_.random.Below(all.size())]->Stop("another one wants it");
  }

 public:
  int64_t On(Ping ping) {
    Handling handling(world_.simulation, inside_, slot());
    world_.Spend();
    return ping.number;
  }

 private:
  static constexpr int64_t kAlive = 0x6b6565706d65;
  World& world_;
  const int64_t key_;  // Key of this incarnation, which starts its numbers again.
  int64_t alive_ = kAlive;
  bool inside_ = false;
  std::map<int64_t, int64_t> expected_;  // By sender; for this incarnation.
  std::map<size_t, int64_t> sent_;
};

// Hundreds of guests end at once, with their host.
class Guest : public Actor {};

class Host : public Actor {
 public:
  Host(World* world, int64_t guests) : world_(*world), guests_(guests) {}
  void OnStart() override {
    std::vector<Ref<Guest>> all;
    for (int64_t i = 0; i < guests_; ++i) {
      SpawnOptions where;
      // Some guests are on other workers.
      where.worker = static_cast<int>(
          world_.random.Below(static_cast<uint64_t>(world_.site.runtime().WorkerCount())));
      all.push_back(SpawnWith<Guest>(where));
    }
    SpawnOptions beside;
    beside.worker = worker().Index();
    runtime().SpawnWith<Watcher>(beside, &world_, std::move(all));
    After(absl::Milliseconds(world_.random.Between(1, 300)), [this] { Stop("all go home"); });
  }

 private:
  class Watcher : public Actor {
   public:
    Watcher(World* world, std::vector<Ref<Guest>> guests)
        : world_(*world), guests_(std::move(guests)) {}
    void OnStart() override {
      for (const Ref<Guest>& guest : guests_) world_.monitors += Monitor(guest) != 0;
    }
    void OnDown(const Down&) override { ++world_.downs; }

   private:
    World& world_;
    const std::vector<Ref<Guest>> guests_;
  };

  World& world_;
  const int64_t guests_;
};

class Echo : public Session {
 public:
  explicit Echo(World* world) : world_(*world) {}
  void OnData(Input& in) override {
    world_.Spend();
    if (Write(in.TakeAll()) != Answer::kAccepted) Abort(CloseReason::kMemory);
  }
  void OnClose(CloseReason reason) override {
    // In a drain no more input is read.
    if (reason == CloseReason::kIdle && !worker().Draining()) {
      world_.Broken("L9 close", "a client that speaks all the time is ended as idle");
    }
  }

 private:
  World& world_;
};

// Writes at intervals, whatever is answered, until all is sent.
void Speak(World& world, SimOs& machine, int64_t words) {
  Client client(machine, kPatience);
  if (!client.Connect("10.0.0.1:7001").ok()) {
    world.Broken("L5 progress", "a client is not let in");
    return;
  }
  for (int64_t i = 0; i < words && !world.simulation.Failed(); ++i) {
    if (!client.Write("0123456789").ok()) {
      world.Broken("L9 close", "a client that speaks all the time is cut off");
      return;
    }
    world.simulation.Sleep(kSpeaksEvery);
  }
  if (client.ReadExactly(static_cast<size_t>(10 * words)).ok() || world.simulation.Failed()) return;
  world.Broken("L9 close", "what a client said is not answered");
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 3));
  Options options = SmallOptions(workers);
  options.idle_timeout = kIdleTimeout;
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 4, 64));
  options.blocking_threads_max = static_cast<int>(simulation.Amount("threads", 1, 3));
  Site site(simulation, options);
  World world(site);
  world.slow_us = simulation.Amount("slow_us", 0, 5'000);
  world.timer_us = simulation.Amount("timer_us", 0, 2'000);
  world.throws = simulation.Amount("throws", 0, 20);
  world.enders = simulation.Amount("enders", 0, 10);
  world.late_ms = simulation.Amount("late_ms", 0, 4'000);
  world.acts_left = simulation.Amount("acts", 1, 400);
  const int64_t crowd = simulation.Amount("crowd", 0, 400);
  const auto on = [&](int64_t number) {
    SpawnOptions where;
    where.worker = static_cast<int>(number % workers);
    return where;
  };
  const RestartPolicy policy{.restarts_max = 1'000};
  for (int64_t i = simulation.Amount("rogues", 0, 10); i > 0; --i) {
    world.rogues.push_back(i % 2 == 0
                               ? site.runtime().SpawnWith<Rogue>(on(i), &world)
                               : site.runtime().SpawnRestarting<Rogue>(policy, on(i), &world));
  }
  if (world.rogues.empty()) world.acts_left = 0;
  for (int64_t i = 0; i < workers; ++i) {
    const auto polite = site.runtime().SpawnWith<Polite>(on(i), &world);
    site.runtime().SpawnWith<Asker>(on(i + 1), &world, polite, simulation.Amount("rounds", 1, 40));
    site.runtime().SpawnWith<Holder>(on(i), &world);
  }
  site.runtime().SpawnWith<Host>(on(0), &world, crowd);
  site.runtime().Listen<Echo>("10.0.0.1:7001", &world);
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  {
    Crowd clients(simulation, machine);
    const int64_t words = simulation.Amount("words", 1, 25);
    for (int64_t i = simulation.Amount("clients", 1, 4); i > 0; --i) {
      clients.Add(absl::StrCat("client ", i), [&] { Speak(world, machine, words); });
    }
  }
  Happens(
      site, "each question is answered, and each end reported",
      [&] { return world.ponged == world.pings && world.downs == crowd; }, absl::Minutes(5));
  world.over = true;
  site.End(absl::Minutes(1));
  if (world.downs != world.monitors) {
    simulation.Broken("L8 death", absl::StrCat(world.monitors, " monitors were notified of ",
                                               world.downs, " ends"));
  }
}

}  // namespace sluice::sim::unruly_scenario
