#include "sluice/sim/check/laws.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/world/network.h"

namespace sluice::sim {

namespace {

constexpr int64_t kWalkStepsMin = 32;  // Steps between two walks, even with few slots.
// A worker that waits for memory checks for it every 5 ms (core/worker/worker.cc).
constexpr int kMemoryLookMsMax = 10;

std::string_view StateName(ActorState state) {
  constexpr std::string_view kNames[] = {"free",       "starting", "live",
                                         "restarting", "stopping", "lingering"};
  return kNames[static_cast<int>(state)];
}

}  // namespace

Laws::Laws(Simulation& simulation) : simulation_(simulation) {
  simulation_.AfterEachStep([this, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired() || simulation_.Failed()) return;
    for (const auto& watched : watched_) AfterStep(*watched);
  });
}

void Laws::Expect(bool holds, std::string_view law, absl::FunctionRef<std::string()> what) {
  if (holds) return;
  const std::string text = what();
  if (lines_.size() < kLinesMax) lines_.push_back(absl::StrCat(ToAbsl(law), ": ", text));
  simulation_.Broken(law, text);
}

void Laws::Watch(Runtime& runtime, bool alone) {
  auto* const machine = dynamic_cast<SimOs*>(&runtime.os());
  SLUICE_CHECK(machine != nullptr, "a runtime to watch runs on a machine of a simulation");
  auto watched = std::make_unique<Watched>(runtime, *machine);
  watched->alone = alone;
  watched->descriptors_before = machine->OpenDescriptors();
  watched->traffic_before = machine->traffic();
  watched_.push_back(std::move(watched));
}

Laws::Watched* Laws::Find(Runtime& runtime) {
  const auto found = std::ranges::find_if(
      watched_, [&](const auto& watched) { return &watched->runtime == &runtime; });
  SLUICE_CHECK(found != watched_.end(), "a runtime that is not watched");
  return found->get();
}

// --- After each step.

void Laws::AfterStep(Watched& of) {
  of.workers.clear();
  of.waits.clear();
  of.all = of.inspector.Look();
  bool all_stand = true;
  for (int i = 0; i < of.inspector.Workers(); ++i) {
    of.workers.push_back(of.inspector.Look(i));
    of.waits.push_back(of.machine.WaitAt(of.workers.back().poller));
    all_stand &= of.waits.back().inside;
  }
  for (int i = 0; i < of.inspector.Workers(); ++i) {
    if (of.waits[i].inside) CheckWorker(of, i);
    if (of.waits[i].sleeps) CheckSleep(of, i);
  }
  CheckMemory(of);
  const bool quiet = all_stand && CheckTransit(of);
  const bool accounts = quiet && simulation_.Steps() >= of.next_accounts;
  if (accounts || simulation_.Steps() >= of.next_walk) Walk(of, accounts, /*at_end=*/false);
}

void Laws::CheckWorker(const Watched& of, int index) {
  const Ledger& ledger = of.workers[index].ledger;
  int64_t put = 0;
  int64_t took = 0;
  for (int other = 0; other <= of.inspector.Workers(); ++other) {
    if (other == index) continue;
    const Inspector::Lane in = of.inspector.LaneAt(other, index);
    took += in.taken;
    Expect(in.sent - in.taken >= 0 && in.sent - in.taken <= in.capacity, "L3 bound", [&] {
      return absl::StrFormat("the lane from worker %d to %d: sent %d, taken %d, capacity %d", other,
                             index, in.sent, in.taken, in.capacity);
    });
    if (other == of.inspector.Workers()) continue;
    const Inspector::Lane out = of.inspector.LaneAt(index, other);
    put += out.sent;
    Expect(out.staged == 0 && !out.to_be_roused, "L5 progress", [&] {
      return absl::StrFormat("worker %d waits with %d messages for worker %d not flushed", index,
                             out.staged, other);
    });
  }
  Expect(ledger.sent - put == ledger.delivered + ledger.DroppedTotal() + ledger.held - took,
         "L1 ledger", [&] {
           return absl::StrFormat(
               "worker %d: sent %d, of them %d into lanes; took %d from lanes; delivered %d, "
               "dropped %d, held %d",
               index, ledger.sent, put, took, ledger.delivered, ledger.DroppedTotal(), ledger.held);
         });
  Expect(ledger.parked == ledger.parked_left + ledger.ParkedDroppedTotal() + ledger.parked_held,
         "L1 ledger", [&] {
           return absl::StrFormat("worker %d: parked %d, left %d, dropped %d, held %d", index,
                                  ledger.parked, ledger.parked_left, ledger.ParkedDroppedTotal(),
                                  ledger.parked_held);
         });
}

