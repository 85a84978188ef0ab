#ifndef SLUICE_BENCH_LOAD_CONNECTIONS_LOAD_H_
#define SLUICE_BENCH_LOAD_CONNECTIONS_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// All of these talk to an echo server.

// --operations=20000: an operation is a connection, on which one byte goes there and back, and
// which is then reset. 16 are open at once.
void RunChurnLoad(const Flags& flags, Result& result);

// --connections=10000: opens so many, lets each echo one message, and leaves them open.
// `bytes_each` is what the server's memory grew by for a connection. The first hundred are not
// counted: they also touch pages that belong to no connection.
void RunIdleLoad(const Flags& flags, Result& result);

// --connections=1000 --seconds=10: after each has echoed one message, and work that follows the
// last message is over: `sleeps` and `processor_seconds` of the server while nothing happens.
void RunRestLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_CONNECTIONS_LOAD_H_
