// The end of a runtime: a drain, step by step, run by a thread that is not a worker; and
// RunUntilSignal, in which a signal begins the drain.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/home.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// A second SIGTERM or SIGINT this soon is the same order: `timeout` and some supervisors signal the
// process, and then its group. Nobody presses a key twice so fast.
constexpr int64_t kSameSignalMs = 100;
constexpr int64_t kDrainLookMs = 1;  // How often the coordinator of a drain looks at its workers.
constexpr int64_t kPatientLooks = 100;  // Each phase waits this many looks for a quiet pause.

void PrintError(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", absl::StrCat("error: ", status.message()).c_str());
}

// Not printf: stdio would keep output for which the disk has no room, and write it again at exit,
// where SIGXFSZ ends the process.
void SayListening(const std::string& address) {
  if (dprintf(STDOUT_FILENO, "listening on %s\n", address.c_str()) >= 0) return;
  const int error = errno;
  // Through the log, whatever its level, as stderr may be a pipe that nobody reads.
  LogAnyway(absl::StrCat("cannot write \"listening on ", address,
                         "\" to stdout: ", absl::ErrnoToStatus(error, "write").message(),
                         "; the address is served all the same"));
}

// The signals of RunUntilSignal, and a poller that waits for them.
class Signals {
 public:
  explicit Signals(Os& os)
      : os_(os),
        // SIGPIPE and SIGXFSZ mean nothing here: a closed or a full stdout is no reason to end.
        signals_(os.SignalOpen({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, SIGXFSZ})),
        poller_(os.PollerCreate()) {
    error_ = std::min({signals_, poller_, 0});
    if (error_ == 0) error_ = std::min(0, os.PollerAdd(poller_, signals_, EPOLLIN, 0));
  }
  ~Signals() {
    if (poller_ >= 0) os_.Close(poller_);
    if (signals_ >= 0) os_.SignalClose(signals_);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  int error() const { return error_; }  // -errno, or 0.
  void Wait(int timeout_ms) {
    epoll_event event;
    os_.PollerWait(poller_, &event, 1, timeout_ms);
  }
  int Next() { return os_.SignalRead(signals_); }  // Not above 0: no more.

 private:
  Os& os_;
  const int signals_;
  const int poller_;
  int error_ = 0;
};

// For an end of the process without destructors: writes stdio's buffers. A thread that reads stdin
// in a blocking function holds stdin's lock meanwhile, and fflush(nullptr) would wait for that
// lock.
void FlushStdio() {
  if (ftrylockfile(stdin) == 0) {
    funlockfile(stdin);
    std::fflush(nullptr);
  } else {
    std::fflush(stdout);
  }
}

// exit() destroys static objects on the thread that calls it, while workers use them. One of them
// may be the Runtime, which would wait for this very thread. So if a handler calls exit(), the
// process ends at once: with that code, and without destructors.
void EndInHandler(int code, void*) {
  Worker* const worker = Worker::Current();
  if (worker == nullptr) return;
  const std::string text = absl::StrCat(
      "sluice: exit(", code, ") in ", worker->Running().Text(),
      ": the process ends at once, without a drain and without destructors; to drain, let the "
      "handler send it SIGTERM");
  std::fprintf(stderr, "%s\n", text.c_str());
  LogShutdown();
  FlushStdio();
  worker->os().ExitNow(code);
}

}  // namespace

// Registered late, so that it runs before the destructors of older static objects.
void Runtime::WatchExit() {
  [[maybe_unused]] static const int once = on_exit(EndInHandler, nullptr);
}

// A handler that waited for the end of all handlers would wait for itself.
void Runtime::RefuseInHandler(const char* call) const {
  Worker* const worker = Worker::Current();
  if (worker == nullptr || &worker->runtime() != this) return;
  const std::string text =
      absl::StrCat(call, " in ", worker->Running().Text(),
                   ": the call waits until every handler has returned, this one, too; send the "
                   "process SIGTERM, or call it on a thread that is not a worker");
  SLUICE_CHECK(false, text.c_str());
}

