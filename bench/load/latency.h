// Latency counts lengths of time in buckets whose width is at most 1/32 of their value, so that a
// percentile of millions costs a few kilobytes.
//
// Owner: a load. Thread: one. Bound: 64 * 32 counters. Errors: none.
#ifndef SLUICE_BENCH_LOAD_LATENCY_H_
#define SLUICE_BENCH_LOAD_LATENCY_H_

#include <cstdint>
#include <vector>

namespace sluice::bench {

int64_t NowNs();  // The monotonic clock.

class Latency {
 public:
  void Add(int64_t ns);
  void Clear();
  int64_t Count() const { return count_; }
  // The upper end of the bucket that holds the `share`-th part of all: 0.99 for the 99th
  // percentile.
  int64_t Percentile(double share) const;

 private:
  std::vector<int64_t> buckets_ = std::vector<int64_t>(64 * 32);
  int64_t count_ = 0;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_LATENCY_H_
