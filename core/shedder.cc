#include "sluice/core/shedder.h"

#include <algorithm>

namespace sluice {

namespace {

constexpr int64_t kBytesMinMost = 1'024;
constexpr int kTimeBits = 48;
constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;
// A proposal counts for so long. A worker that looks makes one every kEveryMs.
constexpr int64_t kFreshMs = 2 * Shedder::kEveryMs;

}  // namespace

Shedder::Shedder(const Budget& budget, int workers, int64_t connections_max)
    : budget_(budget),
      bytes_min_(std::clamp<int64_t>(budget.BytesMax() / (4 * connections_max), 1, kBytesMinMost)),
      cells_(workers),
      since_(~kTimeMask) {}  // Of no spending: the count begins at 0.

int64_t Shedder::SpentSinceMs(int64_t now_ms) {
  const uint64_t recoveries = uint64_t{budget_.Recoveries()} << kTimeBits;
  if (!budget_.Spent()) {
    watched_.store(false, std::memory_order_relaxed);
    return -1;
  }
  watched_.store(true, std::memory_order_relaxed);
  uint64_t since = since_.load(std::memory_order_relaxed);
  if ((since & ~kTimeMask) == recoveries) return static_cast<int64_t>(since & kTimeMask);
  const uint64_t now = recoveries | (static_cast<uint64_t>(now_ms) & kTimeMask);
  since_.compare_exchange_strong(since, now, std::memory_order_relaxed);
  return now_ms;  // Whoever came first, it was now.
}

void Shedder::Propose(int worker, int64_t bytes, int64_t now_ms) {
  cells_[worker].bytes.store(bytes, std::memory_order_relaxed);
  cells_[worker].at_ms.store(now_ms, std::memory_order_release);
}

bool Shedder::Fresh(int worker, int64_t now_ms) const {
  return now_ms - cells_[worker].at_ms.load(std::memory_order_acquire) <= kFreshMs;
}

Shedder::Verdict Shedder::Decide(int worker, int64_t since_ms, int64_t now_ms) {
  int64_t last_ms = last_ms_.load(std::memory_order_relaxed);
  if (now_ms < since_ms || now_ms - last_ms < kEveryMs) return Verdict::kWait;
  int64_t most = 0;
  int whose = worker;
  for (int i = 0; i < static_cast<int>(cells_.size()); ++i) {
    if (!Fresh(i, now_ms)) {
      // It may only have to wake up. One that does not come is held, and not waited for.
      if (now_ms - since_ms < kFreshMs) return Verdict::kWait;
      continue;
    }
    const int64_t bytes = cells_[i].bytes.load(std::memory_order_relaxed);
    if (bytes > most) {
      most = bytes;
      whose = i;
    }
  }
  if (most < bytes_min_) return Verdict::kNobody;
  if (whose != worker) return Verdict::kWait;
  return last_ms_.compare_exchange_strong(last_ms, now_ms, std::memory_order_relaxed)
             ? Verdict::kMine
             : Verdict::kWait;
}

}  // namespace sluice
