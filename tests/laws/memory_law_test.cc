// L3 and L5 where memory is spent: charges never exceed the budget and the overdrafts, and handlers
// go on, so held memory is freed.
#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::memory_law_test {
namespace {

constexpr int64_t kOverdraft = Lease::kOverdraftBytesMax;

struct Blob {
  std::string text;
};
struct Go {
  int left;
};
struct Counts {
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> taken{0};
  std::atomic<int> done{0};
  std::atomic<int64_t> deepest_debt{0};
  void NoteDebt(Worker& worker) {
    int64_t deepest = deepest_debt;
    const int64_t debt = -worker.lease().LeftBytes();
    while (debt > deepest && !deepest_debt.compare_exchange_weak(deepest, debt)) {
    }
  }
};

class Sink : public Actor {
 public:
  explicit Sink(Counts* counts) : counts_(*counts) {}
  void On(Blob) { ++counts_.taken; }

 private:
  Counts& counts_;
};
// Sends on each blob that it gets: the charge of the received message is freed for the sent one.
class Forwarder : public Actor {
 public:
  Forwarder(Counts* counts, Ref<Sink> sink) : counts_(*counts), sink_(sink) {}
  void On(Blob blob) {
    if (Send(sink_, std::move(blob)) != Answer::kAccepted) {
      ++counts_.refused;
      --counts_.accepted;
    }
    counts_.NoteDebt(worker());
  }

