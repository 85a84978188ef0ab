// The output side of a connection: writes leave in order, bytes that the kernel does not take wait
// within output_bytes_max, and a close sends them first.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace {

// Output of one callback is gathered up to this size. A larger write goes to the kernel at once,
// without a copy.
constexpr size_t kGatherMax = 16 * 1024;
constexpr int kPartsMax = 64;

}  // namespace

// --- Writing.

Answer Connection::Write(std::string_view bytes) {
  if (const Answer answer = MayWrite(bytes.size()); answer != Answer::kAccepted) return answer;
  if (bytes.empty()) return Answer::kAccepted;
  Worker& w = worker();
  SLUICE_PLANT(
      write_overtakes_file, if (outgoing_.HasFiles() && outgoing_.size() == 0) {
        const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
        const int64_t sent = WriteParts(&part, 1);
        counters_->bytes_accepted.Add(sent);
        bytes.remove_prefix(static_cast<size_t>(sent));
        if (bytes.empty()) return Answer::kAccepted;
      });
  if (!outgoing_.Empty()) {
    if (!outgoing_.queue().AppendCopy(bytes, w.lease(), Charging::kOverdraft)) {
      return Answer::kOverloaded;
    }
    counters_->bytes_accepted.Add(static_cast<int64_t>(bytes.size()));
    w.descriptors().FlushAfterSlice(this);
    return Answer::kAccepted;
  }
  counters_->bytes_accepted.Add(static_cast<int64_t>(bytes.size()));
  if (!outgoing_.Gathering()) {
    w.descriptors().AcquireGather(this);
    outgoing_.SetGathering(true);
    w.descriptors().FlushAfterSlice(this);
  }
  std::string& gather = w.descriptors().Gather();
  if (gather.size() + bytes.size() <= kGatherMax) {
    gather.append(bytes);
    return Answer::kAccepted;
  }
  // A large write goes to the kernel behind the gathered bytes; only bytes that the kernel does not
  // take are copied.
  outgoing_.SetGathering(false);
  const iovec parts[2] = {{gather.data(), gather.size()},
                          {const_cast<char*>(bytes.data()), bytes.size()}};
  const size_t sent = static_cast<size_t>(WriteParts(parts, 2));
  const size_t from_gather = std::min(sent, gather.size());
  Keep(std::string_view(gather).substr(from_gather));
  Keep(bytes.substr(sent - from_gather));
  w.descriptors().ReleaseGather();
  return Answer::kAccepted;
}

Answer Connection::Write(const Bytes& payload) {
  if (const Answer answer = MayWrite(payload.size()); answer != Answer::kAccepted) return answer;
  if (payload.empty()) return Answer::kAccepted;
  Worker& w = worker();
  if (outgoing_.Gathering()) FlushGather();
  if (!outgoing_.queue().AppendShared(payload, 0, w.lease(), Charging::kOverdraft)) {
    return Answer::kOverloaded;
  }
  counters_->bytes_accepted.Add(static_cast<int64_t>(payload.size()));
  w.descriptors().FlushAfterSlice(this);
  return Answer::kAccepted;
}

// Keeps accepted bytes that the kernel did not take, or loses them.
void Connection::Keep(std::string_view bytes) {
  if (bytes.empty()) return;
  const int64_t lost = outgoing_.Keep(bytes, worker().lease());
  if (lost > 0) counters_->bytes_lost.Add(lost);
}

// The kernel has taken so much.
void Connection::NoteSent(int64_t bytes) {
  counters_->bytes_sent.Add(bytes);
  CountOut(bytes);
  Active();
  if (!deadlines_.Looking()) BeginLooking();
}

// Never negative: a failed write is noted, and handled at the end of the slice, not in the middle
// of a handler.
int64_t Connection::WriteParts(const iovec* parts, int count) {
  if (!outgoing_.Writable() || IsConnecting()) return 0;
  const int64_t sent = stream_->Write(parts, count);
  if (sent > 0) {
    NoteSent(sent);
    SLUICE_PLANT(partial_write_forgotten,
                 if (count == 1) return static_cast<int64_t>(parts[0].iov_len));
    // A short write does not prove that the buffer is full (a signal may cut it); the next write
    // shows it.
    return sent;
  }
  outgoing_.Refused(sent < 0 && sent != -EAGAIN ? static_cast<int>(-sent) : 0);
  return 0;
}

void Connection::OnSliceEnd() {
  if (outgoing_.Gathering()) FlushGather();
  if (!outgoing_.Settled()) [[unlikely]] {
    FlushOutput();
    OutputMoved();
  }
  if ((drain_.GoodByeDue() || close_when_done_) && !Ended()) worker().descriptors().MarkReady(this);
}

void Connection::FlushGather() {
  std::string& gather = worker().descriptors().Gather();
  outgoing_.SetGathering(false);
  const iovec part{gather.data(), gather.size()};
  Keep(std::string_view(gather).substr(static_cast<size_t>(WriteParts(&part, 1))));
  worker().descriptors().ReleaseGather();
}

void Connection::FlushOutput() {
  int64_t share = FileRange::kChunkBytes;  // Bounds a turn, however fast the peer is.
  while (outgoing_.MaySend()) {
    iovec parts[kPartsMax];
    const int count = outgoing_.queue().Parts(parts, kPartsMax);
    if (count == 0) {
      if (share == 0) return worker().descriptors().MarkReady(this);
      const int64_t left = SendRange(share);
      if (left == 0) break;
      share -= left;
      continue;
    }
    const int64_t sent = WriteParts(parts, count);
    if (sent == 0) break;
    outgoing_.Sent(static_cast<size_t>(sent), worker().lease());
  }
}

