#include "sluice/core/mailbox/sleep_word.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::sleep_word_test {
namespace {

TEST(SleepWord, OneSenderSignalsPerSleepNoneWhileAwake) {
  SleepWord<> word;
  EXPECT_FALSE(word.Rouse());
  word.FallAsleep();
  EXPECT_TRUE(word.LooksAsleep());
  EXPECT_TRUE(word.Rouse());
  EXPECT_FALSE(word.LooksAsleep());
  EXPECT_FALSE(word.Rouse());
  word.FallAsleep();
  word.WakeUp();
  EXPECT_FALSE(word.Rouse());
}

// Real threads: a lost wake-up would hang here.
TEST(L5Progress, NoWakeUpIsLostBetweenThreads) {
  constexpr int kSenders = 3;
  constexpr uint64_t kMessages = 30'000;
  SleepWord<> word;
  std::atomic<uint64_t> lanes[kSenders] = {};
  std::atomic<uint32_t> signals{0};  // Stands for the eventfd: its waiter sleeps in the kernel.
  uint32_t signalled[kSenders] = {};
  std::vector<std::thread> senders;
  for (int i = 0; i < kSenders; ++i) {
    senders.emplace_back([&, i] {
      for (uint64_t n = 1; n <= kMessages; ++n) {
        lanes[i].store(n, std::memory_order_release);
        if (!word.Rouse()) continue;
        ++signalled[i];
        signals.fetch_add(1);
        signals.notify_one();
      }
    });
  }
  uint64_t taken = 0;
  uint32_t sleeps = 0;
  uint32_t seen = 0;
  const auto drain = [&] {
    uint64_t sum = 0;
    for (const auto& lane : lanes) sum += lane.load(std::memory_order_acquire);
    return std::exchange(taken, sum) != sum;
  };
  while (taken < kSenders * kMessages) {
    if (drain()) continue;
    word.FallAsleep();
    ++sleeps;
    if (!drain()) {
      signals.wait(seen);
      seen = signals.load();
    }
    word.WakeUp();
  }
  for (std::thread& sender : senders) sender.join();
  uint32_t signals_sent = 0;
  for (const uint32_t count : signalled) signals_sent += count;
  EXPECT_LE(signals_sent, sleeps);
}

}  // namespace
}  // namespace sluice::testing::sleep_word_test
