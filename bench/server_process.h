#ifndef SLUICE_BENCH_SERVER_PROCESS_H_
#define SLUICE_BENCH_SERVER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::bench {

// A server under measurement: a child process that this object starts, pins to a processor of its
// own, reads the figures of, and ends. A failure ends the bench with a line on stderr.
class ServerProcess {
 public:
  enum class Count { kNothing, kAllocations };

  // `program` is a path below the runfiles: "examples/echo". The program must print "listening on
  // ADDRESS". It is pinned to `processor` if the machine has several.
  ServerProcess(const std::string& program, std::vector<std::string> flags,
                Count count = Count::kNothing, int processor = 0);
  // A server that runs already; the destructor does not end it.
  explicit ServerProcess(pid_t pid);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& address() const { return address_; }
  std::string StandardError() const;

  // Sums over all threads, since the start. System calls: since CountSystemCalls(), -1 if the
  // kernel does not let us count. Allocations: -1 unless asked for.
  int64_t ProcessorNs() const;
  int64_t VoluntarySwitches() const;
  int64_t InvoluntarySwitches() const;
  int64_t Allocations() const;
  int64_t SystemCalls() const;
  void CountSystemCalls();  // Counts those of the threads that run now.

  int64_t ResidentBytes() const;

 private:
  pid_t pid_ = -1;
  bool ours_ = false;
  int error_fd_ = -1;
  std::string address_;
  std::vector<int> counter_fds_;  // A perf counter for each thread.
  bool counting_ = false;
  const void* allocation_page_ = nullptr;  // Shared with malloc_count.so in the child.
};

// Changes to the folder where Bazel put the programs that a bench starts (its runfiles); first call
// in main.
void EnterRunfiles();

// Prints the line to stderr and ends the bench.
[[noreturn]] void Die(const std::string& line);

// Keeps this thread on one processor, if there are several: the server has processor 0, the load
// the last.
void PinTo(int processor);
int LoadProcessor();

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_SERVER_PROCESS_H_
