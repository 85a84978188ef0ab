#include "sluice/core/slot/run_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::testing::run_queue_test {
namespace {

class RunQueueTest : public ::testing::Test {
 protected:
  RunQueue queue_;
  Slot a_{nullptr, 1};
  Slot b_{nullptr, 2};
  Slot c_{nullptr, 3};
};

TEST_F(RunQueueTest, ActorsLeaveInTheOrderInWhichTheyCame) {
  for (Slot* slot : {&a_, &b_, &c_}) queue_.Push(slot);
  queue_.CheckInvariants();
  for (Slot* slot : {&a_, &b_, &c_}) EXPECT_EQ(queue_.Pop(), slot);
  EXPECT_TRUE(queue_.Empty());
  queue_.CheckInvariants();
}

TEST_F(RunQueueTest, ActorStandsInItOnceAndKeepsItsPlace) {
  for (Slot* slot : {&a_, &b_, &a_, &b_, &b_}) queue_.Push(slot);
  EXPECT_EQ(queue_.Pop(), &a_);
  queue_.Push(&a_);  // It has left, so it goes to the end.
  EXPECT_EQ(queue_.Pop(), &b_);
  EXPECT_EQ(queue_.Pop(), &a_);
  EXPECT_TRUE(queue_.Empty());
}

TEST_F(RunQueueTest, WalkVisitsAllInOrder) {
  queue_.Push(&b_);
  queue_.Push(&a_);
  std::vector<uint32_t> ids;
  queue_.ForEach([&](const Slot& slot) { ids.push_back(slot.id); });
  EXPECT_EQ(ids, (std::vector<uint32_t>{2, 1}));
}

}  // namespace
}  // namespace sluice::testing::run_queue_test
