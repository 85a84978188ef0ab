// Messages that say they hold more than 4 GiB, which an envelope cannot count.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::charge_test {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

// Claims `bytes`, and allocates nothing.
struct Huge {
  int64_t bytes = 0;
  int64_t HeldBytes() const { return bytes; }
};
struct Question {
  using Reply = Huge;
};

class Taker : public Actor {
 public:
  void On(Huge huge) { taken += std::max<int64_t>(huge.bytes, 0); }
  Huge On(Question) { return Huge{5 * kGiB}; }
  using Actor::Ask;
  using Actor::Send;
  int64_t taken = 0;
};

class Charge : public ::testing::Test {
 protected:
  static Options OptionsOf(int64_t memory_bytes_max) {
    Options options = SmallOptions(2);
    options.memory_bytes_max = memory_bytes_max;
    return options;
  }
  // A number: nothing of it is touched.
  explicit Charge(int64_t memory_bytes_max = 64 * kGiB)
      : runtime_(OptionsOf(memory_bytes_max)), step_(runtime_) {}
  ~Charge() override {
    step_.Round(4);
    EXPECT_EQ(runtime_.budget().UsedBytes(), 0);
    runtime_.Drain(absl::Seconds(5));
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  Ref<Taker> Make(int worker) {
    const Ref<Taker> ref =
        runtime_.SpawnWith<Taker>({.name = "", .mailbox_messages_max = 2, .worker = worker});
    step_.Round(2);
    return ref;
  }
  template <class F>
  void Do(const Ref<Taker>& ref, F act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test",
                                  [&] { act(*static_cast<Taker*>(ref.slot()->actor)); }));
    worker.Leave();
  }
  static int64_t Taken(const Ref<Taker>& ref) {
    return static_cast<Taker*>(ref.slot()->actor)->taken;
  }

  Runtime runtime_;
  Stepper step_;
};

TEST_F(Charge, PastFourGibibytesEverySendAnswersTooLarge) {
  const Ref<Taker> a = Make(0);
  for (const Ref<Taker>& b : {Make(0), Make(1)}) {
    EXPECT_EQ(b.TrySend(Huge{5 * kGiB}), Answer::kTooLarge);
    Do(a, [&](Taker& self) {
      EXPECT_EQ(b.TrySend(Huge{4 * kGiB}), Answer::kTooLarge);
      EXPECT_EQ(self.Send(b, Huge{4 * kGiB}), Answer::kTooLarge);
    });
    EXPECT_FALSE(a.slot()->parked);
  }
}

class SmallBudget : public Charge {
 protected:
  static constexpr int64_t kBudgetBytes = 64 * 1024 * 1024;
  SmallBudget() : Charge(kBudgetBytes) {}
};

TEST_F(SmallBudget, PastTheWholeBudgetEverySendAnswersTooLarge) {
  const Ref<Taker> a = Make(0);
  for (const Ref<Taker>& b : {Make(0), Make(1)}) {
    EXPECT_EQ(b.TrySend(Huge{kBudgetBytes + 1}), Answer::kTooLarge) << "from outside";
    Do(a, [&](Taker& self) {
      EXPECT_EQ(b.TrySend(Huge{kBudgetBytes + 1}), Answer::kTooLarge);
      EXPECT_EQ(self.Send(b, Huge{kBudgetBytes + 1}), Answer::kTooLarge);
    });
  }
}

TEST_F(Charge, BelowFourGibibytesIsChargedAndRefunded) {
  const Ref<Taker> a = Make(0);
  for (const Ref<Taker>& b : {Make(0), Make(1)}) {
    Do(a, [&](Taker& self) {
      // The mailbox takes two, so the third parks its sender.
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(self.Send(b, Huge{4 * kGiB - 4096}), Answer::kAccepted);
      }
      EXPECT_EQ(self.Send(b, Huge{4 * kGiB}), Answer::kTooLarge);
    });
    EXPECT_GE(runtime_.budget().UsedBytes(), 3 * (4 * kGiB - 4096));
    EXPECT_TRUE(step_.Until([&] { return Taken(b) == 3 * (4 * kGiB - 4096); }));
    step_.Round(4);
    EXPECT_EQ(runtime_.budget().UsedBytes(), 0);
  }
}

// A reply cannot be refused: its reservation is the bound, and the reply is not charged.
TEST_F(Charge, AReplyPastFourGibibytesArrives) {
  const Ref<Taker> a = Make(0);
  for (const Ref<Taker>& b : {Make(0), Make(1)}) {
    int64_t answered = 0;
    Do(a, [&](Taker& self) {
      EXPECT_EQ(self.Ask(b, Question{}, absl::Seconds(60),
                         [&](absl::StatusOr<Huge> reply) { answered = reply.value().bytes; }),
                Answer::kAccepted);
    });
    EXPECT_TRUE(step_.Until([&] { return answered == 5 * kGiB; }));
    step_.Round(4);
    EXPECT_EQ(runtime_.budget().UsedBytes(), 0);
  }
}

TEST_F(Charge, AHeldBytesThatCannotBeHarmsNobody) {
  const Ref<Taker> a = Make(0);
  for (const Ref<Taker>& b : {Make(0), Make(1)}) {
    EXPECT_EQ(b.TrySend(Huge{INT64_MAX}), Answer::kTooLarge);
    EXPECT_EQ(b.TrySend(Huge{INT64_MIN}), Answer::kAccepted);
    step_.Round(2);
    Do(a, [&](Taker& self) {
      EXPECT_EQ(self.Send(b, Huge{INT64_MAX}), Answer::kTooLarge);
      EXPECT_EQ(self.Send(b, Huge{-1'000}), Answer::kAccepted);
    });
    step_.Round(2);
  }
}

}  // namespace
}  // namespace sluice::testing::charge_test
