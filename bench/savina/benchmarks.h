// The Savina benchmarks: each library's program defines these functions, and lists them by
// SavinaMain(). bench/savina/README.md says what each does.
//
// Owner:  the program's main().
// Thread: main()'s; each makes a system of actors of its own.
// Bound:  none.
// Errors: a wrong result ends the program with code 1.
#ifndef SLUICE_BENCH_SAVINA_BENCHMARKS_H_
#define SLUICE_BENCH_SAVINA_BENCHMARKS_H_

#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "bench/savina/problems.h"
#include "bench/savina/savina.h"

namespace bench {

// small.cc
void PingPong(Watch& watch, int workers);
void Counting(Watch& watch, int workers);
void ForkJoinThroughput(Watch& watch, int workers);
void ForkJoinCreate(Watch& watch, int workers);
void ThreadRing(Watch& watch, int workers);
// meetings.cc
void Chameneos(Watch& watch, int workers);
void Big(Watch& watch, int workers);
void Philosophers(Watch& watch, int workers);
// shared.cc
void Dictionary(Watch& watch, int workers);
void BoundedBuffer(Watch& watch, int workers);
void Bank(Watch& watch, int workers);
// parallel.cc
void Sieve(Watch& watch, int workers);
void AllPairs(Watch& watch, int workers);
void NQueens(Watch& watch, int workers);

inline int SavinaMain(int argc, char** argv) {
  return Main(argc, argv,
              {{"savina_ping_pong", &WarmAndMeasured<&PingPong>},
               {"savina_counting", &WarmAndMeasured<&Counting>},
               {"savina_fork_join_throughput",
                &WarmAndMeasured<&ForkJoinThroughput, &WholeSteps<kForkJoinActors>>},
               {"savina_fork_join_create", &WarmAndMeasured<&ForkJoinCreate>},
               {"savina_thread_ring", &WarmAndMeasured<&ThreadRing>},
               {"savina_chameneos", &WarmAndMeasured<&Chameneos>},
               {"savina_big", &WarmAndMeasured<&Big, &WholeSteps<kBigActors>>},
               {"savina_philosophers", &WarmAndMeasured<&Philosophers, &WholeSteps<kPhilosophers>>},
               {"savina_dictionary", &WarmAndMeasured<&Dictionary, &WholeSteps<kDictionaryUsers>>},
               {"savina_bounded_buffer", &WarmAndMeasured<&BoundedBuffer, &WholeSteps<kProducers>>},
               {"savina_bank", &WarmAndMeasured<&Bank>},
               {"savina_sieve", &WarmAndMeasured<&Sieve>},
               {"savina_all_pairs", &WarmAndMeasured<&AllPairs, &RelaxationsFor>},
               {"savina_n_queens", &WarmAndMeasured<&NQueens, &SolutionsFor>}});
}

}  // namespace bench

#endif  // SLUICE_BENCH_SAVINA_BENCHMARKS_H_
