// Home is where a worker lives, and SlotChunks is where slots are: memory that is never unmapped
// while the process lives. So a handle of an actor may be used even after its runtime has ended: it
// still points to a slot, and the worker that the slot names has a home, which says whether the
// worker still exists.
//
//   ┌──────┬────────┐
//   │ Home │ Worker │   one block: the worker's address says where its home is
//   └──────┴────────┘
//
// Owner:  the process keeps the empty ones; a runtime has those that it took.
// Thread: any. An outside thread (another runtime's worker, too) holds the lock for one message: to
//         charge and enqueue it, and for the system call that wakes a sleeping worker. So outside
//         threads wait for each other. A worker never takes the lock of a home of its own runtime,
//         and no handler runs under that lock.
// Bound:  as many homes and chunks as were in use at one time.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_HOME_H_
#define SLUICE_CORE_SLOT_HOME_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "sluice/core/base/language.h"

namespace sluice {

class Runtime;
class Worker;
struct Slot;

class alignas(64) Home {
 public:
  // An empty home for a worker of `runtime`. `worker_bytes` is the same in every call.
  static Home& Take(const Runtime& runtime, size_t worker_bytes);
  // Requires: the worker has been destroyed.
  void GiveBack();
  static Home& Of(const Worker* worker) {
    return *(reinterpret_cast<Home*>(const_cast<Worker*>(worker)) - 1);
  }
  Worker* Place() { return reinterpret_cast<Worker*>(this + 1); }

  // Does a worker of this runtime live here? If so, it exists as long as the runtime that asks.
  bool IsOf(const Runtime& runtime) const {
    return runtime_.load(std::memory_order_relaxed) == &runtime;
  }

  // A thread that is not a worker of the runtime enqueues its messages under this lock, and only
  // while the home is open: the worker and its runtime then exist as long as the thread holds the
  // lock.
  std::mutex& Lock() { return lock_; }
  bool IsOpen() const { return open_; }  // Requires: the lock.
  void Open();
  // When Close() returns, no such thread is inside, and none enters any more.
  void Close();

 private:
  // Partner: IsOf(). Relaxed: a runtime compares the value only with itself, and its own threads
  // were started, or given the handle, after Take().
  std::atomic<const Runtime*> runtime_{nullptr};
  alignas(64) std::mutex lock_;
  bool open_ = false;
};

class SlotChunks {
 public:
  static constexpr uint32_t kSlots = 64;  // Slots of one chunk.
  // A chunk of free slots. Their generations go on, so no handle of an earlier actor equals a later
  // one. The caller sets each slot's worker and id.
  static Slot* Take();
  // A chunk that still holds an actor is kept aside for ever.
  static void GiveBack(Slot* slots);
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_HOME_H_
