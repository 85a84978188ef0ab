// Lazy<C> is a container that few owners fill: one pointer until the first entry comes. After that
// the container stays, so that later entries allocate no container again.
//
// Owner:  its holder.
// Thread: its owner's; the shared empty container that stands for all unused ones is only read.
// Bound:  the container's own.
// Errors: none.
#ifndef SLUICE_CORE_BASE_LAZY_H_
#define SLUICE_CORE_BASE_LAZY_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "sluice/core/base/language.h"

namespace sluice {

template <class C>
class Lazy {
 public:
  // As the container's; an unused Lazy behaves as an empty one.
  bool empty() const { return Get().empty(); }
  size_t size() const { return Get().size(); }
  auto begin() const { return Get().begin(); }
  auto end() const { return Get().end(); }
  template <class Key>
  auto find(const Key& key) const {
    return Get().find(key);
  }
  template <class Key>
  auto lower_bound(const Key& key) const {
    return Get().lower_bound(key);
  }
  template <class... Args>
  auto emplace(Args&&... args) {
    return Made().emplace(std::forward<Args>(args)...);
  }
  template <class... Args>
  void emplace_last(Args&&... args) {  // Requires: its key is the largest.
    Made().emplace_hint(Made().end(), std::forward<Args>(args)...);
  }
  template <class Key>
  auto& operator[](const Key& key) {
    return Made()[key];
  }
  template <class Entry>
  void erase(const Entry& entry) {  // A key, or an iterator from find().
    if (made_ != nullptr) made_->erase(entry);
  }

 private:
  C& Made() {
    if (made_ == nullptr) made_ = std::make_unique<C>();
    return *made_;
  }
  C& Get() const {
    static C nothing;
    return made_ == nullptr ? nothing : *made_;
  }

  std::unique_ptr<C> made_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_LAZY_H_
