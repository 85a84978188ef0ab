// Trees of actors that fail in every handler and constructor and are recreated, while others send
// to them. Refs and mailboxes stay, only the message being handled is lost, children end before
// their parents, the youngest first, and an actor that fails too often takes its parent with it.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::restarts_scenario {

namespace {

constexpr int64_t kNobody = -1;
constexpr int64_t kDrivers = 1'000'000;  // Keys of drivers begin here.
constexpr int64_t kSlackNs = 3'000'000;  // A worker's clock is its turn's, in milliseconds.

class Branch;

struct Chirp {
  int64_t life;
  int64_t number;
};
struct Query {
  using Reply = int64_t;
};
struct Note {
  int64_t from;
  int64_t number;
};
struct Go {};

// From a spawn to the end: one Ref, and any number of incarnations.
struct Life {
  Ref<Branch> ref;
  int64_t depth = 0;
  int64_t parent = kNobody;
  int64_t parent_incarnation = 0;
  RestartPolicy policy;
  Branch* branch = nullptr;
  int64_t incarnations = 0;
  int64_t last_number = 0;         // Number of its last chirp.
  std::vector<int64_t> children;   // Children of the current incarnation.
  std::vector<int64_t> failed_ns;  // Failures after which it was recreated.
  std::vector<int64_t> made_ns;    // Times when it was recreated.
  int64_t failing_ns = kNobody;    // When it last threw; kNobody: not pending.
  int64_t monitors = 0;            // Monitors without a Down yet.
  bool escalated = false;
  bool wished_to_stop = false;  // Called Stop in its destructor.
};

class Sink : public Actor {
 public:
  explicit Sink(Simulation* simulation) : simulation_(*simulation) {}
  void On(Chirp chirp) {
    Handling handling(simulation_, inside_, slot());
    int64_t& last = last_[chirp.life];
    if (chirp.number <= last) simulation_.Broken("L2 order", "a chirp overtook another one");
    last = chirp.number;
  }
  int64_t On(Query) { return 1; }

 private:
  Simulation& simulation_;
  bool inside_ = false;
  std::map<int64_t, int64_t> last_;
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()), streams(simulation) {}
  Life& At(int64_t life) { return lives[static_cast<size_t>(life)]; }
  // True: the actor takes messages, by its own mailbox word.
  bool Lives(int64_t life) {
    if (life >= kDrivers) return true;
    const Ref<Branch>& ref = At(life).ref;
    return ref.slot() != nullptr && ref.slot()->mailbox.Word().Generation() == ref.generation();
  }
  int64_t NewLife(int64_t depth, int64_t parent);
  void CheckRestart(Life& life);
  bool CheckDone();

  Site& site;
  Simulation& simulation;
  Streams streams;
  Ref<Sink> sink;
  std::vector<Life> lives;
  int64_t depth_max = 0;
  int64_t children_max = 0;
  int64_t failures_left = 0;
  int64_t spawns_left = 200;
  int64_t drivers_at_work = 0;
  bool over = false;
  std::set<const Branch*> standing;  // Constructed, and not destroyed.
};

// Captured by a callback: the actor must still exist when the callback is destroyed.
class Tie {
 public:
  Tie(World& world, const Branch* to) : world_(world), to_(to) {}
  ~Tie() {
    if (!world_.standing.contains(to_)) {
      world_.simulation.Broken("life", "what a callback captured is destroyed after its actor");
    }
  }
  Tie(const Tie&) = delete;
  Tie& operator=(const Tie&) = delete;

 private:
  World& world_;
  const Branch* const to_;
};

