// ActorAs answers the actor of a slot as the class that it is known to be. This is the one cast
// from a slot to an actor's class, and it is checked.
//
// Owner:  none.
// Thread: the slot's worker's.
// Bound:  a virtual call for each question.
// Errors: a slot with an actor of another class, or with none, ends the process.
#ifndef SLUICE_CORE_SLOT_ACTOR_AS_H_
#define SLUICE_CORE_SLOT_ACTOR_AS_H_

#include <cstdint>

#include "sluice/core/base/check.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

// Requires: the slot's actor is an A, and `A::IsKind` answers for KindOf<A>().
template <class A>
A& ActorAs(const Slot* slot) {
  SLUICE_CHECK(slot->actor != nullptr && slot->actor->IsKind(KindOf<A>()));
  return static_cast<A&>(*slot->actor);
}

// The actor that `generation` of the slot stands for; nullptr: it has ended.
template <class A>
A* LiveActorAs(const Slot* slot, uint32_t generation) {
  if (slot->generation != generation || slot->actor == nullptr) return nullptr;
  return &ActorAs<A>(slot);
}

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_ACTOR_AS_H_
