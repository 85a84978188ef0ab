// Simulation is a world for programs that run on an Os: machines, a network between them, time, and
// all their threads. Every choice comes from one seed: the same seed gives the same run.
//
//   sim::Simulation simulation(seed);
//   Runtime runtime(options, simulation.os());
//   runtime.Listen<Echo>("10.0.0.1:7001");
//   SLUICE_CHECK(runtime.Start().ok());                  // The workers are threads in here.
//   sim::Client client(simulation.NewMachine("client"));
//   client.Connect("10.0.0.1:7001");                     // Waits; meanwhile the others run.
//
// A thread is a fiber. It runs until a call to its SimOs waits, or until a call is chosen to go on
// later (Faults::preempt); then the seed picks the next runnable thread. Time stands still except
// for the cost of calls (kCallNs), and jumps when all threads sleep. The code that made the
// simulation is a thread, too: while it waits, the others run.
//
// Owner:  the test. Everything that uses its machines ends before it.
// Thread: one thread of the system, which made it. Two simulations may run on two threads.
// Bound:  kStackBytes for each thread; otherwise what its programs ask for.
// Errors: a broken law is kept as violation(): the run goes on, so that it can end.
#ifndef SLUICE_SIM_WORLD_SIMULATION_H_
#define SLUICE_SIM_WORLD_SIMULATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "sluice/core/os/os.h"
#include "sluice/sim/world/faults.h"
#include "sluice/sim/world/random.h"
#include "sluice/sim/world/trace.h"

namespace sluice::sim {

class SimOs;
class Network;
struct SimThread;

// Amounts that a test draws, by name.
using Amounts = std::map<std::string, int64_t>;

class Simulation {
 public:
  static constexpr size_t kStackBytes = 256 * 1024;
  static constexpr int64_t kCallNs = 200;  // Cost of a system call.

  explicit Simulation(uint64_t seed, const Faults& faults = Faults(), Amounts amounts = {});
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // os(): the machine "server", 10.0.0.1. Others are 10.0.0.2 and so on.
  SimOs& os() { return *machines_.front(); }
  SimOs& NewMachine(std::string name);
  const std::vector<std::unique_ptr<SimOs>>& machines() const { return machines_; }

  uint64_t seed() const { return seed_; }
  Faults faults;
  Random& random() { return random_; }
  // An amount of something that a test makes. The seed draws it from [least, most]; if the
  // constructor's `amounts` name it, it is theirs, clamped to that range. Each name is drawn
  // separately, so less of one changes no other. A name has one range in all of a run.
  int64_t Amount(const std::string& name, int64_t least, int64_t most);
  const Amounts& amounts() const { return amounts_; }
  Trace& trace() { return trace_; }
  Network& network() { return *network_; }
  int64_t NowNs() const { return now_ns_; }
  int64_t Steps() const { return steps_; }

  // --- Events. Called on the thread that made the simulation, or on one of its own.

  // Starts a thread on that machine. The thread must end before the simulation does.
  ThreadId StartThread(SimOs& os, std::string name, std::function<void()> main);
  void Join(ThreadId thread);
  // The running thread sleeps, and the others go on. Called in a handler, it makes a slow handler.
  void Sleep(absl::Duration time);
  // False: `timeout` passed first. `done` is called whenever another thread has run.
  bool RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout);
  // Runs `act` after `later`, between two threads' turns; `act` must not wait.
  void At(absl::Duration later, absl::AnyInvocable<void()> act);

  // --- Laws.

  // `check` runs after every step of a thread, and reports violations with Broken().
  void AfterEachStep(absl::AnyInvocable<void()> check) { checks_.push_back(std::move(check)); }
  void Broken(std::string_view law, std::string_view what);
  bool Failed() const { return !violation_.empty(); }
  // The first broken law, how, and when; empty: none.
  const std::string& violation() const { return violation_; }

  // --- For machines and networks.

  // Fires at `at_ns`, on no thread: acts like a network card or a clock.
  using Event = void (*)(void* object, uint64_t number);
  void Post(int64_t at_ns, std::shared_ptr<void> object, Event event, uint64_t number);
  // The running thread waits until Wake() or the deadline (kNever: for ever).
  static constexpr int64_t kNever = INT64_MAX;
  void Block(int64_t deadline_ns);
  void Wake(SimThread& thread);
  SimThread& Running() { return *running_; }
  const std::string& RunningName() const;
  // At each system call: time passes, due events fire, and another thread may go first.
  void Called(bool may_switch);
  // How often all threads slept and were woken by force. A wait during which it grew returns
  // without an event.
  int64_t Forced() const { return forced_; }

 private:
  struct Due {
    int64_t at_ns;
    uint64_t order;
    std::shared_ptr<void> object;
    Event event;
    uint64_t number;
    bool operator<(const Due& other) const {  // std::push_heap keeps the greatest first.
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };

  void FireDue();
  void SwitchAway();  // Returns when the running thread is picked again.
  void StepOthers();  // Makes one step of a thread, or of time.
  void Run(SimThread& thread);
  void NobodyCanRun();

  const uint64_t seed_;
  const Amounts told_amounts_;
  Amounts amounts_;
  Random random_;
  Trace trace_;
  int64_t now_ns_ = 1'000'000'000;
  int64_t steps_ = 0;
  uint64_t next_order_ = 0;
  std::vector<Due> due_;                          // A heap.
  std::vector<absl::AnyInvocable<void()>> acts_;  // Acts of At() that are due.
  // Indexed by ThreadId; the first made the simulation.
  std::vector<std::unique_ptr<SimThread>> threads_;
  std::vector<SimThread*> runnable_;
  SimThread* running_;
  int64_t forced_ = 0;
  std::vector<absl::AnyInvocable<void()>> checks_;
  std::string violation_;
  std::unique_ptr<Network> network_;
  std::vector<std::unique_ptr<SimOs>> machines_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_SIMULATION_H_
