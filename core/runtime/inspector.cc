#include "sluice/core/runtime/inspector.h"

#include <algorithm>

#include "sluice/core/base/check.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

template <class F>
void ForEachEnvelope(const EnvelopeList& list, F&& visit) {
  const Envelope* const first = list.Front();
  for (const Envelope* envelope = first; envelope != nullptr;) {
    visit(*envelope);
    envelope = envelope->next == first ? nullptr : envelope->next;
  }
}

}  // namespace

Inspector::Lane Inspector::LaneAt(int from, int to) const {
  const LaneGate<>& gate = runtime_.worker(to).mail().inbox().LaneFrom(from).gate;
  Lane lane;
  lane.sent = static_cast<int64_t>(gate.SentTotal());
  lane.taken = static_cast<int64_t>(gate.TakenTotal());
  lane.capacity = static_cast<int64_t>(gate.Capacity());
  if (from < Workers()) {
    const Mail::Stage& stage = runtime_.worker(from).mail().StageTo(to);
    lane.staged = stage.count;
    lane.to_be_roused = stage.dirty;
  }
  return lane;
}

Inspector::RuntimeView Inspector::Look() const {
  RuntimeView view;
  view.outside_sent = runtime_.shared_.outside_sent.load(std::memory_order_relaxed);
  view.outside_reserved = runtime_.shared_.outside_reserved.load(std::memory_order_relaxed);
  view.outside_cross = runtime_.shared_.outside_gate.Sent();
  view.budget_used = runtime_.budget().UsedBytes();
  view.budget_max = runtime_.budget().BytesMax();
  view.actors = runtime_.ActorCount();
  return view;
}

Inspector::WorkerView Inspector::Look(int index) const {
  Worker& worker = runtime_.worker(index);
  WorkerView view;
  view.ledger = worker.desk_.ledger;
  view.cross_sent = worker.mail_.CrossSent();
  view.cross_taken = worker.mail_.CrossTaken();
  view.inbox = static_cast<int64_t>(worker.mail_.inbox().Count());
  ForEachEnvelope(worker.mail_.batch_, [&](const Envelope&) { ++view.inbox; });
  view.asleep = worker.mail_.sleep_word().LooksAsleep();
  view.has_work = worker.HasWork();
  view.has_control = worker.mail_.HasLocalControl();
  view.looks_for_memory = worker.memory_.Active();
  view.turn_ms = worker.NowMs();
  view.next_timer_ms = worker.desk_.timers.NextMs();
  view.timers = worker.desk_.timers.Count();
  view.lease_bytes = worker.desk_.lease.LeftBytes();
  view.actors = worker.desk_.actor_count;
  view.descriptors = worker.descriptors_.Count();
  view.poller = worker.descriptors_.Poller();
  return view;
}

int64_t Inspector::RunQueueLength(int worker) const {
  int64_t length = 0;
  runtime_.worker(worker).desk_.run_queue.ForEach([&](const Slot&) { ++length; });
  return length;
}

int64_t Inspector::FreeSlots(int index) const {
  const Worker& worker = runtime_.worker(index);
  const SlotTable& slots = runtime_.shared_.slots;
  const auto in_stock = std::count_if(slots.stock_.begin(), slots.stock_.end(),
                                      [&](const Slot* slot) { return slot->worker == &worker; });
  return static_cast<int64_t>(worker.life_.free_slots_.size()) + in_stock;
}

uint32_t Inspector::SlotCount() const { return runtime_.shared_.slots.Count(); }

void Inspector::ForEachPlace(const Worker& worker,
                             absl::FunctionRef<void(const Slot&)> visit) const {
  for (uint32_t id = 0; id < SlotCount(); ++id) {
    const Slot& slot = *runtime_.shared_.slots.At(id);
    if (slot.worker == &worker) visit(slot);
  }
}

