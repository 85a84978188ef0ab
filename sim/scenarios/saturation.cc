// Actors of all workers and threads flood one slow actor, while memory is spent and freed again.
// Accepted messages are handled in order, all senders get through, and none waits longer than the
// messages before its own take.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::saturation_scenario {

namespace {

constexpr int64_t kSink = -1;
constexpr int64_t kOutside = 1'000'000;  // Keys of threads begin here.

struct Go {};
struct Item {
  int64_t from;
  int64_t number;
  int64_t handled_before;  // Handled by the sink when this was sent.
  std::string load;
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()), streams(simulation) {}
  std::string Load() {
    return std::string(
        load_max == 0 ? 0 : simulation.random().Below(static_cast<uint64_t>(load_max)), 'x');
  }
  Site& site;
  Simulation& simulation;
  Streams streams;
  int64_t handled = 0;
  int64_t handled_max_wait = 0;  // Most messages that may be handled between a send and its turn.
  int64_t load_max = 0;
  int64_t slow_us = 0;
  int64_t burst = 0;
  int64_t at_work = 0;
  bool memory_is_spent = false;
  int64_t spent_times = 0;
};

class Sink : public Actor {
 public:
  explicit Sink(World* world) : world_(*world) {}
  void On(Item item) {
    Handling handling(world_.simulation, inside_, slot());
    world_.streams.Received(item.from, kSink, item.number);
    ++world_.handled;
    const int64_t before = world_.handled - item.handled_before;
    if (item.from < kOutside && before > world_.handled_max_wait) {
      world_.simulation.Broken(
          "L5 progress",
          absl::StrCat("message ", item.number, " of ", item.from, " had to wait for ", before,
                       " others; at most ", world_.handled_max_wait, " could be before it"));
    }
    if (slot()->mailbox.Held() > slot()->mailbox.Capacity()) {
      world_.simulation.Broken("L3 bound", "a mailbox holds more than its capacity");
    }
    if (world_.slow_us > 0 && world_.simulation.random().Below(4) == 0) {
      world_.simulation.Sleep(absl::Microseconds(
          world_.simulation.random().Below(static_cast<uint64_t>(world_.slow_us))));
    }
  }

 private:
  World& world_;
  bool inside_ = false;
};

class Flooder : public Actor {
 public:
  Flooder(World* world, int64_t key, Ref<Sink> sink, int64_t messages)
      : world_(*world), key_(key), sink_(sink), left_(messages) {}
  void OnStart() override { On(Go{}); }
  void On(Go) {
    Handling handling(world_.simulation, inside_, slot());
    for (int64_t i = 0; i < world_.burst && left_ > 0; ++i) {
      const Answer answer =
          Send(sink_, Item{key_, world_.streams.Next(key_, kSink), world_.handled, world_.Load()});
      if (answer == Answer::kOverloaded) break;  // The outbox is full, or memory for it is spent.
      if (answer != Answer::kAccepted) {
        world_.simulation.Broken("answers", "a Send to one that lives is not accepted");
        return;
      }
      --left_;
      world_.streams.Sent(key_, kSink);
    }
    if (left_ == 0) {
      --world_.at_work;
    } else if (world_.simulation.random().Below(4) == 0 ||
               Send(RefOf(this), Go{}) != Answer::kAccepted) {
      After(absl::Microseconds(world_.simulation.random().Below(3'000)), [this] { On(Go{}); });
    }
  }

 private:
  World& world_;
  const int64_t key_;
  const Ref<Sink> sink_;
  int64_t left_;
  bool inside_ = false;
};

void FloodFromOutside(World& world, int64_t key, const Ref<Sink>& sink, int64_t messages) {
  for (; messages > 0; --messages) {
    const Answer answer =
        sink.TrySend(Item{key, world.streams.Next(key, kSink), world.handled, world.Load()});
    if (answer == Answer::kAccepted) {
      world.streams.Sent(key, kSink);
    } else {
      if (answer == Answer::kClosed) {
        world.simulation.Broken("answers", "a TrySend to one that lives answers closed");
      }
      world.simulation.Sleep(absl::Microseconds(20));
    }
    if (world.simulation.random().Below(64) == 0) {
      world.simulation.Sleep(absl::Microseconds(world.simulation.random().Below(300)));
    }
  }
  --world.at_work;
}

// Takes all free memory and gives it back, again and again.
void SpendMemory(World& world, int64_t times) {
  Budget& budget = world.site.runtime().budget();
  for (; times > 0; --times) {
    const int64_t taken = budget.BytesMax() - budget.UsedBytes();
    if (taken > 0 && budget.Take(taken)) {
      world.simulation.Sleep(absl::Microseconds(world.simulation.random().Below(20'000)));
      budget.Give(taken);
    }
    world.simulation.Sleep(absl::Microseconds(world.simulation.random().Below(10'000)));
  }
  --world.at_work;
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 4));
  Options options = SmallOptions(workers);
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 32));
  options.outbox_messages_max = static_cast<uint32_t>(simulation.Amount("outbox", 1, 24));
  options.memory_bytes_max = options.MemoryBytesMin();
  Site site(simulation, options);
  World world(site);
  const int64_t capacity = simulation.Amount("mailbox", 1, 8);
  const int64_t flooders = simulation.Amount("flooders", 1, 40);
  const int64_t messages = simulation.Amount("messages", 1, 60);
  const int64_t threads = simulation.Amount("threads", 0, 3);
  const int64_t memory_times = simulation.Amount("memory_spent", 0, 4);
  world.burst = simulation.Amount("burst", 1, 20);
  world.load_max = simulation.Amount("load", 0, 60'000);
  world.slow_us = simulation.Amount("slow_us", 0, 400);
  // Before a message there may be: the messages held, those that each other sender has waiting, and
  // those for which each may have a grant; and as many again that overtake while it waits for a
  // lane or memory, as these waits have no order.
  world.handled_max_wait = 4 * (capacity + (flooders + 1) * (world.burst + 1) +
                                (threads + 1) * int64_t{options.lane_messages_max});
  if (memory_times > 0) world.handled_max_wait = INT64_MAX;
  const Ref<Sink> sink = site.runtime().SpawnWith<Sink>(
      {.name = "sink", .mailbox_messages_max = static_cast<uint32_t>(capacity), .worker = 0},
      &world);
  for (int64_t key = 0; key < flooders; ++key) {
    site.runtime().SpawnWith<Flooder>({.name = absl::StrCat("flooder ", key),
                                       .mailbox_messages_max = 2,
                                       .worker = static_cast<int>(key % workers)},
                                      &world, key, sink, messages);
  }
  world.at_work = flooders + threads + 1;
  if (!site.Start()) return;
  std::vector<ThreadId> outside;
  for (int64_t i = 0; i < threads; ++i) {
    outside.push_back(simulation.StartThread(simulation.os(), absl::StrCat("outside ", i), [&, i] {
      FloodFromOutside(world, kOutside + i, sink, capacity * 100);
    }));
  }
  outside.push_back(
      simulation.StartThread(simulation.os(), "memory", [&] { SpendMemory(world, memory_times); }));
  Happens(site, "everybody gets through",
          [&] { return world.at_work == 0 && world.handled == world.streams.SentInAll(); });
  for (const ThreadId thread : outside) simulation.Join(thread);
  site.End();
  if (site.runtime().WaitCyclesFound() > 0) {
    simulation.Broken("deadlock",
                      "a cycle of waits where none can be: " + site.runtime().LastWaitCycle());
  }
}

}  // namespace sluice::sim::saturation_scenario
