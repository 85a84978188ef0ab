// Tests that a subscriber without memory for its bytes goes on by itself when memory returns: no
// message and no event of its socket need come.
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::hub_memory_test {
namespace {

class Member : public Session {
 public:
  explicit Member(bool* joined) : joined_(*joined) {}
  void OnData(Input& in) override { in.TakeAll(); }
  void On(Subscribed) { joined_ = true; }
  using Actor::Send;

 private:
  bool& joined_;
};

std::function<void()> on_missed_notice;
std::string Notice(int64_t missed) {
  if (on_missed_notice) on_missed_notice();
  return absl::StrCat("missed ", missed, ",");
}

class HubMemory : public ::testing::Test {
 protected:
  HubMemory() {
    hub_ = rig_.runtime.SpawnWith<Hub>(
        SpawnOptions{.name = "", .mailbox_messages_max = 0, .worker = 0},
        HubOptions{.missed_notice = Notice});
    rig_.Settle();
  }
  ~HubMemory() override {
    on_missed_notice = nullptr;
    GiveBack();
  }
  Wire& Join(SlowPolicy slow, std::function<bool(std::string_view, uint64_t)> filter = nullptr) {
    Wire& wire = rig_.os.NewWire();
    bool joined = false;
    Slot* slot =
        rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &joined);
    rig_.Settle();
    auto* member = static_cast<Member*>(slot->actor);
    rig_.worker.RunHandler(slot, "test", [&] {
      const SubscribeOptions options{.slow = slow, .queue_messages_max = 4, .filter = filter};
      EXPECT_EQ(member->Send(hub_, Subscribe(member, options)), Answer::kAccepted);
    });
    rig_.Settle();
    EXPECT_TRUE(joined);
    return wire;
  }
  void Publish(const std::string& text) {
    EXPECT_EQ(hub_.TrySend(sluice::Publish{*Bytes::Copy(text, rig_.runtime.budget()), {}}),
              Answer::kAccepted);
  }
  HubTotals Totals() { return rig_.runtime.Attachment<HubLedger>(1).Sum(); }
  // Takes all memory, including what the worker may overdraw.
  void Spend() {
    for (int64_t bytes = 1 << 30; bytes > 0; bytes /= 2) {
      while (rig_.worker.lease().ChargeOverdraft(bytes)) spent_ += bytes;
    }
  }
  void GiveBack() {
    if (spent_ > 0) rig_.worker.lease().Refund(std::exchange(spent_, 0));
  }

  Rig rig_;
  Ref<Hub> hub_;
  int64_t spent_ = 0;
};

TEST_F(HubMemory, QueuedMessagesAreWrittenWhenMemoryReturns) {
  Wire& wire = Join(SlowPolicy::kDropOldest);
  wire.room = 0;
  const std::string first(100'000, 'x');
  Publish(first);  // To the connection, and above its watermark.
  for (const char* text : {"one,", "two,", "three,", "four,", "five,"}) Publish(text);
  rig_.Settle();
  ASSERT_EQ(Totals().queued, 4);
  on_missed_notice = [&] { Spend(); };  // After bytes are freed, before the write that needs them.
  rig_.Room(wire, 1'000'000);  // The last event: the socket takes all, and is never full again.
  rig_.Settle();
  ASSERT_EQ(wire.output.substr(first.size()), "missed 1,");
  rig_.Advance(absl::Seconds(1));
  ASSERT_EQ(wire.output.substr(first.size()), "missed 1,");
  GiveBack();
  rig_.Advance(absl::Seconds(1));
  EXPECT_EQ(wire.output.substr(first.size()), "missed 1,two,three,four,five,");
  EXPECT_EQ(Totals().queued, 0);
  EXPECT_EQ(Totals().received, 5);
}

TEST_F(HubMemory, MessagesMissedWithoutMemoryAreReportedLater) {
  for (const SlowPolicy slow :
       {SlowPolicy::kDropOldest, SlowPolicy::kDropNewest, SlowPolicy::kPark}) {
    Wire& first = Join(slow);
    Wire* const between[] = {&Join(slow), &Join(slow)};
    Wire& last = Join(slow);
    first.room = between[0]->room = between[1]->room = 0;
    Publish("one,");
    Spend();
    rig_.Settle();  // The message gives back enough for the first subscriber, not for all.
    ASSERT_EQ(last.output, "");
    rig_.Advance(absl::Seconds(1));
    ASSERT_EQ(last.output, "") << "no memory has come back yet";
    GiveBack();
    rig_.Advance(absl::Seconds(1));
    EXPECT_EQ(last.output, "missed 1,");
    rig_.Room(first, 1'000);
    rig_.Settle();
    EXPECT_EQ(first.output, "one,");
    for (Wire* const wire : between) rig_.Room(*wire, 1'000);
    for (Wire* const wire : {&first, between[0], between[1], &last}) rig_.Fin(*wire);
    rig_.Settle();
  }
  const HubTotals totals = Totals();
  EXPECT_EQ(totals.due, totals.received + totals.missed) << totals.ToString();
}

// A newer message may use the memory of the older one of its key. If the newer one does not fit
// there, it is missed, and the older one stays.
TEST_F(HubMemory, ConflateKeepsTheNewestThatThereIsMemoryFor) {
  bool spends = false;
  Wire& wire = Join(SlowPolicy::kConflate, [&](std::string_view, uint64_t) {
    if (spends) Spend();  // After the message gives bytes back, before the queue needs them.
    return true;
  });
  wire.room = 0;
  const std::string first(100'000, 'x');
  Publish(first);
  rig_.Settle();
  const auto say = [&](const std::string& text, uint64_t key) {
    GiveBack();
    EXPECT_EQ(hub_.TrySend(sluice::Publish{Bytes::Copy(text), {}, key}), Answer::kAccepted);
    rig_.Settle();
    const HubTotals t = Totals();
    EXPECT_EQ(t.due, t.received + t.missed + t.conflated + t.skipped + t.queued) << t.ToString();
  };
  say("one is old,", 1);
  say("two is old,", 2);
  spends = true;
  say("one is new,", 1);
  say(std::string(10'000, 'l') + ",", 1);
  say("three,", 3);
  spends = false;
  EXPECT_EQ(Totals().conflated, 1);
  EXPECT_EQ(Totals().missed, 2);
  GiveBack();
  rig_.Room(wire, 1'000'000);
  rig_.Settle();
  rig_.Advance(absl::Seconds(1));
  EXPECT_EQ(wire.output.substr(first.size()), "missed 1,one is new,missed 1,two is old,missed 1,");
  EXPECT_EQ(Totals().queued, 0);
}

}  // namespace
}  // namespace sluice::testing::hub_memory_test
