// OwnBytes is the memory that a container takes beside itself, without what its elements own. It
// knows containers by what they offer, so no header of a container is included here.
//
// Owner:  none; functions only.
// Thread: that of the container's holder.
// Bound:  for a std::forward_list, time as its length; for all others constant time.
// Errors: none. The result is exact for what is contiguous and for lists, trees and absl's hash
//         tables. It is an estimate, at most a third off, for std::deque, the unordered ones and
//         absl's B-trees. The sizes of nodes are those of libstdc++ and Abseil.
#ifndef SLUICE_CORE_MEMORY_HELD_CONTAINERS_H_
#define SLUICE_CORE_MEMORY_HELD_CONTAINERS_H_

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>

#include "sluice/core/memory/budget.h"

namespace sluice::held {

template <class C>
concept AnyContainer = requires(const C& c) {
  typename C::value_type;
  typename C::allocator_type;
  c.begin();
  c.end();
};

// std::vector, std::basic_string, absl::InlinedVector.
template <class C>
concept Contiguous = AnyContainer<C> && requires(const C& c) {
  { c.data() } -> std::convertible_to<const void*>;
  c.capacity();
};
template <class C>
concept BitVector = AnyContainer<C> && !Contiguous<C> && requires(C & c) {  // std::vector<bool>.
  c.capacity();
  c.flip();
};
template <class C>
concept ForwardList = AnyContainer<C> && requires(const C& c) {
  c.before_begin();
};
template <class C>
concept FrontAndSize = AnyContainer<C> && requires(C& c) {
  c.pop_front();
  c.size();
};
template <class C>
concept Deque = FrontAndSize<C> && requires(const C& c) {
  c[size_t{}];
} && !requires(const C& c) {
  c.capacity();
};
template <class C>
concept List = FrontAndSize<C> && !requires(const C& c) {
  c[size_t{}];
}
&&requires(C& c) { c.splice(c.begin(), c); };

// The slots of absl's containers: their node handle names the policy, which names the slot.
template <class Handle>
struct SlotOfHandle {};
template <template <class...> class Handle, class Policy, class... Rest>
requires requires { typename Policy::slot_type; }
struct SlotOfHandle<Handle<Policy, Rest...>> {
  using Type = typename Policy::slot_type;
};
template <class C>
using SlotOf = typename SlotOfHandle<typename C::node_type>::Type;

template <class C>
concept AbslTable = AnyContainer<C> && requires(const C& c) {
  typename SlotOf<C>;
  typename C::hasher;
  c.capacity();
};
template <class C>
concept AbslTree = AnyContainer<C> && requires {
  typename SlotOf<C>;
  typename C::key_compare;
};
template <class C>
concept StdTable = AnyContainer<C> && requires(const C& c) {  // std::unordered_map and its like.
  typename C::node_type;
  typename C::local_iterator;
  c.bucket_count();
};
template <class C>
concept StdTree = AnyContainer<C> && !AbslTree<C> && requires {  // std::map and its like.
  typename C::node_type;
  typename C::key_compare;
};

template <class C>
concept KnownContainer = Contiguous<C> || BitVector<C> || ForwardList<C> || Deque<C> || List<C> ||
    AbslTable<C> || AbslTree<C> || StdTable<C> || StdTree<C>;

// True: `part` lies within `whole`, so nothing was allocated for it.
template <class T>
bool LiesIn(const T& whole, const void* part) {
  const auto begin = reinterpret_cast<uintptr_t>(&whole);
  const auto at = reinterpret_cast<uintptr_t>(part);
  return begin <= at && at < begin + sizeof(T);
}

constexpr int64_t NodesBytes(size_t nodes, size_t node_bytes) {
  return static_cast<int64_t>(nodes) * AllocatedBytes(node_bytes);
}

template <Contiguous C>
int64_t OwnBytes(const C& c) {
  constexpr size_t kEnd = requires { c.c_str(); }
  ? 1 : 0;
  if (c.capacity() == 0 || LiesIn(c, c.data())) return 0;
  return AllocatedBytes((c.capacity() + kEnd) * sizeof(typename C::value_type));
}
template <BitVector C>
int64_t OwnBytes(const C& c) {
  return c.capacity() == 0 ? 0 : AllocatedBytes(c.capacity() / 8);
}
template <ForwardList C>
int64_t OwnBytes(const C& c) {
  struct Node {
    void* next;
    alignas(typename C::value_type) std::byte value[sizeof(typename C::value_type)];
  };
  return NodesBytes(static_cast<size_t>(std::distance(c.begin(), c.end())), sizeof(Node));
}
template <List C>
int64_t OwnBytes(const C& c) {
  struct Node {
    void* links[2];
    alignas(typename C::value_type) std::byte value[sizeof(typename C::value_type)];
  };
  return NodesBytes(c.size(), sizeof(Node));
}
template <StdTree C>
int64_t OwnBytes(const C& c) {
  struct Node {
    void* links[4];  // Its colour is the first.
    alignas(typename C::value_type) std::byte value[sizeof(typename C::value_type)];
  };
  return NodesBytes(c.size(), sizeof(Node));
}
template <Deque C>
int64_t OwnBytes(const C& c) {
  constexpr size_t kElement = sizeof(typename C::value_type);
  constexpr size_t kPerChunk = std::max<size_t>(512 / kElement, 1);
  const size_t chunks = c.size() / kPerChunk + 1;
  return NodesBytes(chunks, kPerChunk * kElement) +
         AllocatedBytes(std::max<size_t>(8, chunks + 2) * sizeof(void*));
}
template <StdTable C>
int64_t OwnBytes(const C& c) {
  struct Node {
    void* next;
    alignas(typename C::value_type) std::byte value[sizeof(typename C::value_type)];
    size_t hash;  // Left out where it is quickly computed.
  };
  const size_t buckets = c.bucket_count();  // One bucket lies in the table itself.
  return NodesBytes(c.size(), sizeof(Node)) +
         (buckets <= 1 ? 0 : AllocatedBytes(buckets * sizeof(void*)));
}
template <AbslTable C>
int64_t OwnBytes(const C& c) {
  using Slot = SlotOf<C>;
  using Element = typename C::value_type;
  const size_t capacity = c.capacity();
  if (capacity == 0) return 0;
  const int64_t nodes = std::is_same_v<Slot, Element*> ? NodesBytes(c.size(), sizeof(Element)) : 0;
  if (c.size() != 0 && nodes == 0 && LiesIn(c, &*c.begin())) return 0;
  // A control byte for each slot, and 16 more.
  const size_t slots_at = (capacity + 16 + alignof(Slot) - 1) / alignof(Slot) * alignof(Slot);
  return nodes + AllocatedBytes(slots_at + capacity * sizeof(Slot));
}
template <AbslTree C>
int64_t OwnBytes(const C& c) {
  // A node has 256 bytes, or room for three slots; nodes are taken for three quarters full. The
  // first one grows with its elements.
  constexpr size_t kSlot = sizeof(SlotOf<C>);
  constexpr size_t kHead = std::max<size_t>(2 * sizeof(void*), alignof(SlotOf<C>));
  constexpr size_t kSlots = std::max<size_t>((256 - kHead) / kSlot, 3);
  constexpr size_t kFilled = kSlots * 3 / 4;
  if (c.size() == 0) return 0;
  if (c.size() <= kSlots)
    return AllocatedBytes(kHead + std::min(std::bit_ceil(c.size()), kSlots) * kSlot);
  const size_t nodes = (c.size() + kFilled - 1) / kFilled;
  return NodesBytes(nodes, kHead + kSlots * kSlot) +
         NodesBytes((nodes + kFilled - 1) / kFilled, (kSlots + 1) * sizeof(void*));
}

}  // namespace sluice::held

#endif  // SLUICE_CORE_MEMORY_HELD_CONTAINERS_H_
