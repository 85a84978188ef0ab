// Connection owns a connected socket, through a Stream, and serves its Session: it reads only while
// its output and its session have room, writes bytes in order, and closes without losing the last
// bytes.
//
// Its parts have headers of their own, and do not know it: Incoming, Outgoing, Deadlines,
// DrainProgress; Connecting until it is connected, Silence while its peer does not answer. The
// parts keep state and decide; the connection calls the kernel, the session and the worker.
//
// Owner:  the slot of its session, as IoHandler. A connection outlives its session until the socket
//         is done.
// Thread: the worker's.
// Bound:  output: output_bytes_max, and FileRange::kRangesMax ranges of files; kept input:
//         input_bytes_max; both charged to the budget. An idle connection holds neither.
// Errors: each error ends the connection, once, with one reason. Bytes that were accepted and not
//         sent are counted as lost.
#ifndef SLUICE_ACTORS_CONNECTION_CONNECTION_H_
#define SLUICE_ACTORS_CONNECTION_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sluice/actors/connection/connecting.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/deadlines.h"
#include "sluice/actors/connection/drain_progress.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/incoming.h"
#include "sluice/actors/connection/outgoing.h"
#include "sluice/actors/connection/output_listener.h"
#include "sluice/actors/connection/owned_connections.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/silence.h"
#include "sluice/actors/connection/stream.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/core/slot/timer.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

class Connection final : public IoHandler, public ListNode<OwnedTag>, private Timer {
 public:
  enum class Start : uint8_t { kConnected, kConnecting };

