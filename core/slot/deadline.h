// Deadlines are points in time by the Os's clock, in whole milliseconds: those of the timer wheel.
//
// Owner:  none; functions.
// Thread: any.
// Bound:  none.
// Errors: none: an overflow is kNever.
#ifndef SLUICE_CORE_SLOT_DEADLINE_H_
#define SLUICE_CORE_SLOT_DEADLINE_H_

#include <cstdint>

#include "absl/time/time.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

// Rounds up, as no deadline comes early: a part of a millisecond takes a whole one.
inline int64_t WholeMs(absl::Duration time) {
  const int64_t ms = absl::ToInt64Milliseconds(time);
  return ms < TimerWheel::kNever && absl::Milliseconds(ms) < time ? ms + 1 : ms;
}

// `now_ms` plus `timeout`; TimerWheel::kNever on overflow.
inline int64_t DeadlineMs(int64_t now_ms, absl::Duration timeout) {
  const int64_t ms = WholeMs(timeout);
  return ms >= TimerWheel::kNever - now_ms ? TimerWheel::kNever : now_ms + ms;
}

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_DEADLINE_H_
