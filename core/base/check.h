// SLUICE_CHECK ends the process when an invariant of our own is broken.
//
// Owner:  none.
// Thread: any.
// Bound:  one line on stderr, then abort().
// Errors: the process ends; never used for what a peer, a flag or the kernel can cause.
#ifndef SLUICE_CORE_BASE_CHECK_H_
#define SLUICE_CORE_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

#include "sluice/core/base/language.h"

// SLUICE_CHECK(condition) and SLUICE_CHECK(condition, "message") end the process when `condition`
// is false: a broken invariant of our own, never something a peer or a flag can cause.
// They stay on in every build; `condition` is evaluated once. The message is a `const char*`,
// evaluated only on failure.
#define SLUICE_CHECK(condition, ...)                                                              \
  do {                                                                                            \
    if (!(condition)) [[unlikely]] {                                                              \
      ::sluice::internal::CheckFailed(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
    }                                                                                             \
  } while (false)

namespace sluice::internal {

// No log here: the log may be what is broken. stderr is unbuffered, and one call keeps the line
// whole.
[[noreturn, gnu::cold, gnu::noinline]] inline void CheckFailed(const char* file, int line,
                                                               const char* condition,
                                                               const char* message = nullptr) {
  std::fprintf(stderr, "%s:%d: SLUICE_CHECK(%s) failed%s%s\n", file, line, condition,
               message == nullptr ? "" : ": ", message == nullptr ? "" : message);
  std::abort();
}

}  // namespace sluice::internal

#endif  // SLUICE_CORE_BASE_CHECK_H_
