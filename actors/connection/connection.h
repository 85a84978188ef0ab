// Connection owns a connected socket, through a Stream, and serves its Session: it reads only while
// its output and its session have room, writes bytes in order, and closes without losing the last
// bytes.
//
// Owner:  the slot of its session, as IoHandler. A connection outlives its session until the socket
//         is done.
// Thread: the worker's.
// Bound:  output: output_bytes_max; kept input: input_bytes_max; both charged to the budget. An
//         idle connection holds neither.
// Errors: each error ends the connection, once, with one reason. Bytes that were accepted and not
//         sent are counted as lost.
#ifndef SLUICE_ACTORS_CONNECTION_CONNECTION_H_
#define SLUICE_ACTORS_CONNECTION_CONNECTION_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/owned_connections.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/stream.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/core/slot/timer.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

struct ListenerTag {};

// OutputListener writes to a connection on behalf of others, as a hub's subscriber does. Called on
// the connection's worker.
class OutputListener : public ListNode<ListenerTag> {
 public:
  virtual void OnOutputLow(Connection& connection) = 0;
  // Write what is held back, as far as the output takes it: the session's last bytes follow.
  virtual void OnFlush(Connection& connection) = 0;
  // The last call: the connection takes no more output, as its write side is closing or it has
  // ended. The listener is off the connection's list already.
  virtual void OnOutputEnded(Connection& connection) = 0;
  // Bytes of the budget that this listener holds for the connection; the connection's end frees
  // them.
  virtual int64_t HeldBytes() const { return 0; }
  // True: the listener holds back output that it will write by itself.
  virtual bool Holds() const { return false; }

 protected:
  virtual ~OutputListener() = default;
};

class Connection final : public IoHandler, public ListNode<OwnedTag>, private Timer {
 public:
  enum class Start : uint8_t { kConnected, kConnecting };

