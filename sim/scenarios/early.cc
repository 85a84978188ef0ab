// Sessions that write, close and are written to before their connection stands; servers whose peers
// send frames that are too long; sockets that are connected to themselves. What was accepted
// arrives, in order; nothing is heard before OnOpen; nobody stands there for ever.
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/actors/connector.h"
#include "sluice/core/strings.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/client.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/site.h"
#include "sluice/sluice.h"

namespace sluice::sim {

namespace {

constexpr uint16_t kFirstPort = 32'768;  // Of those that a machine gives to sockets that connect.
constexpr absl::Duration kEndsWithin = absl::Minutes(5);

struct Call {
  std::string said;     // What Write has accepted.
  std::string arrived;  // At the server.
  bool open = false;
  bool ended = false;
};

struct World {
  explicit World(Simulation& of) : simulation(of), random(of.random()) {}
  Simulation& simulation;
  Random& random;
  std::vector<Call> calls;
  int64_t ended = 0;
};

struct Say {};
struct Bye {
  bool whole = false;
};

// Says lines at every point of its life, and ends at one of them.
class Caller : public Session {
 public:
  // `answered`: somebody listens there.
  Caller(World* world, size_t number, bool answered)
      : world_(*world), number_(number), answered_(answered) {
    Act();
  }
  void OnStart() override {
    Act();
    if (world_.random.Below(2) == 0) {
      After(absl::Microseconds(world_.random.Below(800)), [this] { Act(); });
    }
  }
  void OnOpen() override {
    call().open = true;
    if (!answered_) {
      world_.simulation.Broken("early", "a socket that is connected to itself was taken for more");
    }
    ResumeReading();
    Act();
  }
  void On(Say) {
    AfterOnOpen("a message");
    Act();
  }
  void On(Bye bye) {
    AfterOnOpen("a message");
    bye.whole ? Close() : CloseWrite();
    closed_ = true;
  }
  void OnData(Input& in) override {
    AfterOnOpen("a byte");
    in.TakeAll();
  }
  void OnClose(CloseReason) override {
    if (Write("late") != Answer::kClosed) {
      world_.simulation.Broken("early", "a write after the end is not closed");
    }
    call().ended = true;
    ++world_.ended;
  }

 private:
  Call& call() { return world_.calls[number_]; }
  void AfterOnOpen(std::string_view what) {
    if (!call().open)
      world_.simulation.Broken("early", absl::StrCat(ToAbsl(what), " before OnOpen"));
  }
  void Act() {
    Random& random = world_.random;
    if (random.Below(8) == 0) PauseReading();
    if (call().open) ResumeReading();
    for (uint64_t i = random.Below(4); i > 0; --i) {
      const std::string line = absl::StrCat(number_, " line ", ++lines_, "\n");
      const Answer answer = Write(line);
      if (answer == Answer::kAccepted) call().said += line;
      if (answer == Answer::kClosed && !closed_ && !MayEndConnections(world_.simulation.faults) &&
          answered_) {
        world_.simulation.Broken("early", "a write is closed though nothing has ended");
      }
    }
    if (random.Below(12) == 0) {
      random.Below(2) == 0 ? CloseWrite() : Close();
      closed_ = true;
    }
  }

  World& world_;
  const size_t number_;
  const bool answered_;
  int64_t lines_ = 0;
  bool closed_ = false;
};

// Notes what each caller has said.
class Hearer : public LineSession {
 public:
  explicit Hearer(World* world) : LineSession(100), world_(*world) {}
  void OnLine(std::string_view line) override {
    size_t number = 0;
    if (!absl::SimpleAtoi(ToAbsl(line.substr(0, line.find(' '))), &number) ||
        number >= world_.calls.size()) {
      world_.simulation.Broken("L2 order", absl::StrCat("a line that nobody said: ", ToAbsl(line)));
      return;
    }
    world_.calls[number].arrived += std::string(line) + "\n";
    (void)Write("heard\n");  // The caller may be gone.
  }

