// Runtime has the workers, the memory budget and the names. A program makes one, fills it with
// actors and runs it.
//
//   sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
//   runtime.Listen<Echo>("127.0.0.1:7001");
//   return runtime.RunUntilSignal();
//
// Owner:  the program.
// Thread: any, handlers included. But Start, Drain and RunUntilSignal are called one at a time, and
//         not in a handler. Drain, RunUntilSignal and the destructor wait for all handlers; called
//         in a handler, they end the process, with a line that names the handler. exit() in a
//         handler ends the process at once, with its code: no drain, no destructors. Elsewhere
//         exit() destroys static objects while workers run, so a program drains first.
// Bound:  the three numbers of Ceiling(): fixed part, budget, the kernel's worst case.
// Errors: the first error before the run (an option, an address) is kept; Start and RunUntilSignal
//         report it.
#ifndef SLUICE_CORE_RUNTIME_RUNTIME_H_
#define SLUICE_CORE_RUNTIME_RUNTIME_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <typeinfo>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/mailbox/ledger.h"
#include "sluice/core/mailbox/rest.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/core/runtime/progress_watch.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/core/slot/shared.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/worker/placing.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// A worker is destroyed in its home; the home outlives it.
struct LeaveHome {
  void operator()(Worker* worker) const;
};
class Acceptor;
class Names;
class Runtime;

// Keeps an address in Runtime::Listening() until this object ends or is assigned to. Ends before
// its runtime.
class ListedAddress {
 public:
  ListedAddress() = default;  // None.
  ListedAddress(Runtime& runtime, int64_t number) : runtime_(&runtime), number_(number) {}
  ListedAddress(ListedAddress&& other) noexcept
      : runtime_(std::exchange(other.runtime_, nullptr)), number_(other.number_) {}
  ListedAddress& operator=(ListedAddress&& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(number_, other.number_);
    other.Remove();
    return *this;
  }
  ~ListedAddress() { Remove(); }

 private:
  void Remove();

  Runtime* runtime_ = nullptr;
  int64_t number_ = 0;
};

// The most memory the process takes, as printed at start.
struct Ceiling {
  int64_t fixed_bytes = 0;      // Workers, lanes, pools, slots, connections without their buffers.
  int64_t budget_bytes = 0;     // Messages and buffers.
  int64_t kernel_bytes = 0;     // Socket buffers of max_connections at their worst.
  int64_t allocator_bytes = 0;  // Allowance for the allocator, on top: an eighth of the first two.
  int64_t ProcessBytes() const { return fixed_bytes + budget_bytes + allocator_bytes; }
  int64_t SumBytes() const { return ProcessBytes() + kernel_bytes; }
  std::string ToString() const;
  // The warning to log if the process may have less than ProcessBytes(); empty: it may have as
  // much.
  std::string Excess(int64_t memory_bytes) const;
};

class Runtime {
 public:
  explicit Runtime(Options options);
  Runtime(Options options, Os& os);  // `os` outlives the runtime.
  ~Runtime();                        // Ends what still runs, as Drain with no time left.
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // --- Filling it.

