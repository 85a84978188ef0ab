// Part is one flood of a stress run: it makes load, counts the expected results, and compares.
//
// Owner:  the run.
// Thread: the run's, for all methods; data that a part shares with workers and clients is atomic.
// Bound:  each part bounds what it has under way.
#ifndef SLUICE_TESTS_STRESS_PART_H_
#define SLUICE_TESTS_STRESS_PART_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/core/base/tsan.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/stress/laws.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLUICE_STRESS_ASAN 1
#else
#define SLUICE_STRESS_ASAN 0
#endif

namespace sluice::stress {

// Shadow memory and slow code: figures of memory mean nothing, and waiting takes longer.
inline constexpr bool kSanitized = SLUICE_TSAN != 0 || SLUICE_STRESS_ASAN != 0;
// Deadlines of a run: how long a peer or an actor may take for what it must do.
inline constexpr int kSlack = kSanitized ? 6 : 1;

// Shared by all parts.
struct Stress {
  Runtime& runtime;
  Laws& laws;
  const uint64_t seed;
  // True: parts begin nothing new. Set by the run, read by actors and clients. Relaxed: no other
  // data depends on it.
  std::atomic<bool> stopping{false};
  bool Stopping() const { return stopping.load(std::memory_order_relaxed); }
};

// A count that several threads add to and the run reads. Relaxed: no other data depends on it.
class Count {
 public:
  void Add(int64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// A random generator of our own: the same on every machine, and 8 bytes for each of thousands of
// actors.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t operator()() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t n) { return (*this)() % n; }
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};
inline uint64_t Mixed(uint64_t value) { return Random(value)(); }

struct Rate {
  std::string name;
  int64_t count;
};

class Part {
 public:
  virtual ~Part() = default;
  virtual std::string Name() const = 0;
  virtual void Prepare() = 0;  // Before the workers' threads run.
  virtual void Start() {}      // After their start.
  // True: after Stress::stopping, everything that was begun has ended.
  virtual bool Done() = 0;
  virtual std::string State() = 0;       // For a run that hangs: what the part waits for.
  virtual int64_t Progress() const = 0;  // Grows as long as the part lives.
  virtual void CheckDone() {}            // Once Done(), before the drain.
  virtual void Finish() {}               // After the drain: threads are joined, sums compared.
  virtual std::vector<Rate> Rates() const = 0;
  virtual std::string Notes() const { return ""; }
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_PART_H_