  // Attaches a new connection to `slot`, where the session was constructed. If the poller refuses
  // the descriptor, the connection ends at once.
  static void Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                   ConnectionOwner owner, Start start = Start::kConnected,
                   absl::Duration connect_timeout = absl::InfiniteDuration());
  // Notes the address of a connect under way. `again`: the backlog of the listener is full, and the
  // connect is repeated until it has room.
  void ConnectsTo(const Address& address, bool again);
  // For a session that never gets a connection: it is counted, and gets OnClose(reason).
  static void Refuse(Worker& worker, Slot* slot, CloseReason reason);
  ~Connection() override;

  // For the session, and for spokes that write on its behalf.
  Answer Write(std::string_view bytes);
  Answer Write(const Bytes& payload);
  void Close();
  void CloseWrite();
  void Abort(CloseReason reason);
  void PauseReading();
  void ResumeReading();
  bool ReadingPaused() const { return paused_; }
  void WantWritable() {
    wants_writable_ = true;
    worker().descriptors().MarkReady(this);
  }
  std::string_view Unconsumed() const { return input_.view(); }
  bool MayGoOn() const;
  // For the session, between frames: may it go on, and is its turn not over?
  bool MayTakeMore();
  size_t OutputBytes() const;
  // Bytes that a Write would accept now, if the write side is open.
  size_t OutputRoom() const {
    return static_cast<size_t>(options().output_bytes_max) - OutputBytes();
  }
  bool WriteOpen() const { return write_state_ == WriteState::kOpen; }
  // Pairs two connections (actors/peers/pipe.h): each reads while the output of the other has room,
  // as its input is written there. Both live on one worker. The end of either undoes the pairing.
  void PairWith(Connection& other);
  // Time in ms that a peer must be silent in a drain until none of its earlier bytes is on its way:
  // a round trip, as the kernel measures it, and other delays of a segment.
  int64_t DrainQuietMs();
  // True: open both ways, nothing held, and no byte received or sent after `ms`.
  bool QuietSince(int64_t ms) const;
  void SetInputMax(size_t bytes) {
    input_bytes_max_ = static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX));
  }
  size_t InputMax() const { return input_bytes_max_; }
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
    return OutputBytes() > static_cast<size_t>(options().output_bytes_low);
  }

  // Ends this connection to make room for a newcomer.
  void Evict() { Finish(CloseReason::kEvicted); }
  // True: the peer has, or may have, taken bytes during its silence; then this connection counts as
  // active now. False for a UNIX socket: the kernel reports no acknowledgements there.
  bool TakesBytesMeanwhile() {
    return !closing_ && !connecting_ && stream_->AcknowledgedMs() != Unanswered::kUnknown &&
           TakesBytes(worker().NowMs() - active_ms_);
  }

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
  friend class OwnedConnections;
  struct Silence;
  enum class WriteState : uint8_t {
    kOpen,
    kFlushing,   // No more writes are accepted; queued output is still sent.
    kShut,       // Our FIN is sent.
    kLingering,  // The same, and this side closes: input is read and discarded.
  };

  Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream, ConnectionOwner owner);
  void OnTimer(Worker& worker) override;
  void Judge();

  // True after Finish(): this must not be used any more, and is deleted at the end of the turn.
  bool Ended() const { return slot_->io != this; }
  bool MayRead() const;
  bool Paired() const { return partner_ != this; }
  // True: an end from this side must be a reset. The other peer of a pair would take a FIN for the
  // complete stream.
  bool CutShort() const { return Paired(); }
  bool HalfClosed() const { return read_ended_ || write_state_ != WriteState::kOpen; }
  void Unpair();
  bool OutputHasRoom() const {
    return !connecting_ && !output_high_ &&
           OutputBytes() <= static_cast<size_t>(options().output_bytes_high) && OutputRoom() > 0;
  }
  // Notes output above the high watermark: reading for it has stopped, and resumes when output is
  // down to the low watermark.
  void NoteHigh() {
    output_high_ |=
        OutputBytes() > static_cast<size_t>(options().output_bytes_high) || OutputRoom() == 0;
  }
  // True: the peer has sent bytes that this side cannot read now, as the session is parked, output
  // is high, or memory is spent. Such a peer is not silent. A pause by the session itself does not
  // count.
  bool UnreadByUs() const {
    return readable_ && !read_ended_ && !draining_ && session_ != nullptr && !paused_ &&
           (!MayGoOn() || worker().memory().ReadingPaused());
  }
  // Bytes were received or sent. The acceptor's order of connections is exact to 2^kOrderShift ms.
  void Active() {
    const int64_t before_ms = std::exchange(active_ms_, worker().NowMs());
    if (before_ms >> OwnedConnections::kOrderShift != active_ms_ >> OwnedConnections::kOrderShift &&
        owner_ != nullptr)
      owner_->WasActive(*this);
  }
  void ReadOnce();
  bool MayDiscard() const;
  void Discard();
  void DiscardAll();
  void OfferInput(std::string_view fresh);
  void TellInputFull();
  void LookForError();
  void TakeEarlyCalls();
  void EndEarly();
  bool OpenDue() const { return !connecting_ && !open_told_ && !closing_; }
  void TellOpen();
  void TellEof();
  void TellWritable();
  void TellDrain();
  bool ListenersHold() const;
  void DrainConnecting();
  bool DrainReads() const {
    return draining_ && !input_drained_ && !read_ended_ && !closing_ && !connecting_;
  }
  void BeginDrainReading();
  void DrainSilenceOver();

  Answer MayWrite(size_t bytes);
  void Keep(std::string_view bytes);
  void FlushGather();
  void FlushOutput();
  int64_t WriteParts(const iovec* parts, int count);
  void OutputMoved();
  void TellListeners(void (OutputListener::*tell)(Connection&));
  void TellOutputEnded();
  void EndOutput();
  void BeginClose();
  void FinishWriting();
  void SocketFailed(int error);
  void ConnectDone();
  void ConnectFailed(int error, bool reset = false);
  void Finish(CloseReason reason, bool reset = false, int error = 0);
  void LogEnd(CloseReason reason, int error);
  void CountIn(int64_t bytes) {
    if (session_ != nullptr && session_->traffic_ != nullptr) session_->traffic_->in_bytes += bytes;
  }
  void CountOut(int64_t bytes) {
    if (session_ != nullptr && session_->traffic_ != nullptr)
      session_->traffic_->out_bytes += bytes;
  }

  int64_t ConnectDeadlineMs() const;
  int64_t NextDeadlineMs() const;
  void ArmTimer();
  int64_t LookedMs() const { return int64_t{looked_s_} * 1'000; }
  int64_t NextLookMs() const;
  void BeginLooking();
  void LookForLife();
  bool IsDead(const Unanswered& look, Silence& silence);
  void SetConnectTimeout(absl::Duration timeout);
  void ConnectTimerDue();
  void LingerTimedOut();
  bool TakesBytes(int64_t silence_ms);
  const Options& options() const { return slot_->worker->options(); }

  Slot* const slot_;
  Session* session_;  // nullptr once its actor has ended.
  std::unique_ptr<Stream> stream_;
  ConnectionLedger::Cell* const counters_;
  const ConnectionOwner owner_;
  IntrusiveList<OutputListener, ListenerTag> listeners_;
  // Reading needs room in the output of this connection: itself, or the other one of a pair.
  Connection* partner_ = this;
  // Exists from the look (LookForLife) that finds something unanswered until a look that does not.
  struct Silence {
    int64_t asked_ms;  // Since then the peer was asked, and has answered nothing.
    // Time of the first question after unacknowledged_timeout; -1: no look has seen one. A link
    // that was repaired by then would have answered it.
    int64_t asked_late_ms = -1;
    // Unanswered probes at the first look after that timeout: when the number has grown, there was
    // such a question. 0: no such look yet.
    uint32_t probes = 0;
  };
  // While connecting: the address. Once connected: a silence, if there is one. Most connections
  // have neither.
  std::unique_ptr<std::variant<Address, Silence>> seldom_;
  OutputQueue output_;
  InputBuffer input_;
  const int64_t opened_ms_;
  int64_t active_ms_;        // The last byte received, sent, or seen to be taken by the peer.
  int64_t received_ms_;      // The last byte received. A drain restarts it.
  int64_t phase_ms_ = 0;     // Start of the half-close, the lingering or the connecting.
  int64_t closing_ms_ = 0;   // This side's close, or the connect if that was later.
  int64_t stalled_ms_ = -1;  // Since then output waits without progress; -1: none waits.
  uint32_t input_bytes_max_;
  union {
    uint32_t connect_timeout_ms_ = 0;  // While connecting...
    uint32_t drain_quiet_ms_;          // ...while a drain still reads...
    uint32_t discarded_bytes_;         // ...and while lingering.
  };
  // The last LookForLife(), or the write that made it due; 0: it is not due.
  uint32_t looked_s_ = 0;
  // The peer's unacknowledged bytes at the last look. Used while lingering, while memory is spent,
  // and at the end of a silence.
  uint32_t unacknowledged_bytes_ = 0;
  int64_t unacknowledged_ms_ = -1;  // When that number was first seen, or last seen to change.
  int16_t write_error_ = 0;         // errno of a failed write, handled at the end of the slice.

  WriteState write_state_ = WriteState::kOpen;
  CloseReason close_reason_ = CloseReason::kClosed;  // Reason of the close under way.
  // The flags take one bit each, to keep an idle connection small.
  bool readable_ : 1 = false;
  bool exceptional_ : 1 = false;     // PRI, RDHUP, HUP or ERR came once: short reads prove nothing.
  bool error_reported_ : 1 = false;  // ERR came, and no read has reported the error yet.
  bool writable_ : 1 = true;
  bool connecting_ : 1 = false;
  bool connect_again_ : 1 = false;
  bool open_told_ : 1 = false;
  bool closing_ : 1 = false;     // The session has closed or ended: it gets no more input.
  bool read_ended_ : 1 = false;  // The peer's FIN was read.
  bool peer_ended_ : 1 = false;  // The peer's FIN is known of; unread bytes may precede it.
  bool eof_told_ : 1 = false;
  bool paused_ : 1 = false;  // Until ResumeReading().
  bool output_high_ : 1 = false;
  bool wants_writable_ : 1 = false;
  // Kept input is offered again when the session may go on.
  bool offer_again_ : 1 = false;
  bool listeners_wait_for_memory_ : 1 = false;
  bool gathering_ : 1 = false;  // The worker's gather buffer holds output of this connection.
  bool draining_ : 1 = false;
  bool input_drained_ : 1 = false;  // In a drain: no more input is read.
  bool drain_close_ : 1 = false;    // The session's OnDrain is due.
  bool drain_told_ : 1 = false;
  bool offering_ : 1 = false;   // OnData runs.
  bool took_one_ : 1 = false;   // This OnData was allowed a frame already.
  bool turn_over_ : 1 = false;  // This OnData was told that its share of the turn is over.
  bool amplifies_ : 1 = false;  // The last answer was much longer than its question.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_CONNECTION_H_
