// Hubs end at any moment, and sessions and actors go on joining them. Each join that a hub's
// mailbox took is answered, once, wherever it was when its hub ended: in an outbox, at the hub, on
// its way to a spoke, or behind a round there.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::joins_scenario {

namespace {

constexpr std::string_view kDoor = "10.0.0.1:7001";

struct World {
  explicit World(Simulation& in) : simulation(in) {}
  const Ref<Hub>& AnyHub() { return hubs[simulation.random().Below(hubs.size())]; }
  Simulation& simulation;
  std::vector<Ref<Hub>> hubs = {};
  int64_t rounds = 0;
  int64_t joining = 0;  // Sessions and actors that have not joined as often as they are to.
};

// Ends hubs, and makes others in their place.
class Keeper : public Actor {
 public:
  explicit Keeper(World* world) : world_(*world) {}
  void OnStart() override {
    for (Ref<Hub>& hub : world_.hubs) hub = New();
    Next();
  }

 private:
  Ref<Hub> New() {
    SpawnOptions there;
    there.worker = static_cast<int>(
        world_.simulation.random().Below(static_cast<uint64_t>(runtime().WorkerCount())));
    there.mailbox_messages_max = 4;
    return SpawnWith<Hub>(there);
  }
  void Next() {
    Random& random = world_.simulation.random();
    (void)After(absl::Microseconds(random.Between(0, 4'000)), [this, &random] {
      Ref<Hub>& hub = world_.hubs[random.Below(world_.hubs.size())];
      const Ref<Hub> old = std::exchange(hub, New());
      if (random.Below(3) == 0) {
        StopWhenLeft(old);
        (void)After(absl::Milliseconds(2), [old] { old.Stop(); });
      } else {
        old.Stop();
      }
      Next();
    });
  }

  World& world_;
};

class Talker : public Session {
 public:
  explicit Talker(World* world) : world_(*world) {}
  void OnOpen() override {
    ++world_.joining;
    Join();
  }
  void OnData(Input& in) override { in.TakeAll(); }
  void On(Subscribed told) {
    if (told.hub != std::exchange(asked_, Ref<Hub>()) || !told.hub) {
      world_.simulation.Broken("L1 ledger", "a session is told of a join that it did not ask for");
    }
    joined_ = told;
    (void)After(absl::Microseconds(world_.simulation.random().Below(2'000)), [this] {
      if (joined_.Joined()) return Unsubscribe(*this, std::exchange(joined_, {}));
      Join();
    });
  }
  void On(Unsubscribed) { Join(); }
  void OnClose(CloseReason) override {
    if (asked_ || round_ <= world_.rounds) Over();
  }

 private:
  void Over() {
    --world_.joining;
    round_ = INT64_MAX;
  }
  void Join() {
    Random& random = world_.simulation.random();
    if (round_ >= world_.rounds) {
      if (round_ == world_.rounds) Over();
      return Close();
    }
    ++round_;
    asked_ = world_.AnyHub();
    for (int64_t i = random.Between(0, 12); i > 0; --i) {
      (void)Send(asked_, Publish{Bytes::Copy(std::string(200, 'x')), {}, 0});
    }
    SubscribeOptions options;
    options.slow = random.Below(2) == 0 ? SlowPolicy::kPark : SlowPolicy::kDropOldest;
    options.queue_messages_max = 2;
    options.park_timeout = absl::Milliseconds(20);
    if (Send(asked_, Subscribe(this, options, "hello\n")) == Answer::kAccepted) return;
    asked_ = Ref<Hub>();
    (void)After(absl::Microseconds(500), [this] { Join(); });
  }

  World& world_;
  Ref<Hub> asked_;  // Not answered yet.
  Subscribed joined_;
  int64_t round_ = 0;
};

class Reader : public Actor {
 public:
  explicit Reader(World* world) : world_(*world) { ++world_.joining; }
  void OnStart() override { StartTask(Joins()); }

 private:
  Task<> Joins() {
    for (int64_t round = 0; round < world_.rounds; ++round) {
      Subscription news(this);
      if ((co_await news.Join(world_.AnyHub())).ok()) (void)co_await news.Next();
      co_await Sleep(absl::Microseconds(world_.simulation.random().Below(2'000)));
    }
    --world_.joining;
  }

  World& world_;
};

// Reads now and then, to the end.
void Listen(Simulation& simulation, SimOs& machine) {
  Random& random = simulation.random();
  Client client(machine);
  LimitBuffersBelow(client, random, 2'000);
  absl::Status status = client.Connect(kDoor);
  while (status.ok()) {
    simulation.Sleep(absl::Microseconds(random.Below(5'000)));
    const absl::StatusOr<std::string> some = client.Read();
    if (some.ok() && some->empty()) return;
    status = some.status();
  }
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 3));
  Options options = SmallOptions(workers);
  options.output_bytes_low = 0;
  Site site(simulation, options);
  World world(simulation);
  world.hubs.resize(static_cast<size_t>(simulation.Amount("hubs", 1, 3)));
  world.rounds = simulation.Amount("rounds", 1, 20);
  site.runtime().Listen<Talker>(kDoor, &world);
  site.runtime().Spawn<Keeper>(&world);
  if (!site.Start()) return;
  for (int64_t i = simulation.Amount("readers", 0, 4); i > 0; --i) {
    site.runtime().Spawn<Reader>(&world);
  }
  SimOs& machine = simulation.NewMachine("peers");
  Crowd crowd(simulation, machine);
  for (int64_t i = simulation.Amount("sessions", 1, 8); i > 0; --i) {
    crowd.Add(absl::StrCat("peer ", i), [&] { Listen(simulation, machine); });
  }
  simulation.Sleep(absl::Milliseconds(100));
  if (!simulation.RunUntil([&] { return world.joining == 0; }, absl::Seconds(10))) {
    simulation.Broken("L5 progress", absl::StrCat(world.joining, " wait for the answer to a join\n",
                                                  site.runtime().Dump()));
  }
  site.End();
  crowd.Join();
}

}  // namespace sluice::sim::joins_scenario
