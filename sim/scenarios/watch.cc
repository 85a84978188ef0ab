#include "sluice/sim/scenarios/watch.h"

#include <new>
#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"
#include "sluice/sim/world/sim_os.h"

namespace sluice::sim {

Handling::Handling(Simulation& simulation, bool& inside, const Slot* slot) : inside_(inside) {
  if (inside_) simulation.Broken("L4 one at a time", "two handlers of an actor overlap");
  inside_ = true;
  if (Worker::Current() != slot->worker) {
    simulation.Broken("L4 one at a time", "a handler runs on a worker that is not its actor's");
  }
  slot->worker->os().NowNs();
}

int64_t Streams::Next(int64_t from, int64_t to) const {
  const auto found = counts_.find({from, to});
  return found == counts_.end() ? 0 : found->second.sent;
}

void Streams::Sent(int64_t from, int64_t to) {
  ++counts_[{from, to}].sent;
  ++sent_in_all_;
}

void Streams::Received(int64_t from, int64_t to, int64_t number) {
  int64_t& received = counts_[{from, to}].received;
  if (number != received) {
    simulation_.Broken("L2 order", absl::StrCat(to, " got message ", number, " of ", from,
                                                ", and expected ", received));
  }
  ++received;
}

int64_t Streams::Missing(absl::FunctionRef<bool(int64_t key)> lives) const {
  int64_t missing = 0;
  for (const auto& [pair, counts] : counts_) {
    if (counts.sent != counts.received && lives(pair.first) && lives(pair.second)) {
      missing += counts.sent - counts.received;
    }
  }
  return missing;
}

bool Happens(Site& site, std::string_view what, absl::FunctionRef<bool()> done,
             absl::Duration within) {
  Simulation& simulation = site.simulation();
  if (simulation.Failed()) return false;  // After a failure it need not happen.
  if (simulation.RunUntil([&] { return simulation.Failed() || done(); }, within)) {
    return !simulation.Failed();
  }
  simulation.Broken("L5 progress", absl::StrCat("it does not happen that ", ToAbsl(what), "\n",
                                                site.runtime().Dump()));
  return false;
}

void ThrowSomething(Random& random) {
  struct Nameless {};
  switch (random.Below(7)) {
    case 0:
      throw std::runtime_error("a runtime_error");
    case 1:
      throw std::string("a string");
    case 2:
      throw 42;
    case 3:
      throw "a literal";
    case 4:
      throw std::bad_alloc();
    case 5:
      throw Nameless();
    default:
      try {
        throw std::logic_error("inside");
      } catch (...) {
        std::throw_with_nested(std::runtime_error("a nested error"));
      }
  }
}

}  // namespace sluice::sim
