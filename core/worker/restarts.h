// Restarts recreates a failed actor in its slot, or lets it give up and fail its parent.
//
// A restart keeps slot, generation, name, mailbox, monitors of the actor and actors that wait for
// its credits. All that the failed incarnation began ends with it: children (first), timers, its
// own monitors, questions. Its outbox has linger_timeout to empty, so that messages keep the order
// in which they were sent. All of this happens in steps, through the run queue.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  a step destroys Desk::kStepMax items.
// Errors: an actor that fails more often than its policy allows ends, and its parent fails.
#ifndef SLUICE_CORE_WORKER_RESTARTS_H_
#define SLUICE_CORE_WORKER_RESTARTS_H_

#include <memory>

#include "sluice/core/worker/desk.h"

namespace sluice {

class Family;
class Life;
class MailHolds;
class Parking;
struct Restart;

class Restarts {
 public:
  Restarts(Desk& desk, Parking& parking, Family& family, MailHolds& holds, Life& life)
      : desk_(desk), parking_(parking), family_(family), holds_(holds), life_(life) {}

  // Creates the actor for the first time, and keeps `restart`, which recreates the actor when it
  // fails.
  void Make(Slot* slot, std::unique_ptr<Restart> restart);
  // The actor has failed. False: it ends; if it failed too often, its parent fails too.
  bool May(Slot* slot);
  // Requires: May().
  void Begin(Slot* slot);
  void Step(Slot* slot);

 private:
  bool DestroyFailed(Slot* slot, int* budget);

  Desk& desk_;
  Parking& parking_;
  Family& family_;
  MailHolds& holds_;
  Life& life_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_RESTARTS_H_
