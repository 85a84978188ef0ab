// All scenarios, each in a file and a namespace of its own; scenarios.cc says what each tests.
#ifndef SLUICE_SIM_SCENARIOS_ALL_H_
#define SLUICE_SIM_SCENARIOS_ALL_H_

#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

// Scenarios of connections.
namespace echo_scenario {
void Run(Simulation& simulation);
}
namespace relay_scenario {
void Run(Simulation& simulation);
}
namespace dns_scenario {
void Run(Simulation& simulation);
}
namespace chat_scenario {
void Run(Simulation& simulation);
}
namespace broadcast_scenario {
void Run(Simulation& simulation);
}
namespace overload_scenario {
void Run(Simulation& simulation);
}
namespace stopped_readers_scenario {
void Run(Simulation& simulation);
}
namespace accept_storm_scenario {
void Run(Simulation& simulation);
}
namespace early_scenario {
void Run(Simulation& simulation);
void RunFrames(Simulation& simulation);
}  // namespace early_scenario
namespace tasks_scenario {
void Run(Simulation& simulation);
}
namespace cancels_scenario {
void Run(Simulation& simulation);
}
namespace holds_scenario {
void Run(Simulation& simulation);
}
namespace files_scenario {
void Run(Simulation& simulation);
}
namespace eviction_scenario {
void Run(Simulation& simulation);
}
namespace drain_scenario {
void Run(Simulation& simulation);
}
namespace parked_drain_scenario {
void Run(Simulation& simulation);
}
namespace answers_scenario {
void Run(Simulation& simulation);
}
namespace dead_peers_scenario {
void Run(Simulation& simulation);
}
namespace processes_scenario {
void Run(Simulation& simulation);
}
namespace turns_scenario {
void Run(Simulation& simulation);
}
namespace joins_scenario {
void Run(Simulation& simulation);
}
namespace million_scenario {
void Run(Simulation& simulation);
}

// Scenarios of actors, without a network.
namespace messages_scenario {
void Run(Simulation& simulation);
}
namespace saturation_scenario {
void Run(Simulation& simulation);
}
namespace withdrawals_scenario {
void Run(Simulation& simulation);
}
namespace restarts_scenario {
void Run(Simulation& simulation);
}
namespace deadlock_scenario {
void Run(Simulation& simulation);
}
namespace timers_scenario {
void Run(Simulation& simulation);
}
namespace blocking_scenario {
void Run(Simulation& simulation);
}
namespace spawns_scenario {
void Run(Simulation& simulation);
}
namespace subscriptions_scenario {
void Run(Simulation& simulation);
}

// Scenarios of both.
namespace unruly_scenario {
void Run(Simulation& simulation);
}
namespace callbacks_scenario {
void Run(Simulation& simulation);
}

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_ALL_H_
