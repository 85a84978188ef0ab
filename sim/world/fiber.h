// Fiber is a function with a stack of its own, which runs until it yields: a thread of a
// simulation, or of a model. A switch takes some twenty instructions (swapcontext would make a
// system call each time).
//
// Owner:  a Simulation, or the explorer of tests/model.
// Thread: one: the thread that resumes it.
// Bound:  stack_bytes, given at the start; a guard page below catches an overflow.
// Errors: no memory for a stack is fatal.
//
// Abandon() drops the function's state: no object on its stack is destroyed.
#ifndef SLUICE_SIM_WORLD_FIBER_H_
#define SLUICE_SIM_WORLD_FIBER_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "sluice/core/base/language.h"

namespace sluice::sim {

class Fiber {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;

  // How AddressSanitizer keeps frames that were left (detect_stack_use_after_return). kKept: for
  // functions that run to their end and may throw. kNone: for functions that are mostly abandoned,
  // as frames kept for them would never be freed.
  enum class FakeFrames { kKept, kNone };

  // `body` starts at the first Resume(), and again at each Resume() after it returned.
  explicit Fiber(std::function<void()> body, size_t stack_bytes = kStackBytes,
                 FakeFrames fake_frames = FakeFrames::kNone);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void Resume();   // Returns when the body yields or returns.
  void Yield();    // Called by the body.
  void Abandon();  // The next Resume() starts the body again.

 private:
  struct Context;
  void Prepare();
  [[noreturn]] static void Main();
  void SwitchIn();
  void SwitchOut(bool returned);
  void Arrive();  // Runs on the fiber's stack after each switch to it.

  const std::function<void()> body_;
  const size_t stack_bytes_;
  [[maybe_unused]] const FakeFrames fake_frames_;  // Read with AddressSanitizer only.
  char* const stack_;
  std::unique_ptr<Context> context_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_FIBER_H_
