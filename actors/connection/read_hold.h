// ReadHold stops the reading of one session until the hold is released or destroyed. Each holder
// has a hold of its own: a session reads when none is held.
//
//   ReadHold hold = HoldReading();
//   After(pause, [hold = std::move(hold)] {});  // Reads again behind the timer.
//
// Owner:  its holder; movable. A hold that outlives its session holds nothing.
// Thread: the session's worker's.
// Bound:  three words; the session counts its holds.
// Errors: none.
#ifndef SLUICE_ACTORS_CONNECTION_READ_HOLD_H_
#define SLUICE_ACTORS_CONNECTION_READ_HOLD_H_

#include <cstdint>
#include <utility>

#include "sluice/core/slot/slot.h"

namespace sluice {

class Session;

class [[nodiscard]] ReadHold {
 public:
  ReadHold() = default;  // Holds nothing.
  ReadHold(ReadHold&& other) noexcept
      : session_(std::exchange(other.session_, nullptr)),
        slot_(other.slot_),
        generation_(other.generation_) {}
  ReadHold& operator=(ReadHold&& other) noexcept {
    ReadHold taken(std::move(other));
    std::swap(session_, taken.session_);
    std::swap(slot_, taken.slot_);
    std::swap(generation_, taken.generation_);
    return *this;
  }
  ~ReadHold() { Release(); }

  // Idempotent. The session reads again, after the present handler, if this was its last hold.
  void Release();
  // False: it was released or moved from, or the session has ended.
  bool Holds() const;

 private:
  friend class Session;
  explicit ReadHold(Session& session);

  Session* session_ = nullptr;  // Must not be used unless Holds(): it may be gone.
  Slot* slot_ = nullptr;
  uint32_t generation_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_READ_HOLD_H_
