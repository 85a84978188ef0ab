#include "sluice/bench/load/file_load.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {

void RunFileLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  std::ostringstream file;
  file << std::ifstream(flags.Text("file"), std::ios::binary).rdbuf();
  const std::string bytes = file.str();
  if (bytes.empty()) Die("--file= names no file, or an empty one");
  const int64_t connections = flags.Number("connections", 4);
  std::vector<Socket> sockets;
  for (int64_t i = 0; i < connections; ++i) sockets.emplace_back(target.address);
  std::string arrived(bytes.size(), '\0');
  const auto fetch = [&](int64_t files) {
    for (int64_t i = 0; i < files; i += connections) {
      for (Socket& socket : sockets) socket.SendAll("f");
      for (Socket& socket : sockets) {
        socket.ReceiveAll(arrived.data(), arrived.size());
        if (arrived != bytes) Die("another file came than the one asked for");
      }
    }
  };
  const auto file_bytes = static_cast<int64_t>(bytes.size());
  const int64_t turns =
      std::max<int64_t>(1, flags.Number("operations", 400'000'000) / file_bytes / connections);
  const int64_t files = turns * connections;
  fetch(std::max(connections, files / 10));
  result.Measure(target.server, files * file_bytes, [&] { fetch(files); });
  result.Add("verified_bytes", files * file_bytes);
}

}  // namespace sluice::bench
