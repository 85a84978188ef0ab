// A stress run: all parts at once in one Runtime, for some seconds; then the drain, and the sums.
#ifndef SLUICE_TESTS_STRESS_RUN_H_
#define SLUICE_TESTS_STRESS_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace sluice::stress {

struct Plan {
  absl::Duration length = absl::Seconds(10);
  int workers = 0;  // 0: as many as processors.
  uint64_t seed = 1;
  int64_t memory_bytes_max = int64_t{64} << 20;
  std::vector<std::string> only;  // Empty: all parts.
};

const std::vector<std::string>& PartNames();

// Returns the exit code: 0 if every law held. SIGINT and SIGTERM end the run early, and it is
// checked all the same; SIGUSR1 prints the runtime's state. Requires: no other thread runs yet.
int Run(const Plan& plan);

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_RUN_H_
