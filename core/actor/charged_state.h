// ChargedState charges an actor's own data to the memory budget: its maps and queues count like
// messages, and the ceiling holds for them too.
//
//   class Cache : public sluice::Actor {
//     bool On(Put put) {
//       if (!charged_.Add(sluice::HeldBytes(put))) return false;  // No memory: keeps what it has.
//       ...
//     }
//     sluice::ChargedState charged_{*this};
//   };
//
// Owner:  the actor, as a member. What it has charged goes back when it is destroyed.
// Thread: the actor's.
// Bound:  the budget (memory_bytes_max).
// Errors: false: the budget is spent, and nothing has changed.
#ifndef SLUICE_CORE_ACTOR_CHARGED_STATE_H_
#define SLUICE_CORE_ACTOR_CHARGED_STATE_H_

#include <algorithm>
#include <cstdint>

#include "sluice/core/actor/actor.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

class ChargedState {
 public:
  explicit ChargedState(const Actor& actor) : worker_(*actor.slot()->worker) {}
  ~ChargedState() { worker_.lease().Refund(bytes_); }
  ChargedState(const ChargedState&) = delete;
  ChargedState& operator=(const ChargedState&) = delete;

  // The data takes so many bytes now: sluice::HeldBytes(map_), or what the actor has counted
  // itself. Fewer than before are always granted; a negative number counts as 0.
  [[nodiscard]] bool Set(int64_t bytes);
  // The data grows by so many bytes, or shrinks, which is always granted.
  [[nodiscard]] bool Add(int64_t bytes) {
    return bytes <= INT64_MAX - bytes_ && Set(std::max(bytes, -bytes_) + bytes_);
  }
  int64_t Bytes() const { return bytes_; }

 private:
  Worker& worker_;
  int64_t bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_CHARGED_STATE_H_
