// Task<T> is a coroutine of an actor: a function that waits with co_await where other actors need a
// callback. It runs on its actor's worker, as handlers do. While it waits, the actor's other
// handlers run.
//
//   Task<int64_t> Total(Ref<Account> one, Ref<Account> two) {
//     const absl::StatusOr<int64_t> a = co_await Ask(one, Balance{}, absl::Seconds(1));
//     const absl::StatusOr<int64_t> b = co_await Ask(two, Balance{}, absl::Seconds(1));
//     co_return a.value_or(0) + b.value_or(0);
//   }
//
// 1. A Task begins when it is awaited, or given to Actor::StartTask; until then nothing of it runs.
// 2. Arguments live in its frame: take them by value. A reference, or a lambda with captures, may
// be
//    gone after the first wait.
// 3. An exception goes to the awaiting task. If it leaves the outermost one, the actor fails, as by
// an
//    exception that leaves a handler; before the first wait, it leaves StartTask().
// 4. If the actor ends or is restarted, its waiting tasks never go on: their frames are destroyed
//    before the actor is, and so are the tasks that they await. Destructors run.
//
// A chain of tasks that await each other may run to any depth, but it is destroyed by recursion: at
// some 30,000 levels that uses up the stack of a debug build.
//
// Owner:  its holder: the awaiting frame, or a coroutine of the actor.
// Thread: the worker's. A Task stays with its actor.
// Bound:  its frame is charged to the memory budget; in steady state it is taken from the worker's
//         stock (core/memory/frame_pool.h).
// Errors: a call when the budget is spent throws NoFrameMemory.
#ifndef SLUICE_CORE_ACTOR_TASK_H_
#define SLUICE_CORE_ACTOR_TASK_H_

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/slot/coroutine.h"

namespace sluice {

template <class T = void>
class Task;

class NoFrameMemory : public std::bad_alloc {
 public:
  const char* what() const noexcept override {
    return "no memory for a coroutine: the memory budget is spent";
  }
};

namespace internal {

// From the stock of the worker that this thread runs. Throws NoFrameMemory.
void* GetFrame(size_t bytes);
void PutFrame(void* place, size_t bytes);
// Ends the process with a line that names the actor, its task's mistake and the place: it is the
// program's, and the line is for its author.
[[noreturn]] void RefuseWait(const Slot* slot, Where where, const char* mistake);

#define SLUICE_AWAITED [[nodiscard("a wait does nothing until it is awaited")]]

// An awaitable of the framework: it waits on behalf of a coroutine.
//   bool Ready(): true: nothing to wait for. (May be missing.)
//   bool Begin(Coroutine&, std::coroutine_handle<>): false: nothing to wait for.
//   Result(): what co_await answers.
// An awaitable stays in place while it waits. Its destructor ends the wait.
template <class A>
concept Awaitable = requires(A& a, Coroutine& coroutine, std::coroutine_handle<> frame) {
  { a.Begin(coroutine, frame) } -> std::same_as<bool>;
  a.Result();
};

class TaskPromiseBase;

template <Awaitable A>
class Awaiter {
 public:
  Awaiter(A& awaited, Coroutine& coroutine) : awaited_(awaited), coroutine_(coroutine) {}
  bool await_ready() {
    if constexpr (requires { awaited_.Ready(); }) {
      return awaited_.Ready();
    } else {
      return false;
    }
  }
  bool await_suspend(std::coroutine_handle<> frame) { return awaited_.Begin(coroutine_, frame); }
  decltype(auto) await_resume() { return awaited_.Result(); }

 private:
  A& awaited_;
  Coroutine& coroutine_;
};

// Instead of a wait that does not compile, so that its co_await is no second error.
struct NoWait {
  bool Begin(Coroutine&, std::coroutine_handle<>) { return false; }
  int Result() const { return 0; }
};

// True: this compiler destroys an argument of the call that made the wait twice, if call and
// co_await are one expression (waits.h).
template <class W>
inline constexpr bool kDestroyedTwice = false;
// As kDestroyedTwice, for an argument that a call takes as F&&: a braced struct, or a lambda.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
template <class F>
inline constexpr bool kBrokenInCoAwait =
    !std::is_lvalue_reference_v<F> &&
    !std::is_trivially_destructible_v<std::remove_reference_t<F>> &&
    (std::is_aggregate_v<std::remove_reference_t<F>> || requires { &F::operator(); });
#else
template <class F>
inline constexpr bool kBrokenInCoAwait = false;
#endif
#define SLUICE_DESTROYED_TWICE                                                                  \
  "g++ before 13 destroys the message or the captures twice here. Give the wait a name first: " \
  "auto wait = Ask(...); co_await wait;"

// g++ before 13 puts 8 bytes before the frame of a coroutine that has no variable of its own and
// awaits in a condition (`while (co_await Read()) ...` alone): its handle is then 8 bytes off, and
// to resume it would run anything (GCC PR 106188). Frames are aligned to 16.
inline void CheckFrame([[maybe_unused]] std::coroutine_handle<> frame) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
  static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ == 16);
  SLUICE_CHECK(reinterpret_cast<uintptr_t>(frame.address()) % 16 == 0,
               "g++ before 13 breaks a task without variables that awaits in a condition: write "
               "`while (const auto bytes = co_await ...)`, or begin the task with a variable");
#endif
}

