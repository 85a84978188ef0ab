// Watch counts the operations of a run, and measures those after the warm-up: time, processor time
// of all threads, and the time from one operation to the next where that is a latency.
//
//   watch.Count();                      // Where an operation is complete, on one thread.
//   watch.Wait();                       // In main().
//
// Owner:  the program's main().
// Thread: Count and Lap are called by one thread at a time, each call after the one before; Wait by
//         another.
// Bound:  Lap keeps four bytes for each operation.
// Errors: none.
#ifndef SLUICE_BENCH_PROGRAM_WATCH_H_
#define SLUICE_BENCH_PROGRAM_WATCH_H_

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <latch>
#include <vector>

namespace bench {

inline int64_t ClockNs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class Watch {
 public:
  // `step` operations are counted at a time: both parts are whole steps.
  explicit Watch(int64_t operations, int64_t step = 1)
      : operations_(WholeSteps(operations, step)),
        warm_up_(WholeSteps(operations / 10, step)),
        mark_(warm_up_) {}

  // Counts `more` operations. False: that was the last one, or it came before.
  bool Count(int64_t more = 1) {
    counted_ += more;
    return counted_ < mark_ || Mark();
  }
  // As Count(), and the time since the operation before is its latency.
  bool Lap() {
    const int64_t now = ClockNs(CLOCK_MONOTONIC);
    if (last_ns_ != 0)
      laps_.push_back(static_cast<uint32_t>(std::min<int64_t>(now - last_ns_, UINT32_MAX)));
    const bool more = Count();
    if (counted_ >= warm_up_) last_ns_ = now;
    return more;
  }
  void KeepLaps() { laps_.reserve(static_cast<size_t>(operations_)); }

  // Instead of Count: the run is measured from Begin() to End(), by whichever threads.
  void Begin() {
    processor_ns_ = ClockNs(CLOCK_PROCESS_CPUTIME_ID);
    wall_ns_ = ClockNs(CLOCK_MONOTONIC);
  }
  void End() {
    wall_ns_ = ClockNs(CLOCK_MONOTONIC) - wall_ns_;
    processor_ns_ = ClockNs(CLOCK_PROCESS_CPUTIME_ID) - processor_ns_;
    done_.count_down();
  }

  int64_t Operations() const { return operations_; }
  int64_t Total() const { return warm_up_ + operations_; }  // With the warm-up.
  void Wait() { done_.wait(); }

  // After Wait().
  double WallSeconds() const { return static_cast<double>(wall_ns_) / 1e9; }
  double ProcessorSeconds() const { return static_cast<double>(processor_ns_) / 1e9; }
  // Sorted.
  const std::vector<uint32_t>& Laps() {
    std::sort(laps_.begin(), laps_.end());
    return laps_;
  }

 private:
  static int64_t WholeSteps(int64_t operations, int64_t step) {
    return std::max<int64_t>(1, (operations + step - 1) / step) * step;
  }
  // The warm-up is over, or all is. What was on its way then may still be counted, without effect.
  [[gnu::noinline]] bool Mark() {
    if (over_) return false;
    if (mark_ == warm_up_) {
      mark_ = Total();
      Begin();
      return true;
    }
    over_ = true;
    End();
    return false;
  }

  const int64_t operations_;
  const int64_t warm_up_;
  int64_t counted_ = 0;
  int64_t mark_;
  bool over_ = false;
  int64_t wall_ns_ = 0;
  int64_t processor_ns_ = 0;
  int64_t last_ns_ = 0;
  std::vector<uint32_t> laps_;
  std::latch done_{1};
};

}  // namespace bench

#endif  // SLUICE_BENCH_PROGRAM_WATCH_H_
