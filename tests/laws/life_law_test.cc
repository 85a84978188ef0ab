// L1, L7, L8 and L10 while actors are born and die under load.
#include <atomic>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {
namespace {

struct Tally {
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> closed{0};
  std::atomic<int64_t> overloaded{0};
  std::atomic<int64_t> handled{0};
  std::atomic<int64_t> strangers{0};  // A message reached another actor.
  std::atomic<int64_t> downs{0};
  std::atomic<int64_t> downs_twice{0};
  std::atomic<int64_t> downs_early{0};  // A dead actor's message came after its Down.
  std::atomic<int64_t> monitors{0};
  std::atomic<int64_t> asked{0};
  std::atomic<int64_t> answered{0};
  std::atomic<int64_t> answered_twice{0};
  std::atomic<int64_t> spawned{0};
  std::atomic<int64_t> ended{0};
  std::atomic<int64_t> drivers_done{0};
};

struct Hello {
  uint64_t to;  // Serial number of the intended actor.
};
struct Question {
  using Reply = uint64_t;
  int kind;
};
struct LastWord {
  uint64_t from;
};
struct Go {};

class Driver;

// Lives for a few messages. Its serial number distinguishes it from the next actor in its slot.
class Mortal : public Actor {
 public:
  Mortal(Tally* tally, uint64_t serial, int lives, Recipient<LastWord> mourner)
      : tally_(tally), serial_(serial), lives_(lives), mourner_(mourner) {
    ++tally_->spawned;
  }
  ~Mortal() override { ++tally_->ended; }
  void On(Hello hello) {
    ++tally_->handled;
    if (hello.to != serial_) ++tally_->strangers;
    if (--lives_ > 0) return;
    for (int i = 0; i < 3; ++i) {
      const Answer answer = Send(mourner_, LastWord{serial_});
      if (answer == Answer::kAccepted) ++tally_->accepted;
    }
    if (serial_ % 3 == 0) throw std::runtime_error("it was time");
    Stop();
  }
  void On(Question question, Promise<uint64_t> promise) {
    ++tally_->handled;
    if (question.kind == 0) promise.Resolve(serial_);
    // Dropping the previous promise answers it.
    if (question.kind == 1) late_ = std::move(promise);
    // Else: dropped.
  }

 private:
  Tally* tally_;
  const uint64_t serial_;
  int lives_;
  Recipient<LastWord> mourner_;
  Promise<uint64_t> late_;
};

// Spawns mortals here and elsewhere, sends to them past their death, monitors and asks them.
class Driver : public Actor {
 public:
  Driver(Tally* tally, uint64_t seed, int rounds) : tally_(tally), random_(seed), rounds_(rounds) {}
  void OnStart() override { On(Go{}); }
  void On(LastWord word) {
    ++tally_->handled;
    if (dead_.contains(word.from)) ++tally_->downs_early;
  }
  void OnDown(const Down& down) override {
    ++tally_->downs;
    const auto found = watched_.find(down.monitor);
    if (found == watched_.end()) {
      ++tally_->downs_twice;
      return;
    }
    if (down.reason != EndReason::kNotFound) dead_.insert(found->second);
    watched_.erase(found);
    FinishIfDone();
  }
  void On(Go) {
    ++tally_->handled;
    if (rounds_-- == 0) {
      for (const auto& [serial, ref] : mortals_) ref.Stop();
      sending_done_ = true;
      FinishIfDone();
      return;
    }
    const uint64_t serial = random_();
    const int worker = static_cast<int>(random_() % static_cast<uint64_t>(runtime().WorkerCount()));
    mortals_.emplace_back(
        serial,
        SpawnWith<Mortal>({.name = "",
                           .mailbox_messages_max = 1 + static_cast<uint32_t>(random_() % 3),
                           .worker = worker},
                          tally_, serial, 1 + static_cast<int>(random_() % 5), RefOf(this)));
    for (int i = 0; i < 4; ++i) {
      const auto& [to, ref] = mortals_[random_() % mortals_.size()];
      switch (random_() % 4) {
        case 0:
        case 1:
          Count(Send(ref, Hello{to}));
          break;
        case 2:
          watched_.emplace(Monitor(ref), to);
          ++tally_->monitors;
          break;
        default: {
          auto told = std::make_shared<bool>(false);
          const Answer answer = Ask(ref, Question{static_cast<int>(random_() % 3)},
                                    absl::Milliseconds(random_() % 20),
                                    [this, told](const absl::StatusOr<uint64_t>&) {
                                      if (std::exchange(*told, true)) ++tally_->answered_twice;
                                      ++tally_->answered;
                                    });
          Count(answer);
          if (answer == Answer::kAccepted) ++tally_->asked;
        }
      }
    }
    if (mortals_.size() > 20) {
      mortals_[random_() % mortals_.size()].second.Stop();
      mortals_.front().second.Stop();
      mortals_.erase(mortals_.begin());
    }
    Next();
  }

