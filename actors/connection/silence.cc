#include "sluice/actors/connection/silence.h"

#include <algorithm>

#include "sluice/core/base/plant.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

namespace {

// Minimum time between two looks, and minimum time for an answer.
constexpr int64_t kLookMs = 1'000;

}  // namespace

int64_t Silence::NextLookMs(int64_t looked_ms, int64_t timeout_ms, const Silence* silence) {
  if (timeout_ms == TimerWheel::kNever) return TimerWheel::kNever;
  const int64_t soonest_ms = looked_ms + kLookMs;
  if (silence == nullptr) return std::max(looked_ms + timeout_ms / 5 * 2, soonest_ms);
  const int64_t over_ms = silence->asked_ms_ + timeout_ms;
  return std::clamp(over_ms, soonest_ms, std::max(looked_ms + timeout_ms / 5, soonest_ms));
}

bool Silence::IsDead(int64_t now_ms, const Unanswered& look, int64_t timeout_ms) {
  const int64_t over_ms = asked_ms_ + timeout_ms;
  if (now_ms < over_ms) return false;
  SLUICE_PLANT(silence_unasked, return true);
  if (asked_late_ms_ < 0) {
    if (look.last_ms != Unanswered::kUnknown) {
      if (now_ms - look.last_ms >= over_ms) asked_late_ms_ = now_ms - look.last_ms;
    } else if (probes_ == 0) {
      probes_ = look.probes;
    } else if (look.probes > probes_) {
      asked_late_ms_ = now_ms;
    }
  }
  return asked_late_ms_ >= 0 && now_ms - asked_late_ms_ >= std::max(kLookMs, look.round_trip_ms);
}

}  // namespace sluice
