// Runtime is the workers, the memory budget and the names: what a program makes one of, fills with
// actors and runs.
//
//   sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
//   runtime.Listen<Echo>("127.0.0.1:7001");
//   return runtime.RunUntilSignal();
//
// Owner:  the program.
// Thread: any, handlers included; but Start, Drain and RunUntilSignal belong to the thread that
//         made it, and not to a handler: Drain, RunUntilSignal and the destructor end the process
//         there, with a line that names the handler, as they wait for it. exit() in a handler ends
//         the process at once, with its code: no drain, no destructors. Elsewhere exit() destroys
//         static objects while workers run, so a program drains first.
// Bound:  the three numbers of Ceiling(): fixed part, budget, the kernel's worst case.
// Errors: what goes wrong before the run (an option, an address) is kept; Start and RunUntilSignal
//         say the first.
#ifndef SLUICE_CORE_RUNTIME_RUNTIME_H_
#define SLUICE_CORE_RUNTIME_RUNTIME_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <typeindex>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
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

// A worker is destroyed where it lives; its home outlives it.
struct LeaveHome {
  void operator()(Worker* worker) const;
};
class Acceptor;
class Runtime;

// An address in Runtime::Listening(), until this ends or is assigned to. Ends before its runtime.
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
  int64_t allocator_bytes = 0;  // What the allocator may add to the first two: an eighth of them.
  int64_t ProcessBytes() const { return fixed_bytes + budget_bytes + allocator_bytes; }
  int64_t SumBytes() const { return ProcessBytes() + kernel_bytes; }
  std::string ToString() const;
  // What to log where the process may have less than that; empty: it may have as much.
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
  // copied into each session's constructor. Defined in sluice/actors/peers/acceptor.h. Any thread,
  // also while it runs; a dead Ref when an address cannot be had. Before Start the first error is
  // kept; later each one is logged, as is where it listens. A drain that has begun refuses.
  template <class S, class... Args>
  Ref<Acceptor> Listen(std::string_view default_addresses, Args... args);
  // A root actor on the worker next in turn, or as the options say. Never waits: the constructor
  // runs later, on its worker; one that throws ends the actor. A dead Ref, and counted as refused:
  // actors_max live, or the drain's deadline has passed or the drain is over.
  template <class A, class... Args>
  Ref<A> Spawn(Args&&... args);
  template <class A, class... Args>
  Ref<A> SpawnWith(const SpawnOptions& options, Args&&... args);
  // As Actor::SpawnRestarting. A root that fails too often ends; the others go on.
  template <class A, class... Args>
  Ref<A> SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options, Args&&... args);

  // Names: one actor each, freed by the name's owner or overwritten once that actor has ended.
  template <class A>
  absl::Status Register(std::string_view name, const Ref<A>& ref) {
    return RegisterSlot(name, ref.slot(), ref.generation(), &typeid(A));
  }
  template <class A>
  Ref<A> Find(std::string_view name) const {
    const auto [slot, generation] = FindSlot(name, &typeid(A));
    return Ref<A>(slot, generation);
  }
  void Unregister(std::string_view name);
  // What a program finds wrong itself (a flag of its own): Start and RunUntilSignal say the first.
  // Once it runs, the log says each. Any thread.
  void KeepError(absl::Status status);

  // --- Running it.

  // Starts the workers' threads; OK when they run already. Where the system has no thread for one,
  // none runs, and the status says so. After a drain it is refused (FailedPrecondition).
  absl::Status Start();
  // Everything received so far is answered, everything accepted so far is handled, blocking
  // functions that run return, then all ends; what is left at the deadline is dropped and counted.
  // So it waits for actors that are parked, too; a cycle of them is found and broken as ever
  // (probe_after, on_wait_cycle). Timers that fire on and on hold it no longer than what they send.
  // Where actors still work or wait when half of the time is over, sessions are told (OnDrain) all
  // the same, and the log names who works and who waits. Waits. Called once; later calls do
  // nothing. A thread cannot be ended from outside. So this waits past its deadline for a handler
  // that has not returned, for ever if it never does, with a line in the log that names it. A
  // blocking function is left behind instead: it runs on, and what it uses must live as long as it
  // does.
  void Drain(absl::Duration timeout);
  // Starts, prints `listening on ADDRESS` lines on stdout, serves until SIGTERM, SIGINT or SIGHUP,
  // drains. The exit code: 0, or 1 with the error on stderr. A second SIGTERM or SIGINT ends the
  // process at once, with code 1 and without a ledger; SIGUSR1 prints Dump() to stderr. A SIGHUP
  // that the program ignores, handles or blocks stays its own. On any thread, and whichever
  // thread a signal comes on: of several runtimes that run, each drains. SIGPIPE and SIGXFSZ end
  // nothing meanwhile. When it returns, signals do what they did before; and children and programs
  // that handlers start know nothing of it. A line that stdout does not take is in the log instead.
  // Where a blocking function has not returned at the drain's deadline, or a handler a second later
  // (a second in which no worker begins a turn or a handler: a slow machine is waited for, up to a
  // minute), it names it in the log and ends the process itself, with code 0, after the ledger: no
  // destructor runs then.
  int RunUntilSignal();

  // --- Looking at it.

  const Options& options() const { return shared_.options; }
  Os& os() { return shared_.os; }
  Budget& budget() { return *shared_.budget; }
  int WorkerCount() const { return options().workers; }
  // Where the acceptors of Listen listen, in the order of its calls; a port that was 0 is the one
  // it got. An acceptor that ends, or closes its door in a drain, leaves the list.
  std::vector<std::string> Listening() const;
  sluice::Ceiling Ceiling() const;
  // Sums of all workers' ledgers. Exact once Drain has returned. Before, each worker is asked by a
  // message, and a worker that has not answered within 1 s is left out. A handler does not wait:
  // its own worker's ledger is exact, those of the others are what they told last, when they
  // started or when they were asked last; each such call asks them again.
  Ledger TotalLedger();
  // One fact a line: how long it runs, where it listens, limits against use, workers, parked actors
  // and whom they wait for, who holds most memory, the ledger, and rates since the last dump (the
  // first: since the start). Waits as TotalLedger does; what is not of now says how old it is, and
  // a worker that does not answer is named with what holds it.
  std::string Dump();
  int64_t ActorCount() const { return shared_.slots.ActorCount(); }  // Alive now.
  int64_t WaitCyclesFound() const { return shared_.wait_cycles.Found(); }
  std::string LastWaitCycle() const { return shared_.wait_cycles.Last(); }

  // --- For the layers above: not for programs.

  absl::Status status() const;
  [[nodiscard]] ListedAddress AddListening(std::string address);
  bool Started() const { return started_.load(std::memory_order_relaxed); }
  // One object of a layer above for the whole runtime, made when first asked for. Any thread. Its
  // Report() is a line of the dump, and of what is told after a drain. Rates(ns), where it has one,
  // is for the dump: lines of what was done in the last so many ns, since it was asked last.
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
  // Adds to the numbers of Ceiling() max_connections more, and what a layer above keeps for each.
  void AddConnections(int64_t user_bytes);
  Shared& shared() { return shared_; }
  BlockingPool& blocking() { return *blocking_; }
  Worker& worker(int index) { return *workers_[static_cast<size_t>(index)]; }
  // Runs `call` on a worker's thread; in order with what this thread sent there before.
  void Call(int worker, absl::AnyInvocable<void(Worker&)> call);

  // One step of a drain; true when all has ended. `deadline_ms` by the Os's clock.
  bool DrainStep(int64_t deadline_ms);

 private:
  friend class Inspector;
  friend class ListedAddress;

  enum class DrainPhase { kNone, kReading, kClosing, kStopping, kLast, kShutdown, kDone };

  // What a worker says of itself, and when it did, by the Os's clock; 0: never.
  struct Figures {
    Ledger ledger;
    int64_t ledger_ns = 0;
    std::string text;
    int64_t text_ns = 0;
  };
  struct LastFigures {
    std::mutex lock;
    Figures figures;
    bool ledger_asked = false;  // By a handler, and not answered yet: one question at a time.
    bool text_asked = false;
    int questions = 0;  // Of other threads, not answered yet.
  };

  // A question to all workers, and what they have told so far. Shared: a worker that is held may
  // answer after whoever asked has given up.
  struct AskedFigures {
    std::mutex lock;
    std::condition_variable all_in;
    std::vector<Figures> figures;
    int missing = 0;
    int64_t deadline_ns = 0;  // By the Os's clock; from then on nobody waits.
  };

  bool Quiescent();
  int64_t Published(bool io);
  void CallAll(void (Worker::*order)());
  void JoinWorkers();
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
  bool HasFigures(AskedFigures& asked);  // All, or the wait for them is over. Never waits.
  std::vector<Figures> WaitForFigures(AskedFigures& asked);
  std::string DumpOf(const std::vector<Figures>& figures);
  Ledger SumOf(const std::vector<Figures>& figures) const;
  void PauseDrain();
  bool AllRest() const;
  void LookForProgress(int64_t now_ms);
  void WorkerMain(Worker& worker);
  static Options Checked(Options options, Os& os, absl::Status* status);
  absl::Status RegisterSlot(std::string_view name, Slot* slot, uint32_t generation,
                            const std::type_info* type);
  std::pair<Slot*, uint32_t> FindSlot(std::string_view name, const std::type_info* type) const;

  const int64_t made_ns_;  // By the Os's clock.
  absl::Status status_;
  Shared shared_;
  Os& os_;
  const Options& options_;
  std::unique_ptr<BlockingPool> blocking_;
  std::vector<std::unique_ptr<Worker, LeaveHome>> workers_;
  std::vector<ThreadId> threads_;
  // For status_, listening_, listed_, connections_, connections_user_bytes_.
  mutable std::mutex setup_lock_;
  std::vector<std::pair<int64_t, std::string>> listening_;  // By their numbers.
  int64_t listed_ = 0;                                      // The last number.
  std::vector<absl::AnyInvocable<std::string()>> reports_;
  std::vector<absl::AnyInvocable<std::string(int64_t)>> rates_;
  std::mutex dumped_lock_;  // The two below, which the next dump's rates count from.
  int64_t dumped_ns_;
  int64_t dumped_delivered_ = 0;
  std::mutex attachments_lock_;
  absl::flat_hash_map<std::type_index, std::shared_ptr<void>> attachments_;
  int64_t connections_ = 0;  // Of all listeners at their limits.
  int64_t connections_user_bytes_ = 0;
  // Stored by Start and Drain; any thread asks whether an error is still kept. Relaxed: an error
  // that comes meanwhile is kept or logged.
  std::atomic<bool> started_{false};
  bool ended_ = false;
  // Workers' turns are taken by their threads, or by a drain: who asks for figures may not look at
  // the workers itself. Release when they have ended; partner: acquire in CollectFigures().
  std::atomic<bool> turning_{false};
  std::vector<std::unique_ptr<LastFigures>> last_figures_;  // By worker; each under its lock.

  mutable std::mutex names_lock_;  // Held for a map's look-up.
  struct Name {
    Slot* slot;
    uint32_t generation;
    const std::type_info* type;
  };
  absl::flat_hash_map<std::string, Name> names_;

  DrainPhase phase_ = DrainPhase::kNone;
  int64_t looks_ = 0;             // In this phase.
  int64_t tell_sessions_ms_ = 0;  // From then on sessions are told, though actors still work.
  int64_t end_reading_ms_ = 0;    // From then on no more is read, though peers still send.
  ProgressWatch progress_watch_;  // From the deadline on.
  std::mutex pause_lock_;         // Of the coordinator alone, as a wait needs a lock.
  std::condition_variable pause_;
  std::vector<int> held_workers_;  // At the end of the drain a handler still ran there.
  RestWatch rest_watch_;
};

template <class A, class... Args>
Ref<A> Runtime::Spawn(Args&&... args) {
  return internal::Place<A>(shared_, SpawnOptions{}, nullptr, std::forward<Args>(args)...);
}

template <class A, class... Args>
Ref<A> Runtime::SpawnWith(const SpawnOptions& options, Args&&... args) {
  return internal::Place<A>(shared_, options, nullptr, std::forward<Args>(args)...);
}

template <class A, class... Args>
Ref<A> Runtime::SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options,
                                Args&&... args) {
  const auto [slot, generation] = internal::PlaceSlot(
      shared_, options, nullptr, internal::RestartingMaker<A>(policy, std::forward<Args>(args)...));
  return Ref<A>(slot, generation);
}

}  // namespace sluice

#endif  // SLUICE_CORE_RUNTIME_RUNTIME_H_
