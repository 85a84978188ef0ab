// stress floods a runtime with actors, births and deaths, timers, connections and broadcasts, and
// fails if a law broke. Usage: `./sluice stress --help`.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/time/time.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/flags.h"
#include "sluice/tests/stress/run.h"

ABSL_FLAG(int, seconds, 10, "Seconds that the flood lasts.");
ABSL_FLAG(int, workers, 0, "Worker threads; 0: as many as processors.");
ABSL_FLAG(uint32_t, seed, 0,
          "Seed of the program's random choices, though not of the order of its threads; 0: a "
          "random one.");
ABSL_FLAG(
    std::vector<std::string>, only, {},
    "Parts to run, separated by commas: actors, spawns, timers, connections, hubs; empty: all.");
ABSL_FLAG(sluice::ByteCount, memory, {64 << 20}, "The runtime's budget: 67108864, 64MB, 1GB.");
ABSL_FLAG(std::string, log_level, "off",
          "trace, debug, info, warning, error or off. (Thousands of actors fail each second.)");

namespace {

int Wrong(const char* what) {
  std::fprintf(stderr, "error: %s; see --help\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (!sluice::ParseFlags(argc, argv, "Floods a Sluice runtime, and fails when a law broke.")
           .empty()) {
    return Wrong("an argument is not a flag");
  }

  sluice::stress::Plan plan;
  if (absl::GetFlag(FLAGS_seconds) < 1) return Wrong("--seconds must be from 1 on");
  if (absl::GetFlag(FLAGS_workers) < 0 || absl::GetFlag(FLAGS_workers) > 256) {
    return Wrong("--workers must be from 1 to 256");
  }
  plan.memory_bytes_max = absl::GetFlag(FLAGS_memory).bytes;
  if (plan.memory_bytes_max < 1) return Wrong("--memory must be more than 0 bytes");
  plan.length = absl::Seconds(absl::GetFlag(FLAGS_seconds));
  plan.workers = absl::GetFlag(FLAGS_workers);
  plan.seed = absl::GetFlag(FLAGS_seed);
  if (plan.seed == 0) plan.seed = std::random_device()() % 1'000'000 + 1;
  plan.only = absl::GetFlag(FLAGS_only);
  for (const std::string& name : plan.only) {
    const std::vector<std::string>& names = sluice::stress::PartNames();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return Wrong(("--only: there is no \"" + name + "\"").c_str());
    }
  }
  const auto level = sluice::ParseLogLevel(absl::GetFlag(FLAGS_log_level));
  if (!level.ok()) return Wrong("--log_level must be trace, debug, info, warning, error or off");
  sluice::SetLogLevel(*level);
  return sluice::stress::Run(plan);
}
