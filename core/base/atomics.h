// The atomics policy of the words that threads share (mailbox, sleep, lane gate). The program uses
// std::atomic. The explorer in tests/model passes its own type, which tries every interleaving and
// delays stores as a processor's store buffer does: so the model checks the very class that runs.
//
// Owner:  none; types only.
// Thread: as each word says.
// Bound:  none of its own.
// Errors: none.
#ifndef SLUICE_CORE_BASE_ATOMICS_H_
#define SLUICE_CORE_BASE_ATOMICS_H_

#include <atomic>
#include <type_traits>

#include "sluice/core/base/language.h"

namespace sluice {

// For a loop that waits for another thread's store: the processor gives its power and its shared
// units to others for some tens of cycles.
inline void PauseProcessor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
};

// A field that only its owner writes and any thread may read: a plain load and store on every
// machine that we know. Relaxed: no other data hangs on the value, unless the field's comment says
// so.
template <class T>
class OwnerWritten {
 public:
  OwnerWritten(T value = T()) : value_(value) {}  // Implicit: stands for a T.
  OwnerWritten(const OwnerWritten&) = delete;
  OwnerWritten& operator=(const OwnerWritten&) = delete;
  OwnerWritten& operator=(T value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  operator T() const { return value_.load(std::memory_order_relaxed); }
  T operator->() const requires std::is_pointer_v<T> { return *this; }
  // A thread that reads this value with LoadAcquire() sees all that the owner wrote before.
  void StoreRelease(T value) { value_.store(value, std::memory_order_release); }
  T LoadAcquire() const { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<T> value_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_ATOMICS_H_
