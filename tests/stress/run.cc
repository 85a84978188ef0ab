#include "sluice/tests/stress/run.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/base/log.h"
#include "sluice/tests/stress/actors_part.h"
#include "sluice/tests/stress/connections_part.h"
#include "sluice/tests/stress/hubs_part.h"
#include "sluice/tests/stress/report.h"
#include "sluice/tests/stress/spawns_part.h"
#include "sluice/tests/stress/timers_part.h"
#include "sluice/tests/stress/watchdog.h"

namespace sluice::stress {

namespace {

using std::chrono::milliseconds;

constexpr int64_t kStandstillMs = 10'000 * kSlack;  // For a part that should make load.
constexpr milliseconds kStopTime(6'000 * kSlack);   // From the end of the flood until all are done.
constexpr absl::Duration kDrainTime = absl::Seconds(10 * kSlack);
constexpr absl::Duration kHopelessDrainTime = absl::Seconds(1);  // For a run that has failed.

Options OptionsFor(const Plan& plan) {
  Options options;
  options.workers = plan.workers;
  options.memory_bytes_max = plan.memory_bytes_max;
  // Low, so that the bounds are met.
  options.actors_max = 4'096;
  options.lane_messages_max = 256;
  options.outbox_messages_max = 256;
  options.max_connections =
      ConnectionsPart::kEchoMax + ConnectionsPart::kLinesMax + HubsPart::kSubscribersMax;
  options.linger_timeout = absl::Seconds(1);
  return options;
}

Parts MakeParts(Stress& stress, const std::vector<std::string>& only) {
  const auto wanted = [&](const std::string& name) {
    return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
  };
  Parts parts;
  if (wanted("actors")) parts.push_back(std::make_unique<ActorsPart>(stress));
  if (wanted("spawns")) parts.push_back(std::make_unique<SpawnsPart>(stress));
  if (wanted("timers")) parts.push_back(std::make_unique<TimersPart>(stress));
  if (wanted("connections")) parts.push_back(std::make_unique<ConnectionsPart>(stress));
  if (wanted("hubs")) parts.push_back(std::make_unique<HubsPart>(stress));
  return parts;
}

// The signals of a run arrive here and nowhere else: every later thread inherits the mask.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  int Wait(milliseconds time) {  // 0: no signal came.
    const timespec timeout = {time.count() / 1'000, time.count() % 1'000 * 1'000'000};
    return std::max(0, sigtimedwait(&set_, nullptr, &timeout));
  }

 private:
  sigset_t set_;
};

void DumpTo(std::FILE* file, Runtime& runtime, const Parts& parts) {
  for (const auto& part : parts) {
    std::fprintf(file, "%s: %s\n", part->Name().c_str(), part->State().c_str());
  }
  std::fprintf(file, "%s", runtime.Dump().c_str());
}

// Runs until the time is over, a signal comes, or a part stands still.
void Flood(const Plan& plan, Stress& stress, const Parts& parts, Signals& signals) {
  const int64_t end_ms = SteadyMs() + absl::ToInt64Milliseconds(plan.length);
  struct Seen {
    int64_t progress = 0;
    int64_t at_ms = SteadyMs();
  };
  std::vector<Seen> seen(parts.size());
  while (SteadyMs() < end_ms) {
    const int signal = signals.Wait(milliseconds(std::min<int64_t>(50, end_ms - SteadyMs())));
    if (signal == SIGUSR1) DumpTo(stderr, stress.runtime, parts);
    if (signal == SIGINT || signal == SIGTERM) return;
    const int64_t now_ms = SteadyMs();
    for (size_t i = 0; i < parts.size(); ++i) {
      if (const int64_t progress = parts[i]->Progress(); progress != seen[i].progress) {
        seen[i] = {progress, now_ms};
      }
      if (now_ms - seen[i].at_ms < kStandstillMs) continue;
      stress.laws.Broken("L5",
                         absl::StrCat(parts[i]->Name(), " stands still: ", parts[i]->State()));
      DumpTo(stderr, stress.runtime, parts);
      return;
    }
  }
}

void AwaitDone(Stress& stress, const Parts& parts, Signals& signals) {
  const int64_t by_ms = SteadyMs() + kStopTime.count();
  const auto all_done = [&] {
    return std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part->Done(); });
  };
  while (!all_done()) {
    if (signals.Wait(milliseconds(5)) == SIGUSR1) DumpTo(stderr, stress.runtime, parts);
    if (SteadyMs() < by_ms) continue;
    for (const auto& part : parts) {
      if (part->Done()) continue;
      stress.laws.Broken("L5", absl::StrCat(part->Name(), " does not end: ", part->State()));
    }
    DumpTo(stderr, stress.runtime, parts);
    return;
  }
  for (const auto& part : parts) part->CheckDone();
}

}  // namespace

