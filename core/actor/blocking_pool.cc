#include "sluice/core/actor/blocking_pool.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/mailbox/outside_gate.h"
#include "sluice/core/slot/shared.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace internal {

// State that the threads share with the pool. A thread with a function that never returns keeps it,
// so the state outlives the pool.
struct BlockingState {
  BlockingState(Os& os, size_t max) : os(os), threads_max(max), threads(max) {}

  // Not used once `ended`: a thread that is left behind may outlive the Os.
  Os& os;
  const size_t threads_max;
  mutable std::mutex lock;
  std::condition_variable more;  // A call waits, or the end has come.
  std::deque<std::unique_ptr<BlockingTask>> waiting;
  std::vector<std::pair<Slot*, uint32_t>> gates;  // Suspended: at most one of each worker.
  struct Thread {
    const char* caller = nullptr;  // Type of the actor that asked; nullptr: no function runs.
    bool told = false;             // Answered; the function's captures are being destroyed.
  };
  std::vector<Thread> threads;
  size_t idle = 0;
  bool closed = false;  // No more calls are taken.
  bool ended = false;   // The runtime must not be touched.

  // Workers add to submitted and held, threads move from held to finished. Relaxed: figures.
  std::atomic<int64_t> submitted{0};
  std::atomic<int64_t> finished{0};
  std::atomic<int64_t> held{0};
  std::array<std::atomic<int64_t>, kDropReasonCount> dropped{};
  // A drain waits for this count. A function counts until its captures are destroyed
  // (outside_gate.h).
  AwaitedFunctions<> awaited;

  void Drop(DropReason reason) {
    dropped[static_cast<size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
    held.fetch_sub(1, std::memory_order_relaxed);
    awaited.Ended();
  }
};

namespace {

// To a suspended gate: the threads have room for another call. Sent once for each suspension.
struct BlockingRoomControl {
  void Run(Worker& worker, Slot* gate, uint32_t generation) const {
    if (Desk::Live(gate, generation)) worker.Resume(gate);
  }
};

class BlockingGate : public Actor {
 public:
  explicit BlockingGate(BlockingPool& pool) : pool_(pool) {}
  void Take(BlockingCall& call) {
    if (!pool_.HandOver(std::move(call.task), slot(), generation())) {
      worker().Suspend(slot());
    }
  }

