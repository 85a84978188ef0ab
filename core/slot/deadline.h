// Deadlines are points in time by the Os's clock, in whole milliseconds: those of the timer wheel.
//
// Owner:  none; functions.
// Thread: any.
// Bound:  none.
// Errors: none: an overflow is kNever.
#ifndef SLUICE_CORE_SLOT_DEADLINE_H_
#define SLUICE_CORE_SLOT_DEADLINE_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

// Rounds up, as no deadline comes early: a part of a millisecond takes a whole one.
inline int64_t WholeMs(absl::Duration time) {
  const int64_t ms = absl::ToInt64Milliseconds(time);
  return ms < TimerWheel::kNever && absl::Milliseconds(ms) < time ? ms + 1 : ms;
}

// A timeout in whole ms, to be added to a point in time: at most half of the range, so that the sum
// does not overflow. kNever for infinity.
inline int64_t TimeoutMs(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return TimerWheel::kNever;
  return std::min(WholeMs(timeout), TimerWheel::kNever / 2);
}

// `now_ms` plus `timeout`; TimerWheel::kNever on overflow.
inline int64_t DeadlineMs(int64_t now_ms, absl::Duration timeout) {
  const int64_t ms = WholeMs(timeout);
  return ms >= TimerWheel::kNever - now_ms ? TimerWheel::kNever : now_ms + ms;
}

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_DEADLINE_H_
