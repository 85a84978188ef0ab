// Talk has the common parts of connection scenarios: clients on threads of their own, the faults
// that may hit them, and bytes that show where they belong.
//
// Owner:  a scenario. Thread: the simulation's. Bound: the scenario's. Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_TALK_H_
#define SLUICE_SIM_SCENARIOS_TALK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/faults.h"
#include "sluice/sim/world/random.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

// True if a connection may end though neither side ended it.
bool MayEndConnections(const Faults& faults);
// In two runs of three no such fault happens ("harsh" is 0): then each error of a client is a
// finding.
void CalmOrHarsh(Simulation& simulation);

// An error breaks a law, unless this run's network may end a connection.
bool Allowed(Simulation& simulation, const absl::Status& status);

// Draws a size below `below` for each of a client's two buffers.
void LimitBuffersBelow(Client& client, Random& random, uint64_t below);

// Bytes that differ between clients and between rounds.
std::string Pattern(int64_t client, int64_t round, size_t bytes);

// Ends of connections and their bytes so far.
ConnectionLedger::Totals ConnectionsOf(Site& site);
int64_t ClosedFor(const ConnectionLedger::Totals& totals, CloseReason reason);

// Addresses on which a scenario's server listens, and where a client can reach them from.
inline constexpr std::string_view kDoors = "10.0.0.1:7001,[fd00::1]:7001,unix:/run/door,unix:@door";
struct Door {
  SimOs* machine;
  std::string address;
  bool tcp;
};
// A random door, for a client on `machine` or beside the server.
Door AnyDoor(Simulation& simulation, SimOs& machine);

// Threads of one machine, each a client's script. Join() returns when all have returned.
class Crowd {
 public:
  Crowd(Simulation& simulation, SimOs& machine) : simulation_(simulation), machine_(machine) {}
  ~Crowd() { Join(); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  void Add(std::string name, std::function<void()> script);
  void Join();

 private:
  Simulation& simulation_;
  SimOs& machine_;
  std::vector<ThreadId> threads_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_TALK_H_
