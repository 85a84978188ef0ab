#include "sluice/core/base/tsan.h"

#include <atomic>
#include <cstdlib>
#include <thread>

#include "gtest/gtest.h"

namespace sluice::testing::tsan_test {
namespace {

// Correct by the C++ standard, through fences only, as moodycamel's queue does it.
TEST(Tsan, AnnotatedHandOverThroughFencesIsNoRace) {
  int item = 0;
  std::atomic<bool> published = false;
  std::thread sender([&] {
    item = 42;
    sluice::TsanRelease(&published);
    std::atomic_thread_fence(std::memory_order_release);
    published.store(true, std::memory_order_relaxed);
  });
  while (!published.load(std::memory_order_relaxed)) std::this_thread::yield();
  std::atomic_thread_fence(std::memory_order_acquire);
  sluice::TsanAcquire(&published);
  EXPECT_EQ(item, 42);
  sender.join();
}

#if SLUICE_TSAN
// The same without order: shows that silence under ThreadSanitizer means something in the other
// tests.
TEST(TsanDeathTest, PlantedRaceIsReported) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        int item = 0;
        std::atomic<bool> published = false;
        std::thread sender([&] {
          item = 42;
          published.store(true, std::memory_order_relaxed);
        });
        while (!published.load(std::memory_order_relaxed)) std::this_thread::yield();
        const bool seen = item == 42;
        sender.join();
        std::exit(seen ? 0 : 1);
      },
      ::testing::ExitedWithCode(66), "data race");  // 66: ThreadSanitizer's exit code.
}
#endif

}  // namespace
}  // namespace sluice::testing::tsan_test
