#include "sluice/bench/load/connections_load.h"

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {
namespace {

constexpr int kFirst = 100;
constexpr int64_t kOpenAtOnce = 16;

void EchoOnce(std::vector<Socket>& sockets, size_t from, const std::string& message,
              int64_t& verified_bytes) {
  for (size_t i = from; i < sockets.size(); ++i) sockets[i].SendAll(message);
  for (size_t i = from; i < sockets.size(); ++i) {
    std::string answer(message.size(), '\0');
    sockets[i].ReceiveAll(answer.data(), answer.size());
    if (answer != message) Die("an answer differs from its message");
    verified_bytes += static_cast<int64_t>(answer.size());
  }
}

void Open(std::vector<Socket>& sockets, const std::string& address, size_t count) {
  while (sockets.size() < count) sockets.emplace_back(address);
}

void Churn(const std::string& address, int64_t connections, int64_t& verified_bytes) {
  for (int64_t done = 0; done < connections; done += kOpenAtOnce) {
    std::vector<Socket> sockets;
    Open(sockets, address, static_cast<size_t>(std::min(kOpenAtOnce, connections - done)));
    EchoOnce(sockets, 0, "x", verified_bytes);
  }
}

}  // namespace

void RunChurnLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const int64_t operations = flags.Number("operations", 20'000);
  int64_t verified_bytes = 0;
  Churn(target.address, operations / 10, verified_bytes);
  result.Measure(target.server, operations,
                 [&] { Churn(target.address, operations, verified_bytes); });
  result.Add("verified_bytes", verified_bytes);
}

void RunIdleLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const auto connections = static_cast<int>(flags.Number("connections", 10'000));
  if (connections <= kFirst) Die("--connections must be more than 100");
  NeedDescriptors(connections + 100);
  const std::string message(64, 'x');
  std::vector<Socket> sockets;
  int64_t verified_bytes = 0;
  Open(sockets, target.address, kFirst);
  EchoOnce(sockets, 0, message, verified_bytes);
  const int64_t before = target.server.ResidentBytes();
  result.Measure(target.server, connections - kFirst, [&] {
    // As many at once as the smallest backlog takes.
    while (sockets.size() < static_cast<size_t>(connections)) {
      const size_t from = sockets.size();
      Open(sockets, target.address, std::min<size_t>(from + kFirst, connections));
      EchoOnce(sockets, from, message, verified_bytes);
    }
  });
  result.Add("bytes_each", (target.server.ResidentBytes() - before) / (connections - kFirst));
  result.Add("connections", int64_t{connections});
  result.Add("verified_bytes", verified_bytes);
}

void RunRestLoad(const Flags& flags, Result& result) {
  constexpr int kSettleMilliseconds =
      12'000;  // The check that a silent peer received the last bytes.
  const Target target = TargetOf(flags);
  const int64_t seconds = flags.Number("seconds", 10);
  std::vector<Socket> sockets;
  int64_t verified_bytes = 0;
  Open(sockets, target.address, static_cast<size_t>(flags.Number("connections", 1'000)));
  EchoOnce(sockets, 0, std::string(64, 'x'), verified_bytes);
  poll(nullptr, 0, kSettleMilliseconds);
  result.Measure(target.server, seconds,
                 [&] { poll(nullptr, 0, static_cast<int>(seconds) * 1000); });
  result.Add("verified_bytes", verified_bytes);
}

}  // namespace sluice::bench
