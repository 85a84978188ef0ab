#include "sluice/bench/load/http_load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {
namespace {

constexpr std::string_view kRequest =
    "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";
constexpr std::string_view kStatus = "HTTP/1.1 200 ";
constexpr std::string_view kBody = "Hello, world!\n";
constexpr std::string_view kLengthHeaders[] = {"\r\nContent-Length: ", "\r\ncontent-length: "};

// The bytes of the first answer, or 0 if not all of them are here.
size_t AnswerBytes(std::string_view in) {
  const size_t head = in.find("\r\n\r\n");
  if (head == in.npos || in.size() < head + 4 + kBody.size()) return 0;
  if (in.substr(0, kStatus.size()) != kStatus) Die("not 200: " + std::string(in.substr(0, head)));
  size_t at = in.npos;
  for (const std::string_view header : kLengthHeaders) {
    const size_t found = in.substr(0, head).find(header);
    if (found != in.npos) at = found + header.size();
  }
  if (at == in.npos || static_cast<size_t>(std::atoi(in.data() + at)) != kBody.size()) {
    Die("the length is not 14: " + std::string(in.substr(0, head)));
  }
  if (in.substr(head + 4, kBody.size()) != kBody) Die("the body is another one");
  return head + 4 + kBody.size();
}

class Clients {
 public:
  Clients(const std::string& address, int connections, int64_t pipeline) : pipeline_(pipeline) {
    for (int64_t i = 0; i < pipeline; ++i) requests_ += kRequest;
    connections_.reserve(static_cast<size_t>(connections));
    for (int i = 0; i < connections; ++i) {
      connections_.push_back({Socket(address), "", 0, 0});
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.u64 = static_cast<uint64_t>(i);
      epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_.back().socket.fd(), &event);
    }
  }
  ~Clients() { close(epoll_); }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  Latency& latency() { return latency_; }
  int64_t verified_bytes() const { return verified_bytes_; }

  // Returns when so many batches of `pipeline` requests are answered.
  void Run(int64_t batches) {
    constexpr int kEventsMax = 256;
    int64_t started = 0;
    for (size_t i = 0; i < connections_.size() && started < batches; ++i, ++started) {
      Send(connections_[i]);
    }
    epoll_event events[kEventsMax];
    for (int64_t finished = 0; finished < batches;) {
      const int count = epoll_wait(epoll_, events, kEventsMax, -1);
      for (int e = 0; e < count; ++e) {
        Connection& connection = connections_[events[e].data.u64];
        if (!Receive(connection)) continue;
        latency_.Add(NowNs() - connection.sent_ns);
        ++finished;
        if (started >= batches) continue;
        ++started;
        Send(connection);
      }
    }
  }

 private:
  struct Connection {
    Socket socket;
    std::string in;
    int64_t answers = 0;  // That are missing.
    int64_t sent_ns = 0;
  };

  void Send(Connection& connection) {
    connection.answers = pipeline_;
    connection.sent_ns = NowNs();
    connection.socket.SendAll(requests_);
  }

  bool Receive(Connection& connection) {
    char buffer[64 * 1024];
    connection.in.append(buffer, connection.socket.Receive(buffer, sizeof buffer));
    size_t taken = 0;
    while (connection.answers > 0) {
      const size_t bytes = AnswerBytes(std::string_view(connection.in).substr(taken));
      if (bytes == 0) break;
      taken += bytes;
      --connection.answers;
    }
    connection.in.erase(0, taken);
    verified_bytes_ += static_cast<int64_t>(taken);
    if (connection.answers == 0 && !connection.in.empty()) Die("more answers than requests");
    return connection.answers == 0;
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  const int64_t pipeline_;
  std::string requests_;
  std::vector<Connection> connections_;
  Latency latency_;
  int64_t verified_bytes_ = 0;
};

}  // namespace

void RunHttpLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const auto connections = static_cast<int>(flags.Number("connections", 128));
  const int64_t pipeline = flags.Number("pipeline", 1);
  const int64_t operations = flags.Number("operations", 100'000);
  if (operations % pipeline != 0) Die("--operations must be a multiple of --pipeline");
  NeedDescriptors(connections + 100);
  Clients clients(target.address, connections, pipeline);
  clients.Run((connections + operations / 10) / pipeline + 1);
  clients.latency().Clear();
  result.Measure(target.server, operations, [&] { clients.Run(operations / pipeline); });
  result.Add("latency_ns", clients.latency());
  result.Add("verified_bytes", clients.verified_bytes());
}

}  // namespace sluice::bench