// The part of a task's promise that does not depend on its result.
template <class>
inline constexpr bool kNever = false;
// For a co_await that does not compile: what follows it has its type, so that there is one error.
template <class T>
struct NotAwaited {
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  T await_resume();
};

class TaskPromiseBase {
 public:
  static void* operator new(size_t bytes) { return GetFrame(bytes); }
  static void operator delete(void* place, size_t bytes) { PutFrame(place, bytes); }

  std::suspend_always initial_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  // The frame that awaits this one goes on; the outermost frame ends its coroutine.
  class FinalAwaiter {
   public:
    bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> frame) const noexcept {
      TaskPromiseBase& promise = frame.promise();
      if (promise.awaiting_) {
        promise.coroutine_->SetNext(promise.awaiting_);
      } else {
        promise.coroutine_->SetEnded();
      }
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() const noexcept { return {}; }

  template <class A>
  requires Awaitable<std::remove_reference_t<A>>
  auto await_transform(A&& awaited) {
    static_assert(!kDestroyedTwice<A>, SLUICE_DESTROYED_TWICE);
    return Awaiter<std::remove_reference_t<A>>(awaited, *coroutine_);
  }
  template <class T>
  auto await_transform(Task<T>&& task) {
    return std::move(task).AwaitedBy(*coroutine_);
  }
  template <class T>
  auto await_transform(Task<T>& task) {
    static_assert(kNever<T>, "a task that has a name is awaited by co_await std::move(task)");
    return std::move(task).AwaitedBy(*coroutine_);
  }
  template <class A>
  auto await_transform(A&&) {
    static_assert(kNever<A>,
                  "co_await of what does not wait (in a task it is Connect(this, ...), not "
                  "Connect(runtime(), ...))");
    return NotAwaited<std::remove_cvref_t<A>>();
  }
  void BelongsTo(Coroutine& coroutine) { coroutine_ = &coroutine; }
  void AwaitedBy(std::coroutine_handle<> frame) { awaiting_ = frame; }
  // Rethrows what has left the task.
  void Check() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }
  std::exception_ptr TakeError() { return std::exchange(error_, nullptr); }

 private:
  Coroutine* coroutine_ = nullptr;
  std::coroutine_handle<> awaiting_;
  std::exception_ptr error_;
};

template <class T>
class TaskPromise : public TaskPromiseBase {
 public:
  Task<T> get_return_object();
  template <std::convertible_to<T> U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T Take() {
    Check();
    return *std::move(value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() const {}
  void Take() { Check(); }
};

}  // namespace internal

template <class T>
class [[nodiscard("a Task does nothing until it is awaited or started")]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;
  using Value = T;

  Task() = default;  // No coroutine.
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  ~Task() { Destroy(); }
  Task(Task && other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }

  explicit operator bool() const { return static_cast<bool>(frame_); }

  // For coroutines of the framework.
  void StartIn(Coroutine & coroutine) {
    SLUICE_CHECK(frame_, "an empty Task was started: it was moved from, or awaited before");
    frame_.promise().BelongsTo(coroutine);
    coroutine.SetNext(frame_);
  }
  // The result of a task that has ended; rethrows.
  T Take() { return frame_.promise().Take(); }
  std::exception_ptr TakeError() { return frame_.promise().TakeError(); }
  void Destroy() {
    if (frame_) std::exchange(frame_, nullptr).destroy();
  }

  // Owns the task: it is destroyed with the frame that awaits it.
  class Awaiter {
   public:
    Awaiter(Task task, Coroutine& coroutine) : task_(std::move(task)), coroutine_(coroutine) {}
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> frame) {
      task_.StartIn(coroutine_);
      task_.frame_.promise().AwaitedBy(frame);
    }
    // The frame is given back before the awaiting task goes on.
    T await_resume() {
      const Task done = std::move(task_);
      return done.frame_.promise().Take();
    }

   private:
    Task task_;
    Coroutine& coroutine_;
  };
  Awaiter AwaitedBy(Coroutine & coroutine)&& { return Awaiter(std::move(*this), coroutine); }

 private:
  std::coroutine_handle<promise_type> frame_;
};

namespace internal {

template <class T>
Task<T> TaskPromise<T>::get_return_object() {
  const auto frame = std::coroutine_handle<TaskPromise>::from_promise(*this);
  CheckFrame(frame);
  return Task<T>(frame);
}
inline Task<void> TaskPromise<void>::get_return_object() {
  const auto frame = std::coroutine_handle<TaskPromise>::from_promise(*this);
  CheckFrame(frame);
  return Task<void>(frame);
}

template <class T>
inline constexpr bool kIsTask = false;
template <class T>
inline constexpr bool kIsTask<Task<T>> = true;
template <class T>
struct TaskValue {
  using Type = void;
};
template <class T>
struct TaskValue<Task<T>> {
  using Type = T;
};
template <class T>
using ValueOfTask = typename TaskValue<T>::Type;

}  // namespace internal
}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_TASK_H_
