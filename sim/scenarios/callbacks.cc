// Misbehaving filters and notices of a hub: they send, to actors that are full; they throw; they
// end their own session or another one. Each harms only its own subscriber. A polite subscriber
// receives every message, and messages that a session sends, in its handlers and in its filter,
// arrive in the order in which they were sent.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/scenarios/watch.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::callbacks_scenario {

namespace {

constexpr int64_t kSessions = 1'000;  // Keys of sessions begin here.
constexpr absl::Duration kParkTimeout = absl::Milliseconds(500);
constexpr absl::Duration kPatience = absl::Minutes(5);

class Hearer;
class Rude;

struct World {
  explicit World(Simulation& of) : simulation(of), random(of.random()), streams(of) {}
  bool MayThrow() { return throws_left > 0 && random.Below(16) == 0; }
  [[noreturn]] void Throw() {
    --throws_left;
    ++thrown;
    ThrowSomething(random);
  }

  Simulation& simulation;
  Random& random;
  Streams streams;
  Ref<Hub> hub = {};
  std::vector<Ref<Hearer>> hearers;
  // Looked up by key only; sessions in order of arrival.
  std::map<const Worker*, std::vector<Rude*>> here;
  int64_t slow_us = 0;
  int64_t messages = 0;
  int64_t published = 0;
  int64_t polite_to_come = 0;
  int64_t throws_left = 0;
  int64_t thrown = 0;
  int64_t ends_left = 0;
  int64_t next_key = kSessions;
};

struct Note {
  int64_t from;
  int64_t to;
  int64_t number;
};

// A slow actor with a small mailbox.
class Hearer : public Actor {
 public:
  explicit Hearer(World* world) : world_(*world) {}
  void On(Note note) {
    world_.streams.Received(note.from, note.to, note.number);
    if (world_.slow_us == 0) return;
    world_.simulation.Sleep(absl::Microseconds(world_.random.Between(0, world_.slow_us)));
  }

 private:
  World& world_;
};

class Crier : public Actor {
 public:
  explicit Crier(World* world) : world_(*world) {}
  void OnStart() override { Cry(); }

