// SpscRing passes messages from one thread to another: each index has one writer, and each thread
// looks at the other's index only when its own copy of it says that the ring is full or empty.
//
// Owner:  both threads' parent.
// Thread: Push by one, Front and Pop by another one.
// Bound:  kItems.
// Errors: Push is false when the ring is full.
#ifndef SLUICE_BENCH_PEERS_BARE_MESSAGES_SPSC_RING_H_
#define SLUICE_BENCH_PEERS_BARE_MESSAGES_SPSC_RING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bench {

template <class T, size_t kItems>
class SpscRing {
 public:
  bool Push(const T& item) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - seen_head_ == kItems) {
      seen_head_ = head_.load(std::memory_order_acquire);  // Pop()'s: the place was read.
      if (tail - seen_head_ == kItems) return false;
    }
    items_[tail % kItems] = item;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  // nullptr: empty.
  const T* Front() {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == seen_tail_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);  // Push()'s: the item is written.
      if (head == seen_tail_) return nullptr;
    }
    return &items_[head % kItems];
  }
  void Pop() { head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

 private:
  alignas(64) std::atomic<uint64_t> head_{0};
  uint64_t seen_tail_ = 0;  // The reader's.
  alignas(64) std::atomic<uint64_t> tail_{0};
  uint64_t seen_head_ = 0;  // The writer's.
  alignas(64) std::array<T, kItems> items_;
};

}  // namespace bench

#endif  // SLUICE_BENCH_PEERS_BARE_MESSAGES_SPSC_RING_H_
