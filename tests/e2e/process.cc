#include "sluice/tests/e2e/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "gtest/gtest.h"

namespace sluice::e2e {
namespace {

constexpr int kNapMilliseconds = 2;

// Ends of one standard stream of the child.
struct Plumbing {
  int child_fd = -1;   // -1: closed in the child.
  int parent_fd = -1;  // For reading the output; -1: not captured.
  int kept_fd = -1;    // Held open only to give the pipe a reader.
};

Plumbing Plumb(Output output) {
  Plumbing plumbing;
  if (output == Output::kClosed) return plumbing;
  if (output == Output::kFullDisk) {
    plumbing.child_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    return plumbing;
  }
  if (output == Output::kCaptured) {
    plumbing.child_fd = memfd_create("sluice-e2e-output", MFD_CLOEXEC);
    plumbing.parent_fd = plumbing.child_fd;
    return plumbing;
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe2: errno " << errno;
    return plumbing;
  }
  plumbing.child_fd = ends[1];
  if (output == Output::kBrokenPipe) {
    close(ends[0]);
    return plumbing;
  }
  plumbing.kept_fd = ends[0];
  const std::string block(4096, '.');
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  while (write(ends[1], block.data(), block.size()) > 0) {
  }
  while (write(ends[1], block.data(), 1) > 0) {
  }
  fcntl(ends[1], F_SETFL, 0);  // The description is shared: the child must block.
  return plumbing;
}

// Runs in the child after fork: only calls that are safe there.
void BecomeChild(const int (&fds)[3], const char* path, char* const* argv,
                 const ProcessOptions& options, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // If the test is killed, the server dies with it.
  if (getppid() != parent) _exit(126);
  // Above 2 first: a source that is itself 0, 1 or 2 must not be overwritten before its turn.
  int sources[3];
  for (int i = 0; i < 3; ++i) sources[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
  for (int i = 0; i < 3; ++i) {
    if (sources[i] < 0) {
      close(i);
    } else {
      dup2(sources[i], i);
    }
  }
  // The child must not inherit descriptors from the shell.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (options.descriptors_max > 0) {
    const int soft_max =
        options.descriptors_soft_max > 0 ? options.descriptors_soft_max : options.descriptors_max;
    const rlimit limit = {static_cast<rlim_t>(soft_max),
                          static_cast<rlim_t>(options.descriptors_max)};
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (options.address_space_max > 0) {
    const auto bytes = static_cast<rlim_t>(options.address_space_max);
    const rlimit limit = {bytes, bytes};
    setrlimit(RLIMIT_AS, &limit);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(path, argv);
  _exit(127);
}

std::string ReadAll(int fd) {
  std::string text;
  char block[16384];
  for (;;) {
    const ssize_t n = pread(fd, block, sizeof block, static_cast<off_t>(text.size()));
    if (n <= 0) return text;
    text.append(block, static_cast<size_t>(n));
  }
}

int64_t StatusField(pid_t pid, std::string_view name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::atoll(line.c_str() + name.size());
  }
  return -1;
}

}  // namespace

Deadline::Deadline(absl::Duration timeout)
    : end_(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout)) {}

int Deadline::LeftMilliseconds() const {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

bool WaitFor(const std::function<bool()>& condition, absl::Duration timeout) {
  const Deadline deadline(timeout);
  for (;;) {
    if (condition()) return true;
    if (deadline.Over()) return false;
    poll(nullptr, 0, kNapMilliseconds);
  }
}

void RaiseDescriptorLimit() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string UniqueSocketName() {
  static std::atomic<int> next = 0;
  return "@sluice-" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

TempDir::TempDir() {
  // Not TEST_TMPDIR: a UNIX address has 107 bytes, and Bazel's folders are longer.
  char path[] = "/tmp/sluice-XXXXXX";
  if (mkdtemp(path) == nullptr) ADD_FAILURE() << "mkdtemp: errno " << errno;
  path_ = path;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Path(std::string_view name) const { return path_ + "/" + std::string(name); }

std::string ExamplePath(std::string_view name) {
  const char* folder = std::getenv("SLUICE_EXAMPLES");
  return std::string(folder == nullptr ? "examples" : folder) + "/" + std::string(name);
}

Process::Process(const std::string& program, std::vector<std::string> arguments,
                 const ProcessOptions& options) {
  const Plumbing output = Plumb(options.standard_output);
  const Plumbing error = Plumb(options.standard_error);
  int input[2] = {open("/dev/null", O_RDONLY | O_CLOEXEC), -1};
  if (options.input_pipe) {
    close(input[0]);
    if (pipe2(input, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe2: errno " << errno;
    if (options.input_nonblocking) fcntl(input[0], F_SETFL, O_NONBLOCK);
  }
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const int fds[3] = {input[0], output.child_fd, error.child_fd};
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    BecomeChild(fds, program.c_str(), argv.data(), options, parent);
  }
  if (pid_ < 0) ADD_FAILURE() << "fork: errno " << errno;
  output_fd_ = output.parent_fd;
  error_fd_ = error.parent_fd;
  input_fd_ = input[1];
  close(input[0]);
  for (const Plumbing& plumbing : {output, error}) {
    if (plumbing.kept_fd >= 0) kept_fds_.push_back(plumbing.kept_fd);
    if (plumbing.parent_fd < 0 && plumbing.child_fd >= 0) close(plumbing.child_fd);
  }
}

Process::~Process() {
  if (pid_ > 0 && !exit_code_.has_value()) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  CloseInput();
  for (const int fd : kept_fds_) close(fd);
  if (output_fd_ >= 0) close(output_fd_);
  if (error_fd_ >= 0) close(error_fd_);
}

void Process::Signal(int number) {
  // Not after the child was reaped: the id may belong to another process by then.
  if (Running()) kill(pid_, number);
}

bool Process::Running() {
  if (pid_ <= 0 || exit_code_.has_value()) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

std::optional<int> Process::Wait(absl::Duration timeout) {
  WaitFor([this] { return !Running(); }, timeout);
  return exit_code_;
}

std::string Process::StandardOutput() const { return output_fd_ < 0 ? "" : ReadAll(output_fd_); }

std::string Process::StandardError() const { return error_fd_ < 0 ? "" : ReadAll(error_fd_); }

std::optional<std::string> Process::ReadOutputLine(const Deadline& deadline) {
  for (;;) {
    const bool running = Running();  // Checked first: then all its output before its end is there.
    const std::string text = StandardOutput();
    const size_t end = text.find('\n', output_taken_);
    if (end != std::string::npos) {
      const size_t begin = std::exchange(output_taken_, end + 1);
      return text.substr(begin, end - begin);
    }
    if (!running || deadline.Over()) return std::nullopt;
    poll(nullptr, 0, kNapMilliseconds);
  }
}

bool Process::WriteInput(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(input_fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

void Process::CloseInput() {
  if (input_fd_ >= 0) close(input_fd_);
  input_fd_ = -1;
}

int Process::OpenDescriptors() const {
  std::error_code error;
  const std::filesystem::directory_iterator fds("/proc/" + std::to_string(pid_) + "/fd", error);
  return error ? -1 : static_cast<int>(std::distance(begin(fds), end(fds)));
}

int Process::RestingDescriptors() const {
  int count = OpenDescriptors();
  int agreed = 1;
  WaitFor([&] {
    const int now = OpenDescriptors();
    agreed = now == count ? agreed + 1 : 1;
    count = now;
    return agreed == 5;
  });
  return count;
}

int Process::Threads() const { return static_cast<int>(StatusField(pid_, "Threads:")); }

int64_t Process::ResidentBytes() const { return StatusField(pid_, "VmRSS:") * 1024; }

absl::Duration Process::ProcessorTime() const {
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) {
    return absl::ZeroDuration();
  }
  return absl::DurationFromTimespec(used);
}

void Process::LimitDescriptorsToOpenAnd(int count) {
  const int open = RestingDescriptors();
  // The kernel gives the lowest descriptor first, and a limit is one past the highest number.
  int highest = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    highest = std::max(highest, std::atoi(entry.path().filename().c_str()));
  }
  const int holes = highest + 1 - open;
  const rlim_t allowed = static_cast<rlim_t>(highest + 1 + std::max(0, count - holes));
  const rlimit limit = {allowed, allowed};
  if (prlimit(pid_, RLIMIT_NOFILE, &limit, nullptr) != 0) {
    ADD_FAILURE() << "prlimit: errno " << errno;
  }
}

}  // namespace sluice::e2e