// The worker sleeps and nothing has woken it: then it has nothing to do, or another thread will
// wake it.
void Laws::CheckSleep(const Watched& of, int index) {
  const Inspector::WorkerView& worker = of.workers[index];
  const SimOs::WaitView& wait = of.waits[index];
  Expect(worker.asleep, "L5 progress", [&] {
    return absl::StrCat("worker ", index, " sleeps, was roused, and no signal has come");
  });
  bool to_be_roused = false;
  for (int other = 0; other < of.inspector.Workers(); ++other) {
    to_be_roused |= other != index && of.inspector.LaneAt(other, index).to_be_roused;
  }
  Expect(worker.inbox == 0 || to_be_roused, "L5 progress", [&] {
    return absl::StrCat("worker ", index, " sleeps with ", worker.inbox,
                        " messages in its inbox, and nothing will rouse it");
  });
  Expect(!worker.has_work, "L5 progress",
         [&] { return absl::StrCat("worker ", index, " sleeps with work to do"); });
  const int64_t timer_ms = worker.next_timer_ms - worker.turn_ms;
  Expect(worker.next_timer_ms == TimerWheel::kNever ||
             (wait.timeout_ms >= 0 && wait.timeout_ms <= std::max<int64_t>(timer_ms, 0) + 1),
         "L5 progress", [&] {
           return absl::StrFormat("worker %d sleeps for %d ms, and its next timer is due in %d ms",
                                  index, wait.timeout_ms, timer_ms);
         });
  Expect(!worker.looks_for_memory || (wait.timeout_ms >= 0 && wait.timeout_ms <= kMemoryLookMsMax),
         "L5 progress", [&] {
           return absl::StrFormat("worker %d sleeps for %d ms while something waits for memory",
                                  index, wait.timeout_ms);
         });
}

void Laws::CheckMemory(const Watched& of) {
  int64_t charged = of.all.budget_used;
  for (const auto& worker : of.workers) charged -= worker.lease_bytes;
  const int64_t overdraft = of.inspector.Workers() * Lease::kOverdraftBytesMax;
  Expect(charged >= 0 && charged <= of.all.budget_max + overdraft &&
             of.all.budget_used <= of.all.budget_max,
         "L3 bound", [&] {
           return absl::StrFormat("memory: %d bytes charged, %d taken from a budget of %d", charged,
                                  of.all.budget_used, of.all.budget_max);
         });
}

bool Laws::CheckTransit(const Watched& of) {
  int64_t on_the_way = of.all.outside_cross;
  int64_t reserved = of.all.outside_reserved;
  int64_t user = 0;
  bool control = false;
  for (int i = 0; i < of.inspector.Workers(); ++i) {
    const Inspector::WorkerView& worker = of.workers[i];
    on_the_way += worker.cross_sent - worker.cross_taken;
    const Ledger& ledger = worker.ledger;
    reserved += ledger.reserved_sent - ledger.reserved_delivered - ledger.reserved_dropped -
                ledger.reserved_held;
    control |= worker.has_control;
    for (int from = 0; from <= of.inspector.Workers(); ++from) {
      if (from == i) continue;
      const Inspector::Lane lane = of.inspector.LaneAt(from, i);
      user += lane.sent - lane.taken;
    }
  }
  int64_t in_lanes = 0;
  for (const auto& worker : of.workers) in_lanes += worker.inbox;
  Expect(in_lanes == on_the_way, "L1 ledger", [&] {
    return absl::StrFormat("%d messages are on their way between threads, and %d are in lanes",
                           on_the_way, in_lanes);
  });
  Expect(reserved >= 0 && reserved + user <= on_the_way, "L1 ledger", [&] {
    return absl::StrFormat(
        "%d messages are on their way between threads, and %d of users and %d reserved are not "
        "accounted for",
        on_the_way, user, reserved);
  });
  return on_the_way == 0 && !control;
}

// --- Now and then.

void Laws::Walk(Watched& of, bool accounts, bool at_end) {
  if (accounts) {
    of.rows.assign(of.inspector.SlotCount(), Row());
    of.waiters.clear();
  }
  int64_t walked = 0;
  int64_t bytes = 0;
  int64_t charged = of.all.budget_used;
  for (int i = 0; i < of.inspector.Workers(); ++i) {
    charged -= of.workers[i].lease_bytes;
    if (of.waits[i].inside || at_end) walked += WalkWorker(of, i, accounts, &bytes);
  }
  Expect(bytes <= charged, "L3 bound", [&] {
    return absl::StrFormat("mailboxes and outboxes hold %d bytes, and %d are charged", bytes,
                           charged);
  });
  if (accounts) CheckAccounts(of);
  const int64_t next = simulation_.Steps() + std::max(kWalkStepsMin, walked);
  of.next_walk = next;
  if (accounts) of.next_accounts = next;
}

