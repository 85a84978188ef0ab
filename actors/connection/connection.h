// Connection owns a connected socket, through a Stream, and brings it and its Session together: it
// reads only when its output and its session have room, writes what it was given in order, and
// closes without losing the last bytes.
//
// Owner:  the slot of its session, as IoHandler; it outlives the session until the socket is done.
// Thread: the worker's.
// Bound:  output_bytes_max of output; kept input: input_bytes_max; both charged to the budget.
//         Nothing while idle.
// Errors: each ends the connection, once, with one reason; bytes accepted and not sent are counted
//         as lost.
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
#include "sluice/core/worker/worker.h"

namespace sluice {

struct ListenerTag {};

// Something that writes to a connection for others (a hub's subscriber). Called on its worker.
class OutputListener : public ListNode<ListenerTag> {
 public:
  virtual void OnOutputLow(Connection& connection) = 0;
  // Write what is held back, as far as the output takes it: a last word follows.
  virtual void OnFlush(Connection& connection) = 0;
  // The last call: the connection takes nothing more, as its write side is closing or it has ended.
  // The listener is off its list.
  virtual void OnOutputEnded(Connection& connection) = 0;
  // What it holds back for the connection, in bytes of the budget that their end would free.
  virtual int64_t HeldBytes() const { return 0; }
  // Whether it holds back anything, that it will write by itself.
  virtual bool Holds() const { return false; }

 protected:
  virtual ~OutputListener() = default;
};

class Connection final : public IoHandler, public ListNode<OwnedTag>, private Timer {
 public:
  enum class Start : uint8_t { kConnected, kConnecting };

