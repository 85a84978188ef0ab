#include "sluice/core/base/intrusive_list.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::intrusive_list_test {
namespace {

struct First {};
struct Second {};
struct Item : ListNode<First>, ListNode<Second> {
  int number = 0;
};
using Firsts = IntrusiveList<Item, First>;
using Seconds = IntrusiveList<Item, Second>;

std::vector<int> Numbers(const Firsts& list) {
  std::vector<int> numbers;
  for (const Item* item = list.Front(); item != nullptr; item = list.Next(*item)) {
    numbers.push_back(item->number);
  }
  return numbers;
}

TEST(IntrusiveList, AnElementIsOnListsOfSeveralTags) {
  Item item;
  Firsts firsts;
  Seconds seconds;
  firsts.PushBack(item);
  EXPECT_TRUE(Firsts::Linked(item));
  EXPECT_FALSE(Seconds::Linked(item));
  seconds.PushBack(item);
  firsts.Remove(item);
  EXPECT_FALSE(firsts.RemoveIfLinked(item));
  EXPECT_EQ(seconds.PopFront(), &item);
  EXPECT_EQ(seconds.PopFront(), nullptr);
}

// Compares the list with a std::deque over random pushes, pops and removals from any place.
TEST(IntrusiveList, KeepsTheOrderThatADequeWouldKeep) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 draw(seed);
    std::array<Item, 12> items;
    for (size_t i = 0; i < items.size(); ++i) items[i].number = static_cast<int>(i);
    Firsts list;
    std::deque<int> model;
    for (int step = 0; step < 400; ++step) {
      Item& item = items[draw() % items.size()];
      const auto place = std::find(model.begin(), model.end(), item.number);
      ASSERT_EQ(Firsts::Linked(item), place != model.end());
      if (draw() % 8 == 0) {
        Item* const front = list.PopFront();
        ASSERT_EQ(front == nullptr, model.empty());
        if (front == nullptr) continue;
        ASSERT_EQ(front->number, model.front());
        model.pop_front();
      } else if (place != model.end()) {
        list.Remove(item);
        model.erase(place);
      } else if (draw() % 2 == 0) {
        list.PushBack(item);
        model.push_back(item.number);
      } else {
        list.PushFront(item);
        model.push_front(item.number);
      }
      list.CheckInvariants();
      ASSERT_EQ(Numbers(list), std::vector<int>(model.begin(), model.end()));
      ASSERT_EQ(list.Size(), model.size());
      ASSERT_EQ(list.Empty(), model.empty());
    }
    Firsts taken;
    taken.TakeAll(list);
    EXPECT_TRUE(list.Empty());
    EXPECT_EQ(Numbers(taken), std::vector<int>(model.begin(), model.end()));
    while (taken.PopFront() != nullptr) {
    }
  }
}

TEST(IntrusiveListDeath, AnElementThatIsPutOnTwiceIsReported) {
  Item item;
  Firsts list;
  list.PushBack(item);
  EXPECT_DEATH(list.PushBack(item), "next_ == nullptr");
  list.Remove(item);
  EXPECT_DEATH(list.Remove(item), "next_ != nullptr");
}

TEST(IntrusiveListDeath, AnElementThatEndsOnAListIsReported) {
  Firsts list;
  const auto ends_on_it = [&] {
    Item item;
    list.PushBack(item);
  };
  EXPECT_DEATH(ends_on_it(), "next_ == nullptr");
}

}  // namespace
}  // namespace sluice::testing::intrusive_list_test
