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
#include "sluice/sluice.h"

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

inline sluice::Options WithWorkers(int workers) {
  sluice::Options options;
  options.workers = workers;
  options.log_level = "error";
  return options;
}

// Runs what the runtime was filled with until the watch has counted all.
inline void RunToTheEnd(sluice::Runtime& runtime, Watch& watch) {
  if (const absl::Status started = runtime.Start(); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.ToString().c_str());
    std::_Exit(1);
  }
  watch.Wait();
}

// Every message of a bench must arrive.
inline void MustBe(sluice::Answer answer) {
  if (answer != sluice::Answer::kAccepted) [[unlikely]] {
    std::fprintf(stderr, "a message was refused: %s\n",
                 std::string(sluice::AnswerName(answer)).c_str());
    std::_Exit(1);
  }
}

}  // namespace bench

#endif  // SLUICE_BENCH_SLUICE_WORKLOADS_H_
