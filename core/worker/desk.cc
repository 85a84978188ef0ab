#include "sluice/core/worker/desk.h"

#include "sluice/core/slot/actor_extra.h"

namespace sluice {

thread_local constinit Worker* Desk::current_worker = nullptr;

Desk::Desk(Shared& of, Worker& its_worker, int its_index)
    : shared(of),
      worker(its_worker),
      os(of.os),
      options(of.options),
      index(its_index),
      clock(os, its_index, options.slow_handler),
      lease(*of.budget, options.workers),
      frames(lease),
      timers(clock.NowMs()) {}

void Desk::AdoptPlaced(Slot* slot, uint32_t generation) {
  // Read the word first: with a stale handle all other state may belong to another worker by now.
  if (slot->mailbox.Word().Generation() != generation || !MailboxWord<>::IsLive(generation)) return;
  if (slot->state != ActorState::kFree) return;
  slot->generation.StoreRelease(generation);
  slot->mailbox.Adopt(MailboxWord<>::kCreditsMax);
  slot->state = ActorState::kStarting;
  ++actor_count;
  ++ledger.spawned;
}

ActorExtra& Desk::Extra(Slot* slot) {
  if (slot->extra == nullptr) slot->extra = new ActorExtra(slot);
  return *slot->extra;
}

}  // namespace sluice
