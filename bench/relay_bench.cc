// Cost of a relayed message beside a bare copy loop, speed of bulk copying, and memory of an idle
// pair.
//
//   ./sluice bench relay_bench [ROUNDS [EXCHANGES]]     (default 9 rounds of 100000)
//   ./sluice bench relay_bench pairs [PAIRS]            (default 10000)
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/load.h"
#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {
namespace {

constexpr double kRatioWanted = 1.20;
constexpr int kConnections = 128;
constexpr int kMessageBytes = 64;
constexpr int64_t kWarmUpExchanges = 20'000;
constexpr int kBulkPairs = 4;
constexpr size_t kBulkUnit = 1 << 20;
constexpr int64_t kBulkWarmUpUnits = 64;
constexpr int64_t kBulkUnits = 1'024;
constexpr int kPairsFirst = 100;
constexpr int kDescriptorsOfItsOwn = 64;

std::unique_ptr<ServerProcess> StartRelay(bool bare, const std::string& upstream,
                                          std::vector<std::string> flags = {}) {
  if (bare) {
    return std::make_unique<ServerProcess>("bench/relay_bare", std::vector<std::string>{upstream});
  }
  flags.insert(flags.end(), {"--listen=127.0.0.1:0", "--workers=1", "--upstream=" + upstream});
  return std::make_unique<ServerProcess>("examples/relay", flags);
}

// An exchange is two relayed messages: there, and back from an echo.
Cost ExchangeRound(bool bare, int64_t exchanges) {
  const ServerProcess echo("bench/echo_bare", {}, ServerProcess::Count::kNothing, LoadProcessor());
  const auto relay = StartRelay(bare, echo.address());
  Load load(relay->address(), kConnections, kMessageBytes);
  load.Exchange(kWarmUpExchanges);
  return Measure(*relay, load, exchanges);
}

// Clients that send as fast as they can, and their upstreams, which read. One thread.
class Bulk {
 public:
  explicit Bulk(bool bare) : relay_(StartRelay(bare, listener_.address())) {
    for (int i = 0; i < kBulkPairs; ++i) {
      clients_.emplace_back(relay_->address());
      upstreams_.push_back(listener_.Accept());
      Add(clients_.back(), EPOLLOUT | EPOLLET);
      Add(upstreams_.back(), EPOLLIN);
    }
  }
  ~Bulk() { close(epoll_); }
  const ServerProcess& relay() const { return *relay_; }

  // Returns when `units` MiB have arrived in all.
  void Copy(int64_t units) {
    to_send_ = to_receive_ = static_cast<size_t>(units) * kBulkUnit;
    for (int i = 0; i < kBulkPairs; ++i) SendSome(clients_[i]);
    epoll_event events[2 * kBulkPairs];
    while (to_receive_ > 0) {
      const int count = epoll_wait(epoll_, events, 2 * kBulkPairs, -1);
      for (int e = 0; e < count; ++e) {
        auto& socket = *static_cast<Socket*>(events[e].data.ptr);
        if ((events[e].events & EPOLLIN) != 0) {
          to_receive_ -= socket.Receive(buffer_.data(), buffer_.size());
        } else {
          SendSome(socket);
        }
      }
    }
  }

 private:
  void Add(Socket& socket, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.ptr = &socket;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.fd(), &event);
  }
  void SendSome(Socket& socket) {
    while (to_send_ > 0) {
      const size_t sent =
          socket.Send(std::string_view(buffer_).substr(0, std::min(buffer_.size(), to_send_)));
      if (sent == 0) return;
      to_send_ -= sent;
    }
  }

  Listener listener_;
  const std::unique_ptr<ServerProcess> relay_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Socket> clients_ = Reserved();
  // Not moved after Add(): epoll keeps their addresses.
  std::vector<Socket> upstreams_ = Reserved();
  static std::vector<Socket> Reserved() {
    std::vector<Socket> sockets;
    sockets.reserve(kBulkPairs);
    return sockets;
  }
  std::string buffer_ = std::string(64 * 1024, 'x');
  size_t to_send_ = 0;
  size_t to_receive_ = 0;
};

Cost BulkRound(bool bare) {
  Bulk bulk(bare);
  bulk.Copy(kBulkWarmUpUnits);
  return Measure(bulk.relay(), kBulkUnits, [&] { bulk.Copy(kBulkUnits); });
}

// Sends one message each way through a pair.
void Pass(Socket& from, Socket& to) {
  const std::string message(kMessageBytes, 'x');
  std::string arrived = message;
  from.SendAll(message);
  to.ReceiveAll(arrived.data(), arrived.size());
  to.SendAll(arrived);
  from.ReceiveAll(arrived.data(), arrived.size());
}

void PrintPairs(int pairs) {
  const int allowed = DescriptorsUpTo(2 * pairs + kDescriptorsOfItsOwn);
  if (allowed < 2 * pairs + kDescriptorsOfItsOwn) {
    pairs = (allowed - kDescriptorsOfItsOwn) / 2;
    std::printf("this system allows a process %d descriptors (ulimit -Hn): %d pairs\n", allowed,
                pairs);
  }
  Listener listener;
  const auto relay = StartRelay(/*bare=*/false, listener.address(),
                                {"--max_connections=" + std::to_string(pairs)});
  std::vector<Socket> clients;
  std::vector<Socket> upstreams;
  const auto open_until = [&](int count) {
    while (static_cast<int>(clients.size()) < count) {
      clients.emplace_back(relay->address());
      upstreams.push_back(listener.Accept());
      Pass(clients.back(), upstreams.back());
    }
  };
  // The first pairs also touch pages that belong to no pair.
  open_until(kPairsFirst);
  const int64_t before = relay->ResidentBytes();
  open_until(pairs);
  for (int i = 0; i < pairs; ++i) Pass(upstreams[i], clients[i]);
  const int64_t after = relay->ResidentBytes();
  std::printf("%d pairs, each of which passed 4 messages, all open: %.1f MiB became %.1f MiB,\n",
              pairs, static_cast<double>(before) / (1 << 20),
              static_cast<double>(after) / (1 << 20));
  std::printf("  %.0f bytes of user memory a pair   (wanted: at most 1024, 512 a connection)\n",
              static_cast<double>(after - before) / (pairs - kPairsFirst));
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::EnterRunfiles();
  using namespace sluice::bench;
  constexpr char kUsage[] = "usage: relay_bench [ROUNDS [EXCHANGES]] | relay_bench pairs [PAIRS]";
  if (LoadProcessor() > 0) PinTo(LoadProcessor());
  if (argc > 1 && std::string_view(argv[1]) == "pairs") {
    const int pairs = argc > 2 ? std::atoi(argv[2]) : 10'000;
    if (pairs <= kPairsFirst || argc > 3) Die(kUsage);
    PrintPairs(pairs);
    return 0;
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  const int64_t exchanges = argc > 2 ? std::atoll(argv[2]) : 100'000;
  if (rounds < 1 || exchanges < 1 || argc > 3) Die(kUsage);
  std::printf(
      "relay, %d B, %d pairs, 1 worker, %lld exchanges (2 messages each) a round: processor time "
      "of the relay for each exchange\n",
      kMessageBytes, kConnections, static_cast<long long>(exchanges));
  PrintRounds(rounds, kRatioWanted, [&](bool bare) { return ExchangeRound(bare, exchanges); });
  std::printf("bulk, %d pairs, %lld MiB a round: processor time of the relay for each MiB\n",
              kBulkPairs, static_cast<long long>(kBulkUnits));
  PrintRounds(rounds, kRatioWanted, [&](bool bare) { return BulkRound(bare); });
}
