// Life is the beginning and the end of actors on a worker: slots, spawn, stop, failure, end.
//
// An actor ends in bounded steps, so that the death of an actor with a full mailbox and a thousand
// monitors does not hold the worker; meanwhile the slot answers `closed`. The order: children end;
// OnStop; held messages are dropped; actors that wait for its credits are notified; the outbox
// empties, or linger_timeout passes; monitors get Down; the parent is notified; the descriptor, if
// any, finishes; the slot becomes free.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  a step drops, notifies or cancels Desk::kStepMax items; SlotTable::kFreeSlotsMax free
// slots. Errors: an exception that leaves a handler of the end is logged, and the end goes on.
#ifndef SLUICE_CORE_WORKER_LIFE_H_
#define SLUICE_CORE_WORKER_LIFE_H_

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/mailbox/answer.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class ActorBase;
class Coroutine;
class Descriptors;
class Family;
class MailHolds;
class Parking;
class Restarts;

class Life {
 public:
  Life(Desk& desk, Parking& parking, Descriptors& descriptors, Family& family, MailHolds& holds,
       Restarts& restarts);

  // --- The beginning.

  Slot* AllocateSlot();  // nullptr, and counted: actors_max actors live.
  void Open(Slot* slot, uint32_t capacity);
  // The actor's constructor has run.
  void Install(Slot* slot, ActorBase* actor);
  // Runs OnStart, which comes before any other handler. Requires: the state is kStarting.
  void RunStart(Slot* slot);

  // --- Its end is asked for.

  void Stop(Slot* slot, EndReason reason, std::string text);
  // As Stop, for an actor that must be notified of its end (a session): OnStart runs first, if it
  // has not run.
  void StopStarted(Slot* slot, EndReason reason, std::string text);
  // A handler or the constructor threw.
  void Fail(Slot* slot, std::exception_ptr error);
  void FailWith(Slot* slot, std::string text);
  // The child of `parent` has given up. While the parent ends or restarts, its children end anyway.
  void Escalate(Slot* parent, uint32_t generation, std::string text);
  // The ancestor is recreated when this actor has ended.
  void NoteRestarting(Slot* slot, uint32_t generation, const Slot* ancestor);

  // --- The end, step by step.

  // Requires: no handler runs on this worker.
  void BeginStop(Slot* slot);
  void ChildEnded(Slot* parent, uint32_t generation, uint64_t order, bool lingers);
  void EndStep(Slot* slot);
  void LingerOver(Slot* slot);
  void ArmLinger(Slot* slot, int64_t deadline_ms);
  void CancelLinger(Slot* slot);
  // Cancels at most `most` tasks of an actor whose handlers run no more. Answers how many.
  static int CancelTasks(Slot* slot, int most);
  static Coroutine* FirstTask(const Slot* slot);  // nullptr: the actor runs no task.
  // Destroys at most `most` timers. Answers how many.
  int ForgetTimers(Slot* slot, int most);
  // Ends the way of a message that its actor will not handle.
  void CountDropped(Slot* slot, Envelope* envelope, DropReason reason);

 private:
  friend class Inspector;
  friend class LifeTestPeer;

  void BeginEnd(Slot* slot);
  void ChildrenEnded(Slot* slot);
  void FinishStop(Slot* slot);
  void BeginLinger(Slot* slot);
  bool EndActor(Slot* slot, int* budget);
  void DropWhatItHeld(Slot* slot, int* budget);
  int ForgetAsks(Slot* slot, int most);
  void Free(Slot* slot);

  Desk& desk_;
  Parking& parking_;
  Descriptors& descriptors_;
  Family& family_;
  MailHolds& holds_;
  Restarts& restarts_;
  std::vector<Slot*> free_slots_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_LIFE_H_