class Branch : public Actor {
 public:
  Branch(World* world, int64_t life)
      : world_(*world),
        random_(world->simulation.random()),
        life_(life),
        incarnation_(++world->At(life).incarnations) {
    me().ref = RefOf(this);
    Handling handling(world_.simulation, inside_, slot());
    if (incarnation_ > 1) world_.CheckRestart(me());
    if (me().wished_to_stop) Broken("life", "one that stopped in its destructor is restarted");
    MayFail(8);
    me().children.clear();
    me().branch = this;
    world_.standing.insert(this);
  }
  ~Branch() override {
    // After this a failed actor must not be recreated.
    if (random_.Below(40) == 0) {
      Stop("wished so in its destructor");
      me().wished_to_stop = true;
    }
    world_.standing.erase(this);
    for (const int64_t child : me().children) {
      if (world_.Lives(child) || world_.At(child).branch != nullptr) {
        Broken("life", "an actor is gone before its children");
      }
    }
    if (me().branch == this) me().branch = nullptr;
    ChirpOnce();
  }
  void OnStart() override {
    Handling handling(world_.simulation, inside_, slot());
    Every(absl::Milliseconds(random_.Between(1, 20)),
          [this, tie = std::make_unique<const Tie>(world_, this)] {
            Handling timing(world_.simulation, inside_, slot());
            CheckMine();
            ChirpOnce();
            MayFail(40);
          });
    for (uint64_t i = random_.Below(static_cast<uint64_t>(world_.children_max) + 1); i > 0; --i) {
      SpawnOne();
    }
    MayFail(10);
  }
  void OnStop() override {
    Handling handling(world_.simulation, inside_, slot());
    CheckMine();
    // All younger siblings of the same incarnation must have gone. At the drain's deadline all end
    // at once.
    if (!worker().ShuttingDown() && me().parent != kNobody &&
        world_.At(me().parent).incarnations == me().parent_incarnation) {
      const std::vector<int64_t>& all = world_.At(me().parent).children;
      for (auto younger = std::ranges::find(all, life_); younger != all.end(); ++younger) {
        if (*younger != life_ && world_.At(*younger).branch != nullptr) {
          Broken("life", "an actor stops before its younger sibling");
        }
      }
    }
    ChirpOnce();
    MayFail(10);
  }
  void OnDown(const Down&) override {
    Handling handling(world_.simulation, inside_, slot());
    CheckMine();
    if (random_.Below(2) == 0) SpawnOne();
    MayFail(20);
  }
  void On(Note note) {
    Handling handling(world_.simulation, inside_, slot());
    CheckMine();
    world_.streams.Received(note.from, life_, note.number);
    for (uint64_t i = random_.Below(4); i > 0; --i) ChirpOnce();
    if (random_.Below(4) == 0) {
      (void)Ask(
          world_.sink, Query{}, absl::Milliseconds(random_.Below(5)),
          [this, tie = std::make_unique<const Tie>(world_, this)](const absl::StatusOr<int64_t>&) {
            Handling answering(world_.simulation, inside_, slot());
            CheckMine();
            MayFail(10);
          });
    }
    MayFail(12);
  }
  int64_t incarnation() const { return incarnation_; }

 private:
  Life& me() { return world_.At(life_); }
  void Broken(std::string_view law, std::string_view what) { world_.simulation.Broken(law, what); }
  void CheckMine() {
    if (me().branch != this) Broken("L10 handles", "a handler runs in an incarnation that is gone");
  }
  void ChirpOnce() {
    if (Send(world_.sink, Chirp{life_, me().last_number + 1}) == Answer::kAccepted) {
      ++me().last_number;
    }
  }
  void MayFail(uint64_t one_in) {
    if (world_.failures_left == 0 || random_.Below(one_in) != 0) return;
    --world_.failures_left;
    me().failing_ns = world_.simulation.NowNs();
    ThrowSomething(random_);
  }
  void SpawnOne() {
    if (me().depth >= world_.depth_max || world_.spawns_left == 0) return;
    const int64_t child = world_.NewLife(me().depth + 1, life_);
    world_.At(child).parent_incarnation = incarnation_;
    me().children.push_back(child);
    const auto workers = static_cast<uint64_t>(runtime().WorkerCount());
    const RestartPolicy policy = world_.At(child).policy;
    const Ref<Branch> ref = SpawnRestarting<Branch>(
        policy,
        {.name = "",
         .mailbox_messages_max = static_cast<uint32_t>(random_.Between(1, 4)),
         .worker = static_cast<int>(random_.Below(workers + 1)) - 1},
        &world_, child);
    world_.At(child).ref = ref;
    Monitor(ref);
  }

