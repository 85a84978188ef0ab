#include "sluice/core/memory/frame_pool.h"

#include <new>
#include <utility>

namespace sluice {

FramePool::~FramePool() {
  ::operator delete(hand_);
  for (size_t kind = 0; kind < kKinds; ++kind) {
    while (Block* const block = free_[kind]) {
      free_[kind] = block->next;
      ::operator delete(block);
    }
  }
}

void* FramePool::New(size_t bytes) {
  const size_t asked = Asked(bytes);
  // A handler that frees what it handles may need a frame: so the overdraft serves it, too.
  if (!lease_.ChargeOverdraft(AllocatedBytes(asked))) return nullptr;
  void* const place = ::operator new(asked, std::nothrow);
  if (place == nullptr) lease_.Refund(AllocatedBytes(asked));
  return place;
}

// Out of the stock, if that has such a block.
void FramePool::NewHand() {
  Block*& stock = free_[KindOf(kHandBytes)];
  if (stock == nullptr) {
    hand_ = static_cast<char*>(::operator new(kHandBytes, std::nothrow));
    return;
  }
  hand_ = reinterpret_cast<char*>(std::exchange(stock, stock->next));
  free_bytes_ -= kHandBytes;
}

}  // namespace sluice
