// RateLimit is a token bucket: `per_second` on average, and up to `burst` at once after a quiet
// time (Turner 1986; as a virtual clock, without a count of tokens: Zhang, SIGCOMM 1990).
//
//   RateLimit limit(100, 20);
//   co_await Sleep(limit.Take(1, Now()));   // In a task.
//   LimitReading(limit, in.size());         // In a session: holds its reading.
//
// Owner:  its holder: a session for each peer, an actor for all of them.
// Thread: one at a time.
// Bound:  three words.
// Errors: none: a rate or burst that is not positive, or not a number, counts as the smallest one.
//
// Timers count whole milliseconds. Where one waits for each Take(), a burst of fewer than some 5 ms
// of the rate costs a part of it: what a late timer has missed is not made up.
#ifndef SLUICE_CORE_ACTOR_RATE_LIMIT_H_
#define SLUICE_CORE_ACTOR_RATE_LIMIT_H_

#include "absl/time/time.h"
#include "sluice/core/base/language.h"

namespace sluice {

class RateLimit {
 public:
  RateLimit(double per_second, double burst);
  // Takes `count`, whatever there is left, and answers for how long to wait before the next: zero
  // within the rate. `now` never goes back: Actor::Now().
  absl::Duration Take(double count, absl::Duration now);
  // Takes `count` only if it is within the rate.
  bool TryTake(double count, absl::Duration now);

 private:
  absl::Duration interval_;  // Of one.
  absl::Duration burst_;     // So much may be taken ahead of time.
  // All that was taken is within the rate from here on.
  absl::Duration paid_until_ = -absl::InfiniteDuration();
};

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_RATE_LIMIT_H_
