// WaitCycleBook lists the wait cycles found in one runtime: each actor of a cycle may find it, and
// the first one to note it breaks it.
//
// Owner:  the runtime's Shared.
// Thread: any. The lock is held for a map's look-up.
// Bound:  kNotedMax cycles; then the book is cleared, as a cycle that still exists is found again
//         soon.
// Errors: none.
#ifndef SLUICE_CORE_SLOT_WAIT_CYCLE_BOOK_H_
#define SLUICE_CORE_SLOT_WAIT_CYCLE_BOOK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "sluice/core/base/language.h"

namespace sluice {

class WaitCycleBook {
 public:
  enum class Finding : uint8_t {
    kKnown,  // Another of its actors has noted it.
    kNew,
    kAgain,  // The same actors wait for each other again, within kLoggedAgainMs of the last log.
  };
  static constexpr size_t kNotedMax = 1'024;
  static constexpr int64_t kLoggedAgainMs = 1'000;  // A broken cycle may close again and again.

  // `actors` names the actors of the cycle, `waits` the waits that form it.
  Finding Note(const std::string& actors, const std::string& waits, const std::string& text,
               int64_t now_ms);
  int64_t Found() const { return found_.load(std::memory_order_relaxed); }
  std::string Last() const;

 private:
  mutable std::mutex lock_;
  std::string last_;
  std::set<std::string> noted_;
  std::map<std::string, int64_t> logged_ms_;  // By the cycle's actors.
  std::atomic<int64_t> found_{0};             // Relaxed: a count for figures.
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_WAIT_CYCLE_BOOK_H_
