// Actors end while they wait for credits of a slow actor, and their linger_timeout runs out while
// grants are on their way to them. None of those credits is lost, and a later sender gets through.
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::withdrawals_scenario {

namespace {

constexpr int64_t kSink = -1;
constexpr int64_t kLatecomer = -2;

struct Parcel {
  int64_t from;
  int64_t number;
};
struct Pause {};

struct World {
  explicit World(Simulation& of) : simulation(of), streams(of) {}
  Simulation& simulation;
  Streams streams;
  int64_t pause_us = 0;
  int64_t waiting = 0;    // Senders that have not sent yet.
  int64_t late_came = 0;  // Messages of the latecomer at the sink.
};

// Holds up the worker after the sink's handler, so that the sink's grants leave late.
class Holder : public Actor {
 public:
  explicit Holder(World* world) : world_(*world) {}
  void On(Pause) {
    world_.simulation.Sleep(
        absl::Microseconds(world_.simulation.random().Between(0, world_.pause_us)));
  }

 private:
  World& world_;
};

class Sink : public Actor {
 public:
  Sink(World* world, Ref<Holder> holder) : world_(*world), holder_(holder) {}
  void On(Parcel parcel) {
    Handling handling(world_.simulation, inside_, slot());
    world_.streams.Received(parcel.from, kSink, parcel.number);
    if (parcel.from == kLatecomer) ++world_.late_came;
    // A full mailbox means that the holder pauses already.
    if (world_.simulation.random().Below(2) == 0) (void)holder_.TrySend(Pause{});
  }

 private:
  World& world_;
  const Ref<Holder> holder_;
  bool inside_ = false;
};

// Sends all at once at its moment; then all but the latecomer end.
class Sender : public Actor {
 public:
  Sender(World* world, int64_t key, Ref<Sink> sink, int64_t parcels, absl::Duration moment)
      : world_(*world), key_(key), sink_(sink), parcels_(parcels), moment_(moment) {}
  void OnStart() override {
    After(moment_, [this] { SendAll(); });
  }

 private:
  void SendAll() {
    for (int64_t i = 0; i < parcels_; ++i) {
      if (Send(sink_, Parcel{key_, world_.streams.Next(key_, kSink)}) != Answer::kAccepted) {
        world_.simulation.Broken("answers", "a Send to one that lives is not accepted");
        return;
      }
      world_.streams.Sent(key_, kSink);
    }
    --world_.waiting;
    if (key_ != kLatecomer) Stop();
  }

  World& world_;
  const int64_t key_;
  const Ref<Sink> sink_;
  const int64_t parcels_;
  const absl::Duration moment_;
};

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 2, 4));
  Options options = SmallOptions(workers);
  options.linger_timeout = absl::Milliseconds(simulation.Amount("linger_ms", 1, 5));
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 32));
  Site site(simulation, options);
  World world(simulation);
  world.pause_us = simulation.Amount("pause_us", 0, 5'000);
  const auto capacity = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 4));
  const int64_t parcels_max = simulation.Amount("parcels", 1, 12);
  const auto holder = site.runtime().SpawnWith<Holder>(
      {.name = "holder", .mailbox_messages_max = 4, .worker = 0}, &world);
  const auto sink = site.runtime().SpawnWith<Sink>(
      {.name = "sink", .mailbox_messages_max = capacity, .worker = 0}, &world, holder);
  Random& random = simulation.random();
  const auto add = [&](int64_t key, int64_t parcels, absl::Duration moment) {
    ++world.waiting;
    const SpawnOptions where{.name = absl::StrCat("sender ", key),
                             .mailbox_messages_max = 1,
                             .worker = 1 + static_cast<int>(random.Below(workers - 1))};
    site.runtime().SpawnWith<Sender>(where, &world, key, sink, parcels, moment);
  };
  const int64_t senders = simulation.Amount("senders", 1, 40);
  for (int64_t key = 0; key < senders; ++key) {
    const int64_t parcels = random.Between(1, parcels_max);
    add(key, parcels, absl::Microseconds(random.Between(0, 20'000)));
  }
  if (!site.Start()) return;
  Happens(site, "each sender's moment comes", [&] { return world.waiting == 0; });
  const int64_t late = 2 * int64_t{capacity};
  add(kLatecomer, late, absl::ZeroDuration());
  Happens(site, "a latecomer gets through", [&] { return world.late_came == late; });
  // By then the holder has done its last pause: all accounts are closed.
  simulation.Sleep(options.linger_timeout + absl::Milliseconds(50));
  site.Look();
  site.End();
}

}  // namespace sluice::sim::withdrawals_scenario
