// TurnTask is work of a framework actor that may be long and so is done in portions: it stands on
// its worker's list of tasks and does one portion in each of its turns, between which the worker
// serves everybody else.
//
// Owner:  whoever it belongs to; off the list before it ends (Worker::Withdraw).
// Thread: the worker's.
// Bound:  a portion is some 0.1 ms; all tasks of a worker together have kTurnNs in each turn.
// Errors: none may leave OnTurn.
#ifndef SLUICE_CORE_SLOT_TURN_TASK_H_
#define SLUICE_CORE_SLOT_TURN_TASK_H_

#include "sluice/core/base/intrusive_list.h"

namespace sluice {

struct TaskTag {};

class TurnTask : public ListNode<TaskTag> {
 public:
  // It has been taken off the list. Puts itself back (Worker::MarkDue) if there is more.
  virtual void OnTurn() = 0;

 protected:
  ~TurnTask() = default;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_TURN_TASK_H_
