// Session is the actor that speaks on a connection: a user derives from it to serve a protocol.
//
//   class Echo : public sluice::Session {
//     void OnData(sluice::Input& in) override { WriteOrAbort(in.TakeAll()); }
//   };
//
// Before its connection is established (in the constructor, in OnStart, while it connects):
//   1. Messages, replies and Downs wait in the mailbox, in order; OnOpen runs before them. If the
//      connection is never established, they are dropped, and counted. The session's own timers
//      run, and so do the deadlines of its questions: a deadline that passes before OnOpen is
//      reported in time, even if the answer waits in the mailbox.
//   2. Write answers as always; accepted bytes leave when the connection is established.
//   3. CloseWrite, CloseWhenDone, HoldReading, SetInputMax and WantWritable take effect when the
//      connection is established, and so does a Close behind accepted bytes: the bytes leave, then
//      the connection is closed, without OnOpen. (If the connect has no time limit, it may take
//      close_timeout at most from there on.) A Close with nothing to send, and Abort, end the
//      connection before it is established.
//   4. A drain closes the session, as in 3, without OnDrain.
// After the end of its connection these calls do nothing, and Write answers kClosed.
//
// Owner:  its slot; made when a connection is accepted or begun, ended with it.
// Thread: its worker's, as any actor's.
// Bound:  input kept for it: one read and one frame (input_bytes_max); output: output_bytes_max.
// Errors: an error of the connection ends the session, once; OnClose gets the reason.
#ifndef SLUICE_ACTORS_CONNECTION_SESSION_H_
#define SLUICE_ACTORS_CONNECTION_SESSION_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/answer_queue.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/read_hold.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/rate_limit.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

class Connection;
struct EarlyCalls;
struct SessionExtra;

// Input is the bytes that have arrived and are not consumed yet. Bytes that a call of OnData leaves
// are kept, and offered again with those that come after them. The bytes stay where they are until
// OnData returns.
class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  std::string_view Peek() const { return bytes_; }
  std::string_view Take(size_t count) {  // At most what there is.
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view TakeAll() { return Take(bytes_.size()); }
  void Skip(size_t count) { bytes_.remove_prefix(std::min(count, bytes_.size())); }

 private:
  std::string_view bytes_;
};

namespace internal {
// The reply that a task awaits which connects: the connection is open.
struct WhenOpen {
  using Reply = std::monostate;
};
}  // namespace internal

class Session : public Actor {
 public:
  // A session that fails ends its connection: a recreated one would not know what the peer was
  // told.
  static constexpr bool kRestartable = false;

  Session();
  ~Session() override;
  bool IsKind(const void* kind) const override { return kind == KindOf<Session>(); }

  // The connection is established. Messages wait for this call.
  virtual void OnOpen() {}
  // Bytes have come. Not called while the session is parked, reading is held, or output is above
  // output_bytes_high.
  virtual void OnData(Input& in) = 0;
  // The peer has ended its side (half-close): no more bytes will come; Unconsumed() has those that
  // were left. This side may go on writing. The default closes when the answers under way are
  // written. A session that waits for news, with a question that may stay open for ever, overrides
  // this.
  virtual void OnEof() { CloseWhenDone(); }
  // After a Write that answered kFull, or WantWritable(): output is down to output_bytes_low.
  virtual void OnWritable() {}
  // The kept input has reached its maximum (SetInputMax, input_bytes_max), and OnData took nothing
  // of it: the frame is too long. The default logs that and resets the connection (kInputFull). An
  // override answers and closes, or raises the maximum, or holds reading: the end of the hold
  // offers the same input once more. After an override that does none of these, the default
  // follows.
  virtual void OnInputFull();
  // The runtime drains: all input that had arrived was handled, messages that hubs held back for
  // this session were written, and no actor waits for a hub. If that takes longer, OnDrain comes
  // when half of the drain's time is over; a Close then drops held-back messages that the output
  // does not take (FlushSubscriptions). Not called before OnOpen: a connection that is not
  // established yet is closed. The default closes when the answers under way are written. A session
  // that waits for something else closes when it has it, or is ended at the deadline.
  virtual void OnDrain() { CloseWhenDone(); }
  // True: the peer owes this session an answer. Then a drain goes on reading, also past a silence
  // of the peer, until half of its time is over. A TaskSession knows by itself; a session of
  // handlers that asks a server says so.
  virtual bool AwaitsAnswer() const { return false; }
  // The last call, exactly once if OnStart has begun. Either the connection has ended, for this
  // reason; or the session has (it stopped: kClosed; it failed: kFailed), and its output is still
  // sent.
  virtual void OnClose(CloseReason) {}

  // For the framework: a connect to `to` has failed, and OnClose(kConnectFailed) follows. Logs
  // that; a Pipe also logs the peer that it connects for.
  virtual void LogConnectFailed(const Address& to, int error);

  // The end of the actor is the end of the connection.
  void OnStop() final;

  // For the framework: who waits for the connection to be open. If it never is, the promise is
  // dropped with the session.
  void OpensFor(Promise<std::monostate> promise);

  // nullptr in the constructor, and after the connection has ended.
  Connection* connection() const { return connection_; }

