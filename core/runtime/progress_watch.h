// ProgressWatch tells a worker that a handler holds from one that the machine is slow to run: after
// a drain's deadline, the first must not be waited for, and the second must.
//
// Owner:  the coordinator of a drain.
// Thread: the coordinator's.
// Bound:  a few words for each worker.
// Errors: none.
//
// A worker is still when look after look finds the same mark of it: no turn has begun, and no other
// handler runs. What counts is the time between looks, but at most kLookMsMost for each: a process
// that stood still itself, or a machine that gives it little time, brings few looks.
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
  static constexpr int64_t kStillMs = 1'000;  // So long without progress: it is held.
  static constexpr int64_t kLookMsMost = 10;
  static constexpr int64_t kAllMs = 60'000;  // Progress that has no end is not waited for either.

  struct Mark {  // What a worker does; another one means progress.
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
  // One look. `mark_of(i)` answers the mark of worker i.
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
  // No worker makes progress any more, or all of them took too long.
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