const std::vector<std::string>& PartNames() {
  static const auto& names =
      *new std::vector<std::string>{"actors", "spawns", "timers", "connections", "hubs"};
  return names;
}

int Run(const Plan& plan) {
  Signals signals;
  // A sanitizer starts its thread with our first. The kernel lists a joined thread a moment longer.
  pid_t first = 0;
  std::thread([&first] { first = gettid(); }).join();
  while (access(absl::StrCat("/proc/self/task/", first).c_str(), F_OK) == 0)
    std::this_thread::yield();
  const ProcessFigures before = LookAtProcess();
  Laws laws;
  Ceiling ceiling;
  std::string again;  // Repeats this run, as far as threads let it.
  {
    Runtime runtime(OptionsFor(plan));
    again = absl::StrCat("./sluice stress --seed=", plan.seed, " --workers=", runtime.WorkerCount(),
                         " --seconds=", absl::ToInt64Seconds(plan.length),
                         " --memory=", runtime.options().memory_bytes_max,
                         plan.only.empty() ? "" : " --only=", absl::StrJoin(plan.only, ","));
    std::printf("%s\n", again.c_str());
    Stress stress{runtime, laws, plan.seed};
    const Parts parts = MakeParts(stress, plan.only);
    for (const auto& part : parts) part->Prepare();
    ceiling = runtime.Ceiling();
    std::printf("%s\n", ceiling.ToString().c_str());
    std::fflush(stdout);
    Watchdog watchdog([&] {
      for (const std::string& line : laws.Lines()) std::printf("%s\n", line.c_str());
      DumpTo(stderr, runtime, parts);
    });
    if (const absl::Status started = runtime.Start(); !started.ok()) {
      std::fprintf(stderr, "error: %s\n", started.ToString().c_str());
      return 1;
    }
    watchdog.Restart(
        milliseconds(absl::ToInt64Milliseconds(plan.length)) + milliseconds(10'000 * kSlack),
        "the flood");
    const int64_t begin_ms = SteadyMs();
    for (const auto& part : parts) part->Start();
    Flood(plan, stress, parts, signals);
    const double seconds = static_cast<double>(SteadyMs() - begin_ms) / 1e3;
    watchdog.Restart(kStopTime + milliseconds(5'000 * kSlack), "the end of the flood");
    stress.stopping.store(true, std::memory_order_relaxed);
    AwaitDone(stress, parts, signals);
    PrintRates(parts, seconds);
    const absl::Duration drain_time = laws.BrokenCount() == 0 ? kDrainTime : kHopelessDrainTime;
    watchdog.Restart(
        milliseconds(absl::ToInt64Milliseconds(drain_time)) + milliseconds(2'000 * kSlack),
        "the drain");
    runtime.Drain(drain_time);
    watchdog.Restart(milliseconds(10'000 * kSlack), "clients, after the drain");
    for (const auto& part : parts) part->Finish();
    CheckLedgers(runtime, laws);
  }
  LogShutdown();
  CheckProcess(before, ceiling, laws);
  for (const std::string& line : laws.Lines()) std::printf("%s\n", line.c_str());
  if (laws.BrokenCount() == 0) {
    std::printf("stress passed\n");
    return 0;
  }
  std::printf("stress FAILED; again: %s\n", again.c_str());
  return 1;
}

}  // namespace sluice::stress
