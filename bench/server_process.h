#ifndef SLUICE_BENCH_SERVER_PROCESS_H_
#define SLUICE_BENCH_SERVER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::bench {

// A server under measurement: a child that this object starts, pins to a processor of its own, asks
// for its figures and ends. What goes wrong ends the bench with a line on stderr.
class ServerProcess {
 public:
  enum class Count { kNothing, kAllocations };

  // `program` is a path below the runfiles: "examples/echo". It must print "listening on ADDRESS".
  // Pinned to `processor`, where there are several.
  ServerProcess(const std::string& program, std::vector<std::string> flags,
                Count count = Count::kNothing, int processor = 0);
  // One that runs already; it is not ended.
  explicit ServerProcess(pid_t pid);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& address() const { return address_; }
  std::string StandardError() const;

  // Of all threads, since the start. System calls: since CountSystemCalls(), -1 if the kernel does
  // not let us count. Allocations: -1 unless asked for.
  int64_t ProcessorNs() const;
  int64_t VoluntarySwitches() const;
  int64_t InvoluntarySwitches() const;
  int64_t Allocations() const;
  int64_t SystemCalls() const;
  void CountSystemCalls();  // Of the threads that run now.

  int64_t ResidentBytes() const;

 private:
  pid_t pid_ = -1;
  bool ours_ = false;
  int error_fd_ = -1;
  std::string address_;
  std::vector<int> counter_fds_;  // One perf counter for each thread.
  bool counting_ = false;
  const void* allocation_page_ = nullptr;  // Shared with malloc_count.so in the child.
};

// Goes to where Bazel put the programs that a bench starts (its runfiles); first thing in main.
void EnterRunfiles();

// Prints the line to stderr and ends the bench.
[[noreturn]] void Die(const std::string& line);

// Keeps this thread on one processor, where there are several: the server has processor 0, the load
// the last.
void PinTo(int processor);
int LoadProcessor();

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_SERVER_PROCESS_H_
