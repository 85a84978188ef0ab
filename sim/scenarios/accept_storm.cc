// Far more clients come than there is room for, while descriptors and memory run out, and limits
// change. Never more than the limit are served, a refused client is notified, and after the storm
// each client that comes again gets in.
#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"

namespace sluice::sim::accept_storm_scenario {

namespace {

constexpr int64_t kFewDescriptors = 40;

struct Storm {
  Simulation& simulation;
  Random& random;
  Ref<Acceptor> acceptor = {};
  int64_t limit_max = 0;  // The highest limit ever set.
  int64_t alive = 0;
  int64_t served = 0;
  bool over = false;
};

class Guest : public Session {
 public:
  // Some constructors fail: their place must be free again.
  explicit Guest(Storm* storm) : storm_(*storm) {
    if (!storm_.over && storm_.random.Below(16) == 0) throw std::runtime_error("no guest");
  }
  void OnOpen() override {
    open_ = true;
    if (++storm_.alive > storm_.limit_max) {
      storm_.simulation.Broken("L3 bound", absl::StrCat(storm_.alive, " connections stand, and ",
                                                        storm_.limit_max, " are allowed"));
    }
  }
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
  void OnClose(CloseReason) override { storm_.alive -= open_ ? 1 : 0; }

 private:
  Storm& storm_;
  bool open_ = false;
};

// Comes once, and stays a while. True: the client was served.
bool Visit(Storm& storm, Client& client, const std::string& address) {
  if (!client.Connect(address).ok()) return false;
  const bool served = client.Write("hello").ok() && client.ReadExactly(5).ok();
  if (served) {
    ++storm.served;
    storm.simulation.Sleep(absl::Milliseconds(storm.random.Below(30)));
  }
  if (storm.random.Below(8) == 0) {
    client.Reset();
  } else {
    client.Close();
  }
  return served;
}

void ComeOften(Storm& storm, SimOs& machine, int64_t visits) {
  const Door door = AnyDoor(storm.simulation, machine);
  Client client(*door.machine, absl::Seconds(20));
  for (int64_t i = 0; i < visits; ++i) {
    Visit(storm, client, door.address);
    storm.simulation.Sleep(absl::Microseconds(storm.random.Below(20'000)));
  }
}

// After the storm: each client comes again until it is served, which must not take long.
void ComeAgain(Storm& storm, SimOs& machine) {
  const Door door = AnyDoor(storm.simulation, machine);
  const int64_t start_ns = storm.simulation.NowNs();
  Client client(*door.machine, absl::Seconds(20));
  while (!Visit(storm, client, door.address)) {
    storm.simulation.Sleep(absl::Milliseconds(storm.random.Between(50, 1'000)));
    if (storm.simulation.NowNs() - start_ns < 300'000'000'000) continue;
    storm.simulation.Broken("L5 progress", absl::StrCat("no client is accepted at ", door.address,
                                                        " though the storm is over"));
    return;
  }
}

AtLimit AnyPolicy(Random& random) { return static_cast<AtLimit>(random.Below(3)); }

// While the storm lasts: takes descriptors away, changes limits, suspends accepting.
void Disturb(Storm& storm, SimOs& server, int64_t descriptors) {
  Random& random = storm.random;
  while (!storm.over) {
    storm.simulation.Sleep(absl::Milliseconds(random.Between(1, 40)));
    switch (random.Below(6)) {
      case 0: {
        constexpr int kErrors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
        const auto count = static_cast<int>(random.Below(30));
        server.RefuseDescriptors(kErrors[random.Below(4)], count);
        break;
      }
      case 1:
        server.descriptors_max = random.Below(2) == 0 ? server.OpenDescriptors() : descriptors;
        break;
      case 2: {
        const int64_t limit = random.Between(1, 20);
        storm.limit_max = std::max(storm.limit_max, limit);
        (void)storm.acceptor.TrySend(SetConnectionLimit{limit, AnyPolicy(random)});
        break;
      }
      case 3:
        (void)storm.acceptor.TrySend(
            SetAcceptRate{random.Between(0, 3) * 100, random.Between(0, 3)});
        break;
      case 4:
        (void)storm.acceptor.TrySend(SuspendAccept{});
        storm.simulation.Sleep(absl::Milliseconds(random.Below(20)));
        while (storm.acceptor.TrySend(ResumeAccept{}) != Answer::kAccepted) {
          storm.simulation.Sleep(absl::Milliseconds(1));
        }
        break;
      default:
        break;
    }
  }
  server.RefuseDescriptors(0, 0);
  server.descriptors_max = descriptors;
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Storm storm{simulation, simulation.random()};
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  storm.limit_max = options.max_connections = simulation.Amount("limit", 1, 12);
  options.at_limit = static_cast<AtLimit>(simulation.Amount("policy", 0, 2));
  options.backlog = static_cast<int>(simulation.Amount("backlog", 1, 32));
  options.accepts_per_second_max = simulation.Amount("rate", 0, 3) * 50;
  options.linger_timeout = absl::Milliseconds(500);
  // If its network is gone, an accepted connection holds a place until a time-out ends it.
  options.idle_timeout = absl::Seconds(10);
  SimOs& server = simulation.os();
  const int64_t descriptors =
      simulation.Amount("few", 0, 1) == 0 ? server.descriptors_max : kFewDescriptors;
  Site site(simulation, options);
  storm.acceptor = site.runtime().Listen<Guest>(kDoors, &storm);
  if (!site.Start()) return;
  server.descriptors_max = descriptors;
  SimOs& machine = simulation.NewMachine("clients");
  Crowd disturbers(simulation, machine);
  if (simulation.Amount("disturbed", 0, 1) == 1) {
    disturbers.Add("disturber", [&] { Disturb(storm, server, descriptors); });
  }
  {
    Crowd crowd(simulation, machine);
    const int64_t visits = simulation.Amount("visits", 1, 8);
    for (int64_t i = simulation.Amount("clients", 1, 40); i > 0; --i) {
      crowd.Add(absl::StrCat("client ", i), [&] { ComeOften(storm, machine, visits); });
    }
  }
  storm.over = true;
  disturbers.Join();
  // Clients of UNIX sockets are on the server's machine.
  server.descriptors_max = simulation.machines().back()->descriptors_max;
  simulation.faults.no_descriptor = 0;
  {
    Crowd crowd(simulation, machine);
    for (int64_t i = simulation.Amount("again", 1, 12); i > 0; --i) {
      crowd.Add(absl::StrCat("again ", i), [&] { ComeAgain(storm, machine); });
    }
  }
  site.End();
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  if (totals.Open() != 0 || totals.BytesHeld() != 0) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
  if (storm.alive != 0) simulation.Broken("L9 close", "a session never got OnClose");
}

}  // namespace sluice::sim::accept_storm_scenario
