// The scenarios that ship, one in each file of this folder; scenarios.cc says what each is about.
#ifndef SLUICE_SIM_SCENARIOS_ALL_H_
#define SLUICE_SIM_SCENARIOS_ALL_H_

#include "sluice/sim/faults.h"
#include "sluice/sim/simulation.h"

namespace sluice::sim {

// True where a connection may end though neither side ended it.
inline bool MayEndConnections(const Faults& faults) {
  return faults.reset != 0 || faults.vanish != 0 || faults.no_descriptor != 0 ||
         faults.unreachable != 0 || faults.lost_connect != 0;
}

void RunEcho(Simulation& simulation);
void RunMillion(Simulation& simulation);

// Of actors, without a network.
void RunMessages(Simulation& simulation);
void RunSaturation(Simulation& simulation);
void RunRestarts(Simulation& simulation);
void RunDeadlock(Simulation& simulation);
void RunTimers(Simulation& simulation);
void RunBlocking(Simulation& simulation);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_ALL_H_
