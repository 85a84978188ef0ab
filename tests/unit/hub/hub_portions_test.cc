// Tests that a message to a crowd goes round in portions. Timers, other actors and other
// connections are served in between. Each subscriber still gets each message once and in order, and
// the counts stay exact when a subscriber joins, leaves or ends in the middle of a round.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/actors/hub/hub_spoke.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::hub_portions_test {
namespace {

using Texts = std::vector<std::string>;
constexpr absl::Duration kWrite = absl::Microseconds(15);  // Time that a write to a socket takes.

class Member : public Session {
 public:
  Member(Ref<Hub> hub, SubscribeOptions options) : hub_(hub), options_(std::move(options)) {}
  void OnOpen() override {
    if (!hub_) return;
    EXPECT_EQ(Send(hub_, Subscribe(this, options_)), Answer::kAccepted);
  }
  void On(Subscribed subscribed) {
    subscription = subscribed;
    ++told;
  }
  void OnData(Input& in) override { EXPECT_EQ(Write(in.TakeAll()), Answer::kAccepted); }
  using Actor::Send;
  using Session::Abort;
  Subscribed subscription;
  int told = 0;

 private:
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
};

// Notes how late its timer is.
class Clock : public Actor {
 public:
  explicit Clock(int64_t* late_ms_most) : late_ms_most_(*late_ms_most) {}
  void OnStart() override { Next(); }

 private:
  void Next() {
    const absl::Duration due = Now() + absl::Milliseconds(1);
    After(absl::Milliseconds(1), [this, due] {
      late_ms_most_ = std::max(late_ms_most_, absl::ToInt64Milliseconds(Now() - due));
      Next();
    });
  }
  int64_t& late_ms_most_;
};

class HubPortions : public ::testing::Test {
 protected:
  HubPortions() : rig_(Options()), hub_(rig_.runtime.Spawn<Hub>()) { Turns(); }
  static sluice::Options Options() {
    sluice::Options options = WireOptions();
    options.memory_bytes_max = int64_t{1} << 30;
    return options;
  }
  // Not Rig::Settle(), which looks at every connection after each turn.
  void Turns() {
    do {
      rig_.os.slept = false;
      rig_.worker.Turn(rig_.worker.NowMs() + 1'000'000'000);
    } while (!rig_.os.slept);
  }
  Member* Open(Ref<Hub> hub, SubscribeOptions options = {}) {
    Wire& wire = rig_.os.NewWire();
    Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                     hub, std::move(options));
    wires_.push_back(&wire);
    return static_cast<Member*>(slot->actor);
  }
  void Join(int members, const SubscribeOptions& options = {}) {
    for (int i = 0; i < members; ++i) members_.push_back(Open(hub_, options));
    Turns();
    for (const Member* member : members_) ASSERT_TRUE(member->subscription.Joined());
  }
  void WritesTakeTime() {
    for (Wire* wire : wires_) {
      wire->delay = [this, wire, before = 0]() mutable {
        if (std::exchange(before, wire->writes) != wire->writes) rig_.os.Advance(kWrite);
        return false;
      };
    }
  }
  void Say(int number) {
    ASSERT_EQ(hub_.TrySend(Publish{Bytes::Copy(absl::StrCat(number, "\n")), {}, 0}),
              Answer::kAccepted);
  }
  int64_t Used() { return rig_.runtime.budget().UsedBytes() - rig_.worker.lease().LeftBytes(); }
  Ref<internal::Spoke> SpokeOf(const Member& member) {
    return Ref<internal::Spoke>(member.subscription.spoke, member.subscription.spoke_generation);
  }
  HubTotals Totals() { return HubLedger::Of(rig_.runtime); }
  void CheckSums() {
    const HubTotals t = Totals();
    EXPECT_EQ(t.due, t.received + t.missed + t.conflated + t.skipped + t.queued) << t.ToString();
    rig_.runtime.Attachment<HubLedger>(1).CheckInvariants(0);
  }
  // Takes turns until a round has begun, but not ended.
  void IntoARound() {
    rig_.os.tick_ns = 1'000'000;  // Time passes, so a portion takes its share of a turn.
    const int64_t due = Totals().due;
    while (Totals().due == due) rig_.worker.Turn(0);
    ASSERT_LT(Totals().due, due + static_cast<int64_t>(members_.size()));
  }
  static Texts Lines(const Wire& wire) {
    return absl::StrSplit(wire.output, '\n', absl::SkipEmpty());
  }

