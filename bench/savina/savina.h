// What the Savina benchmarks (Imam and Sarkar, 2014) have in common in every library: their
// parameters, and the run of each: once with a tenth of the operations, then measured.
//
// Owner:  the program's main().
// Thread: any.
// Bound:  none.
// Errors: as bench/program.
#ifndef SLUICE_BENCH_SAVINA_SAVINA_H_
#define SLUICE_BENCH_SAVINA_SAVINA_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bench/program/program.h"
#include "bench/program/watch.h"

namespace bench {

constexpr int64_t kRingNodes = 100;
constexpr int64_t kForkJoinActors = 60;
constexpr int64_t kChameneos = 100;
constexpr int64_t kBigActors = 120;
constexpr int64_t kDictionaryUsers = 20;
constexpr int64_t kDictionaryKeys = 512;
constexpr int64_t kWritesInHundred = 10;
constexpr int64_t kPrimesInFilter = 1'000;
constexpr int64_t kProducers = 40;
constexpr int64_t kConsumers = 40;
constexpr int64_t kBufferItems = 50;
constexpr int64_t kItemCost = 25;
constexpr int64_t kPhilosophers = 20;
constexpr int64_t kAccounts = 1'000;
constexpr int64_t kAccountCents = 1'000'000;
constexpr int64_t kTransfersMax = 1'000;  // On their way at once.
constexpr int64_t kQueensWorkers = 20;
constexpr int64_t kQueensAlone = 4;      // From this row on one worker solves alone.
constexpr int64_t kBoardsPerWorker = 2;  // On their way at once.
constexpr int64_t kBlock = 50;           // Rows and columns of a block of all-pairs.

// xorshift: the same draws in each library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  int64_t Below(int64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<int64_t>((state_ >> 11) % static_cast<uint64_t>(bound));
  }

 private:
  uint64_t state_;
};

// The work of one message of a fork and join.
inline double Sine() {
  volatile double angle = 37.2;
  const double sine = std::sin(angle);
  return sine * sine;
}

// The work on an item of the bounded buffer.
inline double Process(double item, int64_t cost) {
  for (int64_t i = 0; i < cost * 10; ++i) item += std::log(std::fabs(item) + 0.01);
  return item;
}

template <int64_t kStep>
int64_t WholeSteps(int64_t asked) {
  return std::max<int64_t>(1, (asked + kStep - 1) / kStep) * kStep;
}

// `Body(Watch&, int workers)` runs a benchmark in a system of its own, from Begin() to End();
// `Operations` makes of the number that was asked for one that the benchmark can have.
template <void (*Body)(Watch&, int), int64_t (*Operations)(int64_t) = &WholeSteps<1>>
void WarmAndMeasured(const Run& run) {
  {
    Watch warm_up(Operations(run.operations / 10));
    Body(warm_up, run.workers);
  }
  Watch watch(Operations(run.operations));
  Body(watch, run.workers);
  Print(watch);
}

}  // namespace bench

#endif  // SLUICE_BENCH_SAVINA_SAVINA_H_