 private:
  World& world_;
};

// Frames of as many thousand bytes as the first of them says.
class Framed : public Session {
  void OnData(Input& in) override {
    while (!in.empty() && MayGoOn()) {
      const size_t bytes = size_t{static_cast<uint8_t>(in.Peek()[0])} * 1'000;
      if (in.size() < bytes) return;
      in.Skip(bytes);
      (void)Write("ok\n");  // The peer may be gone.
    }
  }
};

void SendFrame(Simulation& simulation, SimOs& machine, uint8_t thousands) {
  Client client(machine);
  const auto fine = [&](const absl::Status& status) { return Allowed(simulation, status); };
  if (!fine(client.Connect("10.0.0.1:7002"))) return;
  const std::string frame(size_t{thousands} * 1'000, static_cast<char>(thousands));
  const absl::Status written = client.Write(frame);
  if (thousands <= 65) {  // input_bytes_max is 65,536.
    if (!fine(written)) return;
    const absl::StatusOr<std::string> answer = client.ReadLine();
    if (fine(answer.status()) && *answer != "ok") simulation.Broken("early", "a frame is lost");
    return;
  }
  const absl::Status end = written.ok() ? client.ReadToEnd().status() : written;
  if (absl::IsDeadlineExceeded(end) && !MayEndConnections(simulation.faults)) {
    simulation.Broken("early", "a peer whose frame is too long is not told, and stands there");
  }
}

void Compare(Simulation& simulation, const Call& call) {
  const bool whole = call.open && !MayEndConnections(simulation.faults);
  if (call.said == call.arrived) return;
  if (call.said.compare(0, call.arrived.size(), call.arrived) != 0) {
    simulation.Broken("L2 order", absl::StrCat("said: ", call.said, "arrived: ", call.arrived));
  } else if (whole) {
    simulation.Broken("early", absl::StrCat("of ", call.said.size(), " bytes that were accepted ",
                                            call.arrived.size(), " have arrived"));
  }
}

}  // namespace

void RunEarly(Simulation& simulation) {
  CalmOrHarsh(simulation);
  World world(simulation);
  Random& random = simulation.random();
  Site server(simulation, SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3))));
  server.runtime().Listen<Hearer>("10.0.0.1:7001", &world);
  if (!server.Start()) return;
  SimOs& callers = simulation.NewMachine("callers");
  Site site(simulation, callers,
            SmallOptions(static_cast<int>(simulation.Amount("threads", 1, 3))));
  if (!site.Start()) return;
  const auto begin = [&](std::string_view address, bool answered) {
    world.calls.emplace_back();
    const size_t number = world.calls.size() - 1;
    const auto caller =
        Connect<Caller>(site.runtime(), address, absl::Seconds(20), &world, number, answered);
    if (!caller.ok()) {
      world.calls[number].ended = true;
      ++world.ended;
      return Ref<Caller>();
    }
    return *caller;
  };
  world.calls.reserve(64);
  // Nobody listens there; one of them is given that very port.
  const std::string dead = absl::StrCat("127.0.0.1:", kFirstPort + random.Below(4));
  for (int64_t i = simulation.Amount("selves", 0, 6); i > 0; --i) begin(dead, /*answered=*/false);
  std::vector<Ref<Caller>> refs;
  for (int64_t i = simulation.Amount("callers", 1, 8); i > 0; --i) {
    refs.push_back(begin("10.0.0.1:7001", /*answered=*/true));
  }
  const auto tell = [&](auto message) {
    const Ref<Caller>& ref = refs[random.Below(refs.size())];
    (void)ref.TrySend(message);  // It may have ended.
  };
  for (int64_t i = simulation.Amount("messages", 0, 20); i > 0; --i) {
    tell(Say{});
    if (random.Below(4) == 0) simulation.Sleep(absl::Microseconds(random.Below(400)));
  }
  for (const Ref<Caller>& ref : refs) (void)ref.TrySend(Bye{random.Below(2) == 0});
  const auto all_ended = [&] { return world.ended == std::ssize(world.calls); };
  if (!simulation.RunUntil(all_ended, kEndsWithin) && !MayEndConnections(simulation.faults)) {
    simulation.Broken("L5 progress", "a caller that has closed does not end");
  }
  site.End();
  server.End();
  for (const Call& call : world.calls) Compare(simulation, call);
}

void RunFrames(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Random& random = simulation.random();
  Site server(simulation, SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3))));
  server.runtime().Listen<Framed>("10.0.0.1:7002");
  if (!server.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  {
    Crowd crowd(simulation, machine);
    for (int64_t i = simulation.Amount("clients", 1, 12); i > 0; --i) {
      // Well below what may be kept, or so far above that no read can leap over it.
      const bool fits = random.Below(2) == 0;
      const auto thousands =
          static_cast<uint8_t>(fits ? 1 + random.Below(65) : 100 + random.Below(20));
      crowd.Add(absl::StrCat("client ", i),
                [&, thousands] { SendFrame(simulation, machine, thousands); });
    }
  }
  server.End();
}

}  // namespace sluice::sim
