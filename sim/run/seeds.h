// Seeds runs one test under many seeds, and finds the smallest run that still fails.
//
//   const Outcome outcome = RunOnce({.seed = 17}, [](Simulation& simulation) {
//     const int64_t clients = simulation.Amount("clients", 1, 20);
//     ...
//   });
//
// A body asks Simulation::Amount() how much of everything it does. A run that fails is tried again
// with less of each, and with each kind of fault left out, as long as it goes on failing.
//
// Owner:  values of the caller. Thread: the caller's, for everything.
// Bound:  Shrink() makes at most runs_max runs. Errors: in the Outcome.
#ifndef SLUICE_SIM_RUN_SEEDS_H_
#define SLUICE_SIM_RUN_SEEDS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

// One run: the seed, and what is not as the seed has it.
struct Setup {
  uint64_t seed = 1;
  Faults faults;
  Amounts amounts;

  // As `./sluice sim` and the tests take it: seed=17,clients=1,faults.reset=0.
  std::string ToText(const Faults& usual) const;
  absl::Status Apply(std::string_view text);
};

struct Outcome {
  std::string violation;  // Empty: no law broke.
  uint64_t hash = 0;
  int64_t events = 0;  // Calls to the simulated system.
  int64_t virtual_ns = 0;
  Amounts amounts;          // As they were.
  std::string last_lines;   // Of the trace up to the violation, where they were kept.
  absl::Status trace_file;  // Why the file that was asked for does not hold all.
};

using Body = std::function<void(Simulation&)>;

struct TraceOptions {
  bool keep_lines = false;
  std::string path = {};  // Empty: no file.
};

Outcome RunOnce(const Setup& setup, const Body& body, const TraceOptions& trace = {});

// Of the chances in `most`, each is left as it is, four times as high, or left out, as the seed has
// it: what two kinds of faults hide together, one alone may show.
Faults FaultsOf(uint64_t seed, const Faults& most);

// The smallest found that still fails, with the amounts that it asked for.
Setup Shrink(const Setup& failing, const Body& body, int runs_max);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_SEEDS_H_