  Rig rig_;
  Ref<Hub> hub_;
  std::vector<Member*> members_;
  std::vector<Wire*> wires_;
};

TEST_F(HubPortions, TimersKeepTimeWhileACrowdIsWrittenTo) {
  constexpr int kMembers = 8'000;
  constexpr int kMessages = 16;
  Join(kMembers);
  Member* const light = Open(Ref<Hub>());
  Turns();
  WritesTakeTime();
  Wire& wire = *wires_.back();
  int64_t late_ms = 0;
  rig_.runtime.Spawn<Clock>(&late_ms);
  for (int i = 1; i <= kMessages; ++i) Say(i);
  const int64_t begin_ms = rig_.worker.NowMs();
  int64_t echo_ms = 0;
  int64_t echo_ms_most = 0;
  size_t said = 0;
  ASSERT_NE(light, nullptr);
  while (Totals().received < int64_t{kMembers} * kMessages) {
    if (wire.output.size() == said) {
      echo_ms_most = std::max(echo_ms_most, echo_ms == 0 ? 0 : rig_.worker.NowMs() - echo_ms);
      rig_.Arrive(wire, "x");
      echo_ms = rig_.worker.NowMs();
      ++said;
    }
    rig_.worker.Turn(rig_.worker.NowMs());
  }
  // Late timers and echoes come.
  for (int i = 0; i < 4; ++i) rig_.worker.Turn(rig_.worker.NowMs());
  echo_ms_most = std::max(echo_ms_most, rig_.worker.NowMs() - echo_ms);
  std::printf(
      "%d messages to %d subscribers: %d ms, a timer at most %d ms late, an echo at most %d\n",
      kMessages, kMembers, static_cast<int>(rig_.worker.NowMs() - begin_ms),
      static_cast<int>(late_ms), static_cast<int>(echo_ms_most));
  EXPECT_LE(late_ms, 5);
  EXPECT_LE(echo_ms_most, 5);
  // Messages that wait for one subscriber still leave in one write.
  EXPECT_LE(wires_[0]->writes, 4);
  for (int i = 0; i < kMembers; ++i) {
    ASSERT_EQ(Lines(*wires_[i]).size(), static_cast<size_t>(kMessages)) << i;
    ASSERT_EQ(Lines(*wires_[i]).back(), absl::StrCat(kMessages));
  }
  CheckSums();
}

// A user's handler writes to a crowd by itself, without a hub.
TEST_F(HubPortions, OutputToACrowdAlwaysLeavesInPortions) {
  constexpr int kMembers = 4'000;
  std::vector<Member*> members;
  for (int i = 0; i < kMembers; ++i) members.push_back(Open(Ref<Hub>()));
  Turns();
  WritesTakeTime();
  int64_t late_ms = 0;
  rig_.runtime.Spawn<Clock>(&late_ms);
  rig_.os.Advance(absl::Milliseconds(1));
  rig_.worker.Turn(0);
  late_ms = 0;
  rig_.worker.RunHandler(members[0]->slot(), "test", [&] {
    for (Member* member : members) {
      EXPECT_EQ(member->connection()->Write(Bytes::Copy("x")), Answer::kAccepted);
    }
  });
  int turns = 0;
  while (wires_.front()->output.empty() || wires_.back()->output.empty()) {
    rig_.worker.Turn(0);
    ASSERT_LT(++turns, kMembers);
  }
  for (int i = 0; i < 4; ++i) rig_.worker.Turn(0);
  for (const Wire* wire : wires_) EXPECT_EQ(wire->output, "x");
  EXPECT_LE(late_ms, 5);
}

TEST_F(HubPortions, JoinerInARoundGetsOnlyLaterMessages) {
  Join(100);
  Say(1);
  IntoARound();
  Say(2);
  Member* const late = Open(hub_);
  Turns();
  ASSERT_TRUE(late->subscription.Joined());
  Say(3);
  Turns();
  const auto joined = static_cast<int>(late->subscription.sequence);
  ASSERT_GE(joined, 1);
  Texts expected;
  for (int i = joined + 1; i <= 3; ++i) expected.push_back(absl::StrCat(i));
  EXPECT_EQ(Lines(*wires_.back()), expected);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Lines(*wires_[i]), (Texts{"1", "2", "3"}));
  CheckSums();
}

