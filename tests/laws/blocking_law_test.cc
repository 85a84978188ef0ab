// L1 of the blocking pool, and L5: while callers die, fail and are recreated, every call is
// finished, dropped with a reason or held, and each caller that lives is called back once for each
// call.
#include <atomic>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/log.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::blocking_law_test {
namespace {

struct Tally {
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> ran{0};
  std::atomic<int64_t> told{0};
  std::atomic<int64_t> thrown{0};  // Thrown by a callback: counted in `told`, and as dropped too.
  std::atomic<int64_t> functions_alive{0};
  std::atomic<int64_t> lasting_told{0};
  std::atomic<int64_t> ended{0};
};
struct Go {};

// Counts the functions that exist: each must be destroyed, wherever it ends.
class Alive {
 public:
  explicit Alive(Tally* tally) : tally_(tally) { ++tally_->functions_alive; }
  Alive(Alive&& other) noexcept : tally_(other.tally_) { ++tally_->functions_alive; }
  ~Alive() { --tally_->functions_alive; }

 private:
  Tally* tally_;
};

class Caller : public Actor {
 public:
  enum class Fate { kLasts, kStops, kFails };
  Caller(Tally* tally, Fate fate, uint64_t seed) : tally_(*tally), fate_(fate), random_(seed) {}
  ~Caller() override { ++tally_.ended; }
  void OnStart() override { On(Go{}); }
  void On(Go) {
    const auto calls = 1 + random_() % 12;
    for (uint64_t i = 0; i < calls; ++i) {
      const Answer answer = RunBlocking(
          [tally = &tally_, alive = Alive(&tally_), number = random_()] {
            ++tally->ran;
            if (number % 5 == 0) throw std::runtime_error("blocked by a throw");
            return number;
          },
          [this](absl::StatusOr<uint64_t>) {
            ++tally_.told;
            if (fate_ == Fate::kLasts) ++tally_.lasting_told;
            if (--open_ == 0 && rounds_ > 0) On(Go{});
          });
      if (answer == Answer::kAccepted) {
        ++tally_.accepted;
        ++open_;
      }
    }
    --rounds_;
    if (rounds_ > 0) return;
    if (fate_ == Fate::kStops) Stop();
    if (fate_ == Fate::kFails) {
      ++tally_.thrown;
      throw std::runtime_error("it was time");
    }
  }

 private:
  Tally& tally_;
  const Fate fate_;
  std::mt19937_64 random_;
  int rounds_ = 20;
  int open_ = 0;
};

class BlockingLaw : public ::testing::TestWithParam<int> {};

TEST_P(BlockingLaw, EveryCallIsFinishedDroppedOrHeld) {
  SetLogLevel(LogLevel::kOff);
  const int workers = GetParam();
  Options options = SmallOptions(workers);
  options.blocking_threads_max = 3;
  options.blocking_calls_max = 2;
  options.linger_timeout = absl::Milliseconds(1);
  Tally tally;
  {
    Runtime runtime(options);
    ASSERT_TRUE(runtime.Start().ok());
    for (uint64_t i = 0; i < 30; ++i) {
      const auto fate = static_cast<Caller::Fate>(i % 3);
      const SpawnOptions on{
          .name = "", .mailbox_messages_max = 0, .worker = static_cast<int>(i) % workers};
      if (fate == Caller::Fate::kFails) {
        runtime.SpawnRestarting<Caller>({.restarts_max = 3, .backoff_min = absl::ZeroDuration()},
                                        on, &tally, fate, i);
      } else {
        runtime.SpawnWith<Caller>(on, &tally, fate, i);
      }
    }
    const auto counts = [&] { return runtime.blocking().Counts(); };
    EXPECT_TRUE(Eventually([&] {
      return counts().held == 0 && counts().submitted == tally.accepted && tally.ended == 10 + 40;
    })) << runtime.Dump();
    EXPECT_TRUE(counts().Balanced()) << counts().ToString();
    EXPECT_EQ(counts().finished, tally.ran);
    EXPECT_EQ(counts().submitted, tally.accepted);
    EXPECT_GT(counts().dropped[static_cast<size_t>(DropReason::kSenderEnded)], 0);
    runtime.Drain(absl::Seconds(30));
    EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
    // Each result was delivered, or came too late, or found its caller dead.
    const Ledger ledger = runtime.TotalLedger();
    EXPECT_EQ(tally.told + ledger.replies_late + ledger.reserved_dropped,
              tally.accepted + tally.thrown);
  }
  EXPECT_GT(tally.lasting_told, 0);
  EXPECT_EQ(tally.functions_alive, 0);
}
INSTANTIATE_TEST_SUITE_P(Workers, BlockingLaw, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace sluice::testing::blocking_law_test
