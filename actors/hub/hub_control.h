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
#include "sluice/core/worker/control.h"

namespace sluice::internal {

// From a spoke to its hub: `count` of its subscribers have gone, or could not join. Reserved by
// their subscriptions.
struct SubscriberGoneControl {
  int worker;
  int64_t count;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation != generation || slot->actor == nullptr) return;
    static_cast<Hub*>(slot->actor)->SubscribersGone(worker, count);
  }
};

// From a session to the spoke that serves it: the session leaves. Arrives before the Leaving, which
// goes through the hub, so that no publisher waits for the session any more.
struct LetGoControl {
  Slot* slot;
  uint32_t generation;
  void Run(Worker&, Slot* spoke, uint32_t spoke_generation) const {
    if (spoke->generation != spoke_generation || spoke->actor == nullptr) return;
    static_cast<Spoke*>(spoke->actor)->LetGo(slot, generation);
  }
};

// To a hub: end as soon as there is no subscriber.
struct StopWhenLeftControl {
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation != generation || slot->actor == nullptr) return;
    static_cast<Hub*>(slot->actor)->StopWhenLeft();
  }
};

}  // namespace sluice::internal

#endif  // SLUICE_ACTORS_HUB_HUB_CONTROL_H_
