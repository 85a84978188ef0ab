#include "sluice/sim/run/scenario.h"
#include "sluice/sim/scenarios/all.h"

namespace sluice::sim {

namespace {

Faults WithoutThreads() {
  Faults faults;
  faults.no_thread = 50'000;
  return faults;
}

// Without two faults that would break a check: a wait that reports only some events is not a poll
// that has seen all; and a client that is refused its sends again and again counts as idle, though
// its peer spoke.
Faults WithAllEvents() {
  Faults faults;
  faults.few_events = faults.refused_send = 0;
  return faults;
}

}  // namespace

const std::vector<Scenario>& Scenarios() {
  static const auto& scenarios = *new std::vector<Scenario>{
      {"echo", "what clients send comes back, in order and once", Faults::Harsh(),
       echo_scenario::Run},
      {"broadcast", "each subscriber of a hub gets each message, or a notice that it missed it",
       Faults::Harsh(), broadcast_scenario::Run},
      {"accept_storm", "more clients than there is room for, and all get in when it is over",
       Faults::Harsh(), accept_storm_scenario::Run},
      {"early", "what a session does before its connection stands takes effect when it does",
       Faults::Harsh(), early_scenario::Run},
      {"frames", "a peer that sends too long a frame is notified, and delays no other",
       Faults::Harsh(), early_scenario::RunFrames},
      {"tasks", "sessions whose code is tasks answer in order, and leave no frame behind",
       Faults::Harsh(), tasks_scenario::Run},
      {"cancels",
       "tasks are cancelled at each kind of wait in each way, and nothing of them is left",
       Faults(), cancels_scenario::Run},
      {"files", "ranges of files come whole and in their place, and no worker waits for a disk",
       Faults::Harsh(), files_scenario::Run},
      {"eviction", "at the limit the longest silent connection makes room, and no other", Faults(),
       eviction_scenario::Run},
      {"dead_peers",
       "a peer that is gone, silent or stands still is ended in time, for the right reason",
       Faults::Harsh(), dead_peers_scenario::Run},
      {"processes", "one file of a UNIX socket and several servers; children that hold descriptors",
       Faults::Harsh(), processes_scenario::Run},
      {"turns",
       "busy and late workers: timers have their turn, and no connection is ended too early",
       WithAllEvents(), turns_scenario::Run},
      {"relay", "both ways of a relay are exact, and the end of one side is passed on as it is",
       Faults::Harsh(), relay_scenario::Run},
      {"drain", "what had arrived is answered, then all ends in time", Faults::Harsh(),
       drain_scenario::Run},
      {"answers", "answers that come late reach a peer that has half-closed, and in a drain",
       Faults::Harsh(), answers_scenario::Run},
      {"dns", "a relay whose upstream's name moves, has several addresses, or none",
       Faults::Harsh(), dns_scenario::Run},
      {"parked_drain",
       "a session that waits for a slow reader when a drain begins is notified, too", Faults(),
       parked_drain_scenario::Run},
      {"chat", "a member of a room gets each line once and in order, or the number it missed",
       Faults::Harsh(), chat_scenario::Run},
      {"overload",
       "ten times what a small server holds: peers that read are served, and all recovers",
       Faults::Harsh(), overload_scenario::Run},
      {"stopped_readers",
       "a crowd writes and never reads: a peer that reads waits for a second at most",
       Faults(),
       stopped_readers_scenario::Run,
       /*in_mixed=*/true,
       {{"times", 1}}},
      {"million",
       "a million connections at once, and the memory of each",
       Faults::None(),
       million_scenario::Run,
       /*in_mixed=*/false,
       {{"connections", 1'000'000}}},

      {"messages", "actors and threads write to each other while some of them end", Faults(),
       messages_scenario::Run},
      {"saturation", "one slow actor is flooded, and memory is spent and freed", Faults(),
       saturation_scenario::Run},
      {"withdrawals", "actors end while credits are on their way to them, and none is lost",
       Faults(), withdrawals_scenario::Run},
      {"deadlock", "actors that wait for each other in rings, and in none", Faults(),
       deadlock_scenario::Run},
      {"timers", "storms of timers, of actors that are held up, parked and ended", Faults(),
       timers_scenario::Run},
      {"restarts", "trees of actors that fail and are recreated under load", Faults(),
       restarts_scenario::Run},
      {"blocking", "functions on a small pool of threads, of callers that end and fail",
       WithoutThreads(), blocking_scenario::Run},
      {"holds", "actors that hold their mail while they work take no message, and lose none",
       WithoutThreads(), holds_scenario::Run},
      {"spawns", "crowds of actors move from worker to worker, and handles of the dead stay about",
       Faults(), spawns_scenario::Run},
      {"subscriptions", "actors join a hub, wait for its messages, leave and join again", Faults(),
       subscriptions_scenario::Run},
      {"joins", "hubs end while sessions and actors join them, and each join is answered", Faults(),
       joins_scenario::Run},
      {"unruly", "slow, throwing and ending actors beside polite ones, which are served",
       WithAllEvents(), unruly_scenario::Run},
      {"callbacks", "filters and notices of a hub that send, throw and end sessions", Faults(),
       callbacks_scenario::Run},
  };
  return scenarios;
}

}  // namespace sluice::sim
