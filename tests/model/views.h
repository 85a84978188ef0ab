// Views is memory as a processor with weak order may show it: each variable keeps all its values,
// and each thread has a view, which marks for each variable the values that are too old for the
// thread to read.
//
// Owner:  a Run, in Memory::kViews.
// Thread: one of the system.
// Bound:  the stores of one run.
//
// C++'s release and acquire, operationally: a store with release carries the view of its thread; a
// load with acquire takes over the view that its value carries; a read-modify-write reads the
// newest value, and its new value carries on the view of the old one. seq_cst is modelled as
// stronger than it is: as a fence of its own.
#ifndef SLUICE_TESTS_MODEL_VIEWS_H_
#define SLUICE_TESTS_MODEL_VIEWS_H_

#include <atomic>
#include <cstdint>
#include <vector>

namespace sluice::model::internal {

bool IsAcquire(std::memory_order order);
bool IsRelease(std::memory_order order);

// By cell: the index, among its values, of the oldest value that may still be read.
using View = std::vector<uint32_t>;

class Views {
 public:
  void Clear();
  void AddCell(uint64_t value) { cells_.push_back({{value, {}}}); }

  // How many values of a cell can be read: the newest and older ones.
  int Choices(const View& view, int cell) const {
    return static_cast<int>(cells_[cell].size() - Seen(view, cell));
  }
  // Reads the value that is `back` places before the newest.
  uint64_t Load(View& view, int cell, int back, std::memory_order order);
  void Store(View& view, int cell, uint64_t value, std::memory_order order);
  // A read-modify-write that stores `value`.
  void Modify(View& view, int cell, uint64_t value, std::memory_order order);
  // Set by no thread: `value` becomes the cell's only value.
  void Set(int cell, uint64_t value) { cells_[cell] = {{value, {}}}; }

  // Hashes all that any of `readers` can still read.
  uint64_t Fingerprint(const std::vector<const View*>& readers) const;

 private:
  struct Value {
    uint64_t value;
    View carries;
  };
  static uint32_t Seen(const View& view, int cell) {
    return static_cast<size_t>(cell) < view.size() ? view[cell] : 0;
  }
  void Fence(View& view);  // For seq_cst.
  static void See(View& view, int cell, size_t place);
  static void Join(View& view, const View& other);
  void Append(View& view, int cell, Value value, std::memory_order order);

  std::vector<std::vector<Value>> cells_;
  View fences_;  // Joined views of threads at their fences.
};

}  // namespace sluice::model::internal

#endif  // SLUICE_TESTS_MODEL_VIEWS_H_
