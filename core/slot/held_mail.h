// HeldMail is what an actor needs that takes no user message for now: because it holds its mail
// (Actor::HoldMail), or because as many of its tasks as may run were begun by messages (tasks_max).
//
// Owner:  the slot's ActorExtra; made when first needed, freed with the actor's end. A restart
//         keeps it.
// Thread: the worker's. core/worker/mail_holds.h changes it.
// Bound:  `aside` by the mailbox, as its messages keep their credits.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_HELD_MAIL_H_
#define SLUICE_CORE_SLOT_HELD_MAIL_H_

#include <cstdint>

#include "sluice/core/mailbox/envelope.h"

namespace sluice {

struct HeldMail {
  // 1. Slot::kMessagesHeld is set if and only if Wanted() is true and the actor's handlers run.
  // 2. `aside` is empty while the bit is not set.
  bool Wanted() const { return holds > 0 || tasks >= tasks_max; }

  EnvelopeList aside;  // The mail that waits, in order. All of it is older than the slot's queue.
  uint32_t aside_count = 0;
  uint32_t holds = 0;
  uint32_t tasks = 0;  // Begun by messages, and not ended.
  uint32_t tasks_max = 0;
  uint64_t last_lost = 0;  // Holds up to this number belong to incarnations that have ended.
  int64_t since_ms = 0;    // When the bit was set.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_HELD_MAIL_H_
