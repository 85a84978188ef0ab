// WaitCycles finds parked actors that wait for each other in a circle, and orders the break of the
// cycle.
//
// From probe_after on, a parked actor sends a probe to the actor that it waits for; a parked actor
// passes the probe on along its own wait. The probe ends where the chain ends: the target is not
// parked, or waits for memory or a lane. A probe that returns to its origin has seen a cycle, or a
// phantom: waits that never existed at one time. So a cycle counts only when a second probe, sent
// after the first has returned, finds the same actors in the same episodes of waiting.
//
// The last actor to park gives way. Each hop says when its actor parked, so all actors that find
// the cycle choose the same one. The order to that actor names the episode of its wait: a second
// order for the same wait finds another episode, and does nothing.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  one probe on its way for each wait, and ever longer pauses between them; kProbeHopsMax
//         hops.
// Errors: a longer chain is not followed further, so such a cycle is not found.
#ifndef SLUICE_CORE_WORKER_WAIT_CYCLES_H_
#define SLUICE_CORE_WORKER_WAIT_CYCLES_H_

#include <cstdint>
#include <vector>

#include "sluice/core/worker/desk.h"

namespace sluice {

struct ProbeControl;
struct ProbeHop;

class WaitCycles {
 public:
  explicit WaitCycles(Desk& desk) : desk_(desk) {}

  // The actor has parked, or a probe of its wait was sent: arms the timer of the next probe.
  void ArmProbe(Slot* slot);
  // That timer is due.
  void ProbeDue(Slot* slot);
  // A probe has come to an actor of this worker.
  void OnProbe(Slot* slot, uint32_t generation, ProbeControl& probe);
  // A cycle was broken, and this actor gave way and waits again: the next messages to drop go
  // quickly, and the worker does its other work in between.
  void ProbeSoon(Slot* slot);

 private:
  void Break(std::vector<ProbeHop> cycle);

  Desk& desk_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_WAIT_CYCLES_H_
