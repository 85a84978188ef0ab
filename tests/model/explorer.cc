#include "sluice/tests/model/explorer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <unordered_map>

#include "sluice/tests/model/fiber.h"

namespace sluice::model {

namespace internal {

// One way on from a state: a thread takes its next step, or a store of it reaches memory.
struct Move {
  int16_t thread;
  int16_t pending;  // -1: a step.
};

// What a run chose, and out of how many: a move, or a model's Choose(), which is no move of any
// thread.
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
  std::unique_ptr<Fiber> fiber;
  ThreadState state = ThreadState::kUnused;
  Predicate predicate = nullptr;
  void* argument = nullptr;
  const char* waits_for = "";
  Wait wait = Wait::kMustEnd;
  uint64_t knowledge = 0;
  std::deque<Pending> buffer;
};

// One run of the model, from its start; the search gives it the choices to begin with.
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
  bool Replays() const {
    return depth_ + 1 < given_;
  }  // The last choice that was given is a new one.
  bool GoesOn(const Thread& thread);
  void Clear();

  const ExploreOptions& options_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int thread_count_ = 0;
  std::vector<Cell*> cells_;
  std::vector<std::string> cell_names_;
  std::vector<Move> moves_;
  std::vector<Choice>* path_ = nullptr;
  size_t depth_ = 0;
  size_t given_ = 0;
  Thread* running_ = nullptr;
  int last_ = 0;
  int preemptions_ = 0;
  int weak_failures_ = 0;
  int steps_ = 0;
  bool chose_ = false;  // A choice of the model's since the last state that was remembered.
  bool failed_ = false;
  bool tracing_ = false;
  std::string failure_;
  std::string trace_;
};

Run* Run::current_run = nullptr;

int Run::AddCell(Cell* cell) {
  cells_.push_back(cell);
  cell_names_.push_back(tracing_ ? "atomic" + std::to_string(cells_.size()) : std::string());
  return static_cast<int>(cells_.size()) - 1;
}

void Run::NameCells(const void* object, size_t bytes, const std::string& name) {
  if (!tracing_) return;
  const char* const begin = static_cast<const char*>(object);
  int count = 0;
  for (size_t i = 0; i < cells_.size(); ++i) {
    const char* const cell = reinterpret_cast<const char*>(cells_[i]);
    if (cells_[i] == nullptr || cell < begin || cell >= begin + bytes) continue;
    cell_names_[i] = ++count == 1 ? name : name + "." + std::to_string(count);
  }
}

void Run::StartThread(std::string name, std::function<void()> body) {
  if (thread_count_ == static_cast<int>(threads_.size())) {
    threads_.push_back(std::make_unique<Thread>());
    Thread* const added = threads_.back().get();
    added->fiber = std::make_unique<Fiber>([this, added] {
      added->body();
      added->state = ThreadState::kDone;
    });
  }
  Thread& thread = *threads_[thread_count_++];
  thread.name = std::move(name);
  thread.body = std::move(body);
  thread.state = ThreadState::kReady;
  thread.knowledge = static_cast<uint64_t>(thread_count_);
}

Choice& Run::Pick(size_t count) {
  if (depth_ == path_->size()) path_->push_back({0, static_cast<uint16_t>(count), kNoMove, false});
  Choice& choice = (*path_)[depth_++];
  if (choice.count != count) {
    std::fprintf(stderr, "explorer: the model is not deterministic: %zu ways on, %d before\n",
                 count, choice.count);
    std::abort();
  }
  return choice;
}

int Run::Choose(int count) {
  if (count == 1) return 0;
  const int taken = Pick(static_cast<size_t>(count)).taken;
  Know(static_cast<uint64_t>(taken) + 1);
  chose_ = true;
  return taken;
}

void Run::Fail(std::string what) {
  {
    const std::string taken =
        std::move(what);  // The caller's, which may be abandoned, owns nothing.
    if (!failed_) failure_ = taken;
  }
  failed_ = true;
  if (running_ == nullptr) return;
  running_->state = ThreadState::kFailed;
  running_->fiber->Yield();  // For ever.
}

void Run::Note(const std::string& text) {
  if (!tracing_) return;
  char head[64];
  if (running_ != nullptr) {
    std::snprintf(head, sizeof(head), "%4d  %-10s ", steps_, running_->name.c_str());
  } else {
    std::snprintf(head, sizeof(head), "%4d  %-10s ", steps_, "");
  }
  trace_ += head + text + "\n";
}

void Run::Reach() {
  if (running_ == nullptr) return;
  Thread& self = *running_;
  if (Replays() && GoesOn(self)) return;
  self.state = ThreadState::kReady;
  self.fiber->Yield();
}

