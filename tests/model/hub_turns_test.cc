// Tests of a hub with subscribers on its own worker and on another one, and a publisher on a third,
// in every order of their turns: a subscriber joins, leaves, joins again, stalls or dies between
// any two turns while others publish.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/tests/model/turns.h"

namespace sluice::model {
namespace {

using testing::Wire;

struct Go {
  int count;
};
struct JoinAgain {};

class Publisher : public Actor {
 public:
  explicit Publisher(Ref<Hub> hub) : hub_(hub) {}
  void On(Go go) {
    for (int i = 0; i < go.count; ++i) {
      const Bytes bytes = *Bytes::Copy(absl::StrCat(++number_, "\n"), runtime().budget());
      // Refused in no order of turns: a lost message would be found missing.
      (void)Send(hub_, Publish{bytes, {}});
    }
  }

 private:
  const Ref<Hub> hub_;
  int number_ = 0;
};

// Notifications to one member, in order; outlives the member.
struct Told {
  std::vector<int64_t> joined_after;  // The sequence of each subscription.
  std::vector<int64_t> left_after;    // The sequence at each subscription's end.
  std::vector<int64_t> ordered;       // The hub's last sequence when the member asked to leave.
  int refused = 0;
};

class Member : public Session {
 public:
  Member(Ref<Hub> hub, SubscribeOptions options, Told* told)
      : hub_(hub), options_(options), told_(*told) {}
  void OnOpen() override { Join(); }
  void OnData(Input& in) override { in.TakeAll(); }
  void On(Subscribed subscription) {
    if (!subscription.Joined()) {
      ++told_.refused;
      return;
    }
    told_.joined_after.push_back(static_cast<int64_t>(subscription.sequence));
    subscription_ = subscription;
  }
  void On(Unsubscribed unsubscribed) {
    if (unsubscribed.sequence.has_value()) {
      told_.left_after.push_back(static_cast<int64_t>(*unsubscribed.sequence));
    }
  }
  void On(JoinAgain) {
    if (subscription_.Joined()) told_.ordered.push_back(HubLedger::Of(runtime()).published);
    Unsubscribe(*this, subscription_);
    Join();
  }

 private:
  void Join() {
    if (Send(hub_, Subscribe(this, options_, "joined\n")) != Answer::kAccepted) ++told_.refused;
  }
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
  Told& told_;
  Subscribed subscription_;
};

struct Story {
  int publishes = 3;
  SlowPolicy slow = SlowPolicy::kDropOldest;
  bool joins_late = false;    // The far member opens at any time.
  bool joins_again = false;   // The far member leaves and joins, at any time.
  bool stands_still = false;  // The far socket takes nothing until some time.
  bool dies = false;          // The far socket is reset, at any time.
};

Options HubTurnsOptions() {
  Options options = testing::WireOptions();
  options.workers = 3;
  options.mailbox_messages_max = 2;
  options.output_bytes_low = 0;  // The first message waits in the output, all others in the hub.
  return options;
}

class HubSystem : public TurnsSystem {
 public:
  explicit HubSystem(const Story& story)
      : TurnsSystem(HubTurnsOptions()), story_(story), near_(os.NewWire()), far_(os.NewWire()) {
    const auto on = [](int worker) {
      return SpawnOptions{.name = "", .mailbox_messages_max = 0, .worker = worker};
    };
    hub_ = runtime.SpawnWith<Hub>(
        on(0), HubOptions{[](int64_t missed) { return absl::StrCat("missed ", missed, "\n"); }});
    publisher_ = runtime.SpawnWith<Publisher>(on(2), hub_);
    Settle();
    Open<Member>(0, near_, hub_, SubscribeOptions{}, &near_told_);
    if (!story.joins_late) OpenFar();
    Settle();
    if (story.stands_still) far_.room = 0;
    outside.push_back({[this] { (void)publisher_.TrySend(Go{story_.publishes}); }});
    outside.emplace_back();
    if (story.joins_late) outside[1].push_back([this] { OpenFar(); });
    if (story.joins_again) outside[1].push_back([this] { (void)far_member_.TrySend(JoinAgain{}); });
    if (story.stands_still) {
      outside[1].push_back([this] {
        far_.room = 1 << 20;
        os.Event(far_, EPOLLOUT);
      });
    }
    if (story.dies) {
      outside[1].push_back([this] {
        far_.read_error = far_.write_error = far_.socket_error = ECONNRESET;
        os.Event(far_, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR);
      });
    }
  }

