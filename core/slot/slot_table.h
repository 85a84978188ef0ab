// SlotTable has the slots of one runtime, and counts the actors that live in them.
//
// Owner:  the runtime's Shared.
// Thread: any; functions that take a worker's own free slots: that worker's.
// Bound:  actors_max actors; as many slots, and kFreeSlotsMax for each worker.
// Errors: none: Take() answers nullptr when actors_max actors live, or when so many slots are used
//         up that none is free.
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
  // once for 64 actors. Besides actors_max, the table has room for the free slots of all workers.
  static constexpr uint32_t kFreeSlotsMax = 2 * kSlotsPerChunk;

  SlotTable(uint32_t actors_max, int workers);
  ~SlotTable();
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  Slot* At(uint32_t id) const;
  // Every slot's id is below it.
  uint32_t Count() const { return chunk_count_.load(std::memory_order_acquire) * kSlotsPerChunk; }
  uint32_t CountMax() const { return count_max_; }

  // Takes a free slot for one more actor of `worker`. nullptr: see Errors. On the worker's thread,
  // `kept` is the worker's own free slots, and is filled if empty; on other threads it is nullptr.
  Slot* Take(Worker& worker, std::vector<Slot*>* kept);
  // Moves all of `free` but the first `kept` to the stock, so that a worker that has lost its
  // actors keeps no free slots from other workers.
  void Give(std::vector<Slot*>* free, size_t kept);
  // Gives back a slot that was taken and got no actor.
  void GiveBack(Slot* slot);
  void Uncount() { actors_.fetch_sub(1, std::memory_order_relaxed); }
  int64_t ActorCount() const { return actors_.load(std::memory_order_relaxed); }

  // Visits all slots in which an actor of `worker` lives: on its thread, or while no thread runs.
  void ForEach(const Worker* worker, absl::FunctionRef<void(Slot*)> visit) const {
    ForSome(worker, 0, UINT32_MAX, visit);
  }
  // Visits the slots of at most `chunks` chunks, from chunk `first` on. Answers the number of the
  // next chunk; 0: all have been visited.
  uint32_t ForSome(const Worker* worker, uint32_t first, uint32_t chunks,
                   absl::FunctionRef<void(Slot*)> visit) const;

 private:
  friend class Inspector;

  bool CountOneMore();
  // Puts the slots of a new chunk into the stock. Requires: the stock's lock.
  bool AddChunk(Worker& worker);

  const uint32_t actors_max_;
  const uint32_t count_max_;
  const uint32_t chunks_max_;
  // Chunks are added, never removed. A chunk is published by its pointer (release) and then
  // counted.
  const std::unique_ptr<std::atomic<Slot*>[]> chunks_;
  // Release, after the chunk's pointer is stored. Partner: acquire in Count() and ForSome().
  std::atomic<uint32_t> chunk_count_{0};
  // Free slots that no worker keeps stand in the stock, for the worker that needs them next.
  std::mutex stock_lock_;     // Taken once for 64 actors, and for each actor that is placed.
  std::vector<Slot*> stock_;  // Under its lock.
  // Live actors of all workers. Relaxed: only its own value counts.
  std::atomic<int64_t> actors_{0};
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_SLOT_TABLE_H_
