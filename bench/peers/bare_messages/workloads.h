// The workloads of bench/sluice/README.md with nothing between the code and the machine.
//
// Owner:  messages.cc.
// Thread: main()'s; those of two_threads.cc start a second one. Both spin, each on a processor of
//         its own.
// Bound:  rings of kRingItems messages.
// Errors: a wrong result ends the program with code 1.
#ifndef SLUICE_BENCH_PEERS_BARE_MESSAGES_WORKLOADS_H_
#define SLUICE_BENCH_PEERS_BARE_MESSAGES_WORKLOADS_H_

#include <cstddef>
#include <cstdint>

#include "bench/program/program.h"

namespace bench {

constexpr size_t kRingItems = 256;
constexpr uint64_t kBurst = 64;
constexpr uint64_t kTasks = 64;
constexpr int64_t kRingActors = 1'000;

// one_thread.cc
void MessageOneWay(const Run& run);
void Idle(const Run& run);
void PingPongHere(const Run& run);
void RingHere(const Run& run);
void ForkJoinHere(const Run& run);
void CreateHere(const Run& run);
// two_threads.cc
void OneProducer(const Run& run);
void FourProducers(const Run& run);
void MoodycamelOneProducer(const Run& run);
void MoodycamelFourProducers(const Run& run);
void Flood(const Run& run);
void PingPongAcross(const Run& run);
void RingAcross(const Run& run);
void ForkJoinAcross(const Run& run);
void CreateAcross(const Run& run);

}  // namespace bench

#endif  // SLUICE_BENCH_PEERS_BARE_MESSAGES_WORKLOADS_H_
