// AllTurns runs a small system of real workers once for every order in which they can take their
// turns and in which things can happen from outside. One thread; a turn is one step, so this is
// about messages and lives, and the explorer about what happens within a turn.
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

// Made anew for each run. A constructor of a subclass fills the runtime, lets it Settle(), and says
// what is to happen.
class TurnsSystem {
 public:
  explicit TurnsSystem(Options options);
  virtual ~TurnsSystem() = default;
  TurnsSystem(const TurnsSystem&) = delete;
  TurnsSystem& operator=(const TurnsSystem&) = delete;

  // At rest, and all has happened. Then the runtime is drained, and the ledger must balance.
  virtual void CheckEnd() {}
  void Expect(bool holds, const std::string& what) {
    if (!holds && failure.empty()) failure = what;
  }
  void Settle();  // Turns, one worker after the other, until all would sleep.

  // What happens from outside: each list in its order, between any two turns.
  std::vector<std::vector<std::function<void()>>> outside;
  std::string failure;

 protected:
  // A connection of a session of class S on a worker, on a wire that lives as long as this.
  template <class S, class... Args>
  Slot* Open(int worker, testing::Wire& wire, Args... args) {
    Worker& on = runtime.worker(worker);
    on.Enter();
    Slot* slot = on.AllocateSlot();
    on.Open(slot, runtime.options().mailbox_messages_max);
    internal::Construct<S>(on, slot, args...);
    Connection::Open(on, slot, std::make_unique<testing::WireStream>(wire), ConnectionOwner{},
                     Connection::Start::kConnected, absl::InfiniteDuration());
    on.Leave();
    slept_[worker] = false;  // What it said on opening is staged.
    return slot;
  }

  testing::WireOs os;
  Runtime runtime;

 private:
  friend class TurnsRun;
  std::vector<bool> slept_;  // By worker: the end of its last turn.
  void Turn(int worker);
  bool HasWork(int worker);
  void CheckCredits();
  void End();
};

struct TurnsReport {
  bool complete = false;
  int64_t runs = 0;
  int longest = 0;      // Turns and events of one run that were chosen.
  std::string failure;  // And the order that led to it.

  std::string Summary() const;
};

TurnsReport AllTurns(int64_t runs_max, absl::FunctionRef<std::unique_ptr<TurnsSystem>()> make);

template <class S, class... Args>
TurnsReport AllTurns(int64_t runs_max, const Args&... args) {
  return AllTurns(runs_max, [&] { return std::unique_ptr<TurnsSystem>(new S(args...)); });
}

}  // namespace sluice::model

#endif  // SLUICE_TESTS_MODEL_TURNS_H_
