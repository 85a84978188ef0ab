// Deadlines of a connection: one timer for all of them. It is armed for the earliest and looks
// again when it fires, so that a read or a write costs no re-arming.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace {

constexpr uint32_t kNoConnectTimeout = std::numeric_limits<uint32_t>::max();
// While the runtime drains, a peer that has acknowledged everything and is silent for so long is
// not waited for: it may never end its side (an idle client does not).
constexpr int64_t kDrainLingerMs = 100;
// While it drains, silence ends the reading after a round trip and so long: a delayed
// acknowledgement takes 40 ms, and small segments may wait for it. At most so much of
// drain_timeout, as a pair's silence does.
constexpr int64_t kDrainQuietMs = 50;
constexpr int64_t kDrainQuietPart = 4;
// How often a connect that found a UNIX socket's backlog full is tried again.
constexpr int64_t kConnectAgainMs = 10;

// Never further than half of the range, so that a point in time may be added.
int64_t Ms(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return TimerWheel::kNever;
  return std::min(WholeMs(timeout), TimerWheel::kNever / 2);
}

// The least time from look to look, and the least that an answer may take.
constexpr int64_t kLookMs = 1'000;

}  // namespace

void Connection::SetConnectTimeout(absl::Duration timeout) {
  // Below 0 there is no time at all; a cast alone would make weeks of it.
  connect_timeout_ms_ =
      static_cast<uint32_t>(std::clamp<int64_t>(Ms(timeout), 0, kNoConnectTimeout));
}

// Where the user has set no limit, a session that has closed waits for close_timeout at most: its
// bytes would hold an attempt that nobody else ends.
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
  // Of silence: the half that stays may have much to say.
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
    if (!Planted(Plant::kIdleNotRearmed)) ArmTimer();
  } else if (!w.JudgeAfterTurn(this)) {
    Judge();
  }
}

void Connection::OnDeadline() { NextDeadlineMs() > worker().NowMs() ? ArmTimer() : Judge(); }

// One of its deadlines has passed, and what had come by then has been handed over.
void Connection::Judge() {
  const int64_t now = worker().NowMs();
  // Its FIN may lie behind what it sent before: several reads.
  if (write_state_ == WriteState::kLingering && !Planted(Plant::kJudgedBeforeRead)) {
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
    // Another one may have passed at the same time; an armed timer would come a tick late for it.
    if (!Ended() && NextDeadlineMs() <= now) Judge();
  } else if (stalled_ms_ >= 0 && due(stalled_ms_, o.write_stalled_timeout)) {
    // The kernel tells of room only when a third of its buffer is free, or half of what it may hold
    // unsent. A peer that takes less in that time reads all the same, and then a write is taken.
    writable_ = true;
    if (!Planted(Plant::kStallClockRunsOn)) FlushOutput();
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
      // In a pair, the side that waits for an answer must not take the end for it.
      Finish(CloseReason::kIdle, CutShort() && HalfClosed());
    } else {
      Finish(CloseReason::kHalfClosed, CutShort());
    }
  }
}

// At the end of a silence. No event tells that the peer acknowledges what was written before it;
// but a peer that takes bytes is not silent. Where its kernel has answered meanwhile, it may have
// taken some: its time begins anew, and the next look tells. (A closed window's probes are answered
// too: a peer that takes nothing may so have the timeout twice.)
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

// Bytes that have come and are not read yet (the session is parked, its output stands high, memory
// is spent) are no silence.
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

// Bytes have gone to the kernel. What becomes of them it does not tell: of a peer that has vanished
// it would say so after a quarter of an hour.
void Connection::BeginLooking() {
  looked_s_ = static_cast<uint32_t>(worker().NowMs() / 1'000);
  ArmTimer();
}

// A fifth of the timeout from look to look, 5 s; less often while all is well, and each second once
// it is over. Looks are at full seconds, so that those of many connections share a wake-up.
int64_t Connection::NextLookMs() const {
  const int64_t timeout_ms = Ms(options().unacknowledged_timeout);
  if (timeout_ms == TimerWheel::kNever) return TimerWheel::kNever;
  const int64_t soonest_ms = LookedMs() + kLookMs;
  if (seldom_ == nullptr) return std::max(LookedMs() + timeout_ms / 5 * 2, soonest_ms);
  const int64_t over_ms = std::get<Silence>(*seldom_).asked_ms + timeout_ms;
  return std::clamp(over_ms, soonest_ms, std::max(LookedMs() + timeout_ms / 5, soonest_ms));
}

// A peer is dead if it has answered nothing for the whole timeout, nor what it was asked after
// that. Retransmissions come ever less often: a link that was cut, and is whole again before the
// timeout is over, shows only with the next of them that the peer lives.
void Connection::LookForLife() {
  const int64_t now = worker().NowMs();
  const bool waits = stream_->UnacknowledgedBytes() > 0;
  const Unanswered look = waits ? stream_->LookForAnswer() : Unanswered();
  looked_s_ = waits ? static_cast<uint32_t>(now / 1'000) : 0;  // 0: until more is written.
  if (!look.Any()) {
    seldom_ = nullptr;
  } else if (seldom_ == nullptr) {
    seldom_ = std::make_unique<std::variant<Address, Silence>>(Silence{now - look.asked_ms});
  } else if (std::get<Silence>(*seldom_).asked_ms < now - look.silent_ms) {
    *seldom_ = Silence{now - look.silent_ms};  // The peer has answered since, but not all.
  }
  if (seldom_ != nullptr && IsDead(look, std::get<Silence>(*seldom_))) {
    SocketFailed(ETIMEDOUT);
  } else {
    ArmTimer();
  }
}

// The peer had its time to answer a question that came after the timeout.
bool Connection::IsDead(const Unanswered& look, Silence& silence) {
  const int64_t now = worker().NowMs();
  const int64_t over_ms = silence.asked_ms + Ms(options().unacknowledged_timeout);
  if (now < over_ms) return false;
  if (Planted(Plant::kSilenceUnasked)) return true;
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

// The peer has not ended its side in time. If it has all that we wrote, that is its own affair; a
// late reader is waited for as long as it takes some of it, at most until close_timeout.
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
