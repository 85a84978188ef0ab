// SessionExtra is what few sessions need, so an idle session does not carry it.
//
// Owner:  the session; made when first needed.
// Thread: the worker's.
// Bound:  its parts'.
// Errors: none.
#ifndef SLUICE_ACTORS_CONNECTION_SESSION_EXTRA_H_
#define SLUICE_ACTORS_CONNECTION_SESSION_EXTRA_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "sluice/actors/connection/answer_queue.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/slot/timer_wheel.h"

namespace sluice {

// For the log line at the end of the connection; counted if debug was logged at its begin.
struct SessionTraffic {
  int64_t in_bytes = 0;   // Received.
  int64_t out_bytes = 0;  // Taken by the kernel.
};

struct SessionExtra {
  std::optional<SessionTraffic> traffic;
  std::unique_ptr<AnswerQueue> answers;
  int64_t receive_timeout_ms = TimerWheel::kNever;
  Promise<std::monostate> opened;  // A task waits until the connection is open.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SESSION_EXTRA_H_
