#include "sluice/actors/connection/deadlines.h"

#include <algorithm>

#include "sluice/core/slot/deadline.h"

namespace sluice {

namespace {

// In a drain, a lingering connection ends after this silence if the peer has acknowledged
// everything: such a peer may never end its side (an idle client does not).
constexpr int64_t kDrainLingerMs = 100;
// Bytes that a closing side discards before it gives up on a peer that goes on sending.
constexpr uint32_t kDiscardMax = 1024 * 1024;

}  // namespace

// Calls f(what, when) for each deadline that is not kNever, in the order of Due.
template <class F>
void Deadlines::ForEach(const Facts& facts, F&& f) const {
  const Options& o = facts.options;
  const auto add = [&f](Due what, int64_t since_ms, int64_t timeout_ms) {
    if (timeout_ms != TimerWheel::kNever) f(what, since_ms + timeout_ms);
  };
  add(Due::kLifetime, opened_ms_, TimeoutMs(o.lifetime_timeout));
  if (facts.closing) add(Due::kClose, closing_ms_, TimeoutMs(o.close_timeout));
  if (facts.lingering) {
    add(Due::kLinger, lingering_ms_, facts.draining ? kDrainLingerMs : TimeoutMs(o.linger_timeout));
    return;
  }
  if (facts.drain_reads) add(Due::kDrainSilence, facts.received_ms, drain_quiet_ms_);
  if (facts.look_ms != TimerWheel::kNever) f(Due::kLook, facts.look_ms);
  if (facts.fetch_ms != TimerWheel::kNever) f(Due::kFetch, facts.fetch_ms);
  if (facts.stalled_ms >= 0) {
    add(Due::kWriteStalled, facts.stalled_ms, TimeoutMs(o.write_stalled_timeout));
  }
  add(Due::kIdle, facts.active_ms, TimeoutMs(o.idle_timeout));
  if (facts.silent_ms != TimerWheel::kNever) f(Due::kSilent, facts.silent_ms);
  // half_closed_timeout counts silence: the half that is open may have much to send.
  if (facts.half_closed) {
    add(Due::kHalfClosed, std::max(half_closed_ms_, facts.active_ms),
        TimeoutMs(o.half_closed_timeout));
  }
}

int64_t Deadlines::NextMs(const Facts& facts) const {
  int64_t next_ms = TimerWheel::kNever;
  ForEach(facts, [&](Due, int64_t at_ms) { next_ms = std::min(next_ms, at_ms); });
  return next_ms;
}

Deadlines::Due Deadlines::DueAt(int64_t now_ms, const Facts& facts) const {
  Due due = Due::kNothing;
  ForEach(facts, [&](Due what, int64_t at_ms) {
    if (due == Due::kNothing && at_ms <= now_ms) due = what;
  });
  return due;
}

int64_t Deadlines::CloseMs(const Options& options) const {
  const int64_t close_ms = TimeoutMs(options.close_timeout);
  return close_ms == TimerWheel::kNever ? close_ms : closing_ms_ + close_ms;
}

bool Deadlines::DiscardedTooMuch() const { return discarded_bytes_ > kDiscardMax; }

}  // namespace sluice
