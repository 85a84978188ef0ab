// Clerks hold their mail while they work on a message: with a blocking function, a timer, an answer
// or a task. Some fail, some end. No message is taken meanwhile, none is lost or overtaken, and
// every hold ends. A counter answers by tasks, of which few may be open; a front passes questions
// on to it; and functions that nobody waits for any more are told to stop.
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::holds_scenario {

namespace {

constexpr absl::Duration kDrainTime = absl::Seconds(10);
constexpr int kStopLooksMax = 3'000;  // A millisecond each.

struct Job {
  int64_t from;
  int64_t number;
};
struct Square {
  using Reply = int64_t;
  int64_t number = 0;
};

enum class Fate : uint8_t { kLasts, kFails, kStops };

struct World {
  explicit World(Simulation& in) : simulation(in), streams(in) {}
  Simulation& simulation;
  Streams streams;
  std::vector<bool> lasts;   // By the key of a clerk.
  int64_t working = 0;       // Pieces of work begun and not ended.
  int64_t senders_left = 0;  // Senders that have not sent all.
  int64_t questions = 0;     // Asked and not answered.
  int64_t functions = 0;     // That wait for their stop.
  int64_t tasks_max = 0;
  int64_t tasks = 0;
  int64_t drain_deadline_ns = INT64_MAX;
  std::vector<std::vector<MailHold>> kept;  // On each worker: holds that may outlive their actors.
};

// A hold, and what it is for: while one lives its clerk takes no job.
class Work {
 public:
  Work(World* world, int64_t* of_clerk, MailHold hold)
      : world_(world), of_clerk_(of_clerk), hold_(std::move(hold)) {
    ++world_->working;
    ++*of_clerk_;
  }
  Work(Work&& other) noexcept
      : world_(std::exchange(other.world_, nullptr)),
        of_clerk_(other.of_clerk_),
        hold_(std::move(other.hold_)) {}
  Work& operator=(Work&&) = delete;
  ~Work() { End(); }
  void End() {
    if (world_ == nullptr) return;
    --world_->working;
    --*of_clerk_;
    world_ = nullptr;
    hold_.Release();
  }

 private:
  World* world_;
  int64_t* of_clerk_;
  MailHold hold_;
};

// Ends the holds that clerks of its worker have left.
class Keeper : public Actor {
 public:
  explicit Keeper(World* world) : world_(*world) {}
  void OnStart() override {
    (void)Every(absl::Milliseconds(2), [this] { Kept().clear(); });
  }

 private:
  std::vector<MailHold>& Kept() { return world_.kept[static_cast<size_t>(worker().Index())]; }
  World& world_;
};

// Answers by tasks.
class Counter : public Actor {
 public:
  explicit Counter(World* world) : world_(*world) {}
  Task<int64_t> On(Square q) {
    if (++world_.tasks > world_.tasks_max) {
      world_.simulation.Broken(
          "L3 bound", absl::StrCat(world_.tasks, " tasks are open, of at most ", world_.tasks_max));
    }
    if (q.number % 4 != 0) {
      co_await Sleep(absl::Microseconds(world_.simulation.random().Below(3'000)));
    }
    --world_.tasks;
    co_return q.number* q.number;
  }

 private:
  World& world_;
};

class Front : public Actor {
 public:
  explicit Front(Ref<Counter> counter) : counter_(counter) {}
  void On(Square q, Promise<int64_t> promise) {
    AskFor(std::move(promise), counter_, q, absl::InfiniteDuration());
  }

 private:
  const Ref<Counter> counter_;
};

class Clerk : public Actor {
 public:
  Clerk(World* world, int64_t key, Fate fate, Ref<Front> front)
      : world_(*world), key_(key), fate_(fate), front_(front) {}
  void OnStart() override {
    if (random().Below(2) == 0) return;
    After(absl::Microseconds(random().Below(500)), [work = Begin()] {});
  }
  void OnStop() override {
    const bool in_time = world_.simulation.NowNs() < world_.drain_deadline_ns;
    if (fate_ == Fate::kLasts && in_time && at_work_ > 0) {
      Broken("drain", "a clerk is stopped in the middle of its work");
    }
  }

  void On(Job job) {
    Handling handling(world_.simulation, inside_, slot());
    world_.streams.Received(job.from, key_, job.number);
    if (at_work_ > 0) Broken("holds", "a message is taken while the mail is held");
    const uint64_t way = random().Below(9);
    DoWork(way);
    if (random().Below(3) == 0) DoWork(random().Below(5));  // A second hold.
    if (fate_ == Fate::kLasts || random().Below(10) != 0) return;
    if (fate_ == Fate::kStops) return Stop();
    ThrowSomething(random());
  }

 private:
  Random& random() { return world_.simulation.random(); }
  void Broken(std::string_view law, std::string_view what) { world_.simulation.Broken(law, what); }
  Work Begin() { return Work(&world_, &at_work_, HoldMail()); }
  absl::Duration Moment() { return absl::Microseconds(random().Below(2'000)); }

  void DoWork(uint64_t way) {
    switch (way) {
      case 0: {  // If it is refused, the hold ends with the callback.
        (void)RunBlocking(
            [&simulation = world_.simulation] {
              simulation.Sleep(absl::Microseconds(simulation.random().Below(2'000)));
            },
            [this, work = Begin()](const absl::Status&) { MayFail(); });
        return;
      }
      case 1:
        (void)After(Moment(), [this, work = Begin()] { MayFail(); });
        return;
      case 2:
        (void)Ask(front_, Square{static_cast<int64_t>(random().Below(100))},
                  absl::InfiniteDuration(),
                  [this, work = Begin()](const absl::StatusOr<int64_t>& reply) {
                    Answered(reply);
                    MayFail();
                  });
        return;
      case 3:
        return StartTask(Rests(Begin()));
      case 4: {  // Ends in a handler behind the one that has it.
        (void)Ask(front_, Square{1}, absl::InfiniteDuration(),
                  [this, work = Begin()](const absl::StatusOr<int64_t>& reply) mutable {
                    Answered(reply);
                    (void)After(Moment(), [work = std::move(work)]() mutable { work.End(); });
                  });
        return;
      }
      case 5: {
        const Work brief = Begin();
        return;
      }
      case 6:
        return world_.kept[static_cast<size_t>(worker().Index())].push_back(HoldMail());
      default:
        return;
    }
  }
  // A drain waits for holds, and stops no actor meanwhile. The front may be too busy.
  void Answered(const absl::StatusOr<int64_t>& reply) {
    const bool in_time = world_.simulation.NowNs() < world_.drain_deadline_ns;
    if (reply.ok() || !in_time) return;
    if (absl::IsAborted(reply.status()) ||
        reply.status().message() == "the actor asked has ended") {
      Broken("drain", "the answer for a clerk that holds its mail is lost");
    }
  }
  void MayFail() {
    Handling handling(world_.simulation, inside_, slot());
    if (fate_ == Fate::kFails && random().Below(10) == 0) ThrowSomething(random());
  }
  Task<> Rests(Work work) {
    co_await Sleep(Moment());
    work.End();
    co_await Sleep(Moment());
  }

  World& world_;
  const int64_t key_;
  const Fate fate_;
  const Ref<Front> front_;
  int64_t at_work_ = 0;
  bool inside_ = false;
};

// Sends jobs to clerks, and asks the front, now and then.
class Sender : public Actor {
 public:
  Sender(World* world, int64_t key, std::vector<Ref<Clerk>> clerks, Ref<Front> front,
         int64_t rounds)
      : world_(*world), key_(key), clerks_(std::move(clerks)), front_(front), rounds_(rounds) {}
  void OnStart() override { Later(); }

 private:
  void Later() {
    const auto moment = absl::Microseconds(world_.simulation.random().Below(3'000));
    (void)After(moment, [this] { SendSome(); });
  }
  void SendSome() {
    if (worker().Draining()) return;
    Random& random = world_.simulation.random();
    for (int64_t i = random.Between(1, 5); i > 0; --i) {
      const auto to = static_cast<int64_t>(random.Below(clerks_.size()));
      const int64_t number = world_.streams.Next(key_, to);
      if (Send(clerks_[static_cast<size_t>(to)], Job{key_, number}) == Answer::kAccepted) {
        world_.streams.Sent(key_, to);
      }
    }
    const auto number = static_cast<int64_t>(random.Below(100));
    const Answer asked =
        Ask(front_, Square{number}, absl::InfiniteDuration(),
            [this, number](const absl::StatusOr<int64_t>& reply) {
              --world_.questions;
              if (reply.ok() && *reply != number * number) {
                world_.simulation.Broken("asks", "an answer is not the question's");
              }
            });
    world_.questions += asked == Answer::kAccepted;
    if (--rounds_ > 0) return Later();
    --world_.senders_left;
  }

  World& world_;
  const int64_t key_;
  const std::vector<Ref<Clerk>> clerks_;
  const Ref<Front> front_;
  int64_t rounds_;
};

// Returns when it is told to stop.
class Waits {
 public:
  explicit Waits(World* world) : world_(world) { ++world_->functions; }
  Waits(Waits&& other) noexcept : world_(std::exchange(other.world_, nullptr)) {}
  Waits& operator=(Waits&&) = delete;
  ~Waits() {
    if (world_ != nullptr) --world_->functions;
  }
  void operator()(const std::stop_token& stop) const {
    for (int i = 0; i < kStopLooksMax; ++i) {
      if (stop.stop_requested()) return;
      world_->simulation.Sleep(absl::Milliseconds(1));
    }
    world_->simulation.Broken("L8 death", "a function for nobody is not told to stop");
  }

 private:
  World* world_;
};

// Ends, fails or gives up while its function runs.
class Patient : public Actor {
 public:
  Patient(World* world, std::shared_ptr<bool> first) : world_(*world), first_(std::move(first)) {}
  void OnStart() override {
    if (!std::exchange(*first_, false)) return;
    const uint64_t way = world_.simulation.random().Below(3);
    if (way == 0) return StartTask(GivesUp());
    (void)RunBlocking(Waits(&world_), [](const absl::Status&) {});
    (void)After(Moment(), [this, way] {
      if (way == 1) return Stop();
      ThrowSomething(world_.simulation.random());
    });
  }

 private:
  absl::Duration Moment() { return absl::Microseconds(world_.simulation.random().Below(10'000)); }
  Task<> Calls() {
    auto call = RunBlocking(Waits(&world_));
    (void)co_await call;
  }
  Task<> GivesUp() { (void)co_await Within(Moment(), Calls()); }

  World& world_;
  const std::shared_ptr<bool> first_;
};

void RunRuntime(World& world, const Options& options) {
  Simulation& simulation = world.simulation;
  Random& random = simulation.random();
  const int64_t clerks = simulation.Amount("clerks", 1, 6);
  const int64_t senders = simulation.Amount("senders", 1, 12);
  const int64_t rounds = simulation.Amount("rounds", 1, 10);
  const auto mailbox = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 8));
  const bool early_drain = simulation.Amount("early_drain", 0, 2) == 2;
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  const auto on = [&](int64_t key) {
    return SpawnOptions{.name = "",
                        .mailbox_messages_max = mailbox,
                        .worker = static_cast<int>(key % runtime.WorkerCount())};
  };
  SpawnOptions few = on(0);
  few.tasks_max = static_cast<uint32_t>(world.tasks_max);
  const auto front = runtime.SpawnWith<Front>(on(1), runtime.SpawnWith<Counter>(few, &world));
  world.kept.resize(static_cast<size_t>(runtime.WorkerCount()));
  for (int64_t i = 0; i < runtime.WorkerCount(); ++i) runtime.SpawnWith<Keeper>(on(i), &world);
  std::vector<Ref<Clerk>> all;
  for (int64_t key = 0; key < clerks; ++key) {
    const auto fate = static_cast<Fate>(random.Below(3));
    world.lasts.push_back(fate != Fate::kStops);
    all.push_back(fate == Fate::kFails
                      ? runtime.SpawnRestarting<Clerk>(
                            {.restarts_max = 10'000, .backoff_min = absl::ZeroDuration()}, on(key),
                            &world, key, fate, front)
                      : runtime.SpawnWith<Clerk>(on(key), &world, key, fate, front));
  }
  for (int64_t i = 0; i < senders; ++i) {
    ++world.senders_left;
    runtime.SpawnWith<Sender>(on(static_cast<int64_t>(random.Below(8))), &world, clerks + i, all,
                              front, rounds);
  }
  for (int64_t i = simulation.Amount("patients", 0, 4); i > 0; --i) {
    runtime.SpawnRestarting<Patient>({}, on(i), &world, std::make_shared<bool>(true));
  }
  if (!site.Start()) return;
  const auto lives = [&](int64_t key) {
    return key >= clerks || world.lasts[static_cast<size_t>(key)];
  };
  if (early_drain) {
    simulation.Sleep(absl::Microseconds(random.Below(20'000)));
  } else {
    Happens(site, "all jobs are taken and done, and all questions are answered", [&] {
      return world.senders_left == 0 && world.streams.Missing(lives) == 0 && world.working == 0 &&
             world.questions == 0 && world.functions == 0;
    });
  }
  // The coordinator's clock has a resolution of milliseconds.
  world.drain_deadline_ns = simulation.NowNs() + absl::ToInt64Nanoseconds(kDrainTime) - 2'000'000;
  site.End(kDrainTime);
  if (simulation.NowNs() >= world.drain_deadline_ns) {
    simulation.Broken("drain", "it takes all its time, though each hold ends in a moment");
  }
}

}  // namespace

void Run(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.asks_max = static_cast<uint32_t>(simulation.Amount("asks", 1, 16));
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 32));
  options.blocking_threads_max = 2;
  World world(simulation);
  world.tasks_max = simulation.Amount("tasks_max", 1, 4);
  RunRuntime(world, options);
  if (world.working != 0 || world.functions != 0) {
    simulation.Broken("L8 death", absl::StrCat(world.working, " holds and ", world.functions,
                                               " functions outlive their actors"));
  }
}

}  // namespace sluice::sim::holds_scenario
