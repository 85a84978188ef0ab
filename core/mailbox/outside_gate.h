// State that outside threads (threads that are no workers) share with the coordinator of a drain.
// OutsideGate: may they still send, and how much have they sent? AwaitedFunctions: how many
// blocking functions does the drain wait for?
//
// Owner:  OutsideGate the Runtime; AwaitedFunctions the blocking pool's state, which a thread that
//         is left behind keeps.
// Thread: as marked.
// Bound:  a few words.
// Errors: none: a thread that may not send answers closed.
//
// A drain refuses outside threads from its first moment, but waits for each blocking function that
// was accepted. So such a function may send until it has ended. Its thread's order: for each
// message CountSent(), then enqueue; then the same for its reply; then Ended(). The coordinator
// reads Count() first, then Sent(), then it looks at the workers (rest.h). Proof that the drain
// does not end too early: a Count() of 0 acquires what each Ended() released (read-modify-writes of
// one word continue each other's release). So Sent() includes all that these functions have sent,
// and RestWatch counts each message as on its way until a worker has taken it.
#ifndef SLUICE_CORE_MAILBOX_OUTSIDE_GATE_H_
#define SLUICE_CORE_MAILBOX_OUTSIDE_GATE_H_

#include <cstdint>

#include "sluice/core/base/atomics.h"

namespace sluice {

template <class Atomics = StdAtomics>
class OutsideGate {
 public:
  // The coordinator's, in this order.
  void BeginDrain() { phase_.store(kDraining, std::memory_order_release); }
  void Shut() { phase_.store(kShut, std::memory_order_release); }  // Refuses functions, too.
  int64_t Sent() const { return sent_.load(std::memory_order_relaxed); }

  // Any thread's. `awaited()`: does this thread run a function that the drain waits for?
  template <class F>
  bool Admits(F&& awaited) const {
    const uint32_t phase = phase_.load(std::memory_order_acquire);
    return phase == kOpen || (phase == kDraining && awaited());
  }
  // Has the drain's deadline passed? From then on no actor without a parent is placed.
  bool IsShut() const { return phase_.load(std::memory_order_acquire) == kShut; }
  bool Draining() const { return phase_.load(std::memory_order_acquire) != kOpen; }
  // Before a worker can take it.
  void CountSent() { sent_.fetch_add(1, std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kOpen = 0;
  static constexpr uint32_t kDraining = 1;
  static constexpr uint32_t kShut = 2;

  // The coordinator stores, senders load. Release and acquire: a thread that is refused knows what
  // the program did before it began the drain.
  typename Atomics::template Atomic<uint32_t> phase_{kOpen};
  // Senders add, the coordinator loads. Relaxed: for functions AwaitedFunctions orders it, for
  // other threads RestWatch looks twice.
  typename Atomics::template Atomic<int64_t> sent_{0};
};

template <class Atomics = StdAtomics>
class AwaitedFunctions {
 public:
  // The worker's, before it hands the function over. Relaxed: the worker rests only after that, so
  // a coordinator that finds it at rest sees this count, too.
  void Accepted() { count_.fetch_add(1, std::memory_order_relaxed); }
  // For the thread that answered for the function, after it has sent the answer. Partner: Count().
  void Ended() { count_.fetch_sub(1, std::memory_order_release); }
  // The coordinator's; and any thread's, for figures.
  int64_t Count() const { return count_.load(std::memory_order_acquire); }

 private:
  typename Atomics::template Atomic<int64_t> count_{0};
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_OUTSIDE_GATE_H_
