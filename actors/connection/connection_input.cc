// The input side of a connection: bytes are read and offered to the session, and bytes that it does
// not take are kept, within input_bytes_max. A closing side reads on and discards.
#include <cerrno>
#include <string_view>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

namespace {

static_assert(kReadHeadroomBytes == Descriptors::kReadBytes * 2);
// Size of a read from the reserve. The smallest socket buffer takes the echo of such a read, so
// that the echo never waits here.
constexpr size_t kReserveReadBytes = 4 * 1024;
// If an answer exceeds its question by more than this, the connection may not read from the
// reserve.
constexpr int64_t kAnswerExtraBytesMax = 32 * 1024;

}  // namespace

void Connection::ReadOnce() {
  Worker& w = worker();
  size_t most = Descriptors::kReadBytes;
  if (w.memory().ReadingPaused() || !w.lease().HasRoom(kReadHeadroomBytes)) [[unlikely]] {
    w.memory().PauseReading();
    SLUICE_PLANT(reserve_unused, return w.memory().WaitForMemory(this));
    if (!MayReadFromReserve()) {
      w.memory().WaitForMemory(this);
      return;
    }
    most = kReserveReadBytes;
  }
  const int64_t count = stream_->Read(w.descriptors().ReadBuffer(), most);
  if (count > 0) {
    Active();
    incoming_.SetReceivedMs(ActiveMs());
    counters_->bytes_read.Add(count);
    CountIn(count);
    const bool empty_now = static_cast<size_t>(count) < most && incoming_.ShortReadMeansEmpty() &&
                           stream_->ShortReadMeansEmpty();
    if (empty_now) incoming_.SetEmpty();
    const int64_t accepted = counters_->bytes_accepted.Get();
    OfferInput(std::string_view(w.descriptors().ReadBuffer(), static_cast<size_t>(count)));
    incoming_.SetAmplifies(counters_->bytes_accepted.Get() - accepted >
                           count + kAnswerExtraBytesMax);
    if (!Ended() && !empty_now) w.descriptors().MarkReady(this);
  } else if (count == 0) {
    incoming_.SetEmpty();
    incoming_.ReadEnd();
    if (outgoing_.Open()) outgoing_.SetCloseReason(CloseReason::kPeerClosed);
    deadlines_.BeginHalfClosed(w.NowMs());
    ArmTimer();
  } else if (count == -EAGAIN) {
    incoming_.SetEmpty();
  } else {
    SocketFailed(static_cast<int>(-count));
  }
}

// Offers input to the session: `fresh` behind the kept bytes, or (with empty `fresh`) the kept
// bytes once more.
void Connection::OfferInput(std::string_view fresh) {
  Lease& lease = worker().lease();
  if (!incoming_.Join(fresh, lease)) {
    Finish(CloseReason::kMemory);
    return;
  }
  Input in(incoming_.Offered(fresh));
  const size_t offered = in.size();
  // State inside OnData: messages and output of the session leave only afterwards.
  bool may_go_on = false;
  incoming_.BeginOffer();
  worker().BeginShare(Descriptors::kHandlerNs);
  worker().RunHandler(slot_, "OnData", [&] {
    session_->OnData(in);
    may_go_on = !in.empty() && MayGoOn() && !incoming_.TurnOver();
  });
  incoming_.EndOffer();
  if (Ended()) return;
  if (!incoming_.Keep(in.Peek(), offered, lease)) {
    Finish(CloseReason::kMemory);
    return;
  }
  if (Closing()) incoming_.Clear(lease);
  incoming_.SetOfferAgain(false);
  if (incoming_.Empty()) return;
  if (!may_go_on || !MayGoOn()) {
    incoming_.SetOfferAgain(true);  // The session had to stop; there may be another frame.
    // The session may go on already, and no event would follow.
    if (MayGoOn()) worker().descriptors().MarkReady(this);
  } else if (incoming_.Full()) {
    incoming_.SetOfferAgain(true);
    if (in.size() < offered) {
      worker().descriptors().MarkReady(
          this);  // The session takes one frame a call; there may be another one.
    } else {
      SLUICE_PLANT(input_full_untold, return incoming_.Pause());
      TellInputFull();
    }
  }
}

// The kept input has reached its maximum, and the session has taken nothing of it.
void Connection::TellInputFull() {
  worker().RunHandler(slot_, "OnInputFull", [&] { session_->OnInputFull(); });
  if (Ended()) return;
  if (Closing()) {
    incoming_.Clear(worker().lease());
    incoming_.SetOfferAgain(false);
  } else if (incoming_.Full()) {
    // The input is offered again, when the session may go on: it is parked, or holds reading.
    // Otherwise nothing would ever change.
    if (MayGoOn()) {
      worker().RunHandler(slot_, "OnInputFull", [&] { session_->Session::OnInputFull(); });
    }
  } else {
    // There is room again: reading goes on, and the next bytes lead to OnData.
    incoming_.SetOfferAgain(false);
    worker().descriptors().MarkReady(this);
  }
}

// Lingering close: our FIN is sent, and input is read and discarded. Unread bytes would make the
// kernel send a reset, which may overtake our last answer.
void Connection::Discard() {
  Worker& w = worker();
  const int64_t count = stream_->Read(w.descriptors().ReadBuffer(), Descriptors::kReadBytes);
  if (count > 0) {
    counters_->bytes_read.Add(count);
    counters_->bytes_discarded.Add(count);
    CountIn(count);
    deadlines_.Discard(count);
    if (drain_.Begun()) deadlines_.RestartLinger(w.NowMs());
    if (deadlines_.DiscardedTooMuch()) {
      // Stop reading a peer that goes on sending; its window closes. If the peer does not have all
      // of our answer, a close now would lose the rest by a reset: the timer decides later.
      incoming_.SetEmpty();
      if (stream_->UnacknowledgedBytes() <= 0) Finish(CloseReason::kLingered);
    } else {
      w.descriptors().MarkReady(this);
    }
  } else if (count == -EAGAIN) {
    incoming_.SetEmpty();
  } else {
    // The end, or a reset after our FIN: either way the peer is done.
    Finish(outgoing_.close_reason());
  }
}

bool Connection::MayDiscard() const {
  return incoming_.Readable() && !deadlines_.DiscardedTooMuch();
}

void Connection::DiscardAll() {
  while (!Ended() && MayDiscard()) Discard();
}

void Connection::ResumeReading() {
  incoming_.Resume();
  PeerWaitsNoMore();
  worker().descriptors().MarkReady(this);
}

}  // namespace sluice
