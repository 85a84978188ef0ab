// Actors all write to each other through small mailboxes, lanes and outboxes, while some of them
// end and others take their places. No message is lost, misordered, misdirected or handled during
// another one, and each monitor is notified of each end once.
#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/watch.h"

namespace sluice::sim::messages_scenario {

namespace {

constexpr int64_t kNobody = -1;
constexpr int64_t kOutside = 1'000'000;  // Keys of threads begin here.

class Node;

struct Go {};
struct Note {
  int64_t from;
  int64_t to;
  int64_t number;
};
struct Parcel {
  Note note;
  std::string load;
};
struct Query {
  using Reply = int64_t;
  Note note;
};

struct Life {
  Ref<Node> ref;
  int64_t parent = kNobody;
  Node* node = nullptr;  // Null: the actor is not there.
  bool ending = false;   // The actor was told to end, or fails.
};

struct World {
  explicit World(Site& at) : site(at), simulation(at.simulation()), streams(simulation) {}
  // An actor that ends takes its children with it.
  bool Lives(int64_t key) const {
    for (; key != kNobody; key = lives[static_cast<size_t>(key)].parent) {
      if (key >= kOutside) return true;
      if (lives[static_cast<size_t>(key)].ending) return false;
    }
    return !over;
  }
  Life& At(int64_t key) { return lives[static_cast<size_t>(key)]; }
  int64_t Any() { return static_cast<int64_t>(simulation.random().Below(lives.size())); }
  SpawnOptions Where() {
    Random& random = simulation.random();
    SpawnOptions where;
    where.mailbox_messages_max = static_cast<uint32_t>(random.Between(1, mailbox_max));
    where.worker =
        static_cast<int>(random.Below(static_cast<uint64_t>(site.runtime().WorkerCount())));
    return where;
  }
  // In the middle of a handler, messages sent to other workers are still staged here: meanwhile
  // actors there end, and others take their slots.
  void Spend() {
    if (slow_us == 0 || simulation.random().Below(8) != 0) return;
    simulation.Sleep(absl::Microseconds(simulation.random().Between(1, slow_us)));
  }
  bool AllDone() const;

