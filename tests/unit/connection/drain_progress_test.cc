// Tests of how a drain goes forward on one connection.
#include "sluice/actors/connection/drain_progress.h"

#include "gtest/gtest.h"

namespace sluice::testing::drain_progress_test {
namespace {

TEST(DrainProgress, BeginsOnceAndReadsUntilItsInputIsOver) {
  DrainProgress drain;
  EXPECT_FALSE(drain.Reads());
  EXPECT_TRUE(drain.Begin());
  EXPECT_TRUE(drain.Reads());
  drain.EndInput();
  EXPECT_FALSE(drain.Begin());
  EXPECT_TRUE(drain.Begun() && drain.InputOver() && !drain.Reads());
}

TEST(DrainProgress, AGoodByeIsDueFromTheOrderToTheCallOnly) {
  DrainProgress drain;
  drain.Begin();
  drain.EndInput();
  EXPECT_FALSE(drain.GoodByeDue());
  drain.AskGoodBye();
  EXPECT_TRUE(drain.GoodByeDue());
  drain.CalledGoodBye();
  drain.AskGoodBye();
  EXPECT_TRUE(drain.GoodByeAsked());
  EXPECT_FALSE(drain.GoodByeDue()) << "OnDrain is called once";
}

TEST(DrainProgressDeathTest, NoInputEndsBeforeTheDrain) {
  DrainProgress drain;
  EXPECT_DEATH(drain.EndInput(), "SLUICE_CHECK");
}

}  // namespace
}  // namespace sluice::testing::drain_progress_test
