#ifndef SLUICE_BENCH_LOAD_HTTP_LOAD_H_
#define SLUICE_BENCH_LOAD_HTTP_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// --connections=128 --pipeline=1 --operations=100000: each connection has `pipeline`
// requests on their way at any time, sent at once when all answers before them are here. An answer
// is checked: its status, its length, and each byte of its body, "Hello, world!\n".
void RunHttpLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_HTTP_LOAD_H_