  Site& site;
  Simulation& simulation;
  Streams streams;
  std::vector<Life> lives;  // By key.
  int64_t mortals_from = 0;
  bool over = false;  // The drain has begun: any actor may end.
  int64_t mailbox_max = 0;
  int64_t slow_us = 0;
  int64_t rounds = 0;
  int64_t spawns_left = 0;
  int64_t at_work = 0;  // Immortal actors and threads at work.
};

class Node : public Actor {
 public:
  // A mortal actor may end; others live as long as the runtime.
  Node(World* world, int64_t key, bool mortal)
      : world_(*world),
        random_(world->simulation.random()),
        key_(key),
        mortal_(mortal),
        rounds_(world->rounds) {
    // The parent gets the Ref only after this constructor, but others may send during it.
    world_.At(key_).ref = RefOf(this);
    world_.At(key_).node = this;
    Handling handling(world_.simulation, inside_, slot());
    SendInARow();
  }
  ~Node() override {
    Handling handling(world_.simulation, inside_, slot());
    world_.At(key_).ending = true;
    world_.At(key_).node = nullptr;
    SendInARow();
  }
  void OnStart() override {
    Handling handling(world_.simulation, inside_, slot());
    Next();
  }
  void OnStop() override {
    Handling handling(world_.simulation, inside_, slot());
    world_.At(key_).ending = true;
    SendOne();
  }
  void OnDown(const Down& down) override {
    Handling handling(world_.simulation, inside_, slot());
    const auto found = watching_.find(down.monitor);
    if (found == watching_.end()) {
      Broken("L8 death",
             "a monitor is notified of an end twice, or of one that it did not monitor");
      return;
    }
    if (world_.At(found->second).node != nullptr) Broken("L8 death", "a Down of one that is there");
    gone_.insert(found->second);
    watching_.erase(found);
    SpawnOne();
  }
  void On(Go) {
    Handling handling(world_.simulation, inside_, slot());
    for (uint64_t i = random_.Below(6); i > 0; --i) SendOne();
    if (random_.Below(4) == 0) SpawnOne();
    if (random_.Below(4) == 0) WatchOne();
    world_.Spend();
    if (mortal_ && random_.Below(6) == 0) EndNow();
    if (--rounds_ > 0) {
      Next();
    } else if (!mortal_) {
      --world_.at_work;
    }
  }
  void On(Note note) {
    Handling handling(world_.simulation, inside_, slot());
    Receive(note);
    world_.Spend();
    if (mortal_ && random_.Below(10) == 0) EndNow();
  }
  void On(Parcel parcel) {
    Handling handling(world_.simulation, inside_, slot());
    Receive(parcel.note);
    if (parcel.load != Load(parcel.note)) Broken("L1 ledger", "a message changed on its way");
  }
  void On(Query query, Promise<int64_t> promise) {
    Handling handling(world_.simulation, inside_, slot());
    Receive(query.note);
    switch (random_.Below(4)) {
      case 0:
        return;  // The promise is dropped.
      case 1:
        promise.Resolve(query.note.number);
        return;
      case 2:
        promise.Fail(absl::UnavailableError("not today"));
        return;
      default:
        late_.emplace_back(std::move(promise), query.note.number);
        After(absl::Microseconds(random_.Below(8'000)), [this] {
          Handling answering(world_.simulation, inside_, slot());
          late_.back().first.Resolve(late_.back().second);
          late_.pop_back();
        });
    }
  }

  // True: the actor still waits for a notification that must come.
  bool Waits() const {
    return open_asks_ > 0 || std::ranges::any_of(watching_, [this](const auto& watched) {
             return !world_.Lives(watched.second);
           });
  }

 private:
  void Broken(std::string_view law, std::string_view what) {
    world_.simulation.Broken(law, absl::StrCat("actor ", key_, ": ", ToAbsl(what)));
  }
  void Next() {
    if (random_.Below(3) == 0 || Send(RefOf(this), Go{}) != Answer::kAccepted) {
      After(absl::Microseconds(random_.Below(4'000)), [this] { On(Go{}); });
    }
  }
  static std::string Load(const Note& note) {
    return std::string(static_cast<size_t>(note.number * 37 % 500),
                       static_cast<char>('a' + note.from % 26));
  }
  void SendOne() {
    const int64_t to = world_.Any();
    // A copy: others may add lives during a system call.
    const Ref<Node> target = world_.At(to).ref;
    // Send only goes from a lower key to a higher one: no cycle of waits is possible.
    const bool may_park = to > key_ && random_.Below(8) != 0;
    const Note note{key_, to, world_.streams.Next(key_, to)};
    Answer answer;
    switch (random_.Below(6)) {
      case 0:
        answer = may_park ? Send(target, Parcel{note, Load(note)})
                          : target.TrySend(Parcel{note, Load(note)});
        break;
      case 1: {
        const Recipient<Note> recipient(target);
        answer = may_park ? Send(recipient, note) : recipient.TrySend(note);
        break;
      }
      case 2:
        if (to > key_) {
          AskOne(note, target);
          return;
        }
        [[fallthrough]];
      default:
        answer = may_park ? Send(target, note) : target.TrySend(note);
    }
    Answered(answer, to, may_park);
  }
  // Sends to two targets: a message parked for the first holds up those for the second, though the
  // second has room.
  void SendInARow() {
    if (random_.Below(3) != 0) return;
    const int64_t first = world_.Any();
    const int64_t second = world_.Any();
    for (uint64_t i = random_.Below(8); i > 0; --i) {
      const int64_t to = random_.Below(2) == 0 ? first : second;
      const Ref<Node> target = world_.At(to).ref;
      const bool may_park = to > key_ && random_.Below(3) != 0;
      const Note note{key_, to, world_.streams.Next(key_, to)};
      Answered(may_park ? Send(target, note) : target.TrySend(note), to, may_park);
    }
  }
  void Answered(Answer answer, int64_t to, bool may_park) {
    if (answer == Answer::kAccepted) {
      world_.streams.Sent(key_, to);
    } else if (answer == Answer::kFull && may_park) {
      Broken("answers", "Send answered full");
    } else if (answer == Answer::kClosed && world_.Lives(to)) {
      Broken("L8 death", absl::StrCat("a send to ", to, ", which lives, answered closed"));
    }
  }
  void AskOne(const Note& note, const Ref<Node>& target) {
    // An hour never passes: if the question or its promise is dropped, the reply must say so.
    const absl::Duration timeout =
        random_.Below(4) == 0 ? absl::Hours(1) : absl::Microseconds(random_.Below(10'000));
    const int64_t deadline_ns = world_.simulation.NowNs() + absl::ToInt64Nanoseconds(timeout);
    const Answer answer = Ask(
        target, Query{note}, timeout,
        [this, note, deadline_ns, heard = false](const absl::StatusOr<int64_t>& reply) mutable {
          Handling handling(world_.simulation, inside_, slot());
          if (std::exchange(heard, true)) Broken("asks", "a question is answered twice");
          --open_asks_;
          if (reply.ok() && *reply != note.number) Broken("asks", "the answer of another question");
          if (absl::IsDeadlineExceeded(reply.status()) && world_.simulation.NowNs() < deadline_ns) {
            Broken("asks", "a deadline comes early");
          }
        });
    if (answer == Answer::kAccepted) ++open_asks_;
    Answered(answer, note.to, /*may_park=*/true);
  }
  void Receive(const Note& note) {
    if (note.to != key_) {
      Broken("L10 handles", absl::StrCat("it got a message for ", note.to));
      return;
    }
    if (gone_.contains(note.from)) Broken("L8 death", "a message comes after the Down");
    world_.streams.Received(note.from, key_, note.number);
  }
  void SpawnOne() {
    if (world_.spawns_left == 0 || !world_.Lives(key_)) return;
    --world_.spawns_left;
    const auto key = static_cast<int64_t>(world_.lives.size());
    world_.lives.emplace_back().parent = key_;
    SpawnOptions where = world_.Where();
    // On the own worker the slot of the last actor to end is reused at once.
    if (random_.Below(2) == 0) where.worker = worker().Index();
    const Ref<Node> child = SpawnWith<Node>(where, &world_, key, /*mortal=*/true);
    world_.At(key).ref = child;
    if (!child) world_.At(key).ending = true;
    watching_[Monitor(child)] = key;
  }
  void WatchOne() {
    const int64_t key = world_.Any();
    const MonitorId id = Monitor(world_.At(key).ref);
    if (random_.Below(3) == 0) {
      Demonitor(id);
    } else {
      watching_[id] = key;
    }
  }
  void EndNow() {
    world_.At(key_).ending = true;
    if (random_.Below(2) == 0) ThrowSomething(random_);
    Stop("it was time");
  }

  World& world_;
  Random& random_;
  const int64_t key_;
  const bool mortal_;
  int64_t rounds_;
  bool inside_ = false;
  int64_t open_asks_ = 0;
  std::map<MonitorId, int64_t> watching_;
  std::set<int64_t> gone_;  // Actors of which a Down came.
  std::vector<std::pair<Promise<int64_t>, int64_t>> late_;
};

bool World::AllDone() const {
  if (at_work > 0) return false;
  for (int64_t key = 0; key < static_cast<int64_t>(lives.size()); ++key) {
    const Node* const node = lives[static_cast<size_t>(key)].node;
    if (Lives(key) && (node == nullptr || node->Waits())) return false;
  }
  return streams.Missing([this](int64_t key) { return Lives(key); }) == 0;
}

void SendFromOutside(World& world, int64_t key, int64_t messages) {
  Random& random = world.simulation.random();
  for (; messages > 0; --messages) {
    const int64_t to = world.Any();
    const Answer answer = world.At(to).ref.TrySend(Note{key, to, world.streams.Next(key, to)});
    if (answer == Answer::kAccepted) world.streams.Sent(key, to);
    if (answer == Answer::kClosed && world.Lives(to)) {
      world.simulation.Broken("L8 death", "a send from outside to one that lives answered closed");
    }
    if (random.Below(50) == 0 && to >= world.mortals_from) {
      world.At(to).ending = true;
      world.At(to).ref.Stop();
    }
    if (random.Below(4) == 0) {
      world.simulation.Sleep(absl::Microseconds(random.Below(1'000)));
    }
  }
  --world.at_work;
}

}  // namespace

void Run(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 16));
  options.outbox_messages_max = static_cast<uint32_t>(simulation.Amount("outbox", 1, 32));
  // Short: some actors that end then do so in the middle of a wait.
  options.linger_timeout = absl::Milliseconds(simulation.Amount("linger_ms", 1, 20));
  Site site(simulation, options);
  World world(site);
  world.slow_us = simulation.Amount("slow_us", 0, 2'000);
  world.mailbox_max = simulation.Amount("mailbox", 1, 16);
  world.rounds = simulation.Amount("rounds", 1, 20);
  world.spawns_left = simulation.Amount("spawns", 0, 30);
  world.mortals_from = simulation.Amount("actors", 1, 12);
  const int64_t threads = simulation.Amount("threads", 0, 3);
  const int64_t thread_messages = simulation.Amount("thread_messages", 1, 60);
  const bool early_drain = simulation.Amount("early_drain", 0, 3) == 3;
  world.at_work = world.mortals_from + threads;
  world.lives.resize(static_cast<size_t>(world.mortals_from));
  for (int64_t key = 0; key < world.mortals_from; ++key) {
    world.At(key).ref =
        site.runtime().SpawnWith<Node>(world.Where(), &world, key, /*mortal=*/false);
  }
  if (!site.Start()) return;
  std::vector<ThreadId> outside;
  for (int64_t i = 0; i < threads; ++i) {
    outside.push_back(simulation.StartThread(
        simulation.os(), absl::StrCat("outside ", i),
        [&world, i, thread_messages] { SendFromOutside(world, kOutside + i, thread_messages); }));
  }
  if (early_drain) {
    simulation.Sleep(absl::Microseconds(simulation.random().Below(5'000)));
  } else {
    Happens(site, "all is sent, handled, answered and notified", [&] { return world.AllDone(); });
  }
  world.over = true;
  site.End();
  for (const ThreadId thread : outside) simulation.Join(thread);
  if (site.runtime().WaitCyclesFound() > 0) {
    simulation.Broken("deadlock",
                      "a cycle of waits where none can be: " + site.runtime().LastWaitCycle());
  }
}

}  // namespace sluice::sim::messages_scenario
