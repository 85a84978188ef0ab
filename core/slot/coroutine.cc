#include "sluice/core/slot/coroutine.h"

#include <exception>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"

namespace sluice {

Coroutine::~Coroutine() {
  SLUICE_CHECK(!running_, "a task was destroyed while it ran: it must not end its own owner");
  LeaveList();
  DoNotGoOn();
}

void Coroutine::DoNotGoOn() {
  next_ = nullptr;
  if (runs_ == nullptr) return;
  for (Coroutine** place = &runs_->first_behind; *place != nullptr; place = &(*place)->behind_) {
    if (*place != this) continue;
    SLUICE_PLANT(behind_lost, *place = nullptr; return);
    *place = std::exchange(behind_, nullptr);
    return;
  }
}

void Coroutine::RunBehindOthers() {
  Coroutine** place = &runs_->first_behind;
  while (*place != nullptr) place = &(*place)->behind_;
  *place = this;
}

void Coroutine::Begin() {
  CoroutineRuns& runs = *runs_;
  try {
    RunFrames(runs);
    if (ended_) [[unlikely]]
      RunOn(End(), runs);
  } catch (...) {
    return RunBehind(runs, std::current_exception());
  }
  if (runs.first_behind != nullptr) [[unlikely]]
    RunBehind(runs, nullptr);
}

// Those that wait for the end of the running ones; then rethrows the last error.
void Coroutine::RunBehind(CoroutineRuns& runs, std::exception_ptr error) {
  while (runs.running == 0 && runs.first_behind != nullptr) {
    Coroutine* const next = std::exchange(runs.first_behind, runs.first_behind->behind_);
    next->behind_ = nullptr;
    try {
      RunOn(next, runs);
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

// A loop, and not one frame that resumes the next: compilers turn such resumptions into jumps only
// when they optimize, so that a loop of co_awaits would use up the stack of a debug build.
inline void Coroutine::RunFrames(CoroutineRuns& runs) {
  SLUICE_CHECK(!running_);
  running_ = true;
  ++runs.running;
  do {
    std::exchange(next_, nullptr).resume();
  } while (next_);
  --runs.running;
  running_ = false;
}

Coroutine* Coroutine::End() {
  LeaveList();
  return Ended();
}

// `next`, then the one that has waited for its end, and so on.
void Coroutine::RunOn(Coroutine* next, CoroutineRuns& runs) {
  while (next != nullptr) {
    if (runs.running > 0) return next->Resume(std::exchange(next->next_, nullptr));
    next->RunFrames(runs);
    if (!next->ended_) return;
    next = next->End();
  }
}

std::string Coroutine::Text(int64_t now_ms) const {
  if (running_ || place_ == nullptr) return "runs";
  std::string_view file = place_->where.file;
  file.remove_prefix(file.find_last_of('/') + 1);
  std::string text =
      absl::StrCat("waits ", now_ms - place_->since_ns / 1'000'000, " ms for ", place_->what);
  if (place_->target != nullptr) absl::StrAppend(&text, " of actor#", place_->target->id);
  if (!file.empty()) absl::StrAppend(&text, ", at ", ToAbsl(file), ":", place_->where.line);
  return text;
}

}  // namespace sluice
