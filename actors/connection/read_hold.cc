#include "sluice/actors/connection/read_hold.h"

#include <utility>

#include "sluice/actors/connection/session.h"

namespace sluice {

ReadHold::ReadHold(Session& session)
    : session_(&session), slot_(session.slot()), generation_(session.generation()) {
  session.HoldBegins();
}

// The slot knows its actor from the end of the constructor until just before the destructor. A
// session that is being destroyed reads nothing any more, so its holds have nothing to do.
bool ReadHold::Holds() const {
  if (session_ == nullptr || slot_->generation != generation_) return false;
  const bool constructing = slot_->actor == nullptr && slot_->state == ActorState::kStarting;
  return constructing || slot_->actor == session_;
}

void ReadHold::Release() {
  const bool holds = Holds();
  Session* const session = std::exchange(session_, nullptr);
  if (holds) session->HoldEnds();
}

}  // namespace sluice
