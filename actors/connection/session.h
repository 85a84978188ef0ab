// Session is the actor that speaks on a connection: what a user writes to serve a protocol.
//
//   class Echo : public sluice::Session {
//     void OnData(sluice::Input& in) override { WriteOrAbort(in.TakeAll()); }
//   };
//
// Before its connection stands (in the constructor, in OnStart, while it connects):
//   1. Messages, replies and Downs wait in the mailbox, in their order; OnOpen runs before them. If
//      the connection never stands they are dropped, and counted. Its own timers run, and so do
//      the deadlines of its questions: one that passes before OnOpen is told in time, also where
//      the answer waits in the mailbox.
//   2. Write is answered as ever; what it accepts leaves when the connection stands.
//   3. CloseWrite, PauseReading, SetInputMax and WantWritable take effect when it stands. So does a
//      Close behind bytes that were accepted: they leave, then the connection is closed, without
//      OnOpen. (Connected to without a limit of time, it is waited for until close_timeout.) A
//      Close with nothing to send, and Abort, end it before it stands.
//   4. A drain closes it, as in 3, without OnDrain.
// After its end each of them does nothing, and Write answers kClosed.
//
// Owner:  its slot; made when a connection is accepted or begun, ended with it.
// Thread: its worker's, as any actor's.
// Bound:  input kept for it: one read and one frame (input_bytes_max); output: output_bytes_max.
// Errors: one of the connection's ends it, once, with the reason that OnClose is given.
#ifndef SLUICE_ACTORS_CONNECTION_SESSION_H_
#define SLUICE_ACTORS_CONNECTION_SESSION_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/os/address.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

class Connection;
struct EarlyCalls;

// What has arrived and was not consumed yet. What a call of OnData leaves is kept, and offered
// again with what comes after it. The bytes stay where they are until OnData returns.
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

class Session : public Actor {
 public:
  // One that fails ends its connection: a new one would not know what the peer has been told.
  static constexpr bool kRestartable = false;

  Session();
  ~Session() override;

  // The connection stands. The first call after OnStart: messages wait for it.
  virtual void OnOpen() {}
  // Bytes have come. Not called while the session is parked, or its output stands above
  // output_bytes_high.
  virtual void OnData(Input& in) = 0;
  // The peer has ended its side (half-close): nothing more will come; Unconsumed() is what was
  // left. This side may go on writing; unless overridden it closes.
  virtual void OnEof() { Close(); }
  // After a Write that answered kFull, or WantWritable(): output is down to output_bytes_low.
  virtual void OnWritable() {}
  // OnData took nothing of the input that is kept, and there is no place for more: a frame longer
  // than SetInputMax (input_bytes_max) allows. Unless overridden the connection is reset
  // (kInputFull), with a line in the log. One that overrides it answers and closes, or raises the
  // maximum; else its reading is paused, and after a later ResumeReading it is offered the same
  // once more.
  virtual void OnInputFull();
  // The runtime drains, and all that had arrived was handled; what hubs held back for this session
  // was written, and nobody waits for a hub. Where that takes longer, this comes when half of the
  // drain's time is over, and a Close then leaves behind what the output does not take
  // (FlushSubscriptions). Never before OnOpen: a connection that does not stand yet is closed.
  // Unless overridden the session closes; one that still waits for something closes when it has it,
  // or is ended at the deadline.
  virtual void OnDrain() { Close(); }
  // The last call, once for each session whose OnStart has begun: the connection has ended, for
  // this reason; or the session has (it stopped: kClosed; it failed: kFailed), and what it wrote
  // still leaves.
  virtual void OnClose(CloseReason) {}

  // For the layers below: a connect to there has failed, and OnClose(kConnectFailed) follows. Logs
  // that, with whom it was for.
  virtual void LogConnectFailed(const Address& to, int error);

  // The end of the actor is the end of the connection.
  void OnStop() final;

  // nullptr in the constructor, and once it has ended.
  Connection* connection() const { return connection_; }

