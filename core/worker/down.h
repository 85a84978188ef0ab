// Down notices: how a monitor is notified that the actor it watches has ended.
//
// Owner:  the envelope it travels in; all monitors of one actor share the text.
// Thread: created on the ended actor's worker, handled on the monitor's.
// Bound:  one for each monitor, in the place that Monitor() reserved.
// Errors: none: if there is no memory for the text, the notice has none.
#ifndef SLUICE_CORE_WORKER_DOWN_H_
#define SLUICE_CORE_WORKER_DOWN_H_

#include <memory>
#include <string>
#include <string_view>

#include "sluice/core/mailbox/answer.h"
#include "sluice/core/slot/actor_extra.h"

namespace sluice {

// The text of an end, shared by all monitors of the actor; null: none.
using DownText = std::shared_ptr<const std::string>;
DownText MakeDownText(std::string_view text) noexcept;
// A Down on its way. The text is shared and bounded, so no notice is charged for it.
struct DownNotice {
  MonitorId monitor;
  EndReason reason;
  DownText text;
  int64_t HeldBytes() const { return 0; }
};
void TellDown(const Watcher& watcher, EndReason reason, DownText text);

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_DOWN_H_
