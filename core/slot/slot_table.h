// SlotTable is the slots of one runtime, and how many actors live in them.
//
// Owner:  the runtime's Shared.
// Thread: any; the functions that are handed a worker's own free slots: that worker's.
// Bound:  actors_max actors; as many slots, and kFreeSlotsMax for each worker.
// Errors: none: Take() answers nullptr when actors_max actors live.
#ifndef SLUICE_CORE_SLOT_SLOT_TABLE_H_
#define SLUICE_CORE_SLOT_SLOT_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sluice/core/slot/home.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class SlotTable {
 public:
  static constexpr uint32_t kSlotsPerChunk = SlotChunks::kSlots;
  // Free slots that one worker keeps for itself: two chunks, so that spawns take the stock's lock
  // once for 64 of them. The table has room for those of all workers besides actors_max.
  static constexpr uint32_t kFreeSlotsMax = 2 * kSlotsPerChunk;

  SlotTable(uint32_t actors_max, int workers);
  ~SlotTable();
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  Slot* At(uint32_t id) const;
  // Every slot's id is below it.
  uint32_t Count() const { return chunk_count_.load(std::memory_order_acquire) * kSlotsPerChunk; }
  uint32_t CountMax() const { return count_max_; }

  // A free slot for one more actor of `worker`. nullptr: actors_max. On the worker's thread `kept`
  // is what it keeps for itself, and is filled where it is empty; elsewhere nullptr.
  Slot* Take(Worker& worker, std::vector<Slot*>* kept);
  // All of `free` but the first `kept` go to the stock, so that a worker whose actors have ended
  // keeps none from the others.
  void Give(std::vector<Slot*>* free, size_t kept);
  // A slot that was taken and in which no actor was made.
  void GiveBack(Slot* slot);
  void Uncount() { actors_.fetch_sub(1, std::memory_order_relaxed); }
  int64_t ActorCount() const { return actors_.load(std::memory_order_relaxed); }

  // All slots where an actor of `worker` lives, on its thread or while none runs.
  void ForEach(const Worker* worker, absl::FunctionRef<void(Slot*)> visit) const {
    ForSome(worker, 0, UINT32_MAX, visit);
  }
  // Those of at most `chunks` chunks, from number `first` on. Answers the number of the next one;
  // 0: it has been through all.
  uint32_t ForSome(const Worker* worker, uint32_t first, uint32_t chunks,
                   absl::FunctionRef<void(Slot*)> visit) const;

 private:
  friend class Inspector;

  bool CountOneMore();
  bool AddChunk(Worker& worker);  // Its slots into the stock. Requires: the stock's lock.

  const uint32_t actors_max_;
  const uint32_t count_max_;
  const uint32_t chunks_max_;
  // Chunks are added, never removed. A chunk is published by its pointer (release) and then
  // counted.
  const std::unique_ptr<std::atomic<Slot*>[]> chunks_;
  // Partner: readers in ForSome and AddChunk. Acquire/release.
  std::atomic<uint32_t> chunk_count_{0};
  // Free slots that no worker keeps stand in the stock, for the worker that needs them next.
  std::mutex stock_lock_;           // Once for 64 actors, and for each that is placed.
  std::vector<Slot*> stock_;        // Under its lock.
  std::atomic<int64_t> actors_{0};  // Alive in all. Relaxed: only its own value counts.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_SLOT_TABLE_H_
