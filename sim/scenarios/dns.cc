// A relay to an upstream by name. The name moves from machine to machine, has several addresses of
// which some are dead, and is gone for a while. Each connection looks the name up: it is answered
// by a machine that the name meant while it was made. A second relay does the same by tasks. Once
// the name rests, all connections are served: also by a slow name server, which is not asked for
// clients that gave up, and beside a look-up that hangs.
#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/task_session.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/target.h"
#include "sluice/examples/relay_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/network.h"

namespace sluice::sim::dns_scenario {

namespace {

constexpr const char* kName = "api.test";
constexpr const char* kRelay = "10.0.0.1:7003";
constexpr const char* kTaskRelay = "10.0.0.1:7005";
constexpr const char* kDead = "10.9.9.9";  // No machine has it: a connect gets no answer.
constexpr absl::Duration kSlowLookUp = absl::Seconds(1);
constexpr absl::Duration kBesideHang = absl::Seconds(2);
constexpr absl::Duration kStrangerWaits = absl::Seconds(3);
constexpr const char* kRefuses = "10.0.0.1";  // The relay's own machine: nobody listens there.

// Sends the number of its machine, then echoes.
class Upstream : public Session {
 public:
  explicit Upstream(int64_t number) : number_(number) {}
  void OnOpen() override { WriteOrAbort(absl::StrCat(number_, "\n")); }
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }

 private:
  const int64_t number_;
};

// --- The relay by tasks.

// An attempt to connect, whose task may have gone.
struct Attempt {
  bool cancelled = false;
};

struct Exchange {
  using Reply = std::string;
  std::string bytes;  // "": the greeting is asked for.
};

class Uplink : public TaskSession {
 public:
  Uplink(Simulation* simulation, std::shared_ptr<Attempt> attempt, Ref<Session> client)
      : simulation_(*simulation), attempt_(std::move(attempt)), client_(client) {}
  Task<> Serve() override {
    if (attempt_->cancelled) {
      simulation_.Broken("L8 death",
                         "a connection opens, and the task that began it was cancelled");
    }
    co_await EndOf(client_);
  }
  Task<std::string> On(Exchange exchange) {
    const size_t bytes = exchange.bytes.size();
    if (bytes == 0) {
      const auto greeting = co_await Line();
      co_return greeting ? absl::StrCat(ToAbsl(*greeting), "\n") : "";
    }
    co_await Write(exchange.bytes);
    const auto echo = co_await Exactly(bytes);
    co_return std::string(echo.value_or(""));
  }

 private:
  Simulation& simulation_;
  const std::shared_ptr<Attempt> attempt_;
  const Ref<Session> client_;
};

class TaskRelay : public TaskSession {
 public:
  explicit TaskRelay(Simulation* simulation) : simulation_(*simulation) {}
  Task<> Serve() override {
    const Target upstream = *Target::Parse(absl::StrCat(kName, ":80"));
    for (uint64_t i = simulation_.random().Below(3); i > 0; --i) co_await GivesUp(upstream);
    const absl::StatusOr<Ref<Uplink>> uplink =
        co_await Connect<Uplink>(this, upstream, absl::Seconds(20), &simulation_,
                                 std::make_shared<Attempt>(), Ref<Session>(RefOf(this)));
    if (!uplink.ok()) co_return Abort();
    if (!co_await Forwards(*uplink, "")) co_return Abort();
    while (const auto bytes = co_await Read()) {
      if (!co_await Forwards(*uplink, std::string(*bytes))) co_return Abort();
    }
  }

