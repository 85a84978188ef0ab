// Watch has the common checks of actor scenarios: one handler at a time, numbered messages from
// each sender to each receiver, and events that must happen.
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

// Law L4: one object in each handler and callback of an actor. It makes a system call, so other
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

// Laws L1 and L2. Each actor and each sending thread has a key of its own, never reused.
class Streams {
 public:
  explicit Streams(Simulation& simulation) : simulation_(simulation) {}

  // The number of the next message, before it is sent.
  int64_t Next(int64_t from, int64_t to) const;
  void Sent(int64_t from, int64_t to);  // The message was accepted.
  // Called by actor `to`: `number` must be the next one of this sender.
  void Received(int64_t from, int64_t to, int64_t number);
  // Messages accepted and not received, between pairs that both live.
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

// Law L5: returns false, and breaks the law, if it does not happen in time.
bool Happens(Site& site, std::string_view what, absl::FunctionRef<bool()> done,
             absl::Duration within = absl::Minutes(1));

// Throws an object of any kind: a standard exception, another class, or no class.
[[noreturn]] void ThrowSomething(Random& random);

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_WATCH_H_
