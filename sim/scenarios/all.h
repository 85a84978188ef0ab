// The scenarios that ship, one in each file of this folder; scenarios.cc says what each is about.
#ifndef SLUICE_SIM_SCENARIOS_ALL_H_
#define SLUICE_SIM_SCENARIOS_ALL_H_

#include "sluice/sim/simulation.h"

namespace sluice::sim {

// Of connections.
void RunEcho(Simulation& simulation);
void RunRelay(Simulation& simulation);
void RunDns(Simulation& simulation);
void RunChat(Simulation& simulation);
void RunBroadcast(Simulation& simulation);
void RunOverload(Simulation& simulation);
void RunStoppedReaders(Simulation& simulation);
void RunAcceptStorm(Simulation& simulation);
void RunEarly(Simulation& simulation);
void RunFrames(Simulation& simulation);
void RunEviction(Simulation& simulation);
void RunDrain(Simulation& simulation);
void RunParkedDrain(Simulation& simulation);
void RunDeadPeers(Simulation& simulation);
void RunProcesses(Simulation& simulation);
void RunTurns(Simulation& simulation);
void RunMillion(Simulation& simulation);

// Of actors, without a network.
void RunMessages(Simulation& simulation);
void RunSaturation(Simulation& simulation);
void RunWithdrawals(Simulation& simulation);
void RunRestarts(Simulation& simulation);
void RunDeadlock(Simulation& simulation);
void RunTimers(Simulation& simulation);
void RunBlocking(Simulation& simulation);
void RunSpawns(Simulation& simulation);

// Of both.
void RunUnruly(Simulation& simulation);
void RunCallbacks(Simulation& simulation);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_ALL_H_