int64_t Laws::WalkWorker(Watched& of, int index, bool accounts, int64_t* bytes) {
  const Inspector::WorkerView& worker = of.workers[index];
  Sums sums;
  const int64_t walked = of.inspector.ForEachSlot(index, [&](const Inspector::SlotView& slot) {
    sums.held += slot.held;
    sums.reserved += slot.reserved_messages;
    sums.parked += slot.outbox;
    sums.bytes += slot.message_bytes;
    sums.actors += slot.state != ActorState::kFree;
    sums.descriptors += slot.has_io;
    sums.scheduled += slot.scheduled;
    sums.free += slot.state == ActorState::kFree && !slot.used_up;
    const bool idle = slot.state == ActorState::kFree && slot.user_messages == 0;
    if (!idle && !simulation_.Failed()) {
      const std::string where =
          absl::StrCat("actor#", slot.id, " of worker ", index, " (", ToAbsl(StateName(slot.state)),
                       ", generation ", slot.generation, ")");
      CheckMailbox(slot, where);
      CheckProgress(slot, where);
    }
    if (!accounts) return;
    Row& row = of.rows[slot.id];
    row.generation = slot.generation;
    row.lives = slot.state != ActorState::kFree && slot.word_generation == slot.generation;
    row.capacity = slot.capacity;
    row.here = slot.FreeCredits() + slot.held;
    row.paid = slot.paid;
    row.waiting = slot.waiting;
    row.episode = slot.episode;
    row.head_slot = slot.head_slot;
    row.head_generation = slot.head_generation;
    for (const auto& waiter : slot.waiters) of.waiters.push_back({slot.id, waiter});
  });
  *bytes += sums.bytes;
  const Ledger& ledger = worker.ledger;
  Expect(sums.held == ledger.held && sums.reserved == ledger.reserved_held &&
             sums.parked == ledger.parked_held,
         "L1 ledger", [&] {
           return absl::StrFormat(
               "worker %d holds %d messages, %d reserved ones and %d in outboxes; its ledger says "
               "%d, %d and %d",
               index, sums.held, sums.reserved, sums.parked, ledger.held, ledger.reserved_held,
               ledger.parked_held);
         });
  Expect(sums.actors == worker.actors && sums.descriptors == worker.descriptors, "leak", [&] {
    return absl::StrFormat("worker %d has %d actors and %d descriptors; it counts %d and %d", index,
                           sums.actors, sums.descriptors, worker.actors, worker.descriptors);
  });
  // A placed spawn that is still on its way has a slot that looks free.
  const int64_t free_slots = of.inspector.FreeSlots(index);
  Expect(sums.free >= free_slots && (!accounts || sums.free == free_slots), "leak", [&] {
    return absl::StrFormat("worker %d has %d free slots, and %d can be taken", index, sums.free,
                           free_slots);
  });
  const int64_t run_queue = of.inspector.RunQueueLength(index);
  Expect(sums.scheduled == run_queue, "L5 progress", [&] {
    return absl::StrFormat("worker %d: %d actors are scheduled, and %d stand in its run queue",
                           index, sums.scheduled, run_queue);
  });
  if (!simulation_.Failed()) {
    of.inspector.CheckInvariants(index);
    of.runtime.Attachment<HubLedger>(of.inspector.Workers()).CheckInvariants(index);
  }
  return walked;
}

void Laws::CheckMailbox(const Inspector::SlotView& slot, std::string_view where) {
  Expect(slot.user_messages == slot.held && slot.outbox_listed == slot.outbox, "L1 ledger", [&] {
    return absl::StrFormat(
        "%s: %d messages in its mailbox, which counts %d; %d in its outbox of %d", ToAbsl(where),
        slot.user_messages, slot.held, slot.outbox_listed, slot.outbox);
  });
  const bool gone = slot.state == ActorState::kStopping || slot.state == ActorState::kLingering;
  Expect(slot.strays == 0 && (slot.state == ActorState::kFree || slot.generation % 2 == 1) &&
             (slot.state == ActorState::kFree ||
              slot.word_generation == slot.generation + (gone ? 1 : 0)),
         "L10 handles", [&] {
           return absl::StrFormat(
               "%s: its word is of generation %d, and %d messages are not for it", ToAbsl(where),
               slot.word_generation, slot.strays);
         });
  if (slot.state == ActorState::kFree || gone) return;
  Expect(slot.held <= slot.capacity && slot.held + slot.FreeCredits() <= slot.capacity, "L3 bound",
         [&] {
           return absl::StrFormat("%s: holds %d messages and has %d free credits of %d",
                                  ToAbsl(where), slot.held, slot.FreeCredits(), slot.capacity);
         });
}

