// Prints a run's results at its end, and checks the laws that only the whole process can break.
#ifndef SLUICE_TESTS_STRESS_REPORT_H_
#define SLUICE_TESTS_STRESS_REPORT_H_

#include <memory>
#include <vector>

#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/stress/part.h"
#include "sluice/tests/stress/process.h"

namespace sluice::stress {

using Parts = std::vector<std::unique_ptr<Part>>;

void PrintRates(const Parts& parts, double seconds);
// After the drain: prints the ledgers, and checks that they balance and hold nothing.
void CheckLedgers(Runtime& runtime, Laws& laws);
// Called after the runtime's end.
void CheckProcess(const ProcessFigures& before, const Ceiling& ceiling, Laws& laws);

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_REPORT_H_
