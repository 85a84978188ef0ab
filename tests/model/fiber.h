// Fiber is a stack of its own on which a function runs until it yields. The explorer switches
// millions of times, so not by swapcontext where we can: that makes a system call each time.
//
// Owner:  the explorer. A fiber is used again and again; its function never returns.
// Thread: one.
// Bound:  kStackBytes each.
//
// Abandon() forgets what the function was at: nothing on its stack is destroyed (unwinding by an
// exception took twice as long as all the rest of a run). So a body that yields owns nothing but
// its stack.
#ifndef SLUICE_TESTS_MODEL_FIBER_H_
#define SLUICE_TESTS_MODEL_FIBER_H_

#include <cstddef>
#include <functional>
#include <memory>

namespace sluice::model {

class Fiber {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;

  // `body` runs anew at the first Resume() and at each one after it returned.
  explicit Fiber(std::function<void()> body);
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
  void SwitchOut();

  const std::function<void()> body_;
  std::unique_ptr<char[]> stack_;
  std::unique_ptr<Context> context_;
};

}  // namespace sluice::model

#endif  // SLUICE_TESTS_MODEL_FIBER_H_
