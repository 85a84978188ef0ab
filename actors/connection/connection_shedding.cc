// Memory that a connection holds while the budget is spent, and whether its peer is to blame.
#include <string>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/log.h"

namespace sluice {

namespace {

// While memory is spent, an incomplete frame may wait this many times longer if more bytes are here
// but are not read.
constexpr int64_t kUnreadTimes = 3;

}  // namespace

int64_t Connection::HeldBytes() const {
  int64_t held = output_.HeldBytes() + input_.ChargedBytes();
  for (const OutputListener* listener = listeners_.Front(); listener != nullptr;
       listener = listeners_.Next(*listener)) {
    held += listener->HeldBytes();
  }
  return held;
}

std::string Connection::PeerText() const { return PeerAddress().ToString(); }

int64_t Connection::StalledBytes(int64_t now_ms, int64_t stalled_ms, int64_t bytes_min) {
  int64_t stalled = 0;
  // Output, and messages that subscriptions hold back for it. Output that the kernel would take now
  // is not the peer's fault.
  if (!output_.Empty() && !writable_) {
    int64_t held = output_.HeldBytes();
    for (const OutputListener* listener = listeners_.Front(); listener != nullptr;
         listener = listeners_.Next(*listener)) {
      held += listener->HeldBytes();
    }
    // The kernel reports room only after a good deal of its buffer was taken, so a slow reader
    // shows only in its acknowledgements. (While we write nothing, the unacknowledged number only
    // falls.)
    if (held >= bytes_min) {
      const auto unacknowledged = static_cast<uint32_t>(stream_->UnacknowledgedBytes());
      if (unacknowledged_ms_ < stalled_ms_ || unacknowledged != unacknowledged_bytes_) {
        unacknowledged_bytes_ = unacknowledged;
        unacknowledged_ms_ = now_ms;
      }
      if (now_ms - unacknowledged_ms_ >= stalled_ms) stalled += held;
    }
  }
  // Input: the rest of a frame does not come. If bytes have come that are not read, or the session
  // must wait, the peer does not stand still. But incomplete frames may hold all the memory that
  // their rest waits for, and nothing else would ever free it: after kUnreadTimes the time they
  // count, too.
  const int64_t waited_ms = now_ms - received_ms_;
  if (!input_.Empty() && !read_ended_ && !offer_again_ && MayGoOn() && waited_ms >= stalled_ms &&
      (!readable_ || waited_ms / kUnreadTimes >= stalled_ms) &&
      input_.ChargedBytes() >= bytes_min) {
    stalled += input_.ChargedBytes();
  }
  return stalled;
}

void Connection::Shed(int64_t bytes, bool named) {
  constexpr char kText[] =
      "memory: the budget stays spent; the connection with %s is ended: %d bytes are held for it "
      "and its peer stands still";
  if (named) {
    LogWarn(kText, PeerAddress().ToString(), bytes);
  } else {
    LogDebug(kText, PeerAddress().ToString(), bytes);
  }
  Finish(CloseReason::kShed, /*reset=*/true);
}

// A peer that reads has acknowledged all bytes sent to it, and its answers leave at once: reading
// from it takes no memory for long. But if its last answer was much longer than the question, the
// peer waits: the next answer might find no memory, and that would end its connection.
bool Connection::MayReadFromReserve() {
  if (!readable_ || amplifies_ || !MayRead() || partner_->OutputBytes() > 0) return false;
  const int64_t most = kReadHeadroomBytes + 2 * static_cast<int64_t>(input_.size());
  return worker().memory().ReserveHas(most) && partner_->stream_->UnacknowledgedBytes() <= 0;
}

}  // namespace sluice
