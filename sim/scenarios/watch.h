// What the scenarios of actors watch with: handlers one at a time, messages that are numbered from
// each sender to each receiver, and things that must happen.
//
// Owner:  the scenario. Thread: any of the simulation's, of which one runs at a time.
// Bound:  a word for each pair that ever sent. Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_WATCH_H_
#define SLUICE_SIM_SCENARIOS_WATCH_H_

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "sluice/core/slot/slot.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

// L4: one in each handler and callback of an actor. It makes a call to the system, so that other
// threads may run in the middle of the handler.
class Handling {
 public:
  Handling(Simulation& simulation, bool& inside, const Slot* slot);
  ~Handling() { inside_ = false; }
  Handling(const Handling&) = delete;
  Handling& operator=(const Handling&) = delete;

 private:
  bool& inside_;
};

// L1 and L2. Each actor and each thread that sends has a key that no other one ever has.
class Streams {
 public:
  explicit Streams(Simulation& simulation) : simulation_(simulation) {}

  int64_t Next(int64_t from, int64_t to) const;  // The number of a message, before it is sent.
  void Sent(int64_t from, int64_t to);           // It was accepted.
  // By the actor with the key `to`: that number, and no other, is the next of this sender.
  void Received(int64_t from, int64_t to, int64_t number);
  // So many were accepted and have not come, of the pairs in which both go on living.
  int64_t Missing(absl::FunctionRef<bool(int64_t key)> lives) const;
  int64_t SentInAll() const { return sent_in_all_; }

 private:
  struct Counts {
    int64_t sent = 0;
    int64_t received = 0;
  };
  Simulation& simulation_;
  std::map<std::pair<int64_t, int64_t>, Counts> counts_;
  int64_t sent_in_all_ = 0;
};

// L5: false, and broken, where it does not happen within that time.
bool Happens(Site& site, std::string_view what, absl::FunctionRef<bool()> done,
             absl::Duration within = absl::Minutes(1));

// Of any kind: of the standard's classes, of others, of none.
[[noreturn]] void ThrowSomething(Random& random);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_WATCH_H_
