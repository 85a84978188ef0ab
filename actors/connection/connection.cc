#include "sluice/actors/connection/connection.h"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/control.h"

namespace sluice {

namespace {

constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kExceptional = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;

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
    case ENOMEM:
      return CloseReason::kMemory;
    default:
      return CloseReason::kError;
  }
}

}  // namespace

// --- Life.

Connection::Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                       ConnectionOwner owner)
    : slot_(slot),
      session_(static_cast<Session*>(slot->actor)),
      stream_(std::move(stream)),
      counters_(&CountersOf(worker)),
      owner_(std::move(owner)),
      opened_ms_(worker.NowMs()),
      active_ms_(opened_ms_),
      received_ms_(opened_ms_),
      input_bytes_max_(static_cast<uint32_t>(worker.options().input_bytes_max)) {}

Connection::~Connection() {
  // Not cleared earlier: the handler that ended the connection may have used its input until now.
  input_.Clear(worker().lease());
  SLUICE_CHECK(output_.Empty() && !Armed());
}

void Connection::Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                      ConnectionOwner owner, Start start, absl::Duration connect_timeout) {
  auto* connection = new Connection(worker, slot, std::move(stream), std::move(owner));
  worker.HoldMail(slot);  // Until OnOpen.
  SLUICE_PLANT(mail_before_open, slot->suspended = 0);
  if (connection->owner_ != nullptr) connection->owner_->Opened(*connection);
  connection->session_->connection_ = connection;
  connection->counters_->opened.Add(1);
  connection->session_->begun_ = true;
  if (LogEnabled(LogLevel::kDebug)) {
    connection->session_->traffic_ = std::make_unique<Session::Traffic>();
  }
  worker.AttachIo(slot, connection);
  const int added = worker.os().PollerAdd(worker.Poller(), connection->stream_->Descriptor(),
                                          kInterest, Worker::PollData(slot));
  if (added < 0) {
    if (connection->session_->early_ != nullptr) connection->TakeEarlyCalls();
    connection->session_->early_.reset();
    connection->SocketFailed(-added);
    return;
  }
  if (start == Start::kConnecting) {
    connection->connecting_ = true;
    connection->writable_ = false;
    connection->phase_ms_ = worker.NowMs();
    connection->SetConnectTimeout(connect_timeout);
  } else {
    // Data may be here already: the first read is tried without waiting for the poller.
    connection->readable_ = true;
  }
  if (connection->session_->early_ != nullptr) connection->TakeEarlyCalls();
  if (start == Start::kConnecting || connection->session_->early_ != nullptr) {
    // Run OnStart before a timer or an early call can end the connection: OnClose comes only after
    // OnStart.
    worker.RunHandler(slot, "OnStart", [] {});
    if (!connection->Ended()) connection->EndEarly();
    if (connection->Ended()) return;
  }
  if (start == Start::kConnected) {
    if (connection->OpenDue()) connection->TellOpen();
    if (connection->Ended()) return;
    worker.MarkReady(connection);
  }
  connection->ArmTimer();
  if (worker.Draining()) connection->OnDrain();
  if (worker.DrainClosing()) connection->OnDrainClose();
}

// Takes over the calls of the session's constructor. Abort and Close wait until OnStart has run
// (EndEarly): a session that has not started gets no OnClose.
void Connection::TakeEarlyCalls() {
  EarlyCalls& early = *session_->early_;
  output_.TakeFrom(early.output);
  SLUICE_PLANT(early_bytes_lost, output_.Clear(worker().lease()));
  if (early.input_bytes_max.has_value()) SetInputMax(*early.input_bytes_max);
  paused_ = early.pause_reading;
  wants_writable_ = early.wants_writable;
  if (early.close || early.close_write || early.abort) write_state_ = WriteState::kFlushing;
  if (!early.abort) worker().FlushAfterSlice(this);
}

