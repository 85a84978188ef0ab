#include "sluice/core/actor/rate_limit.h"

#include <algorithm>

namespace sluice {

RateLimit::RateLimit(double per_second, double burst)
    : interval_(absl::Seconds(1) / (per_second > 1e-9 ? per_second : 1e-9)),
      burst_(interval_ * (burst > 1 ? burst : 1)) {}

absl::Duration RateLimit::Take(double count, absl::Duration now) {
  // Unused time is kept for a burst, and no longer.
  paid_until_ = std::max(paid_until_, now - burst_) + interval_ * (count > 0 ? count : 0);
  return std::max(paid_until_ - now, absl::ZeroDuration());
}

bool RateLimit::TryTake(double count, absl::Duration now) {
  if (std::max(paid_until_, now - burst_) + interval_ * count > now) return false;
  (void)Take(count, now);
  return true;
}

}  // namespace sluice
