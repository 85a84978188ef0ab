#include "sluice/actors/connection/connection.h"

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/actors/connection/session_extra.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/worker/control.h"

namespace sluice {

namespace {

constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

}  // namespace

// --- Life.

Connection::Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                       ConnectionOwner owner)
    : slot_(slot),
      session_(&ActorAs<Session>(slot)),
      stream_(std::move(stream)),
      counters_(&CountersOf(worker)),
      owner_(std::move(owner)),
      deadlines_(worker.NowMs()),
      incoming_(worker.NowMs(), worker.options().input_bytes_max) {}

Connection::~Connection() {
  // Not cleared earlier: the handler that ended the connection may have used its input until now.
  incoming_.Clear(worker().lease());
  SLUICE_CHECK(outgoing_.Empty() && !Armed());
}

Connection* Connection::Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                             ConnectionOwner owner, Start start, absl::Duration connect_timeout) {
  SLUICE_CHECK_ON_WORKER(worker.desk());
  auto* connection = new Connection(worker, slot, std::move(stream), std::move(owner));
  worker.HoldMail(slot);  // Until OnOpen.
  SLUICE_PLANT(mail_before_open, slot->suspended = 0);
  if (connection->owner_ != nullptr) connection->owner_->Opened(*connection);
  connection->session_->connection_ = connection;
  if (connection->session_->ReadingHeld()) connection->PauseReading();
  connection->counters_->opened.Add(1);
  connection->session_->begun_ = true;
  if (LogEnabled(LogLevel::kDebug)) {
    connection->session_->Extra().traffic.emplace();
  }
  worker.descriptors().Attach(slot, connection);
  const int added =
      worker.os().PollerAdd(worker.descriptors().Poller(), connection->stream_->Descriptor(),
                            kInterest, Descriptors::PollData(slot));
  if (added < 0) {
    if (connection->session_->early_ != nullptr) connection->TakeEarlyCalls();
    connection->session_->early_.reset();
    connection->SocketFailed(-added);
    return nullptr;
  }
  if (start == Start::kConnecting) {
    connection->BeginConnecting(connect_timeout);
  } else {
    // Data may be here already: the first read is tried without waiting for the poller.
    connection->incoming_.SetReadable();
  }
  if (connection->session_->early_ != nullptr) connection->TakeEarlyCalls();
  if (start == Start::kConnecting || connection->session_->early_ != nullptr) {
    // Run OnStart before a timer or an early call can end the connection: OnClose comes only after
    // OnStart.
    worker.RunHandler(slot, "OnStart", [] {});
    if (!connection->Ended()) connection->EndEarly();
    if (connection->Ended()) return nullptr;
  }
  if (start == Start::kConnected) {
    if (connection->OpenDue()) connection->TellOpen();
    if (connection->Ended()) return nullptr;
    worker.descriptors().MarkReady(connection);
  }
  connection->ArmTimer();
  if (worker.Draining()) connection->OnDrain();
  if (worker.DrainClosing()) connection->OnDrainClose();
  return connection;
}

// Every connection ends here. A handler of its own session may call this.
void Connection::Finish(CloseReason reason, bool reset, int error) {
  SLUICE_CHECK_ON_WORKER(worker().desk());
  if (Ended()) return;
  if (LogEnabled(LogLevel::kWarning)) LogEnd(reason, error);
  Worker& owner_worker = worker();
  if (drain_.Begun() && outgoing_.Lingering() && deadlines_.DiscardedBytes() > 0) {
    LogWarn("drain: %d bytes of %s came too late, and are discarded", deadlines_.DiscardedBytes(),
            PeerAddress().ToString());
  }
  Unpair();
  if (owner_ != nullptr) owner_->Ended(*this);
  owner_worker.DetachIo(slot_);  // Deletes this at the end of the turn.
  outgoing_.End();
  const bool answers_lost = LoseAnswers();
  const int64_t lost = UnsentBytes();
  counters_->bytes_lost.Add(lost);
  if (outgoing_.Gathering()) owner_worker.descriptors().ReleaseGather();
  outgoing_.SetGathering(false);
  counters_->closed[static_cast<int>(reason)].Add(1);
  outgoing_.queue().Clear(owner_worker.lease());
  owner_worker.timers().Cancel(*this);
  owner_worker.os().PollerRemove(owner_worker.descriptors().Poller(), stream_->Descriptor());
  // A FIN after lost bytes would look like a complete stream.
  stream_->Close(reset || lost > 0 || answers_lost);
  // Detach the session before the listeners end: the destructor of a filter's captures may call the
  // session, which has no connection any more.
  Session* const session = std::exchange(session_, nullptr);
  if (session != nullptr) {
    session->close_reason_ = reason;
    session->connection_ = nullptr;
  }
  TellOutputEnded();
  if (owner_ != nullptr) owner_->TellEnd(owner_worker);
  if (session == nullptr) return;
  owner_worker.life().StopStarted(slot_, EndReason::kStopped, EndText(reason, error));
}

