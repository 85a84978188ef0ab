// Deadlines of a connection: all of them share one timer. The timer is armed for the earliest, and
// looks again when it fires, so that a read or a write costs no re-arming.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace {

constexpr uint32_t kNoConnectTimeout = std::numeric_limits<uint32_t>::max();
// In a drain, a lingering connection ends after this silence if the peer has acknowledged
// everything: such a peer may never end its side (an idle client does not).
constexpr int64_t kDrainLingerMs = 100;
// In a drain, reading ends after a silence of a round trip plus kDrainQuietMs: a delayed
// acknowledgement takes 40 ms, and small segments may wait for it. The silence is at most
// 1/kDrainQuietPart of drain_timeout, as for a pair.
constexpr int64_t kDrainQuietMs = 50;
constexpr int64_t kDrainQuietPart = 4;
// Interval between attempts while the backlog of a UNIX socket is full.
constexpr int64_t kConnectAgainMs = 10;

// At most half of the range, so that the sum with a point in time does not overflow.
int64_t Ms(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return TimerWheel::kNever;
  return std::min(WholeMs(timeout), TimerWheel::kNever / 2);
}

// Minimum time between two looks, and minimum time for an answer.
constexpr int64_t kLookMs = 1'000;

}  // namespace

void Connection::SetConnectTimeout(absl::Duration timeout) {
  // A timeout below 0 counts as 0; a cast alone would make weeks of it.
  connect_timeout_ms_ =
      static_cast<uint32_t>(std::clamp<int64_t>(Ms(timeout), 0, kNoConnectTimeout));
}

// If the user has set no limit, a session that has closed waits for close_timeout at most:
// otherwise its bytes would keep an attempt alive that nothing else ends.
int64_t Connection::ConnectDeadlineMs() const {
  if (connect_timeout_ms_ != kNoConnectTimeout) return phase_ms_ + connect_timeout_ms_;
  const int64_t close_ms = closing_ ? Ms(options().close_timeout) : TimerWheel::kNever;
  return close_ms == TimerWheel::kNever ? close_ms : closing_ms_ + close_ms;
}

int64_t Connection::NextDeadlineMs() const {
  const Options& o = options();
  int64_t next = TimerWheel::kNever;
  const Worker& w = worker();
  const auto add = [&next](int64_t since_ms, int64_t timeout_ms) {
    if (timeout_ms != TimerWheel::kNever) next = std::min(next, since_ms + timeout_ms);
  };
  if (connecting_) {
    next = ConnectDeadlineMs();
    if (connect_again_) add(active_ms_, kConnectAgainMs);
    return next;
  }
  add(opened_ms_, Ms(o.lifetime_timeout));
  if (closing_) add(closing_ms_, Ms(o.close_timeout));
  if (write_state_ == WriteState::kLingering) {
    add(phase_ms_, draining_ ? kDrainLingerMs : Ms(o.linger_timeout));
    return next;
  }
  if (DrainReads()) add(w.NotedMs(received_ms_), drain_quiet_ms_);
  if (looked_s_ != 0) next = std::min(next, NextLookMs());
  add(w.NotedMs(active_ms_), Ms(o.idle_timeout));
  // half_closed_timeout counts silence: the half that is open may have much to send.
  const bool shut = write_state_ == WriteState::kShut;
  if ((peer_ended_ || read_ended_ || shut) && !(read_ended_ && shut)) {
    add(std::max(phase_ms_, w.NotedMs(active_ms_)), Ms(o.half_closed_timeout));
  }
  if (stalled_ms_ >= 0) add(stalled_ms_, Ms(o.write_stalled_timeout));
  return next;
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
  } else if (!w.JudgeAfterTurn(this)) {
    Judge();
  }
}

void Connection::OnDeadline() { NextDeadlineMs() > worker().NowMs() ? ArmTimer() : Judge(); }