 private:
  void Cry() {
    if (world_.published == world_.messages) return;
    for (int64_t i = world_.polite_to_come > 0 ? 0 : world_.random.Between(1, 4); i > 0; --i) {
      if (world_.published < world_.messages) CryOne();
    }
    After(absl::Microseconds(world_.random.Between(100, 4'000)), [this] { Cry(); });
  }
  void CryOne() {
    const uint64_t key = world_.random.Below(4);
    const std::string filler(world_.random.Below(1'500), '.');
    const std::string text = absl::StrCat("m ", world_.published + 1, " ", filler, "\n");
    if (Send(world_.hub, Publish{Bytes::Copy(text), {}, key}) == Answer::kAccepted) {
      ++world_.published;
    }
  }

  World& world_;
};

// Receives all messages: its queue has room, and it has no callback.
class Polite : public Session {
 public:
  explicit Polite(World* world) : world_(*world) {}
  void OnOpen() override {
    const SubscribeOptions options{.queue_messages_max = 10'000};
    (void)Send(world_.hub, Subscribe(this, options));
  }
  void On(Subscribed subscribed) {
    if (!subscribed.Joined()) world_.simulation.Broken("hub", "a subscriber is not taken");
    --world_.polite_to_come;
  }
  void OnData(Input& in) override { in.TakeAll(); }

 private:
  World& world_;
};

class Rude : public Session {
 public:
  explicit Rude(World* world) : world_(*world), key_(world->next_key++) {}
  ~Rude() override { std::erase(here(), this); }
  void OnOpen() override {
    here().push_back(this);
    SubscribeOptions options;
    options.slow = static_cast<SlowPolicy>(world_.random.Below(4));  // Not kConflate.
    options.queue_messages_max = static_cast<uint32_t>(world_.random.Between(1, 8));
    options.park_timeout = kParkTimeout;
    if (world_.random.Below(4) != 0) {
      const auto end = std::make_shared<AtItsEnd>(world_, key_);
      options.filter = [this, end](std::string_view, uint64_t) {
        end->was_called = true;
        return Wants();
      };
    }
    (void)Send(world_.hub, Subscribe(this, std::move(options)));
  }
  void On(Subscribed subscribed) {
    SendSome(world_.random.Below(4));
    if (!subscribed.Joined() || world_.random.Below(3) != 0) return;
    After(absl::Milliseconds(world_.random.Between(1, 200)), [this, subscribed] {
      Unsubscribe(*this, subscribed);
      SendSome(world_.random.Below(8));
    });
  }
  void OnData(Input& in) override {
    in.TakeAll();
    SendSome(world_.random.Below(4));
  }

 private:
  // Sends to any of the hearers.
  template <class F>
  static void SendOne(World& world, int64_t key, F&& send) {
    const auto to = static_cast<int64_t>(world.random.Below(world.hearers.size()));
    const Note note{key, to, world.streams.Next(key, to)};
    const Ref<Hearer>& target = world.hearers[static_cast<size_t>(to)];
    if (send(target, note) == Answer::kAccepted) world.streams.Sent(key, to);
  }
  // State of a filter. The session may be gone when it is destroyed, but if the filter was called,
  // its earlier messages have left in their order.
  struct AtItsEnd {
    AtItsEnd(World& in, int64_t of) : world(in), key(of) {}
    AtItsEnd(const AtItsEnd&) = delete;
    AtItsEnd& operator=(const AtItsEnd&) = delete;
    ~AtItsEnd() {
      if (!was_called) return;
      SendOne(world, key, [](const Ref<Hearer>& to, const Note& note) { return to.TrySend(note); });
    }
    World& world;
    const int64_t key;
    bool was_called = false;
  };

  void SendSome(uint64_t count) {
    for (; count > 0; --count) {
      const bool parks = world_.random.Below(2) == 0;
      SendOne(world_, key_, [&](const Ref<Hearer>& to, const Note& note) {
        return parks ? Send(to, note) : to.TrySend(note);
      });
    }
  }
  // The filter.
  bool Wants() {
    SendSome(world_.random.Below(3));
    if (world_.ends_left > 0 && world_.random.Below(32) == 0) {
      --world_.ends_left;
      Rude* const any = here()[world_.random.Below(here().size())];
      world_.random.Below(2) == 0 ? any->Abort() : any->Stop("a filter wants it");
      return true;
    }
    if (world_.MayThrow()) world_.Throw();
    return world_.random.Below(4) != 0;
  }
  std::vector<Rude*>& here() { return world_.here[&worker()]; }

  World& world_;
  const int64_t key_;
};

void HearAll(World& world, SimOs& machine) {
  Client client(machine, kPatience);
  if (!client.Connect("10.0.0.1:7001").ok()) {
    world.simulation.Broken("L5 progress", "a client is not let in");
    return;
  }
  for (int64_t number = 1; number <= world.messages && !world.simulation.Failed(); ++number) {
    const absl::StatusOr<std::string> line = client.ReadLine();
    const std::string begin = absl::StrCat("m ", number, " ");
    if (line.ok() && line->compare(0, begin.size(), begin) == 0) continue;
    world.simulation.Broken(
        "hub", absl::StrCat("a polite subscriber gets, in place of message ", number, ": ",
                            line.ok() ? line->substr(0, 20) : line.status().ToString()));
  }
}

// Reads, pauses, leaves.
void HearSome(World& world, SimOs& machine) {
  Client client(machine, kPatience);
  LimitBuffersBelow(client, world.random, 4'000);
  if (!client.Connect("10.0.0.1:7002").ok()) return;
  if (!client.Write("hello").ok()) return;
  int64_t last = 0;
  for (int64_t lines = world.random.Between(0, 100); lines > 0; --lines) {
    if (world.random.Below(16) == 0) {
      world.simulation.Sleep(absl::Milliseconds(world.random.Below(300)));
    }
    const absl::StatusOr<std::string> line = client.ReadLine();
    if (!line.ok()) return;  // The connection may end at any time.
    if (line->empty() || (*line)[0] != 'm') continue;
    const int64_t number = std::stoll(line->substr(2));
    if (number <= last) world.simulation.Broken("L2 order", "a message came twice, or too late");
    last = number;
  }
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 3));
  Options options = SmallOptions(workers);
  options.max_connections = 64;
  options.output_bytes_max = 64 * 1024;
  options.output_bytes_high = simulation.Amount("output_high", 500, 8'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  options.linger_timeout = absl::Milliseconds(simulation.Amount("linger_ms", 1, 500));
  World world(simulation);
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  world.slow_us = simulation.Amount("slow_us", 0, 500);
  world.messages = simulation.Amount("messages", 1, 200);
  world.throws_left = simulation.Amount("throws", 0, 10);
  world.ends_left = simulation.Amount("ends", 0, 6);
  world.hub = runtime.Spawn<Hub>(HubOptions{[&world](int64_t missed) {
    if (world.MayThrow()) world.Throw();
    return absl::StrCat("x ", missed, "\n");
  }});
  for (int64_t i = simulation.Amount("hearers", 1, 4); i > 0; --i) {
    SpawnOptions where;
    where.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 8));
    where.worker = static_cast<int>(i % workers);
    world.hearers.push_back(runtime.SpawnWith<Hearer>(where, &world));
  }
  world.polite_to_come = simulation.Amount("polite", 1, 3);
  runtime.Spawn<Crier>(&world);
  runtime.Listen<Polite>("10.0.0.1:7001", &world);
  runtime.Listen<Rude>("10.0.0.1:7002", &world);
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  {
    Crowd crowd(simulation, machine);
    for (int64_t i = world.polite_to_come; i > 0; --i) {
      crowd.Add(absl::StrCat("polite ", i), [&] { HearAll(world, machine); });
    }
    for (int64_t i = simulation.Amount("rude", 1, 12); i > 0; --i) {
      crowd.Add(absl::StrCat("rude ", i), [&] { HearSome(world, machine); });
    }
  }
  world.throws_left = world.ends_left = 0;
  site.End(absl::Minutes(1));
  const int64_t failed = ClosedFor(ConnectionsOf(site), CloseReason::kFailed);
  if (failed != world.thrown) {
    simulation.Broken("hub", absl::StrCat(world.thrown, " callbacks threw, and ", failed,
                                          " connections have failed"));
  }
  const HubTotals totals = HubLedger::Of(runtime);
  if (totals.published != world.published || totals.queued != 0 ||
      totals.due != totals.received + totals.missed + totals.conflated + totals.skipped) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
}

}  // namespace sluice::sim::callbacks_scenario
