// The atomics policy of the words that threads share (mailbox, sleep, lane gate). The program uses
// std::atomic; the explorer in tests/model passes its own, which tries every interleaving and
// delays stores as a processor's store buffer does, so that the model checks the very class that
// runs.
//
// Owner:  none; types only.
// Thread: as each word says.
// Bound:  none of its own.
// Errors: none.
#ifndef SLUICE_CORE_ATOMICS_H_
#define SLUICE_CORE_ATOMICS_H_

#include <atomic>

#include "sluice/core/language.h"

namespace sluice {

struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
};

}  // namespace sluice

#endif  // SLUICE_CORE_ATOMICS_H_
