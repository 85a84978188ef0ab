#include "sluice/bench/load/relay_load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;
constexpr size_t kPatternBytes = 251;  // A prime: a lost or doubled piece shows.
constexpr int kPairsFirst = 100;
constexpr int kDescriptorsOfItsOwn = 64;

Target TargetBehind(const Listener& upstream, const Flags& flags) {
  std::printf("upstream %s\n", upstream.address().c_str());
  std::fflush(stdout);
  return TargetOf(flags);
}

// Clients that send, and upstreams that read. One thread.
class Bulk {
 public:
  Bulk(const std::string& relay, Listener& listener, int connections) {
    for (size_t i = 0; i < pattern_.size(); ++i) {
      pattern_[i] = static_cast<char>(i % kPatternBytes);
    }
    const auto count = static_cast<size_t>(connections);
    clients_.reserve(count);
    upstreams_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      clients_.push_back({Socket(relay), 0});
      upstreams_.push_back({listener.Accept(), 0});
      Add(clients_.back(), EPOLLOUT | EPOLLET);
      Add(upstreams_.back(), EPOLLIN);
    }
  }
  ~Bulk() { close(epoll_); }
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;

  int64_t verified_bytes() const { return verified_bytes_; }

  // Returns when so many bytes have arrived in all.
  void Copy(int64_t bytes) {
    constexpr int kEventsMax = 128;
    to_send_ = to_receive_ = static_cast<size_t>(bytes);
    for (Stream& client : clients_) SendSome(client);
    epoll_event events[kEventsMax];
    while (to_receive_ > 0) {
      const int count = epoll_wait(epoll_, events, kEventsMax, -1);
      for (int e = 0; e < count; ++e) {
        auto& stream = *static_cast<Stream*>(events[e].data.ptr);
        (events[e].events & EPOLLIN) != 0 ? Receive(stream) : SendSome(stream);
      }
    }
  }

 private:
  struct Stream {
    Socket socket;
    size_t bytes = 0;  // Sent or received so far.
  };

  void Add(Stream& stream, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.ptr = &stream;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, stream.socket.fd(), &event);
  }
  void SendSome(Stream& client) {
    while (to_send_ > 0) {
      const size_t sent = client.socket.Send(std::string_view(pattern_).substr(
          client.bytes % kPatternBytes, std::min(kChunkBytes, to_send_)));
      if (sent == 0) return;
      client.bytes += sent;
      to_send_ -= sent;
    }
  }
  void Receive(Stream& upstream) {
    const size_t count = upstream.socket.Receive(buffer_.data(), buffer_.size());
    if (std::memcmp(buffer_.data(), pattern_.data() + upstream.bytes % kPatternBytes, count) != 0) {
      Die("the upstream got other bytes than were sent");
    }
    upstream.bytes += count;
    to_receive_ -= count;
    verified_bytes_ += static_cast<int64_t>(count);
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::string pattern_ = std::string(kChunkBytes + kPatternBytes, '\0');
  std::string buffer_ = std::string(kChunkBytes, '\0');
  std::vector<Stream> clients_;  // Not moved after Add(): epoll keeps their addresses.
  std::vector<Stream> upstreams_;
  size_t to_send_ = 0, to_receive_ = 0;
  int64_t verified_bytes_ = 0;
};

// One message each way through a pair.
void Pass(Socket& from, Socket& to, int64_t& verified_bytes) {
  const std::string message = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n";
  std::string arrived(message.size(), '\0');
  from.SendAll(message);
  to.ReceiveAll(arrived.data(), arrived.size());
  if (arrived != message) Die("a message came out otherwise than it went in");
  arrived.assign(message.size(), '\0');
  to.SendAll(message);
  from.ReceiveAll(arrived.data(), arrived.size());
  if (arrived != message) Die("a message came back otherwise than it went in");
  verified_bytes += 2 * static_cast<int64_t>(message.size());
}

}  // namespace

void RunBulkLoad(const Flags& flags, Result& result) {
  Listener listener;
  const Target target = TargetBehind(listener, flags);
  const int64_t operations = flags.Number("operations", 1'000'000'000);
  Bulk bulk(target.address, listener, static_cast<int>(flags.Number("connections", 1)));
  bulk.Copy(operations / 10);
  result.Measure(target.server, operations, [&] { bulk.Copy(operations); });
  result.Add("verified_bytes", bulk.verified_bytes());
}

void RunPairsLoad(const Flags& flags, Result& result) {
  const auto wanted = static_cast<int>(flags.Number("connections", 10'000));
  const int allowed = DescriptorsUpTo(2 * wanted + kDescriptorsOfItsOwn);
  const int pairs = std::min(wanted, (allowed - kDescriptorsOfItsOwn) / 2);
  if (pairs <= kPairsFirst) Die("too few descriptors");
  Listener listener;
  const Target target = TargetBehind(listener, flags);
  std::vector<Socket> clients, upstreams;
  int64_t verified_bytes = 0;
  const auto open_until = [&](int count) {
    while (static_cast<int>(clients.size()) < count) {
      clients.emplace_back(target.address);
      upstreams.push_back(listener.Accept());
      Pass(clients.back(), upstreams.back(), verified_bytes);
    }
  };
  open_until(kPairsFirst);
  const int64_t before = target.server.ResidentBytes();
  result.Measure(target.server, pairs - kPairsFirst, [&] {
    open_until(pairs);
    for (size_t i = 0; i < clients.size(); ++i) Pass(upstreams[i], clients[i], verified_bytes);
  });
  result.Add("bytes_each", (target.server.ResidentBytes() - before) / (pairs - kPairsFirst));
  result.Add("connections", int64_t{pairs});
  result.Add("verified_bytes", verified_bytes);
}

}  // namespace sluice::bench
