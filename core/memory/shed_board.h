// ShedBoard is the state with which workers agree on the connections to end when memory stays
// spent: since when it is spent, what each worker proposes, which worker has the turn, and how many
// connections that turn may end: one in the first turn, in each later turn twice as many as in the
// turn before.
//
// Owner:  a Shedder.
// Thread: any worker; Propose() each worker for itself.
// Bound:  one claim in kEveryMs, for at most kConnectionsMax connections.
// Errors: none.
//
// Proof that there is one claim in kEveryMs: a claim is a compare-exchange of last_ from a value
// that was old enough, and each claim changes last_. Proof that a fresh proposal is judged by its
// own bytes or by later ones: the bytes are stored before the time (release), and read after it
// (acquire).
#ifndef SLUICE_CORE_MEMORY_SHED_BOARD_H_
#define SLUICE_CORE_MEMORY_SHED_BOARD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/core/base/atomics.h"

namespace sluice {

enum class ShedVerdict : uint8_t {
  kWait,    // Too early, or another worker proposes more.
  kMine,    // This worker has the claim.
  kNobody,  // No connection qualifies, on any worker.
};

template <class Atomics = StdAtomics>
class ShedBoard {
 public:
  static constexpr int64_t kEveryMs = 100;
  // A proposal counts for this time. A worker that looks makes one every kEveryMs.
  static constexpr int64_t kFreshMs = 2 * kEveryMs;
  // The most connections that one claim may end: as many as a worker can end in kEveryMs.
  static constexpr int kConnectionsMax = 1'024;

  // `goes_on_ms`: a claim within that time after the last one belongs to the same shortage, and may
  // end twice as many connections; a later claim begins with one connection again.
  explicit ShedBoard(int workers, int64_t bytes_min, int64_t goes_on_ms = 10 * kEveryMs)
      : bytes_min_(bytes_min), goes_on_ms_(goes_on_ms), cells_(static_cast<size_t>(workers)) {}

  // When the present shortage began, the one after `recoveries` recoveries. The first worker that
  // asks sets that time to its `now_ms`; all others get the same time.
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
    // Another worker came first: all workers use its time.
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
  // `since_ms`: from when on a connection may be ended at all.
  ShedVerdict Decide(int worker, int64_t since_ms, int64_t now_ms) {
    int64_t last = last_.load(std::memory_order_relaxed);
    if (now_ms < since_ms || now_ms - TimeOf(last) < kEveryMs) return ShedVerdict::kWait;
    int64_t most = 0;
    int whose = worker;
    for (int i = 0; i < static_cast<int>(cells_.size()); ++i) {
      if (!Fresh(i, now_ms)) {
        // The worker may only need to wake up. A held worker does not propose, and is not waited
        // for.
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
  // How many connections the last claim may end. For its claimer: no other worker claims in
  // kEveryMs.
  int Connections() const { return 1 << RoundOf(last_.load(std::memory_order_relaxed)); }
  // Would a claim now belong to the same shortage as the last one?
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
    // Release, after `bytes`; partner: acquire in Fresh(), which Decide() calls before it reads
    // `bytes`.
    typename Atomics::template Atomic<int64_t> at_ms{kLongAgo};
  };

  const int64_t bytes_min_;
  const int64_t goes_on_ms_;
  std::vector<Cell> cells_;
  // The time at which the shortage began, below the low bits of `recoveries`: one word, so that all
  // workers that look agree. Compare-exchange; relaxed, as no other data hangs on it. The initial
  // value belongs to no shortage, as the count begins at 0.
  typename Atomics::template Atomic<uint64_t> since_{~kTimeMask};
  // The time of the last claim, above kRoundBits for the number of its round: one word, so that a
  // round is counted once. The claim is a compare-exchange. Relaxed, as above.
  typename Atomics::template Atomic<int64_t> last_{kLongAgo};
  // Relaxed: a hint; if one refusal misses it, a later one does not.
  typename Atomics::template Atomic<bool> watched_{false};
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_SHED_BOARD_H_
