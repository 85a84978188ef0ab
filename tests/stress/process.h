// The kernel's figures of this process.
#ifndef SLUICE_TESTS_STRESS_PROCESS_H_
#define SLUICE_TESTS_STRESS_PROCESS_H_

#include <cstdint>

namespace sluice::stress {

struct ProcessFigures {
  int64_t resident_bytes = 0;  // VmRSS
  int64_t peak_bytes = 0;      // VmHWM
  int descriptors = 0;
  int threads = 0;
};
ProcessFigures LookAtProcess();

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_PROCESS_H_
