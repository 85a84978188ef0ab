// BlockingPool is a few threads for work that would block: a user's slow function, a cold file. A
// handler passes a function to Actor::RunBlocking; the result comes back to the actor as a message.
//
//   RunBlocking([path] { return ReadFile(path); },
//               [this](absl::StatusOr<std::string> text) { Write(text.ok() ? *text : "none"); });
//
// A function may take a std::stop_token, which says when nobody waits for its result any more.
//
// A call travels as a message to the gate: an actor on the caller's own worker, with a mailbox that
// holds the waiting calls. The gate hands calls over to the threads, and takes no more while the
// threads have enough. So a full pool parks its callers as any slow actor does.
//
// Owner:  the Runtime. A task belongs to its holder, from its caller's outbox to the thread that
//         runs it.
// Thread: GateOf() the worker's own; the rest any. The lock is held for a few words or a post,
//         never while a function runs.
// Bound:  blocking_threads_max threads, started when first needed; as many calls handed over, and
//         one for each worker; blocking_calls_max in the mailbox of each worker's gate.
// Errors: an exception that leaves a function becomes its result, a Status. If no thread can be
//         started and none runs, the result says so.
#ifndef SLUICE_CORE_ACTOR_BLOCKING_POOL_H_
#define SLUICE_CORE_ACTOR_BLOCKING_POOL_H_

#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/ledger.h"
#include "sluice/core/os/os.h"

namespace sluice {

struct Shared;
class Worker;

// submitted = finished + dropped(reason) + held. Exact when all is at rest.
struct BlockingLedger {
  int64_t submitted = 0;  // RunBlocking answered kAccepted.
  int64_t finished = 0;   // The function returned or threw, and its result was sent.
  std::array<int64_t, kDropReasonCount> dropped{};  // Never ran, or ran past the end.
  int64_t held = 0;                                 // Waiting or running.
  int64_t DroppedTotal() const;
  bool Balanced() const { return submitted == finished + DroppedTotal() + held; }
  std::string ToString() const;
};

namespace internal {

struct BlockingState;

// A call. Its destructor answers and counts the call, if nothing else has.
class BlockingTask {
 public:
  explicit BlockingTask(const char* caller) : caller_(caller) {}
  virtual ~BlockingTask();
  BlockingTask(const BlockingTask&) = delete;
  BlockingTask& operator=(const BlockingTask&) = delete;

  void Run();                               // The function; never throws.
  void Tell();                              // Sends the result to the caller; never throws.
  virtual void Fail(absl::Status why) = 0;  // Sends `why` instead.
  // Sends no answer: the call was refused, or the runtime has ended.
  virtual void Forget() = 0;
  const char* Caller() const { return caller_; }  // The caller's type, mangled.
  void Accepted(std::shared_ptr<BlockingState> state);
  void Settled() { counted_ = nullptr; }  // Counted by the pool.
  void SetDropReason(DropReason reason) { reason_ = reason; }

 protected:
  virtual void Call() = 0;  // May throw.
  virtual void Threw(absl::Status status) = 0;
  virtual void Answer() = 0;

