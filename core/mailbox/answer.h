// Answer is the result of a send. EndReason says why an actor ended; Down carries it to monitors.
//
// Owner:  their holder; plain values.
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

#include "sluice/core/base/language.h"

namespace sluice {

struct Slot;

// The message is moved from only when the answer is kAccepted. An ignored answer may hide a lost
// message or lost bytes, so the compiler warns; `(void)` marks an answer that is ignored on
// purpose.
enum class [[nodiscard]] Answer : uint8_t{
    kAccepted,    // Will be handled, or counted as dropped with a reason.
    kFull,        // TrySend only: no credit, or no room on the way. Try later, or do without.
    kClosed,      // The actor has ended.
    kOverloaded,  // The memory budget or the sender's outbox is spent.
    kTooLarge,    // Never accepted: longer than output_bytes_max, than the budget, or than 4 GiB.
    kInvalid,     // SendFile only, never accepted: no file, or no range of one (negative).
};
std::string_view AnswerName(Answer answer);

enum class EndReason : uint8_t {
  kStopped,   // Stopped by an order, or by itself.
  kFailed,    // An exception left a handler or its constructor; `text` says which.
  kShutdown,  // The runtime ended.
  kNotFound,  // Had ended before it was monitored.
};
std::string_view EndReasonName(EndReason reason);

// Numbers of an actor's monitors, questions and timers; 0 is none. Each number is used once, hence
// 64 bits: at 100,000 questions a second 32 bits wrap around in half a day.
using MonitorId = uint64_t;
using AskId = uint64_t;
using TimerId = uint64_t;

// The notice that a monitor receives, exactly once, after the last message of the ended actor.
struct Down {
  MonitorId monitor = 0;
  EndReason reason = EndReason::kStopped;
  std::string text;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_ANSWER_H_
