// Wait cycles: a worker finds parked actors that wait for each other, and breaks the cycle.
//
// From probe_after on, a parked actor sends a probe to the actor that it waits for; a parked actor
// passes the probe on along its own wait. The probe ends where the chain ends: the target is not
// parked, or waits for memory or a lane. A probe that returns to its origin has seen a cycle, or a
// phantom: waits that never existed at one time. So a cycle counts only when a second probe, sent
// after the first has returned, finds the same actors in the same episodes of waiting.
//
// The last actor to park gives way. Each hop says when its actor parked, so all actors that find
// the cycle choose the same one. The order to that actor names the episode of its wait: a second
// order for the same wait finds another episode, and does nothing.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
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

// A longer chain is not followed further: each hop holds a name.
constexpr size_t kProbeHopsMax = 1'000;
constexpr int kProbeDoublingsMax = 7;  // 100 ms, 200 ms ... 12.8 s
// An actor that gave way and must wait again probes after this time: the next messages to drop go
// quickly, and the worker does its other work in between.
constexpr int64_t kProbeAfterBreakMs = 1;

}  // namespace

void Worker::ArmProbe(Slot* slot) {
  // The last actor to park closes a cycle, and finds it with its first probe. Later probes are ever
  // rarer, so that they do not pile up at a worker that is held.
  Outbox& outbox = slot->extra->outbox;
  const int doublings = std::min<int>(outbox.probes_sent, kProbeDoublingsMax);
  timers_.Arm(outbox.probe, DeadlineMs(options_.probe_after * (1 << doublings)));
}

void ProbeTimer::OnTimer(Worker& worker) { worker.ProbeDue(slot_); }

void Worker::ProbeDue(Slot* slot) {
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
    Post(*head->target->worker, head->target, head->generation, std::move(probe));
  }
  ArmProbe(slot);
}

void Worker::OnProbe(Slot* slot, uint32_t generation, ProbeControl& probe) {
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return;
  Outbox& outbox = slot->extra->outbox;
  if (!outbox.WaitsForCredit()) return;
  if (probe.confirms && !Planted(Plant::kCycleUnconfirmed)) {
    const ProbeHop& last = probe.hops->back();
    const auto key = reinterpret_cast<uint64_t>(shared_.slots.At(last.slot_id));
    if (!slot->mailbox.IsWaitedForBy(key, last.generation, last.episode)) return;
  }
  if (slot == probe.origin) {
    if (generation != probe.origin_generation || outbox.episode != probe.origin_episode) return;
    if (probe.number == outbox.confirming && outbox.last_round != nullptr &&
        *outbox.last_round == *probe.hops) {
      timers_.Cancel(outbox.probe);
      BreakCycle(*std::exchange(outbox.last_round, nullptr));
      return;
    }
    if (Planted(Plant::kWaitCycleUnseen) && probe.hops->size() > 2) return;
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
  Post(*head->target->worker, head->target, head->generation, std::move(probe));
}

// Each actor of the cycle finds it, once for an episode. The first one logs the cycle, beginning
// with the lowest slot, and gives the order.
void Worker::BreakCycle(std::vector<ProbeHop> cycle) {
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
  const WaitCycleBook::Finding finding = shared_.wait_cycles.Note(actors, waits, text, NowMs());
  if (finding == WaitCycleBook::Finding::kKnown) return;
  ++ledger_.wait_cycles;
  if (finding == WaitCycleBook::Finding::kNew) {
    std::string outcome = "the cycle stays (on_wait_cycle is report)";
    if (options_.on_wait_cycle == OnWaitCycle::kDrop) {
      outcome = absl::StrCat("the waiting message of ", youngest.name, " is dropped");
    } else if (options_.on_wait_cycle == OnWaitCycle::kFail) {
      outcome = absl::StrCat(youngest.name, " fails");
    }
    LogError(absl::StrCat("wait cycle: ", text,
                          " (each actor waits for the full mailbox of the next); ", outcome));
  }
  if (options_.on_wait_cycle == OnWaitCycle::kReport) return;
  Slot* slot = shared_.slots.At(youngest.slot_id);
  Post(*slot->worker, slot, youngest.generation,
       BreakWaitControl{youngest.episode, std::make_unique<std::string>(text)});
}

void Worker::OnBreakWait(Slot* slot, uint32_t generation, uint32_t episode,
                         const std::string& cycle) {
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return;
  Outbox& outbox = slot->extra->outbox;
  if (outbox.episode != episode || !outbox.WaitsForCredit()) return;
  WithdrawWait(slot);  // From here on that episode is over.
  DropOutboxHead(slot, DropReason::kDeadlock);
  if (options_.on_wait_cycle == OnWaitCycle::kFail) {
    Fail(slot, std::make_exception_ptr(std::runtime_error("wait cycle: " + cycle)));
  }
  FlushOutbox(slot);
  if (slot->generation != generation || slot->extra == nullptr || !slot->parked) return;
  if (outbox.WaitsForCredit()) timers_.Arm(outbox.probe, NowMs() + kProbeAfterBreakMs);
}

}  // namespace sluice
