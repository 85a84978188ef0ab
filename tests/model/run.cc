#include "sluice/tests/model/run.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace sluice::model::internal {

Run* Run::current_run = nullptr;

int Run::AddCell(Cell* cell) {
  cells_.push_back(cell);
  views_.AddCell(cell->value_);
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
    added->fiber = std::make_unique<sim::Fiber>([added] {
      added->body();
      added->state = ThreadState::kDone;
    });
  }
  Thread& thread = *threads_[thread_count_++];
  thread.name = std::move(name);
  thread.body = std::move(body);
  thread.state = ThreadState::kReady;
  thread.knowledge = static_cast<uint64_t>(thread_count_);
  thread.view.clear();
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
        std::move(what);  // The caller's fiber may be abandoned, so its string must own nothing.
    if (!failed_) failure_ = taken;
  }
  failed_ = true;
  if (running_ == nullptr) return;
  running_->state = ThreadState::kFailed;
  running_->fiber->Yield();  // Never resumed.
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

// In a repeated run, if the next step is this thread's too, the thread goes on without the
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

// Before a read-modify-write: empties the buffer, or only as far as a store to `only` needs.
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

uint64_t Run::LoadView(int cell, std::memory_order order) {
  View& view = running_->view;
  const int count = old_loads_ < options_.old_loads_max ? views_.Choices(view, cell) : 1;
  const int back = Choose(count);
  old_loads_ += back > 0;
  if (tracing_ && back > 0) Note("  reads an old value of " + CellName(cell));
  return views_.Load(view, cell, back, order);
}

void Run::StoreView(int cell, uint64_t value, std::memory_order order) {
  if (options_.memory != Memory::kViews) return;
  if (running_ == nullptr) {
    views_.Set(cell, value);
  } else {
    views_.Store(running_->view, cell, value, order);
  }
}

void Run::ModifyView(int cell, uint64_t value, std::memory_order order) {
  if (options_.memory != Memory::kViews) return;
  if (running_ == nullptr) {
    views_.Set(cell, value);
  } else {
    views_.Modify(running_->view, cell, value, order);
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
  add(last_);  // The last thread comes first: fewest switches.
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
  if (options_.memory == Memory::kViews) {
    std::vector<const View*> readers;
    for (int i = 0; i < thread_count_; ++i) {
      if (threads_[i]->state != ThreadState::kDone) readers.push_back(&threads_[i]->view);
    }
    hash = Mix(Mix(hash, views_.Fingerprint(readers)), old_loads_);
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
  last_ = preemptions_ = weak_failures_ = old_loads_ = steps_ = 0;
  failed_ = chose_ = false;
  tracing_ = trace;
  trace_.clear();
  cells_.clear();
  views_.Clear();
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

}  // namespace sluice::model::internal
