#include "sluice/tests/stress/report.h"

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/worker/worker.h"

namespace sluice::stress {

namespace {

constexpr int64_t kMiB = 1024 * 1024;
// The stress program's own memory, as the ceiling is the runtime's: 3 MiB of noise, 3 MiB of
// scripts, the pairs' counts (2 x 256 x 258 x 8 bytes), 2 MiB for two rings of ends, 3 read
// buffers, 560 clients (at most 80 KiB each, if all subscribers have a message in pieces), and the
// actors' state: 1,024 timers or graves in each of some dozens, about 256 bytes each.
constexpr int64_t kOwnBytes = 32 * kMiB;
// Limit of the resident memory that is left at the end: pages that the allocator keeps.
constexpr int64_t kResidueBytes = 48 * kMiB;

std::string Short(double value) {
  return value >= 1e7   ? absl::StrFormat("%.1fM", value / 1e6)
         : value >= 1e4 ? absl::StrFormat("%.1fk", value / 1e3)
         : value >= 10  ? absl::StrFormat("%.0f", value)
                        : absl::StrFormat("%.2f", value);
}

void Print(const std::string& line) { std::printf("%s\n", line.c_str()); }

}  // namespace

void PrintRates(const Parts& parts, double seconds) {
  Print(absl::StrFormat("rates, per second over %.1f s:", seconds));
  for (const auto& part : parts) {
    std::string line = absl::StrFormat("  %-12s", part->Name());
    const char* comma = "";
    for (const Rate& rate : part->Rates()) {
      absl::StrAppend(&line, comma, rate.name, " ",
                      Short(static_cast<double>(rate.count) / seconds));
      comma = ", ";
    }
    if (const std::string notes = part->Notes(); !notes.empty()) {
      absl::StrAppend(&line, "; ", notes);
    }
    Print(line);
  }
}

void CheckLedgers(Runtime& runtime, Laws& laws) {
  const Ledger ledger = runtime.TotalLedger();
  Print(ledger.ToString());
  if (!ledger.Balanced()) laws.Broken("L1", ledger.ToString());
  if (ledger.held != 0 || ledger.reserved_held != 0 || ledger.parked_held != 0) {
    laws.Broken("L1", absl::StrCat("at the end ", ledger.held, " messages, ", ledger.reserved_held,
                                   " replies and Downs and ", ledger.parked_held,
                                   " parked messages are held"));
  }
  const auto dropped = [&](DropReason reason) {
    return ledger.dropped[static_cast<int>(reason)] +
           ledger.parked_dropped[static_cast<int>(reason)];
  };
  // All parts were done before the drain, and the drain had enough time.
  if (dropped(DropReason::kShutdown) != 0) {
    laws.Broken("drain", absl::StrCat(dropped(DropReason::kShutdown),
                                      " messages were dropped by a drain that had time"));
  }
  if (ledger.wait_cycles != 0 || dropped(DropReason::kDeadlock) != 0) {
    laws.Broken("L7", absl::StrCat("a cycle of waits was found, and the program makes none: ",
                                   runtime.LastWaitCycle()));
  }
  if (runtime.ActorCount() != 0) {
    laws.Broken("L8", absl::StrCat(runtime.ActorCount(), " actors are left"));
  }
  int64_t leased = 0;
  for (int i = 0; i < runtime.WorkerCount(); ++i) leased += runtime.worker(i).lease().LeftBytes();
  if (runtime.budget().UsedBytes() != leased) {
    laws.Broken("L1", absl::StrCat(runtime.budget().UsedBytes() - leased,
                                   " charged bytes of the budget belong to nothing"));
  }

  const ConnectionLedger::Totals totals =
      runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Sum();
  Print(totals.ToString());
  if (totals.Open() != 0) {
    laws.Broken("L9", absl::StrCat(totals.Open(), " connections have no end, or more than one"));
  }
  if (totals.BytesHeld() != 0) {
    laws.Broken("L9", absl::StrCat(totals.BytesHeld(),
                                   " written bytes were neither sent nor counted as lost"));
  }
  // Time-outs that no client provokes, and errors that loopback does not cause.
  for (const CloseReason reason :
       {CloseReason::kIdle, CloseReason::kLifetime, CloseReason::kHalfClosed,
        CloseReason::kWriteStalled, CloseReason::kDeadPeer, CloseReason::kConnectFailed,
        CloseReason::kShutdown, CloseReason::kError}) {
    const int64_t count = totals.closed[static_cast<int>(reason)];
    if (count == 0) continue;
    laws.Broken("L9", absl::StrCat(count, " connections ended with an unexpected close reason: ",
                                   ToAbsl(CloseReasonName(reason))));
  }
}

constexpr int kThreadLooksMax = 10'000;

void CheckProcess(const ProcessFigures& before, const Ceiling& ceiling, Laws& laws) {
  malloc_trim(0);
  ProcessFigures after = LookAtProcess();
  // The kernel lists a joined thread a moment longer; a thread that is left stays.
  for (int looks = 0; after.threads > before.threads && looks < kThreadLooksMax; ++looks) {
    std::this_thread::yield();
    after = LookAtProcess();
  }
  const int64_t peak_max =
      ceiling.fixed_bytes + ceiling.budget_bytes + ceiling.allocator_bytes + kOwnBytes;
  Print(absl::StrFormat(
      "memory: peak %.1f MiB of at most %.1f MiB (fixed part %.1f + budget %.1f + allocator's "
      "allowance %.1f + clients and the program's own state %.1f); resident %.1f MiB at start, "
      "%.1f MiB at the end%s",
      1.0 * after.peak_bytes / kMiB, 1.0 * peak_max / kMiB, 1.0 * ceiling.fixed_bytes / kMiB,
      1.0 * ceiling.budget_bytes / kMiB, 1.0 * ceiling.allocator_bytes / kMiB,
      1.0 * kOwnBytes / kMiB, 1.0 * before.resident_bytes / kMiB, 1.0 * after.resident_bytes / kMiB,
      kSanitized ? " (not checked: the sanitizer's own memory is in it)" : ""));
  if (!kSanitized && after.peak_bytes > peak_max) {
    laws.Broken("L3", absl::StrFormat("peak memory %d bytes is above the ceiling %d",
                                      after.peak_bytes, peak_max));
  }
  if (!kSanitized && after.resident_bytes > before.resident_bytes + kResidueBytes) {
    laws.Broken("L3", absl::StrFormat("%.1f MiB more are resident than at the start",
                                      1.0 * (after.resident_bytes - before.resident_bytes) / kMiB));
  }
  if (after.descriptors != before.descriptors) {
    laws.Broken("leak", absl::StrCat("descriptors: ", before.descriptors, " at the start, ",
                                     after.descriptors, " at the end"));
  }
  if (after.threads != before.threads) {
    laws.Broken("leak", absl::StrCat("threads: ", before.threads, " at the start, ", after.threads,
                                     " at the end"));
  }
}

}  // namespace sluice::stress
