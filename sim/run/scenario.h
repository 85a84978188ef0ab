// Scenario is a whole system under load, with what must be true of it: what `./sluice sim` runs.
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
  std::string_view what;  // One line, for a person.
  // The most that may go wrong in it. With Faults::Harsh() a connection may end at any time, and
  // the scenario takes that into account; else an error that a client sees breaks a law.
  Faults faults;
  void (*run)(Simulation& simulation);
  bool in_mixed = true;  // False: too long for one of many seeds.
  Amounts usual = {};    // Unless told otherwise, instead of what the seed draws.
};

// All that ship. "mixed" is any one of the others, as the seed has it.
const std::vector<Scenario>& Scenarios();

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_SCENARIO_H_
