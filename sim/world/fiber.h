// Fiber is a stack of its own on which a function runs until it yields: a thread of a simulation,
// or of a model. Switching is some twenty instructions (swapcontext would make a system call each
// time).
//
// Owner:  a Simulation, or the explorer of tests/model.
// Thread: one: that which resumes it.
// Bound:  the stack's bytes, given at the start; a page behind them catches what goes further.
// Errors: no memory for a stack is fatal.
//
// Abandon() forgets what the function was at: nothing on its stack is destroyed.
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

  // What AddressSanitizer keeps of frames that were left (detect_stack_use_after_return): kKept for
  // functions that run to their end and may throw; kNone where most are abandoned, as frames kept
  // for them would never be freed.
  enum class FakeFrames { kKept, kNone };

  // `body` runs anew at the first Resume() and at each one after it returned.
  explicit Fiber(std::function<void()> body, size_t stack_bytes = kStackBytes,
                 FakeFrames fake_frames = FakeFrames::kNone);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void Resume();   // Until the body yields or returns.
  void Yield();    // From the body.
  void Abandon();  // The next Resume() begins anew.

 private:
  struct Context;
  void Prepare();
  [[noreturn]] static void Main();
  void SwitchIn();
  void SwitchOut(bool returned);
  void Arrive();  // On the fiber's stack, after each switch to it.

  const std::function<void()> body_;
  const size_t stack_bytes_;
  [[maybe_unused]] const FakeFrames fake_frames_;  // With AddressSanitizer alone.
  char* const stack_;
  std::unique_ptr<Context> context_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_FIBER_H_
