// Home is where a worker lives, and SlotChunks is where slots are: memory that is never unmapped
// while the process lives. A handle of an actor may so be used when its runtime has ended: what it
// points to is still a slot, and the worker that the slot names has a home, which says whether it
// still stands.
//
//   ┌──────┬────────┐
//   │ Home │ Worker │   one block: the worker's address says where its home is
//   └──────┴────────┘
//
// Owner:  the process keeps those that are empty; a runtime has those that it took.
// Thread: any. Threads from outside hold the lock for one message each: to charge and enqueue it,
//         and for the system call that wakes the worker if it sleeps. So they wait for each other;
//         a worker never takes the lock, and no handler runs under it.
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
  // An empty one, for a worker of `runtime`, whose size is always the same.
  static Home& Take(const Runtime& runtime, size_t worker_bytes);
  // Requires: the worker has been destroyed.
  void GiveBack();
  static Home& Of(const Worker* worker) {
    return *(reinterpret_cast<Home*>(const_cast<Worker*>(worker)) - 1);
  }
  Worker* Place() { return reinterpret_cast<Worker*>(this + 1); }

  // Does a worker of this runtime live here? It stands then, as the runtime that asks does.
  bool IsOf(const Runtime& runtime) const {
    return runtime_.load(std::memory_order_relaxed) == &runtime;
  }

  // Threads that are no workers of the runtime bring their messages under this lock, and only while
  // it is open: what they touch of the worker and of its runtime stands as long as they hold the
  // lock.
  std::mutex& Lock() { return lock_; }
  bool IsOpen() const { return open_; }  // Requires: the lock.
  void Open();
  void Close();  // When it returns no such thread is inside, and none comes any more.

 private:
  // Partner: IsOf(). Relaxed: a runtime compares it with itself alone, and its own threads were
  // started, or given the handle, after Take().
  std::atomic<const Runtime*> runtime_{nullptr};
  alignas(64) std::mutex lock_;
  bool open_ = false;
};

class SlotChunks {
 public:
  static constexpr uint32_t kSlots = 64;  // In one chunk.
  // Of slots where nobody lives. Their generations go on: no handle of an earlier actor is equal to
  // one of the next. The caller gives them a worker and a number.
  static Slot* Take();
  // One where somebody still lives is kept aside for ever.
  static void GiveBack(Slot* slots);
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_HOME_H_
