#include "sluice/core/slot/wait_cycle_book.h"

namespace sluice {

WaitCycleBook::Finding WaitCycleBook::Note(const std::string& actors, const std::string& waits,
                                           const std::string& text, int64_t now_ms) {
  std::lock_guard<std::mutex> lock(lock_);
  if (noted_.size() >= kNotedMax) {
    noted_.clear();
    logged_ms_.clear();
  }
  if (!noted_.insert(waits).second) return Finding::kKnown;
  last_ = text;
  found_.fetch_add(1, std::memory_order_relaxed);
  const auto [logged, is_new] = logged_ms_.try_emplace(actors, now_ms);
  if (!is_new && now_ms - logged->second < kLoggedAgainMs) return Finding::kAgain;
  logged->second = now_ms;
  return Finding::kNew;
}

std::string WaitCycleBook::Last() const {
  std::lock_guard<std::mutex> lock(lock_);
  return last_;
}

}  // namespace sluice
