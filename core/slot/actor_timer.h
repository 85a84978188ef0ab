// ActorTimer is a deadline that leads to a handler of an actor: a timer of its own, or the deadline
// of a question. While the actor is parked the deadline stays due, once.
//
// Owner:  ActorExtra.
// Thread: the worker's.
// Bound:  timers_max and asks_max.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_ACTOR_TIMER_H_
#define SLUICE_CORE_SLOT_ACTOR_TIMER_H_

#include <cstdint>

#include "sluice/core/slot/timer.h"

namespace sluice {

struct Slot;

// Set in the id of a question, and in no TimerId.
inline constexpr uint64_t kQuestionBit = uint64_t{1} << 63;

class ActorTimer : public Timer {
 public:
  explicit ActorTimer(Slot* slot, uint64_t id = 0) : slot_(slot), id_(id) {}
  IoHandler* Awaits() override;
  uint64_t id() const { return id_; }
  void SetId(uint64_t id) { id_ = id; }

  int64_t due_ms = 0;
  bool due = false;  // Fired while the actor was parked: in ActorExtra::due_timers.

 protected:
  // True: a handler may run now. False: the actor is parked, and the timer is due; or the actor has
  // ended; or this timer was destroyed, as OnStart came first.
  bool MayRun(Worker& worker);
  Slot* const slot_;

 private:
  uint64_t id_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_ACTOR_TIMER_H_
