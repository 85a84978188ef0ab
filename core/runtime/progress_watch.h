// ProgressWatch tells apart a worker that a handler holds and a worker that the machine runs
// slowly. After a drain's deadline, the drain must not wait for the first, and must wait for the
// second.
//
// Owner:  the coordinator of a drain.
// Thread: the coordinator's.
// Bound:  a few words for each worker.
// Errors: none.
//
// A worker is still while look after look finds the same mark: no turn has begun, and no other
// handler runs. The time between two looks counts, but at most kLookMsMost: if the process itself
// was stopped, or gets little time from the machine, there are few looks.
#ifndef SLUICE_CORE_RUNTIME_PROGRESS_WATCH_H_
#define SLUICE_CORE_RUNTIME_PROGRESS_WATCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/core/base/language.h"

namespace sluice {

class ProgressWatch {
 public:
  static constexpr int64_t kStillMs = 1'000;  // A worker without progress for this time is held.
  static constexpr int64_t kLookMsMost = 10;
  static constexpr int64_t kAllMs = 60'000;  // The drain waits no longer, even with progress.

  struct Mark {  // A worker's state; another one means progress.
    int64_t steps = 0;
    const void* slot = nullptr;
    const void* message = nullptr;
    const void* handler = nullptr;
    friend bool operator==(const Mark&, const Mark&) = default;
  };

  void Begin(size_t workers, int64_t now_ms) {
    seen_.assign(workers, {});
    looked_ms_ = now_ms;
    all_ms_ = 0;
  }
  // Looks once. `mark_of(i)` answers the mark of worker i.
  template <class MarkOf>
  void Look(int64_t now_ms, MarkOf mark_of) {
    const int64_t passed_ms = std::clamp<int64_t>(now_ms - looked_ms_, 0, kLookMsMost);
    looked_ms_ = now_ms;
    all_ms_ += passed_ms;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const Mark mark = mark_of(i);
      seen_[i].still_ms = mark == seen_[i].mark ? seen_[i].still_ms + passed_ms : 0;
      seen_[i].mark = mark;
    }
  }
  // No worker makes progress any more, or kAllMs have passed since Begin().
  bool Over() const {
    return all_ms_ >= kAllMs || std::all_of(seen_.begin(), seen_.end(), [](const Seen& seen) {
             return seen.still_ms >= kStillMs;
           });
  }

 private:
  struct Seen {
    Mark mark;
    int64_t still_ms = 0;
  };
  std::vector<Seen> seen_;
  int64_t looked_ms_ = 0;
  int64_t all_ms_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_RUNTIME_PROGRESS_WATCH_H_
