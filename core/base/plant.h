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

// All hooks of one name share one.
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

// For code whose faults still are parts of conditions.
struct Plant {
  static constexpr const internal::PlantHook& kAskJudgedBeforeMail =
      internal::plant_hook<"ask_judged_before_mail">;
  static constexpr const internal::PlantHook& kCallbacksLast =
      internal::plant_hook<"callbacks_last">;
  static constexpr const internal::PlantHook& kChargeLeaked = internal::plant_hook<"charge_leaked">;
  static constexpr const internal::PlantHook& kCreditBeforeMemory =
      internal::plant_hook<"credit_before_memory">;
  static constexpr const internal::PlantHook& kCreditLeakedOnDeath =
      internal::plant_hook<"credit_leaked_on_death">;
  static constexpr const internal::PlantHook& kCreditsApart = internal::plant_hook<"credits_apart">;
  static constexpr const internal::PlantHook& kCycleUnconfirmed =
      internal::plant_hook<"cycle_unconfirmed">;
  static constexpr const internal::PlantHook& kDoubleDown = internal::plant_hook<"double_down">;
  static constexpr const internal::PlantHook& kDrainSpins = internal::plant_hook<"drain_spins">;
  static constexpr const internal::PlantHook& kDueForgotten = internal::plant_hook<"due_forgotten">;
  static constexpr const internal::PlantHook& kEndsInside = internal::plant_hook<"ends_inside">;
  static constexpr const internal::PlantHook& kFunctionRefused =
      internal::plant_hook<"function_refused">;
  static constexpr const internal::PlantHook& kGapUnnoted = internal::plant_hook<"gap_unnoted">;
  static constexpr const internal::PlantHook& kJudgedBeforePoll =
      internal::plant_hook<"judged_before_poll">;
  static constexpr const internal::PlantHook& kJudgedBeforeRead =
      internal::plant_hook<"judged_before_read">;
  static constexpr const internal::PlantHook& kLaneRoomLost =
      internal::plant_hook<"lane_room_lost">;
  static constexpr const internal::PlantHook& kLastWordsUnsent =
      internal::plant_hook<"last_words_unsent">;
  static constexpr const internal::PlantHook& kLostWakeUp = internal::plant_hook<"lost_wake_up">;
  static constexpr const internal::PlantHook& kMemoryWaitersLost =
      internal::plant_hook<"memory_waiters_lost">;
  static constexpr const internal::PlantHook& kOutboxRotated =
      internal::plant_hook<"outbox_rotated">;
  static constexpr const internal::PlantHook& kOutsideWakeLost =
      internal::plant_hook<"outside_wake_lost">;
  static constexpr const internal::PlantHook& kPaidMarkForgotten =
      internal::plant_hook<"paid_mark_forgotten">;
  static constexpr const internal::PlantHook& kParkedIsRest =
      internal::plant_hook<"parked_is_rest">;
  static constexpr const internal::PlantHook& kParkedOnTheDead =
      internal::plant_hook<"parked_on_the_dead">;
  static constexpr const internal::PlantHook& kPromiseSilent =
      internal::plant_hook<"promise_silent">;
  static constexpr const internal::PlantHook& kReserveUnused =
      internal::plant_hook<"reserve_unused">;
  static constexpr const internal::PlantHook& kRestartForgetsMessage =
      internal::plant_hook<"restart_forgets_message">;
  static constexpr const internal::PlantHook& kShedOneByOne =
      internal::plant_hook<"shed_one_by_one">;
  static constexpr const internal::PlantHook& kSlotsStay = internal::plant_hook<"slots_stay">;
  static constexpr const internal::PlantHook& kStageWakeLost =
      internal::plant_hook<"stage_wake_lost">;
  static constexpr const internal::PlantHook& kStaleHandle = internal::plant_hook<"stale_handle">;
  static constexpr const internal::PlantHook& kStopInDestructor =
      internal::plant_hook<"stop_in_destructor">;
  static constexpr const internal::PlantHook& kTimerAfterCancel =
      internal::plant_hook<"timer_after_cancel">;
  static constexpr const internal::PlantHook& kTimerAfterEnd =
      internal::plant_hook<"timer_after_end">;
  static constexpr const internal::PlantHook& kTimerEarly = internal::plant_hook<"timer_early">;
  static constexpr const internal::PlantHook& kTrySendOvertakes =
      internal::plant_hook<"try_send_overtakes">;
  static constexpr const internal::PlantHook& kTurnUnshared = internal::plant_hook<"turn_unshared">;
  static constexpr const internal::PlantHook& kWaitCycleUnseen =
      internal::plant_hook<"wait_cycle_unseen">;
  static constexpr const internal::PlantHook& kWrongMonitor = internal::plant_hook<"wrong_monitor">;
};
inline bool Planted(const internal::PlantHook& hook) { return hook.planted; }

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

enum class Plant {
  kAskJudgedBeforeMail,
  kCallbacksLast,
  kChargeLeaked,
  kCreditBeforeMemory,
  kCreditLeakedOnDeath,
  kCreditsApart,
  kCycleUnconfirmed,
  kDoubleDown,
  kDrainSpins,
  kDueForgotten,
  kEndsInside,
  kFunctionRefused,
  kGapUnnoted,
  kJudgedBeforePoll,
  kJudgedBeforeRead,
  kLaneRoomLost,
  kLastWordsUnsent,
  kLostWakeUp,
  kMemoryWaitersLost,
  kOutboxRotated,
  kOutsideWakeLost,
  kPaidMarkForgotten,
  kParkedIsRest,
  kParkedOnTheDead,
  kPromiseSilent,
  kReserveUnused,
  kRestartForgetsMessage,
  kShedOneByOne,
  kSlotsStay,
  kStageWakeLost,
  kStaleHandle,
  kStopInDestructor,
  kTimerAfterCancel,
  kTimerAfterEnd,
  kTimerEarly,
  kTrySendOvertakes,
  kTurnUnshared,
  kWaitCycleUnseen,
  kWrongMonitor,
};
constexpr bool Planted(Plant) { return false; }

}  // namespace sluice

#endif  // SLUICE_WITH_PLANTS

#endif  // SLUICE_CORE_BASE_PLANT_H_
