// The output side of a connection: writes leave in order, bytes that the kernel does not take wait
// within output_bytes_max, and a close sends them first.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace {

// Output of one callback is gathered up to this size. A larger write goes to the kernel at once,
// without a copy.
constexpr size_t kGatherMax = 16 * 1024;
constexpr int kPartsMax = 64;

}  // namespace

// --- Writing.

size_t Connection::OutputBytes() const {
  return output_.size() + (gathering_ ? worker().Gather().size() : 0);
}

Answer Connection::MayWrite(size_t bytes) {
  if (write_state_ != WriteState::kOpen || write_error_ != 0) return Answer::kClosed;
  const Answer answer = OutputTakes(options(), OutputBytes(), bytes);
  if (answer == Answer::kFull) wants_writable_ = true;
  return answer;
}

Answer Connection::Write(std::string_view bytes) {
  if (const Answer answer = MayWrite(bytes.size()); answer != Answer::kAccepted) return answer;
  if (bytes.empty()) return Answer::kAccepted;
  Worker& w = worker();
  if (!output_.Empty()) {
    if (!output_.AppendCopy(bytes, w.lease(), Charging::kOverdraft)) return Answer::kOverloaded;
    counters_->bytes_accepted.Add(static_cast<int64_t>(bytes.size()));
    w.FlushAfterSlice(this);
    return Answer::kAccepted;
  }
  counters_->bytes_accepted.Add(static_cast<int64_t>(bytes.size()));
  if (!gathering_) {
    w.AcquireGather(this);
    gathering_ = true;
    w.FlushAfterSlice(this);
  }
  std::string& gather = w.Gather();
  if (gather.size() + bytes.size() <= kGatherMax) {
    gather.append(bytes);
    return Answer::kAccepted;
  }
  // A large write goes to the kernel behind the gathered bytes; only bytes that the kernel does not
  // take are copied.
  gathering_ = false;
  const iovec parts[2] = {{gather.data(), gather.size()},
                          {const_cast<char*>(bytes.data()), bytes.size()}};
  const size_t sent = static_cast<size_t>(WriteParts(parts, 2));
  const size_t from_gather = std::min(sent, gather.size());
  Keep(std::string_view(gather).substr(from_gather));
  Keep(bytes.substr(sent - from_gather));
  w.ReleaseGather();
  return Answer::kAccepted;
}

Answer Connection::Write(const Bytes& payload) {
  if (const Answer answer = MayWrite(payload.size()); answer != Answer::kAccepted) return answer;
  if (payload.empty()) return Answer::kAccepted;
  Worker& w = worker();
  if (gathering_) FlushGather();
  if (!output_.AppendShared(payload, 0, w.lease(), Charging::kOverdraft)) {
    return Answer::kOverloaded;
  }
  counters_->bytes_accepted.Add(static_cast<int64_t>(payload.size()));
  w.FlushAfterSlice(this);
  return Answer::kAccepted;
}

// Keeps accepted bytes that the kernel did not take. Without memory for them the stream has a hole,
// and the connection ends.
void Connection::Keep(std::string_view bytes) {
  if (bytes.empty()) return;
  if (write_error_ == ENOMEM ||
      !output_.AppendCopy(bytes, worker().lease(), Charging::kOverdraft)) {
    counters_->bytes_lost.Add(static_cast<int64_t>(bytes.size()));
    write_error_ = ENOMEM;
  }
}

// Never negative: a failed write is noted, and handled at the end of the slice, not in the middle
// of a handler.
int64_t Connection::WriteParts(const iovec* parts, int count) {
  if (!writable_ || connecting_) return 0;
  const int64_t sent = stream_->Write(parts, count);
  if (sent > 0) {
    counters_->bytes_sent.Add(sent);
    CountOut(sent);
    Active();
    if (looked_s_ == 0) BeginLooking();
    SLUICE_PLANT(partial_write_forgotten,
                 if (count == 1) return static_cast<int64_t>(parts[0].iov_len));
    // A short write does not prove that the buffer is full (a signal may cut it); the next write
    // shows it.
    return sent;
  }
  writable_ = false;
  if (sent < 0 && sent != -EAGAIN) write_error_ = static_cast<int16_t>(-sent);
  return 0;
}

void Connection::OnSliceEnd() {
  if (gathering_) FlushGather();
  FlushOutput();
  OutputMoved();
  if (drain_close_ && !drain_told_ && !Ended()) worker().MarkReady(this);
}

void Connection::FlushGather() {
  std::string& gather = worker().Gather();
  gathering_ = false;
  const iovec part{gather.data(), gather.size()};
  Keep(std::string_view(gather).substr(static_cast<size_t>(WriteParts(&part, 1))));
  worker().ReleaseGather();
}

void Connection::FlushOutput() {
  // Behind a hole (Keep) nothing may be sent: the peer would take it for the missing bytes.
  bool may_send = write_error_ == 0;
  SLUICE_PLANT(bytes_behind_hole, may_send = true);
  while (!output_.Empty() && writable_ && may_send) {
    iovec parts[kPartsMax];
    const int count = output_.Parts(parts, kPartsMax);
    const int64_t sent = WriteParts(parts, count);
    if (sent == 0) break;
    output_.Consume(static_cast<size_t>(sent), worker().lease());
    SLUICE_PLANT(stall_clock_runs_on, continue);
    stalled_ms_ = -1;
  }
}