  World& world_;
  Random& random_;
  const int64_t life_;
  const int64_t incarnation_;
  bool inside_ = false;
};

int64_t World::NewLife(int64_t depth, int64_t parent) {
  --spawns_left;
  Random& random = simulation.random();
  Life life;
  life.depth = depth;
  life.parent = parent;
  life.policy.restarts_max = static_cast<uint32_t>(random.Below(5));
  life.policy.within =
      random.Below(2) == 0 ? absl::Hours(100) : absl::Milliseconds(random.Between(1, 100));
  life.policy.backoff_min = absl::Milliseconds(random.Below(20));
  life.policy.backoff_max = absl::Milliseconds(random.Between(20, 100));
  lives.push_back(std::move(life));
  return static_cast<int64_t>(lives.size()) - 1;
}

// Called when an actor is recreated: its policy must allow it, and the back-off must be over.
void World::CheckRestart(Life& life) {
  const int64_t now_ns = simulation.NowNs();
  const int64_t within_ns = absl::ToInt64Nanoseconds(life.policy.within);
  const int64_t failed_ns = std::exchange(life.failing_ns, kNobody);
  // If a child made it fail, the time is unknown here: then this is not checked.
  const bool known = failed_ns != kNobody && std::ranges::count(life.failed_ns, kNobody) == 0;
  const int64_t counted = std::ranges::count_if(life.failed_ns, [&](int64_t before_ns) {
    return failed_ns - before_ns < within_ns - kSlackNs;
  });
  if (known && counted >= int64_t{life.policy.restarts_max}) {
    simulation.Broken("restart", "an actor is recreated more often than it may be");
  }
  if (known && counted > 0 && !over) {
    const absl::Duration backoff =
        std::min(life.policy.backoff_max, life.policy.backoff_min * (int64_t{1} << (counted - 1)));
    if (now_ns - failed_ns < absl::ToInt64Nanoseconds(backoff) - kSlackNs) {
      simulation.Broken("restart", "an actor is recreated before its back-off is over");
    }
  }
  life.failed_ns.push_back(failed_ns);
  life.made_ns.push_back(now_ns);
}

