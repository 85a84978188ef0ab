#ifndef SLUICE_BENCH_LOAD_H_
#define SLUICE_BENCH_LOAD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {

// Many connections to an echo server, each with one message on its way at any time. One thread.
class Load {
 public:
  Load(const std::string& address, int connections, int message_bytes);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Returns when `messages` have come back in all.
  void Exchange(int64_t messages);

 private:
  const int epoll_;
  const std::string message_;
  std::vector<Socket> sockets_;
  std::vector<size_t> missing_;  // By connection: bytes of its message that have not come back.
};

// Cost of a number of messages for the server.
struct Cost {
  double processor_ns = 0;  // This and the next four are per message.
  double system_calls = 0;  // Negative: not counted.
  double allocations = 0;
  double voluntary_switches = 0;
  double involuntary_switches = 0;
  double messages_per_second = 0;
};

// Runs the yardstick and Sluice in turn, so other load on the machine slows both. Prints each
// round, and the medians beside `ratio_wanted`.
void PrintRounds(int rounds, double ratio_wanted, const std::function<Cost(bool bare)>& round);

// The cost while `work` exchanges `messages` with the server.
Cost Measure(const ServerProcess& server, int64_t messages, const std::function<void()>& work);
Cost Measure(const ServerProcess& server, Load& load, int64_t messages);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_H_
