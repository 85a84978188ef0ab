// Shedder agrees, for all workers, on the connections that are ended when the budget stays spent:
// those that hold most among those whose peers stand still. The first turn ends one connection, and
// each that follows twice as many, until the budget is not spent any more: so a crowd of peers that
// do not read is gone in about a second, however many they are.
//
// Each worker looks at its own connections every kEveryMs while the budget is spent, and proposes
// the heaviest in a cell of its own; whoever finds its own proposal to be the greatest claims the
// next turn, and ends its heaviest connections itself. Nobody waits for anybody: a worker that is
// held by a handler has no fresh proposal, and is passed over.
//
// Owner:  the Runtime.
// Thread: any worker.
// Bound:  one turn in kEveryMs, over all workers, of at most ShedBoard's kConnectionsMax
// connections. Errors: none.
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
  // budget, or than 1 KiB if that is less, is not what spent it. A peer stands still that has made
  // no progress for `shed_after`; a shortage that begins within twice that time behind the last
  // turn is still the same one.
  Shedder(const Budget& budget, int workers, int64_t connections_max,
          absl::Duration shed_after = absl::Seconds(1));

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
  // After kMine: how many connections may be ended now.
  int Connections() const { return board_.Connections(); }
  bool GoesOn(int64_t now_ms) const { return board_.GoesOn(now_ms); }

 private:
  const Budget& budget_;
  ShedBoard<> board_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_SHEDDER_H_
