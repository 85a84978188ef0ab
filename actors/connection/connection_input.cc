// The input side of a connection: bytes are read and offered to the session, and bytes that it does
// not take are kept, within input_bytes_max. A closing side reads on and discards.
#include <cerrno>
#include <string_view>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

namespace {

// Bytes that a closing side discards before it gives up on a peer that goes on sending.
constexpr uint32_t kDiscardMax = 1024 * 1024;
static_assert(kReadHeadroomBytes == Worker::kReadBytes * 2);
// Size of a read from the reserve. The smallest socket buffer takes the echo of such a read, so
// that the echo never waits here.
constexpr size_t kReserveReadBytes = 4 * 1024;
// If an answer exceeds its question by more than this, the connection may not read from the
// reserve.
constexpr int64_t kAnswerExtraBytesMax = 32 * 1024;

}  // namespace

void Connection::ReadOnce() {
  Worker& w = worker();
  size_t most = Worker::kReadBytes;
  if (w.ReadingPaused() || !w.lease().Charge(kReadHeadroomBytes)) {
    w.PauseReading();
    SLUICE_PLANT(reserve_unused, return w.WaitForMemory(this));
    if (!MayReadFromReserve()) {
      w.WaitForMemory(this);
      return;
    }
    most = kReserveReadBytes;
  } else {
    w.lease().Refund(kReadHeadroomBytes);
  }
  const int64_t count = stream_->Read(w.ReadBuffer(), most);
  if (count > 0) {
    Active();
    received_ms_ = active_ms_;
    counters_->bytes_read.Add(count);
    CountIn(count);
    SLUICE_PLANT(short_read_after_hang_up, exceptional_ = false);
    const bool empty_now =
        static_cast<size_t>(count) < most && !exceptional_ && stream_->ShortReadMeansEmpty();
    if (empty_now) readable_ = false;
    const int64_t accepted = counters_->bytes_accepted.Get();
    OfferInput(std::string_view(w.ReadBuffer(), static_cast<size_t>(count)));
    amplifies_ = counters_->bytes_accepted.Get() - accepted > count + kAnswerExtraBytesMax;
    if (!Ended() && !empty_now) w.MarkReady(this);
  } else if (count == 0) {
    readable_ = false;
    read_ended_ = true;
    if (write_state_ == WriteState::kOpen) close_reason_ = CloseReason::kPeerClosed;
    phase_ms_ = w.NowMs();
    ArmTimer();
  } else if (count == -EAGAIN) {
    readable_ = false;
  } else {
    SocketFailed(static_cast<int>(-count));
  }
}

// Offers input to the session: `fresh` behind the kept bytes, or (with empty `fresh`) the kept
// bytes once more. The bytes that the session sees stay in place while it runs: nothing clears
// input_ in its handlers.
void Connection::OfferInput(std::string_view fresh) {
  Lease& lease = worker().lease();
  const bool kept = !input_.Empty();
  if (kept && !fresh.empty() && !input_.Append(fresh, lease, Charging::kOverdraft)) {
    Finish(CloseReason::kMemory);
    return;
  }
  Input in(kept ? input_.view() : fresh);
  const size_t offered = in.size();
  // State inside OnData: messages and output of the session leave only afterwards.
  bool may_go_on = false;
  offering_ = true;
  took_one_ = turn_over_ = false;
  worker().BeginShare(Worker::kIoTurnNs);
  worker().RunHandler(slot_, "OnData", [&] {
    session_->OnData(in);
    may_go_on = !in.empty() && MayGoOn() && !turn_over_;
  });
  offering_ = false;
  if (Ended()) return;
  if (kept) {
    input_.Consume(offered - in.size(), lease);
  } else if (!in.empty() && !input_.Append(in.Peek(), lease, Charging::kOverdraft)) {
    Finish(CloseReason::kMemory);
    return;
  }
  if (closing_) input_.Clear(lease);
  offer_again_ = false;
  if (input_.Empty()) return;
  if (!may_go_on || !MayGoOn()) {
    offer_again_ = true;  // The session had to stop; input_ may hold another frame.
    // The session may go on already, and no event would follow.
    if (MayGoOn()) worker().MarkReady(this);
  } else if (input_.size() >= input_bytes_max_) {
    offer_again_ = true;
    if (in.size() < offered) {
      worker().MarkReady(this);  // The session takes one frame a call; there may be another one.
    } else {
      SLUICE_PLANT(input_full_untold, paused_ = true; return);
      TellInputFull();
    }
  }
}

// The kept input has reached its maximum, and the session has taken nothing of it.
void Connection::TellInputFull() {
  worker().RunHandler(slot_, "OnInputFull", [&] { session_->OnInputFull(); });
  if (Ended()) return;
  if (closing_) {
    input_.Clear(worker().lease());
    offer_again_ = false;
  } else if (input_.size() >= input_bytes_max_) {
    paused_ = true;  // Until ResumeReading().
  } else {
    // There is room again: reading goes on, and the next bytes lead to OnData.
    offer_again_ = false;
    worker().MarkReady(this);
  }
}

// Lingering close: our FIN is sent, and input is read and discarded. Unread bytes would make the
// kernel send a reset, which may overtake our last answer.
void Connection::Discard() {
  Worker& w = worker();
  const int64_t count = stream_->Read(w.ReadBuffer(), Worker::kReadBytes);
  if (count > 0) {
    counters_->bytes_read.Add(count);
    counters_->bytes_discarded.Add(count);
    CountIn(count);
    discarded_bytes_ += static_cast<uint32_t>(count);
    if (draining_) phase_ms_ = w.NowMs();
    if (discarded_bytes_ > kDiscardMax) {
      // Stop reading a peer that goes on sending; its window closes. If the peer does not have all
      // of our answer, a close now would lose the rest by a reset: the timer decides later.
      readable_ = false;
      if (stream_->UnacknowledgedBytes() <= 0) Finish(CloseReason::kLingered);
    } else {
      w.MarkReady(this);
    }
  } else if (count == -EAGAIN) {
    readable_ = false;
  } else {
    // The end, or a reset after our FIN: either way the peer is done.
    Finish(close_reason_);
  }
}

bool Connection::MayDiscard() const { return readable_ && discarded_bytes_ <= kDiscardMax; }

void Connection::DiscardAll() {
  while (!Ended() && MayDiscard()) Discard();
}

void Connection::PauseReading() { paused_ = true; }

void Connection::ResumeReading() {
  paused_ = false;
  worker().MarkReady(this);
}

}  // namespace sluice
