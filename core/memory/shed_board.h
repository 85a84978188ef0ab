// ShedBoard is what the workers share to agree on the connections that are ended when memory stays
// spent: since when it is spent, what each worker proposes, whose turn it is, and how many
// connections that turn may end: one in the first, and twice as many in each that follows.
//
// Owner:  a Shedder.
// Thread: any worker; Propose() each worker for itself.
// Bound:  one claim in kEveryMs, for at most kConnectionsMax connections.
// Errors: none.
//
// Proof that there is one claim in kEveryMs: a claim is a compare-exchange of last_ from the
// value that was found old enough, and each claim changes it. Proof that a fresh proposal is judged
// by its own bytes or by later ones: the bytes are stored before the time (release), and read after
// it (acquire).
#ifndef SLUICE_CORE_MEMORY_SHED_BOARD_H_
#define SLUICE_CORE_MEMORY_SHED_BOARD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/core/base/atomics.h"

namespace sluice {

enum class ShedVerdict : uint8_t {
  kWait,    // Too early, or another worker's is greater.
  kMine,    // This worker's; it has the claim.
  kNobody,  // No connection qualifies, on any worker.
};

template <class Atomics = StdAtomics>
class ShedBoard {
 public:
  static constexpr int64_t kEveryMs = 100;
  // A proposal counts for so long. A worker that looks makes one every kEveryMs.
  static constexpr int64_t kFreshMs = 2 * kEveryMs;
  // The most connections that one claim may end: what a worker can end in kEveryMs.
  static constexpr int kConnectionsMax = 1'024;

  // `goes_on_ms`: a claim that follows the last one within that time is the next of the same
  // shortage, and may end twice as many; a later one begins with one connection again.
  explicit ShedBoard(int workers, int64_t bytes_min, int64_t goes_on_ms = 10 * kEveryMs)
      : bytes_min_(bytes_min), goes_on_ms_(goes_on_ms), cells_(static_cast<size_t>(workers)) {}

  // Since when it has been spent, `recoveries` after the first time; `now_ms` for the first worker
  // that asks, and then the same for all.
  int64_t SpentSinceMs(uint32_t recoveries, int64_t now_ms) {
    watched_.store(true, std::memory_order_relaxed);
    const uint64_t number = uint64_t{recoveries} << kTimeBits;
    uint64_t since = since_.load(std::memory_order_relaxed);
    if ((since & ~kTimeMask) == number) return static_cast<int64_t>(since & kTimeMask);
    const uint64_t now = number | (static_cast<uint64_t>(now_ms) & kTimeMask);
    if (since_.compare_exchange_strong(since, now, std::memory_order_relaxed,
                                       std::memory_order_relaxed)) {
      return now_ms;
    }
    // Another worker came first: its time is everybody's.
    return (since & ~kTimeMask) == number ? static_cast<int64_t>(since & kTimeMask) : now_ms;
  }
  void NotSpent() { watched_.store(false, std::memory_order_relaxed); }
  bool Watched() const { return watched_.load(std::memory_order_relaxed); }

  int64_t BytesMin() const { return bytes_min_; }
  void Propose(int worker, int64_t bytes, int64_t now_ms) {
    Cell& cell = cells_[static_cast<size_t>(worker)];
    cell.bytes.store(bytes, std::memory_order_relaxed);
    cell.at_ms.store(now_ms, std::memory_order_release);
  }
  bool Fresh(int worker, int64_t now_ms) const {
    const Cell& cell = cells_[static_cast<size_t>(worker)];
    return now_ms - cell.at_ms.load(std::memory_order_acquire) <= kFreshMs;
  }
  // `since_ms`: since when a connection may be ended at all.
  ShedVerdict Decide(int worker, int64_t since_ms, int64_t now_ms) {
    int64_t last = last_.load(std::memory_order_relaxed);
    if (now_ms < since_ms || now_ms - TimeOf(last) < kEveryMs) return ShedVerdict::kWait;
    int64_t most = 0;
    int whose = worker;
    for (int i = 0; i < static_cast<int>(cells_.size()); ++i) {
      if (!Fresh(i, now_ms)) {
        // It may only have to wake up. A worker that does not come is held, and not waited for.
        if (now_ms - since_ms < kFreshMs) return ShedVerdict::kWait;
        continue;
      }
      const int64_t bytes = cells_[static_cast<size_t>(i)].bytes.load(std::memory_order_relaxed);
      if (bytes > most) {
        most = bytes;
        whose = i;
      }
    }
    if (most < bytes_min_) return ShedVerdict::kNobody;
    if (whose != worker) return ShedVerdict::kWait;
    const int64_t round =
        now_ms - TimeOf(last) <= goes_on_ms_ ? std::min(RoundOf(last) + 1, kLastRound) : 0;
    return last_.compare_exchange_strong(last, now_ms << kRoundBits | round,
                                         std::memory_order_relaxed, std::memory_order_relaxed)
               ? ShedVerdict::kMine
               : ShedVerdict::kWait;
  }
  // How many connections the last claim may end. For its claimer: nobody else claims in kEveryMs.
  int Connections() const { return 1 << RoundOf(last_.load(std::memory_order_relaxed)); }
  // Whether a claim now would be of the same shortage as the last one.
  bool GoesOn(int64_t now_ms) const {
    return now_ms - TimeOf(last_.load(std::memory_order_relaxed)) <= goes_on_ms_;
  }

 private:
  static constexpr int64_t kLongAgo = INT64_MIN / 4;
  static constexpr int kTimeBits = 48;
  static constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;
  static constexpr int kRoundBits = 4;
  static constexpr int64_t kLastRound = 10;
  static_assert(1 << kLastRound == kConnectionsMax && kLastRound < 1 << kRoundBits);

  static int64_t TimeOf(int64_t claim) { return claim >> kRoundBits; }
  static int64_t RoundOf(int64_t claim) { return claim & ((1 << kRoundBits) - 1); }

  struct alignas(64) Cell {
    typename Atomics::template Atomic<int64_t> bytes{0};
    // Release, after `bytes`; partner: acquire in Fresh() and Decide().
    typename Atomics::template Atomic<int64_t> at_ms{kLongAgo};
  };

  const int64_t bytes_min_;
  const int64_t goes_on_ms_;
  std::vector<Cell> cells_;
  // The time at which spending began, with the low bits of `recoveries` above it: one word, so that
  // all workers that look agree. Compare-exchange; relaxed, as no other data hangs on it. At first
  // of no spending, as the count begins at 0.
  typename Atomics::template Atomic<uint64_t> since_{~kTimeMask};
  // When the last claim was, and behind that, in kRoundBits, the number of its round: one word, so
  // that a round is counted once. Compare-exchange: the claim. Relaxed, as above.
  typename Atomics::template Atomic<int64_t> last_{kLongAgo};
  // Relaxed: a hint; a refusal that misses it is not the last.
  typename Atomics::template Atomic<bool> watched_{false};
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_SHED_BOARD_H_
