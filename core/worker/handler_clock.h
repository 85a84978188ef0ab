// HandlerClock is a worker's time: the clock as it was last read, the share of a turn that the
// running work still has, and the handlers that ran since the clock was read. It reports handlers
// that hold the worker.
//
// The clock is not read for each handler. Handlers that together take kGroupNs share one look; the
// size of the next group follows from the time of the last one. A slow group names all handlers
// that ran in it, and for a while each handler is then timed alone.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  kGroupHandlersMax handlers between two looks.
// Errors: none.
#ifndef SLUICE_CORE_WORKER_HANDLER_CLOCK_H_
#define SLUICE_CORE_WORKER_HANDLER_CLOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/os/os.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class HandlerClock {
 public:
  static constexpr size_t kGroupHandlersMax = 32;

  HandlerClock(Os& os, int worker, absl::Duration slow_handler);

  // The time when the clock was last read: in a turn, a moment ago.
  int64_t NowNs() const { return now_ns_; }
  int64_t NowMs() const { return now_ms_; }
  // The latest time that `ms`, an earlier NowMs(), may stand for. Where a handler took long between
  // two looks, or the process was stopped, an event that was noted at the first look may have
  // happened up to the second. (Only the last such gap is known.)
  int64_t NotedMs(int64_t ms) const { return ms == gap_from_ms_ ? gap_until_ms_ : ms; }

  // The work that begins now has `ns` of this turn.
  void BeginShare(int64_t ns) { share_end_ns_ = now_ns_ + ns; }
  bool ShareOver() const { return now_ns_ >= share_end_ns_; }

  // A handler has run: `what` is nullptr for a message, of which `of` is the MessageOps; else `of`
  // is the actor's type (mangled) where the actor may be gone, or nullptr. True: it is time to read
  // the clock.
  bool Note(const Slot* slot, const char* what, const void* of) {
    noted_[noted_count_++] = {slot, what, of};
    return noted_count_ >= noted_max_;
  }
  bool HasNoted() const { return noted_count_ > 0; }
  // The next handler is timed alone.
  void TimeNextAlone() { noted_max_ = 1; }
  void WillSleep() { ++sleeps_; }
  // `slept`: the worker waited in the poller since the last look, so the time between is no gap.
  // Answers how many groups were reported as slow: 0 or 1.
  int Read(bool slept);

 private:
  struct Noted {
    const Slot* slot;
    const char* what;
    const void* of;
  };
  int ReportSlow(int64_t ns);
  static std::string NameOf(const Noted& noted);

  Os& os_;
  const int worker_;
  const int64_t slow_handler_ns_;
  int64_t now_ns_;
  int64_t now_ms_;  // The same: it is asked for several times in a handler, and read seldom.
  int64_t share_end_ns_ = 0;
  std::array<Noted, kGroupHandlersMax> noted_{};
  size_t noted_count_ = 0;
  // The size at which a group ends. 1 after each poll; doubled after a group that took at most half
  // of kGroupNs, reduced after a group that took longer than kGroupNs; 1 for kExactNs after a slow
  // handler, so that the next slow handler is named alone.
  size_t noted_max_ = 1;
  int64_t exact_until_ns_ = 0;
  int64_t processor_ns_ = 0;  // This thread's processor time at processor_look_ns_...
  ThreadSwitches switches_;   // ...and how often it had waited by then.
  int64_t sleeps_ = 0;        // The most waits in the poller since processor_look_ns_.
  int64_t processor_look_ns_ = -1'000'000'000;
  int64_t gap_from_ms_ = -1;  // The last long gap between two looks in a turn.
  int64_t gap_until_ms_ = -1;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_HANDLER_CLOCK_H_
