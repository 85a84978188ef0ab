#include "sluice/bench/load/echo_load.h"

#include <cstdint>

#include "sluice/bench/load/exchange.h"
#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {

void RunEchoLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const auto connections = static_cast<int>(flags.Number("connections", 128));
  const int64_t operations = flags.Number("operations", 300'000);
  NeedDescriptors(connections + 100);
  Exchange exchange(target.address, connections, static_cast<size_t>(flags.Number("bytes", 64)));
  exchange.Run(connections + operations / 10);
  exchange.latency().Clear();
  result.Measure(target.server, operations, [&] { exchange.Run(operations); });
  result.Add("latency_ns", exchange.latency());
  result.Add("verified_bytes", exchange.verified_bytes());
}

}  // namespace sluice::bench
