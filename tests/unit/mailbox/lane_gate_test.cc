#include "sluice/core/mailbox/lane_gate.h"

#include <array>
#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace sluice::testing::lane_gate_test {
namespace {

TEST(L3Bound, LaneGateHasNoRoomPastItsCapacity) {
  LaneGate<> gate(2);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(gate.HasRoom());
    gate.Sent();
  }
  EXPECT_FALSE(gate.HasRoom());
  EXPECT_FALSE(gate.Take(1));
  EXPECT_TRUE(gate.HasRoom());
  gate.Sent();
  EXPECT_FALSE(gate.HasRoom());
  EXPECT_EQ(gate.SentTotal(), 3u);
  EXPECT_EQ(gate.TakenTotal(), 1u);
}

TEST(LaneGate, SenderThatWaitsIsToldOnce) {
  LaneGate<> gate(1);
  gate.Sent();
  EXPECT_TRUE(gate.WaitForRoom());
  EXPECT_TRUE(gate.Take(1));
  EXPECT_FALSE(gate.Take(0));
  EXPECT_TRUE(gate.HasRoom());
}

TEST(LaneGate, SenderDoesNotWaitWhenRoomHasAppeared) {
  LaneGate<> gate(1);
  gate.Sent();
  EXPECT_FALSE(gate.HasRoom());
  EXPECT_FALSE(gate.Take(1));
  EXPECT_FALSE(gate.WaitForRoom());
}

TEST(LaneGateDeathTest, SendingWithoutRoomEndsTheProcess) {
  LaneGate<> gate(1);
  gate.Sent();
  EXPECT_DEATH(gate.Sent(), "SLUICE_CHECK");
}

// Real threads over a ring without a bound of its own: a message past the bound would overwrite
// another one, and a lost "room" would hang the test.
TEST(L3Bound, LaneGateHoldsBetweenThreads) {
  constexpr uint64_t kCapacity = 4;
  constexpr uint64_t kMessages = 100'000;
  LaneGate<> gate(kCapacity);
  // Not atomic: the gate and the tail order the accesses.
  std::array<uint64_t, kCapacity> places{};
  std::atomic<uint64_t> tail{0};
  std::atomic<uint32_t> rooms{0};
  std::thread sender([&] {
    uint32_t seen = 0;
    for (uint64_t n = 0; n < kMessages; ++n) {
      while (!gate.HasRoom() && gate.WaitForRoom()) {
        rooms.wait(seen);
        seen = rooms.load();
      }
      gate.Sent();
      places[n % kCapacity] = n;
      tail.store(n + 1, std::memory_order_release);
      tail.notify_one();
    }
  });
  uint64_t wrong = 0;
  for (uint64_t taken = 0; taken < kMessages;) {
    tail.wait(taken, std::memory_order_acquire);
    const uint64_t end = tail.load(std::memory_order_acquire);
    ASSERT_LE(end - taken, kCapacity);
    for (uint64_t n = taken; n < end; ++n) wrong += places[n % kCapacity] != n;
    if (gate.Take(end - taken)) {
      rooms.fetch_add(1);
      rooms.notify_one();
    }
    taken = end;
  }
  sender.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace sluice::testing::lane_gate_test
