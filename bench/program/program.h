// Program is the command line of a program that measures workloads without a network:
//
//   PROGRAM --workload=NAME --operations=N [--workers=K]     prints one line of JSON
//   PROGRAM --list                                           prints the workloads, one a line
//
// Owner:  main().
// Thread: main()'s.
// Bound:  none.
// Errors: a bad command line ends with code 2, and a wrong result of a workload with code 1; stderr
//         says what is wrong.
#ifndef SLUICE_BENCH_PROGRAM_PROGRAM_H_
#define SLUICE_BENCH_PROGRAM_PROGRAM_H_

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

#include "bench/program/watch.h"

namespace bench {

struct Run {
  int64_t operations = 1'000'000;
  int workers = 1;
};

// Measures `run` by the watch that it makes, prints the line, and returns when all has ended.
struct Workload {
  const char* name;
  void (*measure)(const Run& run);
};

// A figure of /proc/self/status, such as "VmHWM:", in bytes.
inline int64_t StatusBytes(const char* name) {
  std::FILE* file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return 0;
  char line[256];
  int64_t kilobytes = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::strncmp(line, name, std::strlen(name)) == 0) {
      kilobytes = std::atoll(line + std::strlen(name));
    }
  }
  std::fclose(file);
  return kilobytes * 1024;
}

inline std::string_view& WorkloadName() {
  static std::string_view name;
  return name;
}

// `bytes_each` is memory for each operation, where the workload measures it.
inline void Print(Watch& watch, int64_t bytes_each = -1) {
  std::printf("{\"workload\":\"%.*s\",\"operations\":%" PRId64
              ",\"wall_seconds\":%.9f,\"processor_seconds\":%.9f,\"peak_bytes\":%" PRId64,
              static_cast<int>(WorkloadName().size()), WorkloadName().data(), watch.Operations(),
              watch.WallSeconds(), watch.ProcessorSeconds(), StatusBytes("VmHWM:"));
  if (bytes_each >= 0) std::printf(",\"bytes_each\":%" PRId64, bytes_each);
  if (const auto& laps = watch.Laps(); !laps.empty()) {
    const auto part = [&laps](double part) {
      return laps[static_cast<size_t>(part * static_cast<double>(laps.size() - 1))];
    };
    std::printf(",\"latency_ns\":{\"p50\":%u,\"p99\":%u,\"p999\":%u}", part(0.5), part(0.99),
                part(0.999));
  }
  std::printf("}\n");
}

inline int Main(int argc, char** argv, std::initializer_list<Workload> workloads) {
  Run run;
  std::string_view name;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string_view flag = argument.substr(0, equals);
    const char* value = equals == argument.npos ? "" : argv[i] + equals + 1;
    if (argument == "--list") {
      for (const Workload& workload : workloads) std::printf("%s\n", workload.name);
      return 0;
    }
    if (flag == "--workload") {
      name = value;
    } else if (flag == "--operations") {
      run.operations = std::atoll(value);
    } else if (flag == "--workers") {
      run.workers = std::atoi(value);
    } else {
      std::fprintf(stderr, "unknown argument: %s\n", argv[i]);
      return 2;
    }
  }
  if (run.operations < 1 || run.workers < 1 || run.workers > 64) {
    std::fprintf(stderr, "--operations and --workers are at least 1, and --workers at most 64\n");
    return 2;
  }
  for (const Workload& workload : workloads) {
    if (name != workload.name) continue;
    WorkloadName() = workload.name;
    workload.measure(run);
    return 0;
  }
  std::fprintf(stderr, "unknown workload (--list prints all): %.*s\n",
               static_cast<int>(name.size()), name.data());
  return 2;
}

}  // namespace bench

#endif  // SLUICE_BENCH_PROGRAM_PROGRAM_H_
