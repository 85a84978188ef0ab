// Runs scenarios on a simulated system: ./sluice sim --scenario=echo --seed=17
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/flags.h"
#include "sluice/sim/run/run_limit.h"
#include "sluice/sim/run/scenario.h"
#include "sluice/sim/run/seeds.h"

ABSL_FLAG(std::string, scenario, "mixed",
          "Scenario to run; mixed: the seed chooses one; list: lists them.");
ABSL_FLAG(uint64_t, seed, 1, "The first seed.");
ABSL_FLAG(int64_t, seeds, 1, "Number of seeds, one after the other.");
ABSL_FLAG(int64_t, seconds, 0,
          "Runs new seeds for this number of seconds; 0: as many seeds as --seeds says.");
ABSL_FLAG(std::string, set, "",
          "Values that replace those of the seed, as a failed run prints them: "
          "clients=1,faults.reset=0.");
ABSL_FLAG(std::string, trace, "",
          "File for the trace: a line for each event of the run, or of the last run if there are "
          "several.");
ABSL_FLAG(bool, shrink, true, "Looks for the smallest setup that still fails.");
ABSL_FLAG(bool, quiet, false, "Prints no line for each seed.");
ABSL_FLAG(int64_t, run_seconds, 0,
          "Seconds of processor time after which a run counts as endless and fails; 0: no limit.");
ABSL_FLAG(std::string, plant, "",
          "Fault to plant, in a build with --config=plant; list: lists them. The run ends with the "
          "first seed that finds the fault.");

namespace sluice::sim {
namespace {

constexpr int kShrinkRunsMax = 200;

const Scenario* Find(std::string_view name) {
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name == name) return &scenario;
  }
  return nullptr;
}

const Scenario& Of(uint64_t seed) {
  Random random(seed ^ 0x5CE);
  for (;;) {
    const Scenario& picked = Scenarios()[random.Below(Scenarios().size())];
    if (picked.in_mixed) return picked;
  }
}

int Wrong(std::string_view what) {
  absl::FPrintF(stderr, "error: %s\n", ToAbsl(what));
  return 1;
}

// Runs seeds one after the other, and sums them up.
class Runs {
 public:
  explicit Runs(const Scenario* chosen) : chosen_(chosen) {}  // Null: mixed.

  int64_t Count() const { return runs_; }
  int64_t Failed() const { return failed_; }
  // Error: the trace cannot be written.
  absl::Status Run(uint64_t seed) {
    const Scenario& scenario = chosen_ != nullptr ? *chosen_ : Of(seed);
    Setup setup;
    setup.faults = FaultsOf(seed, scenario.faults);
    setup.amounts = scenario.usual;
    setup.Apply(absl::GetFlag(FLAGS_set)).IgnoreError();
    setup.seed = seed;
    const int64_t seconds = absl::GetFlag(FLAGS_run_seconds);
    const Outcome outcome = [&] {
      const RunLimit limit(
          seconds,
          absl::StrFormat(
              "seed %d: L5 progress is broken: the run has not ended after %d s of processor "
              "time\nrepeat it: ./sluice sim --scenario=%s --set=%s --run_seconds=%d\n",
              seed, seconds, ToAbsl(scenario.name), setup.ToText(FaultsOf(seed, scenario.faults)),
              seconds));
      return RunOnce(setup, scenario.run, {.path = absl::GetFlag(FLAGS_trace)});
    }();
    ++runs_;
    events_ += outcome.events;
    virtual_ns_ += outcome.virtual_ns;
    hash_ = hash_ * 31 + outcome.hash;
    for (const auto& [amount, value] : outcome.amounts) asked_for_.insert(amount);
    if (!outcome.violation.empty()) {
      ++failed_;
      Fail(scenario, setup, outcome);
    } else if (outcome.trace_file.ok() && !absl::GetFlag(FLAGS_quiet)) {
      absl::PrintF("seed %d: %s, hash %016x, %d events, %.3f s of its time\n", seed,
                   ToAbsl(scenario.name), outcome.hash, outcome.events,
                   static_cast<double>(outcome.virtual_ns) / 1e9);
    }
    return outcome.trace_file;
  }
  // Returns the program's exit code.
  int Sum(const Amounts& told, absl::Duration took) const {
    bool unknown = false;
    for (const auto& [amount, value] : told) {
      if (asked_for_.contains(amount)) continue;
      absl::FPrintF(stderr,
                    "error: --set: no run asked for '%s': the runs were those of the defaults\n",
                    amount);
      unknown = true;
    }
    const double seconds = absl::ToDoubleSeconds(took);
    absl::PrintF(
        "%d runs, %d failed, hash of all %016x; %d events, %.0f a second; %.1f s for %.1f s\n",
        runs_, failed_, hash_, events_, static_cast<double>(events_) / seconds, seconds,
        static_cast<double>(virtual_ns_) / 1e9);
    return failed_ == 0 && !unknown ? 0 : 1;
  }

