#include "sluice/sim/scenario.h"
#include "sluice/sim/scenarios/all.h"

namespace sluice::sim {

const std::vector<Scenario>& Scenarios() {
  static const auto& scenarios = *new std::vector<Scenario>{
      {"echo", "what clients send comes back, in order and once", Faults::Harsh(), RunEcho},
      {"million",
       "a million connections at once, and the memory of each",
       Faults::None(),
       RunMillion,
       /*in_mixed=*/false,
       {{"connections", 1'000'000}}},
  };
  return scenarios;
}

}  // namespace sluice::sim
