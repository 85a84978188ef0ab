// Actors give functions to a small pool of threads, while some of them end, fail and are recreated,
// and the runtime may end before the functions do. Each function runs once or is dropped, each
// caller that lives gets its result once, and nothing waits past its bound.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::blocking_scenario {

namespace {

constexpr int64_t kFunctionUsMax = 5'000;
constexpr int64_t kDestructionUsMax = 20'000;
constexpr absl::Duration kTimeEnough = absl::Seconds(5);  // Enough for all functions.

enum class Fate : uint8_t { kLasts, kStops, kFails };

struct World {
  explicit World(Simulation& in) : simulation(in) {}
  Simulation& simulation;
  std::map<int64_t, int64_t> incarnations;  // Incarnation of each caller, by key.
  int64_t threads_max = 0;
  int64_t functions_max = 0;  // Most functions that may exist at once.
  int64_t functions = 0;      // Functions that exist.
  int64_t running = 0;
  int64_t ran = 0;
  int64_t accepted = 0;
  int64_t open_of_lasting = 0;
  int64_t lasting_at_work = 0;
  bool over = false;
  Ref<class Taker> taker = {};
  bool taker_ends = false;
  int64_t sent = 0;  // Sent by functions, and accepted.
  int64_t taken = 0;
  int64_t drain_deadline_ns = INT64_MAX;
};

struct Partly {};

// Receives messages that functions send before they return.
class Taker : public Actor {
 public:
  explicit Taker(World* world) : world_(*world) {}
  void On(Partly) { ++world_.taken; }
  void OnStop() override { world_.taker_ends = true; }

 private:
  World& world_;
};

// Counts a function from its construction to its destruction.
class Counted {
 public:
  explicit Counted(World* world) : world_(world) {
    if (++world_->functions > world_->functions_max) {
      world_->simulation.Broken(
          "L3 bound", absl::StrCat(world_->functions, " functions wait or run, of at most ",
                                   world_->functions_max));
    }
  }
  Counted(Counted&& other) noexcept : world_(std::exchange(other.world_, nullptr)) {}
  Counted& operator=(Counted&&) = delete;
  ~Counted() {
    if (world_ == nullptr) return;
    Random& random = world_->simulation.random();
    // Now and then so long that a drain that does not wait for the function ends meanwhile.
    const uint64_t slow = random.Below(16);
    if (slow < 4) {
      const int64_t us_max = slow == 0 ? kDestructionUsMax : 1'000;
      world_->simulation.Sleep(absl::Microseconds(random.Below(static_cast<uint64_t>(us_max))));
    }
    --world_->functions;
  }

 private:
  World* world_;
};

class Function {
 public:
  Function(World* world, int64_t number) : world_(*world), number_(number), counted_(world) {}
  int64_t operator()() {
    if (std::exchange(called_, true))
      world_.simulation.Broken("L1 ledger", "a function runs twice");
    if (Worker::Current() != nullptr) world_.simulation.Broken("L6", "a function runs on a worker");
    if (++world_.running > world_.threads_max && !world_.over) {
      world_.simulation.Broken("L3 bound", "more functions run than there are threads");
    }
    ++world_.ran;
    Random& random = world_.simulation.random();
    if (random.Below(3) != 0) {
      world_.simulation.Sleep(absl::Microseconds(random.Below(kFunctionUsMax)));
    }
    if (number_ % 3 == 0) SendPart();
    --world_.running;
    if (number_ % 5 == 0) ThrowSomething(random);
    return number_;
  }

 private:
  // A drain waits for this function, and so for its messages.
  void SendPart() {
    const Answer answer = world_.taker.TrySend(Partly{});
    world_.sent += answer == Answer::kAccepted;
    if (answer == Answer::kClosed && !world_.taker_ends &&
        world_.simulation.NowNs() < world_.drain_deadline_ns) {
      world_.simulation.Broken("drain", "a function that is waited for may not send");
    }
  }
  World& world_;
  const int64_t number_;
  Counted counted_;
  bool called_ = false;
};

class Caller : public Actor {
 public:
  Caller(World* world, int64_t key, Fate fate, int64_t rounds)
      : world_(*world),
        key_(key),
        fate_(fate),
        rounds_(rounds),
        mine_(++world->incarnations[key]) {}
  ~Caller() override { world_.incarnations[key_] = -mine_; }  // Negative: no incarnation lives now.
  void OnStart() override { Call(); }

