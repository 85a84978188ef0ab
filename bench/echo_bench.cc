// Cost of an echoed message for the server, beside a bare epoll loop, and cost of an idle
// connection.
//
//   ./sluice bench echo_bench [ROUNDS [MESSAGES]]       (default 9 rounds of 300000 messages)
//
// The two servers run in turn, round by round, so other load on the machine slows both.
#include <poll.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "sluice/bench/load.h"
#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {
namespace {

constexpr int kConnections = 128;
constexpr int kMessageBytes = 64;
constexpr int64_t kWarmUpMessages = 30'000;
constexpr int kIdleConnections = 10'000;
constexpr int kRestingConnections = 1'000;
constexpr int kRestSeconds = 10;

const char kBare[] = "bench/echo_bare";
const char kSluice[] = "examples/echo";
const std::vector<std::string> kOneWorker = {"--listen=127.0.0.1:0", "--workers=1"};

std::vector<std::string> Flags(const std::string& program) {
  return program == kBare ? std::vector<std::string>() : kOneWorker;
}

Cost Round(const std::string& program, int64_t messages) {
  const ServerProcess server(program, Flags(program));
  Load load(server.address(), kConnections, kMessageBytes);
  load.Exchange(kWarmUpMessages);
  return Measure(server, load, messages);
}

void PrintProcessorTime(int rounds, int64_t messages) {
  std::printf(
      "echo, %d B, %d connections, 1 worker, %lld messages a round: processor time of the server\n",
      kMessageBytes, kConnections, static_cast<long long>(messages));
  PrintRounds(rounds, 1.10, [&](bool bare) { return Round(bare ? kBare : kSluice, messages); });
}

void PrintCounts(int64_t messages) {
  std::printf("counted in a run of their own, for each message\n");
  for (const char* program : {kBare, kSluice}) {
    ServerProcess server(program, Flags(program), ServerProcess::Count::kAllocations);
    Load load(server.address(), kConnections, kMessageBytes);
    load.Exchange(kWarmUpMessages);
    server.CountSystemCalls();
    const Cost cost = Measure(server, load, messages);
    std::printf("  %-16s system calls ", program);
    if (cost.system_calls < 0) {
      std::printf("not counted (needs root, or kernel.perf_event_paranoid -1)");
    } else {
      std::printf("%.3f", cost.system_calls);
    }
    std::printf("   allocations %.6f\n", cost.allocations);
  }
  std::printf("  (wanted: at most 2.1 system calls and no allocation)\n\n");
}

std::vector<Socket> Connect(const std::string& address, int count) {
  std::vector<Socket> sockets;
  for (int i = 0; i < count; ++i) sockets.emplace_back(address);
  return sockets;
}

void EchoOnce(std::vector<Socket>& sockets) {
  const std::string message(kMessageBytes, 'x');
  std::string answer = message;
  for (Socket& socket : sockets) {
    socket.SendAll(message);
    socket.ReceiveAll(answer.data(), answer.size());
  }
}

void PrintIdleMemory() {
  std::vector<std::string> flags = kOneWorker;
  flags.push_back("--max_connections=" + std::to_string(kIdleConnections + 100));
  const ServerProcess server(kSluice, flags);
  // The first hundred connections also touch pages that belong to no connection.
  std::vector<Socket> first = Connect(server.address(), 100);
  EchoOnce(first);
  const int64_t before = server.ResidentBytes();
  std::vector<Socket> idle = Connect(server.address(), kIdleConnections);
  EchoOnce(idle);
  const int64_t after = server.ResidentBytes();
  std::printf("%d connections that echoed one message and rest: %.1f MiB became %.1f MiB,\n",
              kIdleConnections, static_cast<double>(before) / (1 << 20),
              static_cast<double>(after) / (1 << 20));
  std::printf("  %.0f bytes of user memory each   (wanted: at most 512)\n\n",
              static_cast<double>(after - before) / kIdleConnections);
}

void PrintWakeUps() {
  ServerProcess server(kSluice, {"--listen=127.0.0.1:0"});
  std::vector<Socket> resting = Connect(server.address(), kRestingConnections);
  EchoOnce(resting);
  // Work that follows the last message is over by then, also the check that its peer received it.
  poll(nullptr, 0, 12'000);
  server.CountSystemCalls();
  const int64_t calls = server.SystemCalls();
  const int64_t switches = server.VoluntarySwitches();
  const int64_t processor_ns = server.ProcessorNs();
  poll(nullptr, 0, kRestSeconds * 1000);
  std::printf("%d idle connections for %d s, as many workers as processors:\n", kRestingConnections,
              kRestSeconds);
  std::printf(
      "  wake-ups %lld, system calls %lld, processor time %lld us   (wanted: 0 wake-ups)\n\n",
      static_cast<long long>(server.VoluntarySwitches() - switches),
      static_cast<long long>(calls < 0 ? -1 : server.SystemCalls() - calls),
      static_cast<long long>((server.ProcessorNs() - processor_ns) / 1000));
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::EnterRunfiles();
  using namespace sluice::bench;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  const int64_t messages = argc > 2 ? std::atoll(argv[2]) : 300'000;
  if (rounds < 1 || messages < 1 || argc > 3) Die("usage: echo_bench [ROUNDS [MESSAGES]]");
  NeedDescriptors(kIdleConnections + 500);
  if (LoadProcessor() > 0) PinTo(LoadProcessor());
  PrintProcessorTime(rounds, messages);
  PrintCounts(messages);
  PrintIdleMemory();
  PrintWakeUps();
}
