// SimThread is a thread of a simulation: a fiber, and the thread's other state.
//
// Owner: the Simulation. Thread: the simulation's. Bound: its stack. Errors: none.
#ifndef SLUICE_SIM_WORLD_THREAD_H_
#define SLUICE_SIM_WORLD_THREAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/worker/worker.h"
#include "sluice/sim/world/fiber.h"

namespace sluice::sim {

class SimOs;

struct SimThread {
  enum class State : uint8_t { kRunnable, kRunning, kBlocked, kDone };

  uint64_t id = 0;
  std::string name;
  SimOs* machine = nullptr;
  State state = State::kRunnable;
  uint64_t waits = 0;            // Counts its waits: a deadline belongs to one of them.
  std::unique_ptr<Fiber> fiber;  // Null: the thread has ended, or it made the simulation (id 0).
  std::vector<SimThread*> joiners;

  // Thread-local state of the C++ library and Sluice, saved while this thread does not run.
  Worker* worker = nullptr;
  Slot* constructing = nullptr;
  const void* function_of = nullptr;                      // internal::FunctionScope::current.
  std::array<std::byte, 2 * sizeof(void*)> exceptions{};  // __cxa_eh_globals.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_THREAD_H_
