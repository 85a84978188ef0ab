#include "sluice/core/slot/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace sluice {

static_assert(sizeof(TimerNode) <= 32);
static_assert(sizeof(TimerWheel) <= 6 * 1024);

TimerWheel::TimerWheel(int64_t now_ms) : reached_ms_(now_ms) { SLUICE_CHECK(now_ms >= 0); }

TimerWheel::~TimerWheel() { SLUICE_CHECK(count_ == 0); }

void TimerWheel::Arm(TimerNode& node, int64_t deadline_ms) {
  if (node.Armed()) {
    Unlink(node);
  } else {
    ++count_;
  }
  node.deadline_ms_ = std::max(deadline_ms, earliest_ms_);
  node.deferred_ = false;
  Link(node);
}

void TimerWheel::Cancel(TimerNode& node) {
  if (!node.Armed()) return;
  Unlink(node);
  --count_;
}

TimerNode* TimerWheel::PopDue(int64_t now_ms) {
  SLUICE_CHECK(now_ms >= reached_ms_, "the clock went back");
  while (levels_occupied_ != 0) {
    const int level = std::countr_zero(levels_occupied_);
    const int index = std::countr_zero(occupied_[level]);
    const int64_t start_ms = SlotStartMs(reached_ms_, level, index);
    if (start_ms > now_ms) break;
    // Not now_ms yet: a node armed before the next call must still find its place in order.
    reached_ms_ = start_ms;
    if (level == 0) {
      TimerNode* node = slots_[0][index];
      Unlink(*node);
      --count_;
      return node;
    }
    Cascade(level, index);
  }
  // No occupied slot starts at or before now_ms. So no digit of now_ms is that of an occupied slot
  // of its level, and every node stays where it is, however far time has jumped.
  reached_ms_ = now_ms;
  return nullptr;
}

int64_t TimerWheel::FindNextMs() const {
  if (levels_occupied_ == 0) return kNever;
  const int level = std::countr_zero(levels_occupied_);
  return SlotStartMs(reached_ms_, level, std::countr_zero(occupied_[level]));
}

int64_t TimerWheel::SlotStartMs(int64_t reached_ms, int level, int index) {
  const int shift = level * kDigitBits;
  const int above = shift + kDigitBits;
  // The top level has no digits above its own, and shifting by 64 or more is undefined.
  const int64_t base = above >= 63 ? 0 : reached_ms >> above << above;
  return base | (int64_t{index} << shift);
}

void TimerWheel::Link(TimerNode& node) {
  next_ms_ = kUnknown;
  const int64_t due_ms = std::max(node.deadline_ms_, reached_ms_);
  const uint64_t differ = static_cast<uint64_t>(due_ms ^ reached_ms_);
  const int level = differ == 0 ? 0 : (std::bit_width(differ) - 1) / kDigitBits;
  const int index = static_cast<int>(due_ms >> (level * kDigitBits)) & (kSlots - 1);
  node.level_ = static_cast<uint8_t>(level);
  node.index_ = static_cast<uint8_t>(index);
  TimerNode*& first = slots_[level][index];
  if (first == nullptr) {
    first = node.next_ = node.prev_ = &node;
    occupied_[level] |= uint64_t{1} << index;
    levels_occupied_ |= 1u << level;
    return;
  }
  node.next_ = first;
  node.prev_ = first->prev_;
  node.prev_->next_ = first->prev_ = &node;
}

void TimerWheel::Unlink(TimerNode& node) {
  next_ms_ = kUnknown;
  TimerNode*& first = slots_[node.level_][node.index_];
  if (node.next_ == &node) {
    SLUICE_CHECK(first == &node, "a node of another wheel");
    first = nullptr;
    occupied_[node.level_] &= ~(uint64_t{1} << node.index_);
    if (occupied_[node.level_] == 0) levels_occupied_ &= ~(1u << node.level_);
  } else {
    node.prev_->next_ = node.next_;
    node.next_->prev_ = node.prev_;
    if (first == &node) first = node.next_;
  }
  node.next_ = node.prev_ = nullptr;
}

void TimerWheel::Cascade(int level, int index) {
  next_ms_ = kUnknown;
  TimerNode* node = slots_[level][index];
  slots_[level][index] = nullptr;
  occupied_[level] &= ~(uint64_t{1} << index);
  if (occupied_[level] == 0) levels_occupied_ &= ~(1u << level);
  node->prev_->next_ = nullptr;  // Opens the circle, so that the walk ends.
  while (node != nullptr) {
    TimerNode* next = node->next_;
    Link(*node);  // Always lower than `level`: that digit is now the tick's own.
    node = next;
  }
}

void TimerWheel::CheckInvariants() const {
  int64_t count = 0;
  for (int level = 0; level < kLevels; ++level) {
    SLUICE_CHECK((occupied_[level] != 0) == ((levels_occupied_ >> level & 1) != 0));
    for (int index = 0; index < kSlots; ++index) {
      const TimerNode* first = slots_[level][index];
      SLUICE_CHECK((first != nullptr) == ((occupied_[level] >> index & 1) != 0));
      if (first == nullptr) continue;
      const int64_t start_ms = SlotStartMs(reached_ms_, level, index);
      SLUICE_CHECK(level == 0 ? start_ms >= reached_ms_ : start_ms > reached_ms_);
      const TimerNode* node = first;
      do {
        SLUICE_CHECK(node->next_->prev_ == node);
        SLUICE_CHECK(node->level_ == level && node->index_ == index);
        const int64_t due_ms = std::max(node->deadline_ms_, reached_ms_);
        SLUICE_CHECK(due_ms >> (level * kDigitBits) == start_ms >> (level * kDigitBits));
        ++count;
        node = node->next_;
      } while (node != first);
    }
  }
  SLUICE_CHECK(count == count_);
  SLUICE_CHECK(next_ms_ == kUnknown || next_ms_ == FindNextMs());
}

}  // namespace sluice