  // Attaches a new connection to `slot`, where the session was constructed. If the poller refuses
  // the descriptor, the connection ends at once. Answers the connection; nullptr: it has ended.
  static Connection* Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                          ConnectionOwner owner, Start start = Start::kConnected,
                          absl::Duration connect_timeout = absl::InfiniteDuration());
  // Notes the address of a connect under way. `again`: the backlog of the listener is full, and the
  // connect is repeated until it has room.
  void ConnectsTo(const Address& address, bool again);
  bool ByConnect() const { return by_connect_; }
  // For a session that never gets a connection: it is counted, and gets OnClose(reason). `text` is
  // the reason that its monitors are told.
  static void Refuse(Worker& worker, Slot* slot, CloseReason reason, std::string text);
  ~Connection() override;

  // For the session, and for spokes that write on its behalf.
  Answer Write(std::string_view bytes);
  Answer Write(const Bytes& payload);
  Answer SendFile(const SharedFile& file, int64_t offset, int64_t bytes);
  void Close();
  void CloseWhenDone();
  void CloseWrite();
  void Abort(CloseReason reason);
  // While a ReadHold of the session exists.
  void PauseReading() { incoming_.Pause(); }
  void ResumeReading();
  // Input that the session has left is offered once more, though nothing has come behind it.
  void OfferKeptInput() {
    if (!incoming_.Empty()) incoming_.SetOfferAgain(true);
  }
  void RepeatEof() { incoming_.RepeatEof(); }
  void WantWritable() {
    outgoing_.SetWantsWritable(true);
    worker().descriptors().MarkReady(this);
  }
  std::string_view Unconsumed() const { return incoming_.view(); }
  bool MayGoOn() const;
  // For the session, between frames: may it go on, and is its turn not over?
  bool MayTakeMore();
  // Bytes that wait in memory. Ranges of files do not count.
  size_t OutputBytes() const { return outgoing_.size() + GatheredBytes(); }
  // With the bytes of files.
  int64_t UnsentBytes() const {
    return static_cast<int64_t>(OutputBytes()) + outgoing_.FileBytes();
  }
  // Bytes that a Write would accept now, if the write side is open.
  size_t OutputRoom() const {
    return static_cast<size_t>(options().output_bytes_max) - OutputBytes();
  }
  bool WriteOpen() const { return outgoing_.Open(); }
  bool WantsWritable() const { return outgoing_.WantsWritable(); }
  // Pairs two connections (actors/peers/pipe.h): each reads while the output of the other has room,
  // as its input is written there. Both live on one worker. The end of either undoes the pairing.
  void PairWith(Connection& other);
  // Time in ms that a peer must be silent in a drain until none of its earlier bytes is on its way:
  // a round trip, as the kernel measures it, and other delays of a segment.
  int64_t DrainQuietMs();
  // True: open both ways, nothing held, and no byte received or sent after `ms`.
  bool QuietSince(int64_t ms) const;
  void SetInputMax(size_t bytes) { incoming_.SetBytesMax(bytes); }
  // The session has set or changed it.
  void SetReceiveTimeout();
  void OnAnswered() override;
  size_t InputMax() const { return incoming_.BytesMax(); }
  Address PeerAddress() const;
  Worker& worker() const { return *slot_->worker; }
  Slot* slot() const { return slot_; }
  Session* session() const { return session_; }
  // The session may subscribe to several hubs, with a listener for each. A listener removes itself,
  // or gets OnOutputEnded. Requires: WriteOpen().
  void AddListener(OutputListener* listener);
  void RemoveListener(OutputListener* listener);
  // For a listener that got kOverloaded from Write: OnOutputLow follows when there is memory.
  void TellListenersWhenMemoryReturns();
  // Called before the session's last bytes: queues what listeners hold back for a slow socket, up
  // to output_bytes_max.
  void FlushListeners();
  bool OutputAboveLow() const {
    return outgoing_.HasFiles() || OutputBytes() > static_cast<size_t>(options().output_bytes_low);
  }

  // The blocking pool has read a chunk of the file at the front of the output, or could not
  // (FileRange::Fetch).
  void FileFetched(int64_t result);

  // Ends this connection to make room for a newcomer.
  void Evict() { Finish(CloseReason::kEvicted); }
  // True: the peer has, or may have, taken bytes during its silence; then this connection counts as
  // active now. False for a UNIX socket: the kernel reports no acknowledgements there.
  bool TakesBytesMeanwhile() {
    return !Closing() && !IsConnecting() && stream_->AcknowledgedMs() != Unanswered::kUnknown &&
           TakesBytes(worker().NowMs() - ActiveMs());
  }
  // The session has closed or ended.
  bool Closing() const { return outgoing_.Closing(); }
  // The last byte received, sent, or seen to be taken by the peer.
  int64_t ActiveMs() const { return deadlines_.ActiveMs(); }

  // IoHandler.
  void OnEvents(uint32_t events) override;
  void OnTurn() override;
  void OnDeadline() override;
  void OnSliceEnd() override;
  void OnGatherTaken() override { FlushGather(); }
  void OnUnparked() override;
  void OnActorEnded(bool failed) override;
  void OnDrain() override;
  void OnDrainEndReading() override;
  void OnDrainClose() override;
  int64_t HeldBytes() const override;
  std::string PeerText() const override;
  int64_t StalledBytes(int64_t now_ms, int64_t stalled_ms, int64_t bytes_min) override;
  void Shed(int64_t bytes, bool named) override;
  bool MayReadFromReserve() override;
  void OnShutdown() override;

  void CheckInvariants() const;
  bool HasWork() const override;

 private:
  enum class Stage : uint8_t {
    kConnecting,
    kConnected,  // OnOpen is due, unless the session has closed.
    kOpen,       // OnOpen was called.
  };

  Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream, ConnectionOwner owner);
  const Options& options() const { return slot_->worker->options(); }

  // --- State that takes several parts (connection.cc).

  // True after Finish(): this must not be used any more, and is deleted at the end of the turn.
  bool Ended() const { return slot_->io != this; }
  bool IsConnecting() const { return stage_ == Stage::kConnecting; }
  bool OpenDue() const { return stage_ == Stage::kConnected && !Closing(); }
  bool HalfClosed() const { return incoming_.ReadEnded() || !outgoing_.Open(); }
  bool Paired() const { return partner_ != this; }
  // True: an end from this side must be a reset. The peer, or the other peer of a pair, would take
  // a FIN for the complete stream.
  bool CutShort() const;
  void Unpair();
  bool MayRead() const;
  // True: of all that OnTurn() may have to do, only a read is left.
  bool OnlyReads() const {
    return stage_ == Stage::kOpen && !close_when_done_ && !drain_.Begun() && outgoing_.Settled() &&
           incoming_.OnlyReads();
  }
  bool BeginTurn();  // False: no more is to be done in this turn.
  void EndTurn();
  // True: the session closes now, as nothing of it is under way any more (CloseWhenDone).
  bool CloseDue() const;
  // True: the peer has sent bytes that this side cannot read now, as the session is parked, output
  // is high, or memory is spent. Such a peer is not silent. A hold of the session itself does not
  // count.
  bool UnreadByUs() const {
    return incoming_.Readable() && !incoming_.ReadEnded() && !drain_.Begun() &&
           session_ != nullptr && !incoming_.Paused() &&
           (!MayGoOn() || worker().memory().ReadingPaused());
  }
  // Bytes were received or sent. The acceptor's order of connections is exact to 2^kOrderShift ms.
  void Active() {
    const int64_t before_ms = ActiveMs();
    const int64_t now_ms = worker().NowMs();
    deadlines_.SetActive(now_ms);
    if (before_ms >> OwnedConnections::kOrderShift != now_ms >> OwnedConnections::kOrderShift &&
        owner_ != nullptr) {
      owner_->WasActive(*this);
    }
  }
  void CountIn(int64_t bytes) {
    if (session_ != nullptr && session_->extra_ != nullptr) [[unlikely]]
      session_->CountIn(bytes);
  }
  void CountOut(int64_t bytes) {
    if (session_ != nullptr && session_->extra_ != nullptr) [[unlikely]]
      session_->CountOut(bytes);
  }
  void LookForError();
  static CloseReason ReasonOf(int error);  // `error`: a socket's errno.
  void SocketFailed(int error);
  void Finish(CloseReason reason, bool reset = false, int error = 0);
  void LogEnd(CloseReason reason, int error);
  std::string EndText(CloseReason reason, int error) const;  // For monitors and askers.

  // --- Calls of the session (connection.cc; TellDrain in connection_draining.cc).

  void TellOpen();
  void TellEof();
  void TellWritable();
  void TellInputFull();
  // Answers that are under way (AskPipelined) are lost now. True: there were some.
  bool LoseAnswers();
  void TellDrain();
  void CloseOrWait();

  // --- Until it is connected (connection_connecting.cc).

  // Requires: IsConnecting().
  Connecting& connecting() const { return std::get<Connecting>(*seldom_); }
  void BeginConnecting(absl::Duration timeout);
  void TakeEarlyCalls();
  void EndEarly();
  void ConnectDone();
  void ConnectFailed(int error, bool reset = false);
  void ConnectTimerDue();
  // When a connect without a time limit is given up: a session that has closed waits for
  // close_timeout at most. Otherwise its bytes would keep an attempt alive that nothing else ends.
  int64_t GiveUpMs() const {
    return Closing() ? deadlines_.CloseMs(options()) : TimerWheel::kNever;
  }

  // --- Input (connection_input.cc).

  void ReadOnce();
  void OfferInput(std::string_view fresh);
  bool MayDiscard() const;
  void Discard();
  void DiscardAll();

  // --- Output (connection_output.cc).

  size_t GatheredBytes() const {
    return outgoing_.Gathering() ? worker().descriptors().Gather().size() : 0;
  }
  Answer MayWrite(size_t bytes) { return outgoing_.MayWrite(options(), GatheredBytes(), bytes); }
  bool OutputHasRoom() const {
    return !IsConnecting() && outgoing_.HasRoom(options(), OutputBytes());
  }
  void NoteHigh() { outgoing_.NoteHigh(options(), OutputBytes()); }
  void Keep(std::string_view bytes);
  void FlushGather();
  void FlushOutput();
  int64_t WriteParts(const iovec* parts, int count);
  void NoteSent(int64_t bytes);
  void OutputMoved();
  void OutputFailed();
  void TellListeners(void (OutputListener::*tell)(Connection&));
  void TellOutputEnded();
  void BeginClose();
  void OutputEnds(bool was_open);
  void FinishWriting();

  // --- Files (connection_files.cc).

  // True: a range may be sent, and no event will say so.
  bool RangeDue() const {
    return outgoing_.HasFiles() && outgoing_.MaySend() && !IsConnecting() && !OnFlushList() &&
           outgoing_.FrontFile() != nullptr && !outgoing_.FrontFile()->Waits();
  }
  int64_t SendRange(int64_t most);
  bool LookForRange(FileRange& range, int64_t bytes);
  void SentOfRange(int64_t bytes);
  void FileFailed(int error);
  void RetryFetch();

  // --- A drain (connection_draining.cc).

  void DrainConnecting();
  bool DrainReads() const {
    return drain_.Reads() && !incoming_.ReadEnded() && !Closing() && !IsConnecting();
  }
  void BeginDrainReading();
  void DrainSilenceOver();
  void DrainAwaitsNoMore();

  // --- Timeouts (connection_timeouts.cc).

  void OnTimer(Worker& worker) override;
  int64_t NextDeadlineMs() const;
  void ArmTimer();
  void Judge();
  Deadlines::Facts DeadlineFacts() const;
  int64_t SilentMs() const;
  void PeerIsSilent();
  void PeerWaitsNoMore();
  void StallTimedOut();
  void SilenceTimedOut(bool idle);
  void LingerTimedOut();
  bool TakesBytes(int64_t silence_ms);
  // nullptr: nothing is unanswered. Requires: !IsConnecting().
  Silence* silence() const { return seldom_ == nullptr ? nullptr : &std::get<Silence>(*seldom_); }
  int64_t NextLookMs() const;
  void BeginLooking();
  void LookForLife();

  Slot* const slot_;
  Session* session_;  // nullptr once its actor has ended.
  std::unique_ptr<Stream> stream_;
  ConnectionLedger::Cell* const counters_;
  const ConnectionOwner owner_;
  // Reading needs room in the output of this connection: itself, or the other one of a pair.
  Connection* partner_ = this;
  // While connecting, its state. Once connected, a silence, if there is one. Most connections have
  // neither.
  std::unique_ptr<std::variant<Connecting, Silence>> seldom_;
  Outgoing outgoing_;
  Deadlines deadlines_;
  [[no_unique_address]] Incoming incoming_;
  // These three take the bytes that incoming_ leaves free.
  Stage stage_ : 4 = Stage::kConnected;
  bool close_when_done_ : 1 = false;
  bool by_connect_ : 1 = false;    // This side has connected to its peer.
  bool drain_awaits_ : 1 = false;  // A drain reads on, as the peer owes an answer.
  DrainProgress drain_;
};
// An idle connection has to be small (docs/limits.md).
static_assert(sizeof(Connection) <= 280);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_CONNECTION_H_