  // Attaches itself to `slot`, whose session has been made. The poller's refusal ends it at once.
  static void Open(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream,
                   ConnectionOwner owner, Start start = Start::kConnected,
                   absl::Duration connect_timeout = absl::InfiniteDuration());
  // Where one that is connecting goes to. `again`: the kernel has no room for it yet, and it is
  // tried again until it has.
  void ConnectsTo(const Address& address, bool again);
  // One that never stood: its session hears OnClose(reason), and it is counted.
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
    worker().MarkReady(this);
  }
  std::string_view Unconsumed() const { return input_.view(); }
  bool MayGoOn() const;
  // For the session, between frames: may it go on, and is its turn not over?
  bool MayTakeMore();
  size_t OutputBytes() const;
  // What a Write would take now, were the write side open.
  size_t OutputRoom() const {
    return static_cast<size_t>(options().output_bytes_max) - OutputBytes();
  }
  bool WriteOpen() const { return write_state_ == WriteState::kOpen; }
  // From now on each of the two reads while the other's output has room, not its own: what one
  // reads is written to the other (actors/peers/pipe.h). Both live on one worker; the end of one
  // unpairs.
  void PairWith(Connection& other);
  // For how long a peer must be silent in a drain until nothing that it sent before is on its way:
  // a round trip, as the kernel measures it, and what else may hold a segment up.
  int64_t DrainQuietMs();
  // Open both ways, nothing held, and no byte received or sent after that time.
  bool QuietSince(int64_t ms) const;
  void SetInputMax(size_t bytes) {
    input_bytes_max_ = static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX));
  }
  size_t InputMax() const { return input_bytes_max_; }
  Address PeerAddress() const;
  Worker& worker() const { return *slot_->worker; }
  Slot* slot() const { return slot_; }
  Session* session() const { return session_; }
  // Several hubs may have the same connection for a subscriber. A listener removes itself, or is
  // told of the end. Requires: WriteOpen().
  void AddListener(OutputListener* listener);
  void RemoveListener(OutputListener* listener);
  // For a listener whose Write answered kOverloaded: OnOutputLow follows when there is memory.
  void TellListenersWhenMemoryReturns();
  // Before a good-bye: what listeners hold back for a slow socket is queued here, as far as
  // output_bytes_max goes.
  void FlushListeners();
  bool OutputAboveLow() const {
    return OutputBytes() > static_cast<size_t>(options().output_bytes_low);
  }

  // Ends it, so that another one may come.
  void Evict() { Finish(CloseReason::kEvicted); }
  // True: its peer has taken bytes in that silence, and it is the latest active one now. (Of a UNIX
  // socket nobody can tell.)
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
    kFlushing,   // Nothing more is taken; what is queued still goes.
    kShut,       // Our FIN is sent.
    kLingering,  // And this side is closing: it reads only to forget.
  };

  Connection(Worker& worker, Slot* slot, std::unique_ptr<Stream> stream, ConnectionOwner owner);
  void OnTimer(Worker& worker) override;
  void Judge();

  // True once Finish() was called: nothing of this may be done any more, and it is deleted at the
  // end of the turn.
  bool Ended() const { return slot_->io != this; }
  bool MayRead() const;
  bool Paired() const { return partner_ != this; }
  // Whether an end from here is a reset: to one of a pair it must not look as if the other had come
  // to its end.
  bool CutShort() const { return Paired(); }
  bool HalfClosed() const { return read_ended_ || write_state_ != WriteState::kOpen; }
  void Unpair();
  bool OutputHasRoom() const {
    return !connecting_ && !output_high_ &&
           OutputBytes() <= static_cast<size_t>(options().output_bytes_high) && OutputRoom() > 0;
  }
  // Over the watermark: who reads for it has stopped, and is told when output is down to the low
  // one.
  void NoteHigh() {
    output_high_ |=
        OutputBytes() > static_cast<size_t>(options().output_bytes_high) || OutputRoom() == 0;
  }
  // The peer has sent what this side can not read now: the session is parked, its output stands
  // high, or memory is spent. Such a peer is not silent. A session that has paused wanted it so.
  bool UnreadByUs() const {
    return readable_ && !read_ended_ && !draining_ && session_ != nullptr && !paused_ &&
           (!MayGoOn() || worker().ReadingPaused());
  }
  // Bytes were received or sent. The acceptor's order is exact to kOrderShift.
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
  // Whose output has the room that reading needs: its own, or the pair's.
  Connection* partner_ = this;
  // From the look that finds something unanswered until one that does not.
  struct Silence {
    int64_t asked_ms;  // Since then the peer has answered nothing, and was asked.
    // When it was first asked after unacknowledged_timeout, which a link that was whole again by
    // then would have answered; -1: it was not, as far as looks have seen...
    int64_t asked_late_ms = -1;
    uint32_t probes = 0;  // ...and at that time so many probes were unanswered; 0: it is to come.
  };
  // The address, while it is connecting; or, when the connection stands, a silence. Most
  // connections have neither.
  std::unique_ptr<std::variant<Address, Silence>> seldom_;
  OutputQueue output_;
  InputBuffer input_;
  const int64_t opened_ms_;
  int64_t active_ms_;        // The last byte received or sent, or seen to be taken by the peer.
  int64_t received_ms_;      // The last byte received, or what counts as one in a drain.
  int64_t phase_ms_ = 0;     // When the half-close, the lingering or the connecting began.
  int64_t closing_ms_ = 0;   // When this side closed, or its connection stood behind that.
  int64_t stalled_ms_ = -1;  // Since when output waits without progress; -1: none waits.
  uint32_t input_bytes_max_;
  union {
    uint32_t connect_timeout_ms_ = 0;  // While connecting...
    uint32_t drain_quiet_ms_;          // ...while a drain still reads...
    uint32_t discarded_bytes_;         // ...and while lingering.
  };
  uint32_t looked_s_ = 0;  // When LookForLife() was last, or began to be due; 0: it is not.
  // While lingering, while memory is spent, or behind a silence: as it was...
  uint32_t unacknowledged_bytes_ = 0;
  int64_t unacknowledged_ms_ = -1;  // ...when it was first seen, or last seen to change.
  int16_t write_error_ = 0;         // The errno of a failed write, told at the end of the slice.

  WriteState write_state_ = WriteState::kOpen;
  CloseReason close_reason_ = CloseReason::kClosed;  // Of the close under way.
  // One bit each: an idle connection is to take little.
  bool readable_ : 1 = false;
  bool exceptional_ : 1 = false;     // PRI, RDHUP, HUP or ERR came once: short reads prove nothing.
  bool error_reported_ : 1 = false;  // ERR came, and no read has told yet what it was.
  bool writable_ : 1 = true;
  bool connecting_ : 1 = false;
  bool connect_again_ : 1 = false;
  bool open_told_ : 1 = false;
  bool closing_ : 1 = false;     // The session has closed or ended: it is given nothing more.
  bool read_ended_ : 1 = false;  // The peer's FIN was read...
  bool peer_ended_ : 1 = false;  // ...or is known of: it may lie behind bytes that nobody reads.
  bool eof_told_ : 1 = false;
  bool paused_ : 1 = false;  // By the session.
  bool output_high_ : 1 = false;
  bool wants_writable_ : 1 = false;
  // The session had to stop; the kept input is due when it may go on.
  bool offer_again_ : 1 = false;
  bool listeners_wait_for_memory_ : 1 = false;
  bool gathering_ : 1 = false;  // The worker's gather buffer holds output of ours.
  bool draining_ : 1 = false;
  bool input_drained_ : 1 = false;  // In a drain: nothing more is read.
  bool drain_close_ : 1 = false;    // OnDrain is due.
  bool drain_told_ : 1 = false;
  bool offering_ : 1 = false;   // OnData runs...
  bool took_one_ : 1 = false;   // ...and has taken a frame at least...
  bool turn_over_ : 1 = false;  // ...and was told that its time is over.
  bool amplifies_ : 1 = false;  // Its last answer was much longer than the question.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_CONNECTION_H_