void Connection::EndEarly() {
  if (session_ == nullptr || session_->early_ == nullptr) return;
  const std::unique_ptr<EarlyCalls> early = std::move(session_->early_);
  if (early->abort) {
    Abort(*early->abort);
  } else if (early->close) {
    Close();
  }
}

void Connection::Refuse(Worker& worker, Slot* slot, CloseReason reason) {
  CountersOf(worker).CountNeverStood(reason);
  auto& session = *static_cast<Session*>(slot->actor);
  session.close_reason_ = reason;
  session.begun_ = true;
  if (session.early_ != nullptr) session.early_->Drop(worker);
  session.early_.reset();
  worker.HoldMail(slot);  // The connection never opens.
  worker.StopStarted(slot, EndReason::kStopped, std::string(CloseReasonName(reason)));
}

// Every connection ends here. A handler of its own session may call this.
void Connection::Finish(CloseReason reason, bool reset, int error) {
  if (Ended()) return;
  if (LogEnabled(LogLevel::kWarning)) LogEnd(reason, error);
  Worker& owner_worker = worker();
  if (draining_ && write_state_ == WriteState::kLingering && discarded_bytes_ > 0) {
    LogWarn("drain: %d bytes of %s came too late, and are discarded", discarded_bytes_,
            PeerAddress().ToString());
  }
  Unpair();
  owner_worker.DetachIo(slot_);  // Deletes this at the end of the turn.
  write_state_ = WriteState::kShut;
  const int64_t lost = static_cast<int64_t>(OutputBytes());
  counters_->bytes_lost.Add(lost);
  if (gathering_) owner_worker.ReleaseGather();
  gathering_ = false;
  counters_->closed[static_cast<int>(reason)].Add(1);
  output_.Clear(owner_worker.lease());
  owner_worker.timers().Cancel(*this);
  owner_worker.os().PollerRemove(owner_worker.Poller(), stream_->Descriptor());
  stream_->Close(reset || lost > 0);  // A FIN after lost bytes would look like a complete stream.
  // Detach the session before the listeners end: the destructor of a filter's captures may call the
  // session, which has no connection any more.
  Session* const session = std::exchange(session_, nullptr);
  if (session != nullptr) {
    session->close_reason_ = reason;
    session->connection_ = nullptr;
  }
  TellOutputEnded();
  if (owner_ != nullptr) {
    owner_->Ended(*this);
    owner_->TellEnd(owner_worker);
  }
  if (session == nullptr) return;
  owner_worker.StopStarted(slot_, EndReason::kStopped, std::string(CloseReasonName(reason)));
}

void Connection::SocketFailed(int error) { Finish(ReasonOf(error), /*reset=*/true, error); }

// Logs each end at debug. An end that an operator may want to know of is logged at warning, once a
// minute for each reason.
void Connection::LogEnd(CloseReason reason, int error) {
  const Options& o = options();
  const auto limit = [](std::string_view name, absl::Duration timeout) {
    return absl::StrCat(" (", ToAbsl(name), " ", absl::FormatDuration(timeout), ")");
  };
  std::string hint;
  bool trouble = true;
  switch (reason) {
    case CloseReason::kIdle:
      hint = limit("idle_timeout", o.idle_timeout);
      break;
    case CloseReason::kHalfClosed:
      hint = limit("half_closed_timeout", o.half_closed_timeout);
      break;
    case CloseReason::kWriteStalled:
      hint = limit("write_stalled_timeout", o.write_stalled_timeout);
      break;
    case CloseReason::kEvicted:
      hint = " (at_limit: another one took its place)";
      break;
    case CloseReason::kDeadPeer:
    case CloseReason::kMemory:
    case CloseReason::kSlow:
    case CloseReason::kError:
      break;
    default:  // An ordinary end, or one that is logged elsewhere.
      trouble = false;
  }
  const auto line = [&] {
    if (error != 0) absl::StrAppend(&hint, ": ", ErrnoText(error));
    std::string traffic;
    if (session_ != nullptr && session_->traffic_ != nullptr) {
      traffic = absl::StrCat(", ", session_->traffic_->in_bytes, " bytes in, ",
                             session_->traffic_->out_bytes, " bytes out");
    }
    return absl::StrCat("connection with ", PeerAddress().ToString(),
                        " ended: ", ToAbsl(CloseReasonName(reason)), hint, "; after ",
                        absl::FormatDuration(absl::Milliseconds(worker().NowMs() - opened_ms_)),
                        traffic);
  };
  if (trouble) {
    LimitOf(worker(), reason).Warn(worker().NowMs(), line);
  } else if (LogEnabled(LogLevel::kDebug)) {
    LogDebug(line());
  }
}

