// Placing creates an actor on a worker from another thread: that thread takes and opens a slot, and
// the worker gets an order and constructs the actor.
//
// Owner:  none; functions on state that the workers share.
// Thread: any.
// Bound:  actors_max.
// Errors: refused spawns answer nullptr and are counted; invalid options are logged.
#ifndef SLUICE_CORE_WORKER_PLACING_H_
#define SLUICE_CORE_WORKER_PLACING_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "sluice/core/slot/shared.h"

namespace sluice {

// If the options are invalid, the spawn answers a dead Ref, counts as refused, and the log says
// why.
struct SpawnOptions {
  std::string name;  // For the log and the dump; empty: the actor's type and number.
  uint32_t mailbox_messages_max = 0;  // At most INT32_MAX; 0: the runtime's.
  // The actor's worker: a number below Runtime::WorkerCount(). -1: the parent's worker; for a root,
  // the workers in turn.
  int worker = -1;
  // Tasks that messages began and that may be open at once (`Task<R> On(Q)`, `Task<> On(M)`): past
  // it the actor takes no message until one has ended. 1: it ends the work on a message before it
  // takes the next. 0: the runtime's.
  uint32_t tasks_max = 0;
  uint32_t MailboxMax(const Options& runtime) const {
    return mailbox_messages_max != 0 ? mailbox_messages_max : runtime.mailbox_messages_max;
  }
};

namespace internal {

// False, and logged: there is no such worker, or the capacity exceeds what a mailbox can have.
bool Allows(Shared& shared, const SpawnOptions& options);

// Takes a slot on the worker of `options`; that worker soon runs `construct`, which creates the
// actor. {nullptr, 0}: actors_max live, the options are invalid, or a drain is past its deadline or
// over.
std::pair<Slot*, uint32_t> PlaceSlot(Shared& shared, const SpawnOptions& options, Slot* parent,
                                     absl::AnyInvocable<void(Worker&, Slot*)> construct);

}  // namespace internal

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_PLACING_H_
