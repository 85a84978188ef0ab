#include <cstdio>

#include "sluice/sluice.h"

int main() {
  sluice::Options options;
  options.workers = 2;
  options.memory_bytes_max = 16 * 1024 * 1024;
  options.max_connections = 100;
  options.idle_timeout = absl::Minutes(2);
  sluice::Runtime runtime(options);
  // The most memory that the program takes: known before it runs, printed by RunUntilSignal.
  const sluice::Ceiling ceiling = runtime.Ceiling();
  std::printf("budget: %lld MiB\n", static_cast<long long>(ceiling.budget_bytes >> 20));
  std::printf("a sum: %s\n", ceiling.SumBytes() > ceiling.budget_bytes ? "yes" : "no");

  // An impossible option is reported by name, before anything starts.
  options.output_bytes_low = 128 * 1024;
  sluice::Runtime wrong(options);
  std::printf("%s\n", wrong.Start().ToString().c_str());
}
