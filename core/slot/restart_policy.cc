#include "sluice/core/slot/restart_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/slot/deadline.h"

namespace sluice {

namespace {

constexpr size_t kBackoffDoublingsMax = 32;

}  // namespace

bool Restart::Allow(int64_t now_ms) {
  const int64_t within_ms = absl::ToInt64Milliseconds(policy.within);
  while (expired < restarted_ms.size() && now_ms - restarted_ms[expired] >= within_ms) ++expired;
  if (2 * expired >= restarted_ms.size()) {  // Then each is moved once at most, on average.
    restarted_ms.erase(restarted_ms.begin(),
                       restarted_ms.begin() + static_cast<ptrdiff_t>(expired));
    expired = 0;
  }
  const size_t recent = restarted_ms.size() - expired;
  if (recent >= policy.restarts_max) return false;
  not_before_ms = now_ms;
  if (recent > 0) {
    const size_t doublings = std::min(recent - 1, kBackoffDoublingsMax);
    const absl::Duration backoff =
        std::min(policy.backoff_max, policy.backoff_min * (int64_t{1} << doublings));
    not_before_ms = DeadlineMs(now_ms, backoff);
  }
  restarted_ms.push_back(now_ms);
  return true;
}

std::string Restart::LimitText() const {
  return absl::StrCat(policy.restarts_max, policy.restarts_max == 1 ? " restart" : " restarts",
                      " within ", absl::FormatDuration(policy.within));
}

}  // namespace sluice
