// What the actors and scripts of a scenario say of themselves, so that what only they can know is
// checked: L2 (SequenceCheck), L8 (DownCheck), L9 (CloseCheck).
//
// A number names a party, and one life of it: who is made anew takes another number.
//
// Owner:  the scenario; it outlives its actors.
// Thread: those of the simulation, of which one runs at a time.
// Bound:  an entry for each pair, monitor or connection.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_CHECKS_H_
#define SLUICE_SIM_CHECKS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "sluice/actors/connection_ledger.h"
#include "sluice/sim/simulation.h"

namespace sluice::sim {

// Messages from one party to another are numbered from 1, and arrive in that order.
//
//   const int64_t number = order.Next(me, to);
//   if (Send(ref, Item{me, number}) == Answer::kAccepted) order.Sent(me, to);
//   ... order.Arrived(item.from, me, item.number);
class SequenceCheck {
 public:
  explicit SequenceCheck(Simulation& simulation) : simulation_(simulation) {}
  int64_t Next(int64_t from, int64_t to) { return pairs_[{from, to}].sent + 1; }
  void Sent(int64_t from, int64_t to) { ++pairs_[{from, to}].sent; }
  // Gaps are allowed here: what was dropped is told at the end.
  void Arrived(int64_t from, int64_t to, int64_t number);
  int64_t SentTotal() const;
  int64_t ArrivedTotal() const;
  // `dropped`: so many messages were, by the ledger; all others have arrived.
  void AtEnd(int64_t dropped = 0);

 private:
  struct Pair {
    int64_t sent = 0;
    int64_t arrived = 0;
    int64_t last = 0;
  };
  Simulation& simulation_;
  std::map<std::pair<int64_t, int64_t>, Pair> pairs_;
};

// Each monitor hears Down once, after the last message of whom it watched.
class DownCheck {
 public:
  explicit DownCheck(Simulation& simulation) : simulation_(simulation) {}
  void Monitored(int64_t watcher, int64_t target, uint64_t monitor);
  void TakenBack(int64_t watcher, uint64_t monitor);  // No Down is due any more; one may have come.
  void WatcherEnded(int64_t watcher);                 // Nor for any of its monitors.
  void Message(int64_t from, int64_t to);             // From a target to a watcher.
  void Down(int64_t watcher, uint64_t monitor);
  void AtEnd();  // All targets have ended.

 private:
  struct Monitor {
    int64_t target = 0;
    int downs = 0;
    bool due = true;
  };
  Simulation& simulation_;
  std::map<std::pair<int64_t, uint64_t>, Monitor> monitors_;  // By watcher and monitor.
  std::map<std::pair<int64_t, int64_t>, int> down_;  // By watcher and target: Downs that came.
};

// Each connection whose session was told that it is open is told once that it has ended, with one
// reason.
class CloseCheck {
 public:
  explicit CloseCheck(Simulation& simulation) : simulation_(simulation) {}
  int64_t Opened();  // Its number.
  void Closed(int64_t connection, CloseReason reason);
  void AtEnd(const ConnectionLedger::Totals& totals);

 private:
  Simulation& simulation_;
  std::map<int64_t, std::optional<CloseReason>> connections_;
  std::array<int64_t, kCloseReasonCount> closed_{};
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_CHECKS_H_