 private:
  // Reports the first failure of a scenario at length, further ones in short: shrinking takes
  // longer than the run, and failures of one scenario often have one cause.
  void Fail(const Scenario& scenario, const Setup& setup, const Outcome& outcome) {
    absl::PrintF("seed %d: %s\n", setup.seed, outcome.violation);
    Setup least = setup;
    if (told_.insert(scenario.name).second) {
      if (absl::GetFlag(FLAGS_shrink)) least = Shrink(setup, scenario.run, kShrinkRunsMax);
      const Outcome again = RunOnce(least, scenario.run, {.keep_lines = true});
      absl::PrintF("%s\nsmallest failing run found: %s\n", again.last_lines, again.violation);
    }
    absl::PrintF("repeat it: ./sluice sim --scenario=%s --set=%s\n", ToAbsl(scenario.name),
                 least.ToText(FaultsOf(setup.seed, scenario.faults)));
  }

  const Scenario* const chosen_;
  int64_t runs_ = 0;
  int64_t failed_ = 0;
  int64_t events_ = 0;
  int64_t virtual_ns_ = 0;
  uint64_t hash_ = 0;
  std::set<std::string_view> told_;  // Scenarios with a failure reported at length.
  std::set<std::string> asked_for_;  // Amounts.
};

std::string NoPlant(std::string_view name) {
  if (PlantNames().empty()) {
    return "--plant: this build has no faults to plant: ./sluice sim --config=plant --config=opt";
  }
  return absl::StrCat("--plant: no fault is named '", ToAbsl(name), "'; --plant=list lists them");
}

int Main() {
  const std::string plant = absl::GetFlag(FLAGS_plant);
  if (plant == "list" && !PlantNames().empty()) {
    for (const std::string_view listed : PlantNames()) absl::PrintF("%s\n", ToAbsl(listed));
    return 0;
  }
  if (!SetPlanted(plant)) return Wrong(NoPlant(plant));
  const std::string name = absl::GetFlag(FLAGS_scenario);
  if (name == "list") {
    for (const Scenario& scenario : Scenarios()) {
      absl::PrintF("%-12s %s\n", ToAbsl(scenario.name), ToAbsl(scenario.what));
    }
    return 0;
  }
  const Scenario* const chosen = Find(name);
  if (chosen == nullptr && name != "mixed") {
    return Wrong(absl::StrCat("there is no scenario '", name, "'; --scenario=list lists them"));
  }
  const int64_t seeds = absl::GetFlag(FLAGS_seeds);
  const absl::Duration seconds = absl::Seconds(absl::GetFlag(FLAGS_seconds));
  if (seeds < 1) return Wrong("--seeds must be from 1 on");
  if (seconds < absl::ZeroDuration()) return Wrong("--seconds must be from 0 on");
  if (absl::GetFlag(FLAGS_run_seconds) < 0) return Wrong("--run_seconds must be from 0 on");
  Setup told;
  told.seed = absl::GetFlag(FLAGS_seed);
  if (const absl::Status status = told.Apply(absl::GetFlag(FLAGS_set)); !status.ok()) {
    return Wrong(absl::StrCat("--set: ", status.message()));
  }
  const absl::Time start = absl::Now();
  Runs runs(chosen);
  const auto more = [&] {
    return seconds > absl::ZeroDuration() ? absl::Now() - start < seconds : runs.Count() < seeds;
  };
  bool found = false;
  for (uint64_t seed = told.seed; more() && !found; ++seed) {
    if (const absl::Status status = runs.Run(seed); !status.ok()) {
      return Wrong(absl::StrCat("--trace: ", status.message()));
    }
    found = !plant.empty() && runs.Failed() > 0;
  }
  return runs.Sum(told.amounts, absl::Now() - start);
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // Line by line: Ctrl-C loses no finding.
  const std::vector<std::string> rest = sluice::ParseFlags(
      argc, argv, "Runs whole systems on a simulated operating system, each run from a seed.");
  if (!rest.empty()) {
    return sluice::sim::Wrong(absl::StrCat("unexpected argument \"", rest[0], "\"; see --help"));
  }
  return sluice::sim::Main();
}
