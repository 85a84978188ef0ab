// AllTurns runs a small system of real workers once for every order of their turns and of outside
// events. One thread; a turn is one step. So these tests check messages and lives, and the explorer
// checks what happens within a turn.
//
// A worker that would sleep is passed over until it has mail, an event or a timer that is due: such
// a turn does nothing. So a system that comes to rest has a finite number of orders, and complete
// == true says that all were run.
#ifndef SLUICE_TESTS_MODEL_TURNS_H_
#define SLUICE_TESTS_MODEL_TURNS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"
#include "sluice/tests/support/wire.h"

namespace sluice::model {

// Recreated for each run. A subclass's constructor fills the runtime, lets it Settle(), and lists
// the outside events.
class TurnsSystem {
 public:
  explicit TurnsSystem(Options options);
  virtual ~TurnsSystem() = default;
  TurnsSystem(const TurnsSystem&) = delete;
  TurnsSystem& operator=(const TurnsSystem&) = delete;

  // Called at rest, after all outside events. Then the runtime is drained, and the ledger must
  // balance.
  virtual void CheckEnd() {}
  void Expect(bool holds, const std::string& what) {
    if (!holds && failure.empty()) failure = what;
  }
  void Settle();  // Turns, one worker after the other, until all would sleep.

  // Outside events: each list in its order, between any two turns.
  std::vector<std::vector<std::function<void()>>> outside;
  std::string failure;

 protected:
  // Opens a connection for a session of class S on `worker`. Requires: `wire` lives as long as
  // this.
  template <class S, class... Args>
  Slot* Open(int worker, testing::Wire& wire, Args... args) {
    Worker& on = runtime.worker(worker);
    on.Enter();
    Slot* slot = on.life().AllocateSlot();
    on.life().Open(slot, runtime.options().mailbox_messages_max);
    internal::Construct<S>(on, slot, args...);
    Connection::Open(on, slot, std::make_unique<testing::WireStream>(wire), ConnectionOwner{},
                     Connection::Start::kConnected, absl::InfiniteDuration());
    on.Leave();
    slept_[worker] = false;  // The output of OnOpen is staged: the worker has work.
    return slot;
  }

  testing::WireOs os;
  Runtime runtime;

 private:
  friend class TurnsRun;
  std::vector<bool> slept_;  // By worker: its last turn ended asleep.
  void Turn(int worker);
  bool HasWork(int worker);
  void CheckCredits();
  void End();
};

struct TurnsReport {
  bool complete = false;
  int64_t runs = 0;
  int longest = 0;      // Chosen turns and events in the longest run.
  std::string failure;  // With the order that led to it.

  std::string Summary() const;
};

TurnsReport AllTurns(int64_t runs_max, absl::FunctionRef<std::unique_ptr<TurnsSystem>()> make);

template <class S, class... Args>
TurnsReport AllTurns(int64_t runs_max, const Args&... args) {
  return AllTurns(runs_max, [&] { return std::unique_ptr<TurnsSystem>(new S(args...)); });
}

}  // namespace sluice::model

#endif  // SLUICE_TESTS_MODEL_TURNS_H_