bool Runtime::Quiescent() {
  // Read Awaited() first: once it is 0, all replies are among the sent messages that are counted
  // below. After the deadline the drain does not wait for blocking functions.
  if (phase_ != DrainPhase::kShutdown && blocking_->Awaited() > 0) {
    rest_watch_.Forget();
    return false;
  }
  return rest_watch_.Look(
      shared_.outside_gate.Sent(), workers_,
      [](const auto& worker) -> auto& { return worker->drain().rest(); });
}

int64_t Runtime::Published(bool io) {
  int64_t sum = 0;
  for (const auto& worker : workers_)
    sum += io ? worker->drain().rest().Io() : worker->drain().rest().Actors();
  return sum;
}

bool Runtime::AllRest() const {
  return std::none_of(workers_.begin(), workers_.end(),
                      [](const auto& worker) { return worker->HasWork(); });
}

void Runtime::LookForProgress(int64_t now_ms) {
  progress_watch_.Look(now_ms, [this](size_t index) {
    Worker& worker = *workers_[index];
    return ProgressWatch::Mark{worker.drain().rest().Steps(), worker.Running().SlotMark(),
                               worker.Running().MessageMark(), worker.Running().HandlerMark()};
  });
}

// Needs no descriptor, as none may be left. No thread notifies.
void Runtime::PauseDrain() {
  std::unique_lock<std::mutex> lock(pause_lock_);
  os_.WaitFor(pause_, lock, kDrainLookMs * 1'000'000);
}

bool Runtime::DrainStep(int64_t deadline_ms) {
  const int64_t now_ms = os_.NowNs() / 1'000'000;
  const auto enter = [this](DrainPhase phase, void (DrainOrders::*order)()) {
    phase_ = phase;
    looks_ = 0;
    rest_watch_.Forget();
    if (order != nullptr) CallAll(order);
  };
  const bool just_begun = phase_ == DrainPhase::kNone;
  if (just_begun) {
    shared_.outside_gate.BeginDrain();
    tell_sessions_ms_ = now_ms + (deadline_ms - now_ms) / 2;
    end_reading_ms_ = now_ms + (deadline_ms - now_ms) / 4 * 3;
    enter(DrainPhase::kReading, &DrainOrders::Begin);
  }
  if (phase_ == DrainPhase::kDone) return true;
  if (phase_ != DrainPhase::kShutdown && now_ms >= deadline_ms) {
    // A drain that was given no time is not late.
    if (!just_begun) {
      LogWarn("drain: the deadline has come; what is left is dropped");
    }
    progress_watch_.Begin(workers_.size(), now_ms);
    shared_.outside_gate.Shut();
    blocking_->DropWaiting();
    enter(DrainPhase::kShutdown, &DrainOrders::ShutdownAll);
  }
  // A peer that never stops sending must not hold its connection until the deadline: answers that
  // are still on their way would be lost.
  if ((phase_ == DrainPhase::kReading || phase_ == DrainPhase::kClosing) &&
      now_ms >= end_reading_ms_) {
    end_reading_ms_ = TimerWheel::kNever;
    rest_watch_.Forget();
    CallAll(&DrainOrders::EndReading);
  }
  if (phase_ == DrainPhase::kShutdown) LookForProgress(now_ms);
  if (phase_ == DrainPhase::kShutdown && progress_watch_.Over()) {
    LogError("drain: some actors did not end");
    for (const auto& worker : workers_) {
      if (worker->drain().rest().Resting()) continue;
      held_workers_.push_back(worker->Index());
      LogError(absl::StrFormat("drain: worker %d is held by %s, which has not returned",
                               worker->Index(), worker->Running().Text()));
    }
    enter(DrainPhase::kDone, nullptr);
    return true;
  }
  // If a timer sends to another worker each millisecond, no pause between two looks is quiet. After
  // a while a quiet moment is enough, which two looks in a row can find.
  const bool quiescent = Quiescent() || (++looks_ > kPatientLooks && Quiescent());
  // An actor that never rests, or a reader that hubs wait for, must not keep sessions from their
  // OnDrain.
  if (now_ms >= tell_sessions_ms_ &&
      (phase_ == DrainPhase::kReading || phase_ == DrainPhase::kClosing)) {
    tell_sessions_ms_ = TimerWheel::kNever;
    if (phase_ == DrainPhase::kReading && !quiescent) {
      LogWarn(
          "drain: half of its time is over and some actors still work, or wait for room; sessions "
          "close now");
      CallAll(&DrainOrders::LogWhatHolds);
    }
    enter(DrainPhase::kClosing, &DrainOrders::Insist);
    return false;
  }
  if (!quiescent) return false;
  const bool empty = Published(/*io=*/true) == 0;
  const bool nobody = Published(/*io=*/false) == 0;
  switch (phase_) {
    case DrainPhase::kReading:
      enter(DrainPhase::kClosing, &DrainOrders::Close);
      return false;
    case DrainPhase::kClosing:
      if (empty) enter(DrainPhase::kStopping, &DrainOrders::StopRoots);
      return false;
    case DrainPhase::kStopping:
      if (empty && nobody) enter(DrainPhase::kLast, &DrainOrders::StopGate);
      return false;
    case DrainPhase::kLast:
    case DrainPhase::kShutdown:
      if (!empty || !nobody) return false;
      enter(DrainPhase::kDone, nullptr);
      return true;
    case DrainPhase::kNone:
    case DrainPhase::kDone:
      break;
  }
  return phase_ == DrainPhase::kDone;
}

