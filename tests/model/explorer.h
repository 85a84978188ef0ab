// Explorer runs a small concurrent program once for every order in which its steps can happen: the
// classes are the real ones, over ModelAtomics; the threads are virtual, on one thread of the
// system.
//
// A step is one atomic operation, one wait that ends, or one store that leaves a store buffer. Code
// between two steps belongs to the first of them, so that code may touch only the thread's own
// data, and counters that are only added to. Choices are tried depth first: each choice runs the
// program again from its start.
//
// Delays, by memory model:
// - kSequential: none.
// - kTso: as on x86. Plain stores wait in the thread's own FIFO buffer; read-modify-writes and
//   seq_cst stores empty it first; the thread's loads look there first.
// - kPso: weaker than x86. Relaxed stores may leave in any order, except two stores to one
//   variable; a release store leaves after all stores before it; read-modify-writes without release
//   pass the buffer too.
// - kViews: stores are visible at once, but a load may read a value older than the newest. A load
//   may not read an old value if its thread knows a newer one: from its own reads and writes, or
//   from an acquire of a release that followed the newer value. ARM and C++ allow such loads. Only
//   this model shows loads that are executed early, and missing acquires. At most old_loads_max old
//   reads in a run, as a thread that reads only old values never ends. Not modelled: two stores to
//   one variable that reach other threads in another order than they were made.
//
// A state consists of all that each thread has read so far (its code is deterministic, so its reads
// are its state), of memory and of buffers. A known state is not explored again. complete == true:
// all states were explored.
#ifndef SLUICE_TESTS_MODEL_EXPLORER_H_
#define SLUICE_TESTS_MODEL_EXPLORER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sluice::model {

enum class Memory { kSequential, kTso, kPso, kViews };

struct ExploreOptions {
  Memory memory = Memory::kTso;
  int preemptions_max = -1;   // Switches away from a thread that could go on. -1: all of them.
  int weak_failures_max = 0;  // How often compare_exchange_weak may fail for no reason.
  int old_loads_max = 2;      // kViews.
  int steps_max = 2000;       // A run that is longer fails: it seems to have no end.
  int64_t executions_max = 20'000'000;      // Beyond it, the report is not complete.
  int64_t shorten_executions_max = 50'000;  // Spent on a shorter way to a failure that was found.
};

struct Report {
  bool complete = false;  // Every order was tried, within preemptions_max.
  bool failed = false;
  int64_t executions = 0;  // Runs of the program, those cut short at a known state included.
  int64_t states = 0;      // Different states with more than one way on.
  int steps_longest = 0;
  std::string failure;  // The first failure, and the shortest way to it that was found.
  int failure_steps = 0;

  std::string Summary() const;
};

// The program of a run: the objects that the threads share, recreated for each run.
class Model {
 public:
  virtual ~Model() = default;
  virtual void Start() = 0;    // Calls StartThread() for each thread.
  virtual void CheckStep() {}  // After every step. Fail() if an invariant is broken.
  virtual void CheckEnd() {}   // When no thread can go on and no thread waits in vain.
};

Report Explore(const ExploreOptions& options, const std::function<std::unique_ptr<Model>()>& make);

template <class M, class... Args>
Report Explore(const ExploreOptions& options, const Args&... args) {
  return Explore(options, [&] { return std::make_unique<M>(args...); });
}

// --- For models: from Start(), from threads, from checks.

void StartThread(std::string name, std::function<void()> body);
// Returns one of 0 .. count - 1; the search tries each.
int Choose(int count);
// Ends the run as failed.
[[gnu::cold]] void Fail(std::string what);
// True while a failure is run again to be printed. Note() adds a line to what is printed.
bool Tracing();
void Note(const std::string& text);
// Names the atomics that lie within `object`.
void NameAtomics(const void* object, size_t bytes, const std::string& name);
template <class T>
void Name(const T& object, const std::string& name) {
  NameAtomics(&object, sizeof(object), name);
}

// state` must hold all that this thread knows, its place in its code included. Histories that lead
// to equal states are then explored once. An incomplete `state` hides failures.
void Summarize(uint64_t state);
uint64_t Mix(uint64_t hash, uint64_t value);

enum class Wait {
  kMustEnd,  // No thread is left that could end the wait: a lost wake-up, a failure.
  kMayStay,  // For a thread that serves others: it may wait forever once the others are done.
};
namespace internal {
using Predicate = bool (*)(void*);
void WaitUntil(Predicate predicate, void* argument, const char* what, Wait wait);
}  // namespace internal
// Waits until predicate() holds, which reads memory as it is (no buffer) and takes no step. The
// code that follows, up to the next atomic operation, is part of the step.
template <class P>
void WaitUntil(const char* what, P predicate, Wait wait = Wait::kMustEnd) {
  internal::WaitUntil([](void* p) { return bool{(*static_cast<P*>(p))()}; }, &predicate, what,
                      wait);
}

