// Timer is a deadline of a worker's wheel that runs an action.
//
// Owner:  what waits for the deadline.
// Thread: the worker's.
// Bound:  the node in the wheel (timer_wheel.h).
// Errors: none.
#ifndef SLUICE_CORE_SLOT_TIMER_H_
#define SLUICE_CORE_SLOT_TIMER_H_

#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

class IoHandler;
class Worker;

class Timer : public TimerNode {
 public:
  virtual ~Timer() = default;
  virtual void OnTimer(Worker& worker) = 0;
  // The descriptor that may receive what this deadline waits for: if it is ready, it has its turn
  // before the timer. nullptr: none.
  virtual IoHandler* Awaits() { return nullptr; }
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_TIMER_H_
