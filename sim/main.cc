// Runs scenarios on a simulated system: ./sluice sim --scenario=echo --seed=17
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "sluice/core/plant.h"
#include "sluice/core/strings.h"
#include "sluice/sim/scenario.h"
#include "sluice/sim/seeds.h"

ABSL_FLAG(std::string, scenario, "mixed",
          "Which one to run; mixed: any of them, as the seed has it; list: tells which there are.");
ABSL_FLAG(uint64_t, seed, 1, "The first seed.");
ABSL_FLAG(int64_t, seeds, 1, "How many seeds, one after the other.");
ABSL_FLAG(int64_t, seconds, 0, "Goes on with new seeds for so long; 0: --seeds says how many.");
ABSL_FLAG(std::string, set, "",
          "What is not as the seed has it, as a failed run prints it: "
          "clients=1,faults.reset=0.");
ABSL_FLAG(std::string, trace, "", "A file that takes every event of the run, as lines.");
ABSL_FLAG(bool, shrink, true, "Whether a run that fails is made smaller.");
ABSL_FLAG(bool, quiet, false, "Without the line for each seed.");
ABSL_FLAG(int64_t, run_seconds, 0,
          "Seconds of processor time after which a run counts as one that never ends; 0: none.");
#ifdef SLUICE_PLANT
ABSL_FLAG(int, plant, 0, "Which fault of core/plant.h is planted.");
#endif

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

struct Sums {
  int64_t runs = 0;
  int64_t failed = 0;
  int64_t events = 0;
  int64_t virtual_ns = 0;
  uint64_t hash = 0;
};

void Fail(const Scenario& scenario, const Setup& setup, const Outcome& outcome) {
  const Faults usual = FaultsOf(setup.seed, scenario.faults);
  absl::PrintF("seed %d: %s\n", setup.seed, outcome.violation);
  std::fflush(stdout);
  Setup least = setup;
  if (absl::GetFlag(FLAGS_shrink)) least = Shrink(setup, scenario.run, kShrinkRunsMax);
  const Outcome again = RunOnce(least, scenario.run, {.keep_lines = true});
  absl::PrintF("%s\nas small as it was found: %s\nrepeat it: ./sluice sim --scenario=%s --set=%s\n",
               again.last_lines, again.violation, ToAbsl(scenario.name), least.ToText(usual));
}

// A run that never ends could not say which seed it is: a signal does, and the process ends.
class RunLimit {
 public:
  explicit RunLimit(uint64_t seed) {
    const int64_t seconds = absl::GetFlag(FLAGS_run_seconds);
    if (seconds <= 0) return;
    text_ = absl::StrFormat(
        "seed %d: L5 progress is broken: it has not ended after %d s of processor time\n", seed,
        seconds);
    std::fflush(stdout);
    std::signal(SIGPROF, [](int) {
      (void)!write(STDOUT_FILENO, text_.data(), text_.size());
      _exit(1);
    });
    Set(seconds);
  }
  ~RunLimit() { Set(0); }
  RunLimit(const RunLimit&) = delete;
  RunLimit& operator=(const RunLimit&) = delete;

 private:
  static void Set(int64_t seconds) {
    const itimerval timer{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    setitimer(ITIMER_PROF, &timer, nullptr);
  }
  static inline std::string text_;  // Made before, as a signal handler may not.
};

int Main() {
  const std::string name = absl::GetFlag(FLAGS_scenario);
  if (name == "list") {
    for (const Scenario& scenario : Scenarios()) {
      absl::PrintF("%-12s %s\n", ToAbsl(scenario.name), ToAbsl(scenario.what));
    }
    return 0;
  }
  const Scenario* const chosen = Find(name);
  if (chosen == nullptr && name != "mixed") {
    absl::FPrintF(
        stderr, "error: there is no scenario '%s'; --scenario=list tells which there are\n", name);
    return 1;
  }
  Setup told;
  told.seed = absl::GetFlag(FLAGS_seed);
  if (const absl::Status status = told.Apply(absl::GetFlag(FLAGS_set)); !status.ok()) {
    absl::FPrintF(stderr, "error: --set: %s\n", status.message());
    return 1;
  }
  const absl::Duration seconds = absl::Seconds(absl::GetFlag(FLAGS_seconds));
  const absl::Time start = absl::Now();
  Sums sums;
  const auto more = [&] {
    return seconds > absl::ZeroDuration() ? absl::Now() - start < seconds
                                          : sums.runs < absl::GetFlag(FLAGS_seeds);
  };
  for (uint64_t seed = told.seed; more(); ++seed) {
    const Scenario& scenario = chosen != nullptr ? *chosen : Of(seed);
    Setup setup;
    setup.seed = seed;
    setup.faults = FaultsOf(seed, scenario.faults);
    setup.amounts = scenario.usual;
    setup.Apply(absl::GetFlag(FLAGS_set)).IgnoreError();
    setup.seed = seed;
    const Outcome outcome = [&] {
      const RunLimit limit(seed);
      return RunOnce(setup, scenario.run, {.path = absl::GetFlag(FLAGS_trace)});
    }();
    ++sums.runs;
    sums.events += outcome.events;
    sums.virtual_ns += outcome.virtual_ns;
    sums.hash = sums.hash * 31 + outcome.hash;
    if (!outcome.violation.empty()) {
      ++sums.failed;
      Fail(scenario, setup, outcome);
    } else if (!absl::GetFlag(FLAGS_quiet)) {
      absl::PrintF("seed %d: %s, hash %016x, %d events, %.3f s of its time\n", seed,
                   ToAbsl(scenario.name), outcome.hash, outcome.events,
                   static_cast<double>(outcome.virtual_ns) / 1e9);
    }
  }
  const double took = absl::ToDoubleSeconds(absl::Now() - start);
  absl::PrintF(
      "%d runs, %d failed, hash of all %016x; %d events, %.0f a second; %.1f s for %.1f s\n",
      sums.runs, sums.failed, sums.hash, sums.events, static_cast<double>(sums.events) / took, took,
      static_cast<double>(sums.virtual_ns) / 1e9);
  return sums.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("runs whole systems on a simulated one, each run from a seed");
  absl::ParseCommandLine(argc, argv);
#ifdef SLUICE_PLANT
  sluice::SetPlanted(absl::GetFlag(FLAGS_plant));
#endif
  return sluice::sim::Main();
}
