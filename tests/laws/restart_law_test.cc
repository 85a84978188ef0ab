// L1, L2, L3, L5 and L8 while actors fail and are recreated under load: a restart loses only the
// message being handled, and counts it.
#include <array>
#include <atomic>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::restart_law_test {
namespace {

constexpr int kDrivers = 4;
constexpr int kTargets = 5;
constexpr int64_t kMessages = 1'500;  // From each driver to each target.
constexpr uint32_t kCapacity = 4;

struct Numbered {
  int from;
  int64_t number;
};
struct Query {
  using Reply = int64_t;
};
struct Chirp {};
struct Go {};

// Outlives the incarnations of one target; used on the target's worker only.
struct Life {
  int64_t incarnation = 0;
  std::array<int64_t, kDrivers> last{};
};
struct Tally {
  std::atomic<int64_t> handled{0};
  std::atomic<int64_t> thrown{0};
  std::atomic<int64_t> out_of_order{0};
  std::atomic<int64_t> called_back_late{0};  // In an incarnation that did not ask.
  std::atomic<int64_t> timers_late{0};
  std::atomic<int64_t> starts{0};
  std::atomic<int64_t> over_capacity{0};
  std::atomic<int64_t> chirps_sent{0};
  std::atomic<int64_t> chirps{0};
  std::atomic<int64_t> downs{0};
  std::atomic<int64_t> drivers_done{0};
};

class Sink : public Actor {
 public:
  explicit Sink(Tally* tally) : tally_(*tally) {}
  void On(Chirp) { ++tally_.chirps; }
  int64_t On(Query) { return 1; }

 private:
  Tally& tally_;
};

class Target : public Actor {
 public:
  Target(Tally* tally, Life* life, Ref<Sink> sink, uint64_t seed)
      : tally_(*tally),
        life_(*life),
        sink_(sink),
        incarnation_(++life->incarnation),
        random_(seed + static_cast<uint64_t>(incarnation_)) {
    if (random_() % 8 == 0 && incarnation_ > 1) throw std::runtime_error("not this time");
  }
  void OnStart() override {
    ++tally_.starts;
    Every(absl::Milliseconds(1),
          [this] { tally_.timers_late += life_.incarnation != incarnation_; });
    child_ = SpawnWith<Sink>({.name = "",
                              .mailbox_messages_max = 2,
                              .worker = static_cast<int>(random_() % 2) % runtime().WorkerCount()},
                             &tally_);
    if (random_() % 16 == 0) throw std::runtime_error("not at all");
  }
  void On(Numbered numbered) {
    int64_t& last = life_.last[static_cast<size_t>(numbered.from)];
    if (numbered.number <= last) ++tally_.out_of_order;
    last = numbered.number;
    tally_.over_capacity += slot()->mailbox.Held() > kCapacity;
    switch (random_() % 8) {
      case 0:
        for (int i = 0; i < 4; ++i) Chirped(Send(sink_, Chirp{}));
        break;
      case 1:
        (void)Ask(sink_, Query{}, absl::Milliseconds(random_() % 5),
                  [this, asked = incarnation_](absl::StatusOr<int64_t>) {
                    tally_.called_back_late += life_.incarnation != asked || incarnation_ != asked;
                  });
        break;
      case 2:
        for (int i = 0; i < 3; ++i) Chirped(Send(child_, Chirp{}));
        break;
      default:
        break;
    }
    if (random_() % 20 == 0) {
      ++tally_.thrown;
      throw 42;
    }
    ++tally_.handled;
  }

 private:
  void Chirped(Answer answer) { tally_.chirps_sent += answer == Answer::kAccepted; }
  Tally& tally_;
  Life& life_;
  const Ref<Sink> sink_;
  const int64_t incarnation_;
  std::mt19937_64 random_;
  Ref<Sink> child_;
};

class Driver : public Actor {
 public:
  Driver(Tally* tally, int index, std::vector<Ref<Target>> targets)
      : tally_(*tally), index_(index), targets_(std::move(targets)) {}
  void OnStart() override {
    for (const Ref<Target>& target : targets_) Monitor(target);
    On(Go{});
  }
  void OnDown(const Down&) override { ++tally_.downs; }
  void On(Go) {
    ++number_;
    for (const Ref<Target>& target : targets_) {
      EXPECT_EQ(Send(target, Numbered{index_, number_}), Answer::kAccepted);
    }
    if (number_ == kMessages) {
      ++tally_.drivers_done;
    } else {
      EXPECT_EQ(Send(RefOf(this), Go{}), Answer::kAccepted);
    }
  }

 private:
  Tally& tally_;
  const int index_;
  const std::vector<Ref<Target>> targets_;
  int64_t number_ = 0;
};

class RestartLaw : public ::testing::TestWithParam<int> {};

TEST_P(RestartLaw, RestartLosesOnlyTheHandledMessage) {
  SetLogLevel(LogLevel::kOff);  // A line for each of some thousand failures.
  const int workers = GetParam();
  Options options = SmallOptions(workers);
  options.lane_messages_max = 8;
  Runtime runtime(options);
  Tally tally;
  std::vector<Life> lives(kTargets);
  const auto on = [&](int i, uint32_t capacity) {
    return SpawnOptions{.name = "", .mailbox_messages_max = capacity, .worker = i % workers};
  };
  const Ref<Sink> sink = runtime.SpawnWith<Sink>(on(1, 2), &tally);
  std::vector<Ref<Target>> targets;
  for (int i = 0; i < kTargets; ++i) {
    targets.push_back(runtime.SpawnRestarting<Target>(
        {.restarts_max = 1'000'000, .backoff_min = absl::ZeroDuration()}, on(i, kCapacity), &tally,
        &lives[static_cast<size_t>(i)], sink, static_cast<uint64_t>(i) * 1'000'003));
  }
  for (int i = 0; i < kDrivers; ++i) {
    runtime.SpawnWith<Driver>(on(i, 4), &tally, i, targets);
  }
  ASSERT_TRUE(runtime.Start().ok());
  constexpr int64_t kSent = kDrivers * kTargets * kMessages;
  EXPECT_TRUE(Eventually([&] { return tally.handled + tally.thrown == kSent; }))
      << tally.handled << " handled, " << tally.thrown << " thrown of " << kSent << "\n"
      << runtime.Dump();
  EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
      << CreditsMissing(runtime);
  EXPECT_EQ(tally.drivers_done, kDrivers);
  EXPECT_EQ(tally.downs, 0);  // No actor has ended.
  runtime.Drain(absl::Seconds(30));
  const Ledger ledger = runtime.TotalLedger();
  EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  EXPECT_EQ(ledger.held + ledger.parked_held + ledger.reserved_held, 0) << ledger.ToString();
  EXPECT_EQ(ledger.dropped[static_cast<int>(DropReason::kFailed)], tally.thrown);
  EXPECT_EQ(ledger.dropped[static_cast<int>(DropReason::kShutdown)], 0);
  // Includes incarnations that threw in their constructor.
  EXPECT_GT(ledger.restarted, tally.thrown);
  EXPECT_LE(tally.chirps, tally.chirps_sent);
  EXPECT_GT(tally.chirps, 0);
  EXPECT_EQ(tally.out_of_order, 0);
  EXPECT_EQ(tally.over_capacity, 0);
  EXPECT_EQ(tally.called_back_late, 0);
  EXPECT_EQ(tally.timers_late, 0);
  EXPECT_EQ(runtime.ActorCount(), 0);
}

INSTANTIATE_TEST_SUITE_P(Workers, RestartLaw, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace sluice::testing::restart_law_test
