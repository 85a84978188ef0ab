// ClockOs is Linux with clocks that only the test moves. No call waits: the test steps the worker.
#ifndef SLUICE_TESTS_SUPPORT_CLOCK_OS_H_
#define SLUICE_TESTS_SUPPORT_CLOCK_OS_H_

#include <cstdint>

#include "absl/time/time.h"
#include "sluice/tests/support/forwarding_os.h"

namespace sluice::testing {

class ClockOs : public ForwardingOs {
 public:
  int64_t NowNs() override {
    if (runs) Advance(absl::Milliseconds(1));
    ++looks;
    return now_ns_;
  }
  int64_t ThreadProcessorNs() override { return processor_ns_; }
  ThreadSwitches ThreadSwitchCounts() override { return switches_; }
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    if (timeout_ms != 0) ++switches_.voluntary;
    return ForwardingOs::PollerWait(poller, events, events_max, 0);
  }
  void WaitFor(std::condition_variable&, std::unique_lock<std::mutex>&, int64_t) override {}
  void Advance(absl::Duration by) { now_ns_ += absl::ToInt64Nanoseconds(by); }
  void UseProcessor(absl::Duration by) { processor_ns_ += absl::ToInt64Nanoseconds(by); }
  // Block: the thread waited that long. Preempt: other threads had its processor that long.
  void Block(absl::Duration by) {
    Advance(by);
    ++switches_.voluntary;
  }
  void Preempt(absl::Duration by) {
    Advance(by);
    ++switches_.involuntary;
  }
  int Processor() override { return processor; }
  int64_t looks = 0;  // Calls of NowNs().
  int processor = -1;
  bool runs = false;  // Set at a test's end: each look then advances the clock, so deadlines pass.

 private:
  int64_t now_ns_ = 1'000'000'000'000;
  int64_t processor_ns_ = 77'000'000;
  ThreadSwitches switches_{50, 5};
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_CLOCK_OS_H_
