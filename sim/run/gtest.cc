#include "sluice/sim/run/gtest.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/sim/run/run_limit.h"

namespace sluice::sim {

namespace {

constexpr int kShrinkRunsMax = 200;
constexpr int64_t kLongTimes = 100;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A failed EXPECT is a violation like any other, so the run can be shrunk. It is reported at once:
// the report names its thread, and the shown trace ends there.
class Expectations final : public testing::ScopedFakeTestPartResultReporter {
 public:
  explicit Expectations(Simulation& simulation)
      : ScopedFakeTestPartResultReporter(INTERCEPT_ONLY_CURRENT_THREAD, nullptr),
        simulation_(simulation) {}

  void ReportTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    simulation_.Broken("an expectation",
                       absl::StrCat(result.file_name() ? result.file_name() : "", ":",
                                    result.line_number(), ": ", result.message()));
  }

 private:
  Simulation& simulation_;
};

Body WithExpectations(const Body& body) {
  return [&body](Simulation& simulation) {
    const Expectations expectations(simulation);
    body(simulation);
  };
}

std::string Command(const std::string& setup) {
  const testing::TestInfo* const test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string target = Environment("TEST_TARGET");  // Set by Bazel: the target under test.
  const std::string name = absl::StrCat(test->test_suite_name(), ".", test->name());
  if (target.empty()) return absl::StrCat("SLUICE_SIM=", setup, " ... --gtest_filter=", name);
  return absl::StrCat("bazel test ", target, " --test_filter=", name,
                      " --test_env=SLUICE_SIM=", setup);
}

}  // namespace

void ForEachSeed(const Body& body, const SeedOptions& options) {
  const Body checked = WithExpectations(body);
  const std::string told = Environment("SLUICE_SIM");
  const int64_t times = Environment("SLUICE_LONG").empty() ? 1 : kLongTimes;
  const int64_t seeds = told.empty() ? options.seeds * times : 1;
  for (int64_t i = 0; i < seeds; ++i) {
    Setup setup;
    setup.seed = options.first + static_cast<uint64_t>(i);
    if (const absl::Status status = setup.Apply(told); !status.ok()) {
      ADD_FAILURE() << "SLUICE_SIM: " << status.message();
      return;
    }
    const Faults usual = FaultsOf(setup.seed, options.faults);
    setup.faults = usual;
    setup.Apply(told).IgnoreError();
    const Outcome outcome = [&] {
      const RunLimit limit(
          options.run_seconds,
          absl::StrCat("seed ", setup.seed, ": the run has not ended after ", options.run_seconds,
                       " s of processor time\nrepeat it: ", Command(setup.ToText(usual)), "\n"));
      return RunOnce(setup, checked, {.path = Environment("SLUICE_SIM_TRACE")});
    }();
    if (!outcome.trace_file.ok()) {
      ADD_FAILURE() << "SLUICE_SIM_TRACE: " << outcome.trace_file.message();
      if (outcome.violation.empty()) return;
    }
    if (outcome.violation.empty()) continue;
    const Setup least = [&] {
      if (!told.empty()) return setup;
      const RunLimit limit(options.run_seconds,
                           absl::StrCat("seed ", setup.seed, ": ", outcome.violation,
                                        "\n(a smaller run did not end)\nrepeat it: ",
                                        Command(setup.ToText(usual)), "\n"));
      return Shrink(setup, checked, kShrinkRunsMax);
    }();
    const Outcome again = RunOnce(least, checked, {.keep_lines = true});
    ADD_FAILURE() << "seed " << setup.seed << ": " << outcome.violation << "\n\n"
                  << again.last_lines << "\nsmallest failing run found: " << again.violation
                  << "\nrepeat it: " << Command(least.ToText(usual));
    return;
  }
}

}  // namespace sluice::sim
