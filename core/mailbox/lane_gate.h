// LaneGate is the exact bound of one lane: how many messages one sender may have on the way to one
// worker. moodycamel's queue below it is never asked to enqueue without room (it has no bound of
// this kind).
//
// Owner:  the lane. The sender's half and the receiver's half each belong to one thread at a time.
// Thread: as marked.
// Bound:  sent - taken <= capacity, always.
//
// A sender that finds no room and wants to be told asks with WaitForRoom(); the receiver's Take()
// answers true once for it. Proof that no such wish is lost: sender `waiting.exchange(true)`, then
// reads taken; receiver publishes taken, then `waiting.exchange(false)`. The exchanges are ordered.
// Sender first: the receiver reads true and tells. Receiver first: the sender's exchange acquires
// from it and sees taken.
#ifndef SLUICE_CORE_MAILBOX_LANE_GATE_H_
#define SLUICE_CORE_MAILBOX_LANE_GATE_H_

#include <cstdint>

#include "sluice/core/base/atomics.h"
#include "sluice/core/base/check.h"

namespace sluice {

template <class Atomics = StdAtomics>
class LaneGate {
 public:
  explicit LaneGate(uint64_t capacity) : capacity_(capacity) {}

  // Sender's half.
  bool HasRoom() {
    if (sent_ - taken_seen_ < capacity_) return true;
    taken_seen_ = taken_.load(std::memory_order_acquire);
    return sent_ - taken_seen_ < capacity_;
  }
  void Sent() {  // Requires: HasRoom().
    ++sent_;
    SLUICE_CHECK(sent_ - taken_seen_ <= capacity_);
  }
  // True: there is no room, and the receiver will tell when there is. False: there is room now.
  [[nodiscard]] bool WaitForRoom() {
    waiting_.exchange(1, std::memory_order_acq_rel);
    return !HasRoom();
  }

  // Receiver's half. True: the sender waits and must be told that there is room.
  [[nodiscard]] bool Take(uint64_t count) {
    taken_own_ += count;
    taken_.store(taken_own_, std::memory_order_release);
    return waiting_.exchange(0, std::memory_order_acq_rel) != 0;
  }
  uint64_t TakenTotal() const { return taken_own_; }

  uint64_t SentTotal() const { return sent_; }  // Sender's half.
  uint64_t Capacity() const { return capacity_; }

 private:
  const uint64_t capacity_;
  // Sender's.
  uint64_t sent_ = 0;
  uint64_t taken_seen_ = 0;
  // Receiver's.
  alignas(64) uint64_t taken_own_ = 0;
  // Receiver stores, sender loads. Release/acquire: room means that the receiver is done with the
  // place.
  typename Atomics::template Atomic<uint64_t> taken_{0};
  // Both exchange; see the proof above.
  typename Atomics::template Atomic<uint32_t> waiting_{0};
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_LANE_GATE_H_