CloseReason Connection::ReasonOf(int error) {
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
    case CloseReason::kSilent:
      hint =
          limit("SetReceiveTimeout",
                absl::Milliseconds(session_ == nullptr ? 0 : session_->extra_->receive_timeout_ms));
      break;
    case CloseReason::kEvicted:
      hint = " (at_limit: another one took its place)";
      break;
    case CloseReason::kOutputFull:
      hint = absl::StrCat(" (output_bytes_max ", o.output_bytes_max, ")");
      break;
    case CloseReason::kShutdown:  // A drain's deadline: who did not read?
      trouble = UnsentBytes() > 0;
      hint = absl::StrCat(" (drain_timeout), ", UnsentBytes(), " bytes were not sent");
      break;
    case CloseReason::kFileFailed:
      if (const FileRange* const range = outgoing_.FrontFile(); range != nullptr) {
        hint = absl::StrCat(" at offset ", range->Offset());
        if (error == FileRange::kTooShort) {
          absl::StrAppend(&hint, ", where the file ends, ", range->BytesLeft(),
                          " bytes before its range does");
          error = 0;
        }
      }
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
    if (session_ != nullptr && session_->extra_ != nullptr && session_->extra_->traffic) {
      traffic = absl::StrCat(", ", session_->extra_->traffic->in_bytes, " bytes in, ",
                             session_->extra_->traffic->out_bytes, " bytes out");
    }
    return absl::StrCat(
        "connection with ", PeerAddress().ToString(), " ended: ", ToAbsl(CloseReasonName(reason)),
        hint, "; after ",
        absl::FormatDuration(absl::Milliseconds(worker().NowMs() - deadlines_.OpenedMs())),
        traffic);
  };
  if (trouble) {
    LimitOf(worker(), reason).Warn(worker().NowMs(), line);
  } else if (LogEnabled(LogLevel::kDebug)) {
    LogDebug(line());
  }
}

bool Connection::CutShort() const {
  return Paired() || (session_ != nullptr && session_->HalfWritten());
}

bool Connection::LoseAnswers() {
  const std::optional<int64_t> bytes = session_ == nullptr ? std::nullopt : session_->DropAnswers();
  counters_->bytes_accepted.Add(bytes.value_or(0));
  counters_->bytes_lost.Add(bytes.value_or(0));
  return bytes.has_value();
}

void Connection::OnActorEnded(bool failed) {
  if (session_ == nullptr) return;  // The session has ended already.
  if (failed) session_->close_reason_ = CloseReason::kFailed;
  const bool cut_short = LoseAnswers() || (failed && CutShort());
  session_->connection_ = nullptr;
  session_ = nullptr;
  if (failed) outgoing_.SetCloseReason(CloseReason::kFailed);
  if ((IsConnecting() && UnsentBytes() == 0) || cut_short) {
    Finish(failed ? CloseReason::kFailed : CloseReason::kAborted, cut_short || CutShort());
    return;
  }
  Unpair();
  incoming_.Clear(worker().lease());
  incoming_.SetOfferAgain(false);
  BeginClose();  // The session's output is still sent.
}

