// A plant is a fault of our own in the code, to prove that the simulation finds such faults. Each
// place of a plant is a hook: a statement on a line of its own, beside the code that it disturbs. A
// program that was built for this (--config=plant) switches on one plant when it starts. In every
// other build a hook is compiled, but leaves no instruction. tests/sim/plants_table.h describes the
// plants.
//
// Owner:  none; which plant is on belongs to the process.
// Thread: SetPlanted() before there is a second thread; any thread may run a hook.
// Bound:  one plant at a time; several hooks may share a name.
// Errors: SetPlanted() is false if no hook of this program has the name.
#ifndef SLUICE_CORE_BASE_PLANT_H_
#define SLUICE_CORE_BASE_PLANT_H_

#include <string_view>
#include <vector>

#include "sluice/core/base/language.h"

#ifdef SLUICE_WITH_PLANTS

#include <algorithm>
#include <cstddef>

// Runs the statement behind the name if the plant of that name is on:
//   SLUICE_PLANT(stage_wake_lost, if (cross_sent_ % kStageMax == 0) return);
#define SLUICE_PLANT(name, ...)                                     \
  if (::sluice::internal::plant_hook<#name>.planted) [[unlikely]] { \
    __VA_ARGS__;                                                    \
  } else                                                            \
    static_cast<void>(0)

namespace sluice {

namespace internal {

// The state of one plant. All hooks with its name share this object.
struct PlantHook {
  explicit PlantHook(std::string_view named) : name(named), next(first) { first = this; }
  static inline constinit PlantHook* first = nullptr;
  const std::string_view name;
  PlantHook* const next;
  bool planted = false;  // Written before there is a second thread.
};

// A name as a template argument.
template <size_t kSize>
struct PlantName {
  // Implicit: a string literal.
  consteval PlantName(const char (&literal)[kSize]) { std::copy_n(literal, kSize, text); }
  char text[kSize];
};

// Constructed before main() in each program that contains such a hook, even if the hook never runs.
template <PlantName kName>
inline PlantHook plant_hook(kName.text);

}  // namespace internal

// The names of this program's plants, sorted.
inline std::vector<std::string_view> PlantNames() {
  std::vector<std::string_view> names;
  for (const auto* hook = internal::PlantHook::first; hook != nullptr; hook = hook->next) {
    names.push_back(hook->name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Switches this plant on, and all others off. "" switches all off.
[[nodiscard]] inline bool SetPlanted(std::string_view name) {
  bool found = name.empty();
  for (auto* hook = internal::PlantHook::first; hook != nullptr; hook = hook->next) {
    hook->planted = hook->name == name;
    found |= hook->planted;
  }
  return found;
}

}  // namespace sluice

#else

#define SLUICE_PLANT(name, ...) \
  if constexpr (false) {        \
    __VA_ARGS__;                \
  } else                        \
    static_cast<void>(0)

namespace sluice {

inline std::vector<std::string_view> PlantNames() { return {}; }
[[nodiscard]] inline bool SetPlanted(std::string_view name) { return name.empty(); }

}  // namespace sluice

#endif  // SLUICE_WITH_PLANTS

#endif  // SLUICE_CORE_BASE_PLANT_H_
