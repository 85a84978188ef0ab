#include "sluice/actors/connection.h"

#include <cerrno>
#include <limits>
#include <utility>

#include "sluice/actors/acceptor.h"
#include "sluice/core/control.h"
#include "sluice/core/log.h"
#include "sluice/core/runtime.h"

namespace sluice {

namespace {

constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kExceptional = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
// One callback's output is gathered up to here; a larger write goes to the kernel at once, without
// a copy.
constexpr size_t kGatherMax = 16 * 1024;
constexpr int kPartsMax = 64;
// What a closing side reads and forgets before it gives up on a peer that goes on sending.
constexpr uint32_t kDiscardMax = 1024 * 1024;
// Before a read: what the session may write of it must find memory (chunks take a little more than
// their bytes).
constexpr int64_t kReadHeadroom = Worker::kReadBytes * 2;

CloseReason ReasonOf(int error) {
  switch (error) {
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
      return CloseReason::kReset;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return CloseReason::kDeadPeer;
    default:
      return CloseReason::kError;
  }
}

int64_t Ms(absl::Duration timeout) {
  return timeout == absl::InfiniteDuration() ? TimerWheel::kNever
                                             : absl::ToInt64Milliseconds(timeout);
}

}  // namespace

// --- Life.

Connection::Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                       ConnectionOwner owner)
    : slot_(slot),
      session_(static_cast<Session*>(slot->actor)),
      stream_(std::move(stream)),
      counters_(&worker.runtime()
                     .Attachment<ConnectionLedger>(worker.runtime().WorkerCount())
                     .At(worker.Index())),
      owner_(owner),
      opened_ms_(worker.NowMs()),
      active_ms_(opened_ms_),
      input_bytes_max_(static_cast<uint32_t>(worker.options().input_bytes_max)) {}

Connection::~Connection() { SLUICE_CHECK(output_.Empty() && input_.Empty() && !Armed()); }

void Connection::Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                      ConnectionOwner owner, Start start, absl::Duration connect_timeout) {
  auto* connection = new Connection(worker, slot, std::move(stream), owner);
  connection->session_->connection_ = connection;
  connection->counters_->opened.Add(1);
  worker.AttachIo(slot, connection);
  const int added = worker.os().PollerAdd(worker.Poller(), connection->stream_->Descriptor(),
                                          kInterest, Worker::PollData(slot));
  if (added < 0) {
    connection->Finish(ReasonOf(-added));
    return;
  }
  if (start == Start::kConnecting) {
    connection->connecting_ = true;
    connection->writable_ = false;
    connection->phase_ms_ = worker.NowMs();
    connection->connect_timeout_ms_ =
        connect_timeout == absl::InfiniteDuration()
            ? std::numeric_limits<uint32_t>::max()
            : static_cast<uint32_t>(absl::ToInt64Milliseconds(connect_timeout));
    connection->ArmTimer();
    return;
  }
  // Data may be here already: the first read is tried without waiting for the poller.
  connection->readable_ = true;
  connection->ArmTimer();
  worker.RunHandler(slot, "OnOpen", [&] {
    if (connection->session_ != nullptr) connection->session_->OnOpen();
  });
  if (slot->io != connection) return;
  worker.MarkReady(connection);
  if (worker.Draining()) connection->OnDrain();
  if (slot->io == connection && worker.DrainClosing()) connection->OnDrainClose();
}

// The one end of every connection.
void Connection::Finish(CloseReason reason, bool reset) {
  Worker& owner_worker = worker();
  Lease& lease = owner_worker.lease();
  if (gathering_) {
    gathering_ = false;
    counters_->bytes_lost.Add(static_cast<int64_t>(owner_worker.Gather().size()));
    owner_worker.ReleaseGather();
  }
  counters_->bytes_lost.Add(static_cast<int64_t>(output_.size()));
  counters_->closed[static_cast<int>(reason)].Add(1);
  output_.Clear(lease);
  input_.Clear(lease);
  owner_worker.timers().Cancel(*this);
  owner_worker.os().PollerRemove(owner_worker.Poller(), stream_->Descriptor());
  stream_->Close(reset);
  while (listeners_ != nullptr) {
    OutputListener* listener = std::exchange(listeners_, listeners_->next_listener_);
    listener->OnConnectionEnded(*this);
  }
  if (owner_.slot != nullptr) {
    Worker::Post(*owner_.slot->worker, owner_.slot, owner_.generation,
                 ConnectionEndedControl{owner_worker.Index()});
  }
  Session* session = std::exchange(session_, nullptr);
  Slot* slot = slot_;
  if (session != nullptr) {
    session->close_reason_ = reason;
    session->connection_ = nullptr;
  }
  owner_worker.DetachIo(slot);  // Deletes this at the end of the turn.
  if (session != nullptr)
    owner_worker.Stop(slot, EndReason::kStopped, std::string(CloseReasonName(reason)));
}