namespace internal {

// An atomic variable of any type.
class Cell {
 public:
  explicit Cell(uint64_t value);
  ~Cell();
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  // Within a step that is under way: sets the newest value, which all threads then see.
  void Set(uint64_t value) { value_ = value; }
  void HandOver();  // Release and acquire, both: for a queue, of which the order is not under test.
  uint64_t Value() const { return value_; }
  uint64_t Load(std::memory_order order) const;
  void Store(uint64_t value, std::memory_order order);
  bool CompareExchange(uint64_t& expected, uint64_t desired, std::memory_order order, bool weak);
  template <class F>
  uint64_t Modify(const char* verb, std::memory_order order, F&& change) {
    const uint64_t old = BeginModify(order);
    const uint64_t now = change(old);
    EndModify(verb, old, now, order);
    return old;
  }

 private:
  friend class Run;
  uint64_t BeginModify(std::memory_order order);
  void EndModify(const char* verb, uint64_t old, uint64_t now, std::memory_order order);

  uint64_t value_;
  int id_;
};

void Step();                // A step that first empties this thread's store buffer.
void Seen(uint64_t value);  // `value` becomes part of this thread's knowledge.

}  // namespace internal

// std::atomic as the explorer sees it.
template <class T>
class ModelAtomic {
 public:
  ModelAtomic() : cell_(0) {}
  explicit(false) ModelAtomic(T value) : cell_(static_cast<uint64_t>(value)) {}

  T load(std::memory_order order = std::memory_order_seq_cst) const {
    return static_cast<T>(cell_.Load(order));
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    cell_.Store(static_cast<uint64_t>(value), order);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst) {
    return static_cast<T>(
        cell_.Modify("exchange", order, [&](uint64_t) { return static_cast<uint64_t>(value); }));
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) {
    return static_cast<T>(cell_.Modify("fetch_add", order, [&](uint64_t old) {
      return static_cast<uint64_t>(static_cast<T>(static_cast<T>(old) + value));
    }));
  }
  T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) {
    return static_cast<T>(cell_.Modify("fetch_sub", order, [&](uint64_t old) {
      return static_cast<uint64_t>(static_cast<T>(static_cast<T>(old) - value));
    }));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order /*failure*/) {
    return CompareExchange(expected, desired, success, /*weak=*/true);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order /*failure*/) {
    return CompareExchange(expected, desired, success, /*weak=*/false);
  }

 private:
  bool CompareExchange(T& expected, T desired, std::memory_order order, bool weak) {
    uint64_t old = static_cast<uint64_t>(expected);
    const bool done = cell_.CompareExchange(old, static_cast<uint64_t>(desired), order, weak);
    expected = static_cast<T>(old);
    return done;
  }
  internal::Cell cell_;
};

struct ModelAtomics {
  template <class T>
  using Atomic = ModelAtomic<T>;
};

// A FIFO from any threads to one. A pushed item is visible at once: the delay of a queue shows as a
// receiver that does not look yet. T has uint64_t Fingerprint() const and std::string Text() const.
template <class T>
class Lane {
 public:
  explicit Lane(std::string name) : name_(std::move(name)) {}
  void Push(const T& item) {
    internal::Step();
    items_.push_back(item);
    UpdateContents();
    if (Tracing()) Note(name_ + " <- " + item.Text());
  }
  bool Empty() const { return items_.empty(); }
  size_t Size() const { return items_.size(); }
  const T& Front() const { return items_.front(); }
  // For the receiver, in the step of a WaitUntil(). Requires: not empty.
  T Take() {
    const T item = items_.front();
    items_.erase(items_.begin());
    UpdateContents();
    internal::Seen(item.Fingerprint());
    if (Tracing()) Note(name_ + " -> " + item.Text());
    return item;
  }
  template <class F>
  void ForEach(F&& f) const {  // For checks.
    for (const T& item : items_) f(item);
  }

 private:
  void UpdateContents() {
    uint64_t hash = items_.size();
    for (const T& item : items_) hash = Mix(hash, item.Fingerprint());
    contents_.Set(hash);
    contents_.HandOver();
  }
  const std::string name_;
  std::vector<T> items_;  // Not a deque, which allocates in each run even when it is empty.
  internal::Cell contents_{0};
};

}  // namespace sluice::model

#endif  // SLUICE_TESTS_MODEL_EXPLORER_H_
