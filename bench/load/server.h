// Server reads the figures of a server under load from the kernel: a process and its descendants,
// as some servers have a process for each worker or connection.
//
// Owner: main(). Thread: one. Errors: a line on stderr, and the program ends.
#ifndef SLUICE_BENCH_LOAD_SERVER_H_
#define SLUICE_BENCH_LOAD_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace sluice::bench {

class Server {
 public:
  explicit Server(pid_t pid) : pid_(pid) {}

  // Sums over all threads of all processes that run now, since their start.
  int64_t ProcessorNs() const;
  int64_t Sleeps() const;  // Voluntary switches: the threads that went to wait.

  int64_t ResidentBytes() const;
  int64_t PeakBytes() const;

 private:
  std::vector<pid_t> Processes() const;

  const pid_t pid_;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_SERVER_H_
