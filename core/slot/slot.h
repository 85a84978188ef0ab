// Slot is an actor's place: never unmapped while the process lives, so that a Ref may always look
// at it, even after its runtime has ended (core/slot/home.h).
//
// Owner:  the worker of the actor that lives there; the generation in the mailbox word says which
//         actor that is. A free slot belongs to the thread that took it from the runtime's stock:
//         so the next actor may live on another worker, in a later generation.
// Thread: `mailbox.Word()`, `worker`, `generation` and `mailbox.Admits()` any. All else the
//         worker's, once it has seen that its handle's generation is the slot's: with a stale
//         handle the slot may be another worker's by now.
// Bound:  actors_max slots, and a small stock for each worker; 128 bytes each.
// Errors: none: a handle of another generation belongs to an actor that has ended.
#ifndef SLUICE_CORE_SLOT_SLOT_H_
#define SLUICE_CORE_SLOT_SLOT_H_

#include <cstddef>
#include <cstdint>

#include "sluice/core/base/atomics.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/mailbox/mailbox.h"
#include "sluice/core/slot/io_handler.h"

namespace sluice {

class ActorBase;
class Worker;
struct ActorExtra;

enum class ActorState : uint8_t {
  kFree,
  kStarting,  // Messages may arrive; the actor is not constructed yet, or OnStart has not run.
  kLive,
  kRestarting,  // The actor failed; it takes messages, and handles none until recreated.
  kStopping,    // Takes no message; waits for its children to end.
  kLingering,   // Ended. The outbox and the descriptor may still have work to finish.
};

struct alignas(64) Slot {
  Slot(Worker* owner, uint32_t slot_id) : worker(owner), id(slot_id) {}

  // Reasons to take no message though not parked: bits of `suspended`.
  static constexpr uint8_t kBySelf = 1;  // Until it resumes (a spoke that waits for peers).
  // The connection is not established: messages, replies and Downs wait in order, for OnOpen.
  static constexpr uint8_t kMailHeld = 2;
  // The actor holds its mail (core/worker/mail_holds.h): user messages wait, and replies, Downs and
  // all other handlers run.
  static constexpr uint8_t kMessagesHeld = 4;

  bool MailHeld() const { return (suspended & kMailHeld) != 0; }
  bool MessagesHeld() const { return (suspended & kMessagesHeld) != 0; }
  // 2^31 actors have lived here: no other actor will.
  bool UsedUp() const { return generation >= MailboxWord<>::kGenerationLast - 1; }
  // May a handler run now?
  bool Runnable() const {
    return (state == ActorState::kLive || state == ActorState::kStarting) && !parked &&
           (suspended & kBySelf) == 0;
  }
  // May the actor be given its next message? Not while kMailHeld, though its other handlers run.
  bool TakesMail() const {
    return state == ActorState::kLive && !(parked | suspended | stop_asked | has_outbox);
  }
  // It takes no message, and the replies and Downs among its mail all the same?
  bool TakesReserved() const {
    return state == ActorState::kLive && suspended == kMessagesHeld &&
           !(parked | stop_asked | has_outbox);
  }

  // The first cache line: what senders on other workers read, and the word that all of them change.
  // Handling a message touches the second line only, so owner and senders do not take a line from
  // each other.
  //
  // The owner. Changed under the lock of the runtime's stock, while no actor lives here. A holder
  // of a handle to the present actor got the handle later, and so reads this actor's worker.
  OwnerWritten<Worker*> worker;
  IoHandler* io = nullptr;
  ActorExtra* extra = nullptr;  // State that few actors need; made when first needed.
  uint32_t id;                  // Never changed while its runtime lives.
  // The owner's copy: generation of the actor that lives or lingers here; even: no actor. No value
  // is used twice, so with a stale handle a worker reads a different value, however old its read
  // is. Released after `worker` is written; partner: acquire in SlotTable::ForSome().
  OwnerWritten<uint32_t> generation;
  bool started = false;  // OnStart has run, so OnStop will.
  // The slot's generation when its runtime took it: the numbers passed to the kernel count from
  // there, so that a simulated run does not depend on earlier runs in the process.
  uint32_t first_generation = 0;
  alignas(8) char unused[16] = {};
  Mailbox<> mailbox;  // The mailbox's word ends the first line; its counts are in the second.
  // The second line: the owner's, with each message.
  ActorBase* actor = nullptr;
  EnvelopeList queue;  // The mailbox's user and reserved messages.
  Slot* run_next = nullptr;
  ActorState state = ActorState::kFree;
  bool scheduled = false;
  bool parked = false;
  uint8_t suspended = 0;
  bool stop_asked = false;
  bool has_outbox = false;  // Messages wait in its outbox.
};
static_assert(sizeof(Slot) == 128);
static_assert(offsetof(Slot, mailbox) + sizeof(MailboxWord<>) == 64);

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_SLOT_H_