int64_t Inspector::ForEachSlot(int worker, absl::FunctionRef<void(const SlotView&)> visit) const {
  int64_t walked = 0;
  SlotView view;
  ForEachPlace(runtime_.worker(worker), [&](const Slot& slot) {
    Fill(slot, &view);
    walked += 1 + view.user_messages + view.reserved_messages + view.outbox_listed;
    visit(view);
  });
  return walked;
}

void Inspector::Fill(const Slot& slot, SlotView* view) {
  std::vector<WaiterView> waiters = std::move(view->waiters);  // Keeps its capacity.
  waiters.clear();
  *view = SlotView();
  view->waiters = std::move(waiters);
  view->id = slot.id;
  view->generation = slot.generation;
  view->state = slot.state;
  view->scheduled = slot.scheduled;
  view->runnable = slot.Runnable();
  view->mail_held = slot.MailHeld();
  view->messages_held = slot.MessagesHeld();
  view->parked = slot.parked;
  view->stop_asked = slot.stop_asked;
  view->has_actor = slot.actor != nullptr;
  view->has_io = slot.io != nullptr;
  view->io_forgotten = slot.io != nullptr && slot.io->HasWork() && !slot.io->OnReadyList() &&
                       !slot.io->WaitsForMemory();
  view->used_up = slot.state == ActorState::kFree && slot.UsedUp();

  const Mailbox<>& mailbox = slot.mailbox;
  view->word_generation = mailbox.Word().Generation();
  view->word_credits = mailbox.Word().Credits();
  view->capacity = mailbox.capacity_;
  view->held = mailbox.held_;
  view->reserve = mailbox.reserve_;
  view->freed = mailbox.freed_;
  view->waited_for = mailbox.waited_for_;
  if (mailbox.waiters_ != nullptr) {
    mailbox.waiters_->ForEach([&](const Waiter& waiter) {
      view->waiters.push_back({reinterpret_cast<const Slot*>(waiter.key)->id, waiter.generation,
                               waiter.episode, waiter.wanted});
    });
  }
  const auto count = [&](const Envelope& envelope) {
    ++(envelope.Ops()->kind == MessageKind::kUser ? view->user_messages : view->reserved_messages);
    view->strays += envelope.target != &slot || envelope.generation != slot.generation;
    view->message_bytes += envelope.charge;
  };
  ForEachEnvelope(slot.queue, count);
  if (slot.extra == nullptr) return;
  if (slot.extra->held_mail != nullptr) {
    ForEachEnvelope(slot.extra->held_mail->aside, [&](const Envelope& envelope) {
      count(envelope);
      ++view->aside;
    });
  }
  const Outbox& outbox = slot.extra->outbox;
  view->outbox = outbox.count;
  view->paid = outbox.paid;
  view->waiting = outbox.waiting;
  view->episode = outbox.episode;
  view->waits_for_lane = outbox.waits_for_lane;
  view->waits_for_memory = outbox.waits_for_memory;
  ForEachEnvelope(outbox.list, [&](const Envelope& envelope) {
    ++view->outbox_listed;
    // The last message may not be charged yet.
    const bool charged = outbox.uncharged == 0 || view->outbox_listed < outbox.count;
    view->message_bytes += charged ? envelope.charge : 0;
  });
  if (const Envelope* head = outbox.list.Front(); head != nullptr) {
    view->head_slot = head->target->id;
    view->head_generation = head->generation;
  }
  view->children = static_cast<int64_t>(slot.extra->children.size());
  view->linger_armed = slot.extra->LingerArmed();
}

