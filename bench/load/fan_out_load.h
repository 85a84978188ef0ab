#ifndef SLUICE_BENCH_LOAD_FAN_OUT_LOAD_H_
#define SLUICE_BENCH_LOAD_FAN_OUT_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// --subscribers=100 --burst=256 --ahead=4 --wire=plain --operations=200000: one
// publisher sends messages of 64 bytes in bursts. It is at most `ahead` bursts ahead of the slowest
// subscriber. With --burst=1 --ahead=1 it is paced: each message has reached everybody before the
// next one is sent. An operation is a message at one subscriber; each of its bytes is compared, and
// so is the order. --wire: `plain` (bench/servers/fan_out.cc), `redis`, or `nats`.
void RunFanOutLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_FAN_OUT_LOAD_H_
