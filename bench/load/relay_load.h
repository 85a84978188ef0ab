#ifndef SLUICE_BENCH_LOAD_RELAY_LOAD_H_
#define SLUICE_BENCH_LOAD_RELAY_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// Both are clients of a relay and its upstream, too. They first print "upstream ADDRESS", and then
// read "ADDRESS PID" of the relay from stdin.

// --connections=1 --operations=1000000000: the clients send as fast as they can; an operation is a
// byte that has arrived at the upstream, where each is compared.
void RunBulkLoad(const Flags& flags, Result& result);

// --connections=10000 --operations=IGNORED: opens so many pairs, or as many as the descriptors
// allow, and passes messages both ways through each. `bytes_each` is what the relay's memory grew
// by for a pair. The first hundred are not counted: they also touch pages that belong to no pair.
void RunPairsLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_RELAY_LOAD_H_
