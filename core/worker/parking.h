// Parking is what a worker does for an actor that sent to a full target, and for the actors that
// wait for credits of its own actors.
//
// A message that cannot go waits in the sender's outbox, and the actor runs no handler until the
// outbox is empty. Only the head waits, for one of three things: a credit of its target, room in
// the lane to the target's worker, or memory. For a credit, the target's worker gets one order
// (Wait, with the number of leading messages for that target), and answers with grants.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  outbox_messages_max for each actor; one wait for each parked actor.
// Errors: Park() answers kOverloaded when the outbox is full or the wait could never end, kTooLarge
//         when the message is larger than the budget.
#ifndef SLUICE_CORE_WORKER_PARKING_H_
#define SLUICE_CORE_WORKER_PARKING_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "sluice/core/mailbox/answer.h"
#include "sluice/core/mailbox/mailbox.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class Mail;
class WaitCycles;

class Parking {
 public:
  Parking(Desk& desk, Mail& mail, WaitCycles& cycles) : desk_(desk), mail_(mail), cycles_(cycles) {}

  // --- The sender, an actor of this worker.

  // Answers an envelope in the sender's outbox for the message, or nullptr and why not. `target` is
  // not the sender.
  Answer Park(Slot* sender, Slot* target, uint32_t generation, int64_t charge, Envelope** place);
  bool OutboxHolds(const Slot* sender, const Slot* target) const;
  // Sends the messages that can go. The actor is parked while any is left, and runs again when none
  // is.
  void FlushOutbox(Slot* slot);
  void DropOutbox(Slot* slot, DropReason reason);
  // The outbox holds messages for an ancestor that waits for this actor's end before it handles
  // any. They could only wait until linger_timeout, so they are dropped now.
  void ForgetMessagesFor(Slot* slot, const Slot* target);
  // Drops the head of the outbox, which waits in a cycle. False: that wait is over.
  bool BreakWait(Slot* slot, uint32_t generation, uint32_t episode);

  // --- Orders that have come for a sender.

  void OnGrant(Slot* waiter, uint32_t generation, uint32_t episode, uint32_t credits, Slot* target,
               uint32_t target_generation);
  void OnTargetClosed(Slot* waiter, uint32_t generation, uint32_t episode);
  void OnLaneRoom(int to_worker);
  // Memory may be free: actors that are parked for it try again.
  void RetryForMemory();
  bool WaitsForMemory() const { return !memory_waiters_.empty(); }

  // --- The target, an actor of this worker.

  void OnWait(Slot* target, uint32_t generation, const Waiter& waiter);
  void OnCancel(Slot* target, uint32_t generation, uint64_t key, uint32_t waiter_generation);
  void OnGrantBack(Slot* target, uint32_t generation, uint32_t credits);
  void IssueGrants(Slot* slot);
  // Notifies at most `most` actors that wait for credits of this closed mailbox. Answers how many.
  int TellClosed(Slot* slot, int most);

 private:
  friend class Inspector;

  void Unpark(Slot* slot);
  void DropOutboxHead(Slot* slot, DropReason reason);
  void WithdrawWait(Slot* slot);

  Desk& desk_;
  Mail& mail_;
  WaitCycles& cycles_;
  std::vector<std::pair<Slot*, uint32_t>> memory_waiters_;  // With their generations.
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_PARKING_H_
