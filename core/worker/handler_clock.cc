#include "sluice/core/worker/handler_clock.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/running.h"

namespace sluice {

namespace {

// Handlers that together take up to this time share one look at the clock.
constexpr int64_t kGroupNs = 50'000;
// A time between two looks that is at least this long is noted as a gap (NotedMs). So a deadline
// is judged too early by less than this time.
constexpr int64_t kGapNs = 10'000'000;
constexpr int64_t kProcessorLookNs = 2'000'000;  // Two system calls, so not for each group.
// For this time after a slow handler, each handler is timed alone.
constexpr int64_t kExactNs = 1'000'000'000;

}  // namespace

HandlerClock::HandlerClock(Os& os, int worker, absl::Duration slow_handler)
    : os_(os),
      worker_(worker),
      slow_handler_ns_(absl::ToInt64Nanoseconds(slow_handler)),
      now_ns_(os.NowNs()),
      now_ms_(now_ns_ / 1'000'000) {}

int HandlerClock::Read(bool slept) {
  const int64_t before = now_ns_;
  now_ns_ = os_.NowNs();
  now_ms_ = now_ns_ / 1'000'000;
  SLUICE_PLANT(gap_unnoted, slept = true);
  if (now_ns_ - before >= kGapNs && !slept) {
    gap_from_ms_ = before / 1'000'000;
    gap_until_ms_ = NowMs();
  }
  int slow = 0;
  if (noted_count_ > 0) {
    const int64_t ns = now_ns_ - before;
    if (ns > slow_handler_ns_) slow = ReportSlow(ns);
    // The next group is as large as these handlers allow, and at most twice as large as this one:
    // the first of many slow handlers ends its group.
    if (ns > kGroupNs) {
      noted_max_ = static_cast<size_t>(
          std::max<int64_t>(1, kGroupNs * static_cast<int64_t>(noted_count_) / ns));
    } else if (ns <= kGroupNs / 2) {
      noted_max_ = std::min(2 * noted_max_, kGroupHandlersMax);
    }
    noted_count_ = 0;
  }
  // The processor time that a slow group is measured from is at most kProcessorLookNs too early.
  if (now_ns_ - processor_look_ns_ >= kProcessorLookNs) {
    processor_look_ns_ = now_ns_;
    processor_ns_ = os_.ThreadProcessorNs();
    switches_ = os_.ThreadSwitchCounts();
    sleeps_ = 0;
  }
  if (now_ns_ < exact_until_ns_) noted_max_ = 1;
  return slow;
}

// A handler that works is known by its processor time, one that blocks by a wait of its thread
// outside the poller. If neither is seen, the machine had no processor for the thread: no handler
// is to blame.
int HandlerClock::ReportSlow(int64_t ns) {
  const int64_t processor_ns = std::clamp<int64_t>(os_.ThreadProcessorNs() - processor_ns_, 0, ns);
  const ThreadSwitches switches = os_.ThreadSwitchCounts();
  const int64_t waits = switches.voluntary - switches_.voluntary;
  // `sleeps_` may be too high: a poll that an event ended at once was no wait of the thread. A
  // handler's wait could then pass for a sleep. So any wait counts, too, if no other thread took
  // the processor from this one (no involuntary switch).
  const bool blocked =
      waits > sleeps_ || (waits > 0 && switches.involuntary == switches_.involuntary);
  if (processor_ns <= slow_handler_ns_ && !blocked) {
    LogDebug("worker %d had no processor for %d of %d ms: other threads of the machine had it",
             worker_, (ns - processor_ns) / 1'000'000, ns / 1'000'000);
    return 0;
  }
  exact_until_ns_ = now_ns_ + kExactNs;
  std::vector<std::string> names;
  for (size_t i = 0; i < noted_count_; ++i) {
    std::string name = NameOf(noted_[i]);
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  std::string text = absl::StrFormat(
      "slow handler: worker %d was held for %d ms (processor %d ms) by %s%s", worker_,
      ns / 1'000'000, processor_ns / 1'000'000, names.size() > 1 ? "one of " : "", names[0]);
  for (size_t i = 1; i < names.size(); ++i) absl::StrAppend(&text, ", ", names[i]);
  LogWarn(text);
  return 1;
}

std::string HandlerClock::NameOf(const Noted& noted) {
  if (noted.what == nullptr) {
    return absl::StrCat(NameOfActor(noted.slot), ".On(",
                        Demangle(static_cast<const MessageOps*>(noted.of)->name()), ")");
  }
  if (noted.slot == nullptr) return noted.what;
  const bool named = noted.slot->extra != nullptr && !noted.slot->extra->name.empty();
  const auto* const type = static_cast<const char*>(noted.of);
  return absl::StrCat(named || type == nullptr ? NameOfActor(noted.slot)
                                               : absl::StrCat(Demangle(type), "#", noted.slot->id),
                      ".", noted.what);
}

}  // namespace sluice
