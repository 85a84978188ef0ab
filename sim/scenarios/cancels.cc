// Tasks that are cancelled while they wait: each kind of wait, in each way there is. No frame
// outlives its actor, nothing of a cancelled task runs, what it waited for finds nobody, and the
// next wait of the same kind is as good as the first.
#include "sluice/sim/scenarios/cancels.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/base/check.h"
#include "sluice/core/os/open_file.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/cases.h"
#include "sluice/sim/scenarios/patient.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"

namespace sluice::sim::cancels_scenario {

bool Applies(Kind kind, Way way) {
  if (way == Way::kRestarts) return !InSession(kind);
  return way != Way::kDrain || !(Reads(kind) || kind == Kind::kConnect);
}

std::string Name(Kind kind, Way way) {
  constexpr const char* kKindNames[] = {
      "Ask",     "RunBlocking", "Sleep",   "Unparked",           "a task",  "FirstOf", "Within",
      "Join",    "EndOf",       "Connect", "Subscription::Join", "Next",    "Read",    "Line",
      "Exactly", "Frame",       "Write",   "a long Write",       "SendFile"};
  constexpr const char* kWayNames[] = {
      "Stop",    "a failure", "a restart", "a reset", "Close",
      "a drain", "FirstOf",   "Within",    "Cancel",  "the end of its group"};
  return absl::StrCat(kKindNames[static_cast<size_t>(kind)], ", cancelled by ",
                      kWayNames[static_cast<size_t>(way)]);
}

size_t BytesOf(Kind kind, Role role) {
  if (role != Role::kMain) return 5'000;
  return kind == Kind::kWrite ? 20'000 : kind == Kind::kLongWrite ? 200'000 : 150'000;
}

char LetterOf(Kind kind, Role role) {
  if (role != Role::kMain) return role == Role::kAside ? 'b' : 'n';
  return kind == Kind::kWrite ? 'w' : kind == Kind::kLongWrite ? 'l' : 'm';
}

namespace {

// The other end of a session of a case.
class Peer {
 public:
  Peer(World& world, SimOs& machine, size_t number)
      : world_(world),
        simulation_(world.simulation),
        case_(*world.cases[number]),
        number_(number),
        client_(machine) {}

  void Run() {
    if (Writes(case_.kind)) client_.LimitBuffers(4'000, 4'000);
    if (!Went(client_.Connect(kDoor))) return;
    std::string first = absl::StrCat(number_, "\n");
    const std::string frame = std::string(kReadBytes - 1, 'r') + '\n';
    const size_t half = Reads(case_.kind) && case_.kind != Kind::kRead ? kReadBytes / 2 : 0;
    first += frame.substr(0, half);
    if (!Went(client_.Write(first))) return;
    Await([&] { return case_.waits || case_.ended > 0 || case_.over || case_.done; });
    if (case_.way == Way::kResets) {
      simulation_.Sleep(case_.cancel_after);
      return client_.Reset();
    }
    if (case_.way == Way::kDrain) {
      Await([&] { return world_.drains; });
      simulation_.Sleep(absl::Milliseconds(40));
    } else if (InSession(case_.kind)) {
      simulation_.Sleep(case_.end_after);
      // An end of the session may have come before this.
      if (Reads(case_.kind)) (void)client_.Write(frame.substr(half) + frame);
    }
    Hear();
  }

 private:
  template <class F>
  void Await(F happened) {
    while (!happened() && !simulation_.Failed()) simulation_.Sleep(absl::Microseconds(100));
  }

