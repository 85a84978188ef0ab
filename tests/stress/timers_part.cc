#include "sluice/tests/stress/timers_part.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/stress/watch.h"

namespace sluice::stress {

namespace {

constexpr int kClocksPerWorker = 4;
constexpr size_t kAftersMax = 900;  // Below timers_max (1,024): none may be refused.
constexpr size_t kEveriesMax = 32;

struct Grain {};

// Full so often that clocks park when they send to it.
class Hourglass : public Actor {
 public:
  void On(Grain) {}
};

class Clock : public Actor {
 public:
  Clock(TimersPart* part, Ref<Hourglass> glass, uint64_t seed)
      : part_(part), laws_(part->stress.laws), glass_(glass), random_(seed) {}

  void OnStart() override {
    pulse_ = Every(absl::Milliseconds(2), [this] { Pulse(); });
  }

 private:
  struct Armed {
    TimerId id = 0;
    int64_t armed_ns = 0;  // Now() at the call: the turn's time, from which delays count.
    int64_t delay_ns = 0;
    int64_t firings = 0;
    int64_t firings_max = 0;
  };
  using Timers = absl::flat_hash_map<uint64_t, Armed>;

  int64_t OsNowNs() { return runtime().os().NowNs(); }

  void Pulse() {
    HandlerWatch watch(watch_, slot(), laws_);
    if (part_->stress.Stopping()) {
      CancelTimer(pulse_);
      while (!everies_.empty()) Cancel(everies_, everies_.begin());
      pulsing_ = false;
      TellIfDone();
      return;
    }
    for (uint64_t i = random_.Below(80); i > 0 && afters_.size() < kAftersMax; --i) ArmAfter();
    if (everies_.size() < kEveriesMax) ArmEvery();
    for (uint64_t i = random_.Below(30); i > 0 && !afters_.empty(); --i) {
      Cancel(afters_, afters_.begin());
    }
    if (random_.OneIn(16)) {
      // Parks the clock; messages beyond its outbox are not needed.
      for (int i = 0; i < 64; ++i) (void)Send(glass_, Grain{});
    }
  }
  void ArmAfter() {
    const uint64_t key = ++last_key_;
    const auto delay =
        absl::Microseconds(random_.OneIn(8) ? random_.Below(400'000) : random_.Below(20'000));
    Armed& timer = afters_[key];
    timer.armed_ns = absl::ToInt64Nanoseconds(Now());
    timer.delay_ns = absl::ToInt64Nanoseconds(delay);
    timer.id = After(delay, [this, key] { Fired(key); });
    CountArmed(timer);
  }
  void ArmEvery() {
    const uint64_t key = ++last_key_;
    const auto interval = absl::Milliseconds(random_.Between(1, 40));
    Armed& timer = everies_[key];
    timer.armed_ns = absl::ToInt64Nanoseconds(Now());
    timer.delay_ns = absl::ToInt64Nanoseconds(interval);
    timer.firings_max = static_cast<int64_t>(random_.Between(1, 20));
    timer.id = Every(interval, [this, key] { FiredAgain(key); });
    CountArmed(timer);
  }
  void CountArmed(const Armed& timer) {
    part_->armed.Add();
    if (timer.id == 0) laws_.Broken("timers", "a timer below timers_max was refused");
  }
  void Cancel(Timers& timers, Timers::iterator which) {
    CancelTimer(which->second.id);
    timers.erase(which);
    part_->cancelled.Add();
  }
  void Fired(uint64_t key) {
    HandlerWatch watch(watch_, slot(), laws_);
    const auto found = afters_.find(key);
    if (found == afters_.end()) {
      laws_.Broken("timers", "an After fired twice, or after it was cancelled");
      return;
    }
    CheckTime(found->second, 1);
    afters_.erase(found);
    part_->fired.Add();
    TellIfDone();
  }
  void FiredAgain(uint64_t key) {
    HandlerWatch watch(watch_, slot(), laws_);
    const auto found = everies_.find(key);
    if (found == everies_.end()) {
      laws_.Broken("timers", "an Every fired after it was cancelled");
      return;
    }
    Armed& timer = found->second;
    CheckTime(timer, ++timer.firings);
    part_->every_fired.Add();
    if (timer.firings == timer.firings_max) Cancel(everies_, found);
  }
  void CheckTime(const Armed& timer, int64_t intervals) {
    const int64_t late_ns = OsNowNs() - timer.armed_ns - timer.delay_ns * intervals;
    if (late_ns < 0) {
      laws_.Broken("timers", absl::StrCat("a timer of ", timer.delay_ns * intervals, " ns fired ",
                                          -late_ns, " ns early"));
    }
    if (intervals == 1) part_->NoteLateness(late_ns);
  }
  void TellIfDone() {
    if (pulsing_ || told_ || !afters_.empty()) return;
    told_ = true;
    part_->clocks_done.Add();
  }

  TimersPart* const part_;
  Laws& laws_;
  const Ref<Hourglass> glass_;
  Random random_;
  HandlerWatch::State watch_;
  TimerId pulse_ = 0;
  bool pulsing_ = true;
  bool told_ = false;
  uint64_t last_key_ = 0;
  Timers afters_;
  Timers everies_;
};

}  // namespace

void TimersPart::Prepare() {
  Random random(stress.seed + 2);
  const int workers = stress.runtime.WorkerCount();
  clocks_ = kClocksPerWorker * workers;
  for (int i = 0; i < kClocksPerWorker * workers; ++i) {
    SpawnOptions where;
    where.mailbox_messages_max = 4;
    where.worker = (i + 1) % workers;
    const Ref<Hourglass> glass = stress.runtime.SpawnWith<Hourglass>(where);
    where.worker = i % workers;
    stress.runtime.SpawnWith<Clock>(where, this, glass, random());
  }
}

bool TimersPart::Done() { return clocks_done.Get() == clocks_; }

std::string TimersPart::State() {
  return absl::StrCat(clocks_done.Get(), " of ", clocks_, " clocks have stopped; armed ",
                      armed.Get(), ", fired ", fired.Get(), ", cancelled ", cancelled.Get());
}

void TimersPart::CheckDone() {
  // Every After has fired or was cancelled; every Every was cancelled.
  if (armed.Get() != fired.Get() + cancelled.Get()) {
    stress.laws.Broken("timers", absl::StrCat("of ", armed.Get(), " timers ", fired.Get(),
                                              " fired and ", cancelled.Get(), " were cancelled"));
  }
}

std::vector<Rate> TimersPart::Rates() const {
  return {{"armed", armed.Get()},
          {"After fired", fired.Get()},
          {"Every fired", every_fired.Get()},
          {"cancelled", cancelled.Get()}};
}

std::string TimersPart::Notes() const {
  return absl::StrFormat("latest %.1f ms", latest_ns_.load(std::memory_order_relaxed) / 1e6);
}

void TimersPart::NoteLateness(int64_t ns) {
  int64_t latest = latest_ns_.load(std::memory_order_relaxed);
  while (ns > latest && !latest_ns_.compare_exchange_weak(latest, ns, std::memory_order_relaxed)) {
  }
}

}  // namespace sluice::stress
