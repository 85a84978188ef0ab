#include "sluice/core/worker/mail_holds.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"

namespace sluice {

HeldMail& MailHolds::Of(Slot* slot) {
  std::unique_ptr<HeldMail>& held = desk_.Extra(slot).held_mail;
  if (held == nullptr) {
    held = std::make_unique<HeldMail>();
    held->tasks_max = desk_.options.tasks_max;
  }
  return *held;
}

// In its end and between two incarnations an actor takes no message anyway.
void MailHolds::Update(Slot* slot, HeldMail& held) {
  bool wanted = held.Wanted();
  SLUICE_PLANT(tasks_max_one_more, wanted = held.holds > 0 || held.tasks > held.tasks_max);
  if (wanted == slot->MessagesHeld()) return;
  if (!slot->MessagesHeld()) {
    if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting) return;
    slot->suspended |= Slot::kMessagesHeld;
    held.since_ms = desk_.NowMs();
    ++holders_;
    return;
  }
  PutBack(slot, held);
  desk_.ScheduleIfRunnable(slot);
}

void MailHolds::PutBack(Slot* slot, HeldMail& held) {
  slot->suspended &= static_cast<uint8_t>(~Slot::kMessagesHeld);
  --holders_;
  SLUICE_PLANT(held_mail_behind, held.aside.PutInFront(slot->queue));
  slot->queue.PutInFront(held.aside);
  held.aside_count = 0;
}

uint64_t MailHolds::Hold(Slot* slot) {
  SLUICE_CHECK_ON_WORKER(desk_);
  if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting) return 0;
  HeldMail& held = Of(slot);
  const uint64_t hold = ++slot->extra->last_id;
  ++held.holds;
  Update(slot, held);
  return hold;
}

bool MailHolds::Holds(const Slot* slot, uint64_t hold) {
  return slot->extra != nullptr && slot->extra->held_mail != nullptr &&
         hold > slot->extra->held_mail->last_lost;
}

void MailHolds::Release(Slot* slot, uint64_t hold) {
  if (!Holds(slot, hold)) return;
  HeldMail& held = *slot->extra->held_mail;
  SLUICE_CHECK(held.holds > 0);
  --held.holds;
  Update(slot, held);
}

void MailHolds::SetTasksMax(Slot* slot, uint32_t tasks_max) { Of(slot).tasks_max = tasks_max; }

void MailHolds::TaskBegins(Slot* slot) {
  HeldMail& held = Of(slot);
  ++held.tasks;
  ++tasks_;
  Update(slot, held);
}

void MailHolds::TaskEnds(Slot* slot) {
  SLUICE_PLANT(cancelled_task_counts, if (slot->state == ActorState::kRestarting) return);
  HeldMail& held = *slot->extra->held_mail;
  SLUICE_CHECK(held.tasks > 0);
  --held.tasks;
  --tasks_;
  Update(slot, held);
}

void MailHolds::EndAll(Slot* slot) {
  if (slot->extra == nullptr || slot->extra->held_mail == nullptr) return;
  SLUICE_PLANT(hold_survives_end, return);
  HeldMail& held = *slot->extra->held_mail;
  held.holds = 0;
  held.last_lost = slot->extra->last_id;
  if (slot->MessagesHeld()) PutBack(slot, held);  // Its tasks are cancelled later.
}

bool MailHolds::SetAside(Slot* slot) {
  const MessageOps* const ops = slot->queue.Front()->Ops();
  bool waits = ops->kind == MessageKind::kUser || ops->behind_mail;
  SLUICE_PLANT(replies_held, waits = true);
  if (!waits) return false;
  HeldMail& held = *slot->extra->held_mail;
  held.aside.Push(slot->queue.Pop());
  ++held.aside_count;
  return true;
}

std::string MailHolds::Text(const Slot* slot, int64_t now_ms) {
  if (slot->extra == nullptr || slot->extra->held_mail == nullptr) return "";
  const HeldMail& held = *slot->extra->held_mail;
  if (!slot->MessagesHeld()) {
    return held.tasks == 0 ? "" : absl::StrCat("works on ", held.tasks, " messages by tasks");
  }
  std::string why;
  if (held.holds > 0) why = absl::StrCat(held.holds, held.holds == 1 ? " hold" : " holds");
  if (held.tasks >= held.tasks_max) {
    absl::StrAppend(&why, why.empty() ? "" : ", ", held.tasks, " tasks of at most ",
                    held.tasks_max);
  }
  return absl::StrCat("holds its mail for ", now_ms - held.since_ms, " ms (", why, "), and ",
                      held.aside_count, " messages wait");
}

}  // namespace sluice