 private:
  Counts& counts_;
  const Ref<Sink> sink_;
};
class Source : public Actor {
 public:
  Source(Counts* counts, std::vector<Ref<Forwarder>> to) : counts_(*counts), to_(std::move(to)) {}
  void On(Go go) {
    for (const Ref<Forwarder>& to : to_) {
      if (Send(to, Blob{std::string(30'000, 'x')}) == Answer::kAccepted) {
        ++counts_.accepted;
      } else {
        ++counts_.refused;
      }
    }
    counts_.NoteDebt(worker());
    if (go.left == 0) {
      ++counts_.done;
    } else {
      After(absl::ZeroDuration(), [this, go] { On(Go{go.left - 1}); });
    }
  }

 private:
  Counts& counts_;
  const std::vector<Ref<Forwarder>> to_;
};

TEST(L3Bound, ChargesNeverExceedTheBudgetAndTheOverdrafts) {
  for (int workers : {1, 3}) {
    Counts counts;
    Options options = SmallOptions(workers);
    options.workers = workers;
    options.memory_bytes_max = options.MemoryBytesMin();
    Runtime runtime(options);
    const auto on = [&](int i) {
      return SpawnOptions{.name = "", .mailbox_messages_max = 256, .worker = i % workers};
    };
    std::vector<Ref<Forwarder>> forwarders;
    for (int i = 0; i < 4; ++i) {
      const Ref<Sink> sink = runtime.SpawnWith<Sink>(on(i + 1), &counts);
      forwarders.push_back(runtime.SpawnWith<Forwarder>(on(i), &counts, sink));
    }
    std::vector<Ref<Source>> sources;
    for (int i = 0; i < 8; ++i) {
      sources.push_back(runtime.SpawnWith<Source>(on(i), &counts, forwarders));
      ASSERT_EQ(sources.back().TrySend(Go{300}), Answer::kAccepted);
    }
    // Leave the storm little of the budget.
    const int64_t others = runtime.budget().BytesMax() - runtime.budget().UsedBytes() - 200'000;
    ASSERT_TRUE(runtime.budget().Take(others));
    ASSERT_TRUE(runtime.Start().ok());
    // Two facts that hold at every moment; their sum is the law.
    int64_t most = 0;
    EXPECT_TRUE(Eventually([&] {
      most = std::max(most, runtime.budget().UsedBytes());
      OnEachWorker(runtime,
                   [&](Worker& worker) { EXPECT_GE(worker.lease().LeftBytes(), -kOverdraft); });
      return counts.done == 8 && counts.taken == counts.accepted;
    })) << runtime.Dump();
    EXPECT_LE(most, runtime.budget().BytesMax());
    EXPECT_LE(counts.deepest_debt, kOverdraft);
    EXPECT_GT(counts.deepest_debt, 0) << "nobody was ever overdrawn: this has tested nothing";
    EXPECT_EQ(counts.taken + counts.refused, 8 * 301 * 4);
    EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
        << CreditsMissing(runtime);
    runtime.budget().Give(others);
    EXPECT_FALSE(runtime.budget().Spent());
    runtime.Drain(absl::Seconds(20));
    EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
    int64_t leased = 0;
    for (int w = 0; w < workers; ++w) leased += runtime.worker(w).lease().LeftBytes();
    EXPECT_EQ(runtime.budget().UsedBytes(), leased);
  }
}

// Others have spent the budget, and every worker has used up its overdraft. Messages in mailboxes
// are handled all the same, and the handlers' own messages use the memory that these freed.
TEST(L5Progress, WithEveryWorkerOverdrawnHandlersStillFree) {
  constexpr int kWorkers = 2;
  Counts counts;
  Options options = SmallOptions(kWorkers);
  options.memory_bytes_max = 8 * 1024 * 1024;
  Runtime runtime(options);
  std::vector<Ref<Sink>> sinks;
  std::vector<Ref<Forwarder>> forwarders;
  std::vector<Ref<Source>> sources;
  for (int w = 0; w < kWorkers; ++w) {
    const SpawnOptions on{.name = "", .mailbox_messages_max = 256, .worker = w};
    const SpawnOptions other{.name = "", .mailbox_messages_max = 256, .worker = 1 - w};
    sinks.push_back(runtime.SpawnWith<Sink>(other, &counts));
    forwarders.push_back(runtime.SpawnWith<Forwarder>(on, &counts, sinks.back()));
    sources.push_back(
        runtime.SpawnWith<Source>(on, &counts, std::vector<Ref<Forwarder>>{forwarders.back()}));
  }
  Stepper step(runtime);
  step.Round(3);
  // Some messages wait in the mailboxes, paid by the budget...
  const auto hold = [&](bool held) {
    for (int w = 0; w < kWorkers; ++w) {
      Worker& worker = runtime.worker(w);
      worker.Enter();
      held ? worker.Suspend(forwarders[w].slot()) : worker.Resume(forwarders[w].slot());
      worker.Leave();
    }
  };
  hold(true);
  const auto fill = [&](int w) {
    Worker& worker = runtime.worker(w);
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(sources[w].slot(), "test", [&] {
      static_cast<Source*>(sources[w].slot()->actor)->On(Go{0});
    }));
    worker.Leave();
  };
  for (int i = 0; i < 20; ++i) {
    for (int w = 0; w < kWorkers; ++w) fill(w);
  }
  step.Round(2);
  // ...then others spend the whole budget, and the workers their overdrafts: the last message waits
  // for memory.
  for (int w = 0; w < kWorkers; ++w) runtime.worker(w).lease().ReturnIdle();
  const int64_t rest = runtime.budget().BytesMax() - runtime.budget().UsedBytes();
  ASSERT_TRUE(runtime.budget().Take(rest));
  for (int w = 0; w < kWorkers; ++w) {
    for (int i = 0; i < 100 && !sources[w].slot()->parked; ++i) fill(w);
    EXPECT_TRUE(sources[w].slot()->parked);
    EXPECT_LT(runtime.worker(w).lease().LeftBytes(), -kOverdraft + 31'000);
    EXPECT_GE(runtime.worker(w).lease().LeftBytes(), -kOverdraft);
  }
  EXPECT_EQ(counts.taken, 0);
  hold(false);
  EXPECT_TRUE(step.Until([&] { return counts.taken == counts.accepted; })) << counts.taken;
  EXPECT_EQ(counts.refused, 0);
  EXPECT_GE(counts.taken, 2 * 20 + 2 * 9);
  for (int w = 0; w < kWorkers; ++w) {
    EXPECT_FALSE(sources[w].slot()->parked);
    runtime.worker(w).lease().ReturnIdle();
  }
  EXPECT_EQ(runtime.budget().UsedBytes(), rest);
  runtime.budget().Give(rest);
  EXPECT_EQ(sinks[0].TrySend(Blob{std::string(30'000, 'x')}), Answer::kAccepted);
  step.Round(3);
  runtime.Drain(absl::Seconds(5));
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

}  // namespace
}  // namespace sluice::testing::memory_law_test
