#ifndef SLUICE_BENCH_LOAD_STOPPED_LOAD_H_
#define SLUICE_BENCH_LOAD_STOPPED_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// A reader that has stopped, to which --operations=100000000 bytes are sent. `grown_bytes` is how
// much the server's memory grew at most. A byte or line that is not accounted for when the reader
// reads again ends the program.

// An echo server: the sender is that reader. `taken_bytes` is what the server took before it made
// the sender wait, `neighbour_ms` the slowest exchange of another connection meanwhile.
void RunStoppedEchoLoad(const Flags& flags, Result& result);

// examples/chat: one member of three has stopped. `received` and `missed` add up to what was said.
void RunStoppedChatLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_STOPPED_LOAD_H_