 private:
  void Count(Answer answer) {
    tally_->accepted += answer == Answer::kAccepted;
    tally_->closed += answer == Answer::kClosed;
    tally_->overloaded += answer == Answer::kOverloaded;
  }
  void Next() {
    // Last words of many mortals may have filled the mailbox first.
    const Answer answer = Send(RefOf(this), Go{});
    Count(answer);
    if (answer != Answer::kAccepted) After(absl::Milliseconds(1), [this] { Next(); });
  }
  void FinishIfDone() {
    if (!sending_done_ || !watched_.empty() || told_) return;
    told_ = true;
    ++tally_->drivers_done;
  }
  Tally* tally_;
  std::mt19937_64 random_;
  int rounds_;
  bool sending_done_ = false;
  bool told_ = false;
  std::vector<std::pair<uint64_t, Ref<Mortal>>> mortals_;
  absl::flat_hash_map<MonitorId, uint64_t> watched_;
  absl::flat_hash_set<uint64_t> dead_;
};

class Lives : public ::testing::TestWithParam<int> {
 protected:
  void Run() {
    constexpr int kDrivers = 6;
    constexpr int kRounds = 1'500;
    Options options = SmallOptions(GetParam());
    options.lane_messages_max = 8;
    // Few slots, which are therefore used again and again.
    options.actors_max = 64 * 8;
    Runtime runtime(options);
    ASSERT_TRUE(runtime.Start().ok());
    for (int i = 0; i < kDrivers; ++i) {
      runtime.SpawnWith<Driver>({.name = "", .mailbox_messages_max = 16, .worker = i % GetParam()},
                                &tally_, static_cast<uint64_t>(i) + 1, kRounds);
    }
    EXPECT_TRUE(Eventually([&] {
      return tally_.drivers_done == kDrivers && tally_.asked == tally_.answered;
    })) << "monitors "
        << tally_.monitors << " downs " << tally_.downs << " asked " << tally_.asked << " answered "
        << tally_.answered << "\n"
        << runtime.Dump();
    EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
        << CreditsMissing(runtime);
    EXPECT_EQ(tally_.asked, tally_.answered);
    EXPECT_EQ(tally_.monitors, tally_.downs);
    runtime.Drain(absl::Seconds(30));
    ledger_ = runtime.TotalLedger();
    EXPECT_EQ(runtime.ActorCount(), 0);
    EXPECT_EQ(tally_.spawned, tally_.ended);
    EXPECT_EQ(runtime.WaitCyclesFound(), 0) << runtime.LastWaitCycle();
  }
  Tally tally_;
  Ledger ledger_;
};
class L1LedgerOfLives : public Lives {};
class L8Death : public Lives {};
class L10Handles : public Lives {};

TEST_P(L1LedgerOfLives, UnreadMessagesOfTheDeadAreCounted) {
  Run();
  EXPECT_TRUE(ledger_.Balanced()) << ledger_.ToString();
  EXPECT_EQ(ledger_.held + ledger_.parked_held + ledger_.reserved_held, 0) << ledger_.ToString();
  EXPECT_GT(ledger_.DroppedTotal(), 0);
}

TEST_P(L8Death, EachMonitorGetsOneDownAfterLastMessage) {
  Run();
  EXPECT_EQ(tally_.downs_twice, 0);
  EXPECT_EQ(tally_.downs_early, 0);
  EXPECT_EQ(tally_.answered_twice, 0);
  EXPECT_GT(tally_.closed, 0);
}

TEST_P(L10Handles, DeadHandleNeverReachesItsSlotsNextActor) {
  Run();
  EXPECT_EQ(tally_.strangers, 0);
}

INSTANTIATE_TEST_SUITE_P(Workers, L1LedgerOfLives, ::testing::Values(1, 2, 4));
INSTANTIATE_TEST_SUITE_P(Workers, L8Death, ::testing::Values(1, 2, 4));
INSTANTIATE_TEST_SUITE_P(Workers, L10Handles, ::testing::Values(1, 2, 4));

TEST(L8Death, AMessageToADeadActorAnswersClosed) {
  Tally tally;
  Runtime runtime(SmallOptions(1));
  ASSERT_TRUE(runtime.Start().ok());
  const Ref<Mortal> mortal = runtime.Spawn<Mortal>(&tally, 1, 1, Recipient<LastWord>());
  EXPECT_EQ(mortal.TrySend(Hello{1}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return tally.ended == 1; }));
  EXPECT_EQ(mortal.TrySend(Hello{1}), Answer::kClosed);
  EXPECT_EQ(Ref<Mortal>().TrySend(Hello{1}), Answer::kClosed);
}