 protected:
  // Takes all of it or nothing. kFull: past output_bytes_max, OnWritable follows. kClosed: the
  // write side has ended. kOverloaded: no memory, or longer than output_bytes_max; no OnWritable
  // follows, unless asked for (WantWritable). Leaves when the handler returns, together with what
  // else it wrote. A session may always write as much as it was given to read, where
  // output_bytes_max leaves room for that (and input it kept) above output_bytes_high.
  Answer Write(std::string_view bytes) { return WriteBytes(bytes); }
  Answer Write(const Bytes& payload);  // Shared, not copied.
  // Writes; where there is no room or no memory for it (kFull, kOverloaded) the connection is reset
  // (kMemory), so that the peer does not take what follows for the whole. Where the write side has
  // ended it does nothing: that end is told, or was this session's own.
  void WriteOrAbort(std::string_view bytes) { AbortUnlessTaken(Write(bytes)); }
  void WriteOrAbort(const Bytes& payload) { AbortUnlessTaken(Write(payload)); }

  // Sends what was written, then ends this side, and reads (and forgets) what the peer still sends,
  // within linger_timeout, so that no reset overtakes the last bytes. While it connects and has
  // written nothing, this ends the attempt (kAborted).
  void Close();
  // As Close, but this side goes on reading: a half-close of our own. The session is no subscriber
  // of a hub any longer.
  void CloseWrite();
  // Resets the connection now. What was written and not sent is lost, and counted.
  void Abort(CloseReason reason = CloseReason::kAborted);

  // Queues what hubs hold back for a slow socket, before a last word of its own.
  void FlushSubscriptions();

  // Stops OnData and OnEof until resumed; the peer is slowed by its TCP window.
  void PauseReading();
  virtual void ResumeReading();
  bool ReadingPaused() const;
  // As Ask, but nothing more is read until the answer is here, so that what the peer sends takes
  // effect in its order. The callback runs exactly once, also where the question cannot be sent
  // (Unavailable). It may ask on, or pause reading; else reading goes on after it.
  template <class A, class M, class F>
  void AskInOrder(const Ref<A>& target, M question, absl::Duration timeout, F callback) {
    ++asks_in_order_;
    PauseReading();
    auto answered = [this, callback = std::move(callback)](auto reply) mutable {
      if (--asks_in_order_ == 0) Session::ResumeReading();
      callback(std::move(reply));
      if (!ReadingPaused()) ResumeReading();
    };
    // Shared, as the question may be refused after the callback was given away.
    auto shared = std::make_shared<decltype(answered)>(std::move(answered));
    const Answer answer =
        Ask(target, std::move(question), timeout,
            [shared](absl::StatusOr<typename M::Reply> reply) { (*shared)(std::move(reply)); });
    if (answer == Answer::kAccepted) return;
    (*shared)(absl::StatusOr<typename M::Reply>(absl::UnavailableError(
        answer == Answer::kClosed ? "whom it was for has ended" : "too busy, try again")));
  }
  // What was offered and not consumed; for OnEof.
  std::string_view Unconsumed() const;
  // May this session take another frame of the input it has? Not when it has parked or its output
  // is high; nor when its frames have taken so long that others are to have their turn, but the
  // first one of an OnData may always be taken. What is left is offered again.
  bool MayGoOn() const;
  size_t OutputBytes() const;
  // OnWritable follows, once, as soon as output is down to output_bytes_low: for a session that
  // has more to write than it is asked for, and writes it piece by piece.
  void WantWritable();
  // The longest frame; input_bytes_max unless said otherwise. OnInputFull tells of a longer one.
  void SetInputMax(size_t bytes);
  Address PeerAddress() const;
  // Its connection has ended, or it will never have one. False in the constructor.
  bool HasEnded() const { return begun_ && connection_ == nullptr; }

 private:
  friend class Connection;
  void OnEndedByFailure() final;
  Answer WriteBytes(std::string_view bytes);
  // Where a call goes while there is no connection yet; nullptr: there is one, or it has ended.
  EarlyCalls* Early();
  void AbortUnlessTaken(Answer answer) {
    if (answer != Answer::kAccepted && answer != Answer::kClosed) Abort(CloseReason::kMemory);
  }

  // For the line at its end.
  struct Traffic {
    int64_t in_bytes = 0;   // Received.
    int64_t out_bytes = 0;  // Taken by the kernel.
  };

  Connection* connection_ = nullptr;
  std::unique_ptr<Traffic> traffic_;   // Null, unless debug was logged when it was connected.
  std::unique_ptr<EarlyCalls> early_;  // Null, unless its constructor has called something.
  CloseReason close_reason_ = CloseReason::kClosed;
  bool begun_ = false;     // It has been given its connection, or will never have one.
  int asks_in_order_ = 0;  // Open ones.
};

// Makes a session in a slot: what Listen<S> and Connect<S> captured.
using SessionFactory = std::function<void(Worker&, Slot*)>;

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SESSION_H_
