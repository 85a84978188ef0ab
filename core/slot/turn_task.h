// TurnTask is long work of a framework actor, done in portions: the task is on its worker's list of
// tasks and does one portion in each turn. Between the portions the worker serves all other actors.
//
// Owner:  its holder, which takes it off the list before it ends (Worker::Withdraw).
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
  // The worker has taken the task off the list. If there is more, OnTurn puts it back
  // (Worker::MarkDue).
  virtual void OnTurn() = 0;

 protected:
  ~TurnTask() = default;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_TURN_TASK_H_
