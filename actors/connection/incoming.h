// Incoming is the input side of a connection: what is known of the socket's input, bytes that the
// session did not take yet, and why nothing is read.
//
// Owner:  the Connection, which reads and calls the session.
// Thread: the worker's.
// Bound:  kept bytes: input_bytes_max and one read; charged to a lease.
// Errors: false: there is no memory for bytes that have to be kept.
#ifndef SLUICE_ACTORS_CONNECTION_INCOMING_H_
#define SLUICE_ACTORS_CONNECTION_INCOMING_H_

#include <sys/epoll.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/core/base/plant.h"
#include "sluice/core/memory/buffer.h"

namespace sluice {

class Incoming {
 public:
  Incoming(int64_t now_ms, int64_t bytes_max)
      : received_ms_(now_ms), input_bytes_max_(static_cast<uint32_t>(bytes_max)) {}

  // --- What is known of the socket.

  // Notes events of the poller. True: the peer's end is known from now on.
  bool NoteEvents(uint32_t events) {
    if ((events & kReadEvents) != 0) readable_ = true;
    return (events & kExceptional) != 0 && NoteExceptional(events);
  }
  // There may be bytes to read, though no event says so.
  void SetReadable() { readable_ = true; }
  // All that had come was read.
  void SetEmpty() { readable_ = false; }
  bool Readable() const { return readable_; }
  // True: a read that is shorter than asked for has left nothing, if the stream says the same.
  bool ShortReadMeansEmpty() const {
    SLUICE_PLANT(short_read_after_hang_up, return true);
    return !exceptional_;
  }
  // True: the socket has an error that no read has reported yet.
  bool ErrorReported() const { return error_reported_; }
  void ForgetError() { error_reported_ = false; }

  // --- The peer's end of its side.

  void ReadEnd();
  // Requires: ReadEnded().
  void ToldEof();
  // The session is told once more. Requires: EofTold().
  void RepeatEof();
  // True: the peer's FIN is known of; unread bytes may precede it.
  bool EndKnown() const { return end_ != End::kNone; }
  bool ReadEnded() const { return end_ >= End::kRead; }
  bool EofTold() const { return end_ == End::kTold; }

  // --- Kept bytes.

  bool Empty() const { return input_.Empty(); }
  size_t size() const { return input_.size(); }
  // A session that sees these bytes may rely on them while it runs: nothing clears them in its
  // handlers.
  std::string_view view() const { return input_.view(); }
  int64_t ChargedBytes() const { return input_.ChargedBytes(); }
  void SetBytesMax(size_t bytes) {
    input_bytes_max_ = static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX));
  }
  size_t BytesMax() const { return input_bytes_max_; }
  bool Full() const { return input_.size() >= input_bytes_max_; }
  // Puts `fresh` behind the kept bytes, if any are kept.
  [[nodiscard]] bool Join(std::string_view fresh, Lease& lease) {
    return input_.Empty() || fresh.empty() || input_.Append(fresh, lease, Charging::kOverdraft);
  }
  // The bytes to offer, after Join(fresh).
  std::string_view Offered(std::string_view fresh) const {
    return input_.Empty() ? fresh : input_.view();
  }
  // The session has left the bytes `left` of the `offered`, at their end. Keeps them.
  [[nodiscard]] bool Keep(std::string_view left, size_t offered, Lease& lease) {
    if (!input_.Empty()) {
      input_.Consume(offered - left.size(), lease);
      return true;
    }
    return left.empty() || input_.Append(left, lease, Charging::kOverdraft);
  }
  // The kept bytes are not needed any more.
  void Clear(Lease& lease) { input_.Clear(lease); }
  // Kept input is offered again when the session may go on, before more is read.
  bool OfferAgain() const { return offer_again_; }
  void SetOfferAgain(bool again) { offer_again_ = again; }

  // --- The session's share of a turn, in OnData.

  void BeginOffer() { frames_ = Frames::kFirst; }
  void EndOffer() { frames_ = Frames::kNone; }
  // True: the session may take a frame whatever the time, as OnData does not run, or was allowed
  // none yet.
  bool AllowsFrame() {
    if (frames_ == Frames::kNone) return true;
    if (frames_ != Frames::kFirst) return false;
    frames_ = Frames::kMore;
    return true;
  }
  // Notes whether the share of the turn is over.
  void NoteTurn(bool over) { frames_ = over ? Frames::kOver : Frames::kMore; }
  bool TurnOver() const { return frames_ == Frames::kOver; }

  // True: nothing but a read may be due.
  bool OnlyReads() const { return !offer_again_ && end_ == End::kNone && !error_reported_; }

  // --- Reasons not to read.

  // Until it is resumed, when the session holds it no more.
  void Pause() { paused_ = true; }
  void Resume() { paused_ = false; }
  bool Paused() const { return paused_; }
  // The last answer was much longer than its question.
  bool Amplifies() const { return amplifies_; }
  void SetAmplifies(bool amplifies) { amplifies_ = amplifies; }

  // The last byte received. A drain restarts it.
  int64_t ReceivedMs() const { return received_ms_; }
  void SetReceivedMs(int64_t ms) { received_ms_ = ms; }

  void CheckInvariants() const;

 private:
  static constexpr uint32_t kExceptional = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  static constexpr uint32_t kReadEvents = EPOLLIN | kExceptional;
  enum class End : uint8_t { kNone, kKnown, kRead, kTold };
  enum class Frames : uint8_t {
    kNone,   // OnData does not run.
    kFirst,  // OnData runs, and has asked for no frame yet.
    kMore,   // OnData was allowed a frame already.
    kOver,   // OnData was told that its share of the turn is over.
  };

  bool NoteExceptional(uint32_t events);

  InputBuffer input_;
  int64_t received_ms_;
  uint32_t input_bytes_max_;
  // These share two bytes, to keep an idle connection small.
  bool readable_ : 1 = false;
  bool exceptional_ : 1 = false;     // PRI, RDHUP, HUP or ERR came once: short reads prove nothing.
  bool error_reported_ : 1 = false;  // ERR came, and no read has reported the error yet.
  bool paused_ : 1 = false;
  bool offer_again_ : 1 = false;
  bool amplifies_ : 1 = false;
  End end_ : 2 = End::kNone;
  Frames frames_ : 2 = Frames::kNone;
};
static_assert(sizeof(Incoming) == 24);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_INCOMING_H_
