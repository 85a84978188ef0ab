// Workloads of Sluice without a network. README.md beside this file says what an operation of each
// is.
//
// Owner:  messages.cc.
// Thread: main()'s; each makes a runtime of its own.
// Bound:  as a runtime; `idle` raises actors_max to its number of actors.
// Errors: a wrong result ends the program with code 1.
#ifndef SLUICE_BENCH_SLUICE_WORKLOADS_H_
#define SLUICE_BENCH_SLUICE_WORKLOADS_H_

#include "bench/program/program.h"
namespace bench {

// one_way.cc
void MessageOneWay(const Run& run);
void OneProducer(const Run& run);
void FourProducers(const Run& run);
void Flood(const Run& run);
// ping_pong.cc
void PingPong(const Run& run);
void Ring(const Run& run);
// fork_join.cc
void ForkJoin(const Run& run);
// create.cc
void Create(const Run& run);
void Idle(const Run& run);

}  // namespace bench

#endif  // SLUICE_BENCH_SLUICE_WORKLOADS_H_
