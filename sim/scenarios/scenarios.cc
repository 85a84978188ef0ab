#include "sluice/sim/scenario.h"
#include "sluice/sim/scenarios/all.h"

namespace sluice::sim {

namespace {

Faults WithoutThreads() {
  Faults faults;
  faults.no_thread = 50'000;
  return faults;
}

// A wait that answers some of the events that are there is no poll that has looked at all; and who
// is refused a send again and again is idle, however often its peer has spoken before.
Faults WithAllEvents() {
  Faults faults;
  faults.few_events = faults.refused_send = 0;
  return faults;
}

}  // namespace

const std::vector<Scenario>& Scenarios() {
  static const auto& scenarios = *new std::vector<Scenario>{
      {"echo", "what clients send comes back, in order and once", Faults::Harsh(), RunEcho},
      {"broadcast", "each subscriber of a hub is told of each message, or that it missed it",
       Faults::Harsh(), RunBroadcast},
      {"accept_storm", "more clients than there is room for, and all get in when it is over",
       Faults::Harsh(), RunAcceptStorm},
      {"early", "what a session does before its connection stands takes effect when it does",
       Faults::Harsh(), RunEarly},
      {"frames", "a peer whose frame is too long is told, and holds nobody up", Faults::Harsh(),
       RunFrames},
      {"eviction", "at the limit the longest silent makes room, and nobody else", Faults(),
       RunEviction},
      {"dead_peers", "who is gone, silent or stands still is ended in time, for the right reason",
       Faults::Harsh(), RunDeadPeers},
      {"processes", "one file of a UNIX socket and several servers; children that hold descriptors",
       Faults::Harsh(), RunProcesses},
      {"turns", "busy and late workers: timers have their turn, and nobody is ended too early",
       WithAllEvents(), RunTurns},
      {"relay", "both ways of a relay are exact, and the end of one side is passed on as it is",
       Faults::Harsh(), RunRelay},
      {"drain", "what had arrived is answered, then all ends in time", Faults::Harsh(), RunDrain},
      {"dns", "a relay whose upstream's name moves, has several addresses, or none",
       Faults::Harsh(), RunDns},
      {"parked_drain", "who waits for a slow reader when a drain begins is told of it, too",
       Faults(), RunParkedDrain},
      {"chat", "who is in a room hears each line once and in order, or how many it missed",
       Faults::Harsh(), RunChat},
      {"overload", "ten times what a small server holds: who reads is served, and all recovers",
       Faults::Harsh(), RunOverload},
      {"stopped_readers",
       "a crowd writes and never reads: who reads waits for a second at most",
       Faults(),
       RunStoppedReaders,
       /*in_mixed=*/true,
       {{"times", 1}}},
      {"million",
       "a million connections at once, and the memory of each",
       Faults::None(),
       RunMillion,
       /*in_mixed=*/false,
       {{"connections", 1'000'000}}},

      {"messages", "actors and threads write to each other while some of them end", Faults(),
       RunMessages},
      {"saturation", "one slow actor is flooded, and memory is spent and freed", Faults(),
       RunSaturation},
      {"withdrawals", "actors end while credits are on their way to them, and none is lost",
       Faults(), RunWithdrawals},
      {"deadlock", "actors that wait for each other in rings, and in none", Faults(), RunDeadlock},
      {"timers", "storms of timers, of actors that are held up, parked and ended", Faults(),
       RunTimers},
      {"restarts", "trees of actors that fail and are made anew under load", Faults(), RunRestarts},
      {"blocking", "functions on a small pool of threads, of callers that end and fail",
       WithoutThreads(), RunBlocking},
      {"spawns", "crowds of actors move from worker to worker, and handles of the dead stay about",
       Faults(), RunSpawns},
      {"unruly", "slow, throwing and ending users, beside polite ones who are served",
       WithAllEvents(), RunUnruly},
      {"callbacks", "filters and notices of a hub that send, throw and end sessions", Faults(),
       RunCallbacks},
  };
  return scenarios;
}

}  // namespace sluice::sim