// The test tries every place of the round, for the member that goes and for the one behind it.
TEST_F(HubPortions, LeaverInARoundTakesNoOtherAlong) {
  constexpr int kMembers = 3 * static_cast<int>(internal::Spoke::kPortionMax);
  for (int gone = 0; gone < kMembers; ++gone) {
    members_.clear();
    wires_.clear();
    Join(kMembers);
    Say(1);
    IntoARound();
    if (gone % 2 == 0) {
      members_[gone]->Abort();
    } else {
      Unsubscribe(*members_[gone], members_[gone]->subscription);
    }
    Turns();
    Say(2);
    Turns();
    CheckSums();
    for (int i = 0; i < kMembers; ++i) {
      if (i == gone) continue;
      ASSERT_EQ(Lines(*wires_[i]), (Texts{"1", "2"})) << i << ", where " << gone << " goes";
    }
    for (Wire* wire : wires_) {
      if (!wire->closed) rig_.Fin(*wire);
    }
    Turns();
  }
}

TEST_F(HubPortions, ParkingRoomIsNeverGivenMoreThanFits) {
  Join(40);
  const int64_t before = Totals().due;
  Member* const slow = Open(hub_, {.slow = SlowPolicy::kPark, .queue_messages_max = 3});
  Turns();
  ASSERT_TRUE(slow->subscription.Joined());
  Wire& wire = *wires_.back();
  wire.room = 0;
  rig_.worker.RunHandler(slow->slot(), "test", [&] {
    // Fills the output above its low watermark.
    EXPECT_EQ(slow->connection()->Write(Bytes::Copy(std::string(20'000, '.') + "\n")),
              Answer::kAccepted);
  });
  for (int i = 1; i <= 30; ++i) Say(i);
  Turns();
  EXPECT_EQ(Totals().queued, 3);
  EXPECT_EQ(Totals().due - before, 3 * 41);
  CheckSums();
  wire.room = 1 << 30;
  rig_.os.Event(wire, EPOLLOUT);
  Turns();
  for (const Wire* each : wires_) EXPECT_EQ(Lines(*each).back(), "30");
  EXPECT_EQ(Lines(wire).size(), 31u);
  EXPECT_EQ(Totals().missed, 0);
  CheckSums();
}

TEST_F(HubPortions, HubThatEndsInARoundLeavesNothing) {
  Join(100);
  Say(1);
  IntoARound();
  hub_.Stop();
  Turns();
  CheckSums();
  EXPECT_EQ(Totals().queued, 0);
  for (const Wire* wire : wires_) EXPECT_FALSE(wire->closed);
}

// The first message of a batch has come. The second one finds that all members have gone.
TEST_F(HubPortions, BatchWithoutReceiversIsGivenUp) {
  const int64_t before = Used();
  Join(40);
  const Ref<internal::Spoke> spoke = SpokeOf(*members_[0]);
  for (uint64_t sequence : {1, 2}) {
    const Bytes payload = *Bytes::Copy(std::string(10'000, 'x'), rig_.runtime.budget());
    ASSERT_EQ(spoke.TrySend(internal::Deliver{payload, sequence, {}}), Answer::kAccepted);
  }
  rig_.os.tick_ns = 2'000'000;  // Time passes, so a slice ends with each message.
  rig_.worker.Turn(0);
  ASSERT_FALSE(spoke.slot()->queue.Empty());
  for (Member* member : members_) {
    rig_.worker.RunHandler(member->slot(), "test", [&] { member->Abort(); });
  }
  ASSERT_FALSE(spoke.slot()->queue.Empty());
  rig_.os.tick_ns = 0;
  Turns();
  EXPECT_EQ(Used(), before) << "a payload is still held";
  CheckSums();
}

// The envelope that paid for the payload is gone, and nothing else may hold the payload.
TEST_F(HubPortions, PayloadIsChargedWhileItsRoundLasts) {
  constexpr int64_t kPayloadBytes = 1 << 20;
  Join(100, {.filter = [](std::string_view, uint64_t) { return false; }});
  const int64_t before = Used();
  for (const bool fails : {false, true}) {
    ASSERT_EQ(hub_.TrySend(Publish{Bytes::Copy(std::string(kPayloadBytes, 'x')), {}, 0}),
              Answer::kAccepted);
    IntoARound();
    EXPECT_GE(Used() - before, kPayloadBytes);
    EXPECT_LE(Used() - before, 2 * kPayloadBytes);
    rig_.os.tick_ns = 0;
    if (fails) {
      rig_.worker.life().Fail(members_[0]->subscription.spoke,
                              std::make_exception_ptr(std::runtime_error("out of order")));
    }
    Turns();
    if (!fails) {
      EXPECT_EQ(Used(), before);
    }
    CheckSums();
  }
  rig_.worker.lease().ReturnIdle();
  EXPECT_EQ(rig_.runtime.budget().UsedBytes(), 0);
}

// A session waits to join, with its greeting, behind a batch that is being handed round.
TEST_F(HubPortions, FailedSpokeRefusesWaitingJoinsWithoutCounting) {
  constexpr int64_t kGreetingBytes = 1 << 20;
  Join(100, {.filter = [](std::string_view, uint64_t) { return false; }});
  Slot* const spoke = members_[0]->subscription.spoke;
  Member* const late = Open(Ref<Hub>());
  Turns();
  const int64_t before = Used();
  Say(1);
  rig_.worker.RunHandler(late->slot(), "test", [&] {
    EXPECT_EQ(late->Send(hub_, Subscribe(late, {}, std::string(kGreetingBytes, 'x'))),
              Answer::kAccepted);
  });
  rig_.os.tick_ns = 1'000'000;
  while (!spoke->queue.Empty() || Totals().due == 0) rig_.worker.Turn(0);
  ASSERT_LT(Totals().due, 100);
  ASSERT_EQ(late->told, 0);
  EXPECT_GE(Used() - before, kGreetingBytes);
  rig_.os.tick_ns = 0;
  rig_.worker.life().Fail(spoke, std::make_exception_ptr(std::runtime_error("out of order")));
  Turns();
  EXPECT_EQ(late->told, 1);
  EXPECT_FALSE(late->subscription.Joined());
  CheckSums();
  // The hub counts no subscriber there: it sends no message to a worker without subscribers.
  const int64_t handled = rig_.worker.ledger().delivered;
  Say(2);
  Turns();
  EXPECT_EQ(rig_.worker.ledger().delivered, handled + 1);
  rig_.worker.lease().ReturnIdle();
  EXPECT_EQ(rig_.runtime.budget().UsedBytes(), 0);
}

// A subscription is charged, since many hubs may have the same connection as a subscriber.
TEST_F(HubPortions, ASubscriberIsSmallAndPaysForItself) {
  constexpr int kMembers = 1'000;
  std::vector<Member*> members;
  for (int i = 0; i < kMembers; ++i) members.push_back(Open(Ref<Hub>()));
  Turns();
  const int64_t before = Used();
  for (Member* member : members) {
    rig_.worker.RunHandler(member->slot(), "test", [&] { (void)hub_.TrySend(Subscribe(member)); });
    Turns();
  }
  const int64_t each = (Used() - before) / kMembers;
  std::printf("a subscriber: %d bytes\n", static_cast<int>(each));
  EXPECT_GE(each, static_cast<int64_t>(sizeof(internal::Subscriber)));
  EXPECT_LE(each, 200);
  for (Member* member : members) Unsubscribe(*member, member->subscription);
  Turns();
  EXPECT_EQ(Used(), before);
  CheckSums();
}

TEST_F(HubPortions, WhereMemoryIsSpentNobodyJoins) {
  Join(1);
  rig_.worker.lease().ReturnIdle();
  rig_.TakeMemory(true);
  Member* const late = Open(Ref<Hub>());
  rig_.worker.RunHandler(late->slot(), "test",
                         [&] { EXPECT_EQ(late->Send(hub_, Subscribe(late)), Answer::kAccepted); });
  Turns();
  EXPECT_FALSE(late->subscription.Joined());
  rig_.TakeMemory(false);
  rig_.Advance(absl::Milliseconds(20));
  rig_.worker.RunHandler(late->slot(), "test",
                         [&] { EXPECT_EQ(late->Send(hub_, Subscribe(late)), Answer::kAccepted); });
  Turns();
  EXPECT_TRUE(late->subscription.Joined());
  CheckSums();
}

}  // namespace
}  // namespace sluice::testing::hub_portions_test