 private:
  const char* const caller_;
  std::shared_ptr<BlockingState> counted_;        // While it counts as held.
  DropReason reason_ = DropReason::kSenderEnded;  // If it is dropped.
};

struct Nothing {};  // The Value of a function that returns void or a Status.

// The argument of a callback, for a function that returns R.
template <class R>
struct BlockingResult {
  using Value = R;
  using Told = absl::StatusOr<R>;
  template <class F>
  static absl::StatusOr<Value> Call(F& f) {
    return absl::StatusOr<Value>(f());
  }
  static Told Tell(absl::StatusOr<Value> result) { return result; }
};
template <class T>
struct BlockingResult<absl::StatusOr<T>> : BlockingResult<T> {
  template <class F>
  static absl::StatusOr<T> Call(F& f) {
    return f();
  }
};
template <>
struct BlockingResult<absl::Status> {
  using Value = Nothing;
  using Told = absl::Status;
  template <class F>
  static absl::StatusOr<Value> Call(F& f) {
    absl::Status status = f();
    if (!status.ok()) return status;
    return Nothing();
  }
  static Told Tell(const absl::StatusOr<Value>& result) { return result.status(); }
};
template <>
struct BlockingResult<void> : BlockingResult<absl::Status> {
  template <class F>
  static absl::StatusOr<Nothing> Call(F& f) {
    f();
    return Nothing();
  }
};

// A function that may be told to stop.
template <class F>
concept Stoppable = std::invocable<F&, std::stop_token>;
template <class F>
struct BlockingResultOf {
  using Type = BlockingResult<std::decay_t<std::invoke_result_t<F&>>>;
};
template <Stoppable F>
struct BlockingResultOf<F> {
  using Type = BlockingResult<std::decay_t<std::invoke_result_t<F&, std::stop_token>>>;
};
template <class F>
using ResultOfBlocking = typename BlockingResultOf<F>::Type;

template <class F>
struct WithToken {
  decltype(auto) operator()() { return function(std::move(token)); }
  F function;
  std::stop_token token;
};

// In the callback of a blocking call: when that is destroyed, nobody waits for the result any more.
class StopAtEnd {
 public:
  explicit StopAtEnd(std::stop_source source) : source_(std::move(source)) {}
  StopAtEnd(StopAtEnd&&) noexcept = default;
  ~StopAtEnd() {
    SLUICE_PLANT(stop_not_requested, return);
    source_.request_stop();  // Does nothing if it was moved from.
  }

 private:
  std::stop_source source_;
};

template <class F, class Result>
class BlockingTaskOf final : public BlockingTask {
 public:
  using Value = typename Result::Value;
  template <class G>
  BlockingTaskOf(const char* caller, G&& function, Promise<Value> promise)
      : BlockingTask(caller), function_(std::forward<G>(function)), promise_(std::move(promise)) {}
  ~BlockingTaskOf() override {
    promise_.Fail(absl::AbortedError("the blocking call was dropped before it ran"));
  }
  void Fail(absl::Status why) override { promise_.Fail(std::move(why)); }
  void Forget() override { promise_.Forget(); }

 private:
  void Call() override { result_ = Result::Call(function_); }
  void Threw(absl::Status status) override { result_ = std::move(status); }
  void Answer() override {
    if (result_.ok()) {
      promise_.Resolve(*std::move(result_));
    } else {
      promise_.Fail(std::move(result_).status());  // Not shared: it goes to another thread.
    }
  }
  F function_;
  Promise<Value> promise_;
  absl::StatusOr<Value> result_ = absl::UnknownError("the blocking function has not run");
};

// The message to the gate.
struct BlockingCall {
  std::unique_ptr<BlockingTask> task;
  int64_t bytes = 0;
  int64_t HeldBytes() const { return AllocatedBytes(static_cast<size_t>(bytes)); }
};
extern const MessageOps kBlockingCallOps;

}  // namespace internal

class BlockingPool {
 public:
  explicit BlockingPool(Shared& shared);  // `shared` outlives this.
  ~BlockingPool();

  // The gate of a worker, on its thread; made when first asked for. {nullptr, 0}: actors_max.
  std::pair<Slot*, uint32_t> GateOf(Worker& worker);
  const std::shared_ptr<internal::BlockingState>& state() const { return state_; }

  // From a gate: passes its call to the threads. False: enough calls wait; the gate takes no more
  // until it is resumed.
  bool HandOver(std::unique_ptr<internal::BlockingTask> task, Slot* gate, uint32_t generation);

  BlockingLedger Counts() const;
  std::string Report() const;  // Counts, and the actors with running functions.

  // For the drain: calls accepted but not answered, or with captures that are not yet destroyed.
  int64_t Awaited() const;
  void DropWaiting();  // At the deadline: waiting calls never run.
  // Ends the threads. A thread that still runs a function, or destroys its captures, is detached:
  // it touches nothing of the runtime any more. The result of a function that still runs is
  // discarded and counted as dropped. Answers one text for each detached thread: its state and its
  // caller.
  std::vector<std::string> End();

 private:
  bool StartThread();

  Shared& shared_;
  const std::shared_ptr<internal::BlockingState> state_;
  std::vector<ThreadId> threads_;  // Under the state's lock.
};

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_BLOCKING_POOL_H_
