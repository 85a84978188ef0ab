// Actors wait for each other in a ring, in several rings that lead into each other, or in no ring.
// Each ring is found and named in time, nothing else is named, and after the policy has acted all
// actors go on.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::deadlock_scenario {

namespace {

constexpr int64_t kNobody = -1;

class Member;

struct Note {
  int64_t from;
  int64_t number;
};

std::string NameOf(int64_t key) { return absl::StrCat(key, " of all"); }

int64_t KeyOf(const std::string& name) { return std::stoll(name); }

// The actor that an actor waits for, and since when.
struct Wait {
  int64_t target = kNobody;
  uint32_t episode = 0;
  int64_t since_ns = 0;
  bool told = false;  // Named as a part of a cycle.
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()) {}
  void LookAfterStep();
  void CheckFound(const std::string& named);
  Wait WaitOf(int64_t key) const;
  // The waiting actors in a ring with `first`, from it on; empty: it is in no ring.
  std::vector<int64_t> RingOf(int64_t first) const;
  std::string TextOf(const std::vector<int64_t>& ring) const;
  bool AllGoOn() const;

  Site& site;
  Simulation& simulation;
  std::vector<Ref<Member>> links;  // Indexed by key, as all that follow.
  std::vector<std::vector<int64_t>> next;
  std::vector<bool> done;  // All its messages have left, or the actor has ended.
  std::vector<Wait> waits;
  std::map<std::pair<int64_t, int64_t>, int64_t> last;
  int64_t burst = 1;
  int64_t accepted = 0;
  int64_t handled = 0;
  int64_t found = 0;
  int64_t bound_ns = 0;  // A ring must be named within this time.
};

class Member : public Actor {
 public:
  Member(World* world, int64_t key, int64_t rounds) : world_(*world), key_(key), rounds_(rounds) {}
  ~Member() override { world_.done[static_cast<size_t>(key_)] = true; }
  void OnStart() override { Flood(); }
  void On(Note note) {
    Handling handling(world_.simulation, inside_, slot());
    ++world_.handled;
    int64_t& last = world_.last[{note.from, key_}];
    if (note.number <= last) world_.simulation.Broken("L2 order", "a message overtook another one");
    last = note.number;
  }

 private:
  void Flood() {
    Handling handling(world_.simulation, inside_, slot());
    for (const int64_t to : world_.next[static_cast<size_t>(key_)]) {
      for (int64_t i = 0; i < world_.burst; ++i) {
        const Answer answer = Send(world_.links[static_cast<size_t>(to)], Note{key_, ++number_});
        world_.accepted += answer == Answer::kAccepted;
        if (answer == Answer::kFull) world_.simulation.Broken("answers", "Send answers full");
      }
    }
    // Timers wait while the actor is parked.
    After(absl::Microseconds(world_.simulation.random().Below(200'000)), [this] {
      if (--rounds_ > 0) {
        Flood();
      } else {
        world_.done[static_cast<size_t>(key_)] = true;
      }
    });
  }

  World& world_;
  const int64_t key_;
  int64_t rounds_;
  int64_t number_ = 0;
  bool inside_ = false;
};

std::vector<int64_t> World::RingOf(int64_t first) const {
  std::vector<int64_t> ring;
  for (int64_t at = first; at != kNobody && ring.size() < waits.size();) {
    ring.push_back(at);
    at = waits[static_cast<size_t>(at)].target;
    if (at == first) return ring;
  }
  return {};
}

// As Runtime::LastWaitCycle() has it: starts at the actor that was spawned first.
std::string World::TextOf(const std::vector<int64_t>& ring) const {
  std::vector<int64_t> keys = ring;
  std::rotate(
      keys.begin(),
      std::ranges::min_element(
          keys, {}, [this](int64_t key) { return links[static_cast<size_t>(key)].slot()->id; }),
      keys.end());
  std::string text;
  for (const int64_t key : keys) absl::StrAppend(&text, NameOf(key), " -> ");
  return text + NameOf(keys.front());
}

Wait World::WaitOf(int64_t key) const {
  const Ref<Member>& link = links[static_cast<size_t>(key)];
  const Slot* const slot = link.slot();
  Wait wait;
  if (slot->generation != link.generation() || slot->extra == nullptr) return wait;
  const Outbox& outbox = slot->extra->outbox;
  wait.episode = outbox.episode;
  wait.since_ns = simulation.NowNs();
  if (slot->parked && outbox.count > 0 && outbox.WaitsForCredit()) {
    wait.target =
        std::ranges::find(links, outbox.list.Front()->target, &Ref<Member>::slot) - links.begin();
  }
  return wait;
}

// A cycle was found in the last step. Each wait in it stood before that step, or began in it.
void World::CheckFound(const std::string& named) {
  std::vector<std::string> names = absl::StrSplit(named, " -> ");
  if (names.size() < 3 || names.front() != names.back()) {
    simulation.Broken("deadlock", "what is named is no cycle: " + named);
  }
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const int64_t from = KeyOf(names[i]);
    const Wait& before = waits[static_cast<size_t>(from)];
    if (before.target == KeyOf(names[i + 1]) || before.episode != WaitOf(from).episode) continue;
    simulation.Broken("deadlock", absl::StrCat("a cycle is found that does not stand, as ",
                                               names[i], " waits for ", WaitOf(from).target,
                                               " and waited for ", before.target, ": ", named));
  }
}

