// Tests of the program behind ./sluice sim: what it refuses, and how it reports a failure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "sluice/tests/e2e/process.h"
#include "sluice/tests/support/command.h"

namespace sluice {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

using Result = testing::CommandResult;

Result Simulate(const std::string& arguments) {
  return testing::RunCommand("sim/simulate " + arguments);
}

TEST(Simulate, SenselessFlagsAreRefusedInOneLine) {
  for (const char* arguments :
       {"--seeds=0", "--seconds=-1", "--run_seconds=-1", "--scenario=none", "--set=clients",
        "--set=faults.none=1", "echo", "--trace=/dev/null/x", "--trace=/dev/full"}) {
    const Result result = Simulate(arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_THAT(result.text, MatchesRegex("error: [^\n]+\n")) << arguments;
  }
}

TEST(Simulate, ABuildWithoutPlantsNamesTheBuildThatHasThem) {
  const Result result = Simulate("--plant=lost_wake_up");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.text, MatchesRegex("error: --plant: [^\n]+ --config=plant[^\n]*\n"));
}

TEST(Simulate, FindingsAreKeptWhenItIsInterrupted) {
  e2e::Process process("sim/simulate", {"--scenario=echo", "--seconds=600"});
  ASSERT_TRUE(process.ReadOutputLine().has_value());
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 128 + SIGINT);
  EXPECT_THAT(process.StandardOutput(), StartsWith("seed 1: echo, hash "));
  EXPECT_THAT(process.StandardOutput(), EndsWith(" s of its time\n"));
}

TEST(Simulate, EachScenarioIsListedWithWhatItShows) {
  const Result result = Simulate("--scenario=list");
  EXPECT_EQ(result.code, 0);
  for (const char* name : {"echo ", "relay ", "chat ", "broadcast ", "dns ", "million "}) {
    EXPECT_THAT("\n" + result.text, HasSubstr("\n" + std::string(name)));
  }
}

TEST(Simulate, TheSameSeedHasTheSameHash) {
  const std::string first = Simulate("--scenario=echo --seed=3").text;
  EXPECT_THAT(first, StartsWith("seed 3: echo, hash "));
  const std::string line = first.substr(0, first.find('\n'));
  EXPECT_THAT(Simulate("--scenario=echo --seed=2 --seeds=2").text, HasSubstr(line));
}

TEST(Simulate, AnAmountThatNobodyAskedForIsNamed) {
  const Result wrong = Simulate("--scenario=echo --set=clientz=1");
  EXPECT_THAT(wrong.text, HasSubstr("error: --set: no run asked for 'clientz'"));
  EXPECT_EQ(wrong.code, 1);
  const Result right = Simulate("--scenario=echo --set=clients=1");
  EXPECT_THAT(right.text, ::testing::Not(HasSubstr("error")));
  EXPECT_EQ(right.code, 0);
}

// No scenario fails by itself, so a time limit makes one fail: the failure names its seed.
TEST(Simulate, EndlessRunIsReportedWithItsSeed) {
  const Result result = Simulate("--scenario=million --seed=5 --run_seconds=1");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.text,
              HasSubstr("seed 5: L5 progress is broken: the run has not ended after 1 s"));
}

}  // namespace
}  // namespace sluice