 private:
  BlockingPool& pool_;
};

// Resumes all gates: a single one with no call to give would keep the room from the others. The
// bound holds, as each gate gives one call before it looks again. Requires: the lock.
void ResumeGates(BlockingState& state) {
  for (const auto& [gate, generation] : state.gates) {
    Worker::Post(*gate->worker, gate, generation, BlockingRoomControl{});
    SLUICE_PLANT(one_gate_resumed, break);
  }
  SLUICE_PLANT(gates_stay, return);
  state.gates.clear();
}

void ThreadMain(const std::shared_ptr<BlockingState>& shared, size_t index) {
  BlockingState& state = *shared;
  std::unique_lock<std::mutex> lock(state.lock);
  for (;;) {
    while (state.waiting.empty() && !state.ended) {
      ++state.idle;
      state.os.Wait(state.more, lock);
      --state.idle;
    }
    if (state.ended) return;
    std::unique_ptr<BlockingTask> task = std::move(state.waiting.front());
    state.waiting.pop_front();
    state.threads[index].caller = task->Caller();
    if (state.waiting.size() < state.threads_max) ResumeGates(state);
    lock.unlock();
    const FunctionScope scope(&state);
    task->Run();
    lock.lock();
    bool left_behind = state.ended;
    if (left_behind) {
      task->Forget();  // End() has counted it.
    } else {
      // Under the lock: after End() no thread sends.
      task->Tell();
      state.threads[index].told = true;
      state.finished.fetch_add(1, std::memory_order_relaxed);
      state.held.fetch_sub(1, std::memory_order_relaxed);
    }
    task->Settled();
    lock.unlock();
    SLUICE_PLANT(function_forgotten, if (!std::exchange(left_behind, true)) state.awaited.Ended());
    task.reset();  // With what the function holds: a user's destructor, which may block too.
    lock.lock();
    state.threads[index] = {};
    // After the line above: a drain that waited for this call must not find the thread still at
    // work.
    if (!left_behind) state.awaited.Ended();
  }
}

}  // namespace

const MessageOps kBlockingCallOps = {
    MessageKind::kUser,
    [](void* actor, Envelope& e) {
      static_cast<BlockingGate*>(static_cast<ActorBase*>(actor))->Take(e.Get<BlockingCall>());
    },
    Envelope::DestroyOf<BlockingCall>(),
    Envelope::RelocateOf<BlockingCall>(),
    [] { return typeid(BlockingCall).name(); },
};

BlockingTask::~BlockingTask() {
  if (counted_ != nullptr) {
    const bool over = reason_ == DropReason::kSenderEnded && [this] {
      std::lock_guard<std::mutex> lock(counted_->lock);
      return counted_->closed;
    }();
    counted_->Drop(over ? DropReason::kShutdown : reason_);
  }
}

void BlockingTask::Accepted(std::shared_ptr<BlockingState> state) {
  state->submitted.fetch_add(1, std::memory_order_relaxed);
  state->held.fetch_add(1, std::memory_order_relaxed);
  state->awaited.Accepted();
  counted_ = std::move(state);
}

void BlockingTask::Run() {
  try {
    Call();
  } catch (...) {
    const std::string text = ExceptionText(std::current_exception());
    try {
      Threw(absl::InternalError(absl::StrCat("the blocking function threw: ", text)));
    } catch (...) {
      // No memory for that text: the result still says that the function has not run to its end.
    }
  }
}

void BlockingTask::Tell() {
  try {
    Answer();
  } catch (...) {  // Thrown by the result's own move.
    Fail(absl::InternalError("the result of the blocking function could not be moved"));
  }
}

}  // namespace internal

using internal::BlockingGate;
using internal::BlockingState;
using internal::BlockingTask;

int64_t BlockingLedger::DroppedTotal() const {
  int64_t total = 0;
  for (const int64_t count : dropped) total += count;
  return total;
}

std::string BlockingLedger::ToString() const {
  std::string reasons;
  for (int i = 0; i < kDropReasonCount; ++i) {
    if (dropped[static_cast<size_t>(i)] == 0) continue;
    absl::StrAppend(&reasons, reasons.empty() ? " (" : ", ",
                    ToAbsl(DropReasonName(static_cast<DropReason>(i))), " ",
                    dropped[static_cast<size_t>(i)]);
  }
  if (!reasons.empty()) reasons += ")";
  return absl::StrFormat("blocking calls: submitted %d = finished %d + dropped %d%s + held %d%s",
                         submitted, finished, DroppedTotal(), reasons, held,
                         Balanced() ? "" : " (not balanced: calls are on their way)");
}

BlockingPool::BlockingPool(Shared& shared)
    : shared_(shared),
      state_(std::make_shared<BlockingState>(
          shared.os, static_cast<size_t>(shared.options.blocking_threads_max))) {
  shared_.blocking = this;
  shared_.blocking_functions = state_.get();
}

BlockingPool::~BlockingPool() { End(); }

std::pair<Slot*, uint32_t> BlockingPool::GateOf(Worker& worker) {
  auto& gate = shared_.blocking_gates[static_cast<size_t>(worker.Index())];
  if (gate.first == nullptr) {
    const SpawnOptions options{.name = absl::StrCat("blocking gate ", worker.Index()),
                               .mailbox_messages_max = shared_.options.blocking_calls_max,
                               .worker = worker.Index()};
    gate = internal::PlaceSlot(shared_, options, nullptr, [this](Worker& here, Slot* slot) {
      internal::Construct<BlockingGate>(here, slot, *this);
    });
  }
  return gate;
}