// Called after output grew or shrank. Handles the watermarks, the stall clock, sides that wait for
// room, and errors of the socket.
void Connection::OutputMoved() {
  if (write_error_ != 0) {
    SocketFailed(write_error_);
    return;
  }
  const int64_t size = static_cast<int64_t>(output_.size());
  if (size == 0) {
    stalled_ms_ = -1;
  } else if (stalled_ms_ < 0) {
    stalled_ms_ = worker().NowMs();
    ArmTimer();
  }
  NoteHigh();
  if (output_high_ && size <= options().output_bytes_low) {
    output_high_ = false;
    // Resume reading on this connection, or on the other one of a pair.
    Connection* reader = partner_;
    SLUICE_PLANT(pair_not_resumed, reader = this);
    worker().MarkReady(reader);
  }
  if (size <= options().output_bytes_low) {
    if (wants_writable_) worker().MarkReady(this);
    TellListeners(&OutputListener::OnOutputLow);
    if (Ended()) return;
  }
  FinishWriting();
}

// --- Output listeners.

void Connection::AddListener(OutputListener* listener) {
  SLUICE_CHECK(WriteOpen());
  listeners_.PushFront(*listener);
}

void Connection::RemoveListener(OutputListener* listener) { listeners_.RemoveIfLinked(*listener); }

void Connection::TellListenersWhenMemoryReturns() {
  listeners_wait_for_memory_ = true;
  worker().PauseReading();
  worker().WaitForMemory(this);
}

// During a call a listener may remove itself, or all listeners may end with the connection or its
// write side.
void Connection::TellListeners(void (OutputListener::*tell)(Connection&)) {
  for (OutputListener* listener = listeners_.Front(); listener != nullptr && WriteOpen();) {
    OutputListener* const next = listeners_.Next(*listener);
    (listener->*tell)(*this);
    if (Ended() || !WriteOpen()) return;
    listener = next;
  }
}

bool Connection::ListenersHold() const {
  for (const OutputListener* listener = listeners_.Front(); listener != nullptr;
       listener = listeners_.Next(*listener)) {
    if (listener->Holds()) return true;
  }
  return false;
}

void Connection::FlushListeners() { TellListeners(&OutputListener::OnFlush); }

// No more output is taken, so a hub must not count this connection as a subscriber any longer.
// Otherwise a chat room would wait for a member that has left.
void Connection::TellOutputEnded() {
  while (OutputListener* const listener = listeners_.PopFront()) listener->OnOutputEnded(*this);
}

void Connection::EndOutput() {
  if (write_state_ != WriteState::kOpen) return;
  write_state_ = WriteState::kFlushing;
  SLUICE_PLANT(closing_member_counts, return);
  TellOutputEnded();
}

// --- Closing.

void Connection::Close() {
  if (connecting_ && OutputBytes() == 0) {
    Finish(CloseReason::kAborted);
    return;
  }
  if (write_state_ == WriteState::kOpen) FlushListeners();
  if (!Ended()) BeginClose();
}

void Connection::BeginClose() {
  if (!closing_) {
    closing_ = true;
    if (owner_ != nullptr) owner_->IsClosing(*this);
    closing_ms_ = worker().NowMs();
    if (!output_.Empty()) ArmTimer();  // close_timeout; with nothing to flush, lingering arms it.
  }
  worker().FlushAfterSlice(this);  // Output of this callback goes first.
  EndOutput();
}

void Connection::CloseWrite() {
  if (write_state_ != WriteState::kOpen) return;
  FlushListeners();
  if (Ended() || write_state_ != WriteState::kOpen) return;
  worker().FlushAfterSlice(this);
  EndOutput();
}

// When no output is left: send our FIN. Then the connection ends if the peer has ended its side,
// too; otherwise a closing side lingers.
void Connection::FinishWriting() {
  if (connecting_) return;  // ConnectDone comes back here.
  bool unsent = !output_.Empty() || gathering_;
  SLUICE_PLANT(close_before_flush, if (closing_) unsent = gathering_);
  if (unsent) return;
  if (write_state_ == WriteState::kFlushing) {
    if (read_ended_ && closing_) {
      Finish(close_reason_);  // Nothing is unread or unsent: close() is enough.
      return;
    }
    write_state_ = WriteState::kShut;
    const int shut = stream_->ShutdownWrite();
    if (shut < 0 && shut != -ENOTCONN) {
      SocketFailed(-shut);
      return;
    }
    phase_ms_ = worker().NowMs();
    ArmTimer();  // half_closed_timeout
  }
  if (write_state_ != WriteState::kShut) return;
  SLUICE_PLANT(no_linger, if (closing_ || eof_told_) return Finish(close_reason_));
  if (read_ended_ && (closing_ || eof_told_)) {
    Finish(close_reason_);
  } else if (closing_) {
    write_state_ = WriteState::kLingering;
    discarded_bytes_ = 0;
    // Start a new observation: shedding may have set this number for its own purpose.
    unacknowledged_bytes_ = 0;
    stalled_ms_ = worker().NowMs();
    offer_again_ = false;
    readable_ = true;  // Bytes left unread while paused cause no new event.
    phase_ms_ = worker().NowMs();
    ArmTimer();
    worker().MarkReady(this);
  }
}

void Connection::Abort(CloseReason reason) { Finish(reason, /*reset=*/true); }

}  // namespace sluice
