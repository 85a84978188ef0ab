#include "sluice/sim/checks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/strings.h"

namespace sluice::sim {

// --- L2.

void SequenceCheck::Arrived(int64_t from, int64_t to, int64_t number) {
  Pair& pair = pairs_[{from, to}];
  if (number <= pair.last || number > pair.sent) {
    simulation_.Broken(
        "L2 order",
        absl::StrFormat("message %d from %d to %d arrived after %d, of %d that were sent", number,
                        from, to, pair.last, pair.sent));
  }
  pair.last = number;
  ++pair.arrived;
}

int64_t SequenceCheck::SentTotal() const {
  int64_t sum = 0;
  for (const auto& [key, pair] : pairs_) sum += pair.sent;
  return sum;
}

int64_t SequenceCheck::ArrivedTotal() const {
  int64_t sum = 0;
  for (const auto& [key, pair] : pairs_) sum += pair.arrived;
  return sum;
}

void SequenceCheck::AtEnd(int64_t dropped) {
  if (SentTotal() == ArrivedTotal() + dropped) return;
  simulation_.Broken("L1 ledger",
                     absl::StrFormat("%d messages were accepted; %d arrived, and %d were dropped",
                                     SentTotal(), ArrivedTotal(), dropped));
}

// --- L8.

void DownCheck::Monitored(int64_t watcher, int64_t target, uint64_t monitor) {
  monitors_[{watcher, monitor}].target = target;
}

void DownCheck::TakenBack(int64_t watcher, uint64_t monitor) {
  monitors_[{watcher, monitor}].due = false;
}

void DownCheck::WatcherEnded(int64_t watcher) {
  for (auto entry = monitors_.lower_bound({watcher, 0});
       entry != monitors_.end() && entry->first.first == watcher; ++entry) {
    entry->second.due = false;
  }
}

void DownCheck::Message(int64_t from, int64_t to) {
  const auto down = down_.find({to, from});
  if (down == down_.end()) return;
  simulation_.Broken("L8 death", absl::StrCat("a message of ", from, " came to ", to,
                                              " after the word that it has ended"));
}

void DownCheck::Down(int64_t watcher, uint64_t monitor) {
  const auto found = monitors_.find({watcher, monitor});
  if (found == monitors_.end()) {
    simulation_.Broken("L8 death",
                       absl::StrCat(watcher, " heard Down for monitor ", monitor, ", not its own"));
    return;
  }
  if (++found->second.downs > 1 || !found->second.due) {
    simulation_.Broken("L8 death",
                       absl::StrCat(watcher, " heard Down for monitor ", monitor, " of ",
                                    found->second.target, " ", found->second.downs, " times",
                                    found->second.due ? "" : ", after it was taken back"));
  }
  ++down_[{watcher, found->second.target}];
}

void DownCheck::AtEnd() {
  for (const auto& [key, monitor] : monitors_) {
    if (!monitor.due || monitor.downs == 1) continue;
    simulation_.Broken("L8 death",
                       absl::StrCat(key.first, " heard Down for monitor ", key.second, " of ",
                                    monitor.target, " ", monitor.downs, " times"));
  }
}

// --- L9.

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
        "L9 close", absl::StrCat("the session of connection ", connection, " never heard its end"));
  }
  for (size_t i = 0; i < closed_.size(); ++i) {
    if (closed_[i] <= totals.closed[i]) continue;
    simulation_.Broken("L9 close",
                       absl::StrCat(closed_[i], " sessions heard \"",
                                    ToAbsl(CloseReasonName(static_cast<CloseReason>(i))), "\"; ",
                                    totals.ToString()));
  }
}

}  // namespace sluice::sim