void Run::WaitUntil(Predicate predicate, void* argument, const char* what, Wait wait) {
  Thread& self = *running_;
  if (!(Replays() && GoesOn(self))) {
    self.state = ThreadState::kWaits;
    self.predicate = predicate;
    self.argument = argument;
    self.waits_for = what;
    self.wait = wait;
    self.fiber->Yield();
  }
  Know(1);
  if (tracing_) Note(std::string("goes on: ") + what);
}

// A run that is repeated: the next step is this thread's too, so it need not come back to the
// scheduler.
bool Run::GoesOn(const Thread& thread) {
  const Choice& next = (*path_)[depth_];
  if (next.move.thread != last_ || next.move.pending >= 0 || threads_[last_].get() != &thread)
    return false;
  ++depth_;
  ++steps_;
  return true;
}

void Run::Resume(Thread& thread) {
  running_ = &thread;
  thread.fiber->Resume();
  running_ = nullptr;
}

bool Run::CanLeave(const Thread& thread, size_t pending) const {
  if (pending == 0) return true;
  if (options_.memory != Memory::kPso || thread.buffer[pending].release) return false;
  for (size_t i = 0; i < pending; ++i) {
    if (thread.buffer[i].cell == thread.buffer[pending].cell) return false;
  }
  return true;
}

void Run::Leave(Thread& thread, size_t pending) {
  const Pending store = thread.buffer[pending];
  thread.buffer.erase(thread.buffer.begin() + static_cast<std::ptrdiff_t>(pending));
  store.cell->value_ = store.value;
  if (tracing_) {
    Thread* const before = std::exchange(running_, &thread);
    Note("  its store reaches memory: " + CellName(store.cell->id_) + " = " + Show(store.value));
    running_ = before;
  }
}

// Before a read-modify-write: everything, or what must leave before a store to `only` can.
void Run::Drain(const Cell* only) {
  Thread& self = *running_;
  if (only == nullptr) {
    while (!self.buffer.empty()) Leave(self, 0);
    return;
  }
  for (size_t i = self.buffer.size(); i-- > 0;) {
    if (self.buffer[i].cell != only) continue;
    if (self.buffer[i].release) {
      for (size_t k = 0; k <= i; ++k) Leave(self, 0);
      return;
    }
  }
  for (size_t i = 0; i < self.buffer.size();) {
    if (self.buffer[i].cell == only) {
      Leave(self, i);
    } else {
      ++i;
    }
  }
}

void Run::FindMoves() {
  moves_.clear();
  const auto add = [&](int i) {
    Thread& thread = *threads_[i];
    if (thread.state == ThreadState::kReady ||
        (thread.state == ThreadState::kWaits && thread.predicate(thread.argument))) {
      moves_.push_back({static_cast<int16_t>(i), -1});
    }
  };
  add(last_);  // The thread that went last comes first: fewest switches.
  const bool last_can = !moves_.empty();
  const bool only_last = last_can && steps_ > 0 && options_.preemptions_max >= 0 &&
                         preemptions_ >= options_.preemptions_max;
  for (int i = 0; i < thread_count_ && !only_last; ++i) {
    if (i != last_) add(i);
  }
  for (int i = 0; i < thread_count_; ++i) {
    for (size_t k = 0; k < threads_[i]->buffer.size(); ++k) {
      if (CanLeave(*threads_[i], k))
        moves_.push_back({static_cast<int16_t>(i), static_cast<int16_t>(k)});
    }
  }
}

uint64_t Run::Fingerprint() const {
  uint64_t hash = options_.preemptions_max < 0 ? 0 : Mix(1 + preemptions_, last_);
  for (const Cell* cell : cells_) {
    if (cell != nullptr) hash = Mix(hash, cell->value_);
  }
  for (int i = 0; i < thread_count_; ++i) {
    hash = Mix(hash, threads_[i]->knowledge);
    for (const Pending& store : threads_[i]->buffer) {
      hash =
          Mix(Mix(hash, store.value), static_cast<uint64_t>(store.cell->id_) * 2 + store.release);
    }
    hash = Mix(hash, static_cast<uint64_t>(threads_[i]->state));
  }
  return Mix(hash, weak_failures_);
}

void Run::Clear() {
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = *threads_[i];
    if (thread.state != ThreadState::kDone) thread.fiber->Abandon();
    thread.buffer.clear();
  }
}

