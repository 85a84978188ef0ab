// Tests of the effect of each policy and of a filter on a subscriber with a socket that takes
// nothing: exact counts, stepped.
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::hub_policy_test {
namespace {

std::string Notice(int64_t missed) { return absl::StrCat("missed ", missed, "\n"); }

class Member : public Session {
 public:
  Member(Ref<Hub> hub, SubscribeOptions options) : hub_(hub), options_(std::move(options)) {}
  void OnOpen() override { EXPECT_EQ(Send(hub_, Subscribe(this, options_)), Answer::kAccepted); }
  void On(Subscribed) {}
  void OnData(Input& in) override { in.TakeAll(); }
  void OnClose(CloseReason) override {
    if (on_close != nullptr) on_close();
  }
  using Session::Abort;
  std::function<void()> on_close;

 private:
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
};

Options HubPolicyOptions() {
  Options options = WireOptions();
  options.output_bytes_low = 0;  // The first message waits in the output, all others in the hub.
  return options;
}

class HubPolicy : public ::testing::Test {
 protected:
  HubPolicy() : rig_(HubPolicyOptions()), hub_(rig_.runtime.Spawn<Hub>(HubOptions{&Notice})) {
    rig_.Settle();
  }
  Wire& Join(SubscribeOptions options, int64_t room = 0) {
    Wire& wire = rig_.os.NewWire();
    wire.room = room;
    Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                     hub_, std::move(options));
    rig_.Settle();
    member_ = static_cast<Member*>(slot->actor);
    return wire;
  }
  void Say(const std::string& text, uint64_t key = 0) {
    EXPECT_EQ(hub_.TrySend(Publish{*Bytes::Copy(text + "\n", rig_.runtime.budget()), {}, key}),
              Answer::kAccepted);
    rig_.Settle();
    CheckSums();
  }
  void Room(Wire& wire, int64_t bytes = 1 << 30) {
    rig_.Room(wire, bytes);
    rig_.Settle();
    CheckSums();
  }
  HubTotals Totals() { return rig_.runtime.Attachment<HubLedger>(1).Sum(); }
  void CheckSums() {
    const HubTotals t = Totals();
    EXPECT_EQ(t.due, t.received + t.missed + t.conflated + t.skipped + t.queued) << t.ToString();
  }
  static std::vector<std::string> Lines(const Wire& wire) {
    return absl::StrSplit(wire.output, '\n', absl::SkipEmpty());
  }
  using Texts = std::vector<std::string>;

  Rig rig_;
  Ref<Hub> hub_;
  Member* member_ = nullptr;  // The last one that joined.
};

TEST_F(HubPolicy, ConflatePutsTheNewestInTheFirstsPlace) {
  Wire& wire = Join({.slow = SlowPolicy::kConflate});
  Say("first", 9);  // Already in the output: nothing replaces it.
  Say("a1", 1);
  Say("b1", 2);
  Say("c1", 3);
  Say("a2", 1);
  Say("a3", 1);
  Say("b2", 2);
  Say("first again", 9);
  EXPECT_EQ(Totals().conflated, 3);
  EXPECT_EQ(Totals().missed, 0);
  EXPECT_EQ(Totals().queued, 4);
  Room(wire);
  EXPECT_EQ(Lines(wire), (Texts{"first", "missed 2", "a3", "missed 1", "b2", "c1", "first again"}));
  EXPECT_EQ(Totals().received, 5);
  // After the subscriber has caught up, each key starts empty.
  Say("a4", 1);
  EXPECT_EQ(Lines(wire).back(), "a4");
  EXPECT_EQ(Totals().due, 9);
}

TEST_F(HubPolicy, EndDropsSubscribersInTheirOrderOfJoining) {
  struct Held {
    std::shared_ptr<std::vector<int>> forgotten;  // Members have a copy, and live longer.
    int number;
    ~Held() { forgotten->push_back(number); }
  };
  const auto forgotten = std::make_shared<std::vector<int>>();
  for (int i = 0; i < 30; ++i) {
    const Held held{forgotten, i};
    Join({.filter = [held](std::string_view, uint64_t) { return held.number >= 0; }});
  }
  forgotten->clear();  // Copies on the way do not count.
  hub_.Stop();
  rig_.Settle();
  std::vector<int> came(30);
  std::iota(came.begin(), came.end(), 0);
  EXPECT_EQ(*forgotten, came);
}

TEST_F(HubPolicy, ConflatePastItsKeysDropsTheLongestWaiting) {
  Wire& wire = Join({.slow = SlowPolicy::kConflate, .keys_max = 2});
  Say("first", 9);
  Say("a1", 1);
  Say("a2", 1);
  Say("b1", 2);
  Say("c1", 3);  // a2 is dropped, and with it the notice of a1.
  Say("a3", 1);  // b1 is dropped.
  Say("c2", 3);
  EXPECT_EQ(Totals().queued, 2);
  EXPECT_EQ(Totals().missed, 2);
  EXPECT_EQ(Totals().conflated, 2);
  Room(wire);
  EXPECT_EQ(Lines(wire), (Texts{"first", "missed 4", "c2", "a3"}));
}

TEST_F(HubPolicy, WithoutKeysConflateKeepsTheNewestAlone) {
  Wire& wire = Join({.slow = SlowPolicy::kConflate});
  for (int i = 1; i <= 100; ++i) Say(absl::StrCat(i));
  EXPECT_EQ(Totals().queued, 1);
  Room(wire);
  EXPECT_EQ(Lines(wire), (Texts{"1", "missed 98", "100"}));
}

TEST_F(HubPolicy, FilteredMessagesAreSkippedNotMissed) {
  const auto even = [](std::string_view payload, uint64_t) {
    return (payload[payload.size() - 2] - '0') % 2 == 0;
  };
  const auto keyed = [](std::string_view, uint64_t key) { return key == 7; };
  Wire& evens = Join({.queue_messages_max = 2, .filter = even});
  Wire& sevens = Join({.filter = keyed}, 1 << 30);
  for (int i = 1; i <= 20; ++i) Say(absl::StrCat(i), i % 5 == 0 ? 7 : 0);
  // 2 is in the output, 18 and 20 wait; the filter skipped ten.
  Room(evens);
  EXPECT_EQ(Lines(evens), (Texts{"2", "missed 7", "18", "20"}));
  EXPECT_EQ(Lines(sevens), (Texts{"5", "10", "15", "20"}));
  EXPECT_EQ(Totals().skipped, 10 + 16);
  EXPECT_EQ(Totals().missed, 7);
  EXPECT_EQ(Totals().due, 40);
}

TEST_F(HubPolicy, ThrowingFilterEndsOnlyItsSubscriber) {
  Wire& before = Join({}, 1 << 30);
  Wire& thrower = Join({.filter = [](std::string_view, uint64_t key) -> bool {
                         if (key == 13) throw std::runtime_error("thirteen");
                         return true;
                       }},
                       1 << 30);
  Wire& another = Join({.filter = [](std::string_view, uint64_t key) -> bool {
                         if (key == 14) throw 14;
                         return true;
                       }},
                       1 << 30);
  Say("one", 1);
  Say("two", 13);
  Say("three", 14);
  EXPECT_EQ(Lines(before), (Texts{"one", "two", "three"}));
  EXPECT_EQ(Lines(thrower), (Texts{"one"}));
  EXPECT_EQ(Lines(another), (Texts{"one", "two"}));
  EXPECT_TRUE(thrower.closed && another.closed);
  EXPECT_FALSE(before.closed);
  EXPECT_EQ(rig_.Closed(CloseReason::kFailed), 2);
  EXPECT_EQ(Totals().missed, 2);
}

TEST_F(HubPolicy, EachSubscriberThatParksHasItsOwnDeadline) {
  const auto park = [](absl::Duration timeout) {
    return SubscribeOptions{
        .slow = SlowPolicy::kPark, .queue_messages_max = 1, .park_timeout = timeout};
  };
  Wire& second = Join(park(absl::Seconds(2)));
  Wire& third = Join(park(absl::Seconds(3)));
  Wire& forever = Join(park(absl::InfiniteDuration()));
  Wire& good = Join({}, 1 << 30);
  Say("1");
  Say("2");  // The queues are full: no subscriber is served any more.
  Say("3");
  Say("4");
  EXPECT_EQ(Lines(good), (Texts{"1", "2"}));
  rig_.Advance(absl::Milliseconds(1'990));
  EXPECT_FALSE(second.closed);
  // The third peer takes some bytes in time: its queue has room, so the hub does not wait for it.
  Room(third, 2);
  rig_.Advance(absl::Milliseconds(20));
  EXPECT_TRUE(second.closed);
  for (int i = 0; i < 50; ++i) rig_.Advance(absl::Seconds(1));
  EXPECT_EQ(rig_.Closed(CloseReason::kSlow), 1);
  EXPECT_FALSE(third.closed || forever.closed);
  EXPECT_EQ(Lines(good), (Texts{"1", "2"}));
  Room(forever);
  Room(third);
  EXPECT_EQ(Lines(good), (Texts{"1", "2", "3", "4"}));
  EXPECT_EQ(Lines(forever), (Texts{"1", "2", "3", "4"}));
}

// While a message is handed round, some subscribers are ended as slow and the sockets of others
// fail. All combinations of fates of five subscribers are tried.
TEST_F(HubPolicy, StayingSubscriberGetsEachMessageWhileOthersEnd) {
  constexpr int kMembers = 5;
  enum Fate { kStays, kIsSlow, kFails, kFates };
  for (int fates = 0; fates < 3 * 3 * 3 * 3 * 3; ++fates) {
    std::vector<std::pair<Wire*, Fate>> all;
    for (int i = 0, rest = fates; i < kMembers; ++i, rest /= kFates) {
      const auto fate = static_cast<Fate>(rest % kFates);
      Wire& wire = Join({.slow = SlowPolicy::kDisconnect, .queue_messages_max = 1},
                        fate == kIsSlow ? 0 : 1 << 30);
      all.emplace_back(&wire, fate);
    }
    Say("1");
    Say("2");  // The slow ones are full.
    for (auto [wire, fate] : all) {
      if (fate == kFails) wire->write_error = ECONNRESET;  // No event has reported it yet.
    }
    Say("3");
    for (size_t i = 0; i < all.size(); ++i) {
      const auto [wire, fate] = all[i];
      EXPECT_EQ(wire->closed, fate != kStays) << "number " << i << " of fates " << fates;
      if (fate == kStays) {
        EXPECT_EQ(Lines(*wire), (Texts{"1", "2", "3"})) << "number " << i << " of fates " << fates;
      }
      if (!wire->closed) rig_.Fin(*wire);
    }
    rig_.Settle();
  }
}

// The same, but in the middle of that a session's OnClose ends another session.
TEST_F(HubPolicy, MembersGetAllThoughOnCloseEndsAnother) {
  constexpr int kMembers = 4;
  for (int slow = 0; slow < kMembers; ++slow) {
    for (int other = 0; other < kMembers; ++other) {
      if (slow == other) continue;
      std::vector<Wire*> wires;
      std::vector<Member*> members;
      for (int i = 0; i < kMembers; ++i) {
        wires.push_back(&Join({.slow = SlowPolicy::kDisconnect, .queue_messages_max = 1},
                              i == slow ? 0 : 1 << 30));
        members.push_back(member_);
      }
      members[slow]->on_close = [&] { members[other]->Abort(); };
      Say("1");
      Say("2");
      Say("3");
      for (int i = 0; i < kMembers; ++i) {
        EXPECT_EQ(wires[i]->closed, i == slow || i == other) << i;
        if (wires[i]->closed) continue;
        EXPECT_EQ(Lines(*wires[i]), (Texts{"1", "2", "3"}))
            << i << ", where " << slow << " ends " << other;
        rig_.Fin(*wires[i]);
      }
      rig_.Settle();
    }
  }
}

// A payload that is not charged yet is charged to each subscriber that keeps it.
TEST_F(HubPolicy, UnchargedPayloadIsChargedWhereItWaits) {
  for (SlowPolicy policy : {SlowPolicy::kDropOldest, SlowPolicy::kConflate}) {
    rig_.worker.lease().ReturnIdle();
    Wire& wire = Join({.slow = policy, .queue_messages_max = 8, .keys_max = 8});
    Say("first");
    const int64_t before = rig_.runtime.budget().UsedBytes() - rig_.worker.lease().LeftBytes();
    for (uint64_t i = 0; i < 20; ++i) {
      EXPECT_EQ(hub_.TrySend(Publish{Bytes::Copy(std::string(10'000, 'x')), {}, 1 + i % 12}),
                Answer::kAccepted);
      rig_.Settle();
    }
    const int64_t held =
        rig_.runtime.budget().UsedBytes() - rig_.worker.lease().LeftBytes() - before;
    EXPECT_GE(held, 80'000);
    EXPECT_LE(held, 90'000);
    Room(wire);
    wire.ended = true;
    rig_.Fin(wire);
    rig_.Settle();
    rig_.worker.lease().ReturnIdle();
    EXPECT_EQ(rig_.runtime.budget().UsedBytes(), 0);
  }
}

// A subscription's queue counts for its connection. If two peers stand still, the one with the
// longer queue is shed first, though both hold the same of each message.
TEST_F(HubPolicy, BytesOfASubscriptionCountWhenMemoryStaysSpent) {
  Wire& longer = Join({.queue_messages_max = 64});
  Wire& shorter = Join({.queue_messages_max = 8});
  Wire& reader = Join({}, 1 << 30);
  for (int i = 0; i < 65; ++i) Say(std::string(1'000, 'x'));
  Budget& budget = rig_.runtime.budget();
  rig_.worker.lease().ReturnIdle();
  const int64_t rest = budget.BytesMax() - budget.UsedBytes();
  ASSERT_TRUE(budget.Take(rest));
  EXPECT_FALSE(budget.Take(1));
  for (int i = 0; i < 208; ++i) rig_.Advance(absl::Milliseconds(5));
  EXPECT_TRUE(longer.closed);
  EXPECT_FALSE(shorter.closed);
  for (int i = 0; i < 25; ++i) rig_.Advance(absl::Milliseconds(5));
  EXPECT_TRUE(shorter.closed);
  for (int i = 0; i < 200; ++i) rig_.Advance(absl::Milliseconds(5));
  EXPECT_FALSE(reader.closed);
  EXPECT_EQ(rig_.Closed(CloseReason::kShed), 2);
  budget.Give(rest);
  CheckSums();
}

// With any policy, room and key: what each subscriber was sent adds up, and of each key the newest
// came last.
TEST_F(HubPolicy, CountsAreExactInAnyOrderOfEvents) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 draw(seed);
    struct One {
      Wire* wire;
      SlowPolicy slow;
      bool filtered;
      int64_t joined;
      int64_t taken = 0;
    };
    const HubTotals before = Totals();
    std::vector<One> all;
    int64_t published = 0;
    std::map<uint64_t, int64_t> newest;
    for (int step = 0; step < 150; ++step) {
      if (all.size() < 4 && draw() % 8 == 0) {
        constexpr SlowPolicy kPolicies[] = {SlowPolicy::kDropOldest, SlowPolicy::kDropNewest,
                                            SlowPolicy::kConflate};
        SubscribeOptions options;
        options.slow = kPolicies[draw() % 3];
        options.queue_messages_max = 1 + draw() % 6;
        options.keys_max = 1 + draw() % 6;
        const bool filtered = draw() % 2 == 0;
        if (filtered) options.filter = [](std::string_view, uint64_t key) { return key % 2 == 0; };
        all.push_back({&Join(options, draw() % 40), options.slow, filtered, published});
      }
      if (!all.empty() && draw() % 4 == 0) Room(*all[draw() % all.size()].wire, draw() % 30);
      const uint64_t key = draw() % 5;
      Say(absl::StrCat(++published, " ", key), key);
      newest[key] = published;
    }
    for (One& one : all) {
      Room(*one.wire);
      int64_t received = 0, missed = 0, last = 0;
      std::map<uint64_t, int64_t> seen;
      for (const std::string& line : Lines(*one.wire)) {
        int64_t number = 0;
        if (line.rfind("missed ", 0) == 0) {
          ASSERT_TRUE(absl::SimpleAtoi(line.substr(7), &number));
          missed += number;
          continue;
        }
        const std::pair<std::string, std::string> words = absl::StrSplit(line, ' ');
        uint64_t key = 0;
        ASSERT_TRUE(absl::SimpleAtoi(words.first, &number));
        ASSERT_TRUE(absl::SimpleAtoi(words.second, &key));
        ++received;
        EXPECT_GT(number, seen[key]);
        seen[key] = number;
        if (one.slow != SlowPolicy::kConflate) {
          EXPECT_GT(number, last);
        }
        last = number;
      }
      int64_t skipped = 0;
      if (one.filtered) {
        // Counted from outside: all messages since the subscriber joined, less those for it.
        skipped = published - one.joined - received - missed;
        EXPECT_GE(skipped, 0);
        for (const auto& [key, number] : seen) EXPECT_EQ(key % 2, 0u);
      } else {
        EXPECT_EQ(received + missed, published - one.joined);
      }
      one.taken = skipped;
    }
    const HubTotals t = Totals();
    int64_t skipped = 0;
    for (const One& one : all) skipped += one.taken;
    EXPECT_EQ(t.skipped - before.skipped, skipped);
    EXPECT_EQ(t.queued, 0);
    for (const One& one : all) rig_.Fin(*one.wire);
    rig_.Settle();
    rig_.worker.lease().ReturnIdle();
    EXPECT_EQ(rig_.runtime.budget().UsedBytes(), 0);
  }
}

}  // namespace
}  // namespace sluice::testing::hub_policy_test
