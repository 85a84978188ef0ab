// Answer is what a send says; EndReason is why an actor ended, and Down who is told of it.
//
// Owner:  whoever holds it; plain values.
// Thread: any.
// Bound:  the text of a Down is the reason's, at most kReasonTextBytesMax; its place is reserved by
//         Monitor.
// Errors: these are the errors.
#ifndef SLUICE_CORE_MAILBOX_ANSWER_H_
#define SLUICE_CORE_MAILBOX_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/core/memory/held_bytes.h"

namespace sluice {

struct Slot;

// The message is moved from only when the answer is kAccepted. An answer that nobody looks at is a
// message or bytes that are lost in silence, so the compiler warns; `(void)` says that it is meant.
enum class [[nodiscard]] Answer : uint8_t{
    kAccepted,    // It will be handled, or counted as dropped with a reason.
    kFull,        // TrySend only: no credit, or no room on the way. Try later, or do without.
    kClosed,      // The actor has ended.
    kOverloaded,  // The memory budget or the sender's outbox is spent.
};
std::string_view AnswerName(Answer answer);

enum class EndReason : uint8_t {
  kStopped,   // It was asked to, or asked itself.
  kFailed,    // An exception left a handler or its constructor; `text` says which.
  kShutdown,  // The runtime ended.
  kNotFound,  // It had ended before it was monitored.
};
std::string_view EndReasonName(EndReason reason);

// Numbers of an actor's monitors, questions and timers; 0 is none. 64 bits wide, as each of them is
// used once: at 100,000 questions a second 32 bits come round in half a day.
using MonitorId = uint64_t;
using AskId = uint64_t;
using TimerId = uint64_t;

// What a monitor hears, exactly once, after the last message of the actor that ended.
struct Down {
  MonitorId monitor = 0;
  EndReason reason = EndReason::kStopped;
  std::string text;
  int64_t HeldBytes() const { return sluice::HeldBytes(text); }
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_ANSWER_H_
