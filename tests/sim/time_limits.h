// TimeLimit judges one time limit: the limit must not take effect before its time, and must take
// effect promptly when the time has come. Each limit of docs/limits.md has such a test, under its
// name there; tools/docs.py reports limits without a test.
//
//   TimeLimit idle(simulation, "idle_timeout", options.idle_timeout);
//   ...  idle.Begins();  ...  idle.Ends();  ...
//   idle.Judge();
//
// Owner:  the test. Thread: the simulation's. Bound: none. Errors: an EXPECT that fails.
#ifndef SLUICE_TESTS_SIM_TIME_LIMITS_H_
#define SLUICE_TESTS_SIM_TIME_LIMITS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"
#include "sluice/sluice.h"

namespace sluice::sim {

// Lateness of a worker that is on time: the millisecond tick under way, the rounding of its wait,
// and the time that calls, segments and other threads take in between.
inline constexpr absl::Duration kPrompt = absl::Milliseconds(5);
// A deadline counts from the millisecond in which the worker's turn began, so it may come part of a
// millisecond early. A user's timer never does: kExact.
inline constexpr absl::Duration kTick = absl::Milliseconds(1);
inline constexpr absl::Duration kExact = absl::ZeroDuration();

// Ten are enough, as each seed cuts segments and interleaves threads in its own way.
inline SeedOptions FewSeeds() {
  SeedOptions options;
  options.seeds = 10;
  return options;
}

// Places an actor on `worker`, with a mailbox of that size (0: the runtime's).
inline SpawnOptions On(int worker, uint32_t mailbox_messages_max = 0) {
  SpawnOptions options;
  options.worker = worker;
  options.mailbox_messages_max = mailbox_messages_max;
  return options;
}

class TimeLimit {
 public:
  TimeLimit(Simulation& simulation, std::string_view name, absl::Duration promised,
            absl::Duration early_max = kTick, absl::Duration late_max = kPrompt)
      : simulation_(simulation),
        name_(name),
        promised_(promised),
        early_max_(early_max),
        late_max_(late_max) {}

  // The limit's time begins now; the last call before the end counts.
  void Begins() { began_ns_ = simulation_.NowNs(); }
  void Ends() {
    if (!ended_ns_.has_value()) ended_ns_ = simulation_.NowNs();
  }
  bool Ended() const { return ended_ns_.has_value(); }
  // For a limit that is judged again and again.
  void Reopens() { ended_ns_.reset(); }
  void Promises(absl::Duration promised) { promised_ = promised; }
  // For a yes or no instead of an end: is `time` longer than the limit?
  bool IsPast(absl::Duration time) const { return time > promised_; }

  // Waits for the end, past the time by which it must come.
  void Await() {
    simulation_.RunUntil([this] { return Ended(); }, 2 * promised_ + absl::Minutes(1));
    Judge();
  }
  void Judge() const {
    ASSERT_TRUE(began_ns_.has_value()) << name_ << " never began";
    ASSERT_TRUE(Ended()) << name_ << " of " << promised_ << " has not come";
    const absl::Duration took = absl::Nanoseconds(*ended_ns_ - *began_ns_);
    EXPECT_GE(took, promised_ - early_max_) << name_ << " came early";
    EXPECT_LE(took, promised_ + late_max_) << name_ << " came late";
  }

 private:
  Simulation& simulation_;
  const std::string name_;
  absl::Duration promised_;
  const absl::Duration early_max_;
  const absl::Duration late_max_;
  std::optional<int64_t> began_ns_;
  std::optional<int64_t> ended_ns_;
};

// An actor that runs the functions that it is sent.
class Doer : public Actor {
 public:
  struct Do {
    std::function<void(Doer&)> what;
    int64_t HeldBytes() const { return 0; }
  };
  struct Question {
    using Reply = int64_t;
  };
  explicit Doer(std::function<void(Doer&)> start = nullptr) : start_(std::move(start)) {}
  void OnStart() override {
    if (start_) start_(*this);
  }
  void On(Do task) { task.what(*this); }
  void On(Question, Promise<int64_t> promise) { asked_ = std::move(promise); }  // Never answered.
  void OnDown(const Down&) override {
    if (on_down) on_down();
  }
  void Forget() { asked_.Forget(); }
  std::function<void()> on_down;

  using Actor::After;
  using Actor::Ask;
  using Actor::CancelTimer;
  using Actor::Every;
  using Actor::Monitor;
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::Send;
  using Actor::Spawn;
  using Actor::Stop;

 private:
  const std::function<void(Doer&)> start_;
  Promise<int64_t> asked_;
};

inline void Tell(const Ref<Doer>& doer, std::function<void(Doer&)> what) {
  EXPECT_EQ(doer.TrySend(Doer::Do{std::move(what)}), Answer::kAccepted);
}

// A session that runs its script; all sessions of a test share the script.
class Speaker : public Session {
 public:
  struct Script {
    std::function<void(Speaker&)> on_open, on_eof, on_drain;
    std::function<void(Speaker&, std::string_view)> on_data;
    std::function<void(Speaker&, CloseReason)> on_close;
  };
  explicit Speaker(Script* script) : script_(*script) {}
  void OnOpen() override {
    if (script_.on_open) script_.on_open(*this);
  }
  void OnData(Input& in) override {
    const std::string bytes(in.TakeAll());
    if (script_.on_data) script_.on_data(*this, bytes);
  }
  void OnEof() override {
    if (script_.on_eof) {
      script_.on_eof(*this);
    } else {
      Session::OnEof();
    }
  }
  void OnDrain() override {
    if (script_.on_drain) {
      script_.on_drain(*this);
    } else {
      Session::OnDrain();
    }
  }
  void OnClose(CloseReason reason) override {
    if (script_.on_close) script_.on_close(*this, reason);
  }
  void On(const Subscribed&) {}

  using Actor::After;
  using Actor::Every;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::Stop;
  using Session::Abort;
  using Session::Close;
  using Session::CloseWrite;
  using Session::Write;

 private:
  Script& script_;
};

}  // namespace sluice::sim

#endif  // SLUICE_TESTS_SIM_TIME_LIMITS_H_
