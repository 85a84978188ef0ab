// Names finds an actor by its name: one actor for each name.
//
// Owner:  the Runtime.
// Thread: any. The lock is held for a map's look-up; for a walk over all names when names_max are
//         taken.
// Bound:  names_max names. The name of an actor that has ended is free for the next one.
// Errors: Add() says why a name cannot be had.
#ifndef SLUICE_CORE_RUNTIME_NAMES_H_
#define SLUICE_CORE_RUNTIME_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class Names {
 public:
  explicit Names(size_t names_max) : names_max_(names_max) {}

  // InvalidArgument: the name is empty. FailedPrecondition: `slot` is nullptr (the Ref is empty).
  // NotFound: the actor has ended. AlreadyExists: a live actor has the
  // name. ResourceExhausted: names_max live actors have names.
  absl::Status Add(std::string_view name, Slot* slot, uint32_t generation,
                   const std::type_info& type);
  // {nullptr, 0}: no live actor of this type has the name.
  std::pair<Slot*, uint32_t> Find(std::string_view name, const std::type_info& type) const;
  void Remove(std::string_view name);
  size_t Count() const;

 private:
  struct Named {
    Slot* slot;
    uint32_t generation;
    const std::type_info* type;
    bool Lives() const { return slot->mailbox.Word().Generation() == generation; }
  };

  const size_t names_max_;
  mutable std::mutex lock_;
  absl::flat_hash_map<std::string, Named> names_;  // Under the lock.
};

}  // namespace sluice

#endif  // SLUICE_CORE_RUNTIME_NAMES_H_
