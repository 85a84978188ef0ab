// The scenario `cancels` over many seeds: each cancel has met its wait, also in the moment in which
// the wait would have ended.
#include "sluice/sim/scenarios/cancels.h"

#include <gtest/gtest.h>

#include "sluice/sim/run/gtest.h"

namespace sluice::sim::cancels_test {
namespace {

using namespace cancels_scenario;  // NOLINT(google-build-using-namespace)

TEST(Cancels, EachWaitIsMetInEachWay) {
  Counts counts;
  SeedOptions options;
  options.seeds = 250;
  ForEachSeed([&](Simulation& simulation) { RunCounted(simulation, &counts); }, options);
  for (int kind = 0; kind < kKinds; ++kind) {
    int64_t close = 0;
    int64_t ended = 0;
    for (int way = 0; way < kWays; ++way) {
      if (!Applies(Kind(kind), Way(way))) continue;
      const Counts::Count& count = counts.Of(Kind(kind), Way(way));
      EXPECT_GT(count.met, 0) << Name(Kind(kind), Way(way));
      close += count.close;
      ended += count.ended;
    }
    EXPECT_GT(close, 0) << Name(Kind(kind), Way::kStops)
                        << ", and all others: in the moment of its end";
    EXPECT_GT(ended, 0) << Name(Kind(kind), Way::kStops) << ", and all others: just behind its end";
  }
}

}  // namespace
}  // namespace sluice::sim::cancels_test
