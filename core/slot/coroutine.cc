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

void Coroutine::Resume(std::coroutine_handle<> frame) {
  next_ = frame;
  if (runs_->running == 0) return Begin();
  Coroutine** place = &runs_->first_behind;
  while (*place != nullptr) place = &(*place)->behind_;
  *place = this;
}

void Coroutine::Begin() {
  CoroutineRuns& runs = *runs_;
  std::exception_ptr error;
  try {
    Run(this, runs);
  } catch (...) {
    error = std::current_exception();
  }
  while (runs.running == 0 && runs.first_behind != nullptr) {
    Coroutine* const next = std::exchange(runs.first_behind, runs.first_behind->behind_);
    next->behind_ = nullptr;
    try {
      Run(next, runs);
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

// A loop, and not one frame that resumes the next: compilers turn such resumptions into jumps only
// when they optimize, so that a loop of co_awaits would use up the stack of a debug build.
void Coroutine::Run(Coroutine* coroutine, CoroutineRuns& runs) {
  while (coroutine != nullptr) {
    SLUICE_CHECK(!coroutine->running_ && coroutine->next_);
    coroutine->running_ = true;
    ++runs.running;
    while (const std::coroutine_handle<> frame = std::exchange(coroutine->next_, nullptr)) {
      frame.resume();
    }
    --runs.running;
    coroutine->running_ = false;
    if (!coroutine->ended_) return;
    coroutine->LeaveList();
    coroutine = coroutine->Ended();
    if (coroutine != nullptr && runs.running > 0) {
      return coroutine->Resume(std::exchange(coroutine->next_, nullptr));
    }
  }
}

std::string Coroutine::Text(int64_t now_ms) const {
  if (running_ || place_ == nullptr) return "runs";
  std::string_view file = place_->where.file;
  file.remove_prefix(file.find_last_of('/') + 1);
  std::string text = absl::StrCat("waits ", now_ms - place_->since_ms, " ms for ", place_->what);
  if (place_->target != nullptr) absl::StrAppend(&text, " of actor#", place_->target->id);
  if (!file.empty()) absl::StrAppend(&text, ", at ", ToAbsl(file), ":", place_->where.line);
  return text;
}

}  // namespace sluice