void Connection::OnActorEnded(bool failed) {
  if (session_ == nullptr) return;  // The session has ended already.
  if (failed) session_->close_reason_ = CloseReason::kFailed;
  session_->connection_ = nullptr;
  session_ = nullptr;
  if (failed) close_reason_ = CloseReason::kFailed;
  if ((connecting_ && OutputBytes() == 0) || (failed && CutShort())) {
    Finish(failed ? CloseReason::kFailed : CloseReason::kAborted, CutShort());
    return;
  }
  Unpair();
  input_.Clear(worker().lease());
  offer_again_ = false;
  BeginClose();  // The session's output is still sent.
}

// --- Readiness. Events are only noted here; OnTurn() acts on them.

void Connection::OnEvents(uint32_t events) {
  if ((events & kReadEvents) != 0) readable_ = true;
  SLUICE_PLANT(eof_drops_unread, if ((events & EPOLLRDHUP) != 0) read_ended_ = true);
  if ((events & kExceptional) != 0) exceptional_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0 && !peer_ended_) {
    peer_ended_ = true;
    if (!connecting_ && write_state_ != WriteState::kLingering) phase_ms_ = worker().NowMs();
  }
  if ((events & EPOLLERR) != 0) error_reported_ = true;
  // After ERR and HUP as well: the next write reports the error.
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) writable_ = true;
  worker().MarkReady(this);
}

bool Connection::MayGoOn() const {
  return session_ != nullptr && open_told_ && !paused_ && !closing_ && partner_->OutputHasRoom() &&
         slot_->Runnable() && !slot_->stop_asked && !slot_->has_outbox;
}

bool Connection::MayTakeMore() {
  if (!MayGoOn()) return false;
  if (!offering_) return true;
  if (!took_one_) {
    took_one_ = true;
    return true;
  }
  turn_over_ = worker().PieceDone(slot_, "OnData");
  return !turn_over_;
}

bool Connection::MayRead() const {
  // A paired connection reads on in a drain: its bytes belong to a stream under way, and its Pipe
  // decides when that is over.
  return MayGoOn() && !read_ended_ && (!input_drained_ || Paired());
}

bool Connection::HasWork() const {
  return (offer_again_ && MayGoOn()) || (readable_ && MayRead()) ||
         (OpenDue() && session_ != nullptr && slot_->Runnable());
}

void Connection::PairWith(Connection& other) {
  SLUICE_CHECK(&other != this && &other.worker() == &worker());
  SLUICE_CHECK(!Paired() && !other.Paired());
  partner_ = &other;
  other.partner_ = this;
  for (Connection* side : {this, &other}) {
    side->offer_again_ = !side->input_.Empty();
    worker().MarkReady(side);
  }
}

void Connection::Unpair() {
  if (!Paired()) return;
  Connection* const other = std::exchange(partner_, this);
  other->partner_ = other;
  worker().MarkReady(other);  // `other` may have waited for room in this output.
}

bool Connection::QuietSince(int64_t ms) const {
  return !connecting_ && !HalfClosed() && OutputBytes() == 0 && input_.Empty() && active_ms_ <= ms;
}

void Connection::OnUnparked() { worker().MarkReady(this); }

