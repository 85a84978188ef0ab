#include "sluice/core/slot/coroutine.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"

namespace sluice {

// A loop, and not one frame that resumes the next: compilers turn such resumptions into jumps only
// when they optimize, so that a loop of co_awaits would use up the stack of a debug build.
void Coroutine::Run() {
  Coroutine* coroutine = this;
  while (coroutine != nullptr) {
    SLUICE_CHECK(!coroutine->running_ && coroutine->next_);
    coroutine->running_ = true;
    while (const std::coroutine_handle<> frame = std::exchange(coroutine->next_, nullptr)) {
      frame.resume();
    }
    coroutine->running_ = false;
    if (!coroutine->ended_) return;
    coroutine->LeaveList();
    coroutine = coroutine->Ended();
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
