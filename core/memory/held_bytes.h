// HeldBytes is the memory that a message owns beside itself, so that a mailbox is bounded in bytes
// too. A struct that owns memory defines it:
//
//   struct Line {
//     std::string text;
//     int64_t HeldBytes() const { return sluice::HeldBytes(text); }
//   };
//
// Owner:  none; functions only.
// Thread: that of the message's holder.
// Bound:  the result is what the allocator takes, and is charged while the message waits.
// Errors: a message that is neither trivially destructible nor has HeldBytes() does not compile.
#ifndef SLUICE_CORE_MEMORY_HELD_BYTES_H_
#define SLUICE_CORE_MEMORY_HELD_BYTES_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "sluice/core/memory/buffer.h"

namespace sluice {

template <class T>
concept HasHeldBytes = requires(const T& t) {
  { t.HeldBytes() } -> std::convertible_to<int64_t>;
};

inline int64_t HeldBytes(const std::string& s) {
  // A short string lies within its own body and holds nothing (15 characters in libstdc++).
  return s.capacity() > std::string().capacity() ? AllocatedBytes(s.capacity() + 1) : 0;
}
inline int64_t HeldBytes(const absl::Cord& cord) {
  return static_cast<int64_t>(cord.EstimatedMemoryUsage() - sizeof(cord));
}
inline int64_t HeldBytes(const Bytes& bytes) {
  return bytes.SelfCharged() ? 0 : bytes.AllocatedBytes();
}
template <HasHeldBytes T>
int64_t HeldBytes(const T& t) {
  return t.HeldBytes();
}
template <class T>
requires(std::is_trivially_destructible_v<T> && !HasHeldBytes<T>) int64_t HeldBytes(const T&) {
  return 0;
}
template <class T, class D>
int64_t HeldBytes(const std::unique_ptr<T, D>& p);
template <class T, class A>
int64_t HeldBytes(const std::vector<T, A>& v) {
  int64_t bytes = v.capacity() == 0 ? 0 : AllocatedBytes(v.capacity() * sizeof(T));
  if constexpr (!std::is_trivially_destructible_v<T> || HasHeldBytes<T>) {
    for (const T& t : v) bytes += HeldBytes(t);
  }
  return bytes;
}
template <class T, class D>
int64_t HeldBytes(const std::unique_ptr<T, D>& p) {
  return p == nullptr ? 0 : AllocatedBytes(sizeof(T)) + HeldBytes(*p);
}

template <class T>
int64_t HeldBytes(const absl::StatusOr<T>& status_or) {
  return status_or.ok() ? HeldBytes(*status_or) : 0;
}

// A type that may be sent: movable without throwing, with a HeldBytes() if it owns memory.
template <class M>
concept Message = std::is_nothrow_move_constructible_v<M> && requires(const M& m) {
  { sluice::HeldBytes(m) } -> std::convertible_to<int64_t>;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_HELD_BYTES_H_