void Connection::OnTurn() {
  if (connecting_) {
    if (writable_ && !connect_again_) ConnectDone();
    if (!Ended() && connecting_ && drain_close_) DrainConnecting();
    if (Ended() || connecting_) return;
  }
  if (writable_ && !output_.Empty()) {
    FlushOutput();
    OutputMoved();
    if (Ended()) return;
  }
  if (write_state_ == WriteState::kLingering) {
    input_.Clear(worker().lease());
    if (MayDiscard()) Discard();
    return;
  }
  if (OpenDue()) TellOpen();
  if (!Ended() && listeners_wait_for_memory_) {
    listeners_wait_for_memory_ = false;
    if (!OutputAboveLow()) TellListeners(&OutputListener::OnOutputLow);
  }
  if (!Ended() && wants_writable_) TellWritable();
  if (!Ended() && offer_again_ && MayGoOn()) OfferInput({});
  if (Ended()) return;
  if (!offer_again_) {  // Older bytes first.
    if (readable_ && MayRead()) ReadOnce();
    if (!Ended() && read_ended_) TellEof();
  }
  // Note the high watermark now. If all output leaves at the end of the turn, no event would resume
  // reading.
  bool note_high = !Ended();
  SLUICE_PLANT(high_unnoted, note_high = false);
  if (note_high) partner_->NoteHigh();
  if (!Ended() && peer_ended_ && !read_ended_) ArmTimer();  // No read may ever reach that FIN.
  if (!Ended() && error_reported_) LookForError();
  if (Ended() || !draining_) return;
  // The drain stops reading when the peer has ended and no kept input is due to the session. While
  // the peer has not ended, DrainSilenceOver() decides. For a pair the first moment without input
  // is enough, as its Pipe looks for silence itself.
  bool at_first_silence = Paired();
  SLUICE_PLANT(drain_at_first_silence, at_first_silence = true);
  if ((read_ended_ || (at_first_silence && !readable_)) && !offer_again_) input_drained_ = true;
  SLUICE_PLANT(drain_before_empty, input_drained_ = true);
  if (input_drained_ && drain_close_) TellDrain();
}

