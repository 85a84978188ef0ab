// Cancels has the pairs of the scenario `cancels`: each kind of wait of a task, and each way to
// cancel it. A run takes a part of these pairs, and fails if a cancel that must meet its wait does
// not meet it. tests/sim/cancels_test.cc counts over many runs that each pair is met.
//
// Owner:  a run, or a test that makes several.
// Thread: the simulation's, of which one runs at a time.
// Bound:  a count for each pair.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_CANCELS_H_
#define SLUICE_SIM_SCENARIOS_CANCELS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "sluice/sim/world/simulation.h"

namespace sluice::sim::cancels_scenario {

enum class Kind : uint8_t {
  kAsk,
  kBlock,
  kSleep,
  kUnparked,
  kTask,
  kFirstOf,
  kWithin,
  kJoin,
  kEndOf,
  kConnect,
  kSubscribe,
  kNext,
  // The rest in sessions only.
  kRead,
  kLine,
  kExactly,
  kFrame,
  kWrite,
  kLongWrite,  // Longer than the output may be, and so begun when it waits.
  kFile,
};
inline constexpr int kKinds = 19;

enum class Way : uint8_t {
  // The actor ends, or its first life does.
  kStops,     // In another handler.
  kFails,     // By an exception of another handler.
  kRestarts,  // As kFails.
  kResets,    // The peer.
  kCloses,    // The session.
  kDrain,     // Its deadline passes.
  // The actor lives on.
  kLoses,  // Another alternative of FirstOf is first.
  kIsLate,
  kGroupCancels,
  kGroupEnds,
};
inline constexpr int kWays = 10;

inline bool InSession(Kind kind) { return kind >= Kind::kRead; }
inline bool Reads(Kind kind) { return kind >= Kind::kRead && kind <= Kind::kFrame; }
inline bool Writes(Kind kind) { return kind >= Kind::kWrite; }
inline bool LivesOn(Way way) { return way >= Way::kLoses; }
// Sessions are not restarted; a read or a connect does not wait in a drain.
bool Applies(Kind kind, Way way);
std::string Name(Kind kind, Way way);

struct Counts {
  struct Count {
    int64_t met = 0;    // The cancel met the wait.
    int64_t close = 0;  // As met, and the end of the wait was due in the same moment.
    int64_t ended = 0;  // The wait had ended just before.
  };
  Count& Of(Kind kind, Way way) {
    return counts[static_cast<size_t>(kind) * kWays + static_cast<size_t>(way)];
  }
  std::array<Count, size_t{kKinds} * kWays> counts;
};

void RunCounted(Simulation& simulation, Counts* counts);

}  // namespace sluice::sim::cancels_scenario

#endif  // SLUICE_SIM_SCENARIOS_CANCELS_H_
