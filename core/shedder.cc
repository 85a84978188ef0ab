#include "sluice/core/shedder.h"

#include <algorithm>

namespace sluice {

namespace {

constexpr int64_t kBytesMinMost = 1'024;

}  // namespace

Shedder::Shedder(const Budget& budget, int workers, int64_t connections_max)
    : budget_(budget),
      board_(workers,
             std::clamp<int64_t>(budget.BytesMax() / (4 * connections_max), 1, kBytesMinMost)) {}

int64_t Shedder::SpentSinceMs(int64_t now_ms) {
  const uint32_t recoveries = budget_.Recoveries();
  if (budget_.Spent()) return board_.SpentSinceMs(recoveries, now_ms);
  board_.NotSpent();
  return -1;
}

}  // namespace sluice