 protected:
  // Accepts all bytes or none. Accepted bytes leave when the handler returns, together with its
  // other output. Other answers:
  //   kFull: more than output_bytes_max would wait; OnWritable follows.
  //   kOverloaded: no memory; OnWritable follows only after WantWritable().
  //   kTooLarge: longer than output_bytes_max: write it in pieces.
  //   kClosed: the write side has ended.
  // A session may always write as many bytes as it was given to read, if output_bytes_max leaves
  // room for them (and for kept input) above output_bytes_high.
  Answer Write(std::string_view bytes) { return WriteBytes(bytes); }
  Answer Write(const Bytes& payload);  // Shared, not copied.
  // Writes. If there is no room (kFull, kTooLarge) or no memory (kOverloaded), the connection is
  // reset (kOutputFull, kMemory): otherwise the peer would take what follows for the complete
  // stream. If the write side has ended, nothing happens: OnClose reports that end, or it was this
  // session's own.
  void WriteOrAbort(std::string_view bytes) { AbortUnlessTaken(Write(bytes)); }
  void WriteOrAbort(const Bytes& payload) { AbortUnlessTaken(Write(payload)); }

  // Sends the `bytes` bytes of a file from `offset` on, behind all that was written before and
  // before all that is written later. They take no memory, and do not count towards
  // output_bytes_max: the kernel sends them out of its own, and the blocking pool reads from the
  // disk first where it must. Until they are sent the output counts as high: there is no OnData,
  // and OnWritable waits, too. Answers as Write does, and besides:
  //   kFull: FileRange::kRangesMax ranges wait; OnWritable follows.
  //   kInvalid: no file, or no range of one.
  // A file that cannot be read, or ends before its range does (it was cut short meanwhile), resets
  // the connection (kFileFailed): the peer must not take what follows for the rest.
  Answer SendFile(const SharedFile& file, int64_t offset, int64_t bytes);

  // Sends what was written, then ends this side. Within linger_timeout, reads and discards what the
  // peer still sends, so that no reset overtakes the last bytes. If the session still connects and
  // has written nothing, the attempt ends (kAborted).
  void Close();
  // Closes as soon as nothing of the session is under way: no question (Ask, AskInOrder), no
  // blocking call, no task (StartTask), no write that waits for OnWritable, and no kept input that
  // is to be offered again. The callback that ends the last of them runs first, and may begin the
  // next. (Promises that the session holds do not count: nobody knows where they are.) Until then
  // all goes on; the deadline of a drain and the timeouts of the connection end it as ever.
  void CloseWhenDone();
  // As Close, but this side goes on reading (half-close). The session's subscriptions to hubs end.
  // Answers under way (AskPipelined) are written before either of them takes effect; from the call
  // on, Write answers kClosed, and questions asked in their order (AskPipelined) are not answered.
  void CloseWrite();
  // Resets the connection now. Bytes that were written and not sent are lost, and counted.
  void Abort(CloseReason reason = CloseReason::kAborted);

  // Queues messages that hubs hold back for a slow socket, before the session's own last bytes.
  void FlushSubscriptions();

