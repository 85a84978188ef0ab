// MembersOf calls a function with all members of an aggregate, in order: C++20 has no reflection,
// so a structured binding takes it apart.
//
//   struct Line { std::string text; int number; };
//   MembersOf(line, [](const std::string& text, const int& number) { ... });
//
// Owner:  none; functions only.
// Thread: that of the aggregate's holder.
// Bound:  kMembersMax members.
// Errors: where MemberCount answers less than 0, MembersOf does not compile.
#ifndef SLUICE_CORE_MEMORY_MEMBERS_H_
#define SLUICE_CORE_MEMORY_MEMBERS_H_

#include <concepts>
#include <type_traits>

#include "sluice/core/base/language.h"

namespace sluice::internal {

inline constexpr int kMembersMax = 16;
inline constexpr int kMembersUnknown = -1;  // No aggregate; or a member is not made from `{}`.
inline constexpr int kMembersTooMany = -2;  // More than kMembersMax.
inline constexpr int kMembersOfBase = -3;   // The struct has a base class.

// Becomes any base class of T.
template <class T>
struct BaseOf {
  template <class U>
  requires(std::is_base_of_v<U, T> && !std::same_as<U, T>) operator U() const;
};

// `{}` stands for one member, also for an array. The first number of `{}` that T does not take is
// one too many.
template <class T>
consteval int MemberCount() {
  if constexpr (!std::is_aggregate_v<T> || std::is_array_v<T> || std::is_union_v<T> ||
                !requires { T{}; }) {
    return kMembersUnknown;
  } else if constexpr (requires { T{BaseOf<T>{}}; }) {
    return kMembersOfBase;
  } else if constexpr (!requires { T{{}}; }) {
    return 0;
  } else if constexpr (!requires { T{{}, {}}; }) {
    return 1;
  } else if constexpr (!requires { T{{}, {}, {}}; }) {
    return 2;
  } else if constexpr (!requires { T{{}, {}, {}, {}}; }) {
    return 3;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}}; }) {
    return 4;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}}; }) {
    return 5;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}}; }) {
    return 6;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 7;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 8;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 9;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 10;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 11;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 12;
  } else if constexpr (!requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 13;
  } else if constexpr (!requires {
                         T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                       }) {
    return 14;
  } else if constexpr (!requires {
                         T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                       }) {
    return 15;
  } else if constexpr (!requires {
                         T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                       }) {
    return 16;
  } else {
    return kMembersTooMany;
  }
}

// Requires: MemberCount<T>() >= 0.
template <class T, class F>
constexpr decltype(auto) MembersOf(const T& t, F&& tell) {
  constexpr int kCount = MemberCount<T>();
  static_assert(kCount >= 0);
  if constexpr (kCount == 0) {
    return tell();
  } else if constexpr (kCount == 1) {
    const auto& [m1] = t;
    return tell(m1);
  } else if constexpr (kCount == 2) {
    const auto& [m1, m2] = t;
    return tell(m1, m2);
  } else if constexpr (kCount == 3) {
    const auto& [m1, m2, m3] = t;
    return tell(m1, m2, m3);
  } else if constexpr (kCount == 4) {
    const auto& [m1, m2, m3, m4] = t;
    return tell(m1, m2, m3, m4);
  } else if constexpr (kCount == 5) {
    const auto& [m1, m2, m3, m4, m5] = t;
    return tell(m1, m2, m3, m4, m5);
  } else if constexpr (kCount == 6) {
    const auto& [m1, m2, m3, m4, m5, m6] = t;
    return tell(m1, m2, m3, m4, m5, m6);
  } else if constexpr (kCount == 7) {
    const auto& [m1, m2, m3, m4, m5, m6, m7] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7);
  } else if constexpr (kCount == 8) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8);
  } else if constexpr (kCount == 9) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9);
  } else if constexpr (kCount == 10) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10);
  } else if constexpr (kCount == 11) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11);
  } else if constexpr (kCount == 12) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12);
  } else if constexpr (kCount == 13) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13);
  } else if constexpr (kCount == 14) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14);
  } else if constexpr (kCount == 15) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15);
  } else if constexpr (kCount == 16) {
    const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16] = t;
    return tell(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16);
  }
}

}  // namespace sluice::internal

#endif  // SLUICE_CORE_MEMORY_MEMBERS_H_
