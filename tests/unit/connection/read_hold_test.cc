// Tests of holds on reading: each is its holder's own, and a session reads when none is held.
#include "sluice/actors/connection/read_hold.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/tests/support/late_store.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::read_hold_test {
namespace {

TEST(ReadHold, ASessionReadsWhenNoneIsHeld) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  ReadHold first = notes.session->HoldReading();
  ReadHold second = notes.session->HoldReading();
  rig.Arrive(wire, "x");
  rig.Settle();
  first.Release();
  first.Release();
  rig.Settle();
  EXPECT_EQ(notes.data, "");
  EXPECT_TRUE(notes.session->ReadingHeld());
  ReadHold third = std::move(second);
  EXPECT_FALSE(second.Holds());
  EXPECT_TRUE(third.Holds());
  second.Release();
  rig.Settle();
  EXPECT_EQ(notes.data, "");
  third = ReadHold();
  rig.Settle();
  EXPECT_EQ(notes.data, "x");
}

TEST(ReadHold, AHoldThatReplacesAnotherLeavesNoGap) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  ReadHold hold = notes.session->HoldReading();
  hold = notes.session->HoldReading();
  rig.Arrive(wire, "x");
  rig.Settle();
  EXPECT_EQ(notes.data, "");
  hold.Release();
  rig.Settle();
  EXPECT_EQ(notes.data, "x");
}

TEST(ReadHold, ACallbackThatIsDestroyedReleasesItsHold) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_NE(notes.session->After(absl::Seconds(1), [hold = notes.session->HoldReading()] {}), 0u);
  rig.Arrive(wire, "x");
  rig.Settle();
  EXPECT_EQ(notes.data, "");
  rig.Advance(absl::Seconds(2));
  EXPECT_EQ(notes.data, "x");
}

TEST(ReadHold, AHoldOutlivesItsConnectionAndItsSession) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  ReadHold hold = notes.session->HoldReading();
  std::optional<ReadHold> after_the_end;
  notes.on_close = [&](ScriptSession& session) { after_the_end = session.HoldReading(); };
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.session, nullptr);
  ReadHold moved = std::move(hold);
  EXPECT_FALSE(moved.Holds());
  moved.Release();
  EXPECT_FALSE(after_the_end->Holds());
}

// Holds reading from its constructor on, and in a member when it ends.
class Holder : public ScriptSession {
 public:
  explicit Holder(Notes* notes) : ScriptSession(notes), hold_(HoldReading()) {}
  void On(Poke) { hold_.Release(); }

 private:
  ReadHold hold_;
};

TEST(ReadHold, AHoldOfTheConstructorHolds) {
  Rig rig;
  auto [wire, notes] = rig.New();
  Slot* const slot =
      rig.OpenAs<Holder>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes);
  rig.Arrive(wire, "x");
  rig.Settle();
  EXPECT_EQ(notes.data, "");
  EXPECT_EQ(Ref<Holder>(slot, slot->generation).TrySend(ScriptSession::Poke{}), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(notes.data, "x");
}

TEST(ReadHold, AHoldInAMemberEndsWithItsSession) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenAs<Holder>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes);
  rig.Settle();
  rig.Reset(wire);
  rig.Settle();
  EXPECT_EQ(notes.session, nullptr);
}

// Asks in order for each byte, and has a rate limit beside: a hold for a second after each byte.
class Limited : public ScriptSession {
 public:
  Limited(Notes* notes, Ref<LateStore> store) : ScriptSession(notes), store_(store) {}
  void OnData(Input& in) override {
    in.Take(1);
    EXPECT_NE(After(absl::Seconds(1), [hold = HoldReading()] {}), 0u);
    AskInOrder(store_, Get{}, absl::InfiniteDuration(),
               [this](const absl::StatusOr<std::string>& reply) { WriteOrAbort(*reply); });
  }

 private:
  const Ref<LateStore> store_;
};

TEST(ReadHold, AskInOrderAndARateLimitDoNotUndoEachOther) {
  for (const bool answer_first : {true, false}) {
    LateStore::Open open;
    Rig rig;
    auto [wire, notes] = rig.New();
    rig.OpenAs<Limited>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes,
                        rig.runtime.Spawn<LateStore>(&open));
    rig.Settle();
    rig.Arrive(wire, "ab");
    rig.Settle();
    const auto answer = [&] {
      ASSERT_EQ(open.size(), 1u);
      open.front().Resolve("1");
      open.clear();
      rig.Settle();
    };
    const size_t all = wire.output.size();
    if (answer_first) {
      answer();
      EXPECT_EQ(wire.output.size(), all + 1);
      EXPECT_TRUE(open.empty()) << "no second question is asked";
      EXPECT_EQ(wire.output.size(), all + 1) << "the limit holds";
      rig.Advance(absl::Seconds(2));
    } else {
      rig.Advance(absl::Seconds(2));
      EXPECT_EQ(wire.output, "") << "the order holds";
      answer();
    }
    answer();
    EXPECT_EQ(wire.output, "11") << answer_first;
  }
}

}  // namespace
}  // namespace sluice::testing::read_hold_test