Run::Outcome Run::Go(const std::function<std::unique_ptr<Model>()>& make, std::vector<Choice>* path,
                     std::unordered_map<uint64_t, int>* seen, int steps_max, bool trace) {
  current_run = this;
  path_ = path;
  depth_ = 0;
  last_ = preemptions_ = weak_failures_ = steps_ = 0;
  failed_ = chose_ = false;
  tracing_ = trace;
  trace_.clear();
  cells_.clear();
  cell_names_.clear();
  thread_count_ = 0;
  given_ = path->size();
  std::unique_ptr<Model> model = make();
  model->Start();
  for (int i = 0; i < thread_count_ && !failed_; ++i) Resume(*threads_[i]);

  Outcome outcome = Outcome::kFailed;
  while (!failed_) {
    Choice next;
    if (Replays()) {
      next = (*path_)[depth_++];
    } else {
      if (depth_ >= given_) {
        model->CheckStep();
        if (failed_) break;
      }
      FindMoves();
      if (moves_.empty()) {
        std::string in_vain;
        for (int i = 0; i < thread_count_; ++i) {
          const Thread& thread = *threads_[i];
          if (thread.state != ThreadState::kWaits || thread.wait != Wait::kMustEnd) continue;
          in_vain +=
              (in_vain.empty() ? "" : "; ") + thread.name + " waits for ever: " + thread.waits_for;
        }
        if (in_vain.empty()) {
          model->CheckEnd();
        } else {
          Fail(in_vain);
        }
        if (!failed_) outcome = Outcome::kEnded;
        break;
      }
      if (steps_ >= steps_max) {
        outcome = Outcome::kTooLong;
        break;
      }
      if ((moves_.size() > 1 || chose_) && depth_ >= given_ && seen != nullptr) {
        chose_ = false;
        const auto [place, added] = seen->try_emplace(Fingerprint(), steps_);
        if (!added && (!shortest || place->second <= steps_)) {
          outcome = Outcome::kKnown;
          break;
        }
        place->second = steps_;
      }
      Choice& choice = Pick(moves_.size());
      choice.move = moves_[choice.taken];
      choice.preempts = steps_ > 0 && choice.move.pending < 0 && choice.move.thread != last_ &&
                        moves_[0].pending < 0 && moves_[0].thread == last_;
      next = choice;
    }
    ++steps_;
    Thread& thread = *threads_[next.move.thread];
    if (next.move.pending >= 0) {
      Leave(thread, static_cast<size_t>(next.move.pending));
      continue;
    }
    preemptions_ += next.preempts;
    last_ = next.move.thread;
    Resume(thread);
  }
  if (trace) {
    std::string states;
    for (int i = 0; i < thread_count_; ++i) {
      const Thread& thread = *threads_[i];
      states += "      " + thread.name +
                (thread.state == ThreadState::kDone    ? " is done\n"
                 : thread.state == ThreadState::kReady ? " can go on\n"
                 : thread.state == ThreadState::kFailed
                     ? " failed\n"
                     : std::string(" waits: ") + thread.waits_for + "\n");
    }
    trace_ += states;
  }
  Clear();
  model.reset();
  return outcome;
}

// ---------------------------------------------------------------------------------------------------------

namespace {
Run& Current() { return *Run::current_run; }
bool IsRelease(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}
}  // namespace

Cell::Cell(uint64_t value) : value_(value), id_(Current().AddCell(this)) {}
Cell::~Cell() { Current().RemoveCell(id_); }

uint64_t Cell::Load(std::memory_order /*order*/) const {
  Run& run = Current();
  run.Reach();
  uint64_t value = value_;
  if (run.InThread()) {
    for (const Pending& store : run.Running().buffer) {
      if (store.cell == this) value = store.value;  // The newest one counts.
    }
    run.Know(Mix(2, value));
    if (run.tracing()) run.Note(run.CellName(id_) + ".load -> " + Run::Show(value));
  }
  return value;
}

void Cell::Store(uint64_t value, std::memory_order order) {
  Run& run = Current();
  const bool at_once =
      !run.InThread() || run.memory() == Memory::kSequential || order == std::memory_order_seq_cst;
  if (!at_once) {  // No step: nobody else can see it yet.
    run.Running().buffer.push_back({this, value, IsRelease(order)});
    run.Know(3);
    if (run.tracing()) run.Note(run.CellName(id_) + ".store(" + Run::Show(value) + ")");
    return;
  }
  run.Reach();
  if (run.InThread()) run.Drain(nullptr);
  value_ = value;
  run.Know(3);
  if (run.tracing()) run.Note(run.CellName(id_) + ".store(" + Run::Show(value) + ")");
}

uint64_t Cell::BeginModify(std::memory_order order) {
  Run& run = Current();
  run.Reach();
  if (run.InThread()) {
    run.Drain(run.memory() == Memory::kPso && !IsRelease(order) ? this : nullptr);
  }
  return value_;
}

