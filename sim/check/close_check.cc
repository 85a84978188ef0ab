#include "sluice/sim/check/close_check.h"

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"

namespace sluice::sim {

int64_t CloseCheck::Opened() {
  const auto number = static_cast<int64_t>(connections_.size());
  connections_.emplace(number, std::nullopt);
  return number;
}

void CloseCheck::Closed(int64_t connection, CloseReason reason) {
  std::optional<CloseReason>& before = connections_[connection];
  if (before.has_value()) {
    simulation_.Broken("L9 close", absl::StrCat("connection ", connection,
                                                " ended twice: ", ToAbsl(CloseReasonName(*before)),
                                                ", then ", ToAbsl(CloseReasonName(reason))));
  }
  before = reason;
  ++closed_[static_cast<size_t>(reason)];
}

void CloseCheck::AtEnd(const ConnectionLedger::Totals& totals) {
  for (const auto& [connection, reason] : connections_) {
    if (reason.has_value()) continue;
    simulation_.Broken(
        "L9 close", absl::StrCat("the session of connection ", connection, " never got OnClose"));
  }
  for (size_t i = 0; i < closed_.size(); ++i) {
    if (closed_[i] <= totals.closed[i]) continue;
    simulation_.Broken("L9 close",
                       absl::StrCat(closed_[i], " sessions ended with \"",
                                    ToAbsl(CloseReasonName(static_cast<CloseReason>(i))), "\"; ",
                                    totals.ToString()));
  }
}

}  // namespace sluice::sim
