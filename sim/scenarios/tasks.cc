// Sessions and actors whose code is tasks, which wait in every way there is, while peers
// half-close, reset, stand still, and the runtime drains. Each request of a peer that lives is
// answered, once and in order; nothing of a task runs after its session's end; and no frame is
// left.
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/actor/actor.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::tasks_scenario {

namespace {

constexpr absl::Duration kLong = absl::Seconds(60);
// What a request asks for, by its letter.
constexpr char kAnswers = 'p';  // At once.
constexpr char kAsks = 'a';
constexpr char kBlocks = 'b';
constexpr char kSleeps = 's';
constexpr char kRaces = 'f';  // The first of several.
constexpr char kGroups = 'g';
constexpr char kIsLate = 'd';  // A deadline passes.
constexpr char kSends = 'm';   // Messages to an actor that is slow to take them.
constexpr char kWrites = 'w';  // More than the output holds.
constexpr std::string_view kCalm = "ppaabsfgdmw";
constexpr char kStops = 'x';
constexpr char kThrows = 't';
constexpr size_t kMuchBytes = 90'000;

struct World {
  explicit World(Simulation& in) : simulation(in) {}
  Simulation& simulation;
  Ref<class Oracle> oracle = {};
  int64_t frames = 0;   // Living frames of tasks.
  bool drains = false;  // Clients may be turned away, or get fewer answers.
};

// Lives in a frame.
class Framed {
 public:
  explicit Framed(World* world) : world_(*world) { ++world_.frames; }
  Framed(const Framed&) = delete;
  Framed& operator=(const Framed&) = delete;
  ~Framed() { --world_.frames; }

 private:
  World& world_;
};

struct Square {
  using Reply = int64_t;
  int64_t number = 0;
};
struct Unanswered {
  using Reply = int64_t;
};
struct Note {
  int64_t number = 0;
};

// Answers by tasks, some of them later than others.
class Oracle : public Actor {
 public:
  explicit Oracle(World* world) : world_(world) {}
  Task<int64_t> On(Square q) {
    const Framed framed(world_);
    if (q.number % 3 != 0) co_await Sleep(absl::Milliseconds(q.number % 7));
    co_return q.number* q.number;
  }
  void On(Unanswered, Promise<int64_t> promise) {
    kept_.push_back(std::move(promise));
    if (kept_.size() > 20) kept_.clear();
  }

 private:
  World* const world_;
  std::vector<Promise<int64_t>> kept_;
};

// Takes few messages, slowly: actors that send to it are parked.
class Slow : public Actor {
 public:
  explicit Slow(World* world) : world_(*world) {}
  void On(Note) {
    world_.simulation.Sleep(absl::Microseconds(world_.simulation.random().Below(300)));
  }

 private:
  World& world_;
};

class Clerk : public TaskSession {
 public:
  Clerk(World* world, Ref<Slow> slow) : world_(world), slow_(slow) {}
  void OnClose(CloseReason) override { closed_ = true; }

  Task<> Serve() override {
    const Framed framed(world_);
    StartTask(Rests(kLong));  // Ends with the session.
    while (const auto line = co_await Line()) {
      Check();
      // "a17": a request, and its number.
      int64_t number = 0;
      if (line->empty() || !absl::SimpleAtoi(ToAbsl(line->substr(1)), &number)) {
        world_->simulation.Broken("L2 order", absl::StrCat("a strange line: ", ToAbsl(*line)));
        co_return;
      }
      const char kind = line->front();
      const int64_t answer = co_await Work(kind, number);
      Check();
      if (kind == kWrites) co_await Write(Pattern(0, 0, kMuchBytes));
      Check();
      if (!co_await Write(absl::StrCat(answer, "\n"))) break;
      Check();
    }
  }

 private:
  void Check() {
    if (!closed_ && !HasEnded()) return;
    world_->simulation.Broken("L8 death", "a task goes on after its session's end");
  }

  Task<int64_t> Asked(int64_t number) {
    const Framed framed(world_);
    const absl::StatusOr<int64_t> answer = co_await Ask(world_->oracle, Square{number}, kLong);
    Check();
    co_return answer.value_or(-1);
  }
  Task<> Adds(int64_t number, int64_t* sum) {
    const Framed framed(world_);
    *sum += co_await Asked(number);
  }
  Task<> Rests(absl::Duration time) {
    const Framed framed(world_);
    co_await Sleep(time);
    Check();
  }

  // Answers the square of `number`, after a wait of the kind asked for.
  Task<int64_t> Work(char kind, int64_t number) {
    const Framed framed(world_);
    switch (kind) {
      case kAsks:
        co_return co_await Asked(number);
      case kBlocks: {
        const absl::StatusOr<int64_t> square =
            co_await RunBlocking([&simulation = world_->simulation, number] {
              simulation.Sleep(absl::Microseconds(100 * (number % 5)));
              return number * number;
            });
        co_return square.ok() ? *square : -2;
      }
      case kSleeps:
        co_await Rests(absl::Milliseconds(number % 20));
        break;
      case kRaces: {
        const auto first = co_await FirstOf(Rests(kLong), Asked(number),
                                            Ask(world_->oracle, Unanswered{}, kLong), Sleep(kLong));
        if (first.index() == 1) co_return std::get<1>(first);
        // The oracle drops questions that it does not answer.
        if (first.index() != 2) co_return -3;
        break;
      }
      case kGroups: {
        int64_t sum = 0;
        TaskGroup group(this);
        for (int64_t i = 1; i <= number % 4; ++i) group.Start(Adds(number, &sum));
        co_await group.Join();
        if (sum != number % 4 * number * number) co_return -4;
        group.Start(Rests(kLong));  // Ends with the group.
        break;
      }
      case kIsLate: {
        const auto late =
            co_await Within(absl::Milliseconds(2), Ask(world_->oracle, Unanswered{}, kLong));
        if (late.ok() && late->ok()) co_return -5;
        break;
      }
      case kSends:
        for (int64_t i = 0; i < 12; ++i) {
          (void)Send(slow_, Note{i});
          co_await Unparked();
          Check();
        }
        break;
      case kStops:
        Stop();
        co_await Rests(kLong);
        break;
      case kThrows:
        co_await Rests(absl::Milliseconds(1));
        throw std::runtime_error("as asked");
      case kAnswers:
      default:
        break;
    }
    co_return number* number;
  }

  World* const world_;
  const Ref<Slow> slow_;
  bool closed_ = false;
};

class Talk {
 public:
  Talk(World& world, SimOs& machine, int64_t requests)
      : world_(world),
        simulation_(world.simulation),
        random_(world.simulation.random()),
        door_(AnyDoor(world.simulation, machine)),
        client_(*door_.machine),
        requests_(requests) {}

  void Run() {
    if (random_.Below(3) == 0) LimitBuffersBelow(client_, random_, 8'000);
    if (!Went(client_.Connect(door_.address))) return;
    const bool pipelined = random_.Below(2) == 0;
    std::string all;
    for (int64_t i = 1; i <= requests_; ++i) {
      const char kind = kCalm[random_.Below(kCalm.size())];
      const std::string request = absl::StrCat(std::string(1, kind), i, "\n");
      kinds_ += kind;
      if (!pipelined) {
        if (!Went(client_.Write(request)) || !Hear(i)) return;
      }
      all += request;
    }
    if (pipelined && !Went(client_.Write(all))) return;
    switch (random_.Below(6)) {
      case 0:  // Leaves in the middle.
        if (pipelined) simulation_.Sleep(absl::Milliseconds(random_.Between(0, 20)));
        return random_.Below(2) == 0 ? client_.Reset() : client_.Close();
      case 1: {  // Something ends the session while it works.
        const std::string_view last = random_.Below(2) == 0 ? "x0\n" : "t0\n";
        if (!Went(client_.Write(last))) return;
        (void)client_.ReadToEnd();
        return;
      }
      case 2:  // Half-closes, and waits for all answers.
        if (!Went(client_.CloseWrite())) return;
        if (pipelined && !HearAll()) return;
        return ExpectEnd();
      case 3:  // Its last line has no end.
        if (pipelined && !HearAll()) return;
        if (!Went(client_.Write("a5"))) return;
        if (!Went(client_.CloseWrite())) return;
        if (Expect("25")) ExpectEnd();
        return;
      case 4:  // Stays until the drain.
        if (pipelined && !HearAll()) return;
        return;
      default:
        if (pipelined && !HearAll()) return;
        client_.Close();
    }
  }

 private:
  bool HearAll() {
    for (int64_t i = 1; i <= requests_; ++i) {
      if (!Hear(i)) return false;
    }
    return true;
  }
  bool Hear(int64_t number) {
    if (kinds_[static_cast<size_t>(number - 1)] == kWrites) {
      const absl::StatusOr<std::string> much = client_.ReadExactly(kMuchBytes);
      if (!Went(much.status())) return false;
      if (*much != Pattern(0, 0, kMuchBytes)) {
        simulation_.Broken("L2 order", "a long answer is not what was written");
      }
    }
    return Expect(absl::StrCat(number * number));
  }
  bool Expect(std::string_view text) {
    const absl::StatusOr<std::string> line = client_.ReadLine();
    if (!Went(line.status())) return false;
    if (*line == text) return true;
    if (Sure()) {
      simulation_.Broken("L2 order",
                         absl::StrCat("the answer is ", *line, ", and not ", ToAbsl(text)));
    }
    return false;
  }
  void ExpectEnd() {
    const absl::StatusOr<std::string> rest = client_.ReadToEnd();
    if (!Went(rest.status())) return;
    if (!rest->empty()) simulation_.Broken("L2 order", "there is more than was asked for");
  }

  // True: an error is a finding.
  bool Sure() const { return !MayEndConnections(simulation_.faults) && !world_.drains; }
  bool Went(const absl::Status& status) {
    if (!status.ok() && Sure()) {
      simulation_.Broken("L9 close", std::string(status.message()));
    }
    return status.ok();
  }

  const World& world_;
  Simulation& simulation_;
  Random& random_;
  const Door door_;
  Client client_;
  const int64_t requests_;
  std::string kinds_;
};

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3)));
  options.output_bytes_max = static_cast<int64_t>(80'000);
  options.blocking_threads_max = 2;
  Site site(simulation, options);
  World world(simulation);
  SpawnOptions small;
  small.mailbox_messages_max = 4;
  world.oracle = site.runtime().Spawn<Oracle>(&world);
  const Ref<Slow> slow = site.runtime().SpawnWith<Slow>(small, &world);
  site.runtime().Listen<Clerk>(kDoors, &world, slow);
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  Crowd crowd(simulation, machine);
  const int64_t requests = simulation.Amount("requests", 1, 10);
  for (int64_t i = simulation.Amount("clients", 1, 10); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&] { Talk(world, machine, requests).Run(); });
  }
  const bool in_the_middle = simulation.Amount("drain_early", 0, 3) == 1;
  if (!in_the_middle) crowd.Join();
  if (in_the_middle) {
    simulation.Sleep(absl::Milliseconds(simulation.random().Between(0, 60)));
    world.drains = true;
  }
  site.End();
  crowd.Join();
  if (world.frames != 0) {
    simulation.Broken("L8 death", absl::StrCat(world.frames, " frames of tasks are left"));
  }
}

}  // namespace sluice::sim::tasks_scenario
