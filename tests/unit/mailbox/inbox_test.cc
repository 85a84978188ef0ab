#include "sluice/core/mailbox/inbox.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::inbox_test {
namespace {

struct Numbered {
  int lane;
  int number;
  int* shared = nullptr;
};
const MessageOps kOps = {
    MessageKind::kUser,
    [](void*, Envelope&) {},
    Envelope::DestroyOf<Numbered>(),
    Envelope::RelocateOf<Numbered>(),
    [] { return "Numbered"; },
};

void Send(Inbox& inbox, int lane, const std::vector<Numbered>& messages) {
  std::vector<Envelope> envelopes(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) envelopes[i].Put(&kOps, messages[i]);
  inbox.Enqueue(inbox.LaneFrom(lane), envelopes.data(), envelopes.size());
}

// The messages that one Drain() took out.
std::vector<Numbered> Drain(Inbox& inbox, int lane, size_t most) {
  EnvelopePool pool;
  EnvelopeList list;
  std::vector<Numbered> out;
  const size_t count = inbox.Drain(inbox.LaneFrom(lane), pool, list, most);
  while (!list.Empty()) {
    Envelope* envelope = list.Pop();
    out.push_back(envelope->Get<Numbered>());
    pool.Put(envelope);
  }
  EXPECT_EQ(out.size(), count);
  return out;
}

TEST(Inbox, EachLaneKeepsItsOrderAndIsDrainedApart) {
  Inbox inbox(2, 1'024);
  Send(inbox, 0, {{0, 0}, {0, 1}, {0, 2}});
  Send(inbox, 1, {{1, 0}});
  const std::vector<Numbered> out = Drain(inbox, 0, 2);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].number, 0);
  EXPECT_EQ(out[1].number, 1);
  ASSERT_EQ(Drain(inbox, 1, 8).size(), 1u);
  ASSERT_EQ(Drain(inbox, 0, 8).size(), 1u);
  EXPECT_EQ(Drain(inbox, 0, 8).size(), 0u);
}

TEST(Inbox, OrderHoldsAcrossThreadsAndBlocks) {
  constexpr int kLanes = 3;
  constexpr int kMessages = 20'000;
  Inbox inbox(kLanes, 100);
  std::vector<std::thread> senders;
  for (int lane = 0; lane < kLanes; ++lane) {
    senders.emplace_back([&, lane] {
      for (int i = 0; i < kMessages;) {
        const int count = std::min(1 + i % 7, kMessages - i);
        std::vector<Numbered> messages;
        while (static_cast<int>(messages.size()) < count) {
          if (!inbox.LaneFrom(lane).gate.HasRoom()) {
            if (!messages.empty()) break;
            std::this_thread::yield();
            continue;
          }
          inbox.LaneFrom(lane).gate.Sent();
          messages.push_back({lane, i++});
        }
        Send(inbox, lane, messages);
      }
    });
  }
  std::vector<int> next(kLanes, 0);
  while (next[0] + next[1] + next[2] < kLanes * kMessages) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::vector<Numbered> out = Drain(inbox, lane, 64);
      for (const Numbered& message : out) {
        ASSERT_EQ(message.lane, lane);
        ASSERT_EQ(message.number, next[lane]++);
      }
      if (!out.empty()) (void)inbox.LaneFrom(lane).gate.Take(out.size());
    }
  }
  for (std::thread& sender : senders) sender.join();
}

#if SLUICE_TSAN
// A sender that goes on writing to the object its message points to is a race. The annotations of
// the lane must not hide it from ThreadSanitizer.
TEST(InboxDeathTest, ARaceThroughTheInboxIsStillReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Inbox inbox(1, 1'024);
        int shared = 0;
        std::thread sender([&] {
          Send(inbox, 0, {{0, 0, &shared}});
          shared = 1;  // Race: the object belongs to the receiver now.
        });
        std::vector<Numbered> out;
        while ((out = Drain(inbox, 0, 1)).empty()) std::this_thread::yield();
        const int seen = *out[0].shared;
        sender.join();
        std::exit(seen == 2 ? 1 : 0);
      },
      ::testing::ExitedWithCode(66), "data race");
}
#endif

}  // namespace
}  // namespace sluice::testing::inbox_test