// An actor with something to do is in the run queue, or waits for something that will come.
void Laws::CheckProgress(const Inspector::SlotView& slot, std::string_view where) {
  const auto expect = [&](bool holds, std::string_view what) {
    Expect(holds, "L5 progress", [&] { return absl::StrCat(ToAbsl(where), ": ", ToAbsl(what)); });
  };
  // Messages that a constructor could not send park their actor after OnStart; messages that a
  // hub's filter could not send park their session in its next turn.
  const bool to_park = slot.scheduled && !slot.parked;
  expect(slot.parked == (slot.outbox > 0) || to_park,
         "it is parked without a reason, or has one and is not");
  const bool waits = slot.waiting > 0 || slot.waits_for_lane || slot.waits_for_memory;
  expect(!slot.parked || waits, "it is parked, and waits for nothing");
  expect(!slot.io_forgotten, "its connection has something to read, may read, and is not due");
  if (slot.scheduled) return;
  const bool mail = slot.user_messages + slot.reserved_messages > slot.aside;
  switch (slot.state) {
    case ActorState::kLive:
      expect(!slot.runnable || !mail || slot.mail_held,
             "it has mail, may run, and is not scheduled");
      expect(!slot.mail_held || slot.has_io, "its mail waits for a connection that is not there");
      expect(slot.messages_held || slot.aside == 0, "its mail waits for a hold that is not there");
      expect(!slot.stop_asked, "its stop was requested, and it does not stop");
      break;
    case ActorState::kStarting:
      expect(!slot.runnable || !slot.has_actor, "it was made, and is not started");
      break;
    case ActorState::kRestarting:
      expect(slot.children > 0 || slot.linger_armed || slot.parked,
             "it restarts, and waits for nothing");
      break;
    case ActorState::kStopping:
      expect(slot.children > 0, "it stops, and waits for no child");
      break;
    case ActorState::kLingering:
      expect(slot.has_io || slot.parked || slot.linger_armed, "it ended, and waits for nothing");
      break;
    case ActorState::kFree:
      break;
  }
}

// Nothing is on its way: each credit has a place, and each target knows the waits for it.
void Laws::CheckAccounts(Watched& of) {
  ++accounts_;
  std::vector<Row>& rows = of.rows;
  for (const Row& row : rows) {
    if (row.paid > 0 && rows[row.head_slot].generation == row.head_generation) {
      rows[row.head_slot].out += row.paid;
    }
  }
  for (const Wait& wait : of.waiters) {
    const uint32_t target = wait.target;
    const Inspector::WaiterView& waiter = wait.waiter;
    Row& row = rows[waiter.slot];
    const bool same = row.generation == waiter.generation && row.waiting == waiter.wanted &&
                      row.episode == waiter.episode && row.head_slot == target &&
                      row.head_generation == rows[target].generation;
    row.known += same;
    // An actor that ends notifies all its waiters, even those that have ended.
    Expect(same || !rows[target].lives, "L1 credits", [&] {
      return absl::StrFormat(
          "actor#%d owes %d credits to actor#%d (generation %d, wait %d), which waits for %d "
          "(generation %d, wait %d)",
          target, waiter.wanted, waiter.slot, waiter.generation, waiter.episode, row.waiting,
          row.generation, row.episode);
    });
  }
  for (size_t id = 0; id < rows.size(); ++id) {
    const Row& row = rows[id];
    Expect(!row.lives || row.here + row.out == row.capacity, "L1 credits", [&] {
      return absl::StrFormat("actor#%d: %d credits at its mailbox and %d given to waiters, of %d",
                             id, row.here, row.out, row.capacity);
    });
    Expect(row.waiting == 0 || row.known == 1, "L5 progress", [&] {
      return absl::StrFormat(
          "actor#%d waits for %d credits of actor#%d (generation %d), which does not know it", id,
          row.waiting, row.head_slot, row.head_generation);
    });
  }
}

// --- At the end.

