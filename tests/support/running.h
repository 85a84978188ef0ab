// Helpers for tests of running actors: waiting for an event, a small runtime's options, turns
// without threads, and a check of all credits when all is at rest.
#ifndef SLUICE_TESTS_SUPPORT_RUNNING_H_
#define SLUICE_TESTS_SUPPORT_RUNNING_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"

namespace sluice::testing {

// Waits for the event itself; the deadline only ends a test that would otherwise hang.
inline bool Eventually(absl::FunctionRef<bool()> happened, int seconds_max = 60) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds_max);
  while (!happened()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

inline Options SmallOptions(int workers) {
  Options options;
  options.workers = workers;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 16;
  return options;
}

// Takes the turns of a runtime that was not started, on this thread, one worker after the other.
class Stepper {
 public:
  explicit Stepper(Runtime& runtime) : runtime_(runtime) {}
  void Turn(int worker) {
    Worker& w = runtime_.worker(worker);
    w.Enter();
    w.Turn(w.NowMs());
    w.Leave();
  }
  void Round(int rounds = 1) {
    for (int i = 0; i < rounds; ++i) {
      for (int w = 0; w < runtime_.WorkerCount(); ++w) Turn(w);
    }
  }
  bool Until(absl::FunctionRef<bool()> happened, int seconds_max = 30) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds_max);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      Round();
    }
    return true;
  }

 private:
  Runtime& runtime_;
};

// Runs `look` on each worker's thread, one after the other, and waits for it.
inline void OnEachWorker(Runtime& runtime, absl::FunctionRef<void(Worker&)> look) {
  for (int w = 0; w < runtime.WorkerCount(); ++w) {
    std::atomic<bool> done{false};
    runtime.Call(w, [&](Worker& worker) {
      look(worker);
      done.store(true, std::memory_order_release);
    });
    Eventually([&] { return done.load(std::memory_order_acquire); });
  }
}

// Returns "" when every mailbox has all its credits back and no actor is parked; otherwise names
// the slots of which this is not true. Requires: at rest.
inline std::string CreditsMissing(Runtime& runtime) {
  std::string missing;
  OnEachWorker(runtime, [&](Worker& worker) {
    runtime.shared().slots.ForEach(&worker, [&](Slot* slot) {
      if (slot->state == ActorState::kFree) return;
      if (slot->mailbox.FreeCredits() != slot->mailbox.Capacity() || slot->mailbox.Held() != 0) {
        absl::StrAppend(&missing, "slot ", slot->id, ": ", slot->mailbox.FreeCredits(), " of ",
                        slot->mailbox.Capacity(), " credits free, ", slot->mailbox.Held(),
                        " held; ");
      }
      if (slot->parked) absl::StrAppend(&missing, "slot ", slot->id, " is parked; ");
    });
  });
  return missing;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_RUNNING_H_
