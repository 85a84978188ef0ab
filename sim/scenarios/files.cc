// Sessions that send ranges of files, with text between them: from memory, or from a disk that
// takes its time, by handlers and by tasks. Peers read slowly, half-close, reset, and sessions end
// while their files are on their way. Each byte that a peer gets is the one that belongs there, and
// a file that is cut short meanwhile never looks whole.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
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

namespace sluice::sim::files_scenario {

namespace {

constexpr absl::Duration kDrainTimeout = absl::Seconds(60);
constexpr size_t kTextBytes = 26 * 16;  // Whole turns of Pattern().
constexpr int64_t kCut = 0;             // The file that is cut short.
// How a session goes on after its answer, by the letter of the request.
constexpr char kStays = 'f';
constexpr char kCloses = 'c';
constexpr char kStops = 's';
constexpr char kHalfCloses = 'e';
constexpr char kAborts = 'a';

struct World {
  explicit World(Simulation& in) : simulation(in) {}
  Simulation& simulation;
  std::vector<SharedFile> files = {};      // Open as long as the simulation.
  std::vector<std::string> contents = {};  // As they were at first.
  bool drains = false;                     // Clients may be turned away, or get fewer answers.
};

struct Request {
  char kind = kStays;
  int64_t file = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
  int64_t pieces = 1;  // So many times: a text, and the range.
  std::string Line() const {
    return absl::StrCat(std::string(1, kind), " ", file, " ", offset, " ", bytes, " ", pieces,
                        "\n");
  }
};

Request Parsed(World& world, std::string_view line) {
  const std::vector<std::string> words = absl::StrSplit(std::string(line), ' ');
  Request request;
  if (words.size() != 5 || words[0].size() != 1 || !absl::SimpleAtoi(words[1], &request.file) ||
      !absl::SimpleAtoi(words[2], &request.offset) || !absl::SimpleAtoi(words[3], &request.bytes) ||
      !absl::SimpleAtoi(words[4], &request.pieces)) {
    world.simulation.Broken("L2 order", absl::StrCat("a strange line: ", ToAbsl(line)));
  } else {
    request.kind = words[0][0];
  }
  return request;
}

std::string Text(int64_t piece) { return Pattern(7, piece, kTextBytes); }

class Filer : public LineSession {
 public:
  explicit Filer(World* world) : LineSession(100), world_(*world) {}
  void OnLine(std::string_view line) override {
    const Request request = Parsed(world_, line);
    const SharedFile& file = world_.files[static_cast<size_t>(request.file)];
    for (int64_t i = 0; i < request.pieces; ++i) {
      WriteOrAbort(Text(i));
      const Answer answer = SendFile(file, request.offset, request.bytes);
      // kOverloaded: memory is spent.
      if (answer == Answer::kOverloaded) return Abort(CloseReason::kMemory);
      if (answer != Answer::kAccepted && answer != Answer::kClosed) {
        world_.simulation.Broken("L3 bound", "a range is refused");
      }
      if (i == 0 && OutputBytes() > 10 * kTextBytes) {
        world_.simulation.Broken("L3 bound", "a file takes memory");
      }
    }
    WriteOrAbort(";");
    switch (request.kind) {
      case kCloses:
        return Close();
      case kStops:
        return Stop();
      case kHalfCloses:
        return CloseWrite();
      case kAborts:
        Later(absl::Microseconds(world_.simulation.random().Below(20'000)));
        break;
      default:
        break;
    }
  }

 private:
  void Later(absl::Duration time) {
    if (After(time, [this] { Abort(); }) == 0) Abort();
  }
  World& world_;
};

class TaskFiler : public TaskSession {
 public:
  explicit TaskFiler(World* world) : world_(*world) {}
  Task<> Serve() override {
    while (const auto line = co_await Line()) {
      const Request request = Parsed(world_, *line);
      const SharedFile file = world_.files[static_cast<size_t>(request.file)];
      if (request.kind == kAborts) {
        if (After(absl::Microseconds(world_.simulation.random().Below(20'000)),
                  [this] { Abort(); }) == 0) {
          Abort();
        }
      }
      for (int64_t i = 0; i < request.pieces; ++i) {
        if (!co_await Write(Text(i))) co_return;
        if (request.kind == kStops && i == request.pieces - 1) {
          // The session ends, and its connection sends what it has.
          (void)Session::SendFile(file, request.offset, request.bytes);
          (void)Session::Write(";");
          Stop();
          co_return;
        }
        if (!co_await SendFile(file, request.offset, request.bytes)) co_return;
        if (request.bytes > 0 && OutputBytes() > 0) {
          world_.simulation.Broken("L9 close", "a file counts as sent, and text before it waits");
        }
      }
      if (!co_await Write(";")) co_return;
      if (request.kind == kCloses) co_return;
      if (request.kind == kHalfCloses) CloseWrite();
    }
  }

 private:
  World& world_;
};

class Talk {
 public:
  Talk(World& world, SimOs& machine)
      : world_(world),
        simulation_(world.simulation),
        random_(world.simulation.random()),
        door_(AnyDoor(world.simulation, machine)),
        client_(*door_.machine, absl::Seconds(60)) {}

  void Run() {
    // Either kind of session behind each door.
    if (random_.Below(2) == 0) LimitBuffersBelow(client_, random_, 20'000);
    if (!Went(client_.Connect(door_.address))) return;
    std::vector<Request> requests;
    for (int64_t i = random_.Between(1, 3); i > 0; --i) requests.push_back(Draw(/*last=*/i == 1));
    const bool pipelined = random_.Below(2) == 0;
    if (pipelined) {
      std::string all;
      for (const Request& request : requests) all += request.Line();
      if (!Went(client_.Write(all))) return;
      if (random_.Below(3) == 0 && !Went(client_.CloseWrite())) return;
    }
    if (random_.Below(8) == 0) {  // Leaves in the middle.
      simulation_.Sleep(absl::Microseconds(random_.Below(20'000)));
      return random_.Below(2) == 0 ? client_.Reset() : client_.Close();
    }
    for (const Request& request : requests) {
      if (!pipelined && !Went(client_.Write(request.Line()))) return;
      if (!Hear(request)) return;
    }
    const char last = requests.back().kind;
    if (last == kCloses || last == kStops || last == kHalfCloses) return ExpectEnd();
    if (random_.Below(2) == 0) {
      if (Went(client_.CloseWrite())) ExpectEnd();
    }
  }

 private:
  Request Draw(bool last) {
    Request request;
    request.file = static_cast<int64_t>(random_.Below(world_.files.size()));
    const auto size =
        static_cast<int64_t>(world_.contents[static_cast<size_t>(request.file)].size());
    request.offset = random_.Below(3) == 0 ? random_.Between(0, size) : 0;
    request.bytes =
        random_.Below(3) == 0 ? random_.Between(0, size - request.offset) : size - request.offset;
    request.pieces = random_.Between(1, 3);
    constexpr std::string_view kLast = "ffffccsssea";
    if (last) request.kind = kLast[random_.Below(kLast.size())];
    may_reset_ |= request.file == kCut || request.kind == kAborts;
    return request;
  }

  // True: the whole answer has come.
  bool Hear(const Request& request) {
    const std::string_view range =
        std::string_view(world_.contents[static_cast<size_t>(request.file)])
            .substr(static_cast<size_t>(request.offset), static_cast<size_t>(request.bytes));
    const bool sure = Sure() && !may_reset_;
    for (int64_t i = 0; i < request.pieces; ++i) {
      if (!Expect(Text(i), sure) || !Expect(range, sure)) return false;
    }
    return Expect(";", sure);
  }

  // Whatever comes must be right. If that is sure, all of it must come; otherwise there may be a
  // reset in its place, but no end that looks like one in order.
  bool Expect(std::string_view expected, bool sure) {
    while (!expected.empty()) {
      const absl::StatusOr<std::string> some = client_.Read(expected.size());
      if (!some.ok()) {
        if (sure) simulation_.Broken("L9 close", std::string(some.status().message()));
        return false;
      }
      if (some->empty()) {
        // A drain's deadline, and a network that fails, may end it in any way. A UNIX socket knows
        // no reset.
        if (Sure() && (sure || door_.tcp))
          simulation_.Broken("L9 close", "an answer that is cut short looks whole");
        return false;
      }
      if (*some != expected.substr(0, some->size())) {
        simulation_.Broken("L2 order", "bytes come that do not belong there");
        return false;
      }
      expected.remove_prefix(some->size());
    }
    return true;
  }
  void ExpectEnd() {
    const absl::StatusOr<std::string> rest = client_.ReadToEnd();
    if (!Went(rest.status())) return;
    if (!rest->empty()) simulation_.Broken("L2 order", "there is more than was asked for");
  }

  bool Sure() const { return !MayEndConnections(simulation_.faults) && !world_.drains; }
  bool Went(const absl::Status& status) {
    // A session that aborts, or whose file is cut short, may reset behind its last answer, too.
    if (!status.ok() && Sure() && !may_reset_) {
      simulation_.Broken("L9 close", std::string(status.message()));
    }
    return status.ok();
  }

  const World& world_;
  Simulation& simulation_;
  Random& random_;
  const Door door_;
  Client client_;
  bool may_reset_ = false;  // A reset loses earlier answers, too, if they are not read yet.
};

void MakeFiles(World& world) {
  constexpr int64_t kBytes[] = {300'000, 26, 90'000, 600'000};
  for (const int64_t bytes : kBytes) {
    const auto number = static_cast<int64_t>(world.files.size());
    std::string content = Pattern(number, 3, static_cast<size_t>(bytes));
    const int fd = memfd_create("file", MFD_CLOEXEC);
    SLUICE_CHECK(fd >= 0 && write(fd, content.data(), content.size()) == bytes);
    world.files.push_back(std::make_shared<const OpenFile>(fd, bytes));
    world.contents.push_back(std::move(content));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  // A disk that fails ends connections, too.
  if (!MayEndConnections(simulation.faults)) simulation.faults.unreadable_file = 0;
  World world(simulation);
  MakeFiles(world);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3)));
  options.output_bytes_max = static_cast<int64_t>(80'000);
  options.blocking_threads_max = static_cast<int>(simulation.Amount("pool", 1, 3));
  options.blocking_calls_max = static_cast<int>(simulation.Amount("calls", 1, 4));
  Site site(simulation, options);
  if (simulation.Amount("by_tasks", 0, 1) == 1) {
    site.runtime().Listen<TaskFiler>(kDoors, &world);
  } else {
    site.runtime().Listen<Filer>(kDoors, &world);
  }
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  Crowd crowd(simulation, machine);
  const int64_t talks = simulation.Amount("talks", 1, 4);
  for (int64_t i = simulation.Amount("clients", 1, 8); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&] {
      for (int64_t talk = 0; talk < talks && !world.drains; ++talk) Talk(world, machine).Run();
    });
  }
  simulation.At(absl::Microseconds(simulation.Amount("cut_after", 0, 100'000)), [&] {
    const auto left = static_cast<off_t>(simulation.random().Below(300'000));
    SLUICE_CHECK(ftruncate(world.files[kCut]->Descriptor(), left) == 0);
  });
  const bool in_the_middle = simulation.Amount("drain_early", 0, 3) == 1;
  if (!in_the_middle) crowd.Join();
  if (in_the_middle) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Between(0, 100)));
    world.drains = true;
  }
  site.End(kDrainTimeout);
  crowd.Join();
}

}  // namespace sluice::sim::files_scenario
