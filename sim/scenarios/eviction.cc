// A server at its limit that evicts: each newcomer is served, and the connection that makes room is
// the one that was silent longest, however old the others are.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"

namespace sluice::sim::eviction_scenario {

namespace {

// Silence is known to within a second: with this distance the order is clear.
constexpr absl::Duration kApart = absl::Seconds(3);

class Echo : public Session {
 public:
  Echo(Simulation* simulation, int64_t slow_us) : simulation_(*simulation), slow_us_(slow_us) {}
  void OnData(Input& in) override {
    if (slow_us_ > 0) {
      simulation_.Sleep(absl::Microseconds(simulation_.random().Below(slow_us_)));
    }
    WriteOrAbort(in.TakeAll());
  }
  void OnClose(CloseReason reason) override {
    if (reason == CloseReason::kEvicted && worker().Draining()) {
      simulation_.Broken("eviction", "a live connection is ended for a newcomer in a drain");
    }
  }

 private:
  Simulation& simulation_;
  const int64_t slow_us_;  // At most; a slow handler delays orders from other workers.
};

// Writes and reads the echo. False: the connection has ended.
bool Speak(Client& client) { return client.Write("hello").ok() && client.ReadExactly(5).ok(); }

// With no descriptor left, newcomers come in a crowd and stay. Each is served, or ended for a later
// one; none waits in vain.
void CrowdWithoutDescriptors(Simulation& simulation, Site& site, SimOs& machine) {
  site.os().LimitDescriptorsToOpenAnd(simulation.Amount("free", 0, 3));
  std::vector<std::unique_ptr<Client>> stay;
  Crowd crowd(simulation, machine);
  for (int64_t i = simulation.Amount("crowd", 4, 24); i > 0; --i) {
    Client& client = *stay.emplace_back(std::make_unique<Client>(machine));
    crowd.Add(absl::StrCat("one of a crowd ", i), [&simulation, &client] {
      simulation.Sleep(absl::Microseconds(simulation.random().Below(20'000)));
      absl::Status heard = client.Connect("10.0.0.1:7001");
      if (heard.ok()) heard = client.Write("hello");
      if (heard.ok()) heard = client.ReadExactly(5).status();
      if (absl::IsDeadlineExceeded(heard)) {
        simulation.Broken("eviction", "without descriptors a newcomer waits for nothing");
      }
    });
  }
  // The rest of the process opens a descriptor, too, once one is free.
  Crowd others(simulation, site.os());
  int opened = -1;
  if (simulation.Amount("others", 0, 1) == 1) {
    others.Add("the rest of the process", [&simulation, &site, &opened] {
      for (int i = 0; i < 1'000 && opened < 0; ++i) {
        simulation.Sleep(absl::Microseconds(simulation.random().Below(50)));
        opened = site.os().SpareOpen();
      }
    });
  }
  crowd.Join();
  others.Join();
  if (opened >= 0) site.os().Close(opened);
}

// Newcomers come while a drain begins. From then on no connection is ended for them.
void DrainAmongNewcomers(Simulation& simulation, Site& site, SimOs& machine) {
  Crowd crowd(simulation, machine);
  for (int64_t i = simulation.Amount("late", 4, 24); i > 0; --i) {
    crowd.Add(absl::StrCat("late ", i), [&simulation, &machine] {
      simulation.Sleep(absl::Microseconds(simulation.random().Below(2'000)));
      Client client(machine);
      if (client.Connect("10.0.0.1:7001").ok()) (void)Speak(client);  // Served, or refused.
    });
  }
  simulation.Sleep(absl::Microseconds(simulation.random().Below(3'000)));
  if (simulation.random().Below(2) == 0) {
    // With only the spare descriptor each of them would take the place of another one.
    site.os().LimitDescriptorsToOpenAnd(0);
  }
  site.End();
  crowd.Join();
}

}  // namespace

void Run(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.at_limit = AtLimit::kEvictIdle;
  options.max_connections = simulation.Amount("limit", 1, 6);
  Site site(simulation, options);
  site.runtime().Listen<Echo>("10.0.0.1:7001", &simulation, simulation.Amount("slow_us", 0, 1'000));
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  std::vector<std::unique_ptr<Client>> heard;  // Longest silent first.
  const auto speaks = [&](size_t at) {
    simulation.Sleep(kApart);
    if (!Speak(*heard[at])) {
      simulation.Broken("eviction", absl::StrCat("number ", at, " of ", heard.size(),
                                                 " in the order of silence has been evicted"));
    }
    std::rotate(heard.begin() + static_cast<ptrdiff_t>(at),
                heard.begin() + static_cast<ptrdiff_t>(at) + 1, heard.end());
  };
  for (int64_t i = simulation.Amount("newcomers", 1, 12); i > 0 && !simulation.Failed(); --i) {
    simulation.Sleep(kApart);
    const bool full = static_cast<int64_t>(heard.size()) == options.max_connections;
    heard.push_back(std::make_unique<Client>(machine));
    if (!heard.back()->Connect("10.0.0.1:7001").ok() || !Speak(*heard.back())) {
      simulation.Broken("eviction", "a newcomer is not served");
      break;
    }
    if (full) {
      const absl::StatusOr<std::string> end = heard.front()->Read();
      if (absl::IsDeadlineExceeded(end.status())) {
        simulation.Broken("eviction", "the longest silent one stays");
      }
      heard.erase(heard.begin());
    }
    for (int64_t speakers = simulation.Amount("speakers", 0, 4); speakers > 0; --speakers) {
      speaks(simulation.random().Below(heard.size()));
    }
  }
  for (size_t i = heard.size(); i > 0 && !simulation.Failed(); --i) speaks(0);
  if (!heard.empty() && simulation.Amount("without_descriptors", 0, 1) == 1) {
    CrowdWithoutDescriptors(simulation, site, machine);
  }
  if (!heard.empty() && simulation.random().Below(2) == 0) {
    DrainAmongNewcomers(simulation, site, machine);
    return;
  }
  heard.clear();
  site.End();
}

}  // namespace sluice::sim::eviction_scenario
