// Outgoing is the output side of a connection: bytes that the kernel did not take yet, the life of
// the write side, the watermarks, and what is known of how the peer takes output.
//
// Owner:  the Connection, which gives the bytes to the kernel.
// Thread: the worker's.
// Bound:  output_bytes_max, with the bytes in the worker's gather buffer; charged to a lease. And
//         kRangesMax ranges of files (file_range.h).
// Errors: a failed write is noted (WriteError), and from then on nothing is accepted or sent. The
//         connection ends at the end of the slice, not in the middle of a handler.
//
//                    HalfClose()              SentFin()
//   kOpen ─────────▶ kHalfClosing ──────────▶ kHalfClosed
//     │ Close()           │ Close()                │ Close()
//     ▼                   ▼           SentFin()    ▼             Linger()
//     └────────────────▶ kClosing ──────────────▶ kFinSent ──────────────▶ kLingering
//
// End() leads from each of them to kEnded.
#ifndef SLUICE_ACTORS_CONNECTION_OUTGOING_H_
#define SLUICE_ACTORS_CONNECTION_OUTGOING_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/output_listener.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/os/options.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

// Answers whether output has room for `bytes` more behind `waiting`. Write follows this rule before
// and after there is a connection.
inline Answer OutputTakes(const Options& options, size_t waiting, size_t bytes) {
  const auto bytes_max = static_cast<size_t>(options.output_bytes_max);
  if (bytes > bytes_max) return Answer::kTooLarge;
  return waiting + bytes > bytes_max ? Answer::kFull : Answer::kAccepted;
}

// The same for a range of a file, where `ranges` wait already.
inline Answer OutputTakesFile(const SharedFile& file, int64_t offset, int64_t bytes, int ranges) {
  if (!FileRange::Valid(file, offset, bytes)) return Answer::kInvalid;
  return ranges >= FileRange::kRangesMax ? Answer::kFull : Answer::kAccepted;
}

class Outgoing {
 public:
  // --- The life of the write side.

  bool Open() const { return side_ == Side::kOpen; }
  // True: no more writes are accepted; queued output is still sent, then our FIN.
  bool FinDue() const { return side_ == Side::kHalfClosing || side_ == Side::kClosing; }
  // True: our FIN is sent, and this side does not linger.
  bool FinSent() const { return side_ == Side::kHalfClosed || side_ == Side::kFinSent; }
  // True: the session has closed or ended: it gets no more input.
  bool Closing() const { return side_ >= Side::kClosing; }
  bool Lingering() const { return side_ == Side::kLingering; }
  // Ends the write side only. True: it was open until now.
  bool HalfClose();
  // Ends both sides, as far as the session is concerned. True: the write side was open until now.
  bool Close();
  void SentFin();  // Requires: FinDue().
  // From now on input is read and discarded. Requires: FinSent() and Closing().
  void Linger(int64_t now_ms);
  void End() { side_ = Side::kEnded; }
  // The reason with which the connection ends when the write side is done.
  CloseReason close_reason() const { return close_reason_; }
  void SetCloseReason(CloseReason reason) { close_reason_ = reason; }

  // --- Output. `gathered` counts the bytes that wait in the worker's gather buffer.

  // Answers whether `bytes` more are accepted.
  Answer MayWrite(const Options& options, size_t gathered, size_t bytes) {
    if (!Open() || write_error_ != 0) return Answer::kClosed;
    const Answer answer = OutputTakes(options, output_.size() + gathered, bytes);
    if (answer == Answer::kFull) wants_writable_ = true;
    return answer;
  }
  OutputQueue& queue() { return output_; }
  bool Empty() const { return output_.Empty(); }
  size_t size() const { return output_.size(); }
  // Keeps accepted bytes that the kernel did not take. Without memory for them the stream has a
  // hole, and the write side fails. Answers the number of bytes that are lost.
  int64_t Keep(std::string_view bytes, Lease& lease);
  // --- Ranges of files among the output. While one waits, the output is high.

  Answer MaySendFile(const SharedFile& file, int64_t offset, int64_t bytes) {
    if (!Open() || write_error_ != 0) return Answer::kClosed;
    const Answer answer = OutputTakesFile(file, offset, bytes, ranges_);
    if (answer == Answer::kFull) wants_writable_ = true;
    return answer;
  }
  [[nodiscard]] bool AppendFile(const SharedFile& file, int64_t offset, int64_t bytes,
                                Lease& lease);
  // Takes over output from before there was a connection, with `ranges` in it.
  void TakeFrom(OutputQueue& early, int ranges);
  bool HasFiles() const { return ranges_ > 0; }
  int64_t FileBytes() const { return HasFiles() ? output_.PartBytes() : 0; }
  // nullptr: no range is at the front.
  FileRange* FrontFile() const { return static_cast<FileRange*>(output_.FrontPart()); }
  // Requires: a range is at the front.
  void SentOfFile(int64_t bytes, Lease& lease) {
    if (output_.ConsumePart(bytes, lease)) --ranges_;
    stalled_ms_ = -1;
  }
  bool WaitsForDisk() const { return HasFiles() && FrontFile() != nullptr && FrontFile()->Waits(); }
  // When a range at the front asks the pool again; kNever: it does not.
  int64_t FileRetryMs() const {
    return HasFiles() && FrontFile() != nullptr ? FrontFile()->RetryMs() : TimerWheel::kNever;
  }

  // The worker's gather buffer holds output of this connection.
  bool Gathering() const { return gathering_; }
  void SetGathering(bool gathering) { gathering_ = gathering; }

