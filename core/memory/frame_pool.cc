#include "sluice/core/memory/frame_pool.h"

#include <new>

namespace sluice {

FramePool::~FramePool() {
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

}  // namespace sluice
