// HeldBytes is the memory that a message owns beside itself, so that a mailbox is bounded in bytes
// too. It is known for most messages:
//
//   struct Line { std::string text; };                // By its members.
//   struct Lines { std::map<int, Line> by_number; };  // By its elements.
//
// Known are: numbers, and all else without a destructor (0 bytes); strings, absl::Cord, Bytes,
// absl::Status; std::unique_ptr and std::shared_ptr; pairs, tuples, arrays, optionals, variants and
// absl::StatusOr; the containers of the standard library and of Abseil; and aggregates of up to
// kMembersMax such members, each with a default constructor, without base classes. Any other class
// that owns memory defines it, and where it is defined, it wins:
//
//   int64_t HeldBytes() const { return sluice::HeldBytes(text_); }
//
// The object of a std::shared_ptr is counted for each holder, as each may be the last one.
// A class that holds itself by std::shared_ptr is not known: a ring of such pointers has no end.
//
// Owner:  none; functions only.
// Thread: that of the message's holder.
// Bound:  the result is what the allocator takes, and is charged while the message waits.
// Errors: a message whose HeldBytes is not known does not compile; MemoryIsUnknown names its type.
#ifndef SLUICE_CORE_MEMORY_HELD_BYTES_H_
#define SLUICE_CORE_MEMORY_HELD_BYTES_H_

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "sluice/core/memory/held_kinds.h"

namespace sluice {

template <class T>
requires std::same_as<held::UnknownIn<T>, held::Types<>> int64_t HeldBytes(const T& t) {
  return held::BytesOf(t);
}

// A type that may be sent: movable without throwing, with known HeldBytes.
template <class M>
concept Message = std::is_nothrow_move_constructible_v<M> && requires(const M& m) {
  { sluice::HeldBytes(m) } -> std::convertible_to<int64_t>;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_HELD_BYTES_H_