void Connection::ConnectDone() {
  int error = 0;
  socklen_t size = sizeof(error);
  const int got =
      worker().os().OptionGet(stream_->Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (got < 0) error = -got;
  if (error == 0 && IsConnectedToItself(worker().os(), stream_->Descriptor())) {
    error = ECONNREFUSED;
  }
  if (error != 0) {
    ConnectFailed(error, /*reset=*/true);
    return;
  }
  connecting_ = false;
  if (IsTcp(PeerAddress())) SetRetransmissions(worker().os(), stream_->Descriptor(), options());
  seldom_ = nullptr;
  // Waiting bytes could not leave before the connect: their stall starts now.
  if (!output_.Empty()) stalled_ms_ = worker().NowMs();
  if (closing_) closing_ms_ = worker().NowMs();
  if (draining_) BeginDrainReading();
  if (write_state_ == WriteState::kFlushing) worker().FlushAfterSlice(this);
  error_reported_ = false;
  readable_ = true;
  active_ms_ = worker().NowMs();
  ArmTimer();
  if (Paired()) worker().MarkReady(partner_);
}

void Connection::ConnectFailed(int error, bool reset) {
  if (session_ != nullptr && seldom_ != nullptr) {
    session_->LogConnectFailed(std::get<Address>(*seldom_), error);
  }
  Finish(CloseReason::kConnectFailed, reset, error);
}

// Notices a reset while nothing reads: the session is parked, its output is high, or memory is
// spent.
void Connection::LookForError() {
  if (MayRead() && !worker().ReadingPaused()) return;  // The next read reports the error.
  error_reported_ = false;
  int error = 0;
  socklen_t size = sizeof(error);
  worker().os().OptionGet(stream_->Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) SocketFailed(error);
}

// --- Calls of the session.

// Each call sets its flag inside the handler: while the session is parked the handler does not run,
// and the call stays due.

void Connection::TellOpen() {
  worker().RunHandler(slot_, "OnOpen", [&] {
    if (closing_) return;  // OnStart has closed it.
    open_told_ = true;
    worker().ReleaseMail(slot_);
    session_->OnOpen();
  });
}

void Connection::TellEof() {
  if (eof_told_ || !MayGoOn()) return;
  worker().RunHandler(slot_, "OnEof", [&] {
    eof_told_ = true;
    session_->OnEof();
  });
  if (Ended()) return;
  input_.Clear(worker().lease());
  SLUICE_PLANT(half_close_is_close, BeginClose());
  FinishWriting();  // Both sides may have ended.
}

void Connection::TellWritable() {
  if (OutputBytes() > static_cast<size_t>(options().output_bytes_low)) return;
  if (write_state_ != WriteState::kOpen) return;
  SLUICE_PLANT(writable_forgotten, wants_writable_ = false);
  worker().RunHandler(slot_, "OnWritable", [&] {
    wants_writable_ = false;
    session_->OnWritable();
  });
}

void Connection::TellDrain() {
  if (drain_told_ || closing_ || (read_ended_ && !eof_told_)) return;
  // Messages that hubs hold back for the session come first, until half of the drain's time is
  // over. Each flush that may have emptied the output leads back here.
  if (!worker().DrainInsists() && ListenersHold()) return;
  SLUICE_PLANT(drain_forgets_parked, drain_told_ = true);
  worker().RunHandler(slot_, "OnDrain", [&] {
    drain_told_ = true;
    session_->OnDrain();
  });
}

// A connecting session is closed: OnDrain would come before OnOpen, and its answer would wait for a
// peer that may never come. A paired session gets OnDrain: it belongs to a stream under way, and
// the peer of its partner has sent bytes already.
void Connection::DrainConnecting() {
  if (Paired()) {
    TellDrain();
  } else if (!closing_) {
    Close();
  }
}

// --- Drain.

void Connection::OnDrain() {
  if (draining_) return;
  draining_ = true;
  if (connecting_) return;
  // Bytes may have come since the last event: one more read finds them.
  readable_ = true;
  if (write_state_ == WriteState::kLingering) {
    // Count from now: linger_timeout began earlier, and a peer that still sends is not silent.
    phase_ms_ = worker().NowMs();
    ArmTimer();
  } else {
    BeginDrainReading();
  }
  worker().MarkReady(this);
}

// The first silence does not prove that all bytes sent before the drain have arrived: a closed
// window or the network may hold them back.
void Connection::BeginDrainReading() {
  drain_quiet_ms_ = static_cast<uint32_t>(DrainQuietMs());
  received_ms_ = worker().NowMs();
  ArmTimer();
}

void Connection::OnDrainEndReading() {
  if (!draining_ || connecting_ || Paired() || write_state_ == WriteState::kLingering) return;
  if (input_drained_) return;
  input_drained_ = true;
  worker().MarkReady(this);
}

void Connection::OnDrainClose() {
  drain_close_ = true;
  worker().MarkReady(this);
}

void Connection::OnShutdown() { Finish(CloseReason::kShutdown, CutShort()); }

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
  SLUICE_CHECK(write_state_ == WriteState::kLingering || OnFlushList() ||
               output_.Empty() == (stalled_ms_ < 0));  // Between turns.
  listeners_.CheckInvariants();
  SLUICE_CHECK(write_state_ == WriteState::kOpen || listeners_.Empty());
  SLUICE_CHECK(!closing_ || write_state_ != WriteState::kOpen);
  SLUICE_CHECK(write_state_ != WriteState::kLingering || (closing_ && output_.Empty()));
  SLUICE_CHECK(session_ != nullptr || closing_ || !slot_->Runnable());
  SLUICE_CHECK(!eof_told_ || read_ended_);
  SLUICE_CHECK(partner_->partner_ == this);
  SLUICE_CHECK(!offer_again_ || !input_.Empty());
}

}  // namespace sluice
