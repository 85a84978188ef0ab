// The atomics policy of the words that threads share (mailbox, sleep, lane gate). The program uses
// std::atomic; the explorer in tests/model passes its own, which tries every interleaving and
// delays stores as a processor's store buffer does, so that the model checks the very class that
// runs.
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

struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
};

// A field that its owner alone writes, and that any thread may read: a plain load and store on
// every machine that we know. Relaxed: nothing else hangs on what a reader finds, unless it says
// why.
template <class T>
class OwnerWritten {
 public:
  OwnerWritten(T value = T()) : value_(value) {}  // Implicit: it stands for a T.
  OwnerWritten(const OwnerWritten&) = delete;
  OwnerWritten& operator=(const OwnerWritten&) = delete;
  OwnerWritten& operator=(T value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  operator T() const { return value_.load(std::memory_order_relaxed); }
  T operator->() const requires std::is_pointer_v<T> { return *this; }
  // Whoever finds this value by LoadAcquire() sees what its owner wrote before.
  void StoreRelease(T value) { value_.store(value, std::memory_order_release); }
  T LoadAcquire() const { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<T> value_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_ATOMICS_H_
