#include "sluice/bench/load/exchange.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "sluice/bench/load/flags.h"

namespace sluice::bench {

Exchange::Exchange(const std::string& address, int connections, size_t message_bytes)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(message_bytes, '\0') {
  std::string message(message_bytes, '\0');
  for (size_t i = 0; i < message_bytes; ++i) message[i] = static_cast<char>('a' + i % 23);
  connections_.reserve(static_cast<size_t>(connections));
  for (int i = 0; i < connections; ++i) {
    connections_.push_back({Socket(address), message, 0, 0});
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(i);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_.back().socket.fd(), &event);
  }
}

Exchange::~Exchange() { close(epoll_); }

void Exchange::Send(Connection& connection) {
  // No two messages are equal, so an old answer is not taken for a new one.
  ++sent_;
  std::memcpy(connection.message.data(), &sent_, std::min(sizeof sent_, connection.message.size()));
  connection.arrived = 0;
  connection.sent_ns = NowNs();
  connection.socket.SendAll(connection.message);
}

bool Exchange::Receive(Connection& connection) {
  const size_t missing = connection.message.size() - connection.arrived;
  const size_t count = connection.socket.Receive(buffer_.data(), missing);
  if (std::memcmp(buffer_.data(), connection.message.data() + connection.arrived, count) != 0) {
    Die("an answer differs from its message");
  }
  connection.arrived += count;
  verified_bytes_ += static_cast<int64_t>(count);
  return count == missing;
}

void Exchange::Run(int64_t messages) {
  constexpr int kEventsMax = 256;
  int64_t started = 0;
  for (size_t i = 0; i < connections_.size() && started < messages; ++i, ++started) {
    Send(connections_[i]);
  }
  epoll_event events[kEventsMax];
  for (int64_t finished = 0; finished < messages;) {
    const int count = epoll_wait(epoll_, events, kEventsMax, -1);
    for (int e = 0; e < count; ++e) {
      Connection& connection = connections_[events[e].data.u64];
      if (!Receive(connection)) continue;
      latency_.Add(NowNs() - connection.sent_ns);
      ++finished;
      if (started >= messages) continue;
      ++started;
      Send(connection);
    }
  }
}

}  // namespace sluice::bench
