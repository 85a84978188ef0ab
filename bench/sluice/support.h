// What the programs of Sluice among the benches share.
//
// Owner:  none; functions.
// Thread: any.
// Bound:  none.
// Errors: a runtime that does not start, and a message that is refused, end the program with
// code 1.
#ifndef SLUICE_BENCH_SLUICE_SUPPORT_H_
#define SLUICE_BENCH_SLUICE_SUPPORT_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "bench/program/watch.h"
#include "sluice/sluice.h"

namespace bench {

inline sluice::Options WithWorkers(int workers) {
  sluice::Options options;
  options.workers = workers;
  options.log_level = "error";
  return options;
}

inline void Start(sluice::Runtime& runtime) {
  if (const absl::Status started = runtime.Start(); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.ToString().c_str());
    std::_Exit(1);
  }
}

// Runs what the runtime was filled with until the watch has counted all.
inline void RunToTheEnd(sluice::Runtime& runtime, Watch& watch) {
  Start(runtime);
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

#endif  // SLUICE_BENCH_SLUICE_SUPPORT_H_
