// Tests of joins whose hub ends first: wherever the message is at that moment, who asked to join
// is told, once, that it has not joined.
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/actors/hub/subscription.h"
#include "sluice/core/actor/actor.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::hub_join_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Texts = std::vector<std::string>;

// Where the message that joins is when its hub ends.
enum class Place { kMailbox, kOutbox, kSpokesMailbox, kBehindRound };
constexpr int kFlood = 600;  // More than the hub's mailbox holds.

struct Told {
  Texts texts;
  Ref<Hub> hub;
};

struct Join {
  Ref<Hub> hub;
  bool flood = false;
  bool stop = false;
};

// What a session and an actor do alike.
template <class A>
void Do(A* self, const Join& order) {
  for (int i = order.flood ? kFlood : 0; i > 0; --i) {
    EXPECT_EQ(self->Send(order.hub, Publish{Bytes::Copy("x\n"), {}, 0}), Answer::kAccepted);
  }
  self->Begin(order.hub);
  if (order.stop) order.hub.Stop();
}

class Member : public Session {
 public:
  Member(Told* told, SubscribeOptions options) : told_(*told), options_(std::move(options)) {}
  void On(Join order) { Do(this, order); }
  void On(Subscribed subscribed) {
    told_.texts.emplace_back(subscribed.Joined() ? "joined" : "not joined");
    told_.hub = subscribed.hub;
  }
  void OnData(Input& in) override { in.TakeAll(); }
  void Begin(const Ref<Hub>& hub) {
    EXPECT_EQ(Send(hub, Subscribe(this, options_, "hello\n")), Answer::kAccepted);
  }
  using Actor::Send;

 private:
  Told& told_;
  const SubscribeOptions options_;
};

class Reader : public Actor {
 public:
  explicit Reader(Told* told) : told_(*told), news_(this) {}
  void On(Join order) { Do(this, order); }
  void Begin(const Ref<Hub>& hub) { StartTask(Joins(hub)); }
  using Actor::Send;

 private:
  Task<> Joins(Ref<Hub> hub) {
    const absl::Status joined = co_await news_.Join(hub);
    told_.texts.emplace_back(joined.ok() ? "joined" : "not joined");
  }

  Told& told_;
  Subscription news_;
};

class HubJoin : public ::testing::TestWithParam<Place> {
 protected:
  HubJoin() : rig_(HubJoinOptions()), hub_(rig_.runtime.Spawn<Hub>()) { rig_.Settle(); }
  static Options HubJoinOptions() {
    Options options = WireOptions();
    options.output_bytes_low = 0;  // The first message waits in the output, all others in the hub.
    return options;
  }
  Ref<Member> Open(Told* told, SubscribeOptions options = {}, int64_t room = 1 << 30) {
    Wire& wire = rig_.os.NewWire();
    wire.room = room;
    Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                     told, std::move(options));
    return Ref<Member>(slot, slot->generation);
  }
  void Say() { EXPECT_EQ(hub_.TrySend(Publish{Bytes::Copy("1\n"), {}, 0}), Answer::kAccepted); }

  template <class A>
  void HubEndsBeforeTheJoin(const Ref<A>& asks, Told* told) {
    const auto send = [&](Join order) {
      order.hub = hub_;
      EXPECT_EQ(asks.TrySend(std::move(order)), Answer::kAccepted);
    };
    std::vector<Told> others(100);
    switch (GetParam()) {
      case Place::kMailbox:
        send({.hub = {}, .stop = true});
        break;
      case Place::kOutbox:
        send({.hub = {}, .flood = true, .stop = true});
        break;
      case Place::kSpokesMailbox:
        Joins(Open(&others[0], {.slow = SlowPolicy::kPark, .queue_messages_max = 1}, 0));
        for (int i = 0; i < 4; ++i) Say();  // The spoke waits for its full subscriber.
        rig_.Settle();
        send({});
        rig_.Settle();
        break;
      case Place::kBehindRound:
        for (Told& other : others) Joins(Open(&other));
        rig_.os.tick_ns = 1'000'000;  // A portion of the round takes its worker's turn.
        Say();
        send({});
        do {
          rig_.worker.Turn(0);
        } while (HubLedger::Of(rig_.runtime).due == 0);
        rig_.worker.Turn(0);
        ASSERT_LT(HubLedger::Of(rig_.runtime).due, 100);
        rig_.os.tick_ns = 0;
        break;
    }
    if (GetParam() >= Place::kSpokesMailbox) {
      EXPECT_THAT(told->texts, IsEmpty());
      hub_.Stop();
    }
    rig_.Settle();
    EXPECT_THAT(told->texts, ElementsAre("not joined"));
    rig_.worker.lease().ReturnIdle();
  }
  void Joins(const Ref<Member>& member) {
    EXPECT_EQ(member.TrySend(Join{.hub = hub_}), Answer::kAccepted);
    rig_.Settle();
  }

  Rig rig_;
  const Ref<Hub> hub_;
};

TEST_P(HubJoin, SessionIsToldThatItsHubEndedFirst) {
  Told told;
  HubEndsBeforeTheJoin(Open(&told), &told);
  EXPECT_EQ(told.hub, hub_);
}

TEST_P(HubJoin, ActorIsToldThatItsHubEndedFirst) {
  Told told;
  const Ref<Reader> reader = rig_.runtime.Spawn<Reader>(&told);
  rig_.Settle();
  HubEndsBeforeTheJoin(reader, &told);
}

INSTANTIATE_TEST_SUITE_P(Places, HubJoin,
                         ::testing::Values(Place::kMailbox, Place::kOutbox, Place::kSpokesMailbox,
                                           Place::kBehindRound));

// Send has said so.
TEST_F(HubJoin, RefusedSubscribeIsAnsweredBySendAlone) {
  Told told;
  const Ref<Member> member = Open(&told);
  hub_.Stop();
  rig_.Settle();
  rig_.worker.RunHandler(member.slot(), "test", [&] {
    auto* const self = static_cast<Member*>(member.slot()->actor);
    EXPECT_EQ(self->Send(hub_, Subscribe(self)), Answer::kClosed);
  });
  rig_.Settle();
  EXPECT_THAT(told.texts, IsEmpty());
}

}  // namespace
}  // namespace sluice::testing::hub_join_test
