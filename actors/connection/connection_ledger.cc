#include "sluice/actors/connection/connection_ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

std::string_view CloseReasonName(CloseReason reason) {
  static constexpr std::string_view kNames[kCloseReasonCount] = {
      "closed",      "closed by the peer", "reset by the peer", "aborted",       "session failed",
      "idle",        "lifetime over",      "half-closed",       "write stalled", "linger over",
      "dead peer",   "too slow",           "out of memory",     "refused",       "connect failed",
      "shutdown",    "socket error",       "shed for memory",   "evicted",       "frame too long",
      "output full", "peer silent",        "file failed"};
  return kNames[static_cast<int>(reason)];
}

int64_t ConnectionLedger::Totals::ClosedTotal() const {
  int64_t sum = 0;
  for (int64_t count : closed) sum += count;
  return sum;
}

ConnectionLedger::Totals ConnectionLedger::Sum() const {
  Totals totals;
  for (const Cell& cell : cells_) {
    totals.opened += cell.opened.Get();
    for (int i = 0; i < kCloseReasonCount; ++i) totals.closed[i] += cell.closed[i].Get();
    totals.bytes_read += cell.bytes_read.Get();
    totals.bytes_discarded += cell.bytes_discarded.Get();
    totals.bytes_accepted += cell.bytes_accepted.Get();
    totals.bytes_sent += cell.bytes_sent.Get();
    totals.bytes_lost += cell.bytes_lost.Get();
    totals.accept_errors += cell.accept_errors.Get();
  }
  return totals;
}

std::string ConnectionLedger::Totals::ToString() const {
  std::string reasons;
  for (int i = 0; i < kCloseReasonCount; ++i) {
    if (closed[i] == 0) continue;
    absl::StrAppend(&reasons, reasons.empty() ? " (" : ", ",
                    ToAbsl(CloseReasonName(static_cast<CloseReason>(i))), " ", closed[i]);
  }
  if (!reasons.empty()) reasons += ")";
  return absl::StrFormat(
      "connections: opened %d = open %d + closed %d%s; bytes read %d (%d of them discarded); bytes "
      "written %d = sent %d + "
      "lost %d + held %d; "
      "accept errors %d",
      opened, Open(), ClosedTotal(), reasons, bytes_read, bytes_discarded, bytes_accepted,
      bytes_sent, bytes_lost, BytesHeld(), accept_errors);
}

std::string ConnectionLedger::Rates(int64_t past_ns) {
  const Totals before = std::exchange(rated_, Sum());
  const auto rate = [&](int64_t now, int64_t then) { return (now - then) * 1e9 / past_ns; };
  return absl::StrFormat(
      "rates: %.1f connections opened a second\n"
      "rates: %.1f connections closed a second\n"
      "rates: %.1f bytes read a second\n"
      "rates: %.1f bytes sent a second\n",
      rate(rated_.opened, before.opened), rate(rated_.ClosedTotal(), before.ClosedTotal()),
      rate(rated_.bytes_read, before.bytes_read), rate(rated_.bytes_sent, before.bytes_sent));
}

LogLimit& LimitOf(Worker& worker, CloseReason reason) {
  Runtime& runtime = worker.runtime();
  return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Limit(reason);
}

ConnectionLedger::Cell& CountersOf(Worker& worker) {
  Runtime& runtime = worker.runtime();
  return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).At(worker.Index());
}

}  // namespace sluice
