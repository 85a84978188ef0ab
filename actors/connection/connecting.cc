#include "sluice/actors/connection/connecting.h"

#include <algorithm>

#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

namespace {

// Interval between attempts while the backlog of a UNIX socket is full.
constexpr int64_t kConnectAgainMs = 10;

}  // namespace

Connecting::Connecting(int64_t now_ms, int64_t timeout_ms)
    // A timeout below 0 counts as 0.
    : since_ms_(now_ms), timeout_ms_(std::max<int64_t>(timeout_ms, 0)), tried_ms_(now_ms) {}

int64_t Connecting::DeadlineMs(int64_t give_up_ms) const {
  return timeout_ms_ == TimerWheel::kNever ? give_up_ms : since_ms_ + timeout_ms_;
}

int64_t Connecting::NextMs(int64_t give_up_ms) const {
  const int64_t deadline_ms = DeadlineMs(give_up_ms);
  return again_ ? std::min(deadline_ms, tried_ms_ + kConnectAgainMs) : deadline_ms;
}

}  // namespace sluice
