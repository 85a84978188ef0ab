// Exchange is many connections to an echo, each with one message on its way at any time.
//
// Owner: a load. Thread: one. Bound: one message for each connection.
// Errors: an answer that differs from its message ends the program, with a line on stderr.
#ifndef SLUICE_BENCH_LOAD_EXCHANGE_H_
#define SLUICE_BENCH_LOAD_EXCHANGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/socket.h"

namespace sluice::bench {

class Exchange {
 public:
  Exchange(const std::string& address, int connections, size_t message_bytes);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void Run(int64_t messages);  // Returns when so many have come back in all.
  Latency& latency() { return latency_; }
  int64_t verified_bytes() const { return verified_bytes_; }

 private:
  struct Connection {
    Socket socket;
    std::string message;
    size_t arrived = 0;  // Bytes of the message that have come back.
    int64_t sent_ns = 0;
  };

  void Send(Connection& connection);
  bool Receive(Connection& connection);  // True when the message is complete.

  const int epoll_;
  std::vector<Connection> connections_;
  std::string buffer_;
  Latency latency_;
  uint64_t sent_ = 0;
  int64_t verified_bytes_ = 0;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_EXCHANGE_H_
