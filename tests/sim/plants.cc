// Proof that the simulation finds bugs: plants each fault of plants_table.h, one after the other,
// runs the simulation until a seed fails, and reports that seed. This program fails if no seed
// finds a fault, if the simulation finds something although nothing is planted, or if the table and
// the hooks in the code do not name the same faults.
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "sluice/core/base/strings.h"
#include "sluice/tests/sim/plants_table.h"

ABSL_FLAG(std::string, sim, "", "the simulation, built with --config=plant");
ABSL_FLAG(
    std::string, scenarios,
    "messages,saturation,withdrawals,restarts,deadlock,timers,turns,blocking,spawns,echo,relay,dns,"
    "chat,broadcast,callbacks,overload,accept_storm,eviction,early,frames,tasks,cancels,"
    "subscriptions,joins,holds,files,drain,parked_drain,answers,dead_peers,stopped_readers,"
    "processes",
    "those that are tried, in this order, after the one that should find a fault");
ABSL_FLAG(std::string, only, "", "plants of these names alone");
ABSL_FLAG(int64_t, seed, 1, "the first seed");
ABSL_FLAG(int64_t, seeds, 300, "how many seeds of each scenario may be needed");
ABSL_FLAG(int64_t, timeout, 300, "seconds that one scenario's seeds may take");
ABSL_FLAG(int64_t, jobs, std::max(1U, std::thread::hardware_concurrency()),
          "how many simulations run at once");