void Cell::EndModify(const char* verb, uint64_t old, uint64_t now) {
  Run& run = Current();
  value_ = now;
  run.Know(Mix(4, old));
  if (run.tracing()) {
    run.Note(run.CellName(id_) + "." + verb + ": " + Run::Show(old) + " becomes " + Run::Show(now));
  }
}

bool Cell::CompareExchange(uint64_t& expected, uint64_t desired, std::memory_order order,
                           bool weak) {
  Run& run = Current();
  const uint64_t old = BeginModify(order);
  const bool done = old == expected && !(weak && run.InThread() && run.WeakFailure());
  if (done) value_ = desired;
  expected = old;
  run.Know(Mix(5, old));
  if (run.tracing()) {
    run.Note(run.CellName(id_) + ".compare_exchange: " +
             (done ? Run::Show(old) + " becomes " + Run::Show(desired)
                   : "fails, finds " + Run::Show(old)));
  }
  return done;
}

void WaitUntil(Predicate predicate, void* argument, const char* what, Wait wait) {
  Current().WaitUntil(predicate, argument, what, wait);
}

void Step() {
  Run& run = Current();
  run.Reach();
  if (run.InThread()) run.Drain(nullptr);
  run.Know(6);
}
void Seen(uint64_t value) { Current().Know(value); }

}  // namespace internal

// ---------------------------------------------------------------------------------------------------------

using internal::Choice;
using internal::Current;
using internal::Run;

void StartThread(std::string name, std::function<void()> body) {
  Current().StartThread(std::move(name), std::move(body));
}
int Choose(int count) { return Current().Choose(count); }
void Fail(std::string what) { Current().Fail(std::move(what)); }
bool Tracing() { return Current().tracing(); }
void Note(const std::string& text) { Current().Note(text); }
void NameAtomics(const void* object, size_t bytes, const std::string& name) {
  Current().NameCells(object, bytes, name);
}
void Summarize(uint64_t state) { Current().Running().knowledge = Mix(state, 0x51); }
uint64_t Mix(uint64_t hash, uint64_t value) {  // splitmix64's finisher.
  uint64_t x = (hash ^ (hash >> 29)) * 0x9e3779b97f4a7c15 + value + 0x632be59bd9b4e019;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::string Report::Summary() const {
  std::string text = std::to_string(executions) + " executions, " + std::to_string(states) +
                     " states, at most " + std::to_string(steps_longest) + " steps, " +
                     (complete ? "complete" : "NOT complete");
  if (failed) {
    text += "\nFAILED: " + failure;
  }
  return text;
}

namespace {
// To the next path in depth-first order; false: there is none.
bool Advance(std::vector<Choice>* path) {
  while (!path->empty() && path->back().taken + 1 == path->back().count) path->pop_back();
  if (path->empty()) return false;
  ++path->back().taken;
  return true;
}
}  // namespace

Report Explore(const ExploreOptions& options, const std::function<std::unique_ptr<Model>()>& make) {
  Report report;
  Run run(options);
  std::unordered_map<uint64_t, int> seen;
  std::vector<Choice> path;
  std::vector<Choice> failing;
  int steps_max = options.steps_max;
  const auto note_failure = [&](Run::Outcome outcome) {
    report.failed = true;
    report.failure = outcome == Run::Outcome::kTooLong ? "a run has no end" : run.Failure();
    report.failure_steps = run.Steps();
    failing = path;
  };
  do {
    const Run::Outcome outcome = run.Go(make, &path, &seen, steps_max, /*trace=*/false);
    ++report.executions;
    report.steps_longest = std::max(report.steps_longest, run.Steps());
    if (outcome == Run::Outcome::kFailed || outcome == Run::Outcome::kTooLong) {
      note_failure(outcome);
      break;
    }
    report.complete = true;
    if (report.executions == options.executions_max) {
      report.complete = false;
      break;
    }
  } while (Advance(&path));
  if (report.failed) report.complete = false;
  report.states = static_cast<int64_t>(seen.size());
  if (!report.failed) return report;

  // The same search again, with ever fewer steps.
  seen.clear();
  path.clear();
  run.shortest = true;
  for (int64_t i = 0; i < options.shorten_executions_max; ++i) {
    steps_max = report.failure_steps - 1;
    const Run::Outcome outcome = run.Go(make, &path, &seen, steps_max, /*trace=*/false);
    if (outcome == Run::Outcome::kFailed) note_failure(outcome);
    if (!Advance(&path)) break;
  }
  path = failing;
  run.Go(make, &path, nullptr, options.steps_max, /*trace=*/true);
  report.failure += "\n" + run.Trace();
  return report;
}

}  // namespace sluice::model
