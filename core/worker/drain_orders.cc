// A drain's orders to a worker. core/runtime/drain.cc gives them, and reads the figures that the
// worker publishes.
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/control.h"
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
};

}  // namespace

// When a drain stops an actor, all accepted messages have been handled, except those that actors
// that ended earlier sent in their OnStop.
void Worker::StopBehindMail(Slot* slot, int rounds) {
  const bool mail =
      slot->state == ActorState::kLive && slot->suspended == 0 && !slot->queue.Empty();
  if (!mail || shutdown_ || rounds <= 0) {
    Stop(slot, EndReason::kShutdown, "");
    return;
  }
  SendReserved(slot, slot->generation, &kStopMarkOps, StopMark{rounds - 1});
}

// A handler may end its descriptor, and new ones may come: walk a copy, and check each slot again.
void Worker::OrderIo(void (IoHandler::*order)()) {
  std::vector<Slot*> slots;
  shared_.slots.ForEach(this, [&](Slot* slot) {
    if (slot->io != nullptr) slots.push_back(slot);
  });
  for (Slot* slot : slots) {
    rest_.CountStep();
    if (slot->io != nullptr) (slot->io->*order)();
  }
}

void Worker::BeginDrain() {
  draining_ = true;
  shared_.slots.ForEach(this, [&](Slot* slot) {
    // Mail may end the back-off now (RestartStep).
    if (slot->state == ActorState::kRestarting) Schedule(slot);
  });
  OrderIo(&IoHandler::OnDrain);
}

void Worker::DrainEndReading() { OrderIo(&IoHandler::OnDrainEndReading); }

void Worker::DrainClose() {
  drain_closing_ = true;
  OrderIo(&IoHandler::OnDrainClose);
}

void Worker::DrainInsist() {
  drain_insists_ = true;
  DrainClose();
}

// Each line names only a few actors: the first ones show where to look.
void Worker::LogWhatHoldsDrain() {
  constexpr size_t kNamesMax = 4;  // For each line of the log.
  std::vector<std::string> names;
  size_t count = 0;
  const auto add = [&](const auto& text) {
    if (++count <= kNamesMax) names.push_back(text());
  };
  const auto log = [&](const char* text) {
    if (count > 0) {
      LogWarn(absl::StrCat("drain: worker ", index_, ": ", absl::StrJoin(names, ", "),
                           count > kNamesMax ? absl::StrCat(", ", count - kNamesMax, " more") : "",
                           text));
    }
    names.clear();
    count = 0;
  };
  run_queue_.ForEach([&](const Slot& slot) { add([&] { return NameOfActor(&slot); }); });
  log(" still at work");
  shared_.slots.ForEach(this, [&](Slot* slot) {
    if (!slot->has_outbox) return;
    const Outbox& outbox = slot->extra->outbox;
    add([&] {
      return absl::StrCat(NameOfActor(slot), " (", outbox.count, " messages, the first of type ",
                          Demangle(outbox.list.Front()->Ops()->name()), ")");
    });
  });
  log(" wait for room to send");
  if (hub_waits_ > 0) {
    LogWarn(absl::StrCat("drain: worker ", index_, ": ", hub_waits_,
                         " hubs wait for subscribers that do not read (SlowPolicy::kPark)"));
  }
}

void Worker::StopRoots() {
  roots_stopped_ = true;
  shared_.slots.ForEach(this, [&](Slot* slot) {
    if (slot->state != ActorState::kLive && slot->state != ActorState::kStarting &&
        slot->state != ActorState::kRestarting) {
      return;
    }
    if (slot->extra != nullptr && slot->extra->parent != nullptr) return;  // The parent stops it.
    if (shared_.IsGate(index_, slot)) return;  // The others' OnStop may use it.
    rest_.CountStep();
    if (slot->mailbox.Word().MarkStop(slot->generation)) {
      StopBehindMail(slot, StopControl::kMailRoundsMax);
    }
  });
}

// Called when all other actors have ended.
void Worker::StopGate() {
  gate_stopped_ = true;
  if (!shared_.GateLives(index_)) return;
  Slot* const gate = shared_.blocking_gates[static_cast<size_t>(index_)].first;
  if (gate->mailbox.Word().MarkStop(gate->generation)) Stop(gate, EndReason::kShutdown, "");
}

// The drain's deadline has passed: everything ends, and losses are counted.
void Worker::ShutdownAll() {
  shutdown_ = roots_stopped_ = gate_stopped_ = true;
  std::vector<Slot*> slots;
  shared_.slots.ForEach(this, [&](Slot* slot) {
    if (slot->state != ActorState::kFree) slots.push_back(slot);
  });
  for (Slot* slot : slots) {
    rest_.CountStep();
    if (slot->io != nullptr) slot->io->OnShutdown();
  }
  for (Slot* slot : slots) {
    if (slot->state == ActorState::kFree) continue;
    rest_.CountStep();
    Extra(slot).linger_over = true;
    if (slot->state == ActorState::kLive || slot->state == ActorState::kStarting ||
        slot->state == ActorState::kRestarting) {
      Stop(slot, EndReason::kShutdown, "");
    } else if (slot->state == ActorState::kLingering) {
      Schedule(slot);
    }
  }
}

// --- Rest.

// If timers are late turn after turn, a worker never sleeps, and a drain would never find it at
// rest. So in a drain a worker rests when it has only timers to run, also while they run: their
// messages count as if the timers had fired a moment later.
void Worker::RestBesideTimers() {
  if (draining_ && !HasMoreThanTimers() && dirty_stages_.empty()) PublishRest(true);
}

void Worker::PublishRest(bool rests) {
  // The blocking pool's gate ends last, so that all other actors may use it until they end.
  const bool gate_apart = !gate_stopped_ && shared_.GateLives(index_);
  // Parked messages were accepted, and will be handled. After the deadline the drain does not wait
  // for them.
  const bool waits =
      (ledger_.parked_held > 0 || hub_waits_ > 0) && !shutdown_ && !Planted(Plant::kParkedIsRest);
  rest_.Publish(rests && !waits,
                {cross_sent_, cross_taken_, io_count_, actor_count_ - (gate_apart ? 1 : 0)});
}

}  // namespace sluice
