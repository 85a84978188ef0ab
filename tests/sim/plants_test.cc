// Tests of the search for planted faults, with a script in place of the simulation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <string>
#include <string_view>

#include "sluice/tests/sim/plants_table.h"
#include "sluice/tests/support/command.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

using Result = testing::CommandResult;

std::string HooksOfTheTable() {
  std::string hooks;
  for (const PlantRow& row : kPlants) hooks += std::string(row.name) + "\n";
  return hooks;
}

// `body` can use $scenario, $seed, $seeds and $plant, which is empty if nothing is planted.
Result RunPlants(std::string_view body, std::string_view flags,
                 std::string_view hooks = HooksOfTheTable()) {
  const std::string path = ::testing::TempDir() + "/sim.sh";
  std::ofstream(path) << "#!/bin/sh\n"
                      << "for flag; do eval \"${flag#--}\"; done\n"
                      << "if [ \"$plant\" = list ]; then printf '%s' '" << hooks << "'; exit; fi\n"
                      << body << "\nexit 0\n";
  chmod(path.c_str(), 0700);
  return testing::RunCommand("tests/sim/plants --seeds=20 --sim=" + path + " " +
                             std::string(flags));
}

TEST(Plants, AreTwentyOrMoreWithUniqueNames) {
  std::set<std::string_view> names;
  for (const PlantRow& row : kPlants) EXPECT_TRUE(names.insert(row.name).second) << row.name;
  EXPECT_GE(names.size(), 20);
}

TEST(Plants, AHookWithoutARowFails) {
  const Result result = RunPlants("", "", HooksOfTheTable() + "new_fault\n");
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_EQ(result.text,
            "SLUICE_PLANT(new_fault, ...) has no row: add it to tests/sim/plants_table.h\n");
}

TEST(Plants, ARowWithoutAHookFails) {
  const std::string hooks = HooksOfTheTable();
  const Result result = RunPlants("", "", hooks.substr(hooks.find('\n') + 1));
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("no SLUICE_PLANT in the code is named lost_wake_up"));
}

TEST(Plants, FindingOfALawIsReportedWithItsSeed) {
  const Result result = RunPlants(
      "[ -n \"$plant\" ] && [ $scenario = hub ] && "
      "echo 'seed 17: L1 ledger is broken at t=2' && exit 1",
      "--only=lag_off_by_one,lost_wake_up --scenarios=hub,messages");
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_THAT(result.text,
              HasSubstr("lag_off_by_one            hub            17     17  L1 ledger"));
  EXPECT_THAT(result.text,
              HasSubstr("lost_wake_up              hub            17     37  L1 ledger"));
  EXPECT_THAT(result.text, HasSubstr("2 of 2 plants were found"));
}

TEST(Plants, OneThatIsNeverFoundFails) {
  const Result result = RunPlants("[ \"$plant\" = lost_wake_up ] && echo 'seed 3: L5' && exit 1",
                                  "--only=lost_wake_up,stale_handle --scenarios=messages,life");
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("1 of 2 plants were found; not: stale_handle"));
  EXPECT_THAT(result.text, HasSubstr("NOT FOUND"));
}

TEST(Plants, TheSeedOfACrashIsSearchedFor) {
  const Result result = RunPlants(
      "[ -n \"$plant\" ] && [ $seed -le 9 ] && [ $((seed + seeds)) -gt 9 ] && "
      "echo 'SLUICE_CHECK(x) failed' && kill -ABRT $$",
      "--only=stale_handle --scenarios=life");
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_THAT(result.text,
              HasSubstr("life            9      9  it ends with 134: SLUICE_CHECK(x)"));
}

TEST(Plants, AFindWithoutAPlantFails) {
  const Result result = RunPlants("echo 'seed 4: L2 order is broken' && exit 1",
                                  "--only=lost_wake_up --scenarios=messages");
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("nothing is planted, and messages fails: seed 4: L2"));
}

TEST(Plants, NoTimeForAllSeedsIsNoFind) {
  const Result result = RunPlants("[ -n \"$plant\" ] && exec sleep 60",
                                  "--only=stale_handle --scenarios=messages --timeout=1");
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("NOT FOUND"));
  EXPECT_THAT(result.text, HasSubstr("no time for all seeds: messages"));
}

TEST(Plants, ASimulationWithNothingPlantedHasToEnd) {
  const Result result = RunPlants("[ -z \"$plant\" ] && exec sleep 60",
                                  "--only=stale_handle --scenarios=messages --timeout=1");
  EXPECT_EQ(result.code, 1) << result.text;
  EXPECT_THAT(result.text, HasSubstr("nothing is planted, and messages fails"));
}

TEST(Plants, FaultSettingsApplyInTheirOwnScenario) {
  const Result result = RunPlants(
      "[ -n \"$plant\" ] && [ $scenario = blocking ] && [ $set = unstarted=3 ] && "
      "echo 'seed 2: L5' && exit 1",
      "--only=drain_spins --scenarios=messages,blocking");
  EXPECT_EQ(result.code, 0) << result.text;
  EXPECT_THAT(result.text, HasSubstr("blocking        2      2  L5"));
}

TEST(Plants, ATypingErrorInANameFails) {
  const Result result = RunPlants("", "--only=lost_wakeup --scenarios=messages");
  EXPECT_EQ(result.code, 1) << result.text;
}

}  // namespace
}  // namespace sluice
