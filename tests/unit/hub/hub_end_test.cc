// Tests of ends in a hub: callbacks that throw or end their own session, members that close, a
// spoke that fails. An end reaches no other subscriber than it must, and the counts stay exact.
#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::hub_end_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using Texts = std::vector<std::string>;

std::function<void(int64_t missed)> on_notice;
std::string Notice(int64_t missed) {
  if (on_notice) on_notice(missed);
  return absl::StrCat("missed ", missed, "\n");
}

class Member : public Session {
 public:
  Member(Ref<Hub> hub, SubscribeOptions options) : hub_(hub), options_(std::move(options)) {}
  void OnOpen() override {
    EXPECT_EQ(Send(hub_, Subscribe(this, options_, "hello\n")), Answer::kAccepted);
  }
  void On(Subscribed subscribed) {
    ++told;
    if (subscribed.Joined()) subscription = subscribed;
  }
  void On(Unsubscribed unsubscribed) { left.push_back(unsubscribed.sequence); }
  void OnData(Input& in) override { in.TakeAll(); }
  using Actor::Send;
  using Session::Abort;
  using Session::Close;
  using Session::CloseWrite;
  using Session::Write;

  int told = 0;
  Subscribed subscription;
  std::vector<std::optional<uint64_t>> left;

 private:
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
};

Options HubEndOptions() {
  Options options = WireOptions();
  options.output_bytes_low = 0;  // The first message waits in the output, all others in the hub.
  return options;
}

class HubEnd : public ::testing::Test {
 protected:
  HubEnd() : rig_(HubEndOptions()), hub_(rig_.runtime.Spawn<Hub>(HubOptions{&Notice})) {
    rig_.Settle();
  }
  ~HubEnd() override { on_notice = nullptr; }
  Wire& Join(SubscribeOptions options, int64_t room = 1 << 30) {
    Wire& wire = rig_.os.NewWire();
    Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                     hub_, std::move(options));
    rig_.Settle();
    member_ = static_cast<Member*>(slot->actor);
    EXPECT_TRUE(member_->subscription.Joined());
    wire.room = room;
    return wire;
  }
  void Say(const std::string& text, uint64_t key = 0) {
    EXPECT_EQ(hub_.TrySend(Publish{*Bytes::Copy(text + "\n", rig_.runtime.budget()), {}, key}),
              Answer::kAccepted);
    rig_.Settle();
    CheckSums();
  }
  template <class F>
  void InHandlerOf(Member* member, F f) {
    EXPECT_TRUE(rig_.worker.RunHandler(member->slot(), "test", f));
    rig_.Settle();
    CheckSums();
  }
  HubTotals Totals() { return rig_.runtime.Attachment<HubLedger>(1).Sum(); }
  void CheckSums() {
    const HubTotals t = Totals();
    EXPECT_EQ(t.due, t.received + t.missed + t.conflated + t.skipped + t.queued) << t.ToString();
  }
  static Texts Lines(const Wire& wire) {
    return absl::StrSplit(wire.output, '\n', absl::SkipEmpty());
  }

  Rig rig_;
  Ref<Hub> hub_;
  Member* member_ = nullptr;  // The last one that joined.
};

// --- Callbacks that throw.

TEST_F(HubEnd, ThrowingMissedNoticeEndsOnlyItsSubscriber) {
  Wire& thrower = Join({.queue_messages_max = 1}, 0);
  Wire& good = Join({});
  on_notice = [](int64_t) { throw std::runtime_error("no words for it"); };
  for (const char* text : {"1", "2", "3", "4"}) Say(text);
  rig_.Room(thrower, 1 << 30);  // The output path sends the first; the notice is next.
  rig_.Settle();
  EXPECT_TRUE(thrower.closed);
  EXPECT_EQ(Lines(thrower), (Texts{"hello", "1"}));
  EXPECT_EQ(rig_.Closed(CloseReason::kFailed), 1);
  Say("5");
  EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3", "4", "5"}));
}

