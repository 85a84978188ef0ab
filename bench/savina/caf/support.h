// The run of a Savina benchmark in CAF 0.17 (libcaf-dev).
//
// Owner:  none; functions.
// Thread: main()'s.
// Bound:  none: CAF has none.
// Errors: as bench/program.
#ifndef SLUICE_BENCH_SAVINA_CAF_SUPPORT_H_
#define SLUICE_BENCH_SAVINA_CAF_SUPPORT_H_

#include <caf/all.hpp>
#include <cstddef>

#include "bench/program/watch.h"

namespace bench {

class Config : public caf::actor_system_config {
 public:
  explicit Config(int workers) { set("scheduler.max-threads", static_cast<size_t>(workers)); }
};

// Runs what `fill` spawns until an actor calls watch.End(). Actors that still wait then are left.
template <class Fill>
void RunAll(Watch& watch, int workers, Fill fill) {
  Config config(workers);
  caf::actor_system system(config);
  system.await_actors_before_shutdown(false);
  watch.Begin();
  fill(system);
  watch.Wait();
}

}  // namespace bench

#endif  // SLUICE_BENCH_SAVINA_CAF_SUPPORT_H_
