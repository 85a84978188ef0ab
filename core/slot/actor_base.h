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
#include "sluice/core/slot/coroutine.h"

namespace sluice {

// A mark for each class that ActorAs() is asked for; its address is the class's name.
template <class A>
inline constexpr char kKindMark = 0;
template <class A>
const void* KindOf() {
  return &kKindMark<A>;
}

// Is told of the end of a monitored actor instead of the actor's OnDown.
class DownListener {
 public:
  virtual void Told(Down down) = 0;

 protected:
  ~DownListener() = default;
};

class ActorBase {
 public:
  virtual ~ActorBase() = default;
  ActorBase(const ActorBase&) = delete;
  ActorBase& operator=(const ActorBase&) = delete;

  // OnStart is the first handler, OnStop the last. In OnStop the actor takes no more messages, but
  // may still send. OnStop does not run for an actor that failed, or that was stopped before its
  // OnStart: only its destructor runs. A callback that is registered in OnStop never runs.
  virtual void OnStart() {}
  virtual void OnStop() {}
  // A monitored actor has ended. Called exactly once for each Monitor() that was not taken back,
  // after the last message of that actor; not called when the runtime ends first.
  virtual void OnDown(const Down&) {}

  // True: the actor is an `A`, where `kind` is KindOf<A>(). For ActorAs(). The classes of the
  // layers above that are asked for override this.
  virtual bool IsKind(const void*) const { return false; }

 protected:
  ActorBase() = default;

 private:
  friend class Family;
  friend class Life;
  friend class Worker;
  // Called just before a failed actor is destroyed, if its OnStart had begun and it is not
  // restarted. For the layers above, not for programs.
  virtual void OnEndedByFailure() {}
  // Tasks that the actor runs besides those in its ActorExtra; nullptr: none. For the end, which
  // cancels them, and the dump.
  virtual Coroutines* Tasks() { return nullptr; }
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_ACTOR_BASE_H_
