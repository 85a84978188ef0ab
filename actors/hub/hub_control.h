// Runtime control between a hub, its spokes and the sessions that leave.
//
// Owner:  the envelope that carries it.
// Thread: made on the sender's, run on the receiving worker's.
// Bound:  as noted at each: what reserved it.
// Errors: none: control for an actor that has ended is recognised by the generation, and ignored.
#ifndef SLUICE_ACTORS_HUB_HUB_CONTROL_H_
#define SLUICE_ACTORS_HUB_HUB_CONTROL_H_

#include <cstdint>

#include "sluice/actors/hub/hub_spoke.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/worker/control.h"

namespace sluice::internal {

// From a spoke to its hub: `count` of its subscribers have gone, or could not join. Reserved by
// their subscriptions.
struct SubscriberGoneControl {
  int worker;
  int64_t count;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (Hub* const hub = LiveActorAs<Hub>(slot, generation)) hub->SubscribersGone(worker, count);
  }
};

// From a session to the spoke that serves it: the session leaves. Arrives before the Leaving, which
// goes through the hub, so that no publisher waits for the session any more.
struct LetGoControl {
  Slot* slot;
  uint32_t generation;
  void Run(Worker&, Slot* spoke_slot, uint32_t spoke_generation) const {
    auto* const spoke = LiveActorAs<Spoke>(spoke_slot, spoke_generation);
    if (spoke != nullptr) spoke->LetGo(slot, generation);
  }
};

// To a hub: end as soon as there is no subscriber.
struct StopWhenLeftControl {
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (Hub* const hub = LiveActorAs<Hub>(slot, generation)) hub->StopWhenLeft();
  }
};

}  // namespace sluice::internal

#endif  // SLUICE_ACTORS_HUB_HUB_CONTROL_H_
