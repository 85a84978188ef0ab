// LogLimit lets one line of a kind through in a minute, at warning, and counts the rest: a fault
// may repeat a thousand times in a second, and the log must stay readable. If debug is on, each of
// the rest is logged at debug.
//
//   LogLimit refused_log;
//   refused_log.Warn(worker().NowMs(), [&] { return absl::StrCat(peer, " is refused"); });
//   // ... W 10.0.0.7:4711 is refused; 1207 more since the last such line
//
// Owner:  the code that logs that kind.
// Thread: any. The text is made on the caller's, and only for a line that is written.
// Bound:  a line in kLogEveryMs; debug has no bound but the log's own.
// Errors: none.
#ifndef SLUICE_CORE_BASE_LOG_LIMIT_H_
#define SLUICE_CORE_BASE_LOG_LIMIT_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/language.h"
#include "sluice/core/base/log.h"

namespace sluice {

class LogLimit {
 public:
  static constexpr int64_t kLogEveryMs = 60'000;

  // `text` makes the line. `now_ms` is a time of the Os's clock.
  template <class F>
  void Warn(int64_t now_ms, F&& text) {
    if (!LogEnabled(LogLevel::kWarning)) return;
    const std::optional<int64_t> held_back = Pass(now_ms);
    if (!held_back.has_value()) {
      if (LogEnabled(LogLevel::kDebug)) LogDebug(std::string(text()));
    } else if (*held_back == 0) {
      LogWarn(std::string(text()));
    } else {
      LogWarn(absl::StrCat(text(), "; ", *held_back, " more since the last such line"));
    }
  }

  // If a line may go now: how many were held back since the last line.
  std::optional<int64_t> Pass(int64_t now_ms) {
    int64_t next_ms = next_ms_.load(std::memory_order_relaxed);
    if (now_ms < next_ms || !next_ms_.compare_exchange_strong(next_ms, now_ms + kLogEveryMs,
                                                              std::memory_order_relaxed)) {
      held_back_.fetch_add(1, std::memory_order_relaxed);
      return std::nullopt;
    }
    return held_back_.exchange(0, std::memory_order_relaxed);
  }

 private:
  // Relaxed, both: no other data hangs on them. Only one thread advances next_ms_; lines that
  // others count at that moment are reported with this line or with the next.
  std::atomic<int64_t> next_ms_{std::numeric_limits<int64_t>::min()};
  std::atomic<int64_t> held_back_{0};
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_LOG_LIMIT_H_
