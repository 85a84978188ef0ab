#ifndef SLUICE_BENCH_LOAD_ECHO_LOAD_H_
#define SLUICE_BENCH_LOAD_ECHO_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// --connections=128 --bytes=64 --operations=300000: each connection has one message
// on its way at any time. Each message differs from the one before it, and each byte that comes
// back is compared.
void RunEchoLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_ECHO_LOAD_H_