  // Serves sessions of class S on these addresses (or on those of --listen=); the arguments are
  // copied into each session's constructor. A program that calls this several times names each
  // listener, "http=127.0.0.1:80", so that --listen=http=... can name it, too. Defined in
  // sluice/actors/peers/acceptor.h. Any thread, also while the runtime runs. Answers a dead Ref if
  // an address is not available. Before Start, the first error is kept; later, each error and each
  // address is logged. Refused once a drain has begun.
  template <class S, class... Args>
  Ref<Acceptor> Listen(std::string_view default_addresses, Args... args);
  // Spawns a root actor, on the workers in turn or as the options say. Never waits: the constructor
  // runs later, on the actor's worker; if it throws, the actor ends. Answers a dead Ref, counted as
  // refused, if actors_max actors live, the drain's deadline has passed or the drain is over.
  template <class A, class... Args>
  Ref<A> Spawn(Args&&... args);
  template <class A, class... Args>
  Ref<A> SpawnWith(const SpawnOptions& options, Args&&... args);
  // As Actor::SpawnRestarting. A root that fails too often ends; the others go on.
  template <class A, class... Args>
  Ref<A> SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options, Args&&... args);

  // A name belongs to one actor. Unregister() frees it; once that actor has ended, Register() may
  // overwrite it.
  template <class A>
  absl::Status Register(std::string_view name, const Ref<A>& ref) {
    return AddName(name, ref.slot(), ref.generation(), typeid(A));
  }
  template <class A>
  Ref<A> Find(std::string_view name) const {
    const auto [slot, generation] = FindName(name, typeid(A));
    return Ref<A>(slot, generation);
  }
  void Unregister(std::string_view name);
  // For errors that a program finds itself (in a flag of its own): Start and RunUntilSignal report
  // the first. Once the runtime runs, each is logged. Any thread.
  void KeepError(absl::Status status);

  // --- Running it.

  // Starts the workers' threads; OK if they run already. If the system refuses a thread, none runs,
  // and the status says so. After a drain: FailedPrecondition.
  absl::Status Start();
  // All input received so far is answered, all accepted messages are handled and running blocking
  // functions return; then all ends. What is left at the deadline is dropped and counted.
  //
  // Drain also waits for parked actors; it finds and breaks their wait cycles as usual
  // (probe_after, on_wait_cycle). Timers that fire again and again delay it only for the messages
  // that they send. If actors still work or wait when half of the time is over, sessions get
  // OnDrain all the same, and the log names those actors.
  //
  // Blocks the caller. Called once; later calls do nothing. No thread can be ended from outside. So
  // Drain waits past its deadline for a handler that has not returned, for ever if it never does,
  // and logs a line that names it. A blocking function is left behind instead: it runs on, and what
  // it uses must live as long as it runs.
  void Drain(absl::Duration timeout);
  // Starts, prints `listening on ADDRESS` lines on stdout, serves until SIGTERM, SIGINT or SIGHUP,
  // and drains. The exit code: 0, or 1 with the error on stderr. A SIGTERM or SIGINT that comes 100
  // ms later, or later still, ends the process at once, with code 1 and without a ledger; SIGUSR1
  // prints Dump() to stderr.
  //
  // A SIGHUP that the program ignores, handles or blocks is left to the program. Runs on any
  // thread, and a signal may come on any thread; if several runtimes run, each drains. SIGPIPE and
  // SIGXFSZ end nothing meanwhile. After the return, signals work as before; child processes and
  // programs that handlers start are not affected. A line that stdout does not take goes to the
  // log.
  //
  // If a blocking function has not returned at the drain's deadline, or a handler one second later,
  // the log names it, and after the ledger the process ends with code 0; no destructor runs. That
  // second counts only while no worker begins a turn or a handler: a slow machine gets up to a
  // minute.
  int RunUntilSignal();

  // --- Looking at it.

  const Options& options() const { return shared_.options; }
  Os& os() { return shared_.os; }
  Budget& budget() { return *shared_.budget; }
  int WorkerCount() const { return options().workers; }
  // Addresses of the acceptors of Listen, in the order of its calls; port 0 is replaced by the
  // actual port. An acceptor that ends, or stops accepting in a drain, leaves the list.
  std::vector<std::string> Listening() const;
  sluice::Ceiling Ceiling() const;
  // Sums of all workers' ledgers. Exact once Drain has returned. Before, each worker is asked by a
  // message, and a worker that does not answer within 1 s is left out. A handler does not wait: its
  // own worker's ledger is exact; for the others it gets their last reports, from their start or
  // the last question, and each such call asks them again.
  Ledger TotalLedger();
  // The dump has one fact per line: time since the start, addresses, limits against use, workers,
  // parked actors and the actors that they wait for, heaviest memory holders, the ledger, and rates
  // since the last dump (the first: since the start). Waits as TotalLedger does. Figures that are
  // not current have their age, and a worker that does not answer is named with the handler that
  // holds it.
  std::string Dump();
  int64_t ActorCount() const { return shared_.slots.ActorCount(); }  // Alive now.
  int64_t WaitCyclesFound() const { return shared_.wait_cycles.Found(); }
  std::string LastWaitCycle() const { return shared_.wait_cycles.Last(); }

  // --- For the layers above: not for programs.

  absl::Status status() const;
  [[nodiscard]] ListedAddress AddListening(std::string address);
  // The addresses of a call of Listen: those that --listen= has for its name, or the program's own.
  absl::StatusOr<std::string> AddressesToListen(std::string_view program_addresses);
  bool Started() const { return started_.load(std::memory_order_relaxed); }
  // The runtime's only object of type T, which a layer above provides; created when first asked
  // for. Any thread. Its Report() is a line of the dump and of the report after a drain. Rates(ns),
  // if it has one, gives lines for the dump about the last `ns` nanoseconds, since the previous
  // call.
  template <class T, class... Args>
  T& Attachment(Args&&... args) {
    std::lock_guard<std::mutex> lock(attachments_lock_);
    std::shared_ptr<void>& place = attachments_[std::type_index(typeid(T))];
    if (place == nullptr) {
      auto made = std::make_shared<T>(std::forward<Args>(args)...);
      reports_.push_back([made] { return made->Report(); });
      if constexpr (requires { made->Rates(int64_t{}); }) {
        rates_.push_back([made](int64_t past_ns) { return made->Rates(past_ns); });
      }
      place = std::move(made);
    }
    return *static_cast<T*>(place.get());
  }
  // Adds to Ceiling() another max_connections connections, and `user_bytes` that a layer above
  // keeps for each.
  void AddConnections(int64_t user_bytes);
  Shared& shared() { return shared_; }
  BlockingPool& blocking() { return *blocking_; }
  Worker& worker(int index) { return *workers_[static_cast<size_t>(index)]; }
  // Runs `call` on a worker's thread, in order with what this thread sent to that worker before.
  void Call(int worker, absl::AnyInvocable<void(Worker&)> call);

  // Takes one step of a drain; true when all has ended. `deadline_ms` is by the Os's clock.
  bool DrainStep(int64_t deadline_ms);

 private:
  friend class Inspector;
  friend class ListedAddress;

  enum class DrainPhase { kNone, kReading, kClosing, kStopping, kLast, kShutdown, kDone };

  // A worker's report, with its time by the Os's clock; 0: never.
  struct Figures {
    Ledger ledger;
    int64_t ledger_ns = 0;
    std::string text;
    int64_t text_ns = 0;
  };
  struct LastFigures {
    std::mutex lock;
    Figures figures;
    bool ledger_asked = false;  // A handler asked, and has no answer yet: one question at a time.
    bool text_asked = false;
    int questions = 0;  // Questions of other threads that are not answered yet.
  };

  // A question to all workers, with the answers so far. Shared: a worker that is held may answer
  // after the thread that asked has given up.
  struct AskedFigures {
    std::mutex lock;
    std::condition_variable all_in;
    std::vector<Figures> figures;
    int missing = 0;
    int64_t deadline_ns = 0;  // By the Os's clock; no thread waits longer.
  };

  absl::Status AddName(std::string_view name, Slot* slot, uint32_t generation,
                       const std::type_info& type);
  std::pair<Slot*, uint32_t> FindName(std::string_view name, const std::type_info& type) const;
  bool Quiescent();
  int64_t Published(bool io);
  void CallAll(void (DrainOrders::*order)());
  void JoinWorkers();
  absl::Status CheckListenNames() const;
  void JoinThreads();
  static void WatchExit();
  void RefuseInHandler(const char* call) const;
  void PrintLedger(const Ledger& total);
  std::vector<std::string> Reports();
  std::string RatesSinceDump(const Ledger& ledger);
  // figures.cc
  static Figures FiguresOf(Worker& worker, bool with_text);
  void TellFigures(Worker& worker, bool with_text);
  std::vector<Figures> CollectFigures(bool with_text);
  std::vector<Figures> LastFiguresFor(Worker& here, bool with_text);
  std::shared_ptr<AskedFigures> AskForFigures(bool with_text);
  // True: all answers are there, or the wait is over. Never waits.
  bool HasFigures(AskedFigures& asked);
  std::vector<Figures> WaitForFigures(AskedFigures& asked);
  std::string DumpOf(const std::vector<Figures>& figures);
  Ledger SumOf(const std::vector<Figures>& figures) const;
  void PauseDrain();
  bool AllRest() const;
  void LookForProgress(int64_t now_ms);
  void WorkerMain(Worker& worker);
  static Options Checked(Options options, Os& os, absl::Status* status);

  const int64_t made_ns_;  // By the Os's clock.
  absl::Status status_;
  Shared shared_;
  Os& os_;
  const Options& options_;
  std::unique_ptr<BlockingPool> blocking_;
  std::vector<std::unique_ptr<Worker, LeaveHome>> workers_;
  std::vector<ThreadId> threads_;
  // For status_, listening_, listener_names_, listed_, connections_, connections_user_bytes_.
  mutable std::mutex setup_lock_;
  std::vector<std::pair<int64_t, std::string>> listening_;  // By their numbers.
  std::vector<std::string> listener_names_;                 // Of calls of Listen.
  int64_t listed_ = 0;                                      // The last number.
  std::vector<absl::AnyInvocable<std::string()>> reports_;
  std::vector<absl::AnyInvocable<std::string(int64_t)>> rates_;
  std::mutex dumped_lock_;  // For the two below, from which the next dump's rates count.
  int64_t dumped_ns_;
  int64_t dumped_delivered_ = 0;
  std::mutex attachments_lock_;
  std::map<std::type_index, std::shared_ptr<void>> attachments_;
  int64_t connections_ = 0;  // For all listeners together, at their limits.
  int64_t connections_user_bytes_ = 0;
  // Stored by Start and Drain; any thread reads it to see whether an error is still kept. Relaxed:
  // an error that comes meanwhile is kept or logged.
  std::atomic<bool> started_{false};
  bool ended_ = false;
  std::vector<std::unique_ptr<LastFigures>> last_figures_;  // By worker; each under its lock.

  const std::unique_ptr<Names> names_;

  DrainPhase phase_ = DrainPhase::kNone;
  int64_t looks_ = 0;             // In this phase.
  int64_t tell_sessions_ms_ = 0;  // From then on sessions get OnDrain, even if actors still work.
  int64_t end_reading_ms_ = 0;    // From then on nothing more is read, even if peers still send.
  ProgressWatch progress_watch_;  // From the deadline on.
  std::mutex pause_lock_;         // The coordinator's only, as a wait needs a lock.
  std::condition_variable pause_;
  std::vector<int> held_workers_;  // A handler still ran there at the end of the drain.
  RestWatch rest_watch_;
};

template <class A, class... Args>
Ref<A> Runtime::Spawn(Args&&... args) {
  using Refused = internal::SpawnRefused<A, std::decay_t<Args>...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    return internal::Place<A>(shared_, SpawnOptions{}, nullptr, std::forward<Args>(args)...);
  }
}

template <class A, class... Args>
Ref<A> Runtime::SpawnWith(const SpawnOptions& options, Args&&... args) {
  using Refused = internal::SpawnRefused<A, std::decay_t<Args>...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    return internal::Place<A>(shared_, options, nullptr, std::forward<Args>(args)...);
  }
}

template <class A, class... Args>
Ref<A> Runtime::SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options,
                                Args&&... args) {
  using Refused = internal::RestartRefused<A, Args...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    const auto [slot, generation] =
        internal::PlaceSlot(shared_, options, nullptr,
                            internal::RestartingMaker<A>(policy, std::forward<Args>(args)...));
    return Ref<A>(slot, generation);
  }
}

}  // namespace sluice

#endif  // SLUICE_CORE_RUNTIME_RUNTIME_H_
