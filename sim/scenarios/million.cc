// A million connections at once in one process: each sends a few words, receives them again, and
// stays. Forty machines with a runtime each call one server, as a machine has 28,232 ports to call
// from.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/world/link.h"

namespace sluice::sim::million_scenario {

namespace {

constexpr int64_t kMachines = 40;
constexpr int kRounds = 3;
constexpr int64_t kAtOnce = 4'000;  // Connects under way: as many as the server's queue holds.
constexpr std::string_view kWord = "hello";

// Counts of all callers; one thread of the system runs them all.
struct Tally {
  int64_t open = 0;  // Connections with all echoes.
  int64_t ended = 0;
  int64_t wrong = 0;
};

class Echo : public Session {
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

class Caller : public Session {
 public:
  explicit Caller(Tally* tally) : tally_(tally) {}
  void OnOpen() override { WriteOrAbort(kWord); }
  void OnData(Input& in) override {
    if (in.size() < kWord.size()) return;
    if (in.Take(kWord.size()) != kWord) ++tally_->wrong;
    if (++rounds_ == kRounds) {
      ++tally_->open;
    } else {
      WriteOrAbort(kWord);
    }
  }
  void OnClose(CloseReason) override { ++tally_->ended; }

 private:
  Tally* const tally_;
  int rounds_ = 0;
};

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * 4'096;
}

Options OptionsFor(int64_t connections, int workers) {
  Options options = SmallOptions(workers);
  options.max_connections = connections;
  options.actors_max = static_cast<uint32_t>(connections + 1'000);
  options.memory_bytes_max = int64_t{1} << 30;
  return options;
}

}  // namespace

void Run(Simulation& simulation) {
  const int64_t connections = simulation.Amount("connections", 1, 1'000'000);
  const int64_t each = (connections + kMachines - 1) / kMachines;
  Tally tally;
  simulation.os().descriptors_max = connections + 1'000;
  Site server(simulation, OptionsFor(connections, 2));
  server.runtime().Listen<Echo>("10.0.0.1:7001");
  if (!server.Start()) return;
  std::vector<std::unique_ptr<Site>> callers;
  for (int64_t i = 0; i < kMachines; ++i) {
    SimOs& machine = simulation.NewMachine(absl::StrCat("caller ", i));
    machine.descriptors_max = each + 1'000;
    callers.push_back(std::make_unique<Site>(simulation, machine, OptionsFor(each, 1)));
    if (!callers.back()->Start()) return;
  }
  const int64_t before_bytes = ResidentBytes();
  for (int64_t begun = 0; begun < connections;) {
    for (int64_t i = 0; i < kAtOnce && begun < connections; ++i, ++begun) {
      Runtime& runtime = callers[static_cast<size_t>(begun % kMachines)]->runtime();
      const auto caller =
          Connect<Caller>(runtime, "10.0.0.1:7001", absl::InfiniteDuration(), &tally);
      if (!caller.ok()) simulation.Broken("connect", std::string(caller.status().message()));
    }
    if (!simulation.RunUntil([&] { return tally.open == begun; }, absl::Minutes(10))) {
      simulation.Broken("L5 progress", absl::StrCat(tally.open, " of ", begun, " were served"));
      break;
    }
  }
  const double per_connection =
      static_cast<double>(ResidentBytes() - before_bytes) / static_cast<double>(connections);
  constexpr double kKernel = sizeof(Link) + 2 * (sizeof(Stream) + sizeof(Watch) + sizeof(void*));
  absl::PrintF(
      "%d connections open, %d of them ended; %.0f bytes of memory for each: the simulated "
      "kernel's "
      "%.0f, and %.0f for each of its two ends in the framework (the least object sizes; "
      "docs/limits.md "
      "has its figure)\n",
      tally.open, tally.ended, per_connection, kKernel, (per_connection - kKernel) / 2);
  if (tally.wrong > 0) simulation.Broken("L2 order", "an echo differs from what was sent");
  if (tally.ended > 0)
    simulation.Broken("L9 close", "a connection ended that neither side had ended");
  for (auto& caller : callers) caller->End(absl::Minutes(5));
  server.End(absl::Minutes(5));
}

}  // namespace sluice::sim::million_scenario
