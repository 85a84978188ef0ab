#include <gtest/gtest.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sim = sluice::sim;

// --- What is tested: in a program of your own it stands in a header.

struct Deposit {
  using Reply = int64_t;  // The new balance.
  int64_t cents;
};

class Account : public sluice::Actor {
 public:
  int64_t On(Deposit d) { return cents_ += d.cents; }

 private:
  int64_t cents_ = 0;
};

// A line is a number of cents; its answer is the new balance.
class Teller : public sluice::LineSession {
 public:
  explicit Teller(sluice::Ref<Account> account) : LineSession(64), account_(account) {}
  void OnLine(std::string_view line) override {
    int64_t cents = 0;
    std::from_chars(line.data(), line.data() + line.size(), cents);
    AskInOrder(account_, Deposit{cents}, absl::Seconds(5), [this](absl::StatusOr<int64_t> now) {
      WriteOrAbort(now.ok() ? absl::StrCat(*now, "\n") : "error\n");
    });
  }
  void OnLongLine() override { Close(); }

 private:
  const sluice::Ref<Account> account_;
};

// --- The test.

TEST(Bank, KeepsEveryCent) {
  sim::ForEachSeed([](sim::Simulation& simulation) {
    // The seed picks each amount. A run that fails is repeated with smaller amounts.
    const int workers = static_cast<int>(simulation.Amount("workers", 1, 4));
    const int64_t customers = simulation.Amount("customers", 1, 6);
    const int64_t deposits = simulation.Amount("deposits", 1, 10);

    // The program as main() has it, on a simulated machine.
    sim::Site bank(simulation, sim::SmallOptions(workers));
    const auto account = bank.runtime().Spawn<Account>();
    bank.runtime().Listen<Teller>("10.0.0.1:7001", account);
    ASSERT_TRUE(bank.Start());

    // The clients: scripts on threads of their own, on another machine. Each call waits.
    sim::SimOs& town = simulation.NewMachine("town");
    int64_t highest = 0;
    std::vector<sluice::ThreadId> threads;
    for (int64_t c = 0; c < customers; ++c) {
      threads.push_back(simulation.StartThread(town, absl::StrCat("customer ", c), [&] {
        sim::Client client(town);
        ASSERT_TRUE(client.Connect("10.0.0.1:7001").ok());
        for (int64_t i = 0; i < deposits; ++i) {
          ASSERT_TRUE(client.Write("5\n").ok());
          const auto answer = client.ReadLine();
          ASSERT_TRUE(answer.ok()) << answer.status();
          int64_t now = 0;
          std::from_chars(answer->data(), answer->data() + answer->size(), now);
          highest = std::max(highest, now);
        }
      }));
    }
    for (const sluice::ThreadId thread : threads) simulation.Join(thread);
    EXPECT_EQ(highest, 5 * customers * deposits);
  });  // ~Site drains, and checks that nothing is left.
}
