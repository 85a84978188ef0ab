#include "sluice/tests/model/views.h"

#include <algorithm>
#include <utility>

#include "sluice/tests/model/explorer.h"

namespace sluice::model::internal {

bool IsAcquire(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}
bool IsRelease(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

void Views::Clear() {
  cells_.clear();
  fences_.clear();
}

void Views::See(View& view, int cell, size_t place) {
  if (view.size() <= static_cast<size_t>(cell)) view.resize(cell + 1, 0);
  view[cell] = std::max(view[cell], static_cast<uint32_t>(place));
}

void Views::Join(View& view, const View& other) {
  for (size_t cell = 0; cell < other.size(); ++cell) {
    if (other[cell] > 0) See(view, static_cast<int>(cell), other[cell]);
  }
}

void Views::Fence(View& view) {
  Join(view, fences_);
  fences_ = view;
}

uint64_t Views::Load(View& view, int cell, int back, std::memory_order order) {
  if (order == std::memory_order_seq_cst) Fence(view);
  const size_t place = cells_[cell].size() - 1 - static_cast<size_t>(back);
  const Value& value = cells_[cell][place];
  See(view, cell, place);
  if (IsAcquire(order)) Join(view, value.carries);
  return value.value;
}

void Views::Append(View& view, int cell, Value value, std::memory_order order) {
  See(view, cell, cells_[cell].size());
  if (IsRelease(order)) Join(value.carries, view);
  cells_[cell].push_back(std::move(value));
  if (order == std::memory_order_seq_cst) Fence(view);
}

void Views::Store(View& view, int cell, uint64_t value, std::memory_order order) {
  Append(view, cell, {value, {}}, order);
}

void Views::Modify(View& view, int cell, uint64_t value, std::memory_order order) {
  Load(view, cell, /*back=*/0, order);
  Append(view, cell, {value, cells_[cell].back().carries}, order);
}

uint64_t Views::Fingerprint(const std::vector<const View*>& readers) const {
  View oldest(cells_.size());
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    oldest[cell] = static_cast<uint32_t>(cells_[cell].size()) - 1;
    for (const View* view : readers) {
      oldest[cell] = std::min(oldest[cell], Seen(*view, static_cast<int>(cell)));
    }
  }
  uint64_t hash = readers.size();
  const auto add = [&](const View& view) {
    for (size_t cell = 0; cell < cells_.size(); ++cell) {
      const uint32_t seen = Seen(view, static_cast<int>(cell));
      if (seen > oldest[cell]) hash = Mix(Mix(hash, cell), seen - oldest[cell]);
    }
    hash = Mix(hash, 0x57);
  };
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    for (size_t i = oldest[cell]; i < cells_[cell].size(); ++i) {
      hash = Mix(hash, cells_[cell][i].value);
      add(cells_[cell][i].carries);
    }
  }
  for (const View* view : readers) add(*view);
  add(fences_);
  return hash;
}

}  // namespace sluice::model::internal