bool BlockingPool::HandOver(std::unique_ptr<BlockingTask> task, Slot* gate, uint32_t generation) {
  {
    std::lock_guard<std::mutex> lock(state_->lock);
    if (!state_->closed &&
        (state_->waiting.size() < state_->idle || StartThread() || !threads_.empty())) {
      state_->waiting.push_back(std::move(task));
      shared_.os.NotifyOne(state_->more);
      if (state_->waiting.size() < state_->threads_max) return true;
      // A gate listed twice would be resumed twice, the second time for room that another call has
      // taken.
      SLUICE_CHECK(state_->gates.size() < shared_.blocking_gates.size());
      state_->gates.emplace_back(gate, generation);
      return false;
    }
    if (!state_->closed) {
      task->SetDropReason(DropReason::kFailed);
      task->Fail(absl::ResourceExhaustedError(
          "no thread could be started for the blocking call, and none runs"));
    }
  }
  return true;  // The task is dropped here.
}

// Starts a thread, unless threads_max run. Requires: the lock.
bool BlockingPool::StartThread() {
  if (threads_.size() == state_->threads_max) return false;
  const size_t index = threads_.size();
  ThreadId thread = 0;
  const int started = shared_.os.ThreadStart(
      [state = state_, index] { internal::ThreadMain(state, index); }, &thread);
  if (started < 0) return false;
  threads_.push_back(thread);
  return true;
}

BlockingLedger BlockingPool::Counts() const {
  BlockingLedger counts;
  counts.submitted = state_->submitted.load(std::memory_order_relaxed);
  counts.finished = state_->finished.load(std::memory_order_relaxed);
  counts.held = state_->held.load(std::memory_order_relaxed);
  for (size_t i = 0; i < counts.dropped.size(); ++i) {
    counts.dropped[i] = state_->dropped[i].load(std::memory_order_relaxed);
  }
  return counts;
}

std::string BlockingPool::Report() const {
  std::string text = Counts().ToString();
  std::lock_guard<std::mutex> lock(state_->lock);
  std::vector<std::string> callers;
  for (const BlockingState::Thread& thread : state_->threads) {
    if (thread.caller != nullptr) callers.push_back(Demangle(thread.caller));
  }
  absl::StrAppend(&text, "; ", callers.size(), " of at most ", state_->threads_max,
                  " threads run functions");
  if (!callers.empty()) absl::StrAppend(&text, " of ", absl::StrJoin(callers, ", "));
  return text;
}

int64_t BlockingPool::Awaited() const { return state_->awaited.Count(); }

void BlockingPool::DropWaiting() {
  std::deque<std::unique_ptr<BlockingTask>> waiting;
  {
    std::lock_guard<std::mutex> lock(state_->lock);
    state_->closed = true;
    waiting.swap(state_->waiting);
    state_->gates.clear();
  }
  for (auto& task : waiting) {
    task->SetDropReason(DropReason::kShutdown);
    task->Fail(absl::UnavailableError("the runtime ended before the blocking call ran"));
  }
}

std::vector<std::string> BlockingPool::End() {
  DropWaiting();
  std::vector<std::string> left;
  std::vector<ThreadId> ending;
  {
    std::lock_guard<std::mutex> lock(state_->lock);
    state_->ended = true;
    shared_.os.NotifyAll(state_->more);
    for (size_t i = 0; i < threads_.size(); ++i) {
      const BlockingState::Thread& thread = state_->threads[i];
      if (thread.caller == nullptr) {
        ending.push_back(threads_[i]);
        continue;
      }
      left.push_back(absl::StrCat("a blocking function of ", Demangle(thread.caller),
                                  thread.told
                                      ? " has returned, but its captures are still being destroyed"
                                      : " has not returned"));
      if (!thread.told) state_->Drop(DropReason::kShutdown);
      shared_.os.ThreadDetach(threads_[i]);
    }
    threads_.clear();
  }
  // An idle thread holds nothing that waits for this one, and sees `ended` at its next step.
  for (const ThreadId thread : ending) shared_.os.ThreadJoin(thread);
  return left;
}

}  // namespace sluice
