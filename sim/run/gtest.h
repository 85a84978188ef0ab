// ForEachSeed runs a test under many seeds, from a GoogleTest:
//
//   TEST(Bank, KeepsEveryCent) {
//     sim::ForEachSeed([](sim::Simulation& simulation) {
//       ...
//       EXPECT_EQ(total, 100);
//     });
//   }
//
// What fails, a law or an EXPECT, is made as small as it can be, and told with the last lines of
// its trace and the one command that repeats it.
//
//   SLUICE_SIM=seed=17,clients=1   this run only, with lines of the trace in SLUICE_SIM_TRACE=FILE
//   SLUICE_LONG=1                  a hundred times as many seeds (./sluice test --long)
//
// A script that waits in a loop for what a failure has prevented must look at Failed(), too.
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
  // Processor time of one run, and of making one smaller, after which it is told as one that never
  // ends, and the process ends; 0: none.
  int64_t run_seconds = 60;
  Faults faults;  // The most that goes wrong; each seed has its own part of it.
};

// In `body`, ASSERT_* ends the body; what is left running is drained by its destructors.
void ForEachSeed(const Body& body, const SeedOptions& options = {});

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_GTEST_H_
