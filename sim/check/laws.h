// Laws watches the runtimes of a simulation: after each step it checks what docs/laws.md promises
// of any runtime, whatever its actors do.
//
//   Laws laws(simulation);
//   Runtime runtime(options, simulation.os());
//   laws.Watch(runtime);
//   ...
//   runtime.Drain(absl::Seconds(10));
//   laws.AtEnd(runtime);
//
// A thread may stop in the middle of a turn, at a call to its Os, while a message is out of one
// count and not in the next. So a worker is checked while it is in PollerWait: no handler of it
// runs there, and all staged messages are flushed. Its part of L1 uses only its own counts (sent -
// put into lanes = delivered + dropped + held - taken from lanes), so no other worker needs to
// stand still. Memory adds up at every step. Checks across workers run when all workers are in
// PollerWait; the exact accounts of credits and waits also need that nothing is on its way between
// them.
//
// Laws that only the senders can check (L2, L4, L8, L9) are checked by the scenarios.
//
// Owner:  a scenario or a test; ends after what it watches.
// Thread: that which made the simulation.
// Bound:  a step's check walks workers and lanes. Slots and their contents are walked once in as
//         many steps as there are of them, so that the walks add a constant cost to each step.
// Errors: Simulation::Broken, with what was seen; Lines() also has later violations.
#ifndef SLUICE_SIM_CHECK_LAWS_H_
#define SLUICE_SIM_CHECK_LAWS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "sluice/core/runtime/inspector.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

class Laws {
 public:
  static constexpr size_t kLinesMax = 32;

  explicit Laws(Simulation& simulation);
  Laws(const Laws&) = delete;
  Laws& operator=(const Laws&) = delete;

  // Call when the runtime is made, before it opens anything but its workers' descriptors; watches
  // until AtEnd. `alone`: no other program on its machine has connections, so bytes can be
  // compared.
  void Watch(Runtime& runtime, bool alone = true);
  // Runs now all checks that otherwise run now and then.
  void Look(Runtime& runtime);
  // Call after the drain: nothing is left but `actors_expected` actors.
  void AtEnd(Runtime& runtime, int64_t actors_expected = 0);
  // No connection is left in the whole simulation. Waits for connections that are still closing.
  void NoConnections(absl::Duration timeout);

  // All violations found, a line each; at most kLinesMax.
  const std::vector<std::string>& Lines() const { return lines_; }
  // How often the accounts of all credits and waits were checked.
  int64_t Accounts() const { return accounts_; }

 private:
  // State of a slot at rest; indexed by its id.
  struct Row {
    uint32_t generation = 0;
    bool lives = false;  // The mailbox gives credits.
    int64_t capacity = 0;
    int64_t here = 0;  // Free credits, and those of held messages.
    int64_t out = 0;   // Credits of parked actors that have not sent yet.
    uint32_t paid = 0;
    uint32_t waiting = 0;
    uint32_t episode = 0;
    uint32_t head_slot = 0;
    uint32_t head_generation = 0;
    int64_t known = 0;  // Targets that know of this wait.
  };
  struct Wait {
    uint32_t target = 0;
    Inspector::WaiterView waiter;
  };
  struct Watched {
    Watched(Runtime& of, SimOs& on) : runtime(of), inspector(of), machine(on) {}
    Runtime& runtime;
    Inspector inspector;
    SimOs& machine;
    bool alone = true;
    int64_t descriptors_before = 0;
    SimOs::Traffic traffic_before;
    int64_t next_walk = 0;  // Steps.
    int64_t next_accounts = 0;
    Inspector::RuntimeView all;
    std::vector<Inspector::WorkerView> workers;
    std::vector<SimOs::WaitView> waits;
    std::vector<Row> rows;
    std::vector<Wait> waiters;
  };
  struct Sums {
    int64_t held = 0;
    int64_t reserved = 0;
    int64_t parked = 0;
    int64_t bytes = 0;
    int64_t actors = 0;
    int64_t descriptors = 0;
    int64_t scheduled = 0;
    int64_t free = 0;
  };

  Watched* Find(Runtime& runtime);
  void AfterStep(Watched& of);
  // Requires: all workers are in PollerWait. True: nothing is on its way between workers.
  bool CheckTransit(const Watched& of);
  void CheckWorker(const Watched& of, int worker);
  void CheckSleep(const Watched& of, int worker);
  void CheckMemory(const Watched& of);
  void Walk(Watched& of, bool accounts, bool at_end);
  int64_t WalkWorker(Watched& of, int worker, bool accounts, int64_t* bytes);
  void CheckMailbox(const Inspector::SlotView& slot, std::string_view where);
  void CheckProgress(const Inspector::SlotView& slot, std::string_view where);
  void CheckAccounts(Watched& of);
  void CheckConnections(const Watched& of);

  void Expect(bool holds, std::string_view law, absl::FunctionRef<std::string()> what);

  Simulation& simulation_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
  std::vector<std::unique_ptr<Watched>> watched_;
  std::vector<std::string> lines_;
  int64_t accounts_ = 0;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_CHECK_LAWS_H_
