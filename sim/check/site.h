// Site is a program on a simulated machine: a runtime, with the laws watched from its start to its
// drain.
//
//   Site site(simulation, options);
//   site.runtime().Listen<Echo>("10.0.0.1:7001");
//   if (!site.Start()) return;
//   ...
//   site.End();
//
// Owner:  a scenario or a test. Thread: that which made the simulation. Bound: its options.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_CHECK_SITE_H_
#define SLUICE_SIM_CHECK_SITE_H_

#include "absl/time/time.h"
#include "sluice/core/os/options.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/check/laws.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

// Small, so that bounds are reached. Logs nothing.
Options SmallOptions(int workers);

class Site {
 public:
  Site(Simulation& simulation, const Options& options);
  Site(Simulation& simulation, SimOs& os, const Options& options);
  ~Site();  // End(), if it was not called.
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  Runtime& runtime() { return runtime_; }
  SimOs& os() { return os_; }
  Simulation& simulation() { return simulation_; }
  // False: a fault left no thread or socket to start with.
  bool Start();
  // Checks all accounts now: if nothing is on its way, each credit must have a place.
  void Look() { laws_.Look(runtime_); }
  // Drains, and checks that nothing is left.
  void End(absl::Duration drain_timeout = absl::Seconds(10));

 private:
  Simulation& simulation_;
  SimOs& os_;
  Laws laws_;  // Declared before the runtime: must outlive it.
  Runtime runtime_;
  bool ended_ = false;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_CHECK_SITE_H_