 private:
  Task<> GivesUp(const Target& upstream) {
    const auto attempt = std::make_shared<Attempt>();
    auto connect = Connect<Uplink>(this, upstream, absl::Seconds(20), &simulation_, attempt,
                                   Ref<Session>(RefOf(this)));
    const absl::Duration patience = absl::Microseconds(simulation_.random().Below(5'000));
    const auto connected = co_await Within(patience, std::move(connect));
    attempt->cancelled = absl::IsDeadlineExceeded(connected.status());
  }
  Task<bool> Forwards(Ref<Uplink> uplink, std::string bytes) {
    auto asked = Ask(uplink, Exchange{std::move(bytes)}, absl::Seconds(20));
    const absl::StatusOr<std::string> answer = co_await asked;
    if (!answer.ok() || answer->empty()) co_return false;
    co_return co_await Write(*answer);
  }

  Simulation& simulation_;
};

// The machines that the name means and meant.
class Name {
 public:
  explicit Name(Simulation& simulation) : simulation_(simulation) {}

  // `machines`: numbers of those that serve. `before`, `behind`: addresses that do not.
  void Set(const std::vector<int64_t>& machines, const std::vector<std::string>& before,
           const std::vector<std::string>& behind = {}) {
    std::vector<std::string> addresses = before;
    for (const int64_t machine : machines) addresses.push_back(absl::StrCat("10.0.0.", machine));
    addresses.insert(addresses.end(), behind.begin(), behind.end());
    simulation_.network().SetHost(kName, addresses);
    times_.push_back({simulation_.NowNs(), {machines.begin(), machines.end()}, before.empty()});
  }

  bool StoodFor(int64_t machine, int64_t since_ns) const {
    return std::ranges::any_of(times_.begin() + Since(since_ns), times_.end(),
                               [=](const Time& time) { return time.machines.contains(machine); });
  }
  // True: every look-up since then found a serving machine first.
  bool WasGood(int64_t since_ns) const {
    return std::ranges::all_of(
        times_.begin() + Since(since_ns), times_.end(),
        [](const Time& time) { return time.good && !time.machines.empty(); });
  }

 private:
  struct Time {
    int64_t from_ns;
    std::set<int64_t> machines;
    bool good;
  };
  // Index of the entry that was valid at that time.
  ptrdiff_t Since(int64_t since_ns) const {
    ptrdiff_t first = static_cast<ptrdiff_t>(times_.size()) - 1;
    while (first > 0 && times_[static_cast<size_t>(first)].from_ns > since_ns) --first;
    return first;
  }

  Simulation& simulation_;
  std::vector<Time> times_;
};

// Each connects to a new name of one machine.
struct Strangers {
  Simulation& simulation;
  std::string address;
  int64_t names = 0;
};
class Stranger : public Pipe {
 public:
  explicit Stranger(Strangers* all) : all_(*all) {}
  void OnOpen() override {
    const std::string name = absl::StrCat("host", all_.names++, ".test");
    all_.simulation.network().SetHost(name, {all_.address});
    ConnectPartner(*Target::Parse(absl::StrCat(name, ":80")), kStrangerWaits);
  }

 private:
  Strangers& all_;
};

// The name server is so slow that most clients give up. Their look-ups must not delay a newcomer.
void Rush(Simulation& simulation, SimOs& machine) {
  simulation.network().SetLookUpTime(kSlowLookUp);
  int64_t served = 0;
  const auto visit = [&] {
    Client client(machine);
    served += client.Connect("10.0.0.1:7004").ok() && client.ReadLine().ok();
  };
  {
    Crowd crowd(simulation, machine);
    for (int64_t i = simulation.Amount("strangers", 0, 40); i > 0; --i) {
      crowd.Add(absl::StrCat("stranger ", i), visit);
    }
  }
  // A look-up that runs when they give up runs to its end.
  served = 0;
  const int64_t start_ns = simulation.NowNs();
  visit();
  if (served != 1) {
    simulation.Broken("names", "no asker waits for a name any more, and a new one is not served");
  } else if (simulation.NowNs() - start_ns > absl::ToInt64Nanoseconds(2.5 * kSlowLookUp)) {
    simulation.Broken("names", "names without askers are looked up before the name of a new asker");
  }
}

// True: the client was served, by a machine that the name meant.
bool Visit(Simulation& simulation, const Name& name, SimOs& machine) {
  const int64_t start_ns = simulation.NowNs();
  Client client(machine);
  const auto failed = [&](const absl::Status& status) {
    if (name.WasGood(start_ns)) (void)Allowed(simulation, status);
    return false;
  };
  const char* const relay = simulation.random().Below(2) == 0 ? kRelay : kTaskRelay;
  if (const absl::Status status = client.Connect(relay); !status.ok()) {
    (void)Allowed(simulation, status);
    return false;
  }
  const absl::StatusOr<std::string> greeting = client.ReadLine();
  if (!greeting.ok()) return failed(greeting.status());
  int64_t number = 0;
  if (!absl::SimpleAtoi(*greeting, &number) || !name.StoodFor(number, start_ns)) {
    simulation.Broken("names", absl::StrCat("machine '", *greeting, "' answers, for which ", kName,
                                            " did not stand"));
  }
  if (const absl::Status status = client.Write("hello"); !status.ok()) return failed(status);
  const absl::StatusOr<std::string> echo = client.ReadExactly(5);
  return echo.ok() || failed(echo.status());
}

// The name server loses one question, so that look-up hangs for 5 s; it answers all later ones.
void Hang(Simulation& simulation, const Name& name, SimOs& machine) {
  Random& random = simulation.random();
  Crowd crowd(simulation, machine);
  simulation.faults.lost_lookup = 1'000'000;
  crowd.Add("unlucky", [&] {
    Client client(machine);
    if (client.Connect(kRelay).ok()) (void)client.ReadLine();
  });
  simulation.Sleep(absl::Milliseconds(1'100 + random.Below(500)));
  simulation.faults.lost_lookup = 0;
  for (int visits = 0; visits < 3 && !simulation.Failed(); ++visits) {
    const int64_t start_ns = simulation.NowNs();
    if (!Visit(simulation, name, machine)) {
      simulation.Broken("names", "a newcomer is not served beside a look-up that hangs");
    } else if (simulation.NowNs() - start_ns > absl::ToInt64Nanoseconds(kBesideHang)) {
      simulation.Broken("names", "a newcomer waits for a look-up that hangs");
    }
    simulation.Sleep(absl::Milliseconds(random.Below(200)));
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Random& random = simulation.random();
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.sockets_per_connection = 2;
  options.blocking_threads_max = static_cast<int>(simulation.Amount("threads", 1, 4));
  Site relay(simulation, options);
  const relay::Upstream upstream{*Target::Parse(absl::StrCat(kName, ":80")), absl::Seconds(20)};
  relay.runtime().Listen<relay::Relay>(kRelay, &upstream);
  relay.runtime().Listen<TaskRelay>(kTaskRelay, &simulation);
  Strangers strangers{simulation, ""};
  relay.runtime().Listen<Stranger>("10.0.0.1:7004", &strangers);
  if (!relay.Start()) return;
  std::vector<std::unique_ptr<Site>> upstreams;
  std::vector<int64_t> numbers;
  for (int64_t i = simulation.Amount("upstreams", 1, 4); i > 0; --i) {
    numbers.push_back(static_cast<int64_t>(simulation.machines().size()) + 1);
    SimOs& machine = simulation.NewMachine(absl::StrCat("upstream ", i));
    upstreams.push_back(std::make_unique<Site>(simulation, machine, SmallOptions(1)));
    upstreams.back()->runtime().Listen<Upstream>("0.0.0.0:80", numbers.back());
    if (!upstreams.back()->Start()) return;
  }
  const auto any = [&] { return numbers[random.Below(numbers.size())]; };
  strangers.address = absl::StrCat("10.0.0.", numbers.front());
  Name name(simulation);
  name.Set({any()}, {});
  SimOs& machine = simulation.NewMachine("clients");
  {
    Crowd crowd(simulation, machine);
    const int64_t visits = simulation.Amount("visits", 1, 6);
    for (int64_t i = simulation.Amount("clients", 1, 8); i > 0; --i) {
      crowd.Add(absl::StrCat("client ", i), [&, visits] {
        for (int64_t v = 0; v < visits; ++v) {
          Visit(simulation, name, machine);
          simulation.Sleep(absl::Milliseconds(random.Below(2'000)));
        }
      });
    }
    for (int64_t i = simulation.Amount("moves", 0, 12); i > 0; --i) {
      simulation.Sleep(absl::Milliseconds(random.Below(1'500)));
      switch (random.Below(7)) {
        case 0:
          name.Set({}, {});
          break;
        case 1:
          name.Set({any()}, {kDead});
          break;
        case 2:
          name.Set({any()}, {kRefuses});
          break;
        case 3:
          name.Set(numbers, {});
          break;
        case 4:
          name.Set({any()}, {kRefuses}, {kDead});
          break;
        default:
          name.Set({any()}, {});
          break;
      }
    }
  }
  // The name rests on a serving machine: alone, behind dead ones, or between two of them.
  switch (random.Below(3)) {
    case 0:
      name.Set({any()}, {});
      break;
    case 1:
      name.Set({any()}, {kRefuses, kDead});
      break;
    default:
      name.Set({any()}, {kRefuses}, {kDead});
      break;
  }
  simulation.faults.lost_lookup = simulation.faults.lost_connect = 0;
  for (int tries = 0; !Visit(simulation, name, machine) && !simulation.Failed(); ++tries) {
    if (tries < (MayEndConnections(simulation.faults) ? 20 : 0)) continue;
    simulation.Broken("L5 progress", "the name rests, and no client is served");
  }
  const bool calm = !simulation.Failed() && !MayEndConnections(simulation.faults);
  if (calm && options.blocking_threads_max >= 3) {  // A thread for the name beside the hanging one.
    name.Set({any()}, {});
    Hang(simulation, name, machine);
  }
  if (calm && !simulation.Failed()) Rush(simulation, machine);
  relay.End();
  for (auto& site : upstreams) site->End();
}

}  // namespace sluice::sim::dns_scenario