 private:
  void Call() {
    Handling handling(world_.simulation, inside_, slot());
    Random& random = world_.simulation.random();
    for (int64_t i = random.Between(1, 6); i > 0; --i) CallOne(random.Between(0, 1'000'000));
    if (--rounds_ > 0) {
      if (open_ == 0) Later();
      return;
    }
    if (fate_ == Fate::kStops) Stop();
    if (fate_ == Fate::kFails) ThrowSomething(random);
    if (fate_ == Fate::kLasts) --world_.lasting_at_work;
  }
  void Later() {
    After(absl::Microseconds(world_.simulation.random().Below(2'000)), [this] { Call(); });
  }
  void CallOne(int64_t number) {
    const Answer answer = RunBlocking(
        Function(&world_, number),
        [this, number, mine = mine_, heard = false](const absl::StatusOr<int64_t>& result) mutable {
          Handling handling(world_.simulation, inside_, slot());
          if (std::exchange(heard, true)) Broken("L1 ledger", "a result comes twice");
          if (world_.incarnations[key_] != mine) {
            Broken("L10 handles", "a result comes to an actor that did not ask");
          }
          Heard(number, result);
        });
    if (answer == Answer::kAccepted) {
      ++open_;
      ++world_.accepted;
      if (fate_ == Fate::kLasts) ++world_.open_of_lasting;
    } else if (answer == Answer::kFull || (answer == Answer::kClosed && !world_.over)) {
      Broken("answers", absl::StrCat("RunBlocking answers ", std::string(AnswerName(answer))));
    }
  }
  void Heard(int64_t number, const absl::StatusOr<int64_t>& result) {
    --open_;
    if (fate_ == Fate::kLasts) --world_.open_of_lasting;
    const bool throws = number % 5 == 0;
    if (result.ok() && (throws || *result != number)) {
      Broken("L1 ledger", "a result is not the function's");
    }
    // Without a thread, or after the end, the result says so.
    if (!result.ok() && !throws && world_.simulation.faults.no_thread == 0 && !world_.over) {
      Broken("L1 ledger", std::string(result.status().message()));
    }
    if (open_ == 0 && rounds_ > 0) Later();
  }
  void Broken(std::string_view law, std::string_view what) { world_.simulation.Broken(law, what); }

  World& world_;
  const int64_t key_;
  const Fate fate_;
  int64_t rounds_;
  const int64_t mine_;
  int64_t open_ = 0;
  bool inside_ = false;
};

// Submits two functions at once; the first needs the second to run beside it.
class Pairs : public Actor {
 public:
  Pairs(World* world, int64_t pairs) : world_(*world), left_(pairs) {}
  void OnStart() override { Begin(); }

 private:
  void Begin() {
    if (left_ == 0 || world_.over) return;
    --left_;
    open_ = 2;
    const auto came = std::make_shared<bool>(false);
    const auto told = [this](const absl::Status& status) {
      --world_.open_of_lasting;
      if (!status.ok() && !world_.over && world_.simulation.faults.no_thread == 0) {
        world_.simulation.Broken("L5 progress", std::string(status.message()));
      }
      if (--open_ > 0) return;
      After(absl::Microseconds(500), [this] { Begin(); });
    };
    const auto waits = [world = &world_, came] {
      // By then every other function has ended, and the pool has a thread for the second one.
      for (int i = 0; i < 1'000 && !*came && !world->over; ++i) {
        world->simulation.Sleep(absl::Milliseconds(1));
      }
      return *came || world->over
                 ? absl::OkStatus()
                 : absl::InternalError("of two functions with two threads one never ran");
    };
    for (const bool first : {true, false}) {
      const Answer answer =
          first ? RunBlocking(waits, told) : RunBlocking([came] { *came = true; }, told);
      if (answer == Answer::kAccepted) {
        ++world_.accepted;
        ++world_.open_of_lasting;
      } else {
        *came = true;  // The other function need not wait.
        left_ = 0;
      }
    }
  }

  World& world_;
  int64_t left_;
  int open_ = 0;
};

void CheckCounts(World& world, const BlockingLedger& counts, bool ended) {
  if (!counts.Balanced() || (ended && counts.held != 0)) {
    world.simulation.Broken("L1 ledger", counts.ToString());
  }
}

void RunRuntime(World& world, const Options& options) {
  Simulation& simulation = world.simulation;
  const int64_t callers = simulation.Amount("callers", 1, 24);
  const int64_t rounds = simulation.Amount("rounds", 1, 8);
  const bool early_drain = simulation.Amount("early_drain", 0, 1) == 1;
  const int64_t drain_us = simulation.Amount("drain_us", 0, 60'000);
  world.threads_max = options.blocking_threads_max;
  // Functions that run, wait for a thread, wait at a gate, wait with their callers, or are being
  // made.
  world.functions_max = 2 * world.threads_max +
                        options.workers * (2 + int64_t{options.blocking_calls_max}) +
                        callers * int64_t{options.outbox_messages_max};
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  world.taker =
      runtime.SpawnWith<Taker>({.name = "", .mailbox_messages_max = 1'000, .worker = 0}, &world);
  for (int64_t key = 0; key < callers; ++key) {
    const auto fate = static_cast<Fate>(key % 3);
    const SpawnOptions on{.name = "",
                          .mailbox_messages_max = 1,
                          .worker = static_cast<int>(key % runtime.WorkerCount())};
    world.lasting_at_work += fate == Fate::kLasts;
    if (fate == Fate::kFails) {
      runtime.SpawnRestarting<Caller>({.restarts_max = 3, .backoff_min = absl::ZeroDuration()}, on,
                                      &world, key, fate, rounds);
    } else {
      runtime.SpawnWith<Caller>(on, &world, key, fate, rounds);
    }
  }
  // Pairs needs two threads for itself; other functions never hold theirs for long.
  const int64_t pairs = simulation.Amount("pairs", 0, 3);
  if (pairs > 1 && world.threads_max > 1) {
    world.functions_max += 2;
    runtime.Spawn<Pairs>(&world, pairs);
  }
  if (simulation.Amount("unstarted", 0, 3) == 3 || !site.Start()) {
    // The drain runs the turns in which functions begin, and waits for their end.
    const int64_t enough_ns = simulation.NowNs() + absl::ToInt64Nanoseconds(kTimeEnough);
    site.End(2 * kTimeEnough);
    if (world.functions != 0 || simulation.NowNs() > enough_ns) {
      simulation.Broken("L5 progress",
                        absl::StrCat("a drain with time enough leaves ", world.functions,
                                     " functions behind, or takes all of it"));
    }
    return;
  }
  if (early_drain) {
    simulation.Sleep(absl::Microseconds(simulation.random().Below(10'000)));
  } else if (Happens(site,
                     "all functions have run or were dropped, and all callers have their results",
                     [&] {
                       return world.lasting_at_work == 0 && world.open_of_lasting == 0 &&
                              runtime.blocking().Awaited() == 0 && world.functions == 0;
                     })) {
    CheckCounts(world, runtime.blocking().Counts(), /*ended=*/false);
  }
  world.over = true;
  const absl::Duration timeout = early_drain ? absl::Microseconds(drain_us) : absl::Seconds(10);
  // The coordinator's clock has a resolution of milliseconds.
  world.drain_deadline_ns = simulation.NowNs() + absl::ToInt64Nanoseconds(timeout) - 2'000'000;
  site.End(timeout);
  if (simulation.NowNs() < world.drain_deadline_ns &&
      (world.functions != 0 || world.taken != world.sent)) {
    simulation.Broken("drain", "it has time enough, and leaves functions or messages behind");
  }
  CheckCounts(world, runtime.blocking().Counts(), /*ended=*/true);
  if (runtime.blocking().Counts().submitted != world.accepted) {
    simulation.Broken("L1 ledger", runtime.blocking().Counts().ToString());
  }
}

}  // namespace

void Run(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.blocking_threads_max = static_cast<int>(simulation.Amount("pool", 1, 3));
  options.blocking_calls_max = static_cast<uint32_t>(simulation.Amount("calls", 1, 8));
  options.outbox_messages_max = static_cast<uint32_t>(simulation.Amount("outbox", 1, 8));
  World world(simulation);
  RunRuntime(world, options);
  // A function that was left behind goes on without the runtime.
  simulation.Sleep(absl::Microseconds(2 * (kFunctionUsMax + kDestructionUsMax)));
  if (world.functions != 0 || world.running != 0) {
    simulation.Broken("L1 ledger", absl::StrCat(world.functions, " functions are never destroyed"));
  }
}

}  // namespace sluice::sim::blocking_scenario
