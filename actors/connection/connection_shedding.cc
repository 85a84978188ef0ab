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
  const int64_t answers = session_ == nullptr ? 0 : session_->AnswerBytes();
  return outgoing_.HeldBytes() + incoming_.ChargedBytes() + answers;
}

std::string Connection::PeerText() const { return PeerAddress().ToString(); }

int64_t Connection::StalledBytes(int64_t now_ms, int64_t stalled_ms, int64_t bytes_min) {
  int64_t stalled = 0;
  // Output, and messages that subscriptions hold back for it. Output that the kernel would take now
  // is not the peer's fault.
  if (!outgoing_.Empty() && !outgoing_.Writable()) {
    const int64_t held = outgoing_.HeldBytes();
    // The kernel reports room only after a good deal of its buffer was taken, so a slow reader
    // shows only in its acknowledgements. (While we write nothing, the unacknowledged number only
    // falls.)
    if (held >= bytes_min) {
      const auto unacknowledged = static_cast<uint32_t>(stream_->UnacknowledgedBytes());
      const int64_t since_ms =
          outgoing_.UnacknowledgedSince(now_ms, unacknowledged, outgoing_.StalledMs());
      if (now_ms - since_ms >= stalled_ms) stalled += held;
    }
  }
  // Input: the rest of a frame does not come. If bytes have come that are not read, or the session
  // must wait, the peer does not stand still. But incomplete frames may hold all the memory that
  // their rest waits for, and nothing else would ever free it: after kUnreadTimes the time they
  // count, too.
  const int64_t waited_ms = now_ms - incoming_.ReceivedMs();
  if (!incoming_.Empty() && !incoming_.ReadEnded() && !incoming_.OfferAgain() && MayGoOn() &&
      waited_ms >= stalled_ms &&
      (!incoming_.Readable() || waited_ms / kUnreadTimes >= stalled_ms) &&
      incoming_.ChargedBytes() >= bytes_min) {
    stalled += incoming_.ChargedBytes();
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
  if (!incoming_.Readable() || incoming_.Amplifies() || !MayRead()) return false;
  if (partner_->OutputBytes() > 0) return false;
  const int64_t most = kReadHeadroomBytes + 2 * static_cast<int64_t>(incoming_.size());
  return worker().memory().ReserveHas(most) && partner_->stream_->UnacknowledgedBytes() <= 0;
}

}  // namespace sluice