namespace sluice {

namespace {

struct Outcome {
  bool found = false;
  int64_t seed = 0;  // The seed that found it; 0: the program ended in another way.
  std::string what;
};

std::string Quoted(std::string_view text) {
  return absl::StrCat("'", absl::StrJoin(absl::StrSplit(ToAbsl(text), '\''), "'\\''"), "'");
}

// Limit of one run, in processor time: a run takes a fraction of a second.
constexpr int kRunSecondsMax = 10;

// Runs the simulation with a plant ("": none) until a seed fails. Then it prints `seed 17: L1
// ledger is broken at ...` and ends with 1, or it crashes.
Outcome RunSeeds(std::string_view scenario, std::string_view plant, std::string_view settings,
                 int64_t first, int64_t count) {
  const std::string command = absl::StrFormat(
      "exec timeout -k 5 %d %s --scenario=%s --set=%s --seed=%d --seeds=%d --plant=%s "
      "--run_seconds=%d --quiet --noshrink 2>&1",
      absl::GetFlag(FLAGS_timeout), Quoted(absl::GetFlag(FLAGS_sim)), Quoted(scenario),
      Quoted(settings), first, count, Quoted(plant), kRunSecondsMax);
  Outcome outcome;
  std::FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) {
    std::perror("popen");
    std::exit(2);
  }
  std::string last;
  char buffer[4096];
  while (std::fgets(buffer, sizeof(buffer), output) != nullptr) {
    absl::string_view line = absl::StripSuffix(buffer, "\n");
    // A failed check explains a crash; otherwise the last line does.
    if (!line.empty() && !absl::StrContains(last, "SLUICE_CHECK")) last = std::string(line);
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    absl::string_view number = parts.first;
    if (outcome.seed == 0 && absl::ConsumePrefix(&number, "seed ") &&
        absl::SimpleAtoi(number, &outcome.seed)) {
      outcome.what = std::string(parts.second);
    }
  }
  const int status = pclose(output);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.found = code != 0;
  if (code == 0) outcome.seed = 0;
  if (code != 0 && outcome.seed == 0) {
    // Out of time: a slow machine is no proof of a fault.
    outcome.found = code != 124 && code != 137;
    outcome.what = outcome.found ? absl::StrCat("it ends with ", code, ": ", last)
                                 : absl::StrCat("no time for all seeds: ", ToAbsl(scenario));
  }
  return outcome;
}

Outcome Find(std::string_view scenario, std::string_view plant, std::string_view settings) {
  const int64_t first = absl::GetFlag(FLAGS_seed);
  const int64_t count = absl::GetFlag(FLAGS_seeds);
  Outcome outcome = RunSeeds(scenario, plant, settings, first, count);
  if (!outcome.found || outcome.seed != 0) return outcome;
  // A crash hides its seed.
  for (int64_t seed = first; seed < first + count; ++seed) {
    Outcome one = RunSeeds(scenario, plant, settings, seed, 1);
    if (!one.found) continue;
    one.seed = seed;
    return one;
  }
  outcome.what = absl::StrCat("not by one seed alone: ", outcome.what);
  return outcome;
}

// Prints a whole line at once: other threads print too.
void Say(const std::string& line) {
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

// True: some scenario found the plant.
bool FindPlant(const PlantRow& row, const std::vector<std::string>& scenarios) {
  std::vector<std::string> order = scenarios;
  std::stable_partition(order.begin(), order.end(),
                        [&](const std::string& scenario) { return scenario == row.scenario; });
  int64_t in_vain = 0;
  std::vector<std::string> cut_short;
  for (const std::string& scenario : order) {
    const Outcome outcome = Find(scenario, row.name, scenario == row.scenario ? row.settings : "");
    if (outcome.found) {
      const int64_t seeds = in_vain + outcome.seed - absl::GetFlag(FLAGS_seed) + 1;
      Say(absl::StrFormat("%-25s %-10s %6d %6d  %s\n", ToAbsl(row.name), scenario, outcome.seed,
                          seeds, outcome.what));
      return true;
    }
    if (!outcome.what.empty()) cut_short.push_back(outcome.what);
    in_vain += absl::GetFlag(FLAGS_seeds);
  }
  Say(absl::StrFormat("%-25s %-10s %6s %6d  NOT FOUND: %s; %s should break%s%s\n", ToAbsl(row.name),
                      "-", "-", in_vain, ToAbsl(row.broken), ToAbsl(row.law),
                      cut_short.empty() ? "" : "; ", absl::StrJoin(cut_short, "; ")));
  return false;
}

// False: the table lacks a hook of the simulation, or has a row without one. Prints the difference.
bool HooksHaveRows() {
  const std::string command = absl::StrCat(Quoted(absl::GetFlag(FLAGS_sim)), " --plant=list");
  std::FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) {
    std::perror("popen");
    std::exit(2);
  }
  std::set<std::string> hooks;
  char buffer[256];
  while (std::fgets(buffer, sizeof(buffer), output) != nullptr) {
    hooks.emplace(absl::StripSuffix(buffer, "\n"));
  }
  bool same = pclose(output) == 0;  // Otherwise the simulation has said why.
  if (!same) return false;
  for (const PlantRow& row : kPlants) {
    if (hooks.erase(std::string(row.name)) > 0) continue;
    Say(absl::StrCat("no SLUICE_PLANT in the code is named ", ToAbsl(row.name),
                     ": remove its row from tests/sim/plants_table.h\n"));
    same = false;
  }
  for (const std::string& hook : hooks) {
    Say(absl::StrCat("SLUICE_PLANT(", hook,
                     ", ...) has no row: add it to tests/sim/plants_table.h\n"));
    same = false;
  }
  return same;
}

// Calls `work` with each index below `count`, --jobs of them at once.
void ForEachIndex(size_t count, const std::function<void(size_t)>& work) {
  // Relaxed: only the number itself counts, and no other data depends on it.
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int64_t job = 0; job < std::max<int64_t>(1, absl::GetFlag(FLAGS_jobs)); ++job) {
    threads.emplace_back([&] {
      for (;;) {
        const size_t index = next.fetch_add(1, std::memory_order_relaxed);
        if (index >= count) return;
        work(index);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

int Main() {
  if (absl::GetFlag(FLAGS_sim).empty()) {
    std::fprintf(stderr, "error: --sim is missing\n");
    return 2;
  }
  if (!HooksHaveRows()) return 1;
  const std::vector<std::string> scenarios =
      absl::StrSplit(absl::GetFlag(FLAGS_scenarios), ',', absl::SkipEmpty());
  const std::vector<std::string> only =
      absl::StrSplit(absl::GetFlag(FLAGS_only), ',', absl::SkipEmpty());
  std::atomic<bool> sound{true};  // Read behind join().
  ForEachIndex(scenarios.size(), [&](size_t index) {
    const Outcome outcome =
        RunSeeds(scenarios[index], "", "", absl::GetFlag(FLAGS_seed), absl::GetFlag(FLAGS_seeds));
    if (outcome.what.empty()) return;  // A run without time to end is no proof either.
    Say(absl::StrFormat("nothing is planted, and %s fails: seed %d: %s\n", scenarios[index],
                        outcome.seed, outcome.what));
    sound = false;
  });
  if (!sound) return 1;
  absl::PrintF("%-25s %-10s %6s %6s  %s\n", "plant", "scenario", "seed", "seeds", "what broke");
  std::vector<PlantRow> plants;
  for (const PlantRow& row : kPlants) {
    const std::string name(row.name);
    if (!only.empty() && std::find(only.begin(), only.end(), name) == only.end()) continue;
    plants.push_back(row);
  }
  std::vector<char> found(plants.size());  // A byte each: threads write side by side.
  ForEachIndex(plants.size(),
               [&](size_t index) { found[index] = FindPlant(plants[index], scenarios) ? 1 : 0; });
  std::vector<std::string> missed;
  for (size_t index = 0; index < plants.size(); ++index) {
    if (found[index] == 0) missed.emplace_back(plants[index].name);
  }
  absl::PrintF("%d of %d plants were found%s\n", plants.size() - missed.size(), plants.size(),
               missed.empty() ? "" : absl::StrCat("; not: ", absl::StrJoin(missed, ", ")));
  return missed.empty() && !plants.empty() ? 0 : 1;
}

}  // namespace

}  // namespace sluice

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "plants --sim=PROGRAM: does the simulation find each planted fault?");
  absl::ParseCommandLine(argc, argv);
  return sluice::Main();
}