  void CheckEnd() override {
    // A last message, when all is at rest: every subscriber in the hub gets it.
    (void)publisher_.TrySend(Go{1});
    Settle();
    const int64_t last = story_.publishes + 1;
    CheckLines("near", near_, near_told_, last);
    if (!story_.dies) CheckLines("far", far_, far_told_, last);
    Expect(far_.closed == story_.dies, "the far connection");
    const HubTotals totals = HubLedger::Of(runtime);
    Expect(totals.published == last, totals.ToString());
    Expect(totals.due == totals.received + totals.missed && totals.queued == 0, totals.ToString());
    if (story_.slow == SlowPolicy::kPark && !story_.dies) {
      Expect(totals.missed == 0, totals.ToString());
    }
  }

 private:
  void OpenFar() {
    Slot* slot = Open<Member>(
        1, far_, hub_, SubscribeOptions{.slow = story_.slow, .queue_messages_max = 1}, &far_told_);
    far_member_ = Ref<Member>(slot, slot->generation);
  }

  // After the n-th "joined", each number behind the n-th sequence comes once, in order, or is
  // reported as missed, up to the last number before the member left.
  void CheckLines(const char* who, const Wire& wire, const Told& told, int64_t last) {
    int64_t next = 0;
    size_t joins = 0;
    for (absl::string_view line : absl::StrSplit(wire.output, '\n', absl::SkipEmpty())) {
      int64_t number = 0;
      if (line == "joined") {
        if (joins == told.joined_after.size()) return Expect(false, "joined, and not told so");
        Expect(told.joined_after[joins] + 1 >= next, absl::StrCat(who, " would get one again"));
        if (joins > 0) CheckLeft(who, told, next - 1);
        next = told.joined_after[joins++] + 1;
      } else if (absl::ConsumePrefix(&line, "missed ")) {
        Expect(absl::SimpleAtoi(line, &number), "a number");
        next += number;
      } else {
        Expect(absl::SimpleAtoi(line, &number) && number == next,
               absl::StrCat(who, " got ", std::string(line), " and not ", next));
        ++next;
      }
    }
    Expect(joins == told.joined_after.size() && joins > 0, "told that it joined, and did not");
    Expect(next == last + 1, absl::StrCat(who, " has all before ", next, " and not the last"));
  }

  // The member leaves once. `last` is the last number that it got, or that was reported as missed.
  void CheckLeft(const char* who, const Told& told, int64_t last) {
    Expect(told.ordered.size() == 1 && last >= told.ordered[0],
           absl::StrCat(who, " has left behind ", last, ", ahead of what was in order"));
    Expect(told.left_after.size() == 1 && last == told.left_after[0],
           absl::StrCat(who, " has left behind ", last, ", and is told otherwise"));
  }

  const Story story_;
  Wire& near_;
  Wire& far_;
  Told near_told_;
  Told far_told_;
  Ref<Hub> hub_;
  Ref<Publisher> publisher_;
  Ref<Member> far_member_;
};

void ExpectHolds(const Story& story, int64_t orders) {
  const TurnsReport report = AllTurns<HubSystem>(2'000'000, story);
  std::printf("%s\n", report.Summary().c_str());
  EXPECT_EQ(report.failure, "");
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.runs, orders);
}

TEST(HubTurns, SubscriberGetsEverythingPublishedAfterItJoins) {
  ExpectHolds({.joins_late = true}, 100);
}

TEST(HubTurns, RejoiningSubscriberIsKeptAndGetsNothingTwice) {
  ExpectHolds({.joins_again = true}, 100);
  ExpectHolds({.publishes = 2, .joins_late = true, .joins_again = true}, 500);
}

TEST(HubTurns, StalledSubscriberIsToldExactlyWhatItMissed) {
  ExpectHolds({.publishes = 4, .stands_still = true}, 80);
}

TEST(HubTurns, ParkingSubscriberSlowsThePublisherAndMissesNothing) {
  ExpectHolds({.publishes = 5, .slow = SlowPolicy::kPark, .stands_still = true}, 400);
}

TEST(HubTurns, DyingSubscriberHoldsUpNobody) {
  ExpectHolds({.dies = true}, 100);
  ExpectHolds({.publishes = 4, .slow = SlowPolicy::kPark, .stands_still = true, .dies = true}, 500);
}

}  // namespace
}  // namespace sluice::model
