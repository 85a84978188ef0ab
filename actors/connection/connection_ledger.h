// ConnectionLedger counts what became of connections and of the bytes that sessions wrote:
// opened = open + closed (by reason), accepted = sent to the kernel + lost + held.
//
// Owner:  the Runtime (an attachment); a cell for each worker.
// Thread: only its worker writes a cell. Any thread may read: a moment old.
// Bound:  a cell of four cache lines for each worker.
// Errors: none; a sum that does not add up is a broken invariant of Connection.
#ifndef SLUICE_ACTORS_CONNECTION_CONNECTION_LEDGER_H_
#define SLUICE_ACTORS_CONNECTION_CONNECTION_LEDGER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/base/language.h"
#include "sluice/core/base/log_limit.h"

namespace sluice {

class Worker;

// Why a connection ended. Each ends once, with one of these.
enum class CloseReason : uint8_t {
  kClosed,         // This side closed it, and all output was handed over.
  kPeerClosed,     // The peer ended its side first; then this side closed.
  kReset,          // The peer reset it, or was gone when we wrote.
  kAborted,        // This side reset it.
  kFailed,         // The session threw.
  kIdle,           // idle_timeout
  kLifetime,       // lifetime_timeout
  kHalfClosed,     // half_closed_timeout: one side had ended, the other did not.
  kWriteStalled,   // write_stalled_timeout: the peer took none of the output that waited.
  kLingered,       // Closed by this side; the peer did not end its own in time, or sent too much.
  kDeadPeer,       // No answer to probes or data (keepalive, unacknowledged_timeout).
  kSlow,           // A slow subscriber (SlowPolicy::kDisconnect, or park_timeout).
  kMemory,         // No memory for bytes that the connection had to hold.
  kRefused,        // The limit of connections, of actors or of descriptors.
  kConnectFailed,  // An outgoing connection was refused or timed out.
  kShutdown,       // The drain's deadline passed.
  kError,          // Any other error of the socket.
  kShed,        // Memory stayed spent; of the connections with a stalled peer this one held most.
  kEvicted,     // At the limit: the longest idle one made room for a newcomer.
  kInputFull,   // The peer sent a frame longer than its session may keep (OnInputFull).
  kOutputFull,  // WriteOrAbort had no room: more than output_bytes_max would have waited.
  kSilent,      // The peer sent nothing for the time of SetReceiveTimeout.
  kFileFailed,  // A file of SendFile could not be read, or ended before its range.
};
inline constexpr int kCloseReasonCount = 23;
std::string_view CloseReasonName(CloseReason reason);

class ConnectionLedger {
 public:
  class Counter {  // A counter has one writer. Relaxed: no other data hangs on it.
   public:
    void Add(int64_t n) {
      value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    int64_t Get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<int64_t> value_{0};
  };
  struct alignas(64) Cell {
    Counter opened;
    std::array<Counter, kCloseReasonCount> closed;
    Counter bytes_read;
    Counter bytes_discarded;  // Read after this side's close: no session took them.
    Counter bytes_accepted;   // Taken by Write and SendFile.
    Counter bytes_sent;       // Taken by the kernel.
    Counter bytes_lost;       // Accepted, but not sent when the connection ended.
    Counter accept_errors;    // EMFILE and similar.
    // Counts the end of a connection that was never established.
    void CountNeverStood(CloseReason reason) {
      opened.Add(1);
      closed[static_cast<size_t>(reason)].Add(1);
    }
  };
  struct Totals {
    int64_t opened = 0;
    std::array<int64_t, kCloseReasonCount> closed{};
    int64_t bytes_read = 0;
    int64_t bytes_discarded = 0;  // A part of bytes_read.
    int64_t bytes_accepted = 0;
    int64_t bytes_sent = 0;
    int64_t bytes_lost = 0;
    int64_t accept_errors = 0;
    int64_t ClosedTotal() const;
    int64_t Open() const { return opened - ClosedTotal(); }
    int64_t BytesHeld() const { return bytes_accepted - bytes_sent - bytes_lost; }
    std::string ToString() const;
  };

  explicit ConnectionLedger(int workers) : cells_(static_cast<size_t>(workers)) {}
  LogLimit& Limit(CloseReason reason) { return limits_[static_cast<size_t>(reason)]; }
  Cell& At(int worker) { return cells_[static_cast<size_t>(worker)]; }
  Totals Sum() const;
  std::string Report() const { return Sum().ToString(); }
  // Rates since the last call, `past_ns` ago. For the runtime's dump, which makes one call at a
  // time.
  std::string Rates(int64_t past_ns);

 private:
  Totals rated_;  // The next Rates() counts from here.
  std::vector<Cell> cells_;
  std::array<LogLimit, kCloseReasonCount> limits_;  // Log limits, shared by all workers.
};

// Limits how often an end for `reason` is logged. For failures only: it takes a lock.
LogLimit& LimitOf(Worker& worker, CloseReason reason);

// The cell of this worker.
ConnectionLedger::Cell& CountersOf(Worker& worker);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_CONNECTION_LEDGER_H_