void Connection::SocketFailed(int error) { Finish(ReasonOf(error)); }

void Connection::OnActorEnded(bool failed) {
  if (session_ == nullptr) return;
  session_->connection_ = nullptr;
  session_ = nullptr;
  close_reason_ = failed ? CloseReason::kFailed : CloseReason::kClosed;
  if (connecting_) {
    Finish(close_reason_);
    return;
  }
  input_.Clear(worker().lease());
  offer_again_ = false;
  close_write_ = false;
  // What it wrote is still sent.
  if (write_state_ == WriteState::kShut) {
    lingering_ = true;
    phase_ms_ = worker().NowMs();
    ArmTimer();
  } else {
    write_state_ = WriteState::kFlushing;
  }
  FinishWriting();
  if (slot_->io == this) worker().MarkReady(this);
}

// --- Readiness.

void Connection::OnEvents(uint32_t events) {
  if (connecting_) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) ConnectDone();
    return;
  }
  if ((events & kReadEvents) != 0) readable_ = true;
  if ((events & kExceptional) != 0) exceptional_ = true;
  if ((events & EPOLLOUT) != 0) writable_ = true;
  if ((events & EPOLLERR) != 0 && !MayRead() && !lingering_) {
    // A reset is noticed though nothing is read: the session may be parked, or its output high.
    int error = 0;
    socklen_t size = sizeof(error);
    worker().os().OptionGet(stream_->Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      SocketFailed(error);
      return;
    }
  }
  worker().MarkReady(this);
}

