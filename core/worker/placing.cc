#include "sluice/core/worker/placing.h"

#include <bit>
#include <memory>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/log.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice::internal {

bool Allows(Shared& shared, const SpawnOptions& options) {
  std::string mistake;
  if (options.worker < -1 || options.worker >= shared.options.workers) {
    mistake = absl::StrCat("worker = ", options.worker, ": the workers are 0 to ",
                           shared.options.workers - 1, ", and -1 leaves the choice to the runtime");
  } else if (options.mailbox_messages_max > MailboxWord<>::kCreditsMax) {
    mistake = absl::StrCat("mailbox_messages_max = ", options.mailbox_messages_max,
                           " is out of range: it must be from 1 to ", MailboxWord<>::kCreditsMax,
                           ", or 0 for the runtime's");
  } else {
    return true;
  }
  // A server may repeat its mistake for each peer: the first, second, fourth, eighth ... is logged.
  const uint64_t times = shared.spawn_mistakes.fetch_add(1, std::memory_order_relaxed) + 1;
  if (std::has_single_bit(times)) {
    LogError(absl::StrCat("a spawn is refused",
                          options.name.empty() ? "" : absl::StrCat(" (\"", options.name, "\")"),
                          ", for its SpawnOptions: ", mistake,
                          times == 1 ? "" : absl::StrCat("; such spawns so far: ", times)));
  }
  return false;
}

namespace {

Worker& PlacementOf(Shared& shared, const SpawnOptions& options) {
  if (options.worker >= 0) return *shared.workers[static_cast<size_t>(options.worker)];
  return *shared.workers[shared.next_placement.fetch_add(1, std::memory_order_relaxed) %
                         shared.workers.size()];
}

}  // namespace

std::pair<Slot*, uint32_t> PlaceSlot(Shared& shared, const SpawnOptions& options, Slot* parent,
                                     absl::AnyInvocable<void(Worker&, Slot*)> construct) {
  // New roots would keep a drain from its end, even after its deadline.
  const bool allowed =
      (parent != nullptr || !shared.outside_gate.IsShut()) && Allows(shared, options);
  Slot* slot =
      allowed ? shared.slots.Take(PlacementOf(shared, options), /*kept=*/nullptr) : nullptr;
  if (slot == nullptr) {
    shared.placed_refused.fetch_add(1, std::memory_order_relaxed);
    return {nullptr, 0};
  }
  Worker& to = *slot->worker;
  SLUICE_CHECK(slot->state == ActorState::kFree);
  const uint32_t capacity = options.MailboxMax(shared.options);
  // The mailbox's word is open from here on: messages may come before the order that constructs the
  // actor, and wait for it.
  const uint32_t generation = slot->mailbox.Word().Open(capacity);
  const uint32_t parent_generation = parent == nullptr ? 0 : uint32_t{parent->generation};
  const uint64_t order =
      parent == nullptr ? 0 : parent->worker->family().AddChild(parent, slot, generation);
  auto make = [capacity, name = options.name, tasks_max = options.tasks_max, parent,
               parent_generation, order,
               construct = std::move(construct)](Worker& worker, Slot* made) mutable {
    SLUICE_CHECK(made->worker == &worker && made->actor == nullptr);
    made->mailbox.Adopt(capacity);
    if (!name.empty() || parent != nullptr) {
      ActorExtra& extra = worker.Extra(made);
      extra.name = std::move(name);
      extra.parent = parent;
      extra.parent_generation = parent_generation;
      extra.child_order = order;
    }
    if (tasks_max != 0) worker.holds().SetTasksMax(made, tasks_max);
    construct(worker, made);
  };
  const bool posted = Worker::Post(
      to, slot, generation,
      PlaceControl{std::make_unique<absl::AnyInvocable<void(Worker&, Slot*)>>(std::move(make))});
  if (posted) return {slot, generation};
  // The drain is over: no worker will construct the actor. If the word stayed open, the slot would
  // look occupied, also to the next runtime that takes it.
  // The parent's worker still runs turns, so the drain is not over.
  SLUICE_CHECK(parent == nullptr);
  slot->mailbox.Withdraw(generation);
  slot->generation = slot->mailbox.Word().Generation();
  shared.placed_refused.fetch_add(1, std::memory_order_relaxed);
  shared.slots.GiveBack(slot);
  return {nullptr, 0};
}

}  // namespace sluice::internal
