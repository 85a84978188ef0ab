// Crowds of actors come and go on one worker after another, up to actors_max: as roots, placed, and
// as children. A spawn is refused only when actors_max live, on whichever workers; and sends,
// monitors and stops for ended actors never reach the actors that now have their slots.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::spawns_scenario {

namespace {

struct Word {
  int64_t to;
};
struct Breed {
  int64_t children;
};
struct Gossip {
  int64_t words;
};

class Cell;

struct Known {
  int64_t key;
  Ref<Cell> ref;
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()) {}
  Known Any() { return known[simulation.random().Below(known.size())]; }
  // By index: while Stop() runs, others may be spawned.
  void StopSome(bool all) {
    for (size_t i = 0; i < known.size(); ++i) {
      const Ref<Cell> ref = known[i].ref;
      if (all || simulation.random().Below(2) == 0) ref.Stop();
    }
  }
  void Spawned(int64_t key, const Ref<Cell>& ref);

  Site& site;
  Simulation& simulation;
  int64_t actors_max = 0;
  int64_t last_key = 0;
  int64_t bred = 0;  // Spawned by the last Breed.
  std::vector<Known> known;
};

class Cell : public Actor {
 public:
  Cell(World* world, int64_t key) : world_(*world), key_(key) {}
  void On(Word word) {
    if (word.to == key_) return;
    world_.simulation.Broken("L10 handles",
                             absl::StrCat("a word for ", word.to, " reached ", key_));
  }
  void On(Breed breed) {
    world_.bred = 0;
    for (int64_t i = 0; i < breed.children; ++i) {
      const int64_t key = ++world_.last_key;
      const bool here = world_.simulation.random().Below(4) != 0;
      const int worker = here ? -1 : Elsewhere();
      world_.Spawned(key, SpawnWith<Cell>({.name = "", .mailbox_messages_max = 2, .worker = worker},
                                          &world_, key));
    }
  }
  void On(Gossip gossip) {
    for (int64_t i = 0; i < gossip.words; ++i) {
      const Known known = world_.Any();
      switch (world_.simulation.random().Below(4)) {
        case 0:
          Demonitor(Monitor(known.ref));
          break;
        case 1:
          Monitor(known.ref);
          break;
        case 2:
          (void)known.ref.TrySend(Word{known.key});  // The target may have ended.
          break;
        default:
          if (Send(known.ref, Word{known.key}) == Answer::kOverloaded) return;
      }
    }
  }

 private:
  int Elsewhere() {
    return static_cast<int>(world_.simulation.random().Below(runtime().options().workers));
  }

  World& world_;
  const int64_t key_;
};

void World::Spawned(int64_t key, const Ref<Cell>& ref) {
  if (ref) {
    ++bred;
    known.push_back({key, ref});
    return;
  }
  // No other thread runs between the refusal and this check.
  if (site.runtime().ActorCount() >= actors_max) return;
  simulation.Broken("spawns", absl::StrCat("a spawn is refused while ", site.runtime().ActorCount(),
                                           " of ", actors_max, " actors live"));
}

void PlaceRoots(World& world, int64_t count, int worker) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t key = ++world.last_key;
    world.Spawned(key, world.site.runtime().SpawnWith<Cell>(
                           {.name = "", .mailbox_messages_max = 2, .worker = worker}, &world, key));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 4));
  Options options = SmallOptions(workers);
  options.actors_max = static_cast<uint32_t>(simulation.Amount("actors", 200, 700));
  options.linger_timeout = absl::Milliseconds(5);
  Site site(simulation, options);
  World world(site);
  world.actors_max = options.actors_max;
  if (!site.Start()) return;
  Random& random = simulation.random();
  const auto any_worker = [&] { return static_cast<int>(random.Below(workers)); };
  const int64_t rounds = simulation.Amount("rounds", 1, 12);
  for (int64_t round = 0; round < rounds && !simulation.Failed(); ++round) {
    // A draw per statement: compilers differ in the order of two in one.
    const int64_t roots = random.Between(1, world.actors_max);
    PlaceRoots(world, roots, any_worker());
    simulation.Sleep(absl::Microseconds(random.Between(0, 2'000)));
    for (int64_t i = random.Between(0, 8); i > 0; --i) {
      // Each target may have ended.
      const Known breeder = world.Any();
      (void)breeder.ref.TrySend(Breed{random.Between(0, world.actors_max)});
      const Known gossip = world.Any();
      (void)gossip.ref.TrySend(Gossip{random.Between(0, 16)});
      const Known known = world.Any();
      (void)known.ref.TrySend(Word{known.key});
    }
    simulation.Sleep(absl::Microseconds(random.Between(0, 2'000)));
    const bool all = random.Below(2) == 0;
    world.StopSome(all);
    if (all) Happens(site, "all end", [&] { return site.runtime().ActorCount() == 0; });
  }
  world.StopSome(/*all=*/true);
  Happens(site, "all end", [&] { return site.runtime().ActorCount() == 0; });
  // Now each worker in turn gets all actors.
  for (int worker = 0; worker < workers && !simulation.Failed(); ++worker) {
    PlaceRoots(world, 1, worker);
    const Ref<Cell> parent = world.known.back().ref;
    world.bred = -1;
    (void)parent.TrySend(Breed{world.actors_max - 1});  // A refusal is seen in the next line.
    Happens(site, "one actor has actors_max - 1 children",
            [&] { return world.bred == world.actors_max - 1; });
    parent.Stop();
    Happens(site, "all end", [&] { return site.runtime().ActorCount() == 0; });
  }
  site.Look();
  site.End();
}

}  // namespace sluice::sim::spawns_scenario
