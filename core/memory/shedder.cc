#include "sluice/core/memory/shedder.h"

#include <algorithm>

namespace sluice {

namespace {

constexpr int64_t kBytesMinMost = 1'024;

// Long enough to find a connection that fills its memory again after a turn: that takes
// `shed_after` and a few looks.
int64_t GoesOnMs(absl::Duration shed_after) {
  if (shed_after > absl::Hours(1)) return 0;
  return 2 * absl::ToInt64Milliseconds(shed_after) + ShedBoard<>::kFreshMs;
}

}  // namespace

Shedder::Shedder(const Budget& budget, int workers, int64_t connections_max,
                 absl::Duration shed_after)
    : budget_(budget),
      board_(workers,
             std::clamp<int64_t>(budget.BytesMax() / (4 * connections_max), 1, kBytesMinMost),
             GoesOnMs(shed_after)) {}

int64_t Shedder::SpentSinceMs(int64_t now_ms) {
  const uint32_t recoveries = budget_.Recoveries();
  if (budget_.Spent()) return board_.SpentSinceMs(recoveries, now_ms);
  board_.NotSpent();
  return -1;
}

}  // namespace sluice
