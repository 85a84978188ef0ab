#include "sluice/bench/load/target.h"

#include <sys/types.h>

#include <iostream>

namespace sluice::bench {

Target TargetOf(const Flags& flags) {
  std::string address = flags.Text("address");
  if (!address.empty()) return {address, Server(static_cast<pid_t>(flags.Number("pid", 1)))};
  pid_t pid = 0;
  if (!(std::cin >> address >> pid)) Die("no --address=, and no line \"ADDRESS PID\" on stdin");
  return {address, Server(pid)};
}

}  // namespace sluice::bench
