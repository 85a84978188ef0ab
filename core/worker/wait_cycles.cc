#include "sluice/core/worker/wait_cycles.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// A longer chain is not followed further: each hop holds a name.
constexpr size_t kProbeHopsMax = 1'000;
constexpr int kProbeDoublingsMax = 7;  // 100 ms, 200 ms ... 12.8 s
// An actor that gave way and must wait again probes after this time: the next messages to drop go
// quickly, and the worker does its other work in between.
constexpr int64_t kProbeAfterBreakMs = 1;

}  // namespace

void WaitCycles::ArmProbe(Slot* slot) {
  // The last actor to park closes a cycle, and finds it with its first probe. Later probes are ever
  // rarer, so that they do not pile up at a worker that is held.
  Outbox& outbox = slot->extra->outbox;
  const int doublings = std::min<int>(outbox.probes_sent, kProbeDoublingsMax);
  desk_.timers.Arm(outbox.probe,
                   DeadlineMs(desk_.NowMs(), desk_.options.probe_after * (1 << doublings)));
}

void ProbeTimer::OnTimer(Worker& worker) { worker.wait_cycles().ProbeDue(slot_); }

void WaitCycles::ProbeDue(Slot* slot) {
  Outbox& outbox = slot->extra->outbox;
  if (outbox.WaitsForCredit()) {
    ProbeControl probe;
    ++outbox.probes_sent;
    probe.hops = std::make_unique<std::vector<ProbeHop>>();
    probe.origin = slot;
    probe.origin_generation = slot->generation;
    probe.origin_episode = outbox.episode;
    probe.number = ++outbox.probe_number;
    probe.confirms = probe.number == outbox.confirming;
    probe.hops->push_back(
        {slot->id, slot->generation, outbox.episode, outbox.parked_since_ms, NameOfActor(slot)});
    const Envelope* head = outbox.list.Front();
    Worker::Post(*head->target->worker, head->target, head->generation, std::move(probe));
  }
  ArmProbe(slot);
}

void WaitCycles::OnProbe(Slot* slot, uint32_t generation, ProbeControl& probe) {
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return;
  Outbox& outbox = slot->extra->outbox;
  if (!outbox.WaitsForCredit()) return;
  SLUICE_PLANT(cycle_unconfirmed, probe.confirms = false);
  if (probe.confirms) {
    const ProbeHop& last = probe.hops->back();
    const auto key = reinterpret_cast<uint64_t>(desk_.shared.slots.At(last.slot_id));
    if (!slot->mailbox.IsWaitedForBy(key, last.generation, last.episode)) return;
  }
  if (slot == probe.origin) {
    if (generation != probe.origin_generation || outbox.episode != probe.origin_episode) return;
    if (probe.number == outbox.confirming && outbox.last_round != nullptr &&
        *outbox.last_round == *probe.hops) {
      desk_.timers.Cancel(outbox.probe);
      Break(*std::exchange(outbox.last_round, nullptr));
      return;
    }
    SLUICE_PLANT(wait_cycle_unseen, if (probe.hops->size() > 2) return);
    outbox.last_round = std::move(probe.hops);
    // The second round starts at once. Only this probe counts: an earlier probe on its way may have
    // passed its first waits before the last ones were seen.
    outbox.confirming = outbox.probe_number + 1;
    ProbeDue(slot);
    return;
  }
  if (probe.hops->size() >= kProbeHopsMax) return;
  for (const ProbeHop& hop : *probe.hops) {
    // The origin leads into this cycle, and is not part of it.
    if (hop.slot_id == slot->id) return;
  }
  probe.hops->push_back(
      {slot->id, slot->generation, outbox.episode, outbox.parked_since_ms, NameOfActor(slot)});
  const Envelope* head = outbox.list.Front();
  Worker::Post(*head->target->worker, head->target, head->generation, std::move(probe));
}

// Each actor of the cycle finds it, once for an episode. The first one logs the cycle, beginning
// with the lowest slot, and gives the order.
void WaitCycles::Break(std::vector<ProbeHop> cycle) {
  std::rotate(
      cycle.begin(),
      std::min_element(cycle.begin(), cycle.end(),
                       [](const ProbeHop& a, const ProbeHop& b) { return a.slot_id < b.slot_id; }),
      cycle.end());
  const ProbeHop& youngest =
      *std::max_element(cycle.begin(), cycle.end(), [](const ProbeHop& a, const ProbeHop& b) {
        return std::tie(a.parked_ms, a.slot_id) < std::tie(b.parked_ms, b.slot_id);
      });
  std::vector<std::string> names;
  std::string actors;
  std::string waits;
  for (const ProbeHop& hop : cycle) {
    names.push_back(hop.name);
    absl::StrAppend(&actors, hop.slot_id, ":", hop.generation, " ");
    absl::StrAppend(&waits, hop.slot_id, ":", hop.generation, ":", hop.episode, " ");
  }
  names.push_back(names.front());
  const std::string text = absl::StrJoin(names, " -> ");
  const WaitCycleBook::Finding finding =
      desk_.shared.wait_cycles.Note(actors, waits, text, desk_.NowMs());
  if (finding == WaitCycleBook::Finding::kKnown) return;
  ++desk_.ledger.wait_cycles;
  if (finding == WaitCycleBook::Finding::kNew) {
    std::string outcome = "the cycle stays (on_wait_cycle is report)";
    if (desk_.options.on_wait_cycle == OnWaitCycle::kDrop) {
      outcome = absl::StrCat("the waiting message of ", youngest.name, " is dropped");
    } else if (desk_.options.on_wait_cycle == OnWaitCycle::kFail) {
      outcome = absl::StrCat(youngest.name, " fails");
    }
    LogError(absl::StrCat("wait cycle: ", text,
                          " (each actor waits for the full mailbox of the next); ", outcome));
  }
  if (desk_.options.on_wait_cycle == OnWaitCycle::kReport) return;
  Slot* slot = desk_.shared.slots.At(youngest.slot_id);
  Worker::Post(*slot->worker, slot, youngest.generation,
               BreakWaitControl{youngest.episode, std::make_unique<std::string>(text)});
}

void WaitCycles::ProbeSoon(Slot* slot) {
  desk_.timers.Arm(slot->extra->outbox.probe, desk_.NowMs() + kProbeAfterBreakMs);
}

}  // namespace sluice
