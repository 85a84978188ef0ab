// Views is memory as a processor with weak order may show it: each variable keeps the values that
// it had, each thread a view, which says for each variable what is too old for it to read.
//
// Owner:  a Run, in Memory::kViews.
// Thread: one of the system.
// Bound:  what was stored in one run.
//
// The release and acquire of C++, operationally: a store with release carries the view of its
// thread, a load with acquire takes over the view of what it reads, a read-modify-write reads the
// newest value and goes on carrying what that one carried. seq_cst is taken as stronger than it is,
// a fence of its own.
#ifndef SLUICE_TESTS_MODEL_VIEWS_H_
#define SLUICE_TESTS_MODEL_VIEWS_H_

#include <atomic>
#include <cstdint>
#include <vector>

namespace sluice::model::internal {

bool IsAcquire(std::memory_order order);
bool IsRelease(std::memory_order order);

// By cell: the place, among its values, of the oldest one that may still be read.
using View = std::vector<uint32_t>;

class Views {
 public:
  void Clear();
  void AddCell(uint64_t value) { cells_.push_back({{value, {}}}); }

  // So many values of a cell can be read: the newest and older ones.
  int Choices(const View& view, int cell) const {
    return static_cast<int>(cells_[cell].size() - Seen(view, cell));
  }
  // The newest but `back`.
  uint64_t Load(View& view, int cell, int back, std::memory_order order);
  void Store(View& view, int cell, uint64_t value, std::memory_order order);
  // A read-modify-write that makes it `value`.
  void Modify(View& view, int cell, uint64_t value, std::memory_order order);
  // By no thread: it is the only value.
  void Set(int cell, uint64_t value) { cells_[cell] = {{value, {}}}; }

  // Of what can still be read, by any of these.
  uint64_t Fingerprint(const std::vector<const View*>& readers) const;

 private:
  struct Value {
    uint64_t value;
    View carries;
  };
  static uint32_t Seen(const View& view, int cell) {
    return static_cast<size_t>(cell) < view.size() ? view[cell] : 0;
  }
  void Fence(View& view);  // seq_cst.
  static void See(View& view, int cell, size_t place);
  static void Join(View& view, const View& other);
  void Append(View& view, int cell, Value value, std::memory_order order);

  std::vector<std::vector<Value>> cells_;
  View fences_;  // What threads had seen at their fences.
};

}  // namespace sluice::model::internal

#endif  // SLUICE_TESTS_MODEL_VIEWS_H_
