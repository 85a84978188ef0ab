// Sessions that answer later than they are asked: from another actor, in order, pipelined or not,
// or from the blocking pool, piece by piece. Their peers half-close at once, or a drain begins.
// With the default OnEof and OnDrain each peer gets all of its answers, then the end.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "sluice/core/base/strings.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::answers_scenario {

namespace {

constexpr absl::Duration kDrainTimeout = absl::Seconds(20);
constexpr size_t kPieceBytes = 26 * 400;  // Whole turns of Pattern().
constexpr int64_t kPieces = 30;           // Twice what an output holds.
constexpr int64_t kOutputBytesMax = 160 * 1024;

struct World {
  explicit World(Simulation& of) : simulation(of) {}
  bool MayFail() const {
    return MayEndConnections(simulation.faults) || simulation.faults.no_thread != 0;
  }
  Simulation& simulation;
  int64_t drain_ns = 0;  // When the drain began; 0: not yet.
};

struct Get {
  using Reply = std::string;
  std::string key;
  int64_t HeldBytes() const { return sluice::HeldBytes(key); }
};

// Answers each question a moment later.
class Store : public Actor {
 public:
  explicit Store(World* world) : world_(*world) {}
  void On(Get get, Promise<std::string> promise) {
    const auto moment = absl::Microseconds(world_.simulation.random().Below(50'000));
    const TimerId timer =
        After(moment, [promise = std::move(promise), key = std::move(get.key)]() mutable {
          promise.Resolve(std::move(key));
        });
    if (timer == 0) world_.simulation.Broken("answers", "the store has no timer left");
  }

 private:
  World& world_;
};

// A line is "a KEY" (asked), "o KEY" (asked in order), "p KEY" (asked, pipelined), "w KEY"
// (answered at once), "n KEY" (asked, and the answer is not written), "x KEY" (as "w", then closed)
// or "f" (a file, read in pieces). Has neither OnEof nor OnDrain.
class Clerk : public LineSession {
 public:
  Clerk(World* world, Ref<Store> store) : LineSession(100), world_(*world), store_(store) {
    // Peers send at once. To wait for an answer, or to take it slowly, is no silence.
    SetReceiveTimeout(absl::Milliseconds(30) +
                      absl::Nanoseconds(20 * world_.simulation.faults.delay_ns_max));
  }
  void OnLine(std::string_view line) override {
    if (line == "f") return ReadPiece();
    const auto answer = [this, written = line[0] != 'n'](const absl::StatusOr<std::string>& key) {
      if (!key.ok()) world_.simulation.Broken("answers", ToStd(key.status().message()));
      if (written) WriteOrAbort(absl::StrCat(key.ok() ? *key : "?", "\n"));
    };
    Get get{std::string(line.substr(2))};
    if (line[0] == 'w' || line[0] == 'x') {
      WriteOrAbort(absl::StrCat(get.key, "\n"));
      if (line[0] == 'x') Close();
    } else if (line[0] == 'p') {
      AskPipelined(store_, std::move(get), absl::InfiniteDuration(),
                   [this](const absl::StatusOr<std::string>& key) {
                     if (!key.ok()) {
                       world_.simulation.Broken("answers", ToStd(key.status().message()));
                     }
                     return absl::StrCat(key.ok() ? *key : "?", "\n");
                   });
    } else if (line[0] == 'o') {
      AskInOrder(store_, std::move(get), absl::InfiniteDuration(), answer);
    } else if (Ask(store_, std::move(get), absl::InfiniteDuration(), answer) != Answer::kAccepted) {
      world_.simulation.Broken("answers", "a question is refused");
    }
  }
  void OnWritable() override {
    if (!piece_.empty()) WritePiece(std::exchange(piece_, ""));
  }

 private:
  void ReadPiece() {
    const auto takes = absl::Microseconds(world_.simulation.random().Below(3'000));
    const Answer answer = RunBlocking(
        [&simulation = world_.simulation, takes] {
          simulation.Sleep(takes);
          return Pattern(0, 0, kPieceBytes);
        },
        [this](absl::StatusOr<std::string> piece) {
          piece.ok() ? WritePiece(*std::move(piece)) : Abort();
        });
    if (answer != Answer::kAccepted) world_.simulation.Broken("answers", "a call is refused");
  }
  void WritePiece(std::string piece) {
    if (Write(piece) == Answer::kFull) {
      piece_ = std::move(piece);
    } else if (++pieces_ < kPieces) {
      ReadPiece();
    }
  }

  World& world_;
  const Ref<Store> store_;
  std::string piece_;  // Waits for room.
  int64_t pieces_ = 0;
};

std::string Sorted(std::string_view lines) {
  std::vector<std::string> all = absl::StrSplit(std::string(lines), '\n');
  std::sort(all.begin(), all.end());
  std::string text;
  for (const std::string& line : all) absl::StrAppend(&text, line, "\n");
  return text;
}

void Visit(World& world, SimOs& machine, int64_t number) {
  Simulation& simulation = world.simulation;
  Random& random = simulation.random();
  const Door door = AnyDoor(simulation, machine);
  Client client(*door.machine, absl::Seconds(60));
  if (random.Below(2) == 0) LimitBuffersBelow(client, random, 8'000);
  simulation.Sleep(absl::Microseconds(random.Below(50'000)));
  if (world.drain_ns != 0) return;
  absl::Status status = client.Connect(door.address);
  // Until then only this side knows of the connection.
  simulation.Sleep(absl::Nanoseconds(2 * simulation.faults.delay_ns_max));
  if (world.drain_ns != 0) return;
  std::string request = "f\n";
  std::string expected;
  const uint64_t kind = random.Below(4);
  const bool pipelined = kind == 0;
  if (pipelined) {
    request.clear();
    for (int64_t i = 1 + static_cast<int64_t>(random.Below(40)); i > 0; --i) {
      const std::string key = absl::StrCat(number, " ", i, std::string(random.Below(50), 'x'));
      const char how = random.Below(4) == 0 ? 'w' : 'p';
      absl::StrAppend(&request, std::string(1, how), " ", key, "\n");
      absl::StrAppend(&expected, key, "\n");
    }
    if (random.Below(4) == 0) {
      absl::StrAppend(&request, "x ", number, "\nw too late\n");
      absl::StrAppend(&expected, number, "\n");
    }
  } else if (kind != 1) {
    const bool in_order = random.Below(2) == 0;
    request.clear();
    for (int64_t i = 1 + static_cast<int64_t>(random.Below(6)); i > 0; --i) {
      const std::string key = absl::StrCat(number, " ", i);
      absl::StrAppend(&request, in_order ? "o " : "a ", key, "\n");
      absl::StrAppend(&expected, key, "\n");
    }
    if (random.Below(3) == 0) absl::StrAppend(&request, "n ", number, "\n");
    // A last line without its end is a line.
    if (random.Below(2) == 0) request.pop_back();
  } else {
    for (int64_t i = kPieces; i > 0; --i) expected += Pattern(0, 0, kPieceBytes);
  }
  if (status.ok()) status = client.Write(request);
  const bool sure = world.drain_ns == 0;
  // Without a half-close the drain, which comes, ends the session; an unended line needs the end.
  if (status.ok() && (request.back() != '\n' || random.Below(3) != 0)) {
    status = client.CloseWrite();
  }
  absl::StatusOr<std::string> read = absl::UnavailableError("not sent");
  if (status.ok()) read = client.ReadToEnd();
  if (world.MayFail() || !sure) return;
  const bool right =
      read.ok() && (pipelined ? *read == expected : Sorted(*read) == Sorted(expected));
  if (!right) {
    simulation.Broken("answers",
                      absl::StrCat("of ", expected.size(), " bytes of answers come ",
                                   read.ok() ? read->size() : 0, ": ", read.status().ToString()));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  World world(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.output_bytes_max = kOutputBytesMax;
  options.answers_max = static_cast<uint32_t>(simulation.Amount("answers_max", 1, 20));
  options.blocking_threads_max = static_cast<int>(simulation.Amount("pool", 1, 3));
  options.drain_timeout = kDrainTimeout;
  Site site(simulation, options);
  const Ref<Store> store = site.runtime().Spawn<Store>(&world);
  site.runtime().Listen<Clerk>(kDoors, &world, store);
  if (!site.Start()) return;
  Crowd crowd(simulation, simulation.NewMachine("clients"));
  SimOs& machine = *simulation.machines().back();
  for (int64_t i = simulation.Amount("clients", 1, 12); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&, i] { Visit(world, machine, i); });
  }
  simulation.Sleep(absl::Microseconds(simulation.Amount("drain_after", 0, 200'000)));
  world.drain_ns = simulation.NowNs();
  site.runtime().Drain(kDrainTimeout);
  const int64_t took_ns = simulation.NowNs() - world.drain_ns;
  if (!world.MayFail() && took_ns > absl::ToInt64Nanoseconds(kDrainTimeout) / 2) {
    simulation.Broken("drain", absl::StrCat("it took ", took_ns / 1'000'000, " ms"));
  }
  crowd.Join();
  site.End();
}

}  // namespace sluice::sim::answers_scenario
