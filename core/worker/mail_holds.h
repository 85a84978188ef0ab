// MailHolds lets an actor take no user message while it works on one: the messages wait in order in
// its mailbox and keep their credits, so their senders are parked. Replies, Downs, timers,
// callbacks and tasks of the actor run all the same, as the hold ends in one of those.
//
// An actor holds its mail while it has a MailHold, or while as many of its tasks as may run were
// begun by messages (tasks_max). Its slices then set user messages aside and deliver the others.
// When the last hold ends, what was set aside goes before all that has come since. So the way of a
// message to an actor that holds nothing is not longer by one instruction.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  32 bits of holds for each actor; the mailbox bounds what is set aside.
// Errors: none. A hold of an actor that ends, or of an earlier incarnation, holds nothing.
#ifndef SLUICE_CORE_WORKER_MAIL_HOLDS_H_
#define SLUICE_CORE_WORKER_MAIL_HOLDS_H_

#include <cstdint>
#include <string>

#include "sluice/core/worker/desk.h"

namespace sluice {

struct HeldMail;

class MailHolds {
 public:
  explicit MailHolds(Desk& desk) : desk_(desk) {}

  // Answers the number of the new hold. 0: the actor takes no message any more.
  uint64_t Hold(Slot* slot);
  void Release(Slot* slot, uint64_t hold);
  // False: the incarnation that the hold belongs to has ended, or ends.
  static bool Holds(const Slot* slot, uint64_t hold);

  // A task that a message has begun; it ends once.
  void TaskBegins(Slot* slot);
  void TaskEnds(Slot* slot);
  void SetTasksMax(Slot* slot, uint32_t tasks_max);

  // The incarnation has ended, and all its holds with it: what was set aside is mail again.
  void EndAll(Slot* slot);

  // In a slice: sets the first message of the queue aside, if that is what waits. Requires:
  // slot->TakesReserved(), and the queue is not empty.
  bool SetAside(Slot* slot);

  // For the drain: an actor holds its mail, or a task that a message has begun is under way.
  bool Busy() const { return holders_ > 0 || tasks_ > 0; }
  int64_t Holders() const { return holders_; }
  // "holds its mail for 1200 ms (2 holds), and 17 messages wait", or "works on 3 messages by
  // tasks"; empty: neither.
  static std::string Text(const Slot* slot, int64_t now_ms);

 private:
  HeldMail& Of(Slot* slot);
  void Update(Slot* slot, HeldMail& held);
  void PutBack(Slot* slot, HeldMail& held);

  Desk& desk_;
  int64_t holders_ = 0;  // Actors that hold their mail.
  int64_t tasks_ = 0;    // Begun by messages, and not over.
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_MAIL_HOLDS_H_
