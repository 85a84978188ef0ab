// Tests of the checked cast from a slot to its actor's class.
#include "sluice/core/slot/actor_as.h"

#include <memory>

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

// Not on the stack: gcc 12 at -O0 does not align it there when asan checks the frame.
std::unique_ptr<Slot> NewSlot() { return std::make_unique<Slot>(nullptr, 0); }

TEST(ActorAs, AnActorIsAlsoWhatItsClassDerivesFrom) {
  Loud loud;
  const std::unique_ptr<Slot> slot = NewSlot();
  slot->actor = &loud;
  EXPECT_EQ(&ActorAs<Loud>(slot.get()), &loud);
  EXPECT_EQ(&ActorAs<Speaker>(slot.get()), &loud);
}

TEST(ActorAs, AnActorThatHasEndedIsNotFound) {
  Speaker speaker;
  const std::unique_ptr<Slot> slot = NewSlot();
  slot->generation = 3;
  slot->actor = &speaker;
  EXPECT_EQ(LiveActorAs<Speaker>(slot.get(), 3), &speaker);
  EXPECT_EQ(LiveActorAs<Speaker>(slot.get(), 1), nullptr);
  slot->actor = nullptr;
  EXPECT_EQ(LiveActorAs<Speaker>(slot.get(), 3), nullptr);
}

TEST(ActorAsDeathTest, AnotherClassEndsTheProcess) {
  Speaker speaker;
  Mute mute;
  const std::unique_ptr<Slot> slot = NewSlot();
  EXPECT_DEATH(ActorAs<Speaker>(slot.get()), "SLUICE_CHECK");
  slot->actor = &speaker;
  EXPECT_DEATH(ActorAs<Loud>(slot.get()), "SLUICE_CHECK");
  slot->actor = &mute;
  EXPECT_DEATH(ActorAs<Speaker>(slot.get()), "SLUICE_CHECK");
}

}  // namespace
}  // namespace sluice::testing::actor_as_test
