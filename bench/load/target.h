// Target is what a load is aimed at: the address of a server, and its process.
#ifndef SLUICE_BENCH_LOAD_TARGET_H_
#define SLUICE_BENCH_LOAD_TARGET_H_

#include <string>

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/server.h"

namespace sluice::bench {

struct Target {
  std::string address;
  Server server;
};

// The flags --address=127.0.0.1:PORT and --pid=PID. Without --address, the line "ADDRESS PID" on
// stdin, for a server that starts after its load, as it needs the address of the load's own
// upstream.
Target TargetOf(const Flags& flags);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_TARGET_H_
