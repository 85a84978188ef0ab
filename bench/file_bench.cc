// Processor time of a server that sends a file that is in memory: by SendFile, and by reading it
// and Write.
//
//   ./sluice bench file_bench [ROUNDS [FILES]]       (default 15 rounds of 60 files)
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {
namespace {

constexpr size_t kFileBytes = 6'500'000;
constexpr int kConnections = 4;
constexpr int kWarmUpFiles = 8;
constexpr const char* kHows[] = {"send", "task", "pool", "inline"};

// Answers the server's processor time for a megabyte, in microseconds.
double Round(const std::string& how, const std::string& path, int files) {
  const ServerProcess server("bench/file_server", {how, path, "--workers=1"});
  std::vector<Socket> sockets;
  for (int i = 0; i < kConnections; ++i) sockets.emplace_back(server.address());
  std::string buffer(kFileBytes, '\0');
  const auto fetch = [&](int count) {
    for (int i = 0; i < count; i += kConnections) {
      for (Socket& socket : sockets) socket.SendAll("f");
      for (Socket& socket : sockets) socket.ReceiveAll(buffer.data(), buffer.size());
    }
  };
  fetch(kWarmUpFiles);
  const int64_t before_ns = server.ProcessorNs();
  fetch(files);
  const double megabytes = static_cast<double>(files) * kFileBytes / 1e6;
  return static_cast<double>(server.ProcessorNs() - before_ns) / 1e3 / megabytes;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Run(int rounds, int files) {
  std::string path = "/var/tmp/file_bench.XXXXXX";
  const int fd = mkstemp(path.data());
  const std::string bytes(kFileBytes, 'x');
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    Die("cannot write " + path);
  }
  close(fd);
  PinTo(LoadProcessor());
  // The ways take turns, so that other load on the machine slows them all.
  std::vector<std::vector<double>> costs(std::size(kHows)), ratios(std::size(kHows));
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < std::size(kHows); ++i) {
      const size_t at = round % 2 == 0 ? i : std::size(kHows) - 1 - i;
      costs[at].push_back(Round(kHows[at], path, files));
    }
    for (size_t i = 0; i < std::size(kHows); ++i) {
      ratios[i].push_back(costs[i].back() / costs[0].back());
    }
  }
  unlink(path.c_str());
  for (size_t i = 0; i < std::size(kHows); ++i) {
    std::printf("%-8s %7.1f us of the server for a megabyte, %.2f times that of send (medians)\n",
                kHows[i], Median(costs[i]), Median(ratios[i]));
  }
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::EnterRunfiles();
  sluice::bench::Run(argc > 1 ? std::atoi(argv[1]) : 15, argc > 2 ? std::atoi(argv[2]) : 60);
}
