// Actors that take a hub's messages in their tasks.
#include "sluice/actors/hub/subscription.h"

#include <atomic>
#include <cstdint>
#include <latch>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::subscription_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Seen {
  Ref<Hub> hub;
  std::vector<std::string> lines;
  std::latch joined{1};
  std::atomic<bool> may_read{true};
  std::atomic<bool> ended{false};
  void Add(std::string line) { lines.push_back(std::move(line)); }
  std::string Text() const { return absl::StrJoin(lines, " "); }
};

// "3", or "3+2" behind two messages that it missed.
std::string TextOf(const Subscription::Message& message) {
  std::string text(message.payload.view());
  if (message.missed > 0) absl::StrAppend(&text, "+", message.missed);
  return text;
}

class Reader : public Actor {
 public:
  explicit Reader(Seen* seen) : seen_(*seen), news_(this) {}
  ~Reader() override { seen_.ended = true; }
  void OnStart() override { StartTask(Whole()); }

 protected:
  virtual Task<> Work() = 0;
  void Add(const absl::Status& status) { seen_.Add(absl::StatusCodeToString(status.code())); }
  Task<> Join(SubscribeOptions options = SubscribeOptions()) {
    const absl::Status joined = co_await news_.Join(seen_.hub, options);
    if (!joined.ok()) Add(joined);
    seen_.joined.count_down();
  }
  Task<> MayRead() {
    while (!seen_.may_read) co_await Sleep(absl::Milliseconds(1));
  }
  // Until "end".
  Task<> ReadAll() {
    while (const auto message = co_await news_.Next()) {
      seen_.Add(TextOf(*message));
      if (message->payload.view() == "end") co_return;
    }
    Add(news_.status());
  }

  Seen& seen_;
  Subscription news_;

 private:
  Task<> Whole() {
    co_await Work();
    Stop();
  }
};

class Subscriptions : public ::testing::TestWithParam<int> {
 protected:
  template <class A>
  void Start() {
    SpawnOptions there;
    there.worker = GetParam();
    seen_.hub = runtime_.SpawnWith<Hub>(there);
    SpawnOptions here;
    here.worker = 0;
    runtime_.SpawnWith<A>(here, &seen_);
    ASSERT_TRUE(runtime_.Start().ok());
    seen_.joined.wait();
  }
  void Say(std::string_view text, uint64_t key = 0) {
    Publish publish{*Bytes::Copy(text, runtime_.budget()), {}, key};
    ASSERT_TRUE(Eventually([&] { return seen_.hub.TrySend(publish) == Answer::kAccepted; }));
  }
  // All that was said has reached the reader's queue, or was dropped there.
  void Arrives(int64_t count) {
    ASSERT_TRUE(Eventually([&] { return HubLedger::Of(runtime_).due >= count; }));
  }
  std::string End() {
    EXPECT_TRUE(Eventually([&] { return seen_.ended.load(); }));
    runtime_.Drain(kLong);
    const HubTotals totals = HubLedger::Of(runtime_);
    EXPECT_EQ(totals.due, totals.received + totals.missed + totals.conflated + totals.skipped)
        << totals.ToString();
    EXPECT_EQ(totals.queued, 0);
    const Ledger ledger = runtime_.TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
    EXPECT_EQ(runtime_.budget().UsedBytes(), 0);
    return seen_.Text();
  }

  Seen seen_;
  Runtime runtime_{SmallOptions(2)};
};

class ReadsAll : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    co_await Join();
    co_await ReadAll();
  }
};
TEST_P(Subscriptions, EachMessageComesInOrder) {
  Start<ReadsAll>();
  std::string all;
  for (int i = 0; i < 1'000; ++i) {
    Say(absl::StrCat(i));
    absl::StrAppend(&all, i, " ");
    Arrives(i - 100);  // The queue has 256 places.
  }
  Say("end");
  EXPECT_EQ(End(), all + "end");
}

class ReadsLate : public Reader {
 public:
  ReadsLate(Seen* seen, SlowPolicy slow) : Reader(seen), slow_(slow) {}
  Task<> Work() override {
    SubscribeOptions options;
    options.slow = slow_;
    options.queue_messages_max = 3;
    options.keys_max = 3;
    co_await Join(std::move(options));
    co_await MayRead();
    co_await ReadAll();
  }

 private:
  const SlowPolicy slow_;
};
class Oldest : public ReadsLate {
 public:
  explicit Oldest(Seen* seen) : ReadsLate(seen, SlowPolicy::kDropOldest) {}
};
TEST_P(Subscriptions, AMessageSaysHowManyWereMissedBeforeIt) {
  seen_.may_read = false;
  Start<Oldest>();
  for (int i = 0; i < 9; ++i) Say(absl::StrCat(i));
  Say("end");
  Arrives(10);
  seen_.may_read = true;
  EXPECT_EQ(End(), "7+7 8 end");
}