  // True: the kernel may take bytes, as far as is known.
  bool Writable() const { return writable_; }
  void SetWritable() { writable_ = true; }
  // The kernel has taken nothing; `error`: errno, 0 if it has no room.
  void Refused(int error) {
    writable_ = false;
    if (error != 0) write_error_ = static_cast<uint8_t>(error);
  }
  int WriteError() const { return write_error_; }
  // True: kept bytes may be given to the kernel. Behind a hole (Keep) nothing may be sent: the peer
  // would take it for the missing bytes.
  bool MaySend() const {
    bool whole = write_error_ == 0;
    SLUICE_PLANT(bytes_behind_hole, whole = true);
    return !output_.Empty() && writable_ && whole;
  }
  void Sent(size_t bytes, Lease& lease) {
    output_.Consume(bytes, lease);
    SLUICE_PLANT(stall_clock_runs_on, return);
    stalled_ms_ = -1;
  }
  // Called after output grew or shrank. True: output begins to wait for the peer now.
  bool BeginsToWait(int64_t now_ms) {
    if (output_.Empty()) {
      stalled_ms_ = -1;
    } else if (stalled_ms_ < 0) {
      stalled_ms_ = now_ms;
      return true;
    }
    return false;
  }
  // Since then output waits without progress; -1: none waits, or a file waits for the disk.
  int64_t StalledMs() const { return WaitsForDisk() ? -1 : stalled_ms_; }
  // For some time output has waited for a disk, and not for the peer.
  void PostponeStall(int64_t by_ms) {
    if (stalled_ms_ >= 0) stalled_ms_ += by_ms;
  }
  // Bytes that waited for the connect begin to wait for the peer.
  void RestartStall(int64_t now_ms) {
    if (!output_.Empty()) stalled_ms_ = now_ms;
  }

  // --- Watermarks. `bytes`: all output in memory, gathered or kept.

  bool HasRoom(const Options& options, size_t bytes) const {
    return !output_high_ && bytes <= static_cast<size_t>(options.output_bytes_high) &&
           bytes < static_cast<size_t>(options.output_bytes_max);
  }
  // Notes output above the high watermark: reading for it has stopped, and resumes when output is
  // down to the low watermark.
  void NoteHigh(const Options& options, size_t bytes) {
    output_high_ |= bytes > static_cast<size_t>(options.output_bytes_high) ||
                    bytes >= static_cast<size_t>(options.output_bytes_max);
  }
  // Called when output is down to the low watermark, and has no range of a file. True, once: it was
  // high before.
  bool TakeHigh() {
    if (!output_high_) return false;
    output_high_ = false;
    return true;
  }
  // The session waits for OnWritable.
  bool WantsWritable() const { return wants_writable_; }
  void SetWantsWritable(bool wants) { wants_writable_ = wants; }

  // True: open, and nothing is to be done: no output waits, and nobody waits for room.
  bool Settled() const {
    return side_ == Side::kOpen && !output_high_ && !wants_writable_ &&
           !listeners_wait_for_memory_ && !gathering_ && write_error_ == 0 && output_.Empty() &&
           listeners_.Empty() && stalled_ms_ < 0;
  }

  // --- Listeners.

  IntrusiveList<OutputListener, ListenerTag>& listeners() { return listeners_; }
  bool ListenersHold() const;
  // Bytes of the budget: kept output, and what listeners hold back for it.
  int64_t HeldBytes() const;
  void WaitForMemory() { listeners_wait_for_memory_ = true; }
  // True, once: a listener waits for memory.
  bool TakeWaitForMemory() {
    const bool waits = listeners_wait_for_memory_;
    listeners_wait_for_memory_ = false;
    return waits;
  }

  // --- How the peer takes output.

  // Notes a look that found `bytes` unacknowledged, and answers since when that number has not
  // changed. A look before `valid_ms` does not count.
  int64_t UnacknowledgedSince(int64_t now_ms, uint32_t bytes, int64_t valid_ms);
  // The number counts as first seen now.
  void RestartUnacknowledged(int64_t now_ms) { unacknowledged_ms_ = now_ms; }

  void CheckInvariants(const Options& options, bool between_turns) const;

 private:
  enum class Side : uint8_t {
    kOpen,
    kHalfClosing,  // CloseWrite: FinDue(); reading goes on.
    kHalfClosed,   // CloseWrite: FinSent(); reading goes on.
    kClosing,      // Close: FinDue().
    kFinSent,      // Close: FinSent(); lingering follows at the end of the slice.
    kLingering,
    kEnded,
  };

  OutputQueue output_;
  IntrusiveList<OutputListener, ListenerTag> listeners_;
  int64_t stalled_ms_ = -1;
  int64_t unacknowledged_ms_ = -1;     // When the number was first seen, or last seen to change.
  uint32_t unacknowledged_bytes_ = 0;  // The peer's unacknowledged bytes at the last look.
  uint8_t write_error_ = 0;            // Linux has none above 133.
  uint8_t ranges_ = 0;                 // Ranges of files in output_.
  CloseReason close_reason_ = CloseReason::kClosed;
  // These share a byte, to keep an idle connection small.
  Side side_ : 3 = Side::kOpen;
  bool writable_ : 1 = true;
  bool output_high_ : 1 = false;
  bool wants_writable_ : 1 = false;
  bool listeners_wait_for_memory_ : 1 = false;
  bool gathering_ : 1 = false;
};
static_assert(sizeof(Outgoing) == 48);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_OUTGOING_H_
