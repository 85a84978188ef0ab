// Scenario is a whole system under load, with checks of it: the thing that `./sluice sim` runs.
//
// Owner:  its file registers it, in the order of scenarios.cc.
// Thread: the caller's. Bound: its Amounts. Errors: Simulation::Broken.
#ifndef SLUICE_SIM_RUN_SCENARIO_H_
#define SLUICE_SIM_RUN_SCENARIO_H_

#include <string_view>
#include <vector>

#include "sluice/sim/world/faults.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

struct Scenario {
  std::string_view name;
  std::string_view what;  // A line for users.
  // The usual chances of faults; each seed varies them (FaultsOf). With Faults::Harsh() a
  // connection may end at any time, and the scenario allows for that; otherwise an error that a
  // client sees breaks a law.
  Faults faults;
  void (*run)(Simulation& simulation);
  bool in_mixed = true;  // False: too long for a run of many seeds.
  Amounts usual = {};    // Replace the seed's draws unless --set says otherwise.
};

// All scenarios. "mixed" lets the seed pick one.
const std::vector<Scenario>& Scenarios();

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_SCENARIO_H_
