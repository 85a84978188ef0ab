#include "sluice/core/slot/slot_table.h"

#include <algorithm>

namespace sluice {

SlotTable::SlotTable(uint32_t actors_max, int workers)
    : actors_max_(actors_max),
      count_max_(actors_max + static_cast<uint32_t>(workers) * kFreeSlotsMax),
      chunks_max_((count_max_ + kSlotsPerChunk - 1) / kSlotsPerChunk),
      chunks_(std::make_unique<std::atomic<Slot*>[]>(chunks_max_)) {}

SlotTable::~SlotTable() {
  const uint32_t count = chunk_count_.load(std::memory_order_acquire);
  // The memory stays: handles of the slots may be used as long as the process lives.
  for (uint32_t i = 0; i < count; ++i) {
    SlotChunks::GiveBack(chunks_[i].load(std::memory_order_relaxed));
  }
}

Slot* SlotTable::At(uint32_t id) const {
  return chunks_[id / kSlotsPerChunk].load(std::memory_order_acquire) + id % kSlotsPerChunk;
}

bool SlotTable::AddChunk(Worker& worker) {
  const uint32_t index = chunk_count_.load(std::memory_order_relaxed);
  if (index == chunks_max_) return false;
  Slot* const slots = SlotChunks::Take();
  for (uint32_t i = 0; i < kSlotsPerChunk; ++i) {
    slots[i].worker = &worker;
    slots[i].id = index * kSlotsPerChunk + i;
    slots[i].first_generation = slots[i].generation;
  }
  chunks_[index].store(slots, std::memory_order_release);
  chunk_count_.store(index + 1, std::memory_order_release);
  // The lowest number comes last, and so is taken first.
  for (uint32_t i = kSlotsPerChunk; i > 0; --i) {
    if (!slots[i - 1].UsedUp()) stock_.push_back(&slots[i - 1]);
  }
  return true;
}

// Only here a slot goes to another worker: it is free, and its generation is already the next one.
// Late messages for its last actor reach the old worker or the new one; both find another
// generation, and touch nothing else (core/slot/slot.h).
Slot* SlotTable::Take(Worker& worker, std::vector<Slot*>* kept) {
  if (!CountOneMore()) return nullptr;
  if (kept != nullptr && !kept->empty()) {
    Slot* const slot = kept->back();
    kept->pop_back();
    return slot;
  }
  std::lock_guard<std::mutex> lock(stock_lock_);
  // The table has room for actors_max slots and for the workers' free slots: one is left, unless
  // slots are used up.
  if (stock_.empty() && !AddChunk(worker)) {
    Uncount();
    return nullptr;
  }
  Slot* const slot = stock_.back();
  stock_.pop_back();
  slot->worker = &worker;
  if (kept == nullptr) return slot;
  const size_t more = std::min<size_t>(stock_.size(), kSlotsPerChunk - 1);
  for (size_t i = stock_.size() - more; i < stock_.size(); ++i) {
    stock_[i]->worker = &worker;
    kept->push_back(stock_[i]);
  }
  stock_.resize(stock_.size() - more);
  return slot;
}

void SlotTable::Give(std::vector<Slot*>* free, size_t kept) {
  std::lock_guard<std::mutex> lock(stock_lock_);
  stock_.insert(stock_.end(), free->begin() + static_cast<ptrdiff_t>(kept), free->end());
  free->resize(kept);
}

void SlotTable::GiveBack(Slot* slot) {
  Uncount();
  std::lock_guard<std::mutex> lock(stock_lock_);
  if (!slot->UsedUp()) stock_.push_back(slot);
}

uint32_t SlotTable::ForSome(const Worker* worker, uint32_t first, uint32_t chunks,
                            absl::FunctionRef<void(Slot*)> visit) const {
  const uint32_t count = chunk_count_.load(std::memory_order_acquire);
  const uint32_t end = first + std::min(chunks, count - first);
  for (uint32_t i = first; i < end; ++i) {
    Slot* slots = chunks_[i].load(std::memory_order_acquire);
    for (uint32_t j = 0; j < kSlotsPerChunk; ++j) {
      // Read in this order: the new owner writes the worker first, and then the generation
      // (release).
      const bool lived_in = MailboxWord<>::IsLive(slots[j].generation.LoadAcquire());
      if (lived_in && slots[j].worker == worker) visit(&slots[j]);
    }
  }
  return end == count ? 0 : end;
}

bool SlotTable::CountOneMore() {
  if (actors_.fetch_add(1, std::memory_order_relaxed) < actors_max_) return true;
  actors_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

}  // namespace sluice
