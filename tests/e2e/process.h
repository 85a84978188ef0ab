#ifndef SLUICE_TESTS_E2E_PROCESS_H_
#define SLUICE_TESTS_E2E_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace sluice::e2e {

// How long a test waits for an event that must happen. A run that passes never reaches it.
inline constexpr absl::Duration kTimeout = absl::Seconds(30);

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLUICE_E2E_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLUICE_E2E_SANITIZED 1
#endif

// The servers are built as the tests are. A sanitizer keeps freed memory, so resident memory means
// nothing.
#ifdef SLUICE_E2E_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// A point in time that all waits of one step share.
class Deadline {
 public:
  explicit Deadline(absl::Duration timeout = kTimeout);
  bool Over() const { return LeftMilliseconds() == 0; }
  int LeftMilliseconds() const;  // 0 when over; in the unit of poll().

 private:
  std::chrono::steady_clock::time_point end_;
};

// Checks `condition` every few milliseconds until it holds; false when the time is over.
bool WaitFor(const std::function<bool()>& condition, absl::Duration timeout = kTimeout);

// Raises the test's own limit to the hard limit: 1,000 clients need 1,000 descriptors.
void RaiseDescriptorLimit();

// A name for an abstract UNIX address that no other run uses: "@sluice-PID-N".
std::string UniqueSocketName();

// A new folder with a path short enough for a UNIX address; removed with its contents.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string Path(std::string_view name) const;

 private:
  std::string path_;
};

enum class Output {
  kCaptured,
  kClosed,      // The child has no such descriptor.
  kBrokenPipe,  // No reader; a write fails with EPIPE.
  kFullPipe,    // No reader; a write blocks.
  kFullDisk,    // A write fails with ENOSPC.
};

struct ProcessOptions {
  Output standard_output = Output::kCaptured;
  Output standard_error = Output::kCaptured;
  bool input_pipe = false;         // Otherwise standard input is /dev/null.
  bool input_nonblocking = false;  // Makes that pipe non-blocking.
  int descriptors_max = 0;         // RLIMIT_NOFILE of the child; 0: as ours.
  int descriptors_soft_max = 0;    // The child's soft limit; 0: descriptors_max.
  int64_t address_space_max = 0;   // RLIMIT_AS of the child; 0: as ours.
};

// A child process that this object starts and ends. Its stdout and stderr are memory files, so
// nothing is left on disk and no full pipe stops the child (unless a test wants that).
class Process {
 public:
  Process(const std::string& program, std::vector<std::string> arguments,
          const ProcessOptions& options = {});
  ~Process();  // Kills and reaps the child, if it still runs.
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number);
  bool Running();
  // Returns the exit code, or 128 + signal; nothing if the child still runs when the time is over.
  std::optional<int> Wait(absl::Duration timeout = kTimeout);

  // All output of the child so far.
  std::string StandardOutput() const;
  std::string StandardError() const;
  // Returns the next line of stdout, without its end; nothing when the child ended or the time is
  // over.
  std::optional<std::string> ReadOutputLine(const Deadline& deadline = Deadline());

  bool WriteInput(std::string_view bytes);
  void CloseInput();

  // From /proc. Only while the child runs.
  int OpenDescriptors() const;
  // OpenDescriptors(), once five counts in a row agree. A program that has just begun still opens
  // files for a moment (the log's time zone), and a connection may be on its way out: a count for
  // later comparison must hold neither.
  int RestingDescriptors() const;
  int Threads() const;
  int64_t ResidentBytes() const;
  absl::Duration ProcessorTime() const;
  // From now on the child may open only `count` more descriptors.
  void LimitDescriptorsToOpenAnd(int count);

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
  int output_fd_ = -1;  // -1: not captured.
  int error_fd_ = -1;
  int input_fd_ = -1;
  std::vector<int> kept_fds_;  // The reading ends of full pipes.
  size_t output_taken_ = 0;    // Bytes that ReadOutputLine has returned.
};

// Returns the path of a built example. Bazel starts a test in its runfiles; without Bazel,
// SLUICE_EXAMPLES names the folder.
std::string ExamplePath(std::string_view name);

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_PROCESS_H_
