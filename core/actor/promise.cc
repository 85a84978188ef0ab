#include "sluice/core/actor/promise.h"

#include <exception>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/running.h"

namespace sluice::internal {

thread_local constinit AnsweringScope* AnsweringScope::current = nullptr;

bool AnsweringScope::NoteDropped(const Slot* asker, AskId ask) {
  if (current == nullptr || current->asker_ != asker || current->ask_ != ask ||
      std::uncaught_exceptions() == 0) {
    return false;
  }
  current->dropped_ = true;
  return true;
}

namespace {

absl::Status FailureOf(const Slot* actor, const std::string& text) {
  return absl::AbortedError(absl::StrCat(NameOfActor(actor), " failed: ", text));
}

absl::Status EndOf(const Slot* actor, const std::string& text) {
  return absl::AbortedError(
      absl::StrCat(NameOfActor(actor), " has ended", text.empty() ? "" : ": ", text));
}

}  // namespace

absl::Status DroppedStatus() noexcept {
  try {
    Worker* const here = Worker::Current();
    const Slot* const holder = here == nullptr ? nullptr : here->desk().current;
    // Only at its end: a restarted actor lives on with the reason of its last failure.
    const bool ends =
        holder != nullptr && holder->extra != nullptr &&
        (holder->state == ActorState::kRestarting || holder->state == ActorState::kStopping ||
         holder->state == ActorState::kLingering);
    if (ends) return EndStatus(holder);
  } catch (...) {
    // No memory for the text.
  }
  return absl::AbortedError("the promise was dropped without an answer");
}

absl::Status EndStatus(const Slot* actor) {
  if (actor->extra == nullptr) return EndOf(actor, "");
  const ActorExtra& extra = *actor->extra;
  return extra.reason == EndReason::kFailed ? FailureOf(actor, extra.reason_text)
                                            : EndOf(actor, extra.reason_text);
}

absl::Status RefusedStatus(Answer answer) {
  return absl::UnavailableError(answer == Answer::kClosed ? "the actor asked has ended"
                                                          : "too busy, try again");
}

absl::Status ThrownStatus(const Slot* actor) noexcept {
  try {
    return FailureOf(actor, BoundedReason(ExceptionText(std::current_exception())));
  } catch (...) {
    return absl::AbortedError("the actor asked has failed");
  }
}

}  // namespace sluice::internal
