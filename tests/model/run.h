// Run is one run of a model: virtual threads, cells, store buffers and the choices between the
// possible next moves. Part of the explorer; models include explorer.h only.
//
// Owner:  Explore(), which runs it again and again.
// Thread: one of the system; the model's own are fibers.
// Bound:  options.steps_max steps.
#ifndef SLUICE_TESTS_MODEL_RUN_H_
#define SLUICE_TESTS_MODEL_RUN_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sluice/sim/world/fiber.h"
#include "sluice/tests/model/explorer.h"
#include "sluice/tests/model/views.h"

namespace sluice::model::internal {

// A possible move from a state: a thread takes its next step, or one of its stores reaches memory.
struct Move {
  int16_t thread;
  int16_t pending;  // -1: a step.
};

// The choice that a run made, and among how many: a move, or a model's Choose(), which is no move
// of any thread.
struct Choice {
  uint16_t taken;
  uint16_t count;
  Move move;
  bool preempts;
};
constexpr Move kNoMove = {-1, -1};

// A store that has not left its thread's buffer.
struct Pending {
  Cell* cell;
  uint64_t value;
  bool release;
};

enum class ThreadState { kUnused, kReady, kWaits, kFailed, kDone };

struct Thread {
  std::string name;
  std::function<void()> body;
  std::unique_ptr<sim::Fiber> fiber;
  ThreadState state = ThreadState::kUnused;
  Predicate predicate = nullptr;
  void* argument = nullptr;
  const char* waits_for = "";
  Wait wait = Wait::kMustEnd;
  uint64_t knowledge = 0;
  std::deque<Pending> buffer;
  View view;  // Memory::kViews.
};

// Runs the model once, from its start; the search gives the first choices.
class Run {
 public:
  enum class Outcome { kEnded, kKnown, kTooLong, kFailed };

  explicit Run(const ExploreOptions& options) : options_(options) {}
  ~Run() { current_run = nullptr; }

  Outcome Go(const std::function<std::unique_ptr<Model>()>& make, std::vector<Choice>* path,
             std::unordered_map<uint64_t, int>* seen, int steps_max, bool trace);

  const std::string& Failure() const { return failure_; }
  const std::string& Trace() const { return trace_; }
  int Steps() const { return steps_; }
  bool tracing() const { return tracing_; }
  bool shortest = false;  // A state that is reached in fewer steps than before is explored again.

  static Run* current_run;

  // --- From models and cells.
  void StartThread(std::string name, std::function<void()> body);
  int Choose(int count);
  void Fail(std::string what);
  void Note(const std::string& text);
  void NameCells(const void* object, size_t bytes, const std::string& name);
  bool InThread() const { return running_ != nullptr; }
  Thread& Running() { return *running_; }
  Memory memory() const { return options_.memory; }
  void Reach();  // The running thread is about to take a step.
  void WaitUntil(Predicate predicate, void* argument, const char* what, Wait wait);
  void Know(uint64_t value) {
    if (running_ != nullptr) running_->knowledge = Mix(running_->knowledge, value);
  }
  int AddCell(Cell* cell);
  void RemoveCell(int id) { cells_[id] = nullptr; }
  const std::string& CellName(int id) { return cell_names_[id]; }
  void Drain(const Cell* only);
  bool WeakFailure() {
    if (weak_failures_ >= options_.weak_failures_max || Choose(2) == 0) return false;
    ++weak_failures_;
    return true;
  }
  // Memory::kViews only; in the other models these do nothing.
  uint64_t LoadView(int cell, std::memory_order order);
  void StoreView(int cell, uint64_t value, std::memory_order order);
  void ModifyView(int cell, uint64_t value, std::memory_order order);
  static std::string Show(uint64_t value) {
    if (value <= UINT32_MAX) return std::to_string(value);
    return std::to_string(value >> 32) + ":" + std::to_string(value & UINT32_MAX);
  }

 private:
  void Resume(Thread& thread);
  void FindMoves();
  bool CanLeave(const Thread& thread, size_t pending) const;
  void Leave(Thread& thread, size_t pending);
  uint64_t Fingerprint() const;
  Choice& Pick(size_t count);
  bool Replays() const { return depth_ + 1 < given_; }  // The last given choice is a new one.
  bool GoesOn(const Thread& thread);
  void Clear();

  const ExploreOptions& options_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int thread_count_ = 0;
  std::vector<Cell*> cells_;
  std::vector<std::string> cell_names_;
  Views views_;
  std::vector<Move> moves_;
  std::vector<Choice>* path_ = nullptr;
  size_t depth_ = 0;
  size_t given_ = 0;
  Thread* running_ = nullptr;
  int last_ = 0;
  int preemptions_ = 0;
  int weak_failures_ = 0;
  int old_loads_ = 0;
  int steps_ = 0;
  bool chose_ = false;  // A choice of the model's since the last state that was remembered.
  bool failed_ = false;
  bool tracing_ = false;
  std::string failure_;
  std::string trace_;
};

}  // namespace sluice::model::internal

#endif  // SLUICE_TESTS_MODEL_RUN_H_
