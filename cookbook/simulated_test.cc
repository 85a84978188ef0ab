// lines.cc's actor and session on a simulated machine: whatever the seed does with threads and
// segments, each client gets its answers in the order of its lines, also behind its half-close.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/cookbook/lines.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sim = sluice::sim;

TEST(Lines, AnswersComeInOrderAlsoAfterAHalfClose) {
  sim::ForEachSeed([](sim::Simulation& simulation) {
    const int workers = static_cast<int>(simulation.Amount("workers", 1, 4));
    const int64_t clients = simulation.Amount("clients", 1, 6);
    const int64_t keys = simulation.Amount("keys", 1, 300);

    sim::Site site(simulation, sim::SmallOptions(workers));
    const auto table = site.runtime().Spawn<Table>(/*keys_max=*/10'000);
    site.runtime().Listen<Clerk>("10.0.0.1:7006", table);
    ASSERT_TRUE(site.Start());

    sim::SimOs& town = simulation.NewMachine("town");
    std::vector<sluice::ThreadId> threads;
    for (int64_t c = 0; c < clients; ++c) {
      threads.push_back(simulation.StartThread(town, absl::StrCat("client ", c), [&, c] {
        sim::Client client(town);
        ASSERT_TRUE(client.Connect("10.0.0.1:7006").ok());
        std::string lines;
        std::string answers;
        for (int64_t k = 0; k < keys; ++k) {
          absl::StrAppend(&lines, "set ", c, "/", k, " value ", k, "\nget ", c, "/", k, "\n");
          absl::StrAppend(&answers, "ok\nvalue ", k, "\n");
        }
        ASSERT_TRUE(client.Write(lines).ok());
        ASSERT_TRUE(client.CloseWrite().ok());
        EXPECT_EQ(client.ReadToEnd().value_or("reset"), answers);
      }));
    }
    for (const sluice::ThreadId thread : threads) simulation.Join(thread);
  });  // ~Site drains, and checks that nothing is left.
}
