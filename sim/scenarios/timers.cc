// Storms of timers: set, cancelled and set again from each other, for the same moment and for hours
// ahead, of actors that are held up, parked and ended. None fires early, twice, after its
// cancelling or after the end, and none later than the work before it takes.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::timers_scenario {

namespace {

constexpr int64_t kMs = 1'000'000;
// The current tick, the rounding of the deadline, the rounding of the wait, and the cost of the
// turns between.
constexpr int64_t kLateMaxNs = 4 * kMs;
constexpr int64_t kTimersMax = 24;

struct Grain {};

// A time in which timers could not run, as a worker was held.
struct Held {
  int64_t from_ns;
  int64_t to_ns;
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()) {}
  int64_t HeldUpNs(int worker, int64_t from_ns) const;
  void Spend(int worker, int64_t most_us);

  Site& site;
  Simulation& simulation;
  std::vector<std::vector<Held>> held;  // By worker.
  int64_t slow_us = 0;
  int64_t last_words = 0;
  int64_t began = 0;
  int64_t alive = 0;
  int64_t armed = 0;
  int64_t settled = 0;  // Fired for the last time, cancelled, or ended with their actor.
};

int64_t World::HeldUpNs(int worker, int64_t from_ns) const {
  int64_t sum = 0;
  const std::vector<Held>& all = held[static_cast<size_t>(worker)];
  for (auto one = all.rbegin(); one != all.rend() && one->to_ns > from_ns; ++one) {
    sum += one->to_ns - std::max(from_ns, one->from_ns);
  }
  return sum;
}

void World::Spend(int worker, int64_t most_us) {
  if (most_us == 0) return;
  const int64_t from_ns = simulation.NowNs();
  simulation.Sleep(absl::Microseconds(simulation.random().Between(0, most_us)));
  held[static_cast<size_t>(worker)].push_back({from_ns, simulation.NowNs()});
}

class Hourglass : public Actor {
 public:
  explicit Hourglass(World* world) : world_(*world) {}
  void On(Grain) { world_.Spend(worker().Index(), world_.slow_us); }

 private:
  World& world_;
};

// A clock's child. While its last messages wait for room, the clock has stopped but still exists.
class Pendulum : public Actor {
 public:
  Pendulum(World* world, Ref<Hourglass> glass) : world_(*world), glass_(glass) {}
  void OnStop() override {
    // Refused if memory is spent: no test counts grains.
    for (int64_t i = 0; i < world_.last_words; ++i) (void)Send(glass_, Grain{});
  }

 private:
  World& world_;
  const Ref<Hourglass> glass_;
};

class Clock : public Actor {
 public:
  Clock(World* world, Ref<Hourglass> glass, int64_t acts)
      : world_(*world), random_(world->simulation.random()), glass_(glass), acts_(acts) {
    ++world_.began;
    ++world_.alive;
  }
  ~Clock() override {
    --world_.alive;
    world_.settled += static_cast<int64_t>(timers_.size());
  }
  void OnStart() override {
    Spawn<Pendulum>(&world_, glass_);
    Act();
  }
  // Called after each step: notes since when timers may run.
  void LookAfterStep() {
    if (slot()->parked) free_since_ns_ = world_.simulation.NowNs();
  }

 private:
  struct Armed {
    TimerId id = 0;
    int64_t due_ns = 0;       // The timer must not fire before.
    int64_t expected_ns = 0;  // The timer is late after this.
    int64_t interval_ns = 0;
    int64_t firings_left = 1;
  };

