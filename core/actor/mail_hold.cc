#include "sluice/core/actor/mail_hold.h"

#include "sluice/core/actor/actor.h"
#include "sluice/core/worker/mail_holds.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

MailHold Actor::HoldMail() {
  CheckThread("HoldMail()");
  const uint64_t number = worker().holds().Hold(slot_);
  return number == 0 ? MailHold() : MailHold(slot_, number);
}

// The generation first: after the actor's end its worker may be gone.
void MailHold::Release() {
  Slot* const slot = std::exchange(slot_, nullptr);
  if (slot == nullptr || slot->generation != generation_) return;
  if (!slot->worker->desk().OnWorker()) internal::RefuseThread(slot, "the end of a MailHold");
  slot->worker->holds().Release(slot, number_);
}

bool MailHold::Holds() const {
  return slot_ != nullptr && slot_->generation == generation_ && MailHolds::Holds(slot_, number_);
}

}  // namespace sluice
