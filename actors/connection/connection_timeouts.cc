// The timeouts of a connection: arms the timer, judges what is due, and acts on it.
#include <algorithm>
#include <cerrno>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/session_extra.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"

namespace sluice {

Deadlines::Facts Connection::DeadlineFacts() const {
  const Worker& w = worker();
  const bool read_ended = incoming_.ReadEnded();
  const bool write_ended = outgoing_.FinSent();
  return {
      .options = options(),
      .active_ms = w.NotedMs(ActiveMs()),
      .received_ms = w.NotedMs(incoming_.ReceivedMs()),
      .stalled_ms = outgoing_.StalledMs(),
      .silent_ms = SilentMs(),
      .look_ms = deadlines_.Looking() ? NextLookMs() : TimerWheel::kNever,
      .closing = Closing(),
      .lingering = outgoing_.Lingering(),
      .draining = drain_.Begun(),
      .drain_reads = DrainReads(),
      .half_closed = (incoming_.EndKnown() || write_ended) && !(read_ended && write_ended),
      .fetch_ms = outgoing_.FileRetryMs(),
  };
}

int64_t Connection::NextDeadlineMs() const {
  return IsConnecting() ? connecting().NextMs(GiveUpMs()) : deadlines_.NextMs(DeadlineFacts());
}

void Connection::ArmTimer() {
  const int64_t next = NextDeadlineMs();
  if (next == TimerWheel::kNever) return;
  if (!Armed() || next < DeadlineMs()) worker().timers().Arm(*this, next);
}

void Connection::OnTimer(Worker& w) {
  if (NextDeadlineMs() > w.NowMs()) {
    SLUICE_PLANT(idle_not_rearmed, return);
    ArmTimer();
  } else if (!w.descriptors().JudgeAfterTurn(this)) {
    Judge();
  }
}

void Connection::OnDeadline() { NextDeadlineMs() > worker().NowMs() ? ArmTimer() : Judge(); }

// Called when a deadline has passed, and all input that had come by then was handed over.
void Connection::Judge() {
  const int64_t now = worker().NowMs();
  // The peer's FIN may lie behind unread bytes, which take several reads.
  bool lingering = outgoing_.Lingering();
  SLUICE_PLANT(judged_before_read, lingering = false);
  if (lingering) {
    DiscardAll();
    if (Ended()) return;
    if (NextDeadlineMs() > now) return ArmTimer();
  }
  if (IsConnecting()) return ConnectTimerDue();
  const Deadlines::Due due = deadlines_.DueAt(now, DeadlineFacts());
  switch (due) {
    case Deadlines::Due::kNothing:
      return ArmTimer();
    case Deadlines::Due::kLifetime:
      return Finish(CloseReason::kLifetime, CutShort());
    case Deadlines::Due::kClose:
      return Finish(CloseReason::kLingered, /*reset=*/stream_->UnacknowledgedBytes() > 0);
    case Deadlines::Due::kLinger:
      return LingerTimedOut();
    case Deadlines::Due::kDrainSilence:
      DrainSilenceOver();
      break;
    case Deadlines::Due::kLook:
      LookForLife();
      break;
    case Deadlines::Due::kFetch:
      RetryFetch();
      break;
    case Deadlines::Due::kWriteStalled:
      return StallTimedOut();
    case Deadlines::Due::kSilent:
      PeerIsSilent();
      break;
    case Deadlines::Due::kIdle:
    case Deadlines::Due::kHalfClosed:
      return SilenceTimedOut(/*idle=*/due == Deadlines::Due::kIdle);
  }
  // Another deadline may have passed at the same time; an armed timer would fire a tick late for
  // it.
  if (!Ended() && NextDeadlineMs() <= now) Judge();
}

// The kernel reports room only when a third of its buffer is free, or half of the bytes that it may
// hold unsent. A peer that takes less in that time still reads, and then the kernel accepts a
// write: try one.
void Connection::StallTimedOut() {
  outgoing_.SetWritable();
  SLUICE_PLANT(stall_clock_runs_on, return Finish(CloseReason::kWriteStalled, /*reset=*/true));
  FlushOutput();
  if (outgoing_.StalledMs() >= 0 && outgoing_.WriteError() == 0) {
    Finish(CloseReason::kWriteStalled, /*reset=*/true);
    return;
  }
  OutputMoved();
  if (!Ended()) ArmTimer();
}

void Connection::SetReceiveTimeout() {
  worker().Extra(slot_).io_awaits_asks = true;  // For OnAnswered().
  incoming_.SetReceivedMs(worker().NowMs());
  ArmTimer();
}

// From here on the peer's silence is its own.
void Connection::PeerWaitsNoMore() {
  if (SilentMs() != TimerWheel::kNever) incoming_.SetReceivedMs(worker().NowMs());
}

void Connection::OnAnswered() {
  PeerWaitsNoMore();
  worker().descriptors().MarkReady(this);
}

int64_t Connection::SilentMs() const {
  const bool limited = session_ != nullptr && session_->extra_ != nullptr &&
                       session_->extra_->receive_timeout_ms != TimerWheel::kNever;
  if (!limited || stage_ != Stage::kOpen || Closing() || incoming_.ReadEnded()) {
    return TimerWheel::kNever;
  }
  return worker().NotedMs(incoming_.ReceivedMs()) + session_->extra_->receive_timeout_ms;
}

// A peer that waits for this side owes nothing: its time begins again.
void Connection::PeerIsSilent() {
  const bool asks_open = slot_->extra != nullptr && slot_->extra->AsksOpen();
  bool waits = asks_open || !outgoing_.Empty() || incoming_.Paused() || UnreadByUs();
  SLUICE_PLANT(silence_while_we_work, waits = false);
  if (!waits) return Finish(CloseReason::kSilent, CutShort());
  incoming_.SetReceivedMs(worker().NowMs());
  ArmTimer();
}

void Connection::SilenceTimedOut(bool idle) {
  const Options& o = options();
  if (UnreadByUs() || TakesBytes(TimeoutMs(idle ? o.idle_timeout : o.half_closed_timeout))) {
    Active();
    ArmTimer();
  } else if (idle) {
    // In a half-closed pair, a peer that waits for an answer must not take this end for one.
    Finish(CloseReason::kIdle, CutShort() && HalfClosed());
  } else {
    Finish(CloseReason::kHalfClosed, CutShort());
  }
}

// Called at the end of a silence. A peer that takes bytes is not silent, but no event reports its
// acknowledgements. If the peer's kernel has answered during the silence, the peer may have taken
// bytes: its time starts again, and the next look decides. (Probes of a closed window are answered,
// too: a peer that takes nothing may get the timeout twice.)
bool Connection::TakesBytes(int64_t silence_ms) {
  const auto unacknowledged =
      static_cast<uint32_t>(std::max(stream_->UnacknowledgedBytes(), int64_t{0}));
  if (unacknowledged == 0 || stream_->AcknowledgedMs() >= silence_ms) return false;
  const int64_t now = worker().NowMs();
  const int64_t since_ms = outgoing_.UnacknowledgedSince(now, unacknowledged, ActiveMs());
  if (now - since_ms >= silence_ms) return false;
  outgoing_.RestartUnacknowledged(now);
  Active();
  return true;
}

// Called when the kernel has taken bytes. If the peer vanishes, the kernel would report it only
// after a quarter of an hour, so LookForLife() looks earlier.
void Connection::BeginLooking() {
  deadlines_.SetLooked(worker().NowMs());
  ArmTimer();
}

int64_t Connection::NextLookMs() const {
  return Silence::NextLookMs(deadlines_.LookedMs(), TimeoutMs(options().unacknowledged_timeout),
                             silence());
}

void Connection::LookForLife() {
  const int64_t now = worker().NowMs();
  const bool waits = stream_->UnacknowledgedBytes() > 0;
  const Unanswered look = waits ? stream_->LookForAnswer() : Unanswered();
  deadlines_.StopLooking();
  if (waits) deadlines_.SetLooked(now);
  if (!look.Any()) {
    seldom_ = nullptr;
  } else if (silence() == nullptr) {
    seldom_ = std::make_unique<std::variant<Connecting, Silence>>(Silence(now - look.asked_ms));
  } else {
    silence()->HeardAt(now - look.silent_ms);
  }
  const int64_t timeout_ms = TimeoutMs(options().unacknowledged_timeout);
  if (silence() != nullptr && silence()->IsDead(now, look, timeout_ms)) {
    SocketFailed(ETIMEDOUT);
  } else {
    ArmTimer();
  }
}

// The peer has not ended its side in time. If it has acknowledged all that we wrote, the connection
// ends. Otherwise the connection waits as long as the peer takes some of it, at most until
// close_timeout.
void Connection::LingerTimedOut() {
  const int64_t now = worker().NowMs();
  const int64_t waiting = stream_->UnacknowledgedBytes();
  if (waiting <= 0) {
    Finish(drain_.Begun() ? outgoing_.close_reason() : CloseReason::kLingered);
    return;
  }
  // Each look of this lingering counts.
  const int64_t since_ms =
      outgoing_.UnacknowledgedSince(now, static_cast<uint32_t>(waiting), /*valid_ms=*/0);
  if (now - since_ms >= TimeoutMs(options().write_stalled_timeout)) {
    Finish(CloseReason::kWriteStalled, /*reset=*/true);
    return;
  }
  deadlines_.RestartLinger(now);
  ArmTimer();
}

}  // namespace sluice
