// TimerWheel keeps the deadlines of one worker, in millisecond ticks: arming, moving and cancelling
// cost O(1), whatever their number (hierarchical wheel; Varghese and Lauck, SOSP 1987).
//
// Owner:  the worker. Nodes are intrusive: they live in what waits for the deadline.
// Thread: the worker's.
// Bound:  no memory of its own beyond the fixed wheel (under 6 KiB); a node is 32 bytes. A node is
//         moved once a level on its way down, so PopDue's work is bounded by the nodes, not by the
//         time that has passed; one call may move all nodes of a slot.
// Errors: none. A deadline that has passed counts as the tick that the wheel has reached: it fires
//         at the next PopDue, behind what was armed for that tick before.
#ifndef SLUICE_CORE_SLOT_TIMER_WHEEL_H_
#define SLUICE_CORE_SLOT_TIMER_WHEEL_H_

#include <cstdint>

#include "sluice/core/base/check.h"

namespace sluice {

class TimerNode {
 public:
  TimerNode() = default;
  ~TimerNode() { SLUICE_CHECK(!Armed()); }  // Whoever owns the node cancels it first.
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  bool Armed() const { return next_ != nullptr; }
  int64_t DeadlineMs() const { return deadline_ms_; }  // As armed. Requires: Armed() or just fired.
  // The timer was due before, and put off (TimerWheel::Defer).
  bool Deferred() const { return deferred_; }

 private:
  friend class TimerWheel;
  uint8_t level_ = 0;
  uint8_t index_ = 0;
  bool deferred_ = false;
  TimerNode* next_ = nullptr;
  TimerNode* prev_ = nullptr;
  int64_t deadline_ms_ = 0;
};

class TimerWheel {
 public:
  static constexpr int64_t kNever = INT64_MAX;

  explicit TimerWheel(int64_t now_ms);  // Requires: now_ms >= 0.
  ~TimerWheel();                        // Requires: empty.
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  void Arm(TimerNode& node, int64_t deadline_ms);  // Moves it when it is armed already.
  void Cancel(TimerNode& node);                    // Nothing when it is not armed.

  // The next node whose deadline is at or before now_ms, taken out of the wheel; nullptr when there
  // is none. Order: by deadline, then by order of arming within a tick. The caller loops, and may
  // arm and cancel any node in between, also those that are due at this very tick. Requires: now_ms
  // does not go back.
  TimerNode* PopDue(int64_t now_ms);

  // From here to EndRound() nothing can be armed for `now_ms` or earlier, but for the tick behind
  // it at the earliest. So a loop over PopDue(now_ms) ends, whatever its callbacks arm.
  void BeginRound(int64_t now_ms) { earliest_ms_ = now_ms + 1; }
  void EndRound() { earliest_ms_ = INT64_MIN; }
  // A node that has just fired fires again behind those that are due at the tick reached, in this
  // round, and is then Deferred(). Requires: !node.Armed().
  void Defer(TimerNode& node) {
    SLUICE_CHECK(!node.Armed());
    ++count_;
    node.deadline_ms_ = reached_ms_;
    node.deferred_ = true;
    Link(node);
  }

  // No node fires before this; kNever when empty. May be earlier than the first deadline by what a
  // cascade needs, so a worker may wake a few times for one far deadline, never for none.
  int64_t NextMs() const {
    if (next_ms_ == kUnknown) next_ms_ = FindNextMs();
    return next_ms_;
  }
  int64_t Count() const { return count_; }

  // Walks everything; for tests and the simulation.
  void CheckInvariants() const;

 private:
  // A level is one digit, in base 64, of a deadline. A node stands on the level of the highest
  // digit in which its deadline differs from the tick reached, in that digit's slot. So all nodes
  // of one deadline are in one slot at any time, each slot is a FIFO, and order survives every
  // cascade.
  static constexpr int kDigitBits = 6;
  static constexpr int kSlots = 1 << kDigitBits;
  static constexpr int kLevels = 11;  // All 63 bits: no deadline is too far, and none is clamped.

  static constexpr int64_t kUnknown = -1;

  int64_t FindNextMs() const;
  static int64_t SlotStartMs(int64_t reached_ms, int level, int index);
  void Link(TimerNode& node);
  void Unlink(TimerNode& node);
  void Cascade(int level, int index);  // Requires: the tick reached is the start of that slot.

  int64_t reached_ms_;                  // Nothing armed is due before it.
  mutable int64_t next_ms_ = kUnknown;  // NextMs(), since the last change.
  int64_t earliest_ms_ = INT64_MIN;
  int64_t count_ = 0;  // Armed nodes.
  // Bit L: level L holds a node. The lowest such level holds the first deadline.
  uint32_t levels_occupied_ = 0;
  uint64_t occupied_[kLevels] = {};         // Bit S: slot S of the level holds a node.
  TimerNode* slots_[kLevels][kSlots] = {};  // The first node; circular, so its prev_ is the last.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_TIMER_WHEEL_H_
