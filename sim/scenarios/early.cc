// Sessions write, close, ask, monitor, subscribe and are written to before their connection stands;
// peers send frames that are too long; sockets connect to themselves. Accepted bytes arrive, in
// order. Before OnOpen a session is notified of nothing but passed deadlines, in time. No session
// stays for ever.
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/base/strings.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::early_scenario {

namespace {

constexpr uint16_t kFirstPort = 32'768;  // First port that a machine gives to connecting sockets.
constexpr absl::Duration kEndsWithin = absl::Minutes(5);
constexpr int64_t kCries = 200;
// A tick, and the turns of actors that are never slow.
constexpr int64_t kLateNs = 20'000'000;

struct Call {
  std::string said;     // Bytes that Write accepted.
  std::string arrived;  // Bytes that arrived at the server.
  bool open = false;
  bool ended = false;
  bool aborted = false;
};
class Oracle;

struct World {
  explicit World(Simulation& of) : simulation(of), random(of.random()) {}
  Simulation& simulation;
  Random& random;
  std::vector<Call> calls;
  int64_t ended = 0;
  Ref<Oracle> oracle = {};
  Ref<Hub> hub = {};
  int64_t cries = 0;  // Messages of the hub so far.
};

struct Riddle {
  using Reply = int64_t;
  int64_t number = 0;
};

// Answers at once, later or never; publishes to all subscribers.
class Oracle : public Actor {
 public:
  explicit Oracle(World* world) : world_(*world) {}
  void OnStart() override { Cry(); }
  void On(Riddle riddle, Promise<int64_t> promise) {
    switch (world_.random.Below(4)) {
      case 0:
        return;
      case 1:
        later_.emplace_back(std::move(promise), riddle.number);
        After(absl::Microseconds(world_.random.Below(3'000)), [this] {
          later_.back().first.Resolve(later_.back().second);
          later_.pop_back();
        });
        return;
      default:
        promise.Resolve(riddle.number);
    }
  }

 private:
  void Cry() {
    if (world_.cries == kCries) return;
    const std::string text = absl::StrCat("hub ", ++world_.cries, "\n");
    (void)Send(world_.hub, Publish{Bytes::Copy(text), {}, 0});
    After(absl::Milliseconds(1), [this] { Cry(); });
  }

  World& world_;
  std::vector<std::pair<Promise<int64_t>, int64_t>> later_;
};

struct Say {};
struct Bye {
  bool whole = false;
};

// Writes lines at every point of its life, and ends at one of them.
class Caller : public Session {
 public:
  // `answered`: an acceptor listens there.
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
    CheckDeadlines();
    call().open = true;
    if (!answered_) {
      world_.simulation.Broken("early", "a socket that is connected to itself was taken for more");
    }
    hold_.Release();
    if (wants_writable_) After(absl::Milliseconds(500), [this] { CheckWritable(); });
    Act();
  }
  void OnWritable() override {
    AfterOnOpen("OnWritable");
    wants_writable_ = false;
  }
  void OnDown(const Down&) override { AfterOnOpen("a Down"); }
  void On(Subscribed) { AfterOnOpen("a Subscribed"); }
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
  void OnClose(CloseReason reason) override {
    CheckDeadlines();
    if (call().aborted && !call().open && reason != CloseReason::kAborted) {
      world_.simulation.Broken("early", "an attempt that was aborted ends for another reason");
    }
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
  void Broken(std::string_view what) { world_.simulation.Broken("early", what); }
  void Ask() {
    Random& random = world_.random;
    const int64_t number = ++questions_;
    const absl::Duration timeout =
        random.Below(3) == 0 ? absl::Hours(1) : absl::Microseconds(random.Below(5'000));
    const int64_t deadline_ns = world_.simulation.NowNs() + absl::ToInt64Nanoseconds(timeout);
    auto told = [this, number](const absl::StatusOr<int64_t>& reply) { Told(number, reply); };
    deadlines_ns_[number] = deadline_ns;
    if (random.Below(4) == 0) {
      AskInOrder(world_.oracle, Riddle{number}, timeout, told);
    } else if (Actor::Ask(world_.oracle, Riddle{number}, timeout, told) != Answer::kAccepted) {
      deadlines_ns_.erase(number);
    }
  }
  void Told(int64_t number, const absl::StatusOr<int64_t>& reply) {
    const auto found = deadlines_ns_.find(number);
    if (found == deadlines_ns_.end()) return Broken("a question is answered twice");
    const bool late = absl::IsDeadlineExceeded(reply.status());
    if (late && world_.simulation.NowNs() < found->second) Broken("a deadline comes early");
    // If the question cannot be asked, the callback runs at once.
    if (!late && !absl::IsUnavailable(reply.status())) AfterOnOpen("an answer");
    if (reply.ok() && *reply != number) Broken("the answer of another question");
    deadlines_ns_.erase(found);
  }
  void CheckDeadlines() {
    for (const auto& [number, deadline_ns] : deadlines_ns_) {
      if (deadline_ns + kLateNs < world_.simulation.NowNs()) {
        Broken("a deadline has passed before OnOpen without a notice");
      }
    }
  }
  // The output has room by now: either no bytes were written, or they have left.
  void CheckWritable() {
    if (wants_writable_ && !closed_ && connection() != nullptr && OutputBytes() == 0) {
      Broken("WantWritable before the connection stood is forgotten");
    }
  }
  void ActOtherwise() {
    Random& random = world_.random;
    switch (random.Below(12)) {
      case 0:
        Ask();
        break;
      case 1:
        Ask();
        Ask();
        break;
      case 2:
        Monitor(Ref<Oracle>());
        break;
      case 3:
        wants_writable_ = !closed_;
        WantWritable();
        break;
      case 4:
        if (!closed_) (void)Send(world_.hub, Subscribe(this));
        break;
      case 5:
        if (random.Below(4) != 0) break;
        call().aborted = closed_ = true;
        Abort();
        break;
      default:
        break;
    }
  }
  void Act() {
    ActOtherwise();
    Random& random = world_.random;
    if (random.Below(8) == 0) hold_ = HoldReading();
    if (call().open) hold_.Release();
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
  bool wants_writable_ = false;
  ReadHold hold_;
  int64_t questions_ = 0;
  std::map<int64_t, int64_t> deadlines_ns_;  // Open questions, by number.
};

// Records the lines of each caller.
class Hearer : public LineSession {
 public:
  explicit Hearer(World* world) : LineSession(100), world_(*world) {}
  void OnLine(std::string_view line) override {
    if (line.substr(0, 4) == "hub ") {
      int64_t cry = 0;
      if (!absl::SimpleAtoi(ToAbsl(line.substr(4)), &cry) || cry <= last_cry_) {
        world_.simulation.Broken("L2 order", "a hub's line came twice, or too late");
      }
      last_cry_ = cry;
      return;
    }
    size_t number = 0;
    if (!absl::SimpleAtoi(ToAbsl(line.substr(0, line.find(' '))), &number) ||
        number >= world_.calls.size()) {
      world_.simulation.Broken("L2 order",
                               absl::StrCat("a line that no session wrote: ", ToAbsl(line)));
      return;
    }
    world_.calls[number].arrived += std::string(line) + "\n";
    (void)Write("heard\n");  // The caller may have ended.
  }

 private:
  World& world_;
  int64_t last_cry_ = 0;
};

// Frames of N thousand bytes, N being the first byte.
class Framed : public Session {
  void OnData(Input& in) override {
    while (!in.empty() && MayGoOn()) {
      const size_t bytes = size_t{static_cast<uint8_t>(in.Peek()[0])} * 1'000;
      if (in.size() < bytes) return;
      in.Skip(bytes);
      (void)Write("ok\n");  // The peer may have gone.
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
    simulation.Broken("early",
                      "a peer that sent too long a frame is not notified, and stays connected");
  }
}

void Compare(Simulation& simulation, const Call& call) {
  const bool whole = call.open && !call.aborted && !MayEndConnections(simulation.faults);
  if (call.said == call.arrived) return;
  if (call.said.compare(0, call.arrived.size(), call.arrived) != 0) {
    simulation.Broken("L2 order", absl::StrCat("said: ", call.said, "arrived: ", call.arrived));
  } else if (whole) {
    simulation.Broken("early", absl::StrCat("of ", call.said.size(), " bytes that were accepted ",
                                            call.arrived.size(), " have arrived"));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  World world(simulation);
  Random& random = simulation.random();
  Site server(simulation, SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3))));
  server.runtime().Listen<Hearer>("10.0.0.1:7001", &world);
  if (!server.Start()) return;
  SimOs& callers = simulation.NewMachine("callers");
  Site site(simulation, callers,
            SmallOptions(static_cast<int>(simulation.Amount("threads", 1, 3))));
  world.hub = site.runtime().Spawn<Hub>();
  world.oracle = site.runtime().Spawn<Oracle>(&world);
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
  // No acceptor listens there; one caller is given that very port.
  const std::string dead = absl::StrCat("127.0.0.1:", kFirstPort + random.Below(4));
  for (int64_t i = simulation.Amount("selves", 0, 6); i > 0; --i) begin(dead, /*answered=*/false);
  std::vector<Ref<Caller>> refs;
  for (int64_t i = simulation.Amount("callers", 1, 8); i > 0; --i) {
    refs.push_back(begin("10.0.0.1:7001", /*answered=*/true));
  }
  const auto tell = [&](auto message) {
    const Ref<Caller>& ref = refs[random.Below(refs.size())];
    (void)ref.TrySend(message);  // The caller may have ended.
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
      // Well below input_bytes_max, or so far above that no read can leap over it.
      const bool fits = random.Below(2) == 0;
      const auto thousands =
          static_cast<uint8_t>(fits ? 1 + random.Below(65) : 100 + random.Below(20));
      crowd.Add(absl::StrCat("client ", i),
                [&, thousands] { SendFrame(simulation, machine, thousands); });
    }
  }
  server.End();
}

}  // namespace sluice::sim::early_scenario