  // Reads to the end. What came must be whole, unless the end is a reset.
  void Hear() {
    std::string all;
    for (;;) {
      const absl::StatusOr<std::string> some = client_.Read();
      if (!some.ok()) return;
      if (some->empty()) break;
      all += *some;
    }
    std::string_view rest = all;
    Take(rest, 'f', static_cast<size_t>(case_.filler));
    for (const Role role : {Role::kMain, Role::kAside, Role::kAgain}) {
      const char letter = LetterOf(case_.kind, role);
      if (rest.starts_with(letter)) Take(rest, letter, BytesOf(case_.kind, role));
    }
    if (!rest.empty()) simulation_.Broken("L2 order", "bytes come that do not belong there");
  }
  void Take(std::string_view& rest, char letter, size_t bytes) {
    const size_t count = std::min(rest.find_first_not_of(letter), rest.size());
    rest.remove_prefix(count);
    if (count == bytes) return;
    simulation_.Broken("L9 close", absl::StrCat(Name(case_.kind, case_.way), ": ", count, " of ",
                                                bytes, " bytes look like the whole"));
  }
  bool Went(const absl::Status& status) {
    if (!status.ok()) simulation_.Broken("L9 close", std::string(status.message()));
    return status.ok();
  }

  World& world_;
  Simulation& simulation_;
  Case& case_;
  const size_t number_;
  Client client_;
};

// The cases of this run: some pairs, one behind the other.
void Draw(World& world) {
  Simulation& simulation = world.simulation;
  Random& random = simulation.random();
  constexpr int64_t kPairs = int64_t{kKinds} * kWays;
  const int64_t first = simulation.Amount("first", 0, kPairs - 1);
  const int64_t count = simulation.Amount("pairs", 1, 30);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pair = (first + i) % kPairs;
    auto of = std::make_unique<Case>();
    of->kind = static_cast<Kind>(pair / kWays);
    of->way = static_cast<Way>(pair % kWays);
    if (!Applies(of->kind, of->way)) continue;
    // A session waits for no message of a hub in a drain.
    const bool lone =
        of->way == Way::kRestarts || (of->way == Way::kDrain && of->kind == Kind::kNext);
    of->in_session = InSession(of->kind) || of->way == Way::kResets || of->way == Way::kCloses ||
                     (!lone && random.Below(2) == 0);
    of->together = of->way != Way::kDrain && random.Below(3) == 0;
    of->aside = !Reads(of->kind) && random.Below(2) == 0;
    of->by_message = !of->in_session && random.Below(2) == 0;
    of->first = random.Below(2) == 0;
    of->acts = random.Below(3) == 0;
    // When the actor is not parked any more, the wait has been due for a tick.
    const bool parks = of->kind == Kind::kUnparked;
    of->cancel_after = absl::Milliseconds(random.Between(parks ? 0 : 2, 6));
    if (of->together) {
      of->end_after = of->cancel_after;
      if (InSession(of->kind)) of->end_after += absl::Microseconds(random.Between(-500, 500));
      // A connect's deadline is counted from this turn's time, and a timer's from the next tick.
      if (of->kind == Kind::kConnect) of->end_after += absl::Milliseconds(random.Between(0, 2));
      // From the first byte that the peer takes to the end it is a long time.
      if (Writes(of->kind)) of->cancel_after += absl::Milliseconds(random.Between(0, 60));
    } else {
      of->end_after = of->way == Way::kDrain || of->kind == Kind::kBlock
                          ? kLong
                          : of->cancel_after + absl::Milliseconds(random.Between(5, 20));
    }
    world.cases.push_back(std::move(of));
  }
}

void MakeFiles(World& world) {
  for (const Role role : {Role::kMain, Role::kAside, Role::kAgain}) {
    const std::string content(BytesOf(Kind::kFile, role), LetterOf(Kind::kFile, role));
    const int fd = memfd_create("file", MFD_CLOEXEC);
    const auto bytes = static_cast<int64_t>(content.size());
    SLUICE_CHECK(fd >= 0 && write(fd, content.data(), content.size()) == bytes);
    world.files[static_cast<size_t>(role)] = std::make_shared<const OpenFile>(fd, bytes);
  }
}

void RunRuntime(World& world, const Options& options) {
  Simulation& simulation = world.simulation;
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  const auto any_worker = [&] {
    SpawnOptions at;
    at.worker = static_cast<int>(simulation.random().Below(static_cast<uint64_t>(options.workers)));
    return at;
  };
  runtime.Listen<Talker>(kDoor, &world);
  std::vector<std::pair<Ref<Lone>, int>> told;
  for (const auto& of : world.cases) {
    if (of->in_session) continue;
    SpawnOptions at = any_worker();
    at.tasks_max = 1;
    const bool restarts = of->way == Way::kRestarts;
    const auto lone = restarts ? runtime.SpawnRestarting<Lone>(
                                     {.backoff_min = absl::ZeroDuration()}, at, &world, of.get())
                               : runtime.SpawnWith<Lone>(at, &world, of.get());
    if (of->by_message) told.emplace_back(lone, restarts ? 3 : 1);
  }
  // Spawned behind those that wait for them, and so ended behind them in a drain.
  world.oracle = runtime.SpawnWith<Oracle>(any_worker());
  SpawnOptions small = any_worker();
  small.mailbox_messages_max = 1;
  world.full = runtime.SpawnWith<Full>(small, absl::Milliseconds(2));
  world.stuck = runtime.SpawnWith<Full>(small, kLong);
  if (!site.Start()) return;
  for (auto& [lone, times] : told) {
    for (int i = 0; i < times; ++i) SLUICE_CHECK(lone.TrySend(Go{}) == Answer::kAccepted);
  }
  SimOs& machine = simulation.NewMachine("peers");
  Crowd crowd(simulation, machine);
  for (size_t i = 0; i < world.cases.size(); ++i) {
    if (!world.cases[i]->in_session) continue;
    crowd.Add(absl::StrCat("peer ", i), [&, i] { Peer(world, machine, i).Run(); });
  }
  const auto late = [&] {
    return std::ranges::find_if(world.cases, [](const auto& of) {
      return of->way == Way::kDrain ? !of->waits && of->ended == 0 : !of->done;
    });
  };
  const auto done = [&] { return simulation.Failed() || late() == world.cases.end(); };
  if (!simulation.RunUntil(done, absl::Minutes(1))) {
    simulation.Broken("L5 progress", absl::StrCat(Name((*late())->kind, (*late())->way),
                                                  ": it is not over\n", runtime.Dump()));
  }
  world.drains = true;
  site.End(absl::Milliseconds(20));
  crowd.Join();
}

void Count(World& world, Case& of) {
  const std::string name = Name(of.kind, of.way);
  if (of.FramesLeft() != 0) {
    world.simulation.Broken("L8 death",
                            absl::StrCat(name, ": ", of.FramesLeft(), " frames are left"));
  }
  // A parked actor runs no handler, so its end may come when it is not parked any more. In a drain
  // the actor that it waits for may end first, which ends the wait.
  const bool for_another = of.kind == Kind::kAsk || of.kind == Kind::kEndOf ||
                           of.kind == Kind::kSubscribe || of.kind == Kind::kNext;
  const bool sure =
      !of.together && of.kind != Kind::kUnparked && !(for_another && of.way == Way::kDrain);
  if (sure ? of.met != 1 || of.ended != 0 : of.met + of.ended != 1) {
    world.simulation.Broken(
        "cancels",
        absl::StrCat(name, ": ", of.met, " waits were cancelled, and ", of.ended, " have ended"));
  }
  Counts::Count& count = world.counts.Of(of.kind, of.way);
  count.met += of.met;
  count.ended += of.ended;
  if (of.together) count.close += of.met;
}

}  // namespace

void RunCounted(Simulation& simulation, Counts* counts) {
  // A write waits for its peer, and not for a kernel that has room.
  simulation.faults.refused_send = simulation.faults.short_send = 0;
  World world(simulation, counts);
  MakeFiles(world);
  Draw(world);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3)));
  options.output_bytes_max = static_cast<int64_t>(kOutputMax);
  options.blocking_threads_max = 8;
  RunRuntime(world, options);
  if (simulation.Failed()) return;
  for (const auto& of : world.cases) Count(world, *of);
  // A thread of the blocking pool may still read one.
  const auto free = [&] {
    return std::ranges::all_of(world.files, [](const auto& file) { return file.use_count() == 1; });
  };
  if (!simulation.RunUntil(free, absl::Seconds(1))) {
    simulation.Broken("L1 ledger", "a file of a cancelled task is kept");
  }
}

void Run(Simulation& simulation) {
  Counts counts;
  RunCounted(simulation, &counts);
}

}  // namespace sluice::sim::cancels_scenario
