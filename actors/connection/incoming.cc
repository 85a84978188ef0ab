#include "sluice/actors/connection/incoming.h"

#include "sluice/core/base/check.h"

namespace sluice {

bool Incoming::NoteExceptional(uint32_t events) {
  exceptional_ = true;
  if ((events & EPOLLERR) != 0) error_reported_ = true;
  const bool known_now = (events & (EPOLLRDHUP | EPOLLHUP)) != 0 && !EndKnown();
  if (known_now) end_ = End::kKnown;
  SLUICE_PLANT(eof_drops_unread, if ((events & EPOLLRDHUP) != 0) ReadEnd());
  return known_now;
}

void Incoming::ReadEnd() {
  if (!ReadEnded()) end_ = End::kRead;
}

void Incoming::ToldEof() {
  SLUICE_CHECK(ReadEnded());
  end_ = End::kTold;
}

void Incoming::RepeatEof() {
  SLUICE_CHECK(EofTold());
  end_ = End::kRead;
}

void Incoming::CheckInvariants() const {
  input_.CheckInvariants();
  SLUICE_CHECK(!offer_again_ || !input_.Empty());
}

}  // namespace sluice