TEST_F(HubEnd, ThrowingMissedNoticeInRoundEndsNoSpoke) {
  Wire& before = Join({});
  Wire& thrower = Join({.slow = SlowPolicy::kDropNewest, .queue_messages_max = 1}, 0);
  Wire& behind = Join({});
  on_notice = [&](int64_t) { throw 17; };
  Say("1");
  Say("2");                // Waits.
  Say("3");                // Is missed.
  thrower.room = 1 << 30;  // No event has reported the room yet.
  rig_.os.Event(thrower, EPOLLOUT);
  Say("4");
  Say(std::string(2 << 20, 'x'));  // Too large for any connection: the other two get a notice too.
  EXPECT_EQ(rig_.Closed(CloseReason::kFailed), 3);
  EXPECT_TRUE(before.closed && thrower.closed && behind.closed);
  on_notice = nullptr;
  Wire& later = Join({});  // The spoke still serves.
  Say("6");
  EXPECT_EQ(Lines(later), (Texts{"hello", "6"}));
}

// --- Callbacks that end their own session.

TEST_F(HubEnd, AFilterMayEndItsOwnSession) {
  Member* own = nullptr;
  const auto filter = [&own](std::string_view, uint64_t key) {
    if (key == 13 && own != nullptr) std::exchange(own, nullptr)->Abort();
    return key != 14;
  };
  Wire& before = Join({});
  Wire& quitter = Join({.filter = filter});
  own = member_;
  Wire& behind = Join({});
  Say("1", 1);
  Say("2", 13);
  Say("3", 14);
  EXPECT_TRUE(quitter.closed);
  EXPECT_EQ(Lines(quitter), (Texts{"hello", "1"}));
  EXPECT_EQ(Lines(before), (Texts{"hello", "1", "2", "3"}));
  EXPECT_EQ(Lines(behind), (Texts{"hello", "1", "2", "3"}));
}

TEST_F(HubEnd, AFilterMayEndTheSessionsBesideIt) {
  for (int victim = 0; victim < 4; ++victim) {
    std::vector<Wire*> wires;
    std::vector<Member*> members;
    const auto filter = [&members, victim](std::string_view, uint64_t key) {
      if (key == 13) members[victim]->Abort();
      return true;
    };
    for (int i = 0; i < 4; ++i) {
      wires.push_back(&Join(i == 1 ? SubscribeOptions{.filter = filter} : SubscribeOptions{}));
      members.push_back(member_);
    }
    Say("1", 13);
    Say("2");
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(wires[i]->closed, i == victim) << i << " of " << victim;
      if (i == victim) continue;
      EXPECT_EQ(Lines(*wires[i]), (Texts{"hello", "1", "2"})) << i << " of " << victim;
      rig_.Fin(*wires[i]);
    }
    rig_.Settle();
  }
}

TEST_F(HubEnd, AMissedNoticeMayEndItsOwnSession) {
  Wire& quitter = Join({.queue_messages_max = 1}, 0);
  Member* own = member_;
  Wire& good = Join({});
  on_notice = [&own](int64_t) {
    if (own != nullptr) std::exchange(own, nullptr)->Abort();
  };
  for (const char* text : {"1", "2", "3", "4"}) Say(text);
  rig_.Room(quitter, 1 << 30);
  rig_.Settle();
  EXPECT_TRUE(quitter.closed);
  EXPECT_EQ(Lines(quitter), (Texts{"hello", "1"}));
  Say("5");
  EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3", "4", "5"}));
}

TEST_F(HubEnd, AFilterMayLeaveTheHub) {
  Member* own = nullptr;
  const auto filter = [&own](std::string_view, uint64_t key) {
    if (key == 13) Unsubscribe(*own, own->subscription);
    return true;
  };
  Wire& leaver = Join({.filter = filter});
  own = member_;
  Wire& good = Join({});
  Say("1", 1);
  Say("2", 13);
  Say("3", 1);
  EXPECT_EQ(Lines(leaver), (Texts{"hello", "1", "2"}));
  EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3"}));
  EXPECT_FALSE(leaver.closed);
}

// --- Leaving.

