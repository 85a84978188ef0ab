// Tests of the checked cast from a slot to its actor's class.
#include "sluice/core/slot/actor_as.h"

#include "gtest/gtest.h"

namespace sluice::testing::actor_as_test {
namespace {

class Speaker : public ActorBase {
 public:
  bool IsKind(const void* kind) const override { return kind == KindOf<Speaker>(); }
};

class Loud final : public Speaker {
 public:
  bool IsKind(const void* kind) const override {
    return kind == KindOf<Loud>() || Speaker::IsKind(kind);
  }
};

class Mute final : public ActorBase {};

TEST(ActorAs, AnActorIsAlsoWhatItsClassDerivesFrom) {
  Loud loud;
  Slot slot(nullptr, 0);
  slot.actor = &loud;
  EXPECT_EQ(&ActorAs<Loud>(&slot), &loud);
  EXPECT_EQ(&ActorAs<Speaker>(&slot), &loud);
}

TEST(ActorAs, AnActorThatHasEndedIsNotFound) {
  Speaker speaker;
  Slot slot(nullptr, 0);
  slot.generation = 3;
  slot.actor = &speaker;
  EXPECT_EQ(LiveActorAs<Speaker>(&slot, 3), &speaker);
  EXPECT_EQ(LiveActorAs<Speaker>(&slot, 1), nullptr);
  slot.actor = nullptr;
  EXPECT_EQ(LiveActorAs<Speaker>(&slot, 3), nullptr);
}

TEST(ActorAsDeathTest, AnotherClassEndsTheProcess) {
  Speaker speaker;
  Mute mute;
  Slot slot(nullptr, 0);
  EXPECT_DEATH(ActorAs<Speaker>(&slot), "SLUICE_CHECK");
  slot.actor = &speaker;
  EXPECT_DEATH(ActorAs<Loud>(&slot), "SLUICE_CHECK");
  slot.actor = &mute;
  EXPECT_DEATH(ActorAs<Speaker>(&slot), "SLUICE_CHECK");
}

}  // namespace
}  // namespace sluice::testing::actor_as_test
