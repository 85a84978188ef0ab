// Ends of actors share the turn, too: OnStop(), destructors and the objects destroyed with an actor
// take a user's time, thousands may come at once, and a drain counts each of them as progress.
// Virtual time.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::turn_end_test {
namespace {

constexpr int64_t kMs = 1'000'000;

struct Fail {};
struct Question {
  using Reply = int;
};

// Keeps promises and never answers them.
class Silent : public Actor {
 public:
  void On(Question, Promise<int> promise) { promises_.push_back(std::move(promise)); }

 private:
  std::vector<Promise<int>> promises_;
};

struct Times {
  absl::Duration stop = absl::ZeroDuration();
  absl::Duration destruction = absl::ZeroDuration();
  absl::Duration callback = absl::ZeroDuration();  // Time to destroy one of its callbacks.
  int questions = 0;
};

class Ender : public Actor {
 public:
  Ender(ClockOs* os, Times times, Ref<Silent> silent) : os_(*os), times_(times), silent_(silent) {}
  ~Ender() override { os_.Advance(times_.destruction); }
  void OnStart() override {
    for (int i = 0; i < times_.questions; ++i) {
      const auto slow = [this](const int* number) {
        delete number;
        os_.Advance(times_.callback);
      };
      EXPECT_EQ(Ask(silent_, Question{}, absl::InfiniteDuration(),
                    [held = std::unique_ptr<int, decltype(slow)>(new int, slow)](
                        const absl::StatusOr<int>&) {}),
                Answer::kAccepted);
    }
  }
  void OnStop() override { os_.Advance(times_.stop); }
  void On(Fail) { throw std::runtime_error("told so"); }

 private:
  ClockOs& os_;
  const Times times_;
  const Ref<Silent> silent_;
};

struct StopAll {
  std::vector<Ref<Ender>>* all;
};

// Stops all given actors in one handler, and has a timer each millisecond that records how late it
// is.
class Boss : public Actor {
 public:
  explicit Boss(ClockOs* os) : os_(*os) {}
  void OnStart() override {
    due_ns_ = (os_.NowNs() / kMs + 2) * kMs;
    Every(absl::Milliseconds(1), [this](int64_t skipped) {
      late_max_ns = std::max(late_max_ns, os_.NowNs() - due_ns_);
      due_ns_ += (skipped + 1) * kMs;
    });
  }
  void On(StopAll order) {
    for (const Ref<Ender>& ref : *order.all) ref.Stop();
  }
  int64_t late_max_ns = 0;

 private:
  ClockOs& os_;
  int64_t due_ns_ = 0;
};

class TurnEnd : public ::testing::Test {
 protected:
  TurnEnd() : runtime_(SmallOptions(1), os_), step_(runtime_) {
    silent_ = runtime_.SpawnWith<Silent>({.name = "", .mailbox_messages_max = 2'000, .worker = 0});
    boss_ = runtime_.SpawnWith<Boss>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &os_);
    Settle();
  }
  ~TurnEnd() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
  }
  void Settle() { step_.Round(100); }
  Boss& boss() { return *static_cast<Boss*>(boss_.slot()->actor); }
  std::vector<Ref<Ender>> Make(int count, const Times& times, uint32_t restarts_max = 0) {
    std::vector<Ref<Ender>> made;
    for (int i = 0; i < count; ++i) {
      made.push_back(runtime_.SpawnRestarting<Ender>(
          {.restarts_max = restarts_max}, {.name = "", .mailbox_messages_max = 1, .worker = 0},
          &os_, times, silent_));
    }
    Settle();
    return made;
  }
  void StopInOneHandler(std::vector<Ref<Ender>>* all) {
    EXPECT_EQ(boss_.TrySend(StopAll{all}), Answer::kAccepted);
  }
  // Takes turns until `actors` actors live; returns the length of the longest turn.
  int64_t LongestTurnUntil(int64_t actors) {
    int64_t longest_ns = 0;
    for (int i = 0; i < 100'000 && (i < 100 || runtime_.ActorCount() > actors); ++i) {
      const int64_t begin_ns = os_.NowNs();
      step_.Round(1);
      longest_ns = std::max(longest_ns, os_.NowNs() - begin_ns);
    }
    EXPECT_EQ(runtime_.ActorCount(), actors);
    return longest_ns;
  }

  const LogLevelScope quiet_{LogLevel::kOff};
  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
  Ref<Silent> silent_;
  Ref<Boss> boss_;
};

TEST_F(TurnEnd, ThousandsOfStopsLeaveTimeForTimers) {
  std::vector<Ref<Ender>> all = Make(10'000, {.stop = absl::Microseconds(200)});
  StopInOneHandler(&all);
  EXPECT_LE(LongestTurnUntil(2), 6 * kMs);
  EXPECT_LE(boss().late_max_ns, 8 * kMs);
}

TEST_F(TurnEnd, DestructorsOfManyThatEndLeaveTimeForTimers) {
  std::vector<Ref<Ender>> all = Make(1'000, {.destruction = absl::Microseconds(200)});
  StopInOneHandler(&all);
  EXPECT_LE(LongestTurnUntil(2), 6 * kMs);
}

TEST_F(TurnEnd, DestructorsOnRestartLeaveTimeForTimers) {
  std::vector<Ref<Ender>> all =
      Make(1'000, {.destruction = absl::Microseconds(200)}, /*restarts_max=*/3);
  for (const Ref<Ender>& ref : all) EXPECT_EQ(ref.TrySend(Fail{}), Answer::kAccepted);
  EXPECT_LE(LongestTurnUntil(1'002), 4 * kMs);
  Settle();
  EXPECT_EQ(runtime_.TotalLedger().restarted, 1'000);
  StopInOneHandler(&all);
  LongestTurnUntil(2);
}

TEST_F(TurnEnd, CallbacksAreDestroyedInPortionsOnRestart) {
  std::vector<Ref<Ender>> all =
      Make(1, {.callback = absl::Microseconds(10), .questions = 500}, /*restarts_max=*/3);
  EXPECT_EQ(all[0].TrySend(Fail{}), Answer::kAccepted);
  EXPECT_LE(LongestTurnUntil(3), 4 * kMs);
  EXPECT_EQ(runtime_.TotalLedger().restarted, 1);
  StopInOneHandler(&all);
  EXPECT_LE(LongestTurnUntil(2), 4 * kMs);
}

// The drain coordinator looks on while the descriptors are closed, one by one.
TEST(TurnEndOfSockets, SlowClosesOfManyDescriptorsAreProgress) {
  Rig rig;
  constexpr int kCount = 300;
  bool over = false;
  int looks = 0;
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < kCount; ++i) {
    peers.push_back(rig.New());
    rig.Open(peers.back().wire, peers.back().notes);
  }
  rig.Settle();
  for (Rig::Peer& peer : peers) {
    peer.wire.on_close = [&] {
      rig.os.Advance(absl::Milliseconds(20));
      ++looks;
      over |= rig.runtime.DrainStep(/*deadline_ms=*/0);
    };
  }
  EXPECT_FALSE(rig.runtime.DrainStep(/*deadline_ms=*/0));
  for (int turns = 0; turns < 10; ++turns) rig.Turn();
  EXPECT_EQ(looks, kCount);
  EXPECT_FALSE(over) << "taken for a handler that does not return";
  for (Rig::Peer& peer : peers) peer.wire.on_close = nullptr;
}

}  // namespace
}  // namespace sluice::testing::turn_end_test
