// A periodic timer keeps its time to the millisecond: it is called as often as periods have passed.
#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"
#include "sluice/sluice.h"

namespace sluice::sim::periods_test {
namespace {

struct Tally {
  int64_t calls = 0;
  int64_t skipped = 0;
};

class Clock : public Actor {
 public:
  Clock(Simulation* simulation, Tally* tally, absl::Duration takes)
      : simulation_(*simulation), tally_(*tally), takes_(takes) {}
  void OnStart() override {
    Every(absl::Milliseconds(1), [this](int64_t skipped) {
      ++tally_.calls;
      tally_.skipped += skipped;
      if (takes_ > absl::ZeroDuration()) simulation_.Sleep(takes_);
    });
  }

 private:
  Simulation& simulation_;
  Tally& tally_;
  const absl::Duration takes_;
};

Tally RunClock(absl::Duration takes, absl::Duration time) {
  Simulation simulation(1, Faults::None());
  Options options;
  options.workers = 1;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 64;
  options.log_level = "off";
  Runtime runtime(options, simulation.os());
  Tally tally;
  (void)runtime.Spawn<Clock>(&simulation, &tally, takes);
  EXPECT_TRUE(runtime.Start().ok());
  simulation.Sleep(time);
  const Tally seen = tally;
  runtime.Drain(absl::Seconds(1));
  EXPECT_EQ(runtime.TotalLedger().periods_skipped, tally.skipped);
  EXPECT_EQ(simulation.violation(), "");
  return seen;
}

TEST(Periods, EachMillisecondHasItsCall) {
  const Tally tally = RunClock(absl::ZeroDuration(), absl::Seconds(3));
  EXPECT_GE(tally.calls, 2'997);
  EXPECT_LE(tally.calls, 3'000);
  EXPECT_EQ(tally.skipped, 0);
}

TEST(Periods, CallsAndSkipsAddUpToPassedPeriods) {
  const Tally tally = RunClock(absl::Microseconds(3'500), absl::Seconds(3));
  EXPECT_GE(tally.calls, 700);
  EXPECT_GE(tally.calls + tally.skipped, 2'992);
  EXPECT_LE(tally.calls + tally.skipped, 3'000);
}

}  // namespace
}  // namespace sluice::sim::periods_test