void Laws::Look(Runtime& runtime) {
  Watched& of = *Find(runtime);
  of.next_walk = of.next_accounts = 0;
  AfterStep(of);
}

void Laws::AtEnd(Runtime& runtime, int64_t actors_expected) {
  Watched& of = *Find(runtime);
  const Ledger ledger = runtime.TotalLedger();
  Expect(ledger.Balanced(), "L1 ledger", [&] { return "at the end: " + ledger.ToString(); });
  const int64_t held = ledger.held + ledger.reserved_held + ledger.parked_held;
  Expect(held == 0 || actors_expected > 0, "L1 ledger",
         [&] { return "messages are held at the end: " + ledger.ToString(); });
  const BlockingLedger blocking = runtime.blocking().Counts();
  Expect(blocking.Balanced() && blocking.held == 0, "L1 ledger",
         [&] { return "at the end: " + blocking.ToString(); });
  const HubTotals hubs = HubLedger::Of(runtime);
  const int64_t got = hubs.received + hubs.missed + hubs.conflated + hubs.skipped + hubs.queued;
  Expect(hubs.due == got && hubs.queued == 0, "L1 ledger",
         [&] { return "at the end: " + hubs.ToString(); });

  of.workers.clear();
  of.waits.assign(static_cast<size_t>(of.inspector.Workers()), {});
  of.all = of.inspector.Look();
  int64_t charged = of.all.budget_used;
  for (int i = 0; i < of.inspector.Workers(); ++i) {
    of.workers.push_back(of.inspector.Look(i));
    CheckWorker(of, i);
    const Inspector::WorkerView& worker = of.workers.back();
    charged -= worker.lease_bytes;
    Expect(worker.inbox == 0 && !worker.has_work, "L5 progress", [&] {
      return absl::StrCat("worker ", i, " ended with ", worker.inbox, " messages in its inbox");
    });
    Expect(worker.timers == 0 || actors_expected > 0, "leak", [&] {
      return absl::StrCat("worker ", i, " ended with ", worker.timers, " timers armed");
    });
    Expect(worker.descriptors == 0 || actors_expected > 0, "leak", [&] {
      return absl::StrCat("worker ", i, " ended with ", worker.descriptors, " descriptors");
    });
  }
  CheckTransit(of);
  Walk(of, /*accounts=*/true, /*at_end=*/true);
  Expect(of.all.actors == actors_expected, "leak", [&] {
    return absl::StrCat(of.all.actors, " actors live at the end, and ", actors_expected, " should");
  });
  Expect(charged == 0 || actors_expected > 0, "leak",
         [&] { return absl::StrCat(charged, " bytes of memory are charged at the end"); });
  Expect(of.machine.OpenDescriptors() == of.descriptors_before || actors_expected > 0, "leak", [&] {
    return absl::StrCat(of.machine.OpenDescriptors(), " descriptors are open at the end, and ",
                        of.descriptors_before, " were when the runtime was made");
  });
  if (actors_expected == 0) CheckConnections(of);
  std::erase_if(watched_, [&](const auto& watched) { return watched.get() == &of; });
}

void Laws::CheckConnections(const Watched& of) {
  const ConnectionLedger::Totals totals =
      of.runtime.Attachment<ConnectionLedger>(of.runtime.WorkerCount()).Sum();
  Expect(totals.Open() == 0 && totals.BytesHeld() == 0, "L9 close",
         [&] { return "at the end: " + totals.ToString(); });
  if (!of.alone) return;
  const SimOs::Traffic& now = of.machine.traffic();
  const SimOs::Traffic& before = of.traffic_before;
  const int64_t sent = now.bytes_sent - before.bytes_sent;
  const int64_t received = now.bytes_received - before.bytes_received;
  Expect(totals.bytes_sent == sent && totals.bytes_read == received, "L9 close", [&] {
    return absl::StrFormat("the kernel took %d bytes and gave %d; %s", sent, received,
                           totals.ToString());
  });
  // The ledger also counts connections that never got a socket.
  const int64_t opened = now.opened - before.opened;
  Expect(opened <= totals.opened && opened == now.closed - before.closed, "L9 close", [&] {
    return absl::StrFormat("the kernel opened %d connections and closed %d; %s", opened,
                           now.closed - before.closed, totals.ToString());
  });
}

void Laws::NoConnections(absl::Duration timeout) {
  const bool none =
      simulation_.RunUntil([&] { return simulation_.network().Links() == 0; }, timeout);
  Expect(none, "leak", [&] {
    return absl::StrCat(simulation_.network().Links(), " connections are left in the network");
  });
}

}  // namespace sluice::sim
