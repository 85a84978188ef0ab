#include "sluice/bench/load/latency.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice::bench {
namespace {

constexpr int kShareBits = 5;  // 32 buckets for each power of two.

// Values below 32 have a bucket each. A larger one has the bucket of its highest six bits.
size_t BucketOf(uint64_t ns) {
  if (ns < (1u << kShareBits)) return ns;
  const int shift = std::bit_width(ns) - 1 - kShareBits;
  return (static_cast<size_t>(shift + 1) << kShareBits) + (ns >> shift) - (1u << kShareBits);
}

int64_t LastOf(size_t bucket) {
  if (bucket < (1u << kShareBits)) return static_cast<int64_t>(bucket);
  const size_t shift = (bucket >> kShareBits) - 1;
  const size_t high = (bucket & ((1u << kShareBits) - 1)) + (1u << kShareBits);
  return static_cast<int64_t>(((high + 1) << shift) - 1);
}

}  // namespace

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

void Latency::Add(int64_t ns) {
  ++buckets_[BucketOf(static_cast<uint64_t>(std::max<int64_t>(ns, 0)))];
  ++count_;
}

void Latency::Clear() {
  std::fill(buckets_.begin(), buckets_.end(), 0);
  count_ = 0;
}

int64_t Latency::Percentile(double share) const {
  auto left = static_cast<int64_t>(std::ceil(share * static_cast<double>(count_)));
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    left -= buckets_[bucket];
    if (left <= 0) return LastOf(bucket);
  }
  return 0;
}

}  // namespace sluice::bench