void Runtime::JoinWorkers() {
  if (ended_) return;
  ended_ = true;
  shared_.outside_gate.Shut();
  for (const std::string& left : blocking_->End()) {
    LogWarn(absl::StrCat("drain: ", left, "; it is left behind"));
  }
  for (int i = 0; i < options_.workers; ++i) {
    Call(i, [](Worker& worker) { worker.StopTurning(); });
  }
  JoinThreads();
  // From here on, messages from threads that do not know of the end are dropped, uncounted.
  for (auto& worker : workers_) Home::Of(worker.get()).Close();
  // A worker that a handler held past the deadline ended last: its last messages to the others are
  // taken here.
  for (bool rest = false; !rest;) {
    int64_t on_the_way = shared_.outside_gate.Sent();
    rest = true;
    for (auto& worker : workers_) {
      worker->Enter();
      rest &= !worker->Turn(worker->NowMs());
      worker->Leave();
    }
    for (auto& worker : workers_)
      on_the_way += worker->mail().CrossSent() - worker->mail().CrossTaken();
    rest &= on_the_way == 0;
  }
  shared_.turning.store(false, std::memory_order_release);
}

void Runtime::Drain(absl::Duration timeout) {
  RefuseInHandler("Drain()");
  if (ended_) return;
  // If the workers have no threads (never started), this thread runs their turns itself.
  const bool own_turns = !started_;
  started_ = true;
  shared_.turning.store(true, std::memory_order_relaxed);
  const int64_t deadline_ms = DeadlineMs(os_.NowNs() / 1'000'000, timeout);
  while (!DrainStep(deadline_ms)) {
    if (own_turns) {
      for (auto& worker : workers_) {
        worker->Enter();
        worker->Turn(worker->NowMs());
        worker->Leave();
      }
    }
    SLUICE_PLANT(drain_spins, if (own_turns) continue);
    // Pause here: no turn advances a blocking function, or a timer that is not due.
    if (!own_turns || blocking_->Awaited() > 0 || AllRest()) PauseDrain();
  }
  JoinWorkers();
}

