#include "sluice/bench/server_process.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace sluice::bench {
namespace {

constexpr int kPageBytes = 4096;

// "Name:   N ..." in a file of /proc.
int64_t Field(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::atoll(line.c_str() + name.size());
  }
  return 0;
}

std::string ProcPath(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::vector<pid_t> Threads(pid_t pid) {
  std::vector<pid_t> threads;
  for (const auto& entry : std::filesystem::directory_iterator(ProcPath(pid, "task"))) {
    threads.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return threads;
}

int64_t SumOverThreads(pid_t pid, std::string_view field) {
  int64_t sum = 0;
  for (const pid_t thread : Threads(pid)) {
    sum += Field(ProcPath(pid, "task/") + std::to_string(thread) + "/status", field);
  }
  return sum;
}

// The number of the tracepoint that every system call passes, or 0.
uint64_t SystemCallTracepoint() {
  for (const char* root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    std::ifstream file(std::string(root) + "/events/raw_syscalls/sys_enter/id");
    if (uint64_t id = 0; file >> id) return id;
  }
  return 0;
}

}  // namespace

void EnterRunfiles() {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0 || length == sizeof(self)) return;
  // A bench started by `bazel run` stands there already; then this is the same folder.
  if (chdir((std::string(self, static_cast<size_t>(length)) + ".runfiles/sluice").c_str()) != 0)
    return;
}

void Die(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(1);
}

void PinTo(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int LoadProcessor() {
  static const auto count = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return count - 1;
}

ServerProcess::ServerProcess(const std::string& program, std::vector<std::string> flags,
                             Count count, int processor)
    : ours_(true) {
  if (access(program.c_str(), X_OK) != 0) {
    Die("no " + program + " here: start the bench with ./sluice bench or bazel run");
  }
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) Die("pipe2 failed");
  error_fd_ = memfd_create("stderr", MFD_CLOEXEC);
  std::vector<std::string> variables;
  if (count == Count::kAllocations) {
    // Not CLOEXEC: malloc_count.so maps it in the child.
    const int page_fd = memfd_create("malloc_count", 0);
    if (page_fd < 0 || ftruncate(page_fd, kPageBytes) != 0) Die("memfd_create failed");
    allocation_page_ = mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, page_fd, 0);
    variables = {"LD_PRELOAD=" + std::filesystem::absolute("bench/malloc_count.so").string(),
                 "MALLOC_COUNT_FD=" + std::to_string(page_fd)};
  }
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& flag : flags) argv.push_back(flag.data());
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);

  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (LoadProcessor() > 0) PinTo(processor);
    dup2(output[1], STDOUT_FILENO);
    dup2(error_fd_, STDERR_FILENO);
    execve(program.c_str(), argv.data(), environment.data());
    _exit(127);
  }
  close(output[1]);
  std::string line;
  for (char byte = 0; read(output[0], &byte, 1) == 1 && byte != '\n';) line.push_back(byte);
  close(output[0]);
  constexpr std::string_view kListening = "listening on ";
  if (line.compare(0, kListening.size(), kListening) != 0) {
    Die(program + " did not listen: " + line + "\n" + StandardError());
  }
  address_ = line.substr(kListening.size());
}

ServerProcess::ServerProcess(pid_t pid) : pid_(pid) { ProcessorNs(); }

ServerProcess::~ServerProcess() {
  if (ours_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(error_fd_);
  }
  for (const int fd : counter_fds_) close(fd);
  if (allocation_page_ != nullptr) munmap(const_cast<void*>(allocation_page_), kPageBytes);
}

std::string ServerProcess::StandardError() const {
  std::string text(64 * 1024, '\0');
  const ssize_t n = pread(error_fd_, text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(n < 0 ? 0 : n));
  return text;
}

int64_t ServerProcess::ProcessorNs() const {
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) {
    Die("the server's processor clock cannot be read: did it end?\n" + StandardError());
  }
  return used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
}

int64_t ServerProcess::VoluntarySwitches() const {
  return SumOverThreads(pid_, "voluntary_ctxt_switches:");
}

int64_t ServerProcess::InvoluntarySwitches() const {
  return SumOverThreads(pid_, "nonvoluntary_ctxt_switches:");
}

int64_t ServerProcess::Allocations() const {
  if (allocation_page_ == nullptr) return -1;
  return static_cast<const std::atomic<int64_t>*>(allocation_page_)->load();
}

void ServerProcess::CountSystemCalls() {
  perf_event_attr attributes = {};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.config = SystemCallTracepoint();
  counting_ = attributes.config != 0;
  for (const pid_t thread : Threads(pid_)) {
    const long fd = syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) counting_ = false;
    if (fd >= 0) counter_fds_.push_back(static_cast<int>(fd));
  }
}

int64_t ServerProcess::SystemCalls() const {
  if (!counting_) return -1;
  int64_t sum = 0;
  for (const int fd : counter_fds_) {
    int64_t count = 0;
    if (read(fd, &count, sizeof count) == sizeof count) sum += count;
  }
  return sum;
}

int64_t ServerProcess::ResidentBytes() const {
  return Field(ProcPath(pid_, "status"), "VmRSS:") * 1024;
}

}  // namespace sluice::bench
