// Shared is the state that all workers of one runtime use: options, memory, slots, and the way in
// for outside threads.
//
// Owner:  the Runtime; it outlives the workers and the blocking pool.
// Thread: any, as noted at each member. `options`, `workers` and `budget` do not change once the
//         runtime is made.
// Bound:  that of its members.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_SHARED_H_
#define SLUICE_CORE_SLOT_SHARED_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sluice/core/mailbox/outside_gate.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/shedder.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/core/slot/slot_table.h"
#include "sluice/core/slot/wait_cycle_book.h"

namespace sluice {

class BlockingPool;
class Runtime;

namespace internal {

// A FunctionScope exists while this thread runs a blocking function. In a simulation each fiber has
// its own.
struct FunctionScope {
  explicit FunctionScope(const void* pool) { current = pool; }
  ~FunctionScope() { current = nullptr; }
  // The pool's state (BlockingPool), as an address to compare; nullptr: no function runs here.
  static thread_local constinit const void* current;
};

}  // namespace internal

// A budget lives as long as there are Bytes that are charged to it.
struct KeepOrDelete {
  void operator()(Budget* budget) const;
};

struct Shared {
  // `checked` are options that Complete() has accepted. `runtime` is not used here: handlers get it
  // from their worker, and it says which workers belong together.
  Shared(Runtime& runtime, Options checked, Os& os);

  // May this thread, which is no worker, send?
  bool OutsideAdmits() const;
  // The gate of a worker (BlockingPool), on that worker's thread.
  bool IsGate(int worker, const Slot* slot) const;
  bool GateLives(int worker) const;

  Runtime& runtime;
  const Options options;
  Os& os;
  const std::unique_ptr<Budget, KeepOrDelete> budget;
  Shedder shedder;
  SlotTable slots;
  WaitCycleBook wait_cycles;
  std::vector<Worker*> workers;  // By index.

  // True while the workers' threads, or a drain, run turns. Meanwhile no other thread may touch a
  // worker's state (Desk::OnWorker), and a thread that asks for figures must not read it itself.
  // Release when turns have ended; partners: acquire in Runtime::CollectFigures() and DumpOf().
  std::atomic<bool> turning{false};

  // Outside threads: one lane for each worker, behind the lock of its home, which the worker never
  // takes.
  OutsideGate<> outside_gate;  // May they still send, and how much of all kinds have they sent?
  // Relaxed: figures.
  std::atomic<int64_t> outside_sent{0};
  std::atomic<int64_t> outside_reserved{0};

  BlockingPool* blocking = nullptr;  // Not used here: actors get it from their worker.
  // The blocking pool's: its state, as in FunctionScope; and by worker, its gate and the gate's
  // generation, which only that worker touches.
  const void* blocking_functions = nullptr;
  std::vector<std::pair<Slot*, uint32_t>> blocking_gates;

  // Actors that are placed on a worker by another thread (placing.h).
  std::atomic<uint32_t> next_placement{0};  // Relaxed: any order will do.
  std::atomic<int64_t> placed_refused{0};   // Relaxed: a count for the ledger.
  std::atomic<uint64_t> spawn_mistakes{0};  // Relaxed: how often a spawn's options were refused.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_SHARED_H_
