// Former bugs, each with a run that finds it: with the plant of that name (plants_table.h) the
// run fails, and here nothing may break.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string_view>

#include "sluice/sim/run/scenario.h"
#include "sluice/sim/run/seeds.h"

namespace sluice::sim {
namespace {

struct Found {
  std::string_view scenario;
  std::string_view set;  // In the format of ./sluice sim --set.
  std::string_view bug;  // The name of its plant.
};

constexpr Found kFound[] = {
    {"broadcast", "seed=9", "passed_over"},
    {"restarts", "seed=4", "last_words_unsent"},
    {"saturation", "seed=34", "credit_before_memory"},
    {"deadlock", "seed=10", "cycle_unconfirmed"},
    {"blocking", "seed=276", "drain_spins"},
    {"broadcast", "seed=129", "bytes_behind_hole"},
    {"broadcast", "seed=250", "high_unnoted"},
    {"broadcast", "seed=22", "closing_member_counts"},
    {"callbacks", "seed=5", "filter_overtakes"},
    {"turns", "seed=153", "gap_unnoted"},
    {"cancels", "seed=6", "half_write_looks_whole"},
};

void ExpectWhole(std::string_view name, std::string_view set) {
  const auto scenario = std::ranges::find(Scenarios(), name, &Scenario::name);
  ASSERT_NE(scenario, Scenarios().end()) << "there is no scenario " << name;
  sim::Setup setup;
  ASSERT_TRUE(setup.Apply(set).ok()) << set;
  setup.faults = FaultsOf(setup.seed, scenario->faults);
  setup.amounts = scenario->usual;
  ASSERT_TRUE(setup.Apply(set).ok());  // Replaces settings that the seed chose.
  EXPECT_EQ(RunOnce(setup, scenario->run).violation, "");
}

void PrintTo(const Found& found, std::ostream* out) { *out << found.bug; }

class FoundBug : public ::testing::TestWithParam<Found> {};

TEST_P(FoundBug, IsNotBack) { ExpectWhole(GetParam().scenario, GetParam().set); }

// A scenario has been wrong, too: here a download takes so long that its connection's remaining
// lifetime is shorter than the bound for its last silence.
TEST(FoundFalseAlarm, DownloadEndedByItsLifetimeIsAccepted) {
  for (const std::string_view set : {"seed=8936", "seed=15357", "seed=16827", "seed=18580"}) {
    ExpectWhole("dead_peers", set);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FoundBug, ::testing::ValuesIn(kFound));

}  // namespace
}  // namespace sluice::sim