// A session that leaves has sent its own messages before, so it must receive all of them.
TEST_F(HubEnd, LeaverGetsAllThatTheHubOrderedBefore) {
  Wire& leaver = Join({});
  Member* const member = member_;
  Wire& good = Join({});
  InHandlerOf(member, [&] {
    for (const char* text : {"1\n", "2\n", "3\n"}) {
      EXPECT_EQ(member->Send(hub_, Publish{Bytes::Copy(text), {}}), Answer::kAccepted);
    }
    Unsubscribe(*member, member->subscription);
  });
  Say("4");
  EXPECT_EQ(Lines(leaver), (Texts{"hello", "1", "2", "3"}));
  EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3", "4"}));
  EXPECT_THAT(member->left, ElementsAre(Optional(3)));
}

// Some messages still wait in the session's outbox when it asks to leave.
TEST_F(HubEnd, LeavingFullHubDoesNotOvertakeOwnMessages) {
  constexpr int kLines = 600;  // More than the hub's mailbox holds.
  Wire& leaver = Join({});
  Member* const member = member_;
  InHandlerOf(member, [&] {
    for (int i = 0; i < kLines; ++i) {
      EXPECT_EQ(member->Send(hub_, Publish{Bytes::Copy("x\n"), {}}), Answer::kAccepted);
    }
    Unsubscribe(*member, member->subscription);
  });
  EXPECT_EQ(Lines(leaver).size(), size_t{kLines} + 1);
  EXPECT_THAT(member->left, ElementsAre(Optional(kLines)));
}

TEST_F(HubEnd, LeaversMissedNoticeWaitsForRoom) {
  Wire& leaver = Join({}, 0);
  Member* const member = member_;
  InHandlerOf(member, [&] {
    EXPECT_EQ(member->Write(std::string(member->connection()->OutputRoom() - 1, 'x') + '\n'),
              Answer::kAccepted);
  });
  Say("1");
  Say("2");
  InHandlerOf(member, [&] { Unsubscribe(*member, member->subscription); });
  Say("3");  // Not for the leaver.
  EXPECT_THAT(member->left, IsEmpty());
  rig_.Room(leaver, 1 << 30);
  rig_.Settle();
  EXPECT_EQ(Lines(leaver).back(), "missed 2");
  EXPECT_THAT(member->left, ElementsAre(Optional(2)));
  CheckSums();
}

TEST_F(HubEnd, EachUnsubscribeIsAnsweredEvenAfterTheHub) {
  Join({});
  Member* const member = member_;
  InHandlerOf(member, [&] {
    Unsubscribe(*member, member->subscription);
    Unsubscribe(*member, member->subscription);
  });
  EXPECT_THAT(member->left, ElementsAre(Optional(0), std::nullopt));
  hub_.Stop();
  rig_.Settle();
  InHandlerOf(member, [&] { Unsubscribe(*member, member->subscription); });
  EXPECT_THAT(member->left, ElementsAre(Optional(0), std::nullopt, std::nullopt));
}

TEST_F(HubEnd, HubThatStopsWhenLeftServesItsLeavers) {
  Wire& leaver = Join({});
  Member* const member = member_;
  InHandlerOf(member, [&] {
    EXPECT_EQ(member->Send(hub_, Publish{Bytes::Copy("1\n"), {}}), Answer::kAccepted);
    StopWhenLeft(hub_);
    Unsubscribe(*member, member->subscription);
  });
  EXPECT_EQ(Lines(leaver), (Texts{"hello", "1"}));
  EXPECT_EQ(hub_.TrySend(Publish{Bytes::Copy("2\n"), {}}), Answer::kClosed);
}

// --- Callbacks that send for their session.

struct Note {
  int value = 0;
};
class Reader : public Actor {
 public:
  explicit Reader(std::vector<int>* got) : got_(*got) {}
  void On(Note note) { got_.push_back(note.value); }

 private:
  std::vector<int>& got_;
};
constexpr int kNotes = 600;  // More than two full mailboxes.

// Each copy runs `act` when it is destroyed.
struct AtItsEnd {
  const std::function<void()> act;
  ~AtItsEnd() { act(); }
};