void Connection::ConnectDone() {
  int error = 0;
  socklen_t size = sizeof(error);
  const int got =
      worker().os().OptionGet(stream_->Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (got < 0) error = -got;
  if (error != 0) {
    LogDebug("connect failed: %s", absl::ErrnoToStatus(error, "connect").ToString());
    Finish(CloseReason::kConnectFailed);
    return;
  }
  connecting_ = false;
  phase_ms_ = 0;
  readable_ = writable_ = true;
  active_ms_ = worker().NowMs();
  ArmTimer();
  worker().RunHandler(slot_, "OnOpen", [&] { session_->OnOpen(); });
  if (slot_->io != this) return;
  worker().MarkReady(this);
  worker().FlushAfterSlice(this);  // It may have ended its side before it was connected.
}

bool Connection::MayGoOn() const {
  return session_ != nullptr && !paused_ && !output_high_ &&
         write_state_ != WriteState::kFlushing && !lingering_ && slot_->Runnable() &&
         (slot_->extra == nullptr || slot_->extra->outbox.count == 0);
}

bool Connection::MayRead() const { return MayGoOn() && !read_ended_ && !input_drained_; }

void Connection::OnUnparked() { worker().MarkReady(this); }

void Connection::OnTurn() {
  if (writable_ && !output_.Empty()) {
    FlushOutput();
    if (slot_->io != this) return;
  }
  if (wants_writable_ && MayGoOn() &&
      OutputBytes() <= static_cast<size_t>(options().output_bytes_low)) {
    wants_writable_ = false;
    worker().RunHandler(slot_, "OnWritable", [&] { session_->OnWritable(); });
    if (slot_->io != this) return;
  }
  if (lingering_) {
    if (readable_) Discard();
    return;
  }
  if (offer_again_ && MayGoOn()) {
    offer_again_ = false;
    OfferInput(input_.view(), /*fresh=*/false);
    if (slot_->io != this) return;
  }
  if (offer_again_) return;  // Older bytes first.
  if (read_ended_) {
    TellEof();
  } else if (readable_ && MayRead()) {
    ReadOnce();
  }
  if (slot_->io != this) return;
  // Nothing left in the kernel, nothing kept that the session could still take.
  if (draining_ && !readable_ && !offer_again_) input_drained_ = true;
  if (input_drained_ && drain_close_) TellDrain();
}

// --- Reading.

void Connection::ReadOnce() {
  Worker& w = worker();
  if (w.ReadingPaused() || !w.lease().Charge(kReadHeadroom)) {
    w.PauseReading();
    if (!waits_for_memory_) {
      waits_for_memory_ = true;
      w.WaitForMemory(this);
    }
    return;
  }
  waits_for_memory_ = false;
  w.lease().Refund(kReadHeadroom);
  const int64_t count = stream_->Read(w.ReadBuffer(), Worker::kReadBytes);
  if (count > 0) {
    active_ms_ = w.NowMs();
    counters_->bytes_read.Add(count);
    const bool empty_now = static_cast<size_t>(count) < Worker::kReadBytes && !exceptional_ &&
                           stream_->ShortReadMeansEmpty();
    if (empty_now) readable_ = false;
    OfferInput(std::string_view(w.ReadBuffer(), static_cast<size_t>(count)), /*fresh=*/true);
    if (slot_->io == this && !empty_now) w.MarkReady(this);
    return;
  }
  if (count == 0) {
    InputEnded();
    return;
  }
  if (count == -EAGAIN) {
    readable_ = false;
    return;
  }
  SocketFailed(static_cast<int>(-count));
}

// Hands bytes to the session: fresh ones behind what was kept, or what was kept once more.
void Connection::OfferInput(std::string_view bytes, bool fresh) {
  Lease& lease = worker().lease();
  const bool kept = fresh && !input_.Empty();
  if (kept && !input_.Append(bytes, lease, Charging::kOverdraft)) {
    Finish(CloseReason::kMemory);
    return;
  }
  const bool from_kept = kept || !fresh;
  Input in(from_kept ? input_.view() : bytes);
  const size_t offered = in.size();
  const bool ran = worker().RunHandler(slot_, "OnData", [&] { session_->OnData(in); });
  if (slot_->io != this) return;
  if (session_ == nullptr) return;  // It failed or stopped; OnActorEnded has cleared what was kept.
  const size_t consumed = ran ? offered - in.size() : 0;
  if (from_kept) {
    if (consumed > 0) input_.Consume(consumed, lease);
  } else if (!in.empty()) {
    if (!input_.Append(in.Peek(), lease, Charging::kOverdraft)) {
      Finish(CloseReason::kMemory);
      return;
    }
  }
  if (input_.Empty()) return;
  if (!MayGoOn() || !ran) {
    offer_again_ = true;  // It stopped because it had to; more may be in there.
  } else if (input_.size() >= input_bytes_max_) {
    LogWarn("a session left %d bytes of input unconsumed (input_bytes_max); its reading stops",
            input_.size());
    offer_again_ = true;
    paused_ = true;  // Until it resumes reading.
  }
}

void Connection::InputEnded() {
  readable_ = false;
  read_ended_ = true;
  close_reason_ = CloseReason::kPeerClosed;
  phase_ms_ = worker().NowMs();
  if (lingering_ || session_ == nullptr) {
    Finish(close_reason_ == CloseReason::kPeerClosed && write_state_ == WriteState::kShut
               ? CloseReason::kClosed
               : close_reason_);
    return;
  }
  ArmTimer();
  TellEof();
}

void Connection::TellEof() {
  if (eof_told_ || offer_again_ || !MayGoOn()) return;
  eof_told_ = true;
  worker().RunHandler(slot_, "OnEof", [&] { session_->OnEof(); });
  if (slot_->io != this) return;
  input_.Clear(worker().lease());
  if (write_state_ == WriteState::kShut) {
    Finish(CloseReason::kPeerClosed);  // Both sides have ended.
    return;
  }
  if (draining_) worker().MarkReady(this);
}

// Lingering close: our FIN is out; what the peer still sends is read and forgotten, so that the
// kernel has no unread bytes for which it would send a reset that overtakes our last answer.
void Connection::Discard() {
  Worker& w = worker();
  const int64_t count = stream_->Read(w.ReadBuffer(), Worker::kReadBytes);
  if (count > 0) {
    counters_->bytes_read.Add(count);
    discarded_bytes_ += static_cast<uint32_t>(count);
    if (discarded_bytes_ > kDiscardMax) {
      Finish(CloseReason::kLingered);
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

void Connection::PauseReading() { paused_ = true; }

void Connection::ResumeReading() {
  paused_ = false;
  worker().MarkReady(this);
}

// --- Writing.

size_t Connection::OutputBytes() const {
  return output_.size() + (gathering_ ? worker().Gather().size() : 0);
}

Answer Connection::Write(std::string_view bytes) {
  if (write_state_ != WriteState::kOpen) return Answer::kClosed;
  if (bytes.empty()) return Answer::kAccepted;
  if (OutputBytes() + bytes.size() > static_cast<size_t>(options().output_bytes_max)) {
    wants_writable_ = true;
    return Answer::kFull;
  }
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
  // Large: to the kernel behind what was gathered, and only what it did not take is copied.
  gathering_ = false;
  const iovec parts[2] = {{gather.data(), gather.size()},
                          {const_cast<char*>(bytes.data()), bytes.size()}};
  const int64_t sent = writable_ ? WriteParts(parts, 2) : 0;
  const size_t from_gather = std::min(static_cast<size_t>(sent), gather.size());
  const std::string_view rest_gather = std::string_view(gather).substr(from_gather);
  const std::string_view rest = bytes.substr(static_cast<size_t>(sent) - from_gather);
  const bool held =
      (rest_gather.empty() || output_.AppendCopy(rest_gather, w.lease(), Charging::kOverdraft)) &&
      (rest.empty() || output_.AppendCopy(rest, w.lease(), Charging::kOverdraft));
  if (!held) {
    counters_->bytes_lost.Add(
        static_cast<int64_t>(rest_gather.size() + rest.size() - output_.size()));
    write_state_ = WriteState::kShut;
    close_reason_ = CloseReason::kMemory;
  }
  w.ReleaseGather();
  w.FlushAfterSlice(this);
  return Answer::kAccepted;
}

Answer Connection::Write(const Bytes& payload) {
  if (write_state_ != WriteState::kOpen) return Answer::kClosed;
  if (payload.empty()) return Answer::kAccepted;
  if (OutputBytes() + payload.size() > static_cast<size_t>(options().output_bytes_max)) {
    wants_writable_ = true;
    return Answer::kFull;
  }
  Worker& w = worker();
  if (gathering_) FlushGather();
  if (slot_->io != this || write_state_ != WriteState::kOpen) return Answer::kClosed;
  if (!output_.AppendShared(payload, 0, w.lease(), Charging::kOverdraft))
    return Answer::kOverloaded;
  counters_->bytes_accepted.Add(static_cast<int64_t>(payload.size()));
  w.FlushAfterSlice(this);
  return Answer::kAccepted;
}

// Negative results never leave: the socket's failure is told at the end of the slice, not in the
// middle of a handler.
int64_t Connection::WriteParts(const iovec* parts, int count) {
  size_t wanted = 0;
  for (int i = 0; i < count; ++i) wanted += parts[i].iov_len;
  const int64_t sent = stream_->Write(parts, count);
  if (sent > 0) {
    counters_->bytes_sent.Add(sent);
    active_ms_ = worker().NowMs();
    // A short write is no proof that the buffer is full (a signal may cut it); the next one tells.
    return sent;
  }
  writable_ = false;
  if (sent < 0 && sent != -EAGAIN) write_error_ = static_cast<int>(-sent);
  return 0;
}

void Connection::OnSliceEnd() {
  if (gathering_) FlushGather();
  if (slot_->io != this) return;
  if (!output_.Empty() && writable_) FlushOutput();
  if (slot_->io != this) return;
  OutputMoved();
}

void Connection::FlushGather() {
  Worker& w = worker();
  std::string& gather = w.Gather();
  gathering_ = false;
  const iovec part{gather.data(), gather.size()};
  const int64_t sent = writable_ ? WriteParts(&part, 1) : 0;
  if (static_cast<size_t>(sent) < gather.size()) {
    const std::string_view rest = std::string_view(gather).substr(static_cast<size_t>(sent));
    if (!output_.AppendCopy(rest, w.lease(), Charging::kOverdraft)) {
      counters_->bytes_lost.Add(static_cast<int64_t>(rest.size()));
      write_state_ = WriteState::kShut;
      close_reason_ = CloseReason::kMemory;
    }
  }
  w.ReleaseGather();
  w.FlushAfterSlice(this);  // What is left, and errors, are for OutputMoved.
}

void Connection::FlushOutput() {
  while (!output_.Empty() && writable_) {
    iovec parts[kPartsMax];
    const int count = output_.Parts(parts, kPartsMax);
    const int64_t sent = WriteParts(parts, count);
    if (sent == 0) break;
    output_.Consume(static_cast<size_t>(sent), worker().lease());
    stalled_ms_ = -1;
  }
  OutputMoved();
}

// After output grew or shrank: watermarks, the stall clock, what waits for room, and errors of the
// socket.
void Connection::OutputMoved() {
  if (write_error_ != 0) {
    SocketFailed(write_error_);
    return;
  }
  if (close_reason_ == CloseReason::kMemory) {
    Finish(CloseReason::kMemory, /*reset=*/true);
    return;
  }
  const int64_t size = static_cast<int64_t>(output_.size());
  if (size > 0 && stalled_ms_ < 0) {
    stalled_ms_ = worker().NowMs();
    ArmTimer();
  } else if (size == 0) {
    stalled_ms_ = -1;
  }
  if (!output_high_ && size > options().output_bytes_high) {
    output_high_ = true;
  } else if (output_high_ && size <= options().output_bytes_low) {
    output_high_ = false;
    worker().MarkReady(this);
  }
  if (size <= options().output_bytes_low) {
    if (wants_writable_) worker().MarkReady(this);
    for (OutputListener* listener = listeners_; listener != nullptr;) {
      OutputListener* next = listener->next_listener_;  // It may remove itself.
      listener->OnOutputLow(*this);
      listener = next;
    }
  }
  if (size == 0 && write_state_ == WriteState::kFlushing) FinishWriting();
}

// --- Closing.

void Connection::AddListener(OutputListener* listener) {
  listener->next_listener_ = std::exchange(listeners_, listener);
}

void Connection::RemoveListener(OutputListener* listener) {
  OutputListener** link = &listeners_;
  while (*link != nullptr && *link != listener) link = &(*link)->next_listener_;
  if (*link != nullptr) *link = listener->next_listener_;
}

void Connection::FlushListeners() {
  for (OutputListener* listener = listeners_; listener != nullptr;) {
    OutputListener* next = listener->next_listener_;
    listener->OnClosing(*this);
    listener = next;
  }
}

void Connection::Close() {
  if (connecting_) {
    Finish(CloseReason::kAborted);
    return;
  }
  if (write_state_ == WriteState::kOpen) FlushListeners();
  close_write_ = false;
  if (write_state_ == WriteState::kOpen) {
    write_state_ = WriteState::kFlushing;
    worker().FlushAfterSlice(this);  // What this callback wrote goes first.
  } else if (write_state_ == WriteState::kShut && !lingering_) {
    FinishWriting();
  }
}

void Connection::CloseWrite() {
  if (write_state_ != WriteState::kOpen) return;
  close_write_ = true;
  write_state_ = WriteState::kFlushing;
  worker().FlushAfterSlice(this);
}

// All output has left, or the write side has ended already: FIN, then linger or be done.
void Connection::FinishWriting() {
  if (!output_.Empty() || gathering_ || connecting_) return;
  if (write_state_ == WriteState::kFlushing) {
    write_state_ = WriteState::kShut;
    if (read_ended_ && !close_write_) {
      Finish(close_reason_);  // Nothing unread, nothing unsent: close() says it all.
      return;
    }
    const int shut = stream_->ShutdownWrite();
    if (shut < 0 && shut != -ENOTCONN) {
      SocketFailed(-shut);
      return;
    }
    phase_ms_ = worker().NowMs();
  }
  if (read_ended_) {
    if (session_ == nullptr || eof_told_ || !close_write_) Finish(close_reason_);
    return;
  }
  if (close_write_) {
    close_write_ = false;
    ArmTimer();  // half_closed_timeout
    worker().MarkReady(this);
    return;
  }
  lingering_ = true;
  offer_again_ = false;
  input_.Clear(worker().lease());
  readable_ = true;  // What was left unread while paused gives no new event.
  ArmTimer();
  worker().MarkReady(this);
}

void Connection::Abort(CloseReason reason) { Finish(reason, /*reset=*/true); }

// --- Drain.

void Connection::OnDrain() {
  if (draining_) return;
  draining_ = true;
  if (connecting_) return;
  // Bytes may have come since the last event: one more read tells.
  readable_ = true;
  worker().MarkReady(this);
}

void Connection::OnDrainClose() {
  drain_close_ = true;
  worker().MarkReady(this);
}

void Connection::TellDrain() {
  if (drain_told_ || offer_again_ || session_ == nullptr || write_state_ == WriteState::kFlushing)
    return;
  if (!slot_->Runnable()) return;  // OnUnparked comes back here.
  drain_told_ = true;
  worker().RunHandler(slot_, "OnDrain", [&] { session_->OnDrain(); });
}

void Connection::OnShutdown() { Finish(CloseReason::kShutdown, /*reset=*/!output_.Empty()); }

// --- Deadlines: one timer for all of them. It is armed for the earliest and looks again when it
// fires, so that a read or a write costs no re-arming.

int64_t Connection::NextDeadlineMs() const {
  const Options& o = options();
  int64_t next = TimerWheel::kNever;
  const auto add = [&next](int64_t since_ms, int64_t timeout_ms) {
    if (timeout_ms != TimerWheel::kNever) next = std::min(next, since_ms + timeout_ms);
  };
  if (connecting_) {
    if (connect_timeout_ms_ != std::numeric_limits<uint32_t>::max())
      add(phase_ms_, connect_timeout_ms_);
    return next;
  }
  if (lingering_) {
    add(phase_ms_, Ms(o.linger_timeout));
    return next;
  }
  add(active_ms_, Ms(o.idle_timeout));
  add(opened_ms_, Ms(o.lifetime_timeout));
  if (read_ended_ != (write_state_ == WriteState::kShut)) add(phase_ms_, Ms(o.half_closed_timeout));
  if (stalled_ms_ >= 0) add(stalled_ms_, Ms(o.write_stalled_timeout));
  return next;
}

void Connection::ArmTimer() {
  const int64_t next = NextDeadlineMs();
  if (next == TimerWheel::kNever) return;
  if (!Armed() || next < DeadlineMs()) worker().timers().Arm(*this, next);
}

void Connection::OnTimer(Worker& w) {
  const int64_t now = w.NowMs();
  if (NextDeadlineMs() > now) {
    ArmTimer();
    return;
  }
  const Options& o = options();
  const auto due = [now](int64_t since_ms, absl::Duration timeout) {
    const int64_t ms = Ms(timeout);
    return ms != TimerWheel::kNever && since_ms + ms <= now;
  };
  if (connecting_) {
    Finish(CloseReason::kConnectFailed);
  } else if (lingering_) {
    Finish(CloseReason::kLingered);
  } else if (stalled_ms_ >= 0 && due(stalled_ms_, o.write_stalled_timeout)) {
    Finish(CloseReason::kWriteStalled, /*reset=*/true);
  } else if (due(opened_ms_, o.lifetime_timeout)) {
    Finish(CloseReason::kLifetime);
  } else if (due(active_ms_, o.idle_timeout)) {
    Finish(CloseReason::kIdle);
  } else {
    Finish(CloseReason::kHalfClosed);
  }
}

// --- The rest.

Address Connection::PeerAddress() const {
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  if (worker().os().PeerAddress(stream_->Descriptor(), &storage, &size) < 0) return Address();
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size)
      .value_or(Address());
}

void Connection::CheckInvariants() const {
  output_.CheckInvariants();
  input_.CheckInvariants();
  SLUICE_CHECK(!gathering_ || output_.Empty());
  SLUICE_CHECK(static_cast<int64_t>(output_.size()) <= options().output_bytes_max);
  SLUICE_CHECK(!lingering_ || (write_state_ == WriteState::kShut && input_.Empty()));
  SLUICE_CHECK(!eof_told_ || read_ended_);
}

// --- Session.

void Session::OnStop() { OnClose(close_reason_); }

Answer Session::WriteBytes(std::string_view bytes) {
  return connection_ == nullptr ? Answer::kClosed : connection_->Write(bytes);
}
Answer Session::Write(const Bytes& payload) {
  return connection_ == nullptr ? Answer::kClosed : connection_->Write(payload);
}
void Session::Close() {
  if (connection_ != nullptr) connection_->Close();
}
void Session::FlushSubscriptions() {
  if (connection_ != nullptr) connection_->FlushListeners();
}
void Session::CloseWrite() {
  if (connection_ != nullptr) connection_->CloseWrite();
}
void Session::Abort(CloseReason reason) {
  if (connection_ != nullptr) connection_->Abort(reason);
}
void Session::PauseReading() {
  if (connection_ != nullptr) connection_->PauseReading();
}
void Session::ResumeReading() {
  if (connection_ != nullptr) connection_->ResumeReading();
}
std::string_view Session::Unconsumed() const {
  return connection_ == nullptr ? std::string_view() : connection_->Unconsumed();
}
bool Session::MayGoOn() const { return connection_ != nullptr && connection_->MayGoOn(); }
size_t Session::OutputBytes() const {
  return connection_ == nullptr ? 0 : connection_->OutputBytes();
}
void Session::SetInputMax(size_t bytes) {
  if (connection_ != nullptr) connection_->SetInputMax(bytes);
}
Address Session::PeerAddress() const {
  return connection_ == nullptr ? Address() : connection_->PeerAddress();
}

}  // namespace sluice
