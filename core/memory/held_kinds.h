// Held<T> counts what a T owns, for HeldBytes: one kind for strings and containers, one for
// pointers, one for aggregates, and so on. Users read core/memory/held_bytes.h alone.
//
// Owner:  none; for the compiler, and functions.
// Thread: that of the counted object's holder.
// Bound:  a call walks the object's elements, unless none of them can own memory.
// Errors: a type that no kind counts is Unknown; UnknownIn<T> finds it within a T.
#ifndef SLUICE_CORE_MEMORY_HELD_KINDS_H_
#define SLUICE_CORE_MEMORY_HELD_KINDS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/memory/held_containers.h"
#include "sluice/core/memory/members.h"

namespace sluice {

template <class T>
concept HasHeldBytes = requires(const T& t) {
  { t.HeldBytes() } -> std::convertible_to<int64_t>;
};

namespace held {

template <class... T>
struct Types {};
template <class T, class... Some>
consteval bool IsOneOf(Types<Some...>) {
  return (std::is_same_v<T, Some> || ...);
}

// Held<T> counts the bytes of a T. `Parts` are the types that it asks in turn.
struct Nothing {
  using Parts = Types<>;
  static int64_t Bytes(const auto&) { return 0; }
};
struct ItsOwn {
  using Parts = Types<>;
  static int64_t Bytes(const auto& t) { return t.HeldBytes(); }
};
struct Leaf {
  using Parts = Types<>;
  static int64_t Bytes(const absl::Cord& cord) {
    return static_cast<int64_t>(cord.EstimatedMemoryUsage() - sizeof(cord));
  }
  static int64_t Bytes(const sluice::Bytes& bytes) {
    return bytes.SelfCharged() ? 0 : bytes.AllocatedBytes();
  }
  static int64_t Bytes(const absl::Status& status) {
    if (status.message().empty()) return 0;  // The status needs no block.
    int64_t bytes = AllocatedBytes(48) + AllocatedBytes(status.message().size() + 1);
    status.ForEachPayload([&bytes](absl::string_view url, const absl::Cord& payload) {
      bytes += AllocatedBytes(64) + AllocatedBytes(url.size()) + Bytes(payload);
    });
    return bytes;
  }
};
using Leafs = Types<absl::Cord, sluice::Bytes, absl::Status>;
struct Unknown {
  static int64_t Bytes(const auto&) { return 0; }  // The caller has stopped the compiler.
};

template <class T>
consteval auto ChooseHeld();
template <class T>
using Held = decltype(ChooseHeld<std::remove_cv_t<T>>());

template <class T>
int64_t BytesOf(const T& t) {
  return Held<T>::Bytes(t);
}
template <class E>
int64_t ElementsBytes(const auto& elements) {
  int64_t bytes = 0;
  if constexpr (!std::is_same_v<Held<E>, Nothing>) {
    for (const E& element : elements) bytes += BytesOf(element);
  }
  return bytes;
}

template <class C>
struct Elements {
  using Element = typename C::value_type;
  using Parts = Types<Element>;
  static int64_t Bytes(const C& c) { return OwnBytes(c) + ElementsBytes<Element>(c); }
};
template <class T>
struct Array {  // std::array and T[n].
  using Element = std::remove_cvref_t<decltype(std::declval<const T&>()[0])>;
  using Parts = Types<Element>;
  static int64_t Bytes(const T& array) { return ElementsBytes<Element>(array); }
};
template <class T>
struct Optional {
  using Value = typename T::value_type;
  using Parts = Types<Value>;
  static int64_t Bytes(const T& optional) { return optional.has_value() ? BytesOf(*optional) : 0; }
};
template <class T>
struct Tuple {
  template <class I>
  struct At;
  template <size_t... I>
  struct At<std::index_sequence<I...>> {
    using Parts = Types<std::tuple_element_t<I, T>...>;
    static int64_t Bytes(const T& tuple) {
      return (int64_t{0} + ... + BytesOf<std::tuple_element_t<I, T>>(std::get<I>(tuple)));
    }
  };
  using All = At<std::make_index_sequence<std::tuple_size_v<T>>>;
  using Parts = typename All::Parts;
  static int64_t Bytes(const T& tuple) { return All::Bytes(tuple); }
};
template <class T>
struct Variant {};
template <template <class...> class V, class... T>
struct Variant<V<T...>> {
  using Parts = Types<T...>;
  static int64_t Bytes(const V<T...>& variant) {
    if (variant.valueless_by_exception()) return 0;
    return visit([](const auto& value) { return BytesOf(value); }, variant);
  }
};
template <class T>
struct StatusOr {
  using Parts = Types<T>;
  static int64_t Bytes(const absl::StatusOr<T>& t) {
    return t.ok() ? BytesOf(*t) : Leaf::Bytes(t.status());
  }
};
template <class T>
struct Unique {
  using Parts = Types<T>;
  static int64_t Bytes(const auto& p) {
    return p == nullptr ? 0 : AllocatedBytes(sizeof(T)) + BytesOf(*p);
  }
};
template <class T>
struct Shared {
  using Parts = Types<T>;
  static int64_t Bytes(const std::shared_ptr<T>& p) {  // Two counts and a table lie beside the T.
    return p == nullptr ? 0 : AllocatedBytes(16 + sizeof(T)) + BytesOf(*p);
  }
};
struct TypesOf {
  template <class... M>
  constexpr Types<std::remove_cvref_t<M>...> operator()(const M&...) const {
    return {};
  }
};
template <class T>
struct Members {
  using Parts = decltype(internal::MembersOf(std::declval<const T&>(), TypesOf()));
  static int64_t Bytes(const T& t) {
    return internal::MembersOf(t, [](const auto&... m) { return (int64_t{0} + ... + BytesOf(m)); });
  }
};

// The kind of a class template with these arguments.
template <class T>
inline constexpr Unknown kPointer = {};
template <class T, class D>
requires(!std::is_array_v<T> &&
         requires { sizeof(T); }) inline constexpr Unique<T> kPointer<std::unique_ptr<T, D>> = {};
template <class T>
requires(!std::is_array_v<T> &&
         requires { sizeof(T); }) inline constexpr Shared<T> kPointer<std::shared_ptr<T>> = {};
template <class T>
inline constexpr StatusOr<T> kPointer<absl::StatusOr<T>> = {};

template <class T>
concept TupleLike = requires {
  std::tuple_size<T>::value;
};

template <class T>
consteval auto ChooseHeld() {
  using Pointer = std::remove_cv_t<decltype(kPointer<T>)>;
  if constexpr (HasHeldBytes<T>) {
    return ItsOwn();
  } else if constexpr (std::is_trivially_destructible_v<T>) {
    return Nothing();
  } else if constexpr (IsOneOf<T>(Leafs())) {
    return Leaf();
  } else if constexpr (!std::is_same_v<Pointer, Unknown>) {
    return Pointer();
  } else if constexpr (KnownContainer<T>) {
    return Elements<T>();
  } else if constexpr (std::is_array_v<T> || (TupleLike<T> && requires(const T& t) { t.data(); })) {
    return Array<T>();
  } else if constexpr (TupleLike<T>) {
    return Tuple<T>();
  } else if constexpr (requires(const T& t) { t.valueless_by_exception(); }) {
    return Variant<T>();
  } else if constexpr (
      requires(const T& t) {
        t.has_value(), *t;
        typename T::value_type;
      } &&
      !requires(const T& t) { t.error(); }) {
    return Optional<T>();
  } else if constexpr (internal::MemberCount<T>() >= 0) {
    return Members<T>();
  } else {
    return Unknown();
  }
}

// The first type in T whose bytes are not known, as Types<U>, or Types<>. `Seen` are the types that
// hold T: they are asked already. `Behind` are those that hold it through a std::shared_ptr.
template <class T, class Seen, class Behind>
consteval auto FirstUnknown();

template <class Seen, class Behind>
consteval Types<> FirstUnknownOf(Types<>) {
  return {};
}
template <class Seen, class Behind, class T, class... Rest>
consteval auto FirstUnknownOf(Types<T, Rest...>) {
  constexpr auto kFirst = FirstUnknown<std::remove_cv_t<T>, Seen, Behind>();
  if constexpr (std::is_same_v<decltype(kFirst), const Types<>>) {
    return FirstUnknownOf<Seen, Behind>(Types<Rest...>());
  } else {
    return kFirst;
  }
}
template <class... A, class... B>
Types<A..., B...> Joined(Types<A...>, Types<B...>);

template <class T, class Seen, class Behind>
consteval auto FirstUnknown() {
  if constexpr (IsOneOf<T>(Seen())) {
    return Types<>();
  } else if constexpr (IsOneOf<T>(Behind()) || std::is_same_v<Held<T>, Unknown>) {
    return Types<T>();
  } else {
    using Parts = typename Held<T>::Parts;
    using Holders = decltype(Joined(Seen(), Types<T>()));
    if constexpr (requires { typename T::weak_type; }) {
      return FirstUnknownOf<Types<>, decltype(Joined(Holders(), Behind()))>(Parts());
    } else {
      return FirstUnknownOf<Holders, Behind>(Parts());
    }
  }
}
template <class T>
using UnknownIn = decltype(FirstUnknown<std::remove_cv_t<T>, Types<>, Types<>>());

}  // namespace held

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_HELD_KINDS_H_
