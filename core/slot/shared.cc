#include "sluice/core/slot/shared.h"

#include <mutex>

#include "sluice/core/base/plant.h"

namespace sluice {

thread_local constinit const void* internal::FunctionScope::current = nullptr;

void KeepOrDelete::operator()(Budget* budget) const {
  // Bytes that outlive their runtime give their charge back to its budget.
  static auto* const kept = new std::vector<Budget*>;
  static std::mutex lock;
  if (budget->UsedBytes() == 0) {
    delete budget;
    return;
  }
  const std::lock_guard<std::mutex> guard(lock);
  kept->push_back(budget);
}

Shared::Shared(Runtime& of, Options checked, Os& system)
    : runtime(of),
      options(std::move(checked)),
      os(system),
      budget(new Budget(options.memory_bytes_max)),
      shedder(*budget, options.workers, options.max_connections, options.shed_after),
      slots(options.actors_max, options.workers),
      blocking_gates(static_cast<size_t>(options.workers)) {}

bool Shared::OutsideAdmits() const {
  SLUICE_PLANT(function_refused, return !outside_gate.Draining());
  return outside_gate.Admits(
      [this] { return internal::FunctionScope::current == blocking_functions; });
}

bool Shared::IsGate(int worker, const Slot* slot) const {
  const auto& [gate, generation] = blocking_gates[static_cast<size_t>(worker)];
  return gate == slot && slot->generation == generation;
}

bool Shared::GateLives(int worker) const {
  const auto& [gate, generation] = blocking_gates[static_cast<size_t>(worker)];
  return gate != nullptr && gate->generation == generation;
}

}  // namespace sluice
