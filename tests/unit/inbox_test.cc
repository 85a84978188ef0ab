#include "sluice/core/inbox.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
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

TEST(Inbox, EachLaneKeepsItsOrderAndIsDrainedApart) {
  Inbox inbox(2, 1'024);
  Send(inbox, 0, {{0, 0}, {0, 1}, {0, 2}});
  Send(inbox, 1, {{1, 0}});
  std::vector<Envelope> out(8);
  EXPECT_EQ(inbox.Drain(inbox.LaneFrom(0), out.data(), 2), 2u);
  EXPECT_EQ(out[0].Get<Numbered>().number, 0);
  EXPECT_EQ(out[1].Get<Numbered>().number, 1);
  EXPECT_EQ(inbox.Drain(inbox.LaneFrom(1), out.data(), 8), 1u);
  EXPECT_EQ(out[0].Get<Numbered>().lane, 1);
  EXPECT_EQ(inbox.Drain(inbox.LaneFrom(0), out.data(), 8), 1u);
  EXPECT_EQ(inbox.Drain(inbox.LaneFrom(0), out.data(), 8), 0u);
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
  std::vector<Envelope> out(64);
  while (next[0] + next[1] + next[2] < kLanes * kMessages) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const size_t count = inbox.Drain(inbox.LaneFrom(lane), out.data(), out.size());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i].Get<Numbered>().number, next[lane]++);
      if (count > 0) (void)inbox.LaneFrom(lane).gate.Take(count);
    }
  }
  for (std::thread& sender : senders) sender.join();
}

#if SLUICE_TSAN
// What a message points to and its sender goes on writing is a race, and the lane's annotations
// must not hide it.
TEST(InboxDeathTest, ARaceThroughTheInboxIsStillReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Inbox inbox(1, 1'024);
        int shared = 0;
        std::thread sender([&] {
          Send(inbox, 0, {{0, 0, &shared}});
          shared = 1;  // Not its own any more.
        });
        std::vector<Envelope> out(1);
        while (inbox.Drain(inbox.LaneFrom(0), out.data(), 1) == 0) std::this_thread::yield();
        const int seen = *out[0].Get<Numbered>().shared;
        sender.join();
        std::exit(seen == 2 ? 1 : 0);
      },
      ::testing::ExitedWithCode(66), "data race");
}
#endif

}  // namespace
}  // namespace sluice
