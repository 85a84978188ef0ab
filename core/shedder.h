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

#include <cstdint>

#include "sluice/core/budget.h"
#include "sluice/core/shed_board.h"

namespace sluice {

class Shedder {
 public:
  static constexpr int64_t kEveryMs = ShedBoard<>::kEveryMs;
  using Verdict = ShedVerdict;

  // `budget` outlives this. A connection that holds less than a quarter of an equal share of the
  // budget, or than 1 KiB if that is less, is not what spent it.
  Shedder(const Budget& budget, int workers, int64_t connections_max);

  // Since when the budget has been spent without a break, as far as workers have seen; -1: it is
  // not.
  int64_t SpentSinceMs(int64_t now_ms);
  // Does a worker look at present? Else whoever is refused memory outside of all workers wakes one.
  bool Watched() const { return board_.Watched(); }

  int64_t BytesMin() const { return board_.BytesMin(); }
  void Propose(int worker, int64_t bytes, int64_t now_ms) { board_.Propose(worker, bytes, now_ms); }
  bool Fresh(int worker, int64_t now_ms) const { return board_.Fresh(worker, now_ms); }
  // `since_ms`: since when a connection may be ended at all.
  Verdict Decide(int worker, int64_t since_ms, int64_t now_ms) {
    return board_.Decide(worker, since_ms, now_ms);
  }

 private:
  const Budget& budget_;
  ShedBoard<> board_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SHEDDER_H_