// Control gets through while every mailbox, lane and outbox is full and every actor is parked
// forever.
class Jammed : public Actor {
 public:
  Jammed(std::atomic<int>* met, int others) : met_(met), others_(others) {}
  void On(Ref<Jammed> next) {
    ++*met_;
    while (*met_ < others_) std::this_thread::yield();
    for (uint64_t i = 0; i < 40; ++i) EXPECT_EQ(Send(next, Hello{i}), Answer::kAccepted);
  }
  void On(Hello) {}  // Only when the next actor in the ring has ended.

 private:
  std::atomic<int>* met_;
  const int others_;
};
class Witness : public Actor {
 public:
  explicit Witness(std::atomic<int>* downs) : downs_(downs) {}
  void On(Ref<Jammed> whom) { Monitor(whom); }
  void OnDown(const Down&) override { ++*downs_; }

 private:
  std::atomic<int>* downs_;
};

TEST(L7Control, GetsThroughWhereEverythingElseIsFull) {
  constexpr int kWorkers = 3;
  std::atomic<int> met{0};
  std::atomic<int> downs{0};
  Options options = SmallOptions(kWorkers);
  options.lane_messages_max = 1;
  options.linger_timeout = absl::Milliseconds(20);
  options.on_wait_cycle = OnWaitCycle::kReport;
  Runtime runtime(options);
  ASSERT_TRUE(runtime.Start().ok());
  std::vector<Ref<Jammed>> ring;
  for (int i = 0; i < kWorkers; ++i) {
    ring.push_back(runtime.SpawnWith<Jammed>({.name = "", .mailbox_messages_max = 1, .worker = i},
                                             &met, kWorkers));
  }
  for (int i = 0; i < kWorkers; ++i) {
    ASSERT_EQ(ring[i].TrySend(ring[(i + 1) % kWorkers]), Answer::kAccepted);
  }
  // A cycle is a jam forever; its probes are control too.
  EXPECT_TRUE(Eventually([&] { return runtime.WaitCyclesFound() == 1; })) << runtime.Dump();
  std::vector<Ref<Witness>> witnesses;
  for (int i = 0; i < kWorkers; ++i) {
    witnesses.push_back(
        runtime.SpawnWith<Witness>({.name = "", .mailbox_messages_max = 4, .worker = i}, &downs));
    for (const Ref<Jammed>& jammed : ring) {
      ASSERT_TRUE(Eventually([&] { return witnesses[i].TrySend(jammed) == Answer::kAccepted; }));
    }
  }
  for (const Ref<Jammed>& jammed : ring) jammed.Stop();
  EXPECT_TRUE(Eventually([&] { return downs == kWorkers * kWorkers; })) << downs;
  runtime.Drain(absl::Seconds(10));
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
  EXPECT_GT(runtime.TotalLedger().ParkedDroppedTotal(), 0);
}

// An order is a bit: however often it is given, it travels once.
TEST(L7Control, AnOrderThatIsGivenAgainAddsNothing) {
  Tally tally;
  Runtime runtime(SmallOptions(1));
  const Ref<Mortal> mortal = runtime.Spawn<Mortal>(&tally, 1, 1, Recipient<LastWord>());
  Stepper step(runtime);
  step.Round(2);
  const int64_t taken = runtime.worker(0).mail().CrossTaken();
  for (int i = 0; i < 1'000; ++i) mortal.Stop();
  step.Round(4);
  EXPECT_EQ(runtime.worker(0).mail().CrossTaken() - taken, 1);
  EXPECT_EQ(tally.ended, 1);
}

}  // namespace
}  // namespace sluice::testing
