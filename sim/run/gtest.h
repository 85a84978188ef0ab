// ForEachSeed runs a test under many seeds, from a GoogleTest:
//
//   TEST(Bank, KeepsEveryCent) {
//     sim::ForEachSeed([](sim::Simulation& simulation) {
//       ...
//       EXPECT_EQ(total, 100);
//     });
//   }
//
// A failed run, by a law or an EXPECT, is shrunk as far as possible, and reported with the last
// lines of its trace and the one command that repeats it.
//
//   SLUICE_SIM=seed=17,clients=1   this run only, with lines of the trace in SLUICE_SIM_TRACE=FILE
//   SLUICE_LONG=1                  a hundred times as many seeds (./sluice test --long)
//
// A script that waits in a loop must check Failed(), too: after a failure its event may never come.
//
// Owner:  the test. Thread: the test's. Bound: seeds. Errors: failures of the test.
#ifndef SLUICE_SIM_RUN_GTEST_H_
#define SLUICE_SIM_RUN_GTEST_H_

#include <cstdint>

#include "sluice/sim/run/seeds.h"
#include "sluice/sim/world/faults.h"

namespace sluice::sim {

struct SeedOptions {
  uint64_t first = 1;
  int64_t seeds = 50;
  // Processor time of one run, and again of shrinking one. A run that takes longer is reported as
  // one that never ends, and the process ends; 0: no limit.
  int64_t run_seconds = 60;
  Faults faults;  // The usual chances; each seed varies them (FaultsOf).
};

// ASSERT_* in `body` ends the body; its destructors drain what still runs.
void ForEachSeed(const Body& body, const SeedOptions& options = {});

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_GTEST_H_