// Sends to all lives, and monitors them all.
class Driver : public Actor {
 public:
  Driver(World* world, int64_t key, int64_t rounds) : world_(*world), key_(key), rounds_(rounds) {}
  void OnStart() override { On(Go{}); }
  void On(Go) {
    Handling handling(world_.simulation, inside_, slot());
    for (; monitored_ < static_cast<int64_t>(world_.lives.size()); ++monitored_) {
      if (!world_.At(monitored_).ref) continue;  // The spawn failed, or is under way.
      watching_[Monitor(world_.At(monitored_).ref)] = monitored_;
      ++world_.At(monitored_).monitors;
    }
    for (uint64_t i = world_.simulation.random().Below(5); i > 0; --i) {
      const auto life = static_cast<int64_t>(world_.simulation.random().Below(world_.lives.size()));
      const Answer answer = Send(world_.At(life).ref, Note{key_, world_.streams.Next(key_, life)});
      if (answer == Answer::kAccepted) {
        world_.streams.Sent(key_, life);
      } else if (world_.Lives(life) && answer != Answer::kOverloaded) {
        world_.simulation.Broken("L8 death", "a Send to one that lives is not accepted");
      }
    }
    if (--rounds_ > 0) {
      After(absl::Microseconds(world_.simulation.random().Below(20'000)), [this] { On(Go{}); });
    } else {
      --world_.drivers_at_work;
    }
  }
  void OnDown(const Down& down) override {
    Handling handling(world_.simulation, inside_, slot());
    const auto found = watching_.find(down.monitor);
    if (found == watching_.end()) {
      world_.simulation.Broken("L8 death", "a monitor is notified of an end twice");
      return;
    }
    Life& life = world_.At(found->second);
    --life.monitors;
    if (world_.Lives(found->second)) {
      world_.simulation.Broken("L8 death", "a Down of an actor that is only recreated");
    }
    if (absl::StartsWith(down.text, "it failed again after")) {
      life.escalated = true;
      // The last restarts must all have been within the policy's time.
      const size_t most = life.policy.restarts_max;
      const absl::Duration since =
          most == 0 || life.failing_ns == kNobody || life.made_ns.size() < most
              ? absl::ZeroDuration()
              : absl::Nanoseconds(life.failing_ns - life.made_ns[life.made_ns.size() - most]);
      if (life.made_ns.size() < most || since > life.policy.within + absl::Milliseconds(3)) {
        world_.simulation.Broken("restart", "an actor is given up though it may be recreated");
      }
    }
    watching_.erase(found);
  }

 private:
  World& world_;
  const int64_t key_;
  int64_t rounds_;
  int64_t monitored_ = 0;
  bool inside_ = false;
  std::map<MonitorId, int64_t> watching_;
};

bool World::CheckDone() {
  if (drivers_at_work > 0) return false;
  for (int64_t life = 0; life < static_cast<int64_t>(lives.size()); ++life) {
    // Either it must still be recreated, or all monitors must get their Down.
    if (Lives(life) ? At(life).branch == nullptr : At(life).monitors > 0) return false;
  }
  for (const Life& life : lives) {
    if (!life.escalated || life.parent == kNobody) continue;
    const Branch* const parent = At(life.parent).branch;
    // Until the parent is notified, a moment passes.
    if (parent != nullptr && parent->incarnation() == life.parent_incarnation) return false;
  }
  return streams.Missing([this](int64_t key) { return Lives(key); }) == 0;
}

}  // namespace

void Run(Simulation& simulation) {
  const int64_t workers = simulation.Amount("workers", 1, 4);
  Options options = SmallOptions(static_cast<int>(workers));
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 16));
  options.outbox_messages_max = static_cast<uint32_t>(simulation.Amount("outbox", 1, 16));
  Site site(simulation, options);
  World world(site);
  world.depth_max = simulation.Amount("depth", 0, 3);
  world.children_max = simulation.Amount("children", 0, 3);
  world.failures_left = simulation.Amount("failures", 0, 60);
  const int64_t roots = simulation.Amount("roots", 1, 4);
  const int64_t drivers = simulation.Amount("drivers", 1, 4);
  const int64_t rounds = simulation.Amount("rounds", 1, 40);
  const bool early_drain = simulation.Amount("early_drain", 0, 3) == 3;
  world.drivers_at_work = drivers;
  const auto on = [&](int64_t number, int64_t mailbox) {
    return SpawnOptions{.name = "",
                        .mailbox_messages_max = static_cast<uint32_t>(mailbox),
                        .worker = static_cast<int>(number % workers)};
  };
  world.sink =
      site.runtime().SpawnWith<Sink>(on(0, simulation.Amount("mailbox", 1, 4)), &simulation);
  for (int64_t i = 0; i < roots; ++i) {
    const int64_t life = world.NewLife(0, kNobody);
    world.At(life).ref =
        site.runtime().SpawnRestarting<Branch>(world.At(life).policy, on(i, 2), &world, life);
  }
  for (int64_t i = 0; i < drivers; ++i) {
    site.runtime().SpawnWith<Driver>(on(i + 1, 4), &world, kDrivers + i, rounds);
  }
  if (!site.Start()) return;
  if (early_drain) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Below(200)));
  } else if (Happens(
                 site,
                 "what was sent to live actors is handled, and actors that must fail have failed",
                 [&] { return world.CheckDone(); })) {
    // The sink is quick: no message of an ended actor, even from its destructor, needs to be
    // dropped.
    for (int64_t i = 0; i < workers; ++i) {
      const Ledger& ledger = site.runtime().worker(static_cast<int>(i)).ledger();
      if (ledger.parked_dropped[static_cast<size_t>(DropReason::kSenderEnded)] == 0) continue;
      simulation.Broken("L5 progress", "a message of one that ended was not sent in time");
    }
  }
  world.over = true;
  site.End();
}

}  // namespace sluice::sim::restarts_scenario
