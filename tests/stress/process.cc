#include "sluice/tests/stress/process.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

namespace sluice::stress {

namespace {

int Entries(const char* folder) {
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  return error ? 0 : static_cast<int>(std::distance(begin(entries), end(entries)));
}

}  // namespace

ProcessFigures LookAtProcess() {
  ProcessFigures figures;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "VmRSS:" && status >> kib) figures.resident_bytes = kib * 1024;
    if (word == "VmHWM:" && status >> kib) figures.peak_bytes = kib * 1024;
  }
  status.close();
  // Walking the folder takes one descriptor, in each call.
  figures.descriptors = Entries("/proc/self/fd");
  figures.threads = Entries("/proc/self/task");
  return figures;
}

}  // namespace sluice::stress