// Called when a deadline has passed, and all input that had come by then was handed over.
void Connection::Judge() {
  const int64_t now = worker().NowMs();
  // The peer's FIN may lie behind unread bytes, which take several reads.
  bool lingering = write_state_ == WriteState::kLingering;
  SLUICE_PLANT(judged_before_read, lingering = false);
  if (lingering) {
    DiscardAll();
    if (Ended()) return;
    if (NextDeadlineMs() > now) return ArmTimer();
  }
  const Options& o = options();
  const Worker& w = worker();
  const auto due = [&](int64_t since_ms, absl::Duration timeout) {
    const int64_t ms = Ms(timeout);
    return ms != TimerWheel::kNever && since_ms + ms <= now;
  };
  if (connecting_) {
    ConnectTimerDue();
  } else if (due(opened_ms_, o.lifetime_timeout)) {
    Finish(CloseReason::kLifetime, CutShort());
  } else if (closing_ && due(closing_ms_, o.close_timeout)) {
    Finish(CloseReason::kLingered, /*reset=*/stream_->UnacknowledgedBytes() > 0);
  } else if (write_state_ == WriteState::kLingering) {
    LingerTimedOut();
  } else if (DrainReads() && due(w.NotedMs(received_ms_), absl::Milliseconds(drain_quiet_ms_))) {
    DrainSilenceOver();
    if (NextDeadlineMs() <= now) Judge();
  } else if (looked_s_ != 0 && NextLookMs() <= now) {
    LookForLife();
    // Another deadline may have passed at the same time; an armed timer would fire a tick late for
    // it.
    if (!Ended() && NextDeadlineMs() <= now) Judge();
  } else if (stalled_ms_ >= 0 && due(stalled_ms_, o.write_stalled_timeout)) {
    // The kernel reports room only when a third of its buffer is free, or half of the bytes that it
    // may hold unsent. A peer that takes less in that time still reads, and then the kernel accepts
    // a write: try one.
    writable_ = true;
    SLUICE_PLANT(stall_clock_runs_on, writable_ = false);
    FlushOutput();
    if (stalled_ms_ >= 0 && write_error_ == 0) {
      Finish(CloseReason::kWriteStalled, /*reset=*/true);
      return;
    }
    OutputMoved();
    if (!Ended()) ArmTimer();
  } else {
    const bool idle = due(w.NotedMs(active_ms_), o.idle_timeout);
    if (UnreadByUs() || TakesBytes(Ms(idle ? o.idle_timeout : o.half_closed_timeout))) {
      Active();
      ArmTimer();
    } else if (idle) {
      // In a half-closed pair, a peer that waits for an answer must not take this end for one.
      Finish(CloseReason::kIdle, CutShort() && HalfClosed());
    } else {
      Finish(CloseReason::kHalfClosed, CutShort());
    }
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
  const bool same = unacknowledged_ms_ >= active_ms_ && unacknowledged == unacknowledged_bytes_;
  if (same && now - unacknowledged_ms_ >= silence_ms) return false;
  unacknowledged_bytes_ = unacknowledged;
  unacknowledged_ms_ = now;
  Active();
  return true;
}

int64_t Connection::DrainQuietMs() {
  const int64_t most_ms = Ms(options().drain_timeout) / kDrainQuietPart;
  return std::clamp<int64_t>(kDrainQuietMs + stream_->RoundTripMs(), 0,
                             std::min(most_ms, int64_t{INT32_MAX}));
}

// Input that is here but not read yet (the session is parked, its output is high, or memory is
// spent) is no silence.
void Connection::DrainSilenceOver() {
  if (readable_ || offer_again_) {
    received_ms_ = worker().NowMs();
    ArmTimer();
  } else {
    input_drained_ = true;
    worker().MarkReady(this);
  }
}

void Connection::ConnectsTo(const Address& address, bool again) {
  if (!connecting_) return;
  seldom_ = std::make_unique<std::variant<Address, Silence>>(address);
  connect_again_ = again;
  if (again) ArmTimer();
}

void Connection::ConnectTimerDue() {
  Worker& w = worker();
  if (!connect_again_ || ConnectDeadlineMs() <= w.NowMs()) {
    ConnectFailed(ETIMEDOUT);
    return;
  }
  const auto& to = std::get<Address>(*seldom_);
  const int connected = w.os().Connect(stream_->Descriptor(), to.sockaddr(), to.size());
  active_ms_ = w.NowMs();
  if (connected == -EAGAIN) {
    ArmTimer();
  } else if (connected < 0) {
    ConnectFailed(-connected);
  } else {
    connect_again_ = false;
    writable_ = true;
    w.MarkReady(this);
  }
}

// Called when the kernel has taken bytes. If the peer vanishes, the kernel would report it only
// after a quarter of an hour, so LookForLife() looks earlier.
void Connection::BeginLooking() {
  looked_s_ = static_cast<uint32_t>(worker().NowMs() / 1'000);
  ArmTimer();
}

// During a silence looks are a fifth of the timeout apart (by default 5 s), and 1 s once the
// timeout is over; while all is well, two fifths. Looks are at full seconds, so that those of many
// connections share a wake-up.
int64_t Connection::NextLookMs() const {
  const int64_t timeout_ms = Ms(options().unacknowledged_timeout);
  if (timeout_ms == TimerWheel::kNever) return TimerWheel::kNever;
  const int64_t soonest_ms = LookedMs() + kLookMs;
  if (seldom_ == nullptr) return std::max(LookedMs() + timeout_ms / 5 * 2, soonest_ms);
  const int64_t over_ms = std::get<Silence>(*seldom_).asked_ms + timeout_ms;
  return std::clamp(over_ms, soonest_ms, std::max(LookedMs() + timeout_ms / 5, soonest_ms));
}

// A peer is dead if it has answered nothing during the whole timeout, and then leaves one more
// question unanswered. Retransmissions become ever rarer: if a link was cut, and repaired before
// the timeout is over, only the next retransmission shows that the peer lives.
void Connection::LookForLife() {
  const int64_t now = worker().NowMs();
  const bool waits = stream_->UnacknowledgedBytes() > 0;
  const Unanswered look = waits ? stream_->LookForAnswer() : Unanswered();
  looked_s_ = waits ? static_cast<uint32_t>(now / 1'000) : 0;  // 0: no look until more is written.
  if (!look.Any()) {
    seldom_ = nullptr;
  } else if (seldom_ == nullptr) {
    seldom_ = std::make_unique<std::variant<Address, Silence>>(Silence{now - look.asked_ms});
  } else if (std::get<Silence>(*seldom_).asked_ms < now - look.silent_ms) {
    *seldom_ = Silence{now - look.silent_ms};  // The peer has answered since, but not everything.
  }
  if (seldom_ != nullptr && IsDead(look, std::get<Silence>(*seldom_))) {
    SocketFailed(ETIMEDOUT);
  } else {
    ArmTimer();
  }
}

// True: a question was sent after the timeout, and the peer had time to answer it, but did not.
bool Connection::IsDead(const Unanswered& look, Silence& silence) {
  const int64_t now = worker().NowMs();
  const int64_t over_ms = silence.asked_ms + Ms(options().unacknowledged_timeout);
  if (now < over_ms) return false;
  SLUICE_PLANT(silence_unasked, return true);
  if (silence.asked_late_ms < 0) {
    if (look.last_ms != Unanswered::kUnknown) {
      if (now - look.last_ms >= over_ms) silence.asked_late_ms = now - look.last_ms;
    } else if (silence.probes == 0) {
      silence.probes = look.probes;
    } else if (look.probes > silence.probes) {
      silence.asked_late_ms = now;
    }
  }
  return silence.asked_late_ms >= 0 &&
         now - silence.asked_late_ms >= std::max(kLookMs, look.round_trip_ms);
}

// The peer has not ended its side in time. If it has acknowledged all that we wrote, the connection
// ends. Otherwise the connection waits as long as the peer takes some of it, at most until
// close_timeout.
void Connection::LingerTimedOut() {
  Worker& w = worker();
  const int64_t waiting = stream_->UnacknowledgedBytes();
  if (waiting <= 0) {
    Finish(draining_ ? close_reason_ : CloseReason::kLingered);
    return;
  }
  if (waiting != int64_t{unacknowledged_bytes_}) {
    unacknowledged_bytes_ = static_cast<uint32_t>(waiting);
    stalled_ms_ = w.NowMs();
  } else if (w.NowMs() - stalled_ms_ >= Ms(options().write_stalled_timeout)) {
    Finish(CloseReason::kWriteStalled, /*reset=*/true);
    return;
  }
  phase_ms_ = w.NowMs();
  ArmTimer();
}

}  // namespace sluice