  void Broken(std::string_view what) { world_.simulation.Broken("timers", what); }
  // Runs at the start and at each timer, as long as acts are left.
  void Act() {
    Handling handling(world_.simulation, inside_, slot());
    if (random_.Below(16) == 0) world_.Spend(worker().Index(), world_.slow_us);
    if (acts_ == 0) {
      while (!timers_.empty()) Cancel(timers_.begin()->first);
      stopped_ = true;
      Stop();
      return;
    }
    --acts_;
    const absl::Duration same = Delay();
    for (uint64_t i = random_.Below(4); i > 0; --i) Arm(random_.Below(3) == 0 ? same : Delay());
    if (random_.Below(3) == 0 && !timers_.empty()) Cancel(AnyTimer());
    if (random_.Below(5) == 0) {
      // Enough to be parked, if the outbox has room.
      for (uint64_t i = random_.Below(12); i > 0; --i) (void)Send(glass_, Grain{});
    }
    if (random_.Below(40) == 0) {
      stopped_ = true;
      Stop();  // Stops with all its timers armed.
    } else if (random_.Below(40) == 0) {
      stopped_ = true;
      ThrowSomething(random_);
    }
    if (timers_.empty()) Arm(same);
  }
  absl::Duration Delay() {
    switch (random_.Below(8)) {
      case 0:
        return absl::ZeroDuration();
      case 1:
        return absl::Microseconds(random_.Below(3'000));
      case 2:
        // Here a level of the wheel wraps.
        return absl::Milliseconds(64) * random_.Between(1, 3);
      case 3:
        return absl::Seconds(random_.Below(100));
      case 4:
        return absl::Minutes(random_.Below(600));
      case 5:
        return -absl::Milliseconds(random_.Below(10));
      default:
        return absl::Milliseconds(random_.Below(30));
    }
  }
  int64_t AnyTimer() {
    auto timer = timers_.begin();
    std::advance(timer, random_.Below(timers_.size()));
    return timer->first;
  }
  void Arm(absl::Duration delay) {
    const int64_t key = ++last_key_;
    Armed timer;
    const bool every = random_.Below(4) == 0;
    if (every) {
      delay = absl::Milliseconds(random_.Between(1, 50));
      timer.interval_ns = absl::ToInt64Nanoseconds(delay);
      timer.firings_left = random_.Between(1, 8);
    }
    timer.due_ns =
        world_.simulation.NowNs() + std::max<int64_t>(0, absl::ToInt64Nanoseconds(delay));
    timer.expected_ns = timer.due_ns;
    timer.id = every ? Every(delay, [this, key] { Fired(key); })
                     : After(delay, [this, key] { Fired(key); });
    if (static_cast<int64_t>(timers_.size()) >= kTimersMax) {
      if (timer.id != 0) Broken("a timer past timers_max is taken");
      return;
    }
    if (timer.id == 0) {
      Broken("a timer below timers_max is refused");
      return;
    }
    ++world_.armed;
    timers_[key] = timer;
  }
  void Cancel(int64_t key) {
    CancelTimer(timers_.at(key).id);
    timers_.erase(key);
    ++world_.settled;
  }
  void Fired(int64_t key) {
    const int64_t now_ns = world_.simulation.NowNs();
    const auto found = timers_.find(key);
    if (found == timers_.end()) {
      Broken("a timer fires twice, or after it was cancelled");
      return;
    }
    if (stopped_) {
      // Do not act: no handler runs here, so nothing would catch an exception.
      Broken("a timer of an actor that has stopped fires");
      return;
    }
    if (slot()->parked) Broken("a timer of a parked actor fires");
    Armed& timer = found->second;
    if (now_ns < timer.due_ns) {
      Broken(absl::StrCat("a timer fires ", timer.due_ns - now_ns, " ns early"));
    }
    const int64_t from_ns = std::max(timer.expected_ns, free_since_ns_);
    const int64_t late_ns = now_ns - from_ns - world_.HeldUpNs(worker().Index(), from_ns);
    if (late_ns > kLateMaxNs) Broken(absl::StrCat("a timer fires ", late_ns, " ns late"));
    if (--timer.firings_left > 0) {
      // Deadlines follow each other; a timer that is late by more than an interval starts again
      // from now.
      timer.due_ns += timer.interval_ns;
      timer.expected_ns = std::max(timer.due_ns, now_ns + timer.interval_ns);
    } else {
      if (timer.interval_ns > 0) CancelTimer(timer.id);
      timers_.erase(found);
      ++world_.settled;
    }
    Act();
  }

  World& world_;
  Random& random_;
  const Ref<Hourglass> glass_;
  int64_t acts_;
  bool inside_ = false;
  bool stopped_ = false;
  int64_t free_since_ns_ = 0;
  int64_t last_key_ = 0;
  std::map<int64_t, Armed> timers_;
};

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 4));
  Options options = SmallOptions(workers);
  options.timers_max = kTimersMax;
  Site site(simulation, options);
  World world(site);
  world.held.resize(static_cast<size_t>(workers));
  world.slow_us = simulation.Amount("slow_us", 0, 20'000);
  world.last_words = simulation.Amount("last_words", 0, 12);
  const int64_t acts = simulation.Amount("acts", 1, 60);
  const int64_t clocks = simulation.Amount("clocks", 1, 12);
  const bool early_drain = simulation.Amount("early_drain", 0, 3) == 3;
  std::vector<Ref<Clock>> all;
  for (int64_t i = 0; i < clocks; ++i) {
    const auto on = [&](int64_t number) {
      return SpawnOptions{
          .name = "", .mailbox_messages_max = 2, .worker = static_cast<int>(number % workers)};
    };
    const auto glass = site.runtime().SpawnWith<Hourglass>(on(i + 1), &world);
    all.push_back(site.runtime().SpawnWith<Clock>(on(i), &world, glass, acts));
  }
  simulation.AfterEachStep([&all] {
    for (const Ref<Clock>& clock : all) {
      const Slot* const slot = clock.slot();
      if (slot->generation != clock.generation() || slot->actor == nullptr) continue;
      static_cast<Clock*>(slot->actor)->LookAfterStep();
    }
  });
  if (!site.Start()) return;
  if (early_drain) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Below(2'000)));
  } else {
    // Hours, as each act may wait for a far timer.
    Happens(
        site, "all clocks have stopped",
        [&] { return world.began == clocks && world.alive == 0 && world.armed == world.settled; },
        absl::Hours(11) * acts);
  }
  site.End();
  if (world.alive != 0 || world.armed != world.settled) {
    simulation.Broken("timers", absl::StrCat(world.armed, " timers were set, and ", world.settled,
                                             " have fired or were cancelled"));
  }
}

}  // namespace sluice::sim::timers_scenario
