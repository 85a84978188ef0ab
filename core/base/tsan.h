// TsanRelease and TsanAcquire tell ThreadSanitizer of a hand-over that it cannot see.
//
// Owner:  none.
// Thread: the one that hands over, and the one that takes.
// Bound:  nothing at all in builds without ThreadSanitizer.
// Errors: none.
#ifndef SLUICE_CORE_BASE_TSAN_H_
#define SLUICE_CORE_BASE_TSAN_H_

#include "sluice/core/base/language.h"

// ThreadSanitizer does not see atomic_thread_fence, and moodycamel's queue orders its accesses
// with fences: each item handed over would be reported as a race. Both sides of such a hand-over
// name the same address: TsanRelease before the item is published, TsanAcquire after it is taken.
// This says no more than the fences do, so real races around the queue are still reported
// (a suppression of everything with moodycamel on its stack would hide them).

#if defined(__SANITIZE_THREAD__)  // gcc
#define SLUICE_TSAN 1
#elif defined(__has_feature)  // clang
#if __has_feature(thread_sanitizer)
#define SLUICE_TSAN 1
#endif
#endif
#ifndef SLUICE_TSAN
#define SLUICE_TSAN 0
#endif

#if SLUICE_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

// For a function with accesses that must not be reported.
#if SLUICE_TSAN
#define SLUICE_TSAN_SKIPS __attribute__((no_sanitize("thread")))
#else
#define SLUICE_TSAN_SKIPS
#endif

namespace sluice {

// All that this thread did so far happens before what follows a TsanAcquire of the same address.
inline void TsanRelease([[maybe_unused]] void* address) {
#if SLUICE_TSAN
  __tsan_release(address);
#endif
}

inline void TsanAcquire([[maybe_unused]] void* address) {
#if SLUICE_TSAN
  __tsan_acquire(address);
#endif
}

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_TSAN_H_