// --- Readiness. Events are only noted here; OnTurn() acts on them.

void Connection::OnEvents(uint32_t events) {
  if (incoming_.NoteEvents(events) && !IsConnecting() && !outgoing_.Lingering()) {
    deadlines_.BeginHalfClosed(worker().NowMs());
  }
  // After ERR and HUP as well: the next write reports the error.
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) outgoing_.SetWritable();
  worker().descriptors().MarkReady(this);
}

bool Connection::MayGoOn() const {
  return session_ != nullptr && stage_ == Stage::kOpen && !incoming_.Paused() && !Closing() &&
         partner_->OutputHasRoom() && slot_->Runnable() && !slot_->stop_asked && !slot_->has_outbox;
}

bool Connection::MayTakeMore() {
  if (!MayGoOn()) return false;
  if (incoming_.AllowsFrame()) return true;
  incoming_.NoteTurn(worker().PieceDone(slot_, "OnData"));
  return !incoming_.TurnOver();
}

bool Connection::MayRead() const {
  // A paired connection reads on in a drain: its bytes belong to a stream under way, and its Pipe
  // decides when that is over.
  return MayGoOn() && !incoming_.ReadEnded() && (!drain_.InputOver() || Paired());
}

bool Connection::HasWork() const {
  return (incoming_.OfferAgain() && MayGoOn()) || (incoming_.Readable() && MayRead()) ||
         (OpenDue() && session_ != nullptr && slot_->Runnable()) || CloseDue() || RangeDue();
}

bool Connection::CloseDue() const {
  if (!close_when_done_ || session_ == nullptr || Closing() || IsConnecting()) return false;
  const bool asks_open =
      (slot_->extra != nullptr && slot_->extra->AsksOpen()) || Life::FirstTask(slot_) != nullptr;
  const bool write_wanted = outgoing_.Open() && outgoing_.WantsWritable();
  bool done = !asks_open && !write_wanted && !incoming_.OfferAgain();
  SLUICE_PLANT(answers_cut_off, done = true);
  return done && slot_->Runnable() && !slot_->stop_asked;
}

void Connection::PairWith(Connection& other) {
  SLUICE_CHECK(&other != this && &other.worker() == &worker());
  SLUICE_CHECK(!Paired() && !other.Paired());
  partner_ = &other;
  other.partner_ = this;
  for (Connection* side : {this, &other}) {
    side->incoming_.SetOfferAgain(!side->incoming_.Empty());
    worker().descriptors().MarkReady(side);
  }
}

void Connection::Unpair() {
  if (!Paired()) return;
  Connection* const other = std::exchange(partner_, this);
  other->partner_ = other;
  worker().descriptors().MarkReady(other);  // `other` may have waited for room in this output.
}

bool Connection::QuietSince(int64_t ms) const {
  return !IsConnecting() && !HalfClosed() && UnsentBytes() == 0 && incoming_.Empty() &&
         ActiveMs() <= ms;
}

void Connection::OnUnparked() { worker().descriptors().MarkReady(this); }

void Connection::OnTurn() {
  if (!OnlyReads() && !BeginTurn()) return;
  if (!incoming_.OfferAgain()) {  // Older bytes first.
    if (incoming_.Readable() && MayRead()) ReadOnce();
    if (Ended()) return;
    if (incoming_.ReadEnded()) TellEof();
  }
  // Note the high watermark now. If all output leaves at the end of the turn, no event would resume
  // reading.
  bool note_high = !Ended();
  SLUICE_PLANT(high_unnoted, note_high = false);
  if (note_high) partner_->NoteHigh();
  if (close_when_done_ || drain_.Begun() || !incoming_.OnlyReads()) [[unlikely]]
    EndTurn();
}

