// ActorBase is what a worker knows of an actor: its first handler, its last, and its end. Programs
// derive from Actor.
//
// Owner:  the slot; made by a spawn, deleted by the actor's end.
// Thread: the worker's.
// Bound:  none of its own.
// Errors: an exception that leaves one of these calls fails the actor.
#ifndef SLUICE_CORE_SLOT_ACTOR_BASE_H_
#define SLUICE_CORE_SLOT_ACTOR_BASE_H_

#include "sluice/core/mailbox/answer.h"

namespace sluice {

class ActorBase {
 public:
  virtual ~ActorBase() = default;
  ActorBase(const ActorBase&) = delete;
  ActorBase& operator=(const ActorBase&) = delete;

  // The first handler, and the last. In OnStop the actor takes no message any more, and may still
  // send. No OnStop for one that failed, or that was told to stop before its OnStart: its
  // destructor alone. Nor does a callback that is asked for in OnStop ever run.
  virtual void OnStart() {}
  virtual void OnStop() {}
  // An actor that was monitored has ended. Exactly once for each Monitor(), after its last message;
  // where the runtime ends first, nobody is called.
  virtual void OnDown(const Down&) {}

 protected:
  ActorBase() = default;

 private:
  friend class Worker;
  // The actor failed, is not restarted and is about to be destroyed; only if its OnStart had begun.
  // For the layers above: not for programs.
  virtual void OnEndedByFailure() {}
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_ACTOR_BASE_H_
