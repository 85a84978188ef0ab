// Deadlines are the times from which a connection's timeouts count, and the order in which they are
// judged. All of them share one timer. The timer is armed for the earliest, and looks again when it
// fires, so that a read or a write costs no re-arming.
//
// Owner:  the Connection, which has the timer and acts on what is due.
// Thread: the worker's.
// Bound:  40 bytes.
// Errors: none. A timeout of infinity is never due.
#ifndef SLUICE_ACTORS_CONNECTION_DEADLINES_H_
#define SLUICE_ACTORS_CONNECTION_DEADLINES_H_

#include <cstdint>

#include "absl/time/time.h"
#include "sluice/core/os/options.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

class Deadlines {
 public:
  // The timeouts of a connection that is connected, in the order in which they are judged.
  enum class Due : uint8_t {
    kNothing,
    kLifetime,
    kClose,
    kLinger,
    kDrainSilence,  // In a drain, the peer's input is over.
    kLook,          // Look whether the peer answers.
    kFetch,         // Asks the blocking pool again for a chunk of a file.
    kWriteStalled,
    kIdle,
    kSilent,  // The peer has sent nothing (Session::SetReceiveTimeout).
    kHalfClosed,
  };
  // State of the other parts that the deadlines depend on.
  struct Facts {
    const Options& options;
    int64_t active_ms;    // ActiveMs(), and when the last byte was received, as the worker has
    int64_t received_ms;  // noted them (Worker::NotedMs).
    int64_t stalled_ms;   // Since then output waits without progress; -1: none waits.
    int64_t silent_ms;    // When the peer has been silent for too long; kNever: no limit.
    int64_t look_ms;      // When to look whether the peer answers; kNever: not yet.
    bool closing;         // The session has closed or ended.
    bool lingering;       // Input is read and discarded.
    bool draining;
    bool drain_reads;                       // Input that was sent before a drain is still read.
    bool half_closed;                       // One side has ended, and the other has not.
    int64_t fetch_ms = TimerWheel::kNever;  // When to ask the pool again; kNever: not due.
  };

  explicit Deadlines(int64_t now_ms) : opened_ms_(now_ms), active_ms_(now_ms) {}

  // When the next one is due; kNever: none.
  int64_t NextMs(const Facts& facts) const;
  // The first that is due.
  Due DueAt(int64_t now_ms, const Facts& facts) const;

  int64_t OpenedMs() const { return opened_ms_; }
  // The last byte received, sent, or seen to be taken by the peer.
  int64_t ActiveMs() const { return active_ms_; }
  void SetActive(int64_t now_ms) { active_ms_ = now_ms; }
  // The session has closed now, or has closed before the connect that is done now, or before the
  // chunk of a file that has left now.
  void BeginClose(int64_t now_ms) { closing_ms_ = now_ms; }
  // When the close times out; kNever: it does not.
  int64_t CloseMs(const Options& options) const;
  // One side has ended. Requires: the connection does not linger.
  void BeginHalfClosed(int64_t now_ms) { half_closed_ms_ = now_ms; }
  // A drain reads until the peer was silent for `quiet_ms`. Requires: the connection does not
  // linger.
  void BeginDrain(int64_t quiet_ms) { drain_quiet_ms_ = static_cast<uint32_t>(quiet_ms); }

  void BeginLinger(int64_t now_ms) {
    discarded_bytes_ = 0;
    lingering_ms_ = now_ms;
  }
  // The time of the lingering counts from now. Requires, as for all below: the connection lingers.
  void RestartLinger(int64_t now_ms) { lingering_ms_ = now_ms; }
  void Discard(int64_t bytes) { discarded_bytes_ += static_cast<uint32_t>(bytes); }
  uint32_t DiscardedBytes() const { return discarded_bytes_; }
  // True: the peer goes on sending, and so much was discarded that this side gives up on it.
  bool DiscardedTooMuch() const;

  // Looks for signs of life of the peer, in seconds. 0: none is due until more is written.
  void SetLooked(int64_t now_ms) { looked_s_ = static_cast<uint32_t>(now_ms / 1'000); }
  void StopLooking() { looked_s_ = 0; }
  bool Looking() const { return looked_s_ != 0; }
  // The last look, or the write that made it due. Looks are at full seconds, so that those of many
  // connections share a wake-up.
  int64_t LookedMs() const { return int64_t{looked_s_} * 1'000; }

 private:
  template <class F>
  void ForEach(const Facts& facts, F&& f) const;

  const int64_t opened_ms_;
  int64_t active_ms_;
  int64_t closing_ms_ = 0;
  // A connection that lingers is not half-closed any more, and reads nothing for a drain: the state
  // of the write side (Outgoing::Lingering) says which member is alive.
  union {
    int64_t half_closed_ms_ = 0;
    int64_t lingering_ms_;
  };
  union {
    uint32_t drain_quiet_ms_ = 0;
    uint32_t discarded_bytes_;
  };
  uint32_t looked_s_ = 0;
};
static_assert(sizeof(Deadlines) == 40);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_DEADLINES_H_