class Newest : public ReadsLate {
 public:
  explicit Newest(Seen* seen) : ReadsLate(seen, SlowPolicy::kDropNewest) {}
};
TEST_P(Subscriptions, ADroppedNewestIsToldByTheNextOne) {
  seen_.may_read = false;
  Start<Newest>();
  for (int i = 0; i < 5; ++i) Say(absl::StrCat(i));
  Arrives(5);
  seen_.may_read = true;
  ASSERT_TRUE(Eventually([&] { return HubLedger::Of(runtime_).queued == 0; }));
  Say("end");
  EXPECT_EQ(End(), "0 1 2 end+2");
}

class Conflates : public ReadsLate {
 public:
  explicit Conflates(Seen* seen) : ReadsLate(seen, SlowPolicy::kConflate) {}
};
TEST_P(Subscriptions, TheNewestOfAKeyReplacesTheOlder) {
  seen_.may_read = false;
  Start<Conflates>();
  for (int i = 0; i < 6; ++i) Say(absl::StrCat(i), 1 + i % 2);
  Say("end", 9);
  Arrives(7);
  seen_.may_read = true;
  EXPECT_EQ(End(), "4+2 5+2 end");
}

class Leaves : public ReadsLate {
 public:
  explicit Leaves(Seen* seen) : ReadsLate(seen, SlowPolicy::kDisconnect) {}
};
TEST_P(Subscriptions, AFullQueueEndsOneThatAsksForIt) {
  seen_.may_read = false;
  Start<Leaves>();
  for (int i = 0; i < 4; ++i) Say(absl::StrCat(i));
  Arrives(4);
  seen_.may_read = true;
  EXPECT_EQ(End(), "ABORTED");
}

TEST_P(Subscriptions, TheEndOfItsHubIsToldToAWaitingTask) {
  Start<ReadsAll>();
  Say("1");
  ASSERT_TRUE(Eventually([&] { return HubLedger::Of(runtime_).received == 1; }));
  seen_.hub.Stop();
  EXPECT_EQ(End(), "1 UNAVAILABLE");
}

class Refused : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    if (const auto none = co_await news_.Next()) seen_.Add("a message");
    Add(news_.status());
    SubscribeOptions parks;
    parks.slow = SlowPolicy::kPark;
    Add(co_await news_.Join(seen_.hub, parks));
    Add(co_await news_.Join(Ref<Hub>()));
    co_await Join();
    Add(co_await news_.Join(seen_.hub));
    Subscription second(this);
    Add(co_await second.Join(seen_.hub));
    news_.Leave();
    Add(news_.status());
    Add(co_await second.Join(seen_.hub));
  }
};
TEST_P(Subscriptions, ARefusedJoinSaysWhy) {
  Start<Refused>();
  EXPECT_EQ(End(),
            "FAILED_PRECONDITION INVALID_ARGUMENT UNAVAILABLE FAILED_PRECONDITION ALREADY_EXISTS "
            "CANCELLED OK");
}

class Filters : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    SubscribeOptions options;
    options.filter = [](std::string_view payload, uint64_t key) {
      if (payload == "bad") throw std::runtime_error("a bad message");
      return key != 7;
    };
    co_await Join(std::move(options));
    co_await ReadAll();
  }
};
TEST_P(Subscriptions, AFilterRefusesAndItsErrorEndsTheSubscription) {
  Start<Filters>();
  Say("1");
  Say("2", 7);
  Say("3");
  ASSERT_TRUE(Eventually([&] { return HubLedger::Of(runtime_).received == 2; }));
  Say("bad");
  EXPECT_EQ(End(), "1 3 ABORTED");
}

class Impatient : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    co_await Join();
    for (int timeouts = 0; timeouts < 100;) {
      const auto first = co_await FirstOf(news_.Next(), Sleep(absl::Milliseconds(timeouts % 2)));
      if (first.index() == 1) {
        ++timeouts;
        continue;
      }
      seen_.Add(TextOf(*std::get<0>(first)));
      if (std::get<0>(first)->payload.view() == "end") co_return;
    }
  }
};
TEST_P(Subscriptions, ACancelledWaitLosesNoMessage) {
  Start<Impatient>();
  std::string all;
  for (int i = 0; i < 60; ++i) {
    Say(absl::StrCat(i));
    absl::StrAppend(&all, i, " ");
  }
  Say("end");
  EXPECT_EQ(End(), all + "end");
}

