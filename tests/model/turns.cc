#include "sluice/tests/model/turns.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/log.h"
#include "sluice/core/mailbox/inbox.h"

namespace sluice::model {

namespace {

constexpr int kTurnsMax = 1'000;  // Turns of one run; a longer run seems to have no end.
// If the clock stood still, a worker that polls for mail before it sleeps would do so for thousands
// of rounds.
constexpr int64_t kTickNs = 10'000;

struct Choice {
  int taken;
  int count;
};

}  // namespace

TurnsSystem::TurnsSystem(Options options) : runtime(options, os), slept_(options.workers, false) {
  SetLogLevel(LogLevel::kOff);
  os.tick_ns = kTickNs;
}

void TurnsSystem::Turn(int worker) {
  Worker& w = runtime.worker(worker);
  os.slept = false;
  w.Enter();
  w.Turn(TimerWheel::kNever);
  w.Leave();
  slept_[worker] = os.slept;
}

bool TurnsSystem::HasWork(int worker) {
  Worker& w = runtime.worker(worker);
  return !slept_[worker] || w.mail().inbox().Count() > 0 ||
         os.HasEvents(w.descriptors().Poller()) || w.timers().NextMs() <= os.NowNs() / 1'000'000;
}

void TurnsSystem::Settle() {
  for (int turns = 0, rests = 0; rests < runtime.WorkerCount(); ++turns) {
    const int worker = turns % runtime.WorkerCount();
    rests = HasWork(worker) ? 0 : rests + 1;
    if (rests == 0) Turn(worker);
    if (turns == kTurnsMax) return Expect(false, "the workers do not come to rest");
  }
}

void TurnsSystem::CheckCredits() {
  for (int w = 0; w < runtime.WorkerCount(); ++w) {
    runtime.shared().slots.ForEach(&runtime.worker(w), [&](Slot* slot) {
      if (slot->state == ActorState::kFree) return;
      Expect(slot->mailbox.FreeCredits() == slot->mailbox.Capacity() && !slot->parked,
             absl::StrCat("slot ", slot->id, " has ", slot->mailbox.FreeCredits(), " of ",
                          slot->mailbox.Capacity(), " credits",
                          slot->parked ? ", and is parked" : ""));
    });
  }
}

void TurnsSystem::End() {
  CheckEnd();
  os.clock_runs = true;
  runtime.Drain(absl::Seconds(30));
  const Ledger ledger = runtime.TotalLedger();
  Expect(ledger.Balanced() && ledger.held + ledger.parked_held + ledger.reserved_held == 0,
         ledger.ToString());
  Expect(runtime.ActorCount() == 0, "actors are left");
}

// Runs a system once: takes the given choices first, then always the first move.
class TurnsRun {
 public:
  TurnsRun(TurnsSystem& system, std::vector<Choice>& path) : system_(system), path_(path) {}

  void Go() {
    const int workers = system_.runtime.WorkerCount();
    std::vector<size_t> happened(system_.outside.size(), 0);
    for (int turns = 0; system_.failure.empty(); ++turns) {
      std::vector<int> moves;  // A worker; below 0: a list of outside events.
      for (int w = 0; w < workers; ++w) {
        if (system_.HasWork(w)) moves.push_back(w);
      }
      for (size_t list = 0; list < happened.size(); ++list) {
        if (happened[list] < system_.outside[list].size()) {
          moves.push_back(-1 - static_cast<int>(list));
        }
      }
      if (moves.empty()) break;
      if (turns == kTurnsMax) return system_.Expect(false, "the workers do not come to rest");
      const int move = moves[moves.size() == 1 ? 0 : Choose(static_cast<int>(moves.size()))];
      if (move < 0) {
        const size_t list = static_cast<size_t>(-1 - move);
        absl::StrAppend(&order, " outside", list, ".", happened[list]);
        system_.outside[list][happened[list]++]();
        continue;
      }
      absl::StrAppend(&order, " ", move);
      system_.Turn(move);
    }
    if (!system_.failure.empty()) return;
    system_.CheckCredits();
    system_.End();
  }

  std::string order;
  size_t depth = 0;

 private:
  int Choose(int count) {
    if (depth == path_.size()) path_.push_back({0, count});
    system_.Expect(path_[depth].count == count, "the system is not deterministic");
    return path_[depth++].taken;
  }

  TurnsSystem& system_;
  std::vector<Choice>& path_;
};

std::string TurnsReport::Summary() const {
  return absl::StrCat(runs, " orders, at most ", longest, " choices, ",
                      complete ? "complete" : "NOT complete",
                      failure.empty() ? "" : "\nFAILED: ", failure);
}

TurnsReport AllTurns(int64_t runs_max, absl::FunctionRef<std::unique_ptr<TurnsSystem>()> make) {
  TurnsReport report;
  std::vector<Choice> path;
  for (;;) {
    const std::unique_ptr<TurnsSystem> system = make();
    TurnsRun run(*system, path);
    run.Go();
    ++report.runs;
    report.longest = std::max(report.longest, static_cast<int>(run.depth));
    if (!system->failure.empty()) {
      report.failure = absl::StrCat(system->failure, "\nafter the turns of workers", run.order);
      return report;
    }
    while (!path.empty() && path.back().taken + 1 == path.back().count) path.pop_back();
    if (path.empty()) {
      report.complete = true;
      return report;
    }
    if (report.runs == runs_max) return report;
    ++path.back().taken;
  }
}

}  // namespace sluice::model