void Connection::OutputFailed() {
  const FileRange* const range = outgoing_.FrontFile();
  if (range != nullptr && range->Fault() != 0) {
    Finish(CloseReason::kFileFailed, /*reset=*/true, range->Fault());
  } else {
    SocketFailed(outgoing_.WriteError());
  }
}

// Called after output grew or shrank. Handles the watermarks, the stall clock, sides that wait for
// room, and errors of the socket.
void Connection::OutputMoved() {
  if (outgoing_.WriteError() != 0) {
    OutputFailed();
    return;
  }
  const auto size = static_cast<int64_t>(outgoing_.size());
  if (outgoing_.BeginsToWait(worker().NowMs())) ArmTimer();
  NoteHigh();
  if (size <= options().output_bytes_low && !outgoing_.HasFiles()) {
    if (outgoing_.TakeHigh()) {
      // Resume reading on this connection, or on the other one of a pair.
      Connection* reader = partner_;
      SLUICE_PLANT(pair_not_resumed, reader = this);
      worker().descriptors().MarkReady(reader);
    }
    if (outgoing_.WantsWritable()) worker().descriptors().MarkReady(this);
    if (!outgoing_.listeners().Empty()) TellListeners(&OutputListener::OnOutputLow);
    if (Ended()) return;
  }
  FinishWriting();
}

// --- Output listeners.

void Connection::AddListener(OutputListener* listener) {
  SLUICE_CHECK(WriteOpen());
  outgoing_.listeners().PushFront(*listener);
}

void Connection::RemoveListener(OutputListener* listener) {
  outgoing_.listeners().RemoveIfLinked(*listener);
}

void Connection::TellListenersWhenMemoryReturns() {
  outgoing_.WaitForMemory();
  worker().memory().PauseReading();
  worker().memory().WaitForMemory(this);
}

// During a call a listener may remove itself, or all listeners may end with the connection or its
// write side.
void Connection::TellListeners(void (OutputListener::*tell)(Connection&)) {
  IntrusiveList<OutputListener, ListenerTag>& listeners = outgoing_.listeners();
  for (OutputListener* listener = listeners.Front(); listener != nullptr && WriteOpen();) {
    OutputListener* const next = listeners.Next(*listener);
    (listener->*tell)(*this);
    if (Ended() || !WriteOpen()) return;
    listener = next;
  }
}

void Connection::FlushListeners() { TellListeners(&OutputListener::OnFlush); }

// No more output is taken, so a hub must not count this connection as a subscriber any longer.
// Otherwise a chat room would wait for a member that has left.
void Connection::TellOutputEnded() {
  while (OutputListener* const listener = outgoing_.listeners().PopFront()) {
    listener->OnOutputEnded(*this);
  }
}

// --- Closing.

void Connection::Close() {
  if (IsConnecting() && UnsentBytes() == 0) {
    Finish(CloseReason::kAborted);
    return;
  }
  if (WriteOpen()) FlushListeners();
  if (!Ended()) BeginClose();
}

// The session may be in a handler that goes on to ask or to write: what is under way counts at the
// end of the next turn.
void Connection::CloseWhenDone() {
  close_when_done_ = true;
  worker().descriptors().MarkReady(this);
}

void Connection::BeginClose() {
  const bool was_closing = Closing();
  const bool was_open = outgoing_.Close();
  if (!was_closing) {
    if (owner_ != nullptr) owner_->IsClosing(*this);
    deadlines_.BeginClose(worker().NowMs());
    // close_timeout; with nothing to flush, lingering arms it.
    if (!outgoing_.Empty()) ArmTimer();
  }
  OutputEnds(was_open);
}

void Connection::OutputEnds(bool was_open) {
  worker().descriptors().FlushAfterSlice(this);  // Output of this callback goes first.
  SLUICE_PLANT(closing_member_counts, return);
  if (was_open) TellOutputEnded();
}

void Connection::CloseWrite() {
  if (!WriteOpen()) return;
  FlushListeners();
  if (!Ended() && outgoing_.HalfClose()) OutputEnds(/*was_open=*/true);
}

// When no output is left: send our FIN. Then the connection ends if the peer has ended its side,
// too; otherwise a closing side lingers.
void Connection::FinishWriting() {
  if (outgoing_.Open()) return;
  if (IsConnecting()) return;  // ConnectDone comes back here.
  if (outgoing_.Gathering()) return;
  bool flushed = outgoing_.Empty();
  SLUICE_PLANT(close_before_flush, flushed = flushed || Closing());
  if (!flushed) return;
  if (outgoing_.FinDue()) {
    if (incoming_.ReadEnded() && Closing()) {
      Finish(outgoing_.close_reason());  // Nothing is unread or unsent: close() is enough.
      return;
    }
    outgoing_.SentFin();
    const int shut = stream_->ShutdownWrite();
    if (shut < 0 && shut != -ENOTCONN) {
      SocketFailed(-shut);
      return;
    }
    deadlines_.BeginHalfClosed(worker().NowMs());
    ArmTimer();  // half_closed_timeout
  }
  if (!outgoing_.FinSent()) return;
  bool peer_done = incoming_.ReadEnded();
  SLUICE_PLANT(no_linger, peer_done = true);
  if (peer_done && (Closing() || incoming_.EofTold())) {
    Finish(outgoing_.close_reason());
  } else if (Closing()) {
    outgoing_.Linger(worker().NowMs());
    deadlines_.BeginLinger(worker().NowMs());
    incoming_.SetOfferAgain(false);
    incoming_.SetReadable();  // Bytes left unread while paused cause no new event.
    ArmTimer();
    worker().descriptors().MarkReady(this);
  }
}

void Connection::Abort(CloseReason reason) { Finish(reason, /*reset=*/true); }

}  // namespace sluice
