#include "sluice/core/actor/charged_state.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::charged_state_test {
namespace {

class Cache : public Actor {
 public:
  explicit Cache(Cache** place) : place_(*place) { place_ = this; }
  ~Cache() override { place_ = nullptr; }
  void On(int) { throw std::runtime_error("broken"); }
  ChargedState charged{*this};

 private:
  Cache*& place_;
};

class ChargedStateTest : public ::testing::Test {
 protected:
  void Spawn() {
    ref_ = rig_.runtime.Spawn<Cache>(&cache_);
    rig_.Settle();
    rig_.worker.lease().ReturnIdle();
    before_ = rig_.runtime.budget().UsedBytes();
    ASSERT_NE(cache_, nullptr);
  }
  int64_t Charged() {
    rig_.worker.lease().ReturnIdle();
    return rig_.runtime.budget().UsedBytes() - before_;
  }
  Rig rig_;
  Ref<Cache> ref_;
  Cache* cache_ = nullptr;
  int64_t before_ = 0;
};

TEST_F(ChargedStateTest, TheBudgetKnowsWhatTheActorHolds) {
  Spawn();
  EXPECT_TRUE(cache_->charged.Set(1'000'000));
  EXPECT_EQ(Charged(), 1'000'000);
  EXPECT_TRUE(cache_->charged.Add(500'000));
  EXPECT_TRUE(cache_->charged.Add(-700'000));
  EXPECT_EQ(Charged(), 800'000);
  EXPECT_TRUE(cache_->charged.Set(-5));
  EXPECT_EQ(Charged(), 0);
}

TEST_F(ChargedStateTest, WithoutMemoryNothingChanges) {
  Spawn();
  EXPECT_TRUE(cache_->charged.Set(1'000'000));
  EXPECT_FALSE(cache_->charged.Add(rig_.runtime.budget().BytesMax()));
  EXPECT_FALSE(cache_->charged.Add(INT64_MAX)) << "the sum overflows";
  EXPECT_EQ(cache_->charged.Bytes(), 1'000'000);
  EXPECT_EQ(Charged(), 1'000'000);
  rig_.TakeMemory(true);
  EXPECT_TRUE(cache_->charged.Add(-1)) << "less is always granted";
  rig_.TakeMemory(false);
}

TEST_F(ChargedStateTest, TheEndAndAFailureGiveItBack) {
  for (const bool fails : {false, true}) {
    Spawn();
    EXPECT_TRUE(cache_->charged.Set(3'000'000));
    if (fails) {
      EXPECT_EQ(ref_.TrySend(1), Answer::kAccepted);
    } else {
      ref_.Stop();
    }
    rig_.Settle();
    EXPECT_EQ(cache_, nullptr);
    EXPECT_EQ(Charged(), 0);
  }
}

}  // namespace
}  // namespace sluice::testing::charged_state_test
