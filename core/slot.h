// Slot is an actor's place: never unmapped while the runtime lives, so that a Ref may always look
// at it.
//
// Owner:  its worker, for ever; the generation in the mailbox word says which actor lives there.
// Thread: `mailbox.Word()` and `worker` any; all else the worker's.
// Bound:  actors_max slots in all; 128 bytes each.
// Errors: none: who finds another generation than his meets an actor that has ended.
#ifndef SLUICE_CORE_SLOT_H_
#define SLUICE_CORE_SLOT_H_

#include <cstddef>
#include <cstdint>

#include "sluice/core/envelope.h"
#include "sluice/core/io_handler.h"
#include "sluice/core/mailbox.h"

namespace sluice {

class Actor;
class Worker;
struct ActorExtra;

enum class ActorState : uint8_t {
  kFree,
  kStarting,  // Messages may arrive; the actor is not constructed yet, or OnStart has not run.
  kLive,
  kRestarting,  // It failed: takes messages, handles none until it is made anew.
  kStopping,    // Takes no message; waits for its children to end.
  kLingering,   // Ended. Its outbox and its descriptor may still have something to finish.
};

struct alignas(64) Slot {
  Slot(Worker* owner, uint32_t slot_id, bool placed)
      : worker(owner), id(slot_id), for_placed(placed) {}

  // Why it takes no message though it is not parked: bits of `suspended`.
  static constexpr uint8_t kBySelf = 1;  // Until it resumes (a spoke that waits for peers).
  // Its connection does not stand yet: messages, replies and Downs wait in their order, for OnOpen.
  static constexpr uint8_t kMailHeld = 2;

  bool Parked() const { return parked; }
  bool MailHeld() const { return (suspended & kMailHeld) != 0; }
  // May a handler run now?
  bool Runnable() const {
    return (state == ActorState::kLive || state == ActorState::kStarting) && !parked &&
           (suspended & kBySelf) == 0;
  }
  // May it be given its next message? Not while kMailHeld, though its other handlers run.
  bool TakesMail() const {
    return state == ActorState::kLive && !(parked | suspended | stop_asked | has_outbox);
  }

  // The first cache line is what senders on other workers read, and the word that all of them
  // change: a message that is handled touches the second line only, so that owner and senders do
  // not take it from each other.
  Worker* const worker;
  IoHandler* io = nullptr;
  ActorExtra* extra = nullptr;  // What few actors need; made when first needed.
  const uint32_t id;
  uint32_t generation = 0;  // The owner's copy: of the actor that lives or lingers here.
  const bool for_placed;    // From the stock for spawns that other threads place on this worker.
  bool started = false;     // OnStart has run, so OnStop will.
  alignas(8) char unused[16] = {};
  Mailbox<> mailbox;  // Its word ends the first line; its counts are in the second.
  // The second line: the owner's, with each message.
  Actor* actor = nullptr;
  EnvelopeList queue;  // What the mailbox holds: user and reserved messages.
  Slot* run_next = nullptr;
  ActorState state = ActorState::kFree;
  bool scheduled = false;
  bool parked = false;
  uint8_t suspended = 0;
  bool stop_asked = false;
  bool has_outbox = false;  // Something waits in its outbox.
};
static_assert(sizeof(Slot) == 128);
static_assert(offsetof(Slot, mailbox) + sizeof(MailboxWord<>) == 64);

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_H_
