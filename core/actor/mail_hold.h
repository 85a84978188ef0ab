// MailHold lets an actor take no message until the hold is released or destroyed: the messages wait
// in order in its mailbox, and their senders are parked when it is full. Replies, Downs, timers,
// callbacks and tasks of the actor run all the same, as the hold ends in one of those.
//
//   void On(Job job) {
//     (void)RunBlocking([job] { return Work(job); },
//                       [this, hold = HoldMail()](absl::StatusOr<int64_t> done) { Note(done); });
//   }  // The next Job is taken when the callback has run.
//
// An actor may have several holds, and takes messages again when all have ended. The end of the
// actor and its restart end them: a hold that outlives its actor, or the failed instance before a
// restart, holds nothing.
//
// A question that the actor asks while it holds its mail needs a deadline. If the actor asked is
// itself parked at this one, both wait until then: no cycle of parked actors is there to be found.
//
// Owner:  its holder; movable.
// Thread: the actor's worker's. Elsewhere the end of a hold ends the process, with a line that
//         names the actor.
// Bound:  three words; the actor counts its holds.
// Errors: none.
#ifndef SLUICE_CORE_ACTOR_MAIL_HOLD_H_
#define SLUICE_CORE_ACTOR_MAIL_HOLD_H_

#include <cstdint>
#include <utility>

#include "sluice/core/slot/slot.h"

namespace sluice {

class [[nodiscard("without its holder the hold ends at once")]] MailHold {
 public:
  MailHold() = default;  // Holds nothing.
  MailHold(MailHold && other) noexcept
      : slot_(std::exchange(other.slot_, nullptr)),
        generation_(other.generation_),
        number_(other.number_) {}
  MailHold& operator=(MailHold&& other) noexcept {
    MailHold taken(std::move(other));
    std::swap(slot_, taken.slot_);
    std::swap(generation_, taken.generation_);
    std::swap(number_, taken.number_);
    return *this;
  }
  ~MailHold() {
    if (slot_ != nullptr) Release();
  }

  // Idempotent. The actor takes messages again, after the present handler, if this was the last.
  void Release();
  // False: it was released or moved from, or the actor or that instance of it has ended.
  bool Holds() const;

 private:
  friend class Actor;
  MailHold(Slot * slot, uint64_t number)
      : slot_(slot), generation_(slot->generation), number_(number) {}

  Slot* slot_ = nullptr;
  uint32_t generation_ = 0;
  uint64_t number_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_MAIL_HOLD_H_
