// Load for an echo server that already runs, and the cost of a message for that server. Ends when
// all messages are exchanged.
//
//   bazel run --config=opt //bench:echo_load -- 127.0.0.1:7001 PID [CONNECTIONS [BYTES [MESSAGES]]]
#include <cstdio>
#include <cstdlib>

#include "sluice/bench/load.h"
#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

int main(int argc, char** argv) {
  using namespace sluice::bench;
  const auto argument = [&](int i, int64_t otherwise) {
    return argc > i ? std::atoll(argv[i]) : otherwise;
  };
  const auto connections = static_cast<int>(argument(3, 128));
  const auto bytes = static_cast<int>(argument(4, 64));
  const int64_t messages = argument(5, 1'000'000);
  if (argc < 3 || argc > 6 || connections < 1 || bytes < 1 || messages < 1) {
    Die("usage: echo_load 127.0.0.1:PORT PID [CONNECTIONS [BYTES [MESSAGES]]]");
  }
  NeedDescriptors(connections + 100);
  ServerProcess server(static_cast<pid_t>(argument(2, 0)));
  Load load(argv[1], connections, bytes);
  load.Exchange(connections);
  server.CountSystemCalls();
  const Cost cost = Measure(server, load, messages);
  std::printf("%.0f messages/s; each cost the server %.0f ns of processor time, ",
              cost.messages_per_second, cost.processor_ns);
  if (cost.system_calls >= 0) std::printf("%.3f system calls, ", cost.system_calls);
  std::printf("%.4f sleeps and %.4f preemptions\n", cost.voluntary_switches,
              cost.involuntary_switches);
}