int Runtime::RunUntilSignal() {
  RefuseInHandler("RunUntilSignal()");
  if (const absl::Status kept = status(); !kept.ok()) {
    PrintError(kept);
    return 1;
  }
  Signals signals(os_);
  if (signals.error() < 0) {
    PrintError(absl::ErrnoToStatus(-signals.error(), "cannot wait for signals"));
    return 1;
  }
  LogInfo(Ceiling().ToString());
  if (const std::string excess = Ceiling().Excess(os_.MemoryBytes()); !excess.empty()) {
    LogWarn(excess);
  }
  if (const absl::Status started = Start(); !started.ok()) {
    PrintError(started);
    return 1;
  }
  std::fflush(stdout);  // The program's own output comes first.
  for (const std::string& address : Listening()) SayListening(address);
  int64_t deadline_ms = -1;
  int64_t draining_ms = 0;  // The first signal's time, once deadline_ms is set.
  bool dump_wanted = false;
  // This thread takes signals during each of its waits. Signals of one number that come before the
  // first is taken count as one: otherwise a second SIGTERM might not end the process at once.
  const auto wait = [&](int timeout_ms) {
    signals.Wait(timeout_ms);
    for (int signal = signals.Next(); signal > 0; signal = signals.Next()) {
      if (signal == SIGUSR1) {
        dump_wanted = true;
      } else if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) {
        if (deadline_ms >= 0) {
          // A closed terminal sends SIGHUP twice: by its shell and by the kernel.
          if (signal == SIGHUP) continue;
          if (os_.NowNs() / 1'000'000 - draining_ms < kSameSignalMs) continue;
          LogError("a second signal: the process ends at once; what is under way is lost");
          LogShutdown();
          os_.ExitNow(1);
        }
        LogInfo("draining: no new connections; another SIGTERM or SIGINT ends at once");
        draining_ms = os_.NowNs() / 1'000'000;
        deadline_ms = DeadlineMs(draining_ms, options_.drain_timeout);
      }
    }
  };
  std::shared_ptr<AskedFigures> dump;  // Requested, and not printed yet.
  for (bool done = false; !done;) {
    const bool rests = deadline_ms < 0 && dump == nullptr && !dump_wanted;
    wait(rests ? -1 : kDrainLookMs);
    if (dump == nullptr && std::exchange(dump_wanted, false)) {
      dump = AskForFigures(/*with_text=*/true);
    }
    if (dump != nullptr && HasFigures(*dump)) {
      // Whatever --log_level is: the dump was requested. Through the log, as stderr may be a pipe
      // that nobody reads.
      const std::string text = DumpOf(WaitForFigures(*dump));
      for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
        LogAnyway(ToStd(line));
      }
      dump = nullptr;
    }
    done = deadline_ms >= 0 && DrainStep(deadline_ms) && dump == nullptr;
  }
  const std::vector<std::string> left = blocking_->End();
  for (const std::string& text : left) LogWarn(absl::StrCat("drain: ", text));
  if (held_workers_.empty()) {
    JoinWorkers();
    PrintLedger(TotalLedger());
  } else {
    const std::shared_ptr<AskedFigures> ledger = AskForFigures(/*with_text=*/false);
    while (!HasFigures(*ledger)) wait(kDrainLookMs);
    PrintLedger(SumOf(WaitForFigures(*ledger)));
  }
  if (left.empty() && held_workers_.empty()) {
    LogShutdown();
    return 0;
  }
  // Their threads would use objects that main() is about to destroy.
  LogWarn("drain: the process ends without waiting for them");
  LogShutdown();
  FlushStdio();
  os_.ExitNow(0);
  return 0;
}

void Runtime::PrintLedger(const Ledger& total) {
  LogInfo(total.ToString());
  for (const int worker : held_workers_) {
    LogInfo(absl::StrCat("the ledger is without worker ", worker, ", which is held"));
  }
  for (const std::string& report : Reports()) LogInfo(report);
}

}  // namespace sluice
