// Shedder agrees, for all workers, on the connections to end when the budget stays spent: among
// those with a peer that stands still, the ones that hold most. The first turn ends one connection,
// and each later turn twice as many, until the budget is no longer spent. So any crowd of peers
// that do not read is gone in about a second.
//
// While the budget is spent, each worker looks at its own connections every kEveryMs, and proposes
// the heaviest in its own cell. The worker with the greatest proposal claims the next turn, and
// ends its heaviest connections itself. No worker waits for another: a worker that a handler holds
// has no fresh proposal, and is passed over.
//
// Owner:  the Runtime.
// Thread: any worker.
// Bound:  one turn in kEveryMs, over all workers, of at most ShedBoard's kConnectionsMax
//         connections.
// Errors: none.
#ifndef SLUICE_CORE_MEMORY_SHEDDER_H_
#define SLUICE_CORE_MEMORY_SHEDDER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/shed_board.h"

namespace sluice {

class Shedder {
 public:
  static constexpr int64_t kEveryMs = ShedBoard<>::kEveryMs;
  using Verdict = ShedVerdict;

  // `budget` outlives this. A connection that holds less than a quarter of an equal share of the
  // budget, or than 1 KiB if that is less, is not the cause. A peer stands still if it has made no
  // progress for `shed_after`. A shortage that begins within twice that time after the last turn
  // counts as the same one.
  Shedder(const Budget& budget, int workers, int64_t connections_max,
          absl::Duration shed_after = absl::Seconds(1));

  // Since when the budget has been spent without a break, as far as workers have seen; -1: not
  // spent.
  int64_t SpentSinceMs(int64_t now_ms);
  // Does any worker look at present? If not, an outside thread that is refused memory wakes one.
  bool Watched() const { return board_.Watched(); }

  int64_t BytesMin() const { return board_.BytesMin(); }
  void Propose(int worker, int64_t bytes, int64_t now_ms) { board_.Propose(worker, bytes, now_ms); }
  bool Fresh(int worker, int64_t now_ms) const { return board_.Fresh(worker, now_ms); }
  // `since_ms`: from when on a connection may be ended at all.
  Verdict Decide(int worker, int64_t since_ms, int64_t now_ms) {
    return board_.Decide(worker, since_ms, now_ms);
  }
  // After kMine: how many connections may be ended now.
  int Connections() const { return board_.Connections(); }
  bool GoesOn(int64_t now_ms) const { return board_.GoesOn(now_ms); }

 private:
  const Budget& budget_;
  ShedBoard<> board_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_SHEDDER_H_
