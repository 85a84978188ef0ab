#include "sluice/core/slot/wait_cycle_book.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::testing::wait_cycle_book_test {
namespace {

using Finding = WaitCycleBook::Finding;

TEST(WaitCycleBook, FirstActorToFindACycleIsTheOneThatBreaksIt) {
  WaitCycleBook book;
  EXPECT_EQ(book.Note("a b", "a1 b1", "a -> b -> a", 0), Finding::kNew);
  EXPECT_EQ(book.Note("a b", "a1 b1", "b -> a -> b", 0), Finding::kKnown);
  EXPECT_EQ(book.Found(), 1);
  EXPECT_EQ(book.Last(), "a -> b -> a");
}

TEST(WaitCycleBook, SameActorsAreLoggedOnceASecond) {
  WaitCycleBook book;
  EXPECT_EQ(book.Note("a b", "a1 b1", "", 1'000), Finding::kNew);
  EXPECT_EQ(book.Note("a b", "a2 b1", "", 1'999), Finding::kAgain);
  EXPECT_EQ(book.Note("a b", "a3 b1", "", 2'000), Finding::kNew);
  EXPECT_EQ(book.Found(), 3);
}

TEST(WaitCycleBook, ForgetsAllWhenItIsFull) {
  WaitCycleBook book;
  for (size_t i = 0; i < WaitCycleBook::kNotedMax; ++i) {
    EXPECT_EQ(book.Note(std::to_string(i), std::to_string(i), "", 0), Finding::kNew);
  }
  EXPECT_EQ(book.Note("0", "0", "", 0), Finding::kNew);
}

}  // namespace
}  // namespace sluice::testing::wait_cycle_book_test
