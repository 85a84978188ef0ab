#include "sluice/bench/load/server.h"

#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "sluice/bench/load/flags.h"

namespace sluice::bench {
namespace {

std::string ProcPath(pid_t pid, const std::string& name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

// "Name:   N ..." in a file of /proc.
int64_t Field(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::atoll(line.c_str() + name.size());
  }
  return 0;
}

std::vector<pid_t> Threads(pid_t pid) {
  std::vector<pid_t> threads;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(ProcPath(pid, "task"), gone)) {
    threads.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return threads;
}

}  // namespace

std::vector<pid_t> Server::Processes() const {
  std::vector<pid_t> found = {pid_};
  for (size_t i = 0; i < found.size(); ++i) {
    const pid_t parent = found[i];
    for (const pid_t thread : Threads(parent)) {
      std::ifstream file(ProcPath(parent, "task/" + std::to_string(thread) + "/children"));
      for (pid_t child; file >> child;) found.push_back(child);
    }
  }
  return found;
}

int64_t Server::ProcessorNs() const {
  int64_t sum = 0;
  for (const pid_t process : Processes()) {
    clockid_t clock;
    timespec used = {};
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &used) != 0) {
      if (process == pid_) Die("the server's processor clock cannot be read: did it end?");
      continue;
    }
    sum += used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
  }
  return sum;
}

int64_t Server::Sleeps() const {
  int64_t sum = 0;
  for (const pid_t process : Processes()) {
    for (const pid_t thread : Threads(process)) {
      sum += Field(ProcPath(process, "task/" + std::to_string(thread) + "/status"),
                   "voluntary_ctxt_switches:");
    }
  }
  return sum;
}

int64_t Server::ResidentBytes() const {
  int64_t sum = 0;
  for (const pid_t process : Processes()) sum += Field(ProcPath(process, "status"), "VmRSS:");
  return sum * 1024;
}

int64_t Server::PeakBytes() const {
  int64_t sum = 0;
  for (const pid_t process : Processes()) sum += Field(ProcPath(process, "status"), "VmHWM:");
  return sum * 1024;
}

}  // namespace sluice::bench
