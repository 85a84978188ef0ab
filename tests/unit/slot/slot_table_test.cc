// Slots of a runtime: how many actors may live, and where free slots wait.
#include "sluice/core/slot/slot_table.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace sluice::testing::slot_table_test {
namespace {

// A table never looks into a worker: any two addresses will do.
class SlotTableTest : public ::testing::Test {
 protected:
  alignas(64) char places_[2][64] = {};
  Worker& one_ = reinterpret_cast<Worker&>(places_[0]);
  Worker& other_ = reinterpret_cast<Worker&>(places_[1]);
};

TEST_F(SlotTableTest, NoMoreActorsLiveThanActorsMax) {
  SlotTable table(/*actors_max=*/100, /*workers=*/2);
  std::set<Slot*> slots;
  for (int i = 0; i < 100; ++i) slots.insert(table.Take(i % 2 == 0 ? one_ : other_, nullptr));
  EXPECT_EQ(slots.size(), 100u);
  EXPECT_EQ(slots.count(nullptr), 0u);
  EXPECT_EQ(table.Take(one_, nullptr), nullptr);
  EXPECT_EQ(table.ActorCount(), 100);
  for (Slot* slot : slots) table.GiveBack(slot);
  EXPECT_EQ(table.ActorCount(), 0);
}

TEST_F(SlotTableTest, LowestNumberIsTakenFirst) {
  SlotTable table(100, 1);
  EXPECT_EQ(table.Take(one_, nullptr)->id, 0u);
  EXPECT_EQ(table.Take(one_, nullptr)->id, 1u);
  EXPECT_EQ(table.At(1)->id, 1u);
}

TEST_F(SlotTableTest, SlotBelongsToTheWorkerThatTookItLast) {
  SlotTable table(1, 2);
  Slot* const slot = table.Take(one_, nullptr);
  EXPECT_EQ(slot->worker, &one_);
  table.GiveBack(slot);
  EXPECT_EQ(table.Take(other_, nullptr), slot);
  EXPECT_EQ(slot->worker, &other_);
}

TEST_F(SlotTableTest, WorkerTakesAChunkAndGivesBackWhatItDoesNotKeep) {
  SlotTable table(1'000, 2);
  std::vector<Slot*> kept;
  ASSERT_NE(table.Take(one_, &kept), nullptr);
  EXPECT_EQ(kept.size(), SlotTable::kSlotsPerChunk - 1);
  table.Give(&kept, 10);
  EXPECT_EQ(kept.size(), 10u);
  // The other worker is served from the stock: no new chunk.
  const uint32_t count = table.Count();
  std::vector<Slot*> others;
  ASSERT_NE(table.Take(other_, &others), nullptr);
  EXPECT_EQ(table.Count(), count);
}

}  // namespace
}  // namespace sluice::testing::slot_table_test