class Goes : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    {
      Subscription brief(this);
      const absl::Status joined = co_await brief.Join(seen_.hub);
      Add(joined);
    }
    {
      // Cancelled while it joins.
      Subscription brief(this);
      (void)co_await FirstOf(brief.Join(seen_.hub), Sleep(absl::ZeroDuration()));
    }
    StopWhenLeft(seen_.hub);
    Add(absl::Status(co_await Reached(), ""));
    seen_.joined.count_down();
  }
  Task<absl::StatusCode> Reached() {
    const Down down = co_await EndOf(seen_.hub);
    co_return down.reason == EndReason::kStopped ? absl::StatusCode::kOk
                                                 : absl::StatusCode::kInternal;
  }
};
TEST_P(Subscriptions, ItsEndLeavesTheHub) {
  Start<Goes>();
  EXPECT_EQ(End(), "OK OK");
}

// A join that was given up does not end the next one, and may outlive its subscription.
class JoinsAgain : public Reader {
  using Reader::Reader;
  Task<> Joins(Subscription* news) { Add(co_await news->Join(seen_.hub)); }
  Task<> Work() override {
    StartTask(Joins(&news_));
    news_.Leave();
    co_await Join();
    std::optional<Subscription> brief(std::in_place, this);
    const Ref<Hub> other = Spawn<Hub>();
    StartTask(JoinsOther(&*brief, other));
    brief.reset();
    co_await ReadAll();
  }
  Task<> JoinsOther(Subscription* news, Ref<Hub> other) { Add(co_await news->Join(other)); }
};
TEST_P(Subscriptions, AJoinThatWasGivenUpLeavesTheNextOneAlone) {
  Start<JoinsAgain>();
  Say("1");
  Say("end");
  const std::string text = End();
  EXPECT_TRUE(text.ends_with("1 end") || text.ends_with("1 ABORTED end")) << text;
  EXPECT_EQ(text.find("OK"), std::string::npos) << text;
}

class Greedy : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    SubscribeOptions options;
    options.queue_messages_max = 100'000'000;
    co_await Join(options);
    options.slow = SlowPolicy::kConflate;
    options.keys_max = UINT32_MAX;
    Add(co_await news_.Join(seen_.hub, options));
  }
};
TEST_P(Subscriptions, AQueueLargerThanTheBudgetIsRefused) {
  Start<Greedy>();
  EXPECT_EQ(End(), "INVALID_ARGUMENT INVALID_ARGUMENT");
}

// Takes each message slowly; ends by itself never.
class Stores : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    co_await Join();
    while (const auto message = co_await news_.Next()) {
      co_await Sleep(absl::Milliseconds(2));
      seen_.Add(TextOf(*message));
    }
  }
};
TEST_P(Subscriptions, ADrainWaitsUntilTheQueueIsEmpty) {
  Start<Stores>();
  std::string all;
  for (int i = 0; i < 50; ++i) {
    Say(absl::StrCat(i));
    absl::StrAppend(&all, i == 0 ? "" : " ", i);
  }
  Arrives(50);
  runtime_.Drain(kLong);
  EXPECT_EQ(HubLedger::Of(runtime_).missed, 0);
  // The last one is still in its Sleep.
  EXPECT_TRUE(all.starts_with(seen_.Text())) << seen_.Text();
  EXPECT_GE(seen_.lines.size(), 49u);
}

// The queue is not read when the actor ends.
class EndsFull : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    co_await Join();
    co_await MayRead();
  }
};
TEST_P(Subscriptions, WhatItLeavesCountsAsMissed) {
  seen_.may_read = false;
  Start<EndsFull>();
  for (int i = 0; i < 5; ++i) Say("x");
  Arrives(5);
  seen_.may_read = true;
  EXPECT_EQ(End(), "");
  EXPECT_EQ(HubLedger::Of(runtime_).missed, 5);
}

class AwaitsTwice : public Reader {
  using Reader::Reader;
  Task<> Work() override {
    co_await Join();
    StartTask(ReadAll());
    co_await ReadAll();
  }
};
TEST_P(Subscriptions, ASecondTaskThatAwaitsItIsNamed) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        Start<AwaitsTwice>();
        End();
      },
      "a task of .*AwaitsTwice.* awaits a Subscription that another one awaits, at "
      ".*subscription_test.cc:");
}

INSTANTIATE_TEST_SUITE_P(HubOnWorker, Subscriptions, ::testing::Values(0, 1));

}  // namespace
}  // namespace sluice::testing::subscription_test
