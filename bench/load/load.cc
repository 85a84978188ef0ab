// The load of one measurement: talks to a server that runs, checks each byte that comes back, and
// prints one line of JSON.
//
//   load KIND --address=127.0.0.1:PORT --pid=PID [--NAME=VALUE...]
#include <cstdio>
#include <string>

#include "sluice/bench/load/connections_load.h"
#include "sluice/bench/load/echo_load.h"
#include "sluice/bench/load/fan_out_load.h"
#include "sluice/bench/load/file_load.h"
#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/http_load.h"
#include "sluice/bench/load/relay_load.h"
#include "sluice/bench/load/result.h"
#include "sluice/bench/load/stopped_load.h"

namespace {

struct Kind {
  const char* name;
  void (*run)(const sluice::bench::Flags&, sluice::bench::Result&);
};

constexpr Kind kKinds[] = {
    {"echo", &sluice::bench::RunEchoLoad},
    {"http", &sluice::bench::RunHttpLoad},
    {"fan_out", &sluice::bench::RunFanOutLoad},
    {"bulk", &sluice::bench::RunBulkLoad},
    {"pairs", &sluice::bench::RunPairsLoad},
    {"churn", &sluice::bench::RunChurnLoad},
    {"idle", &sluice::bench::RunIdleLoad},
    {"rest", &sluice::bench::RunRestLoad},
    {"file", &sluice::bench::RunFileLoad},
    {"stopped_echo", &sluice::bench::RunStoppedEchoLoad},
    {"stopped_chat", &sluice::bench::RunStoppedChatLoad},
};

}  // namespace

int main(int argc, char** argv) {
  using namespace sluice::bench;
  const std::string name = argc > 1 ? argv[1] : "";
  const Flags flags(argc, argv, 2);
  for (const Kind& kind : kKinds) {
    if (name != kind.name) continue;
    Result result;
    kind.run(flags, result);
    result.Print();
    return 0;
  }
  std::string known;
  for (const Kind& kind : kKinds) known += std::string(" ") + kind.name;
  Die("no load \"" + name + "\"; the loads are:" + known);
}
