// Placing is how an actor is made on a worker that the thread which spawns it is not: a slot is
// taken and opened here, and an order goes to the worker, which constructs the actor.
//
// Owner:  none; these are functions on what the workers share.
// Thread: any.
// Bound:  actors_max.
// Errors: refused spawns answer nullptr and are counted; options that cannot be are logged.
#ifndef SLUICE_CORE_WORKER_PLACING_H_
#define SLUICE_CORE_WORKER_PLACING_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "sluice/core/slot/shared.h"

namespace sluice {

// Where they ask for what cannot be, the spawn answers a dead Ref, is counted as refused, and the
// log says why.
struct SpawnOptions {
  std::string name;                   // For the log and the dump; empty: its type and number.
  uint32_t mailbox_messages_max = 0;  // At most INT32_MAX; 0: the runtime's.
  // Where it lives: a number below Runtime::WorkerCount(). -1: with its parent, or for a root, on
  // the workers in turn.
  int worker = -1;
  uint32_t MailboxMax(const Options& runtime) const {
    return mailbox_messages_max != 0 ? mailbox_messages_max : runtime.mailbox_messages_max;
  }
};

namespace internal {

// False, and logged: there is no such worker, or no mailbox holds so much.
bool Allows(Shared& shared, const SpawnOptions& options);

// A slot on the worker of `options` whose actor `construct` makes, there, soon. {nullptr, 0}:
// actors_max, options that cannot be, or a drain whose deadline has passed, or that is over.
std::pair<Slot*, uint32_t> PlaceSlot(Shared& shared, const SpawnOptions& options, Slot* parent,
                                     absl::AnyInvocable<void(Worker&, Slot*)> construct);

}  // namespace internal

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_PLACING_H_