// No such callback runs as a handler of the session, so no handler's end flushes its outbox.
// Without a flush of its own, the session would neither send its parked messages nor read, until a
// message for it comes.
TEST_F(HubEnd, CallbacksParkedMessagesLeaveAndSessionGoesOn) {
  for (const std::string where : {"filter", "missed_notice", "end of a filter"}) {
    std::vector<int> got;
    const Ref<Reader> reader = rig_.runtime.Spawn<Reader>(&got);
    rig_.Settle();
    Member* sender = nullptr;
    const auto send = [&sender, reader] {
      if (sender == nullptr) return;
      Member* const member = std::exchange(sender, nullptr);
      for (int i = 0; i < kNotes; ++i) {
        EXPECT_EQ(member->Send(reader, Note{i}), Answer::kAccepted) << i;
      }
    };
    Wire* wire = nullptr;
    Member* member = nullptr;
    if (where == "filter") {
      wire = &Join({.filter = [&](std::string_view, uint64_t) {
        send();
        return true;
      }});
      sender = member = member_;
      Say("1");
    } else if (where == "missed_notice") {
      wire = &Join({.queue_messages_max = 1}, 0);
      sender = member = member_;
      on_notice = [&](int64_t) { send(); };
      for (const char* text : {"1", "2", "3", "4"}) Say(text);
      rig_.Room(*wire, 1 << 30);
      rig_.Settle();
    } else {
      const AtItsEnd end{send};
      wire = &Join({.filter = [end](std::string_view, uint64_t) { return end.act != nullptr; }});
      member = member_;
      InHandlerOf(member, [&] {
        Unsubscribe(*member, member->subscription);
        sender = member;
      });
    }
    EXPECT_EQ(sender, nullptr) << where;
    EXPECT_EQ(got.size(), static_cast<size_t>(kNotes)) << where;
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end())) << where;
    rig_.Arrive(*wire, "more");
    rig_.Settle();
    EXPECT_EQ(wire->input, "") << where << ": its session does not read";
    EXPECT_FALSE(wire->closed) << where;
    InHandlerOf(member, [&] { member->Abort(); });
    on_notice = nullptr;
  }
}

// Messages that the session has parked for a target go before those that its filter tries to send
// there, even if that target has room.
TEST_F(HubEnd, FiltersTrySendDoesNotOvertakeItsSession) {
  for (const std::string where : {"filter", "end of a filter"}) {
    std::vector<int> flooded;
    std::vector<int> got;
    const Ref<Reader> full = rig_.runtime.Spawn<Reader>(&flooded);
    const Ref<Reader> reader = rig_.runtime.Spawn<Reader>(&got);
    rig_.Settle();
    Member* member = nullptr;
    const auto park = [&] {
      for (int i = 0; i < kNotes; ++i) EXPECT_EQ(member->Send(full, Note{i}), Answer::kAccepted);
      EXPECT_EQ(member->Send(reader, Note{1}), Answer::kAccepted);
    };
    std::vector<Answer> answers;
    const auto try_send = [&] { answers.push_back(reader.TrySend(Note{2})); };
    if (where == "filter") {
      Join({.filter = [&](std::string_view, uint64_t) {
        park();
        try_send();
        return true;
      }});
      member = member_;
      Say("1");
    } else {
      const AtItsEnd end{[&] {
        if (member != nullptr && answers.empty()) try_send();
      }};
      Join({.filter = [end](std::string_view, uint64_t) { return end.act != nullptr; }});
      InHandlerOf(member_, [&] {
        member = member_;
        Unsubscribe(*member, member->subscription);
        park();
      });
    }
    EXPECT_EQ(answers, (std::vector<Answer>{Answer::kFull})) << where;
    EXPECT_EQ(got, (std::vector<int>{1})) << where;
    InHandlerOf(member, [&] { member->Abort(); });
  }
}

// A callable that the spoke must not copy: a copy may throw outside of the user's handlers.
struct Uncopyable {
  explicit Uncopyable(int* copies_left) : left(copies_left) {}
  Uncopyable(const Uncopyable& other) : left(other.left) {
    if ((*left)-- == 0) throw std::runtime_error("copied");
  }
  Uncopyable(Uncopyable&&) = default;
  bool operator()(std::string_view, uint64_t) const { return true; }
  int* left;
};

TEST_F(HubEnd, FilterIsCopiedOnlyInItsSessionsHandlers) {
  int left = INT32_MAX;
  SubscribeOptions options;
  options.filter = Uncopyable(&left);
  Wire& wire = rig_.os.NewWire();
  Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                   hub_, options);
  left = 0;  // OnOpen has run, and with it the last copy.
  rig_.Settle();
  ASSERT_NE(slot->actor, nullptr);
  EXPECT_TRUE(static_cast<Member*>(slot->actor)->subscription.Joined());
  Say("1");
  EXPECT_EQ(Lines(wire), (Texts{"hello", "1"}));
}

