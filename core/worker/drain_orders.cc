#include "sluice/core/worker/drain_orders.h"

#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/descriptors.h"
#include "sluice/core/worker/life.h"
#include "sluice/core/worker/mail.h"
#include "sluice/core/worker/mail_holds.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// A stop order that waits behind all mail in the mailbox.
struct StopMark {
  int rounds;
};

const MessageOps kStopMarkOps = {
    MessageKind::kReserved,
    [](void*, Envelope& e) {
      // Do not stop here: credits on their way to actors that are parked on this worker come first.
      Worker::Post(*Worker::Current(), e.target, e.generation,
                   StopControl{.reason = EndReason::kShutdown, .rounds = e.Get<StopMark>().rounds});
    },
    Envelope::DestroyOf<StopMark>(),
    Envelope::RelocateOf<StopMark>(),
    [] { return typeid(StopMark).name(); },
    /*actor=*/nullptr,
    /*behind_mail=*/true,
};

}  // namespace

// When a drain stops an actor, all accepted messages have been handled, except those that actors
// that ended earlier sent in their OnStop.
void DrainOrders::StopBehindMail(Slot* slot, int rounds) {
  // An actor that holds its mail works on what it took; the mark then waits with what it holds.
  const bool mail =
      slot->state == ActorState::kLive &&
      (slot->suspended == Slot::kMessagesHeld || (slot->suspended == 0 && !slot->queue.Empty()));
  if (!mail || desk_.drain.shutdown || rounds <= 0) {
    life_.Stop(slot, EndReason::kShutdown, "");
    return;
  }
  Worker::SendReserved(slot, slot->generation, &kStopMarkOps, StopMark{rounds - 1});
}

// A handler may end its descriptor, and new ones may come: walk a copy, and check each slot again.
void DrainOrders::OrderIo(void (IoHandler::*order)()) {
  SLUICE_CHECK_ON_WORKER(desk_);
  std::vector<Slot*> slots;
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    if (slot->io != nullptr) slots.push_back(slot);
  });
  for (Slot* slot : slots) {
    rest_.CountStep();
    if (slot->io != nullptr) (slot->io->*order)();
  }
}

void DrainOrders::Begin() {
  desk_.drain.begun = true;
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    // Mail may end the back-off now (RestartStep).
    if (slot->state == ActorState::kRestarting) desk_.Schedule(slot);
  });
  OrderIo(&IoHandler::OnDrain);
}

void DrainOrders::EndReading() { OrderIo(&IoHandler::OnDrainEndReading); }

void DrainOrders::Close() {
  desk_.drain.closing = true;
  OrderIo(&IoHandler::OnDrainClose);
}

void DrainOrders::Insist() {
  desk_.drain.insists = true;
  Close();
}

// Each line names only a few actors: the first ones show where to look.
void DrainOrders::LogWhatHolds() {
  constexpr size_t kNamesMax = 4;  // For each line of the log.
  std::vector<std::string> names;
  size_t count = 0;
  const auto add = [&](const auto& text) {
    if (++count <= kNamesMax) names.push_back(text());
  };
  const auto log = [&](const char* text) {
    if (count > 0) {
      LogWarn(absl::StrCat("drain: worker ", desk_.index, ": ", absl::StrJoin(names, ", "),
                           count > kNamesMax ? absl::StrCat(", ", count - kNamesMax, " more") : "",
                           text));
    }
    names.clear();
    count = 0;
  };
  desk_.run_queue.ForEach([&](const Slot& slot) { add([&] { return NameOfActor(&slot); }); });
  log(" still at work");
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    if (!slot->has_outbox) return;
    const Outbox& outbox = slot->extra->outbox;
    add([&] {
      return absl::StrCat(NameOfActor(slot), " (", outbox.count, " messages, the first of type ",
                          Demangle(outbox.list.Front()->Ops()->name()), ")");
    });
  });
  log(" wait for room to send");
  if (holds_.Busy()) {
    desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
      const std::string what = MailHolds::Text(slot, desk_.NowMs());
      if (!what.empty()) add([&] { return absl::StrCat(NameOfActor(slot), " ", what); });
    });
    log("");
  }
  if (hub_waits_ > 0) {
    LogWarn(absl::StrCat("drain: worker ", desk_.index, ": ", hub_waits_,
                         " hubs wait for subscribers that do not read (SlowPolicy::kPark), or hold "
                         "messages for a Subscription that takes none"));
  }
}

void DrainOrders::StopRoots() {
  SLUICE_CHECK_ON_WORKER(desk_);
  desk_.drain.roots_stopped = true;
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting &&
        slot->state != ActorState::kRestarting) {
      return;
    }
    if (slot->extra != nullptr && slot->extra->parent != nullptr) return;  // The parent stops it.
    if (desk_.shared.IsGate(desk_.index, slot)) return;  // The others' OnStop may use it.
    rest_.CountStep();
    if (slot->mailbox.Word().MarkStop(slot->generation)) {
      StopBehindMail(slot, StopControl::kMailRoundsMax);
    }
  });
}

void DrainOrders::StopGate() {
  SLUICE_CHECK_ON_WORKER(desk_);
  desk_.drain.gate_stopped = true;
  if (!desk_.shared.GateLives(desk_.index)) return;
  Slot* const gate = desk_.shared.blocking_gates[static_cast<size_t>(desk_.index)].first;
  if (gate->mailbox.Word().MarkStop(gate->generation)) life_.Stop(gate, EndReason::kShutdown, "");
}

void DrainOrders::ShutdownAll() {
  SLUICE_CHECK_ON_WORKER(desk_);
  desk_.drain.shutdown = desk_.drain.roots_stopped = desk_.drain.gate_stopped = true;
  std::vector<Slot*> slots;
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    if (slot->state != ActorState::kFree) slots.push_back(slot);
  });
  for (Slot* slot : slots) {
    rest_.CountStep();
    if (slot->io != nullptr) slot->io->OnShutdown();
  }
  for (Slot* slot : slots) {
    if (slot->state == ActorState::kFree) continue;
    rest_.CountStep();
    desk_.Extra(slot).linger_over = true;
    if (slot->state == ActorState::kLive || slot->state == ActorState::kStarting ||
        slot->state == ActorState::kRestarting) {
      life_.Stop(slot, EndReason::kShutdown, "");
    } else if (slot->state == ActorState::kLingering) {
      desk_.Schedule(slot);
    }
  }
}

// --- Rest.

void DrainOrders::Publish(bool rests) {
  // The blocking pool's gate ends last, so that all other actors may use it until they end.
  const bool gate_apart = !desk_.drain.gate_stopped && desk_.shared.GateLives(desk_.index);
  // Parked messages were accepted, and will be handled; and an actor that holds its mail, or whose
  // message has begun a task, works on a message. After the deadline the drain does not wait for
  // them.
  bool waits =
      (desk_.ledger.parked_held > 0 || hub_waits_ > 0 || holds_.Busy()) && !desk_.drain.shutdown;
  SLUICE_PLANT(hold_is_rest, waits = desk_.ledger.parked_held > 0 || hub_waits_ > 0);
  SLUICE_PLANT(parked_is_rest, waits = false);
  rest_.Publish(rests && !waits, {mail_.CrossSent(), mail_.CrossTaken(), descriptors_.Count(),
                                  desk_.actor_count - (gate_apart ? 1 : 0)});
}

}  // namespace sluice
