// The run of a Savina benchmark in Sluice.
//
// Owner:  none; functions.
// Thread: main()'s.
// Bound:  none.
// Errors: as bench/sluice/support.h.
#ifndef SLUICE_BENCH_SAVINA_SLUICE_SUPPORT_H_
#define SLUICE_BENCH_SAVINA_SLUICE_SUPPORT_H_

#include <cstdint>

#include "bench/program/watch.h"
#include "bench/sluice/support.h"
#include "sluice/sluice.h"

namespace bench {

// Runs what `fill` spawns until an actor calls watch.End().
template <class Fill>
void RunAll(Watch& watch, int workers, Fill fill) {
  sluice::Runtime runtime(WithWorkers(workers));
  Start(runtime);
  watch.Begin();
  fill(runtime);
  watch.Wait();
}

// The worker of the `number`th of many children.
inline sluice::SpawnOptions InTurn(const sluice::Runtime& runtime, int64_t number) {
  sluice::SpawnOptions options;
  options.worker = static_cast<int>(number % runtime.WorkerCount());
  return options;
}

}  // namespace bench

#endif  // SLUICE_BENCH_SAVINA_SLUICE_SUPPORT_H_