// --- A member that closes.

// A closing member takes nothing more, so the room must not wait for it.
TEST_F(HubEnd, AMemberThatClosesHoldsTheRoomNoLonger) {
  const SubscribeOptions park{
      .slow = SlowPolicy::kPark, .queue_messages_max = 1, .park_timeout = absl::Seconds(10)};
  for (void (*close)(Member*) :
       {+[](Member* m) { m->Close(); }, +[](Member* m) { m->CloseWrite(); }}) {
    Wire& closing = Join(park, 0);
    Member* const member = member_;
    Wire& good = Join({});
    Say("1");
    Say("2");  // The queue is full: the room waits.
    Say("3");
    ASSERT_EQ(Lines(good), (Texts{"hello", "1", "2"}));
    InHandlerOf(member, [&] { close(member); });
    EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3"}));
    for (int i = 4; i < 20; ++i) Say(absl::StrCat(i));
    EXPECT_EQ(Lines(good).size(), 20u);
    rig_.Room(closing, 1 << 30);  // Messages from before the close are still sent.
    rig_.Settle();
    EXPECT_EQ(Lines(closing), (Texts{"hello", "1", "2"}));
    EXPECT_TRUE(closing.fin);
    EXPECT_EQ(Totals().queued, 0);
    rig_.Fin(closing);
    rig_.Fin(good);
    rig_.Settle();
  }
}

TEST_F(HubEnd, StoppedMemberHoldsTheRoomNoLonger) {
  Join({.slow = SlowPolicy::kPark, .queue_messages_max = 1}, 0);
  Member* const member = member_;
  Wire& good = Join({});
  for (const char* text : {"1", "2", "3"}) Say(text);
  ASSERT_EQ(Lines(good), (Texts{"hello", "1", "2"}));
  rig_.worker.life().Stop(member->slot(), EndReason::kStopped, "");
  rig_.Settle();
  EXPECT_EQ(Lines(good), (Texts{"hello", "1", "2", "3"}));
  EXPECT_EQ(Totals().queued, 0);
  CheckSums();
}

TEST_F(HubEnd, ClosingSessionDoesNotJoin) {
  Wire& wire = rig_.os.NewWire();
  Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                   hub_, SubscribeOptions{});
  auto* const member = static_cast<Member*>(slot->actor);
  rig_.worker.RunHandler(slot, "test", [&] { member->CloseWrite(); });
  rig_.Settle();
  EXPECT_EQ(member->told, 1);
  EXPECT_FALSE(member->subscription.Joined());
  Say("1");
  EXPECT_EQ(Totals().due, 0);
}

// --- A spoke that fails.

TEST_F(HubEnd, HubReplacesASpokeThatEnded) {
  Wire& lost = Join({});
  Wire& parked = Join({.slow = SlowPolicy::kPark, .queue_messages_max = 1}, 0);
  Slot* const spoke = member_->subscription.spoke;
  for (const char* text : {"1", "2", "3"}) Say(text);
  rig_.worker.life().Fail(spoke, std::make_exception_ptr(std::runtime_error("out of order")));
  rig_.Settle();
  // Nothing can report what the members miss from now on, so their connections must end.
  EXPECT_TRUE(lost.closed && parked.closed);
  EXPECT_EQ(rig_.Closed(CloseReason::kFailed), 2);
  CheckSums();
  EXPECT_EQ(Totals().queued, 0);
  Wire& later = Join({});
  Say("4");
  EXPECT_EQ(Lines(later), (Texts{"hello", "4"}));
}

TEST_F(HubEnd, EndOfHubLeavesSubscribersConnectionsOpen) {
  Wire& wire = Join({});
  Say("1");
  hub_.Stop();
  rig_.Settle();
  EXPECT_FALSE(wire.closed);
  EXPECT_EQ(rig_.runtime.budget().UsedBytes() - rig_.worker.lease().LeftBytes(), 0);
}

}  // namespace
}  // namespace sluice::testing::hub_end_test
