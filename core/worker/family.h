// Family is what a worker keeps of its actors' relations: children, which end before their parent,
// and monitors, which are notified of an end.
//
// Owner:  the worker.
// Thread: the worker's; a relative may live on another worker, and is reached by control.
// Bound:  children by what was spawned; monitors_max monitors of one actor, counted by the actor
//         that monitors.
// Errors: none: an order for an actor that has ended is answered (a monitor gets kNotFound) or
//         ignored.
#ifndef SLUICE_CORE_WORKER_FAMILY_H_
#define SLUICE_CORE_WORKER_FAMILY_H_

#include <cstdint>

#include "sluice/core/worker/desk.h"

namespace sluice {

struct Watcher;

class Family {
 public:
  explicit Family(Desk& desk) : desk_(desk) {}

  // --- Children.

  // False, and counted: the parent ends. An ending actor gets no new children, as nothing would end
  // them.
  bool MayHaveChild(const Slot* parent);
  // Answers the child's place in the order of the parent's children.
  uint64_t AddChild(Slot* parent, Slot* child, uint32_t child_generation);
  // The child has ended, or lingers and runs no more handlers. True: the parent ends, and this was
  // the last of its children.
  [[nodiscard]] bool ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers);
  // Stops the youngest child that has not been told to stop. The next child is told when this child
  // runs no more handlers.
  void StopNextChild(Slot* slot);

  // --- Monitors.

  void AddWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  void RemoveWatcher(Slot* target, uint32_t generation, const Watcher& watcher);
  // Takes back one monitor of the actor. Requires: it has one.
  void Unwatch(Slot* slot);

 private:
  Desk& desk_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_FAMILY_H_
