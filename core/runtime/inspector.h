// Inspector shows the state of a runtime, for tests and simulations, and changes nothing: what each
// part holds and owes.
//
// Owner:  its user; the runtime outlives it.
// Thread: any, while no thread of the runtime runs: between two steps of a simulation, or after
//         Drain.
// Bound:  a look at a worker walks its lanes; ForEachSlot walks slots, and the messages in them.
// Errors: none. The caller judges what it sees.
#ifndef SLUICE_CORE_RUNTIME_INSPECTOR_H_
#define SLUICE_CORE_RUNTIME_INSPECTOR_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sluice/core/mailbox/ledger.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class Inspector {
 public:
  // User messages of one lane: sent - taken are on their way, in the sender's stage or behind it.
  struct Lane {
    int64_t sent = 0;
    int64_t taken = 0;
    int64_t capacity = 0;
    int64_t staged = 0;         // Envelopes of all kinds in the sender's stage.
    bool to_be_roused = false;  // The sender will flush its stage, and rouse the receiver.
  };
  struct WorkerView {
    Ledger ledger;
    // Envelopes of all kinds, to and from other threads. Staged ones are not counted as sent yet.
    int64_t cross_sent = 0;
    int64_t cross_taken = 0;
    int64_t inbox = 0;
    bool asleep = false;       // By its sleep word.
    bool has_work = false;     // For its next turn.
    bool has_control = false;  // From itself to itself.
    // The worker must wake in a few milliseconds to look for free memory.
    bool looks_for_memory = false;
    int64_t turn_ms = 0;
    int64_t next_timer_ms = 0;  // TimerWheel::kNever: none.
    int64_t timers = 0;
    int64_t lease_bytes = 0;  // Negative: debt.
    int64_t actors = 0;
    int64_t descriptors = 0;
    int poller = -1;
  };
  // Counts that no worker keeps, and the budget.
  struct RuntimeView {
    int64_t outside_sent = 0;
    int64_t outside_reserved = 0;
    int64_t outside_cross = 0;
    int64_t budget_used = 0;  // Leases count as used.
    int64_t budget_max = 0;
    int64_t actors = 0;
  };
  struct WaiterView {
    uint32_t slot = 0;
    uint32_t generation = 0;
    uint32_t episode = 0;
    uint32_t wanted = 0;
  };
  struct SlotView {
    uint32_t id = 0;
    uint32_t generation = 0;
    ActorState state = ActorState::kFree;
    bool scheduled = false;
    bool runnable = false;
    bool mail_held = false;  // Until the connection is established.
    bool messages_held = false;
    bool parked = false;
    bool stop_asked = false;
    bool has_actor = false;
    bool has_io = false;
    bool io_forgotten = false;  // Has work, and is on no list.
    bool used_up = false;       // No generations left: no actor will live here again.

    // The mailbox.
    uint32_t word_generation = 0;
    uint32_t capacity = 0;
    uint32_t held = 0;  // The mailbox's count; `user_messages` counts its queue.
    int64_t aside = 0;  // The messages among the two counts below that the actor holds.
    uint32_t word_credits = 0;
    uint32_t reserve = 0;
    uint32_t freed = 0;
    bool waited_for = false;
    int64_t user_messages = 0;
    int64_t reserved_messages = 0;
    int64_t strays = 0;         // Messages in its queue that are not for the actor that lives here.
    int64_t message_bytes = 0;  // Charged, for its queue and its outbox.
    std::vector<WaiterView> waiters;
    int64_t FreeCredits() const { return int64_t{word_credits} + reserve + freed; }

    // The outbox, and the target of its first message.
    uint32_t outbox = 0;
    int64_t outbox_listed = 0;  // As counted in the list itself.
    uint32_t paid = 0;
    uint32_t waiting = 0;
    uint32_t episode = 0;
    bool waits_for_lane = false;
    bool waits_for_memory = false;
    uint32_t head_slot = 0;
    uint32_t head_generation = 0;

    int64_t children = 0;
    bool linger_armed = false;
  };

  explicit Inspector(Runtime& runtime) : runtime_(runtime) {}

  int Workers() const { return runtime_.WorkerCount(); }
  Lane LaneAt(int from, int to) const;  // from == Workers(): the outside threads' lane.
  RuntimeView Look() const;
  WorkerView Look(int worker) const;
  int64_t RunQueueLength(int worker) const;  // Walks it.
  // Slots that the worker keeps, and its former ones in the stock; walks the stock.
  int64_t FreeSlots(int worker) const;
  uint32_t SlotCount() const;  // Every slot's id is below it.
  // Visits all slots of a worker by id, free ones too. Answers how many slots and messages it
  // walked.
  int64_t ForEachSlot(int worker, absl::FunctionRef<void(const SlotView&)> visit) const;
  // Checks the parts that check themselves, and each count against its list; a broken invariant
  // ends the process. Requires: the worker is between two turns, or in its wait.
  void CheckInvariants(int worker) const;

 private:
  using Handles = std::vector<std::pair<const Slot*, uint32_t>>;  // Sorted.
  struct Waits {
    Handles memory;
    Handles lane;
  };
  static Waits WaitsOf(const Worker& worker);
  static void CheckExtra(const Slot& slot, const Waits& waits);
  void ForEachPlace(const Worker& worker, absl::FunctionRef<void(const Slot&)> visit) const;
  static void Fill(const Slot& slot, SlotView* view);

  Runtime& runtime_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_RUNTIME_INSPECTOR_H_
