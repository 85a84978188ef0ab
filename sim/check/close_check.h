// CloseCheck counts how sessions of a scenario end (law L9): each session that ran OnOpen runs
// OnClose once, with the reason that the ledger counts.
//
// Owner:  the scenario; outlives its actors.
// Thread: the simulation's threads, of which one runs at a time.
// Bound:  an entry for each connection.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_CHECK_CLOSE_CHECK_H_
#define SLUICE_SIM_CHECK_CLOSE_CHECK_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

class CloseCheck {
 public:
  explicit CloseCheck(Simulation& simulation) : simulation_(simulation) {}
  int64_t Opened();  // Returns the number of the connection.
  void Closed(int64_t connection, CloseReason reason);
  void AtEnd(const ConnectionLedger::Totals& totals);

 private:
  Simulation& simulation_;
  std::map<int64_t, std::optional<CloseReason>> connections_;
  std::array<int64_t, kCloseReasonCount> closed_{};
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_CHECK_CLOSE_CHECK_H_
