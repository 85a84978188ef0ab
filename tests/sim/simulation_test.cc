#include "sluice/sim/world/simulation.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice::sim::simulation_test {
namespace {

class Echo : public Session {
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

Options ServerOptions(int workers) {
  Options options;
  options.workers = workers;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 64;
  options.log_level = "off";
  return options;
}

uint64_t RunEcho(uint64_t seed, const Faults& faults) {
  Simulation simulation(seed, faults);
  simulation.trace().KeepLines();
  Runtime runtime(ServerOptions(2), simulation.os());
  runtime.Listen<Echo>("10.0.0.1:7001");
  EXPECT_TRUE(runtime.Start().ok());
  SimOs& machine = simulation.NewMachine("clients");
  std::vector<ThreadId> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(simulation.StartThread(machine, absl::StrCat("client ", i), [&, i] {
      Client client(machine);
      const absl::Status connected = client.Connect("10.0.0.1:7001");
      EXPECT_TRUE(connected.ok()) << connected;
      for (int round = 0; round < 5; ++round) {
        const std::string sent(static_cast<size_t>(1 + round * 1000 + i),
                               static_cast<char>('a' + i));
        EXPECT_TRUE(client.Write(sent).ok());
        const auto read = client.ReadExactly(sent.size());
        ASSERT_TRUE(read.ok()) << read.status();
        EXPECT_EQ(*read, sent);
      }
      EXPECT_TRUE(client.CloseWrite().ok());
      EXPECT_EQ(*client.ReadToEnd(), "");
    }));
  }
  for (const ThreadId client : clients) simulation.Join(client);
  runtime.Drain(absl::Seconds(5));
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
  EXPECT_EQ(simulation.violation(), "");
  if (testing::Test::HasFailure()) std::fputs(simulation.trace().LastLines(200).c_str(), stderr);
  return simulation.trace().Hash();
}

TEST(Simulation, EchoesEveryByte) { RunEcho(1, Faults::None()); }

TEST(Simulation, TheSameSeedIsTheSameRun) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    EXPECT_EQ(RunEcho(seed, Faults()), RunEcho(seed, Faults()));
    if (HasFailure()) break;
  }
  EXPECT_NE(RunEcho(1, Faults()), RunEcho(2, Faults()));
}

}  // namespace
}  // namespace sluice::sim::simulation_test
