#include "sluice/tests/model/explorer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "sluice/tests/model/run.h"

namespace sluice::model {

namespace internal {

namespace {
Run& Current() { return *Run::current_run; }
}  // namespace

Cell::Cell(uint64_t value) : value_(value), id_(Current().AddCell(this)) {}
Cell::~Cell() { Current().RemoveCell(id_); }

uint64_t Cell::Load(std::memory_order order) const {
  Run& run = Current();
  run.Reach();
  uint64_t value = value_;
  if (run.InThread()) {
    if (run.memory() == Memory::kViews) value = run.LoadView(id_, order);
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
  const bool at_once = !run.InThread() || run.memory() == Memory::kSequential ||
                       run.memory() == Memory::kViews || order == std::memory_order_seq_cst;
  if (!at_once) {  // No step: no other thread can see the store yet.
    run.Running().buffer.push_back({this, value, IsRelease(order)});
    run.Know(3);
    if (run.tracing()) run.Note(run.CellName(id_) + ".store(" + Run::Show(value) + ")");
    return;
  }
  run.Reach();
  if (run.InThread()) run.Drain(nullptr);
  value_ = value;
  run.StoreView(id_, value, order);
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

void Cell::EndModify(const char* verb, uint64_t old, uint64_t now, std::memory_order order) {
  Run& run = Current();
  value_ = now;
  run.ModifyView(id_, now, order);
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
  if (done) {
    value_ = desired;
    run.ModifyView(id_, desired, order);
  }
  expected = old;
  run.Know(Mix(5, old));
  if (run.tracing()) {
    run.Note(run.CellName(id_) + ".compare_exchange: " +
             (done ? Run::Show(old) + " becomes " + Run::Show(desired)
                   : "fails, finds " + Run::Show(old)));
  }
  return done;
}

void Cell::HandOver() { Current().ModifyView(id_, value_, std::memory_order_acq_rel); }

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

// ---------------------------------------------------------------------------------------------

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
// Moves to the next path in depth-first order; false: there is none.
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
