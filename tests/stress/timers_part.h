// Timers: thousands of After, Every and Cancel, on actors that park now and then.
//
// Checks by the Os's clock that no timer fires before its delay from Now() is over, that a
// cancelled timer never fires, that each After fires once, and that the k-th firing of an Every
// does not come before k intervals.
#ifndef SLUICE_TESTS_STRESS_TIMERS_PART_H_
#define SLUICE_TESTS_STRESS_TIMERS_PART_H_

#include <atomic>
#include <string>
#include <vector>

#include "sluice/tests/stress/part.h"

namespace sluice::stress {

class TimersPart : public Part {
 public:
  explicit TimersPart(Stress& s) : stress(s) {}
  std::string Name() const override { return "timers"; }
  void Prepare() override;
  bool Done() override;
  std::string State() override;
  int64_t Progress() const override { return fired.Get(); }
  void CheckDone() override;
  std::vector<Rate> Rates() const override;
  std::string Notes() const override;

  void NoteLateness(int64_t ns);  // Called by any worker.

  Stress& stress;
  Count armed, fired, cancelled, every_fired, clocks_done;

 private:
  std::atomic<int64_t> latest_ns_{0};  // Relaxed: a figure.
  int64_t clocks_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_TIMERS_PART_H_
