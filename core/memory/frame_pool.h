// FramePool is one worker's stock of blocks for the frames of coroutines: in steady state a call of
// a coroutine takes a block that an earlier call has given back.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  the memory budget, for blocks in use; kFreeBytesMax for free blocks, and kHandBytes,
// parts
//         of the fixed memory.
// Errors: Get() answers nullptr when the budget is spent.
#ifndef SLUICE_CORE_MEMORY_FRAME_POOL_H_
#define SLUICE_CORE_MEMORY_FRAME_POOL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "sluice/core/memory/budget.h"

namespace sluice {

class FramePool {
 public:
  static constexpr size_t kFreeBytesMax = 64 * 1024;
  static constexpr size_t kHandBytes = 128;

  explicit FramePool(Lease& lease) : lease_(lease) {}  // `lease` outlives this.
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  void* Get(size_t bytes) {
    const size_t kind = KindOf(bytes);
    if (kind < kKinds && free_[kind] != nullptr) [[likely]] {
      Block* const block = free_[kind];
      if (!lease_.ChargeOverdraft(AllocatedBytes(BytesOf(kind)))) return nullptr;
      free_[kind] = block->next;
      free_bytes_ -= BytesOf(kind);
      return block;
    }
    return New(bytes);
  }
  // `bytes`: as they were asked of Get().
  void Put(void* place, size_t bytes) {
    const size_t kind = KindOf(bytes);
    if (kind < kKinds && free_bytes_ + BytesOf(kind) <= kFreeBytesMax) [[likely]] {
      free_[kind] = new (place) Block{free_[kind]};
      free_bytes_ += BytesOf(kind);
      lease_.Refund(AllocatedBytes(BytesOf(kind)));
      return;
    }
    lease_.Refund(AllocatedBytes(Asked(bytes)));
    ::operator delete(place);
  }
  // A block for bytes that are needed until a handler returns, and seldom longer. It is the pool's,
  // and part of the fixed memory, unless TakeHand() follows: that answers the same block, as one of
  // Get(kHandBytes). nullptr: there is no memory; from TakeHand(): the budget is spent.
  char* Hand() {
    if (hand_ == nullptr) [[unlikely]]
      NewHand();
    return hand_;
  }
  char* TakeHand() {
    if (!lease_.ChargeOverdraft(AllocatedBytes(kHandBytes))) return nullptr;
    return std::exchange(hand_, nullptr);
  }
  size_t FreeBytes() const { return free_bytes_; }

 private:
  struct Block {
    Block* next;
  };
  static constexpr size_t kStepBytes = 64;
  static constexpr size_t kKinds = 32;  // Up to 2 KiB; larger blocks are not kept.
  static size_t KindOf(size_t bytes) { return (bytes - 1) / kStepBytes; }
  static size_t BytesOf(size_t kind) { return (kind + 1) * kStepBytes; }
  // The size of the allocator's block for `bytes`.
  static size_t Asked(size_t bytes) {
    return KindOf(bytes) < kKinds ? BytesOf(KindOf(bytes)) : bytes;
  }
  void* New(size_t bytes);
  void NewHand();

  Lease& lease_;
  std::array<Block*, kKinds> free_{};
  size_t free_bytes_ = 0;
  char* hand_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_FRAME_POOL_H_