bool Connection::BeginTurn() {
  if (IsConnecting()) {
    if (outgoing_.Writable() && !connecting().Again()) ConnectDone();
    if (!Ended() && IsConnecting() && drain_.GoodByeAsked()) DrainConnecting();
    if (Ended() || IsConnecting()) return false;
  }
  if (outgoing_.Writable() && !outgoing_.Empty()) {
    FlushOutput();
    if (outgoing_.Empty()) PeerWaitsNoMore();
    OutputMoved();
    if (Ended()) return false;
  }
  if (outgoing_.Lingering()) {
    incoming_.Clear(worker().lease());
    if (MayDiscard()) Discard();
    return false;
  }
  if (OpenDue()) TellOpen();
  if (!Ended() && outgoing_.TakeWaitForMemory() && !OutputAboveLow()) {
    TellListeners(&OutputListener::OnOutputLow);
  }
  if (!Ended() && outgoing_.WantsWritable()) TellWritable();
  if (!Ended() && incoming_.OfferAgain() && MayGoOn()) OfferInput({});
  return !Ended();
}

void Connection::EndTurn() {
  if (!Ended() && close_when_done_) CloseOrWait();
  // No read may ever reach that FIN.
  if (!Ended() && incoming_.EndKnown() && !incoming_.ReadEnded()) ArmTimer();
  if (!Ended() && incoming_.ErrorReported()) LookForError();
  if (Ended() || !drain_.Begun()) return;
  if (drain_awaits_) DrainAwaitsNoMore();
  // The drain stops reading when the peer has ended and no kept input is due to the session. While
  // the peer has not ended, DrainSilenceOver() decides. For a pair the first moment without input
  // is enough, as its Pipe looks for silence itself.
  bool at_first_silence = Paired();
  SLUICE_PLANT(drain_at_first_silence, at_first_silence = true);
  if ((incoming_.ReadEnded() || (at_first_silence && !incoming_.Readable())) &&
      !incoming_.OfferAgain()) {
    drain_.EndInput();
  }
  SLUICE_PLANT(drain_before_empty, drain_.EndInput());
  if (drain_.InputOver() && drain_.GoodByeDue()) TellDrain();
}

// Notices a reset while nothing reads: the session is parked, its output is high, or memory is
// spent.
void Connection::LookForError() {
  if (MayRead() && !worker().memory().ReadingPaused()) return;  // The next read reports the error.
  incoming_.ForgetError();
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
    if (Closing()) return;  // OnStart has closed it.
    stage_ = Stage::kOpen;
    if (SilentMs() != TimerWheel::kNever) SetReceiveTimeout();  // The time counts from OnOpen.
    worker().ReleaseMail(slot_);
    if (session_->extra_ != nullptr) session_->extra_->opened.Resolve({});
    session_->OnOpen();
  });
}

void Connection::TellEof() {
  if (incoming_.EofTold() || !MayGoOn()) return;
  worker().RunHandler(slot_, "OnEof", [&] {
    incoming_.ToldEof();
    session_->OnEof();
  });
  if (Ended()) return;
  incoming_.Clear(worker().lease());
  SLUICE_PLANT(half_close_is_close, BeginClose());
  FinishWriting();  // Both sides may have ended.
}

void Connection::TellWritable() {
  if (OutputAboveLow() || !outgoing_.Open()) return;
  SLUICE_PLANT(writable_forgotten, outgoing_.SetWantsWritable(false));
  worker().RunHandler(slot_, "OnWritable", [&] {
    outgoing_.SetWantsWritable(false);
    session_->OnRoom();
  });
}

// Waits in turns: that of a handler's end, of an answer (io_awaits_asks), of output that has left.
void Connection::CloseOrWait() {
  if (CloseDue()) {
    // As a handler, which sends the FIN at once: a deadline that has passed is judged next.
    worker().RunHandler(slot_, "CloseWhenDone", [&] { Close(); });
  } else if (session_ != nullptr) {
    worker().Extra(slot_).io_awaits_asks = true;
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
  outgoing_.CheckInvariants(options(), /*between_turns=*/!OnFlushList());
  incoming_.CheckInvariants();
  SLUICE_CHECK(session_ != nullptr || Closing() || !slot_->Runnable());
  SLUICE_CHECK(partner_->partner_ == this);
}

}  // namespace sluice
