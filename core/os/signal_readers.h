// Signals of the process as values, for any number of readers at once. A handler, which may run on
// any thread, notes the signal for each reader that asked for it, and wakes that reader.
//
// 1. The first reader of a signal sets the handler, and keeps the disposition that it found. The
//    last one restores that disposition, unless the program has set another one meanwhile.
// 2. A reader's descriptor is an eventfd that is never closed; the next reader gets it. A handler
//    that began before its reader was closed may still write there, and a closed number may be a
//    connection by then.
// 3. A forked child has no readers, and has the dispositions from before them: a signal for the
//    child alone is neither lost nor taken for its parent's. A program that the child executes has
//    them in any case, as exec resets handlers. (A blocked or ignored signal would stay so.)
//
// Owner:  the process; never destroyed.
// Thread: any. A reader is closed by the thread that opened it, as that thread's mask changes.
// Bound:  kSignalReadersMax readers; one descriptor for each of the most readers that were open at
//         once.
// Errors: -errno. -EINVAL: no such signal. -EMFILE: too many readers.
#ifndef SLUICE_CORE_OS_SIGNAL_READERS_H_
#define SLUICE_CORE_OS_SIGNAL_READERS_H_

#include <vector>

#include "sluice/core/base/language.h"

namespace sluice::internal {

inline constexpr int kSignalReadersMax = 64;

// Answers a descriptor that is readable while a signal is pending for this reader. Removes
// `signals` from the calling thread's mask: if the parent had blocked them in all threads, at least
// one thread must take them.
int OpenSignalReader(const std::vector<int>& signals);
// A pending signal, the least number first, or -EAGAIN. Several signals of one number before the
// read count as one, as they do for the kernel.
int ReadSignal(int fd);
int CloseSignalReader(int fd);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_OS_SIGNAL_READERS_H_
