// Seeds runs one test under many seeds, and finds the smallest run that still fails.
//
//   const Outcome outcome = RunOnce({.seed = 17}, [](Simulation& simulation) {
//     const int64_t clients = simulation.Amount("clients", 1, 20);
//     ...
//   });
//
// A body asks Simulation::Amount() how much of everything it does. A run that fails is repeated
// with less of each, and without each kind of fault, as long as it still fails.
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

// A run: the seed, and what differs from the seed's own choices.
struct Setup {
  uint64_t seed = 1;
  Faults faults;
  Amounts amounts;

  // The text form of `./sluice sim` and the tests: seed=17,clients=1,faults.reset=0.
  std::string ToText(const Faults& usual) const;
  absl::Status Apply(std::string_view text);
};

struct Outcome {
  std::string violation;  // Empty: no law broke.
  uint64_t hash = 0;
  int64_t events = 0;  // Calls to the simulated system.
  int64_t virtual_ns = 0;
  Amounts amounts;          // The amounts that were used.
  std::string last_lines;   // Trace lines up to the violation, if they were kept.
  absl::Status trace_file;  // Error: the requested file is incomplete.
};

using Body = std::function<void(Simulation&)>;

struct TraceOptions {
  bool keep_lines = false;
  std::string path = {};  // Empty: no file.
};

Outcome RunOnce(const Setup& setup, const Body& body, const TraceOptions& trace = {});

// The seed leaves each chance of `most` as it is, multiplies it by four (500,000 at most), or sets
// it to 0: a bug that two kinds of fault hide together may show with one of them alone.
Faults FaultsOf(uint64_t seed, const Faults& most);

// The smallest run found that still fails, with the amounts that it used.
Setup Shrink(const Setup& failing, const Body& body, int runs_max);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_SEEDS_H_
