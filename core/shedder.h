// Shedder agrees, for all workers, on the connection that is ended when the budget stays spent: the
// one that holds most among those whose peers stand still.
//
// Each worker looks at its own connections every kEveryMs while the budget is spent, and proposes
// the heaviest in a cell of its own; whoever finds its own proposal to be the greatest claims the
// next turn, and ends that connection itself. Nobody waits for anybody: a worker that is held by a
// handler has no fresh proposal, and is passed over.
//
// Owner:  the Runtime.
// Thread: any worker.
// Bound:  one connection in kEveryMs, over all workers.
// Errors: none.
#ifndef SLUICE_CORE_SHEDDER_H_
#define SLUICE_CORE_SHEDDER_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "sluice/core/budget.h"

namespace sluice {

class Shedder {
 public:
  static constexpr int64_t kEveryMs = 100;

  enum class Verdict : uint8_t {
    kWait,    // Too early, or another worker's is greater.
    kMine,    // This worker's; it has the claim.
    kNobody,  // No connection qualifies, on any worker.
  };

  // `budget` outlives this. A connection that holds less than a quarter of an equal share of the
  // budget, or than 1 KiB if that is less, is not what spent it.
  Shedder(const Budget& budget, int workers, int64_t connections_max);

  // Since when the budget has been spent without a break, as far as workers have seen; -1: it is
  // not.
  int64_t SpentSinceMs(int64_t now_ms);
  // Does a worker look at present? Else whoever is refused memory outside of all workers wakes one.
  bool Watched() const { return watched_.load(std::memory_order_relaxed); }

  int64_t BytesMin() const { return bytes_min_; }
  void Propose(int worker, int64_t bytes, int64_t now_ms);
  bool Fresh(int worker, int64_t now_ms) const;
  // `since_ms`: since when a connection may be ended at all.
  Verdict Decide(int worker, int64_t since_ms, int64_t now_ms);

 private:
  struct alignas(64) Cell {
    std::atomic<int64_t> bytes{0};
    // Release, after `bytes`; partner: acquire in Fresh and Decide. Who reads the time of a
    // proposal reads that one or a later one.
    std::atomic<int64_t> at_ms{kLongAgo};
  };
  static constexpr int64_t kLongAgo = INT64_MIN / 2;

  const Budget& budget_;
  const int64_t bytes_min_;
  std::vector<Cell> cells_;
  // The time at which spending began, with the low bits of Budget::Recoveries() of then above it:
  // one word, so that all who look agree. Compare-exchange; relaxed, as no other data hangs on it.
  std::atomic<uint64_t> since_;
  // When the last connection was ended. Compare-exchange: the claim. Relaxed, as above.
  std::atomic<int64_t> last_ms_{kLongAgo};
  std::atomic<bool> watched_{false};  // Relaxed: a hint; a refusal that misses it is not the last.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SHEDDER_H_
