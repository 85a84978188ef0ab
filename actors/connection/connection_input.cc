// The input side of a connection: what is read is offered to the session, what the session does not
// take waits within its bound, and a closing side reads on and forgets.
#include <cerrno>
#include <string_view>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

namespace {

// A closing side reads and forgets so much before it gives up on a peer that goes on sending.
constexpr uint32_t kDiscardMax = 1024 * 1024;
static_assert(kReadHeadroomBytes == Worker::kReadBytes * 2);
// One read from the reserve: the smallest socket buffer takes the echo of it, so that it never
// waits here.
constexpr size_t kReserveReadBytes = 4 * 1024;
// An answer that is longer than its question by more than this finds no memory in the reserve.
constexpr int64_t kAnswerExtraBytesMax = 32 * 1024;

}  // namespace

void Connection::ReadOnce() {
  Worker& w = worker();
  size_t most = Worker::kReadBytes;
  if (w.ReadingPaused() || !w.lease().Charge(kReadHeadroomBytes)) {
    w.PauseReading();
    if (Planted(Plant::kReserveUnused) || !MayReadFromReserve()) {
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
    const bool empty_now = static_cast<size_t>(count) < most &&
                           (!exceptional_ || Planted(Plant::kShortReadAfterHangUp)) &&
                           stream_->ShortReadMeansEmpty();
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

// Hands bytes to the session: fresh ones behind what was kept, or (none fresh) what was kept once
// more. What the session sees stays in place while it runs: nothing clears input_ in its handlers.
void Connection::OfferInput(std::string_view fresh) {
  Lease& lease = worker().lease();
  const bool kept = !input_.Empty();
  if (kept && !fresh.empty() && !input_.Append(fresh, lease, Charging::kOverdraft)) {
    Finish(CloseReason::kMemory);
    return;
  }
  Input in(kept ? input_.view() : fresh);
  const size_t offered = in.size();
  bool may_go_on = false;  // As the session saw it: what it has sent and written leaves afterwards.
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
    offer_again_ = true;                      // The session had to stop; more may be in there.
    if (MayGoOn()) worker().MarkReady(this);  // Reading may go on already, and no event will tell.
  } else if (input_.size() >= input_bytes_max_) {
    offer_again_ = true;
    if (in.size() < offered) {
      worker().MarkReady(this);  // The session takes one frame a call: there may be another one.
    } else if (Planted(Plant::kInputFullUntold)) {
      paused_ = true;
    } else {
      TellInputFull();
    }
  }
}

// All that may be kept is kept, and the session has taken nothing of it.
void Connection::TellInputFull() {
  worker().RunHandler(slot_, "OnInputFull", [&] { session_->OnInputFull(); });
  if (Ended()) return;
  if (closing_) {
    input_.Clear(worker().lease());
    offer_again_ = false;
  } else if (input_.size() >= input_bytes_max_) {
    paused_ = true;  // Until it resumes reading.
  } else {
    offer_again_ = false;  // There is place again: it goes on when more has come.
    worker().MarkReady(this);
  }
}

// Lingering close: our FIN is out; what the peer still sends is read and forgotten, so that the
// kernel has no unread bytes for which it would send a reset that overtakes our last answer.
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
      // A peer that goes on sending is read no more, and its window closes. While it has not all of
      // our answer, a close would reset that away: then the timer looks.
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