// Checks each count, flag and second list against the list that it describes.
void Inspector::CheckInvariants(int index) const {
  const Worker& worker = runtime_.worker(index);
  worker.CheckInvariants();
  int64_t actors = 0;
  int64_t descriptors = 0;
  int64_t scheduled = 0;
  int64_t holders = 0;
  const Waits waits = WaitsOf(worker);
  ForEachPlace(worker, [&](const Slot& slot) {
    slot.mailbox.CheckInvariants();
    actors += slot.state != ActorState::kFree;
    descriptors += slot.io != nullptr;
    scheduled += slot.scheduled;
    holders += slot.MessagesHeld();
    CheckExtra(slot, waits);
  });
  SLUICE_CHECK(holders == worker.holds_.Holders());
  SLUICE_CHECK(actors == worker.desk_.actor_count);
  SLUICE_CHECK(descriptors == worker.descriptors_.Count());
  SLUICE_CHECK(scheduled == RunQueueLength(index));
  worker.desk_.run_queue.ForEach([&](const Slot& slot) { SLUICE_CHECK(slot.worker == &worker); });
  for (const Slot* slot : worker.life_.free_slots_) {
    SLUICE_CHECK(slot->state == ActorState::kFree && slot->worker == &worker);
  }
  SLUICE_CHECK(worker.life_.free_slots_.size() <= SlotTable::kFreeSlotsMax);
}

// The actors on the lists for memory and for lanes. Some may have ended, or wait no more.
Inspector::Waits Inspector::WaitsOf(const Worker& worker) {
  Waits waits;
  for (const auto& [slot, generation] : worker.parking_.memory_waiters_) {
    waits.memory.emplace_back(slot, generation);
  }
  for (const auto& stage : worker.mail_.stages_) {
    if (stage == nullptr) continue;
    for (const auto& [slot, generation] : stage->room_waiters) {
      waits.lane.emplace_back(slot, generation);
    }
  }
  std::sort(waits.memory.begin(), waits.memory.end());
  std::sort(waits.lane.begin(), waits.lane.end());
  return waits;
}

void Inspector::CheckExtra(const Slot& slot, const Waits& waits) {
  if (slot.extra == nullptr) {
    SLUICE_CHECK(!slot.has_outbox && !slot.parked && !slot.MessagesHeld());
    return;
  }
  if (const HeldMail* const held = slot.extra->held_mail.get(); held != nullptr) {
    uint32_t aside = 0;
    ForEachEnvelope(held->aside, [&](const Envelope&) { ++aside; });
    SLUICE_CHECK(aside == held->aside_count && (aside == 0 || slot.MessagesHeld()));
    const bool runs = slot.state == ActorState::kLive || slot.state == ActorState::kStarting;
    SLUICE_CHECK(slot.MessagesHeld() == (runs && held->Wanted()));
  } else {
    SLUICE_CHECK(!slot.MessagesHeld());
  }
  const Outbox& outbox = slot.extra->outbox;
  uint32_t messages = 0;
  ForEachEnvelope(outbox.list, [&](const Envelope&) { ++messages; });
  SLUICE_CHECK(messages == outbox.count && slot.has_outbox == (messages > 0));
  SLUICE_CHECK(outbox.paid + outbox.waiting <= messages && outbox.uncharged <= messages);
  const std::pair<const Slot*, uint32_t> self(&slot, slot.generation);
  const auto stands_in = [&](const auto& list) {
    return std::binary_search(list.begin(), list.end(), self);
  };
  SLUICE_CHECK(!outbox.waits_for_memory || stands_in(waits.memory));
  SLUICE_CHECK(!outbox.waits_for_lane || stands_in(waits.lane));
  // Cancelled timers may still have their ids in the list.
  int64_t due = 0;
  int64_t listed = 0;
  for (const auto& [id, timer] : slot.extra->timers) due += timer->due;
  if (slot.extra->asks != nullptr) {
    for (const AskId id : slot.extra->asks->Ids()) due += slot.extra->FindAsk(id)->due;
  }
  for (const uint64_t id : slot.extra->due_timers) {
    const ActorTimer* const timer = slot.extra->FindTimer(id);
    listed += timer != nullptr && timer->due;
  }
  SLUICE_CHECK(due == listed);
}

}  // namespace sluice
