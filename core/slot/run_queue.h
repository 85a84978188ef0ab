// RunQueue holds the actors of one worker that have something to do, each once, in the order in
// which they came.
//
//   first_ -> slot -> slot -> last_     linked by Slot::run_next; Slot::scheduled: it is in here
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  one entry for each of its actors.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_RUN_QUEUE_H_
#define SLUICE_CORE_SLOT_RUN_QUEUE_H_

#include "sluice/core/base/check.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class RunQueue {
 public:
  bool Empty() const { return first_ == nullptr; }
  // At the end; a slot that is in here already keeps its place.
  void Push(Slot* slot) {
    if (slot->scheduled) return;
    slot->scheduled = true;
    slot->run_next = nullptr;
    if (last_ == nullptr) {
      first_ = slot;
    } else {
      last_->run_next = slot;
    }
    last_ = slot;
  }
  Slot* Pop() {  // Requires: !Empty().
    Slot* const slot = first_;
    first_ = slot->run_next;
    if (first_ == nullptr) last_ = nullptr;
    slot->run_next = nullptr;
    slot->scheduled = false;
    return slot;
  }
  // visit(const Slot&), from the first on.
  template <class F>
  void ForEach(F&& visit) const {
    for (const Slot* slot = first_; slot != nullptr; slot = slot->run_next) visit(*slot);
  }
  void CheckInvariants() const {
    const Slot* last = nullptr;
    ForEach([&](const Slot& slot) {
      SLUICE_CHECK(slot.scheduled);
      last = &slot;
    });
    SLUICE_CHECK(last == last_);
  }

 private:
  Slot* first_ = nullptr;
  Slot* last_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_RUN_QUEUE_H_
