#ifndef SLUICE_BENCH_LOAD_H_
#define SLUICE_BENCH_LOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {

// Many connections to an echo, each with one message on its way: sent, awaited, sent again. One
// thread.
class Load {
 public:
  Load(const std::string& address, int connections, int message_bytes);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Until `messages` have come back in all.
  void Exchange(int64_t messages);

 private:
  const int epoll_;
  const std::string message_;
  std::vector<Socket> sockets_;
  std::vector<size_t> missing_;  // By connection: bytes of its message that have not come back.
};

// What a number of messages cost the server.
struct Cost {
  double processor_ns = 0;  // All that follow are per message, but the rate.
  double system_calls = 0;  // Negative: not counted.
  double allocations = 0;
  double voluntary_switches = 0;
  double involuntary_switches = 0;
  double messages_per_second = 0;
};

Cost Measure(const ServerProcess& server, Load& load, int64_t messages);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_H_
