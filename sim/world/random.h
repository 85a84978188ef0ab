// Random is the source of a simulation's choices: the same seed gives the same choices, with every
// compiler and library. (The standard's distributions differ between libraries; its engines do
// not.)
//
// Owner:  a Simulation. Thread: its own. Bound: none. Errors: none.
#ifndef SLUICE_SIM_WORLD_RANDOM_H_
#define SLUICE_SIM_WORLD_RANDOM_H_

#include <cstdint>
#include <random>

#include "sluice/core/base/language.h"

namespace sluice::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t Next() { return engine_(); }
  // A number of [0, count), uniform up to 1 part in 2^32. Requires: 0 < count <= 2^32.
  uint64_t Below(uint64_t count) { return ((engine_() >> 32) * count) >> 32; }
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(Below(static_cast<uint64_t>(most - least) + 1));
  }
  // True with this chance in a million. For 0 nothing is drawn.
  bool Chance(uint32_t per_million) { return per_million != 0 && Below(1'000'000) < per_million; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_RANDOM_H_
