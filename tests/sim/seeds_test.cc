// Tests of runs from seeds: how a failure is reported and made smaller, and its trace.
#include "sluice/sim/run/seeds.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/sim_os.h"

namespace sluice::sim::seeds_test {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Breaks a law if three or more clients come, and goes on for a while.
void FailsWithThree(Simulation& simulation) {
  (void)simulation.Amount("workers", 1, 4);
  const int64_t clients = simulation.Amount("clients", 1, 40);
  for (int64_t i = 0; i < clients; ++i) simulation.os().SpareOpen();
  if (clients >= 3) simulation.Broken("L1 ledger", "too many");
  for (int i = 0; i < 100; ++i) simulation.os().SpareOpen();
}

Setup Failing() {
  Setup setup;
  setup.faults = Faults::Harsh();
  for (setup.seed = 1; RunOnce(setup, FailsWithThree).violation.empty();) ++setup.seed;
  return setup;
}

TEST(Seeds, FailingRunIsShrunkWhileItFails) {
  const sim::Setup least = Shrink(Failing(), FailsWithThree, 200);
  EXPECT_EQ(least.amounts, (Amounts{{"clients", 3}, {"workers", 1}}));
  for (const FaultName& fault : kFaultNames) EXPECT_EQ(least.faults.*fault.chance, 0) << fault.name;
  EXPECT_FALSE(RunOnce(least, FailsWithThree).violation.empty());
}

TEST(Seeds, NoMoreRunsAreMadeThanAllowed) {
  int runs = 0;
  const Body counted = [&](Simulation& simulation) {
    ++runs;
    FailsWithThree(simulation);
  };
  const sim::Setup failing = Failing();
  for (const int most : {0, 1, 7}) {
    runs = 0;
    Shrink(failing, counted, most);
    EXPECT_LE(runs, most);
  }
}

TEST(Seeds, ASetupIsReadAsItIsWritten) {
  sim::Setup setup;
  setup.seed = UINT64_MAX;
  setup.amounts = {{"clients", 2}, {"rounds", 0}};
  setup.faults.reset = 44;
  const std::string text = setup.ToText(Faults());
  EXPECT_EQ(text, "seed=18446744073709551615,clients=2,rounds=0,faults.reset=44");
  sim::Setup again;
  ASSERT_TRUE(again.Apply(text).ok());
  EXPECT_EQ(again.ToText(Faults()), text);
}

TEST(Seeds, BadSetupIsRefusedAndQuoted) {
  for (const char* text :
       {"clients", "clients=", "clients=x", "clients=-1", "seed=-1", "=1", "faults.none=1"}) {
    const absl::Status status = sim::Setup().Apply(text);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(std::string(text).substr(text[0] == 'f' ? 7 : 0, 4)));
  }
}

TEST(Seeds, TheLastLineToldIsWhatBroke) {
  const Outcome outcome = RunOnce(Failing(), FailsWithThree, {.keep_lines = true});
  EXPECT_THAT(outcome.last_lines, EndsWith(outcome.violation + "\n"));
}

TEST(Seeds, ATraceHoldsWhatCameAfterToo) {
  const std::string path = ::testing::TempDir() + "/trace";
  const Outcome outcome = RunOnce(Failing(), FailsWithThree, {.path = path});
  EXPECT_TRUE(outcome.trace_file.ok()) << outcome.trace_file;
  std::ifstream file(path);
  int64_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  EXPECT_EQ(lines, outcome.events + 1);  // Plus the violation.
}

TEST(Seeds, ATraceThatCannotBeWrittenIsTold) {
  const Outcome nowhere = RunOnce(sim::Setup(), FailsWithThree, {.path = "/dev/null/trace"});
  EXPECT_THAT(std::string(nowhere.trace_file.message()), HasSubstr("/dev/null/trace"));
  const Outcome full = RunOnce(sim::Setup(), FailsWithThree, {.path = "/dev/full"});
  EXPECT_THAT(std::string(full.trace_file.message()), HasSubstr("/dev/full"));
}

std::vector<std::string> FailuresOf(const Body& body) {
  ::testing::TestPartResultArray failures;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    ForEachSeed(body);
  }
  std::vector<std::string> texts;
  for (int i = 0; i < failures.size(); ++i) {
    texts.emplace_back(failures.GetTestPartResult(i).message());
  }
  return texts;
}

TEST(ForEachSeed, FailedExpectationNamesThreadMomentAndCommand) {
  const std::vector<std::string> failures = FailuresOf([](Simulation& simulation) {
    (void)simulation.Amount("clients", 1, 5);
    simulation.Join(simulation.StartThread(simulation.os(), "customer", [&] {
      simulation.os().SpareOpen();
      EXPECT_EQ(simulation.seed(), 0u);
      for (int i = 0; i < 100; ++i) simulation.os().SpareOpen();
    }));
  });
  ASSERT_THAT(failures, SizeIs(1));
  for (const char* part : {"seed 1: an expectation is broken at t=1000.000200ms",
                           ", in customer: tests/sim/seeds_test.cc:",
                           "server/customer: spare() = 3\nan expectation is broken",
                           "=ForEachSeed.FailedExpectationNamesThreadMomentAndCommand",
                           "SLUICE_SIM=seed=1,clients=1,"}) {
    EXPECT_THAT(failures[0], HasSubstr(part));
  }
}

TEST(ForEachSeed, UnwritableTraceFailsTheTestAndHidesNothing) {
  ASSERT_EQ(setenv("SLUICE_SIM_TRACE", "/dev/full", 1), 0);
  EXPECT_THAT(FailuresOf([](Simulation& simulation) {
                simulation.os().SpareOpen();
                simulation.Broken("L1 ledger", "always");
              }),
              ElementsAre(HasSubstr("SLUICE_SIM_TRACE: cannot write /dev/full"),
                          HasSubstr("seed 1: L1 ledger is broken")));
  unsetenv("SLUICE_SIM_TRACE");
}

}  // namespace
}  // namespace sluice::sim::seeds_test