  // Stops OnData and OnEof as long as the hold, or another one, is held; the TCP window slows the
  // peer. A hold may be kept anywhere on this worker: in a member, in a callback.
  ReadHold HoldReading();
  bool ReadingHeld() const { return read_holds_ > 0; }
  // As Ask, but nothing more is read until the answer is here, so that the peer's requests take
  // effect in order. The callback runs exactly once, also if the question cannot be sent
  // (Unavailable). Reading goes on after the callback, unless that has asked again in order, or
  // holds reading.
  template <class A, class M, class F>
  void AskInOrder(const Ref<A>& target, M question, absl::Duration timeout, F callback) {
    using Refused = internal::AskRefused<A, M, F>;
    if constexpr (!std::is_void_v<Refused>) {
      static_cast<void>(Refused());
    } else {
      auto answered = [hold = HoldReading(), callback = std::move(callback)](auto reply) mutable {
        callback(std::move(reply));
        hold.Release();
      };
      AskOrTell(target, std::move(question), timeout, std::move(answered));
    }
  }
  // As Ask, but the answer keeps its place in the output, so that many requests of the peer may be
  // under way and their answers leave in the order of the requests: `encode` makes bytes of an
  // absl::StatusOr of the reply, as a std::string. It runs exactly once, unless the connection ends
  // first; also if the question cannot be sent (Unavailable). Bytes that are written meanwhile
  // leave behind the answers. Nothing is read while answers_max answers are open, or while more
  // than output_bytes_high bytes of them wait. The connection ends if there is no memory for an
  // answer (kMemory), or if that is longer than output_bytes_max (kOutputFull).
  template <class A, class M, class E>
  void AskPipelined(const Ref<A>& target, M question, absl::Duration timeout, E encode) {
    using Refused = internal::AskRefused<A, M, E>;
    if constexpr (!std::is_void_v<Refused>) {
      static_cast<void>(Refused());
    } else {
      using Encoded = std::invoke_result_t<E&, absl::StatusOr<typename M::Reply>>;
      if constexpr (!std::convertible_to<Encoded, std::string>) {
        static_cast<void>(refused::AnswerIsNoString<Encoded>());
      } else {
        AskOrTell(target, std::move(question), timeout,
                  PipelinedAnswer<E>(*this, ReserveAnswer(), std::move(encode)));
      }
    }
  }
  // Input that was offered and not consumed; for OnEof.
  std::string_view Unconsumed() const;
  // In OnEof: it is called once more, when the session may go on. For a session that has taken a
  // last frame out of Unconsumed(), and holds reading until that is answered.
  void RepeatEof();
  // True: the session may take another frame of its input. False if it is parked, holds reading or
  // has closed, its output is high, or its frames have used up its share of the turn; that share
  // always allows the first frame of an OnData. Input that is left is offered again.
  bool MayGoOn() const;
  size_t OutputBytes() const;  // Without those of files.
  // Asks for OnWritable, once, as soon as output is down to output_bytes_low: for a session that
  // writes much by itself, piece by piece.
  void WantWritable();
  // Sets the longest frame; the default is input_bytes_max. A longer frame leads to OnInputFull.
  void SetInputMax(size_t bytes);
  // Ends the connection (kSilent) when the peer has sent nothing for `timeout`, counted from this
  // call, from OnOpen and from each byte received; infinite, or not positive: never, the default.
  // The time does not count while the peer is the one that waits: an answer is under way (Ask,
  // RunBlocking, a task), output waits, or this side does not read (a hold, parked, no memory); it
  // begins again behind that. So it tells a peer that is gone or slow with its request from one
  // that is served slowly. (idle_timeout counts bytes of both directions.)
  void SetReceiveTimeout(absl::Duration timeout);
  // Takes `count` (bytes, frames) from the limit, and holds reading until what was taken is within
  // its rate. A session without a free timer (timers_max) is not held.
  void LimitReading(RateLimit& limit, double count);
  Address PeerAddress() const;
  // True: the connection has ended, or will never exist. False in the constructor.
  bool HasEnded() const { return begun_ && connection_ == nullptr; }

 private:
  friend class Connection;
  friend class ReadHold;
  friend class TaskSession;
  // Two words with an empty E, so that the question needs no allocation for it.
  template <class E>
  class PipelinedAnswer {
   public:
    PipelinedAnswer(Session& session, uint64_t place, E encode)
        : session_(&session), place_(place), encode_(std::move(encode)) {}
    template <class R>
    void operator()(absl::StatusOr<R> reply) {
      session_->FillAnswer(place_, std::string(encode_(std::move(reply))));
    }

   private:
    Session* session_;
    uint64_t place_;
    [[no_unique_address]] E encode_;
  };
  SessionExtra& Extra();
  // nullptr: no answers are under way.
  AnswerQueue* AnswersUnderWay() const;
  uint64_t ReserveAnswer();
  void FillAnswer(uint64_t place, std::string bytes);
  void FlushAnswers();
  void HoldWhileMuch(AnswerQueue& answers);
  Answer WriteBehind(AnswerQueue& answers, std::string_view bytes);
  Answer SendFileNow(const AnswerQueue::File& range);
  // False: the write side has ended, or ends behind the answers.
  bool TakesMore(const AnswerQueue& answers) const;
  bool HasRoomBehind(const AnswerQueue& answers) const;
  // True: a range of a file is not sent yet, or the output is above its low watermark.
  bool FilesWait() const;
  // The connection has room for output.
  void OnRoom();
  int64_t AnswerBytes() const;
  // Answers the number of their bytes that wait; nullopt: there are no answers under way.
  std::optional<int64_t> DropAnswers();
  // True: a part of a write has been written, and the rest waits. An end in order would make the
  // peer take the part for the whole.
  virtual bool HalfWritten() const { return false; }
  void CountIn(int64_t bytes);
  void CountOut(int64_t bytes);
  void HoldBegins();
  void HoldEnds();
  void OnEndedByFailure() final;
  Answer WriteBytes(std::string_view bytes);
  Answer WriteOnWorker(std::string_view bytes);  // As WriteBytes, without a look at the thread.
  template <class B>
  Answer WriteNow(const B& bytes);
  // Keeps the calls while there is no connection yet. nullptr: there is one, or it has ended.
  EarlyCalls* Early();
  void AbortUnlessTaken(Answer answer) {
    if (answer == Answer::kAccepted || answer == Answer::kClosed) return;
    Abort(answer == Answer::kOverloaded ? CloseReason::kMemory : CloseReason::kOutputFull);
  }

  Connection* connection_ = nullptr;
  std::unique_ptr<SessionExtra> extra_;
  std::unique_ptr<EarlyCalls> early_;  // nullptr, unless the constructor made such a call.
  CloseReason close_reason_ = CloseReason::kClosed;
  bool begun_ = false;       // The session was given its connection, or will never have one.
  uint32_t read_holds_ = 0;  // ReadHolds of this session.
};

// Constructs a session in a slot; made by Listen<S> and Connect<S>.
using SessionFactory = std::function<void(Worker&, Slot*)>;

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SESSION_H_