void World::LookAfterStep() {
  const int64_t now = site.runtime().WaitCyclesFound();
  if (now == found + 1) CheckFound(site.runtime().LastWaitCycle());
  for (int64_t key = 0; key < static_cast<int64_t>(waits.size()); ++key) {
    Wait& before = waits[static_cast<size_t>(key)];
    const Wait wait = WaitOf(key);
    if (wait.target != before.target || wait.episode != before.episode) before = wait;
  }
  // If several were found, only the last can be asked for.
  for (int64_t key = 0; now != found && key < static_cast<int64_t>(waits.size()); ++key) {
    const std::vector<int64_t> ring = RingOf(key);
    if (ring.empty()) continue;
    if (now > found + 1 || TextOf(ring) == site.runtime().LastWaitCycle()) {
      for (const int64_t member : ring) waits[static_cast<size_t>(member)].told = true;
    }
  }
  found = now;
  for (int64_t key = 0; key < static_cast<int64_t>(waits.size()); ++key) {
    const std::vector<int64_t> ring = RingOf(key);
    if (ring.empty()) continue;
    int64_t since_ns = 0;
    bool told = true;
    for (const int64_t member : ring) {
      since_ns = std::max(since_ns, waits[static_cast<size_t>(member)].since_ns);
      told = told && waits[static_cast<size_t>(member)].told;
    }
    if (!told && simulation.NowNs() - since_ns > bound_ns) {
      simulation.Broken("deadlock",
                        absl::StrCat("a cycle stands for ", (simulation.NowNs() - since_ns) / 1'000,
                                     " us and is not named: ", TextOf(ring)));
    }
  }
}

bool World::AllGoOn() const {
  if (std::ranges::find(done, false) != done.end()) return false;
  int64_t dropped = 0;
  for (int i = 0; i < site.runtime().WorkerCount(); ++i) {
    const Ledger& ledger = site.runtime().worker(i).ledger();
    dropped += ledger.DroppedTotal() + ledger.ParkedDroppedTotal();
  }
  return handled + dropped == accepted;
}

// Draws a ring; or rings that share actors, with tails that lead into them; or no ring.
void Draw(World& world, int64_t actors, int64_t shape) {
  Random& random = world.simulation.random();
  world.next.resize(static_cast<size_t>(actors));
  for (int64_t key = 0; key < actors; ++key) {
    std::vector<int64_t>& next = world.next[static_cast<size_t>(key)];
    if (shape == 0) {
      next.push_back((key + 1) % actors);
      continue;
    }
    for (int64_t i = random.Between(1, 3); i > 0; --i) {
      const int64_t to = random.Between(0, actors - 1);
      if (shape == 1 ? to != key : to > key) next.push_back(to);
    }
  }
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 4));
  const int64_t probe_after_ms = simulation.Amount("probe_after_ms", 1, 100);
  Options options = SmallOptions(workers);
  options.probe_after = absl::Milliseconds(probe_after_ms);
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 16));
  options.on_wait_cycle = static_cast<OnWaitCycle>(simulation.Amount("policy", 0, 2));
  const int64_t actors = simulation.Amount("actors", 2, 12);
  const int64_t shape = simulation.Amount("shape", 0, 2);
  const int64_t mailbox = simulation.Amount("mailbox", 1, 3);
  const int64_t rounds = simulation.Amount("rounds", 1, 4);
  Site site(simulation, options);
  World world(site);
  world.burst = simulation.Amount("burst", 1, 8);
  // The last actor to wait probes after probe_after, and once more at once: two rounds of turns.
  world.bound_ns = (probe_after_ms + 10) * 1'000'000;
  Draw(world, actors, shape);
  world.done.resize(static_cast<size_t>(actors));
  world.waits.resize(static_cast<size_t>(actors));
  for (int64_t key = 0; key < actors; ++key) {
    world.links.push_back(
        site.runtime().SpawnWith<Member>({.name = NameOf(key),
                                          .mailbox_messages_max = static_cast<uint32_t>(mailbox),
                                          .worker = static_cast<int>(key % workers)},
                                         &world, key, rounds));
  }
  simulation.AfterEachStep([&world] { world.LookAfterStep(); });
  if (!site.Start()) return;
  if (options.on_wait_cycle == OnWaitCycle::kReport) {
    // A cycle that is only reported stands until one of its actors ends.
    while (!simulation.Failed() && !world.AllGoOn()) {
      simulation.Sleep(absl::Milliseconds(2 * probe_after_ms + 300));
      for (int64_t key = 0; key < actors; ++key) {
        const std::vector<int64_t> ring = world.RingOf(key);
        if (ring.empty()) continue;
        world.links[static_cast<size_t>(ring.back())].Stop();
        break;
      }
      if (simulation.NowNs() > int64_t{600} * 1'000'000'000) {
        simulation.Broken("L5 progress", "not everybody goes on\n" + site.runtime().Dump());
      }
    }
  } else {
    Happens(
        site, "everybody goes on", [&] { return world.AllGoOn(); }, absl::Minutes(5));
  }
  site.End();
  if (shape == 2 && site.runtime().WaitCyclesFound() > 0) {
    simulation.Broken("deadlock", "a cycle where none can be: " + site.runtime().LastWaitCycle());
  }
}

}  // namespace sluice::sim::deadlock_scenario
