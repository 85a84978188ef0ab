// Plants are faults of our own, put into the code to prove that the simulation finds such: each is
// one line, in a build that is made for nothing else (--config=plant), and one of them is switched
// on when the program starts. Every other build is compiled as if they were not there.
//
// Owner:  none; the number that is planted belongs to the process.
// Thread: SetPlanted() before there is a second one; Planted() any.
// Bound:  one at a time.
// Errors: none. A number is never given to another fault.
#ifndef SLUICE_CORE_PLANT_H_
#define SLUICE_CORE_PLANT_H_

#include <string_view>

#include "sluice/core/language.h"

namespace sluice {

enum class Plant {
  kNone = 0,
  kLostWakeUp = 1,
  kStageWakeLost = 2,
  kOutsideWakeLost = 3,
  kLaneRoomLost = 4,
  kPaidMarkForgotten = 5,
  kCreditLeakedOnDeath = 6,
  kCreditsApart = 7,
  kWaiterOutOfOrder = 8,
  kOutboxRotated = 9,
  kParkedOnTheDead = 10,
  kChargeLeaked = 11,
  kWaitCycleUnseen = 12,
  kStaleHandle = 13,
  kDoubleDown = 14,
  kWrongMonitor = 15,
  kTimerAfterEnd = 16,
  kTimerAfterCancel = 17,
  kTimerEarly = 18,
  kRestartForgetsMessage = 19,
  kPromiseSilent = 20,
  kOneGateResumed = 21,
  kMemoryWaitersLost = 22,
  kDrainForgetsParked = 23,
  kDrainBeforeEmpty = 24,
  kShortReadAfterHangUp = 25,
  kEofDropsUnread = 26,
  kPartialWriteForgotten = 27,
  kCloseBeforeFlush = 28,
  kHalfCloseIsClose = 29,
  kNoLinger = 30,
  kIdleNotRearmed = 31,
  kStallClockRunsOn = 32,
  kWritableForgotten = 33,
  kPairNotResumed = 34,
  kResetLooksLikeEnd = 35,
  kAcceptStaysPaused = 36,
  kEvictsByAge = 37,
  kPlaceLeaked = 38,
  kLagOffByOne = 39,
  kConflateKeepsOldest = 40,
  kDropCountedTwice = 41,
  kSpokeLost = 42,
  kPassedOver = 43,
  kLastWordsUnsent = 45,
  kCreditBeforeMemory = 46,
  kCycleUnconfirmed = 47,
  kDrainSpins = 48,
  kBytesBehindHole = 49,
  kHighUnnoted = 50,
  kTurnUnshared = 60,
  kJudgedBeforeRead = 62,
  kStaleFileUnlocked = 85,
  kFileByName = 86,
  kEndByClose = 87,
  kResetByClose = 88,
  kListenerStays = 89,
  kMailBeforeOpen = 80,
  kEarlyBytesLost = 81,
  kInputFullUntold = 82,
  kSelfConnectTaken = 83,
  kSlotsStay = 75,
  kDueForgotten = 76,
  kFunctionRefused = 91,
  kClosingMemberCounts = 65,
  kPortionIsAll = 66,
  kConflateUncounted = 67,
  kEndsInside = 70,
  kCallbacksLast = 71,
  kStopInDestructor = 72,
  kReplacedStaysCharged = 93,
  kEvictsYoungest = 94,
  kLeaverForgets = 95,
  kReserveUnused = 130,
  kShedOneByOne = 131,
  kDrainAtFirstSilence = 132,
  kSilenceUnasked = 133,
};

struct PlantInfo {
  Plant plant;
  std::string_view name;
  std::string_view broken;  // What the code does wrong.
  std::string_view law;     // What should be seen to break.
};

inline constexpr PlantInfo kPlants[] = {
    // Messages, workers, credits.
    {Plant::kLostWakeUp, "lost_wake_up", "a worker sleeps without a last look at its inbox", "L5"},
    {Plant::kStageWakeLost, "stage_wake_lost",
     "a worker that has sent a multiple of 32 wakes nobody, as if a full stage had", "L5"},
    {Plant::kOutsideWakeLost, "outside_wake_lost",
     "each eighth message of outside threads to a worker does not wake it", "L5"},
    {Plant::kLaneRoomLost, "lane_room_lost",
     "of several actors that wait for room in a lane only the first is resumed", "L5"},
    {Plant::kPaidMarkForgotten, "paid_mark_forgotten",
     "a grant that meets a full lane forgets which messages it has paid for", "L5, credits"},
    {Plant::kCreditLeakedOnDeath, "credit_leaked_on_death",
     "a grant that does not find its waiter any more is not given back", "L5, credits"},
    {Plant::kCreditsApart, "credits_apart",
     "a sender reads the generation first, then takes a credit of whoever lives there now",
     "L8, L5, credits"},
    {Plant::kWaiterOutOfOrder, "waiter_out_of_order",
     "the last one to wait for credits is served first, and the first last", "fairness, L5"},
    {Plant::kOutboxRotated, "outbox_rotated",
     "what waits for room in a lane goes to the end of its outbox", "L2"},
    {Plant::kParkedOnTheDead, "parked_on_the_dead",
     "an actor that waits for credits is not told that its target has ended", "L5"},
    {Plant::kChargeLeaked, "charge_leaked",
     "a message that comes for an ended actor keeps its share of the memory budget", "L3"},
    {Plant::kWaitCycleUnseen, "wait_cycle_unseen",
     "a cycle of three or more parked actors is not reported", "L5"},
    // Life.
    {Plant::kStaleHandle, "stale_handle",
     "a message to an ended actor is given to the one that lives in its slot now", "L10"},
    {Plant::kDoubleDown, "double_down", "a monitor hears twice of an actor that failed", "L8"},
    {Plant::kWrongMonitor, "wrong_monitor",
     "of two monitors of one actor on another, taking back one takes away the first", "L8"},
    {Plant::kTimerAfterEnd, "timer_after_end",
     "timers of an actor that has stopped run while its children end", "L4, timers"},
    {Plant::kTimerAfterCancel, "timer_after_cancel",
     "a timer that became due while its actor was parked can not be cancelled", "timers"},
    {Plant::kTimerEarly, "timer_early", "a timer fires up to a millisecond early", "timers"},
    {Plant::kRestartForgetsMessage, "restart_forgets_message",
     "a restart drops the first message of the mailbox, too (counted)", "L5"},
    {Plant::kPromiseSilent, "promise_silent", "a promise that is dropped does not answer", "asks"},
    {Plant::kOneGateResumed, "one_gate_resumed",
     "room in the blocking pool resumes one worker's gate of several", "L5"},
    // Memory and drain.
    {Plant::kMemoryWaitersLost, "memory_waiters_lost",
     "when memory is back one connection of those that wait for it reads again", "L5"},
    {Plant::kDrainForgetsParked, "drain_forgets_parked",
     "a session that is parked when the drain wants to tell it never hears of it", "drain"},
    {Plant::kDrainBeforeEmpty, "drain_before_empty",
     "a connection counts as read out in a drain before its first EAGAIN", "drain, L9"},
    // Connections.
    {Plant::kShortReadAfterHangUp, "short_read_after_hang_up",
     "a short read means that nothing is left, even when RDHUP was reported", "L9"},
    {Plant::kEofDropsUnread, "eof_drops_unread",
     "RDHUP is taken for the end of the stream, before what was sent is read", "L9"},
    {Plant::kPartialWriteForgotten, "partial_write_forgotten",
     "a send that took a part of one buffer counts as one that took it all", "L9, bytes"},
    {Plant::kCloseBeforeFlush, "close_before_flush",
     "a closing connection sends its FIN while output is queued", "L9"},
    {Plant::kHalfCloseIsClose, "half_close_is_close",
     "the end of the peer's side closes ours, whatever the session wants", "L9"},
    {Plant::kNoLinger, "no_linger",
     "a connection closes behind its FIN without reading on; a reset kills the answer", "L9"},
    {Plant::kIdleNotRearmed, "idle_not_rearmed",
     "the timer of a connection that was active meanwhile is not armed again", "timeouts"},
    {Plant::kStallClockRunsOn, "stall_clock_runs_on",
     "a peer that takes some output is still counted as one that takes none", "timeouts"},
    {Plant::kWritableForgotten, "writable_forgotten",
     "a session that is parked when there is room to write never hears OnWritable", "L5"},
    {Plant::kPairNotResumed, "pair_not_resumed",
     "of a pair, the side whose output is low again reads on, not its partner", "L5"},
    {Plant::kResetLooksLikeEnd, "reset_looks_like_end",
     "a pipe passes on a reset as if the stream had ended", "L9"},
    // Acceptors.
    {Plant::kAcceptStaysPaused, "accept_stays_paused",
     "an acceptor without descriptors goes on only when a connection ends", "L5"},
    {Plant::kEvictsByAge, "evicts_by_age",
     "the connection that is evicted is the oldest, not the longest silent", "eviction"},
    {Plant::kPlaceLeaked, "place_leaked",
     "a connection that its worker refuses keeps its place in the limit", "L5, limits"},
    // Hubs.
    {Plant::kLagOffByOne, "lag_off_by_one",
     "drop_oldest counts one too few whenever its queue has gone round", "hub lag"},
    {Plant::kConflateKeepsOldest, "conflate_keeps_oldest",
     "conflate keeps the oldest message of a key, not the newest", "hub, conflate"},
    {Plant::kDropCountedTwice, "drop_counted_twice",
     "the message that ends a slow subscriber counts as missed twice", "L1"},
    {Plant::kSpokeLost, "spoke_lost",
     "one unsubscribe counts as two, and a worker's subscribers are forgotten", "hub"},
    // Faults that this code has had.
    {Plant::kPassedOver, "passed_over",
     "where a subscriber ends in a round, the one behind the next gets nothing", "hub"},
    {Plant::kClosingMemberCounts, "closing_member_counts",
     "a subscriber whose connection is closing still counts, and holds the room", "hub, L5"},
    {Plant::kPortionIsAll, "portion_is_all",
     "a message to a crowd goes to the first portion of its subscribers alone", "hub"},
    {Plant::kConflateUncounted, "conflate_uncounted",
     "what conflate finds no memory for is told as missed, and not counted", "L1, hub"},
    {Plant::kReplacedStaysCharged, "replaced_stays_charged",
     "a shorter message that replaces an older one keeps the older one's memory", "L3, hub"},
    {Plant::kLeaverForgets, "leaver_forgets",
     "what waits for a subscriber that leaves a hub is neither sent nor counted", "L1, hub"},
    {Plant::kLastWordsUnsent, "last_words_unsent",
     "what an ended actor's destructor sends to a full target stays in its outbox", "L5"},
    {Plant::kCreditBeforeMemory, "credit_before_memory",
     "a message that waits for memory holds a credit meanwhile", "L5, credits"},
    {Plant::kCycleUnconfirmed, "cycle_unconfirmed",
     "a cycle is reported though a grant on its way ends one of its waits", "deadlock"},
    {Plant::kDrainSpins, "drain_spins",
     "a drain that takes the turns itself does not wait for blocking functions", "L5, drain"},
    {Plant::kBytesBehindHole, "bytes_behind_hole",
     "a connection goes on sending behind bytes that found no memory", "L9, bytes"},
    {Plant::kSlotsStay, "slots_stay",
     "places of actors that ended stay with their worker, and others are refused", "spawns"},
    {Plant::kDueForgotten, "due_forgotten",
     "of timers due while their actor was parked, those behind one that parks it again are "
     "forgotten",
     "audit, timers"},
    {Plant::kEndsInside, "ends_inside",
     "an actor that another one's handler ends hears of it inside that handler", "L4"},
    {Plant::kCallbacksLast, "callbacks_last",
     "the callbacks of an actor that ends are destroyed after it", "life"},
    {Plant::kStopInDestructor, "stop_in_destructor",
     "a Stop in the destructor of an actor that is restarted is not looked for", "L5, life"},
    {Plant::kHighUnnoted, "high_unnoted",
     "reading stops for output that leaves at once, and nobody notes that it has", "L5"},
    // What belongs to the process.
    {Plant::kStaleFileUnlocked, "stale_file_unlocked",
     "servers that find one stale file of a UNIX socket replace it without a lock", "files"},
    {Plant::kFileByName, "file_by_name",
     "the file of a UNIX socket is removed by its name, whosever it is", "files"},
    {Plant::kEndByClose, "end_by_close",
     "a connection ends with close() alone, which a forked child's descriptor undoes", "L9"},
    {Plant::kResetByClose, "reset_by_close", "an abort ends in order, without a reset", "L9"},
    {Plant::kListenerStays, "listener_stays",
     "a listener that a forked child holds accepts on after the drain", "drain"},
    {Plant::kMailBeforeOpen, "mail_before_open",
     "a session is given its messages while it still connects", "early"},
    {Plant::kEarlyBytesLost, "early_bytes_lost",
     "what a session writes in its constructor is forgotten", "early, bytes"},
    {Plant::kInputFullUntold, "input_full_untold",
     "a frame that is longer than may be kept stops the reading, and nobody is told", "frames"},
    {Plant::kSelfConnectTaken, "self_connect_taken",
     "a socket that is connected to itself is taken for one that found its server", "early"},
    {Plant::kEvictsYoungest, "evicts_youngest",
     "of the workers the one is asked whose longest silent connection is the youngest", "eviction"},
    {Plant::kFunctionRefused, "function_refused",
     "a drain refuses what blocking functions send that it waits for", "drain"},
    {Plant::kReserveUnused, "reserve_unused",
     "while memory is spent, peers that read are not read either", "L5"},
    {Plant::kShedOneByOne, "shed_one_by_one",
     "of any crowd of peers that do not read one is ended in 100 ms", "L5"},
    {Plant::kDrainAtFirstSilence, "drain_at_first_silence",
     "in a drain a moment without bytes is taken for the end of what a peer had sent", "drain"},
    {Plant::kSilenceUnasked, "silence_unasked",
     "a peer is taken for dead before it is asked again after the time for it is over", "L9"},
    // Turns.
    {Plant::kTurnUnshared, "turn_unshared",
     "all timers and descriptors that are ready have their turn, however long that takes", "turns"},
    {Plant::kJudgedBeforeRead, "judged_before_read",
     "a deadline is judged while its descriptor stands on the ready list", "late"},
};

#ifdef SLUICE_PLANT

namespace internal {
inline Plant planted = Plant::kNone;
}  // namespace internal

inline void SetPlanted(int number) { internal::planted = static_cast<Plant>(number); }
inline bool Planted(Plant plant) { return internal::planted == plant; }

#else

constexpr bool Planted(Plant) { return false; }

#endif

}  // namespace sluice

#endif  // SLUICE_CORE_PLANT_H_
