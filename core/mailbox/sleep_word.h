// SleepWord decides who writes a sleeping worker's eventfd: exactly one sender for each sleep, none
// while the worker is awake.
//
// Owner:  the worker that sleeps.
// Thread: FallAsleep and WakeUp the worker's; Rouse and LooksAsleep any sender's.
// Bound:  one signal for each FallAsleep.
// Errors: none.
//
// The protocol, with no lost wake-up:
//   worker: FallAsleep(), then one real dequeue attempt on every lane; nothing there: epoll_wait.
//   sender: enqueue, then Rouse(); true: write the eventfd.
// Proof: both sides use a read-modify-write on the same word, so one comes first in its
// modification order. Rouse first: FallAsleep reads a value of Rouse's release sequence, acquires,
// and the dequeue attempt that follows sees the message. FallAsleep first: Rouse reads `asleep` and
// signals. A plain load in place of Rouse may read a stale `awake` while the enqueue waits in the
// store buffer: a lost wake-up (tests/model/sleep_word_model_test.cc finds it).
#ifndef SLUICE_CORE_MAILBOX_SLEEP_WORD_H_
#define SLUICE_CORE_MAILBOX_SLEEP_WORD_H_

#include <cstdint>

#include "sluice/core/base/atomics.h"

namespace sluice {

template <class Atomics = StdAtomics>
class SleepWord {
 public:
  void FallAsleep() { word_.exchange(kAsleep, std::memory_order_acq_rel); }
  void WakeUp() { word_.exchange(kAwake, std::memory_order_acq_rel); }
  // True: the worker slept and the caller must signal it.
  [[nodiscard]] bool Rouse() {
    return word_.exchange(kAwake, std::memory_order_acq_rel) == kAsleep;
  }
  // A hint, nothing else: a sender that reads true may Rouse() early; one that reads false still
  // must later.
  bool LooksAsleep() const { return word_.load(std::memory_order_relaxed) == kAsleep; }

 private:
  static constexpr uint32_t kAwake = 0;
  static constexpr uint32_t kAsleep = 1;
  // Partners: the worker's exchanges and the senders'. Acquire-release: see the proof above.
  typename Atomics::template Atomic<uint32_t> word_{kAwake};
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_SLEEP_WORD_H_
