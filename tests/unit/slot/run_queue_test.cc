#include "sluice/core/slot/run_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::testing::run_queue_test {
namespace {

TEST(RunQueue, ActorsLeaveInTheOrderInWhichTheyCame) {
  RunQueue queue;
  Slot a(nullptr, 1), b(nullptr, 2), c(nullptr, 3);
  for (Slot* slot : {&a, &b, &c}) queue.Push(slot);
  queue.CheckInvariants();
  for (Slot* slot : {&a, &b, &c}) EXPECT_EQ(queue.Pop(), slot);
  EXPECT_TRUE(queue.Empty());
  queue.CheckInvariants();
}

TEST(RunQueue, ActorStandsInItOnceAndKeepsItsPlace) {
  RunQueue queue;
  Slot a(nullptr, 1), b(nullptr, 2);
  for (Slot* slot : {&a, &b, &a, &b, &b}) queue.Push(slot);
  EXPECT_EQ(queue.Pop(), &a);
  queue.Push(&a);  // It has left, so it goes to the end.
  EXPECT_EQ(queue.Pop(), &b);
  EXPECT_EQ(queue.Pop(), &a);
  EXPECT_TRUE(queue.Empty());
}

TEST(RunQueue, WalkVisitsAllInOrder) {
  RunQueue queue;
  Slot a(nullptr, 1), b(nullptr, 2);
  queue.Push(&b);
  queue.Push(&a);
  std::vector<uint32_t> ids;
  queue.ForEach([&](const Slot& slot) { ids.push_back(slot.id); });
  EXPECT_EQ(ids, (std::vector<uint32_t>{2, 1}));
}

}  // namespace
}  // namespace sluice::testing::run_queue_test
