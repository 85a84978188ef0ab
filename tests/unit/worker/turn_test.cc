// A turn is shared by time: actors, timers, mail, descriptors and output each get a part of it,
// whatever a handler, a timer or a peer does. Virtual time.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::turn_test {
namespace {

using Notes = ScriptSession::Notes;

constexpr int64_t kMs = 1'000'000;

struct Work {
  absl::Duration time;
};
struct Begin {};

// Runs the test's function on Begin; Work takes its time.
class Doer : public Actor {
 public:
  explicit Doer(ClockOs* os) : os_(*os) {}
  void On(Work work) {
    os_.Advance(work.time);
    ++handled;
  }
  void On(Begin) {
    if (on_begin) on_begin(*this);
  }
  using Actor::After;
  using Actor::CancelTimer;
  using Actor::Every;
  using Actor::Send;
  using Actor::SpawnWith;
  using Actor::TimerId;
  int handled = 0;
  std::function<void(Doer&)> on_begin;

 private:
  ClockOs& os_;
};

class Turn : public ::testing::Test {
 protected:
  Turn() : runtime_(SmallOptions(1), os_), step_(runtime_) {}
  ~Turn() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
  }
  Ref<Doer> Make() {
    const Ref<Doer> ref =
        runtime_.SpawnWith<Doer>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &os_);
    step_.Round(2);
    made_.push_back(ref);
    return ref;
  }
  // Ends all actors before the objects that their callbacks use are gone.
  void End() {
    for (const Ref<Doer>& ref : made_) ref.Stop();
    for (int i = 0; i < 1'000 && runtime_.ActorCount() > 0; ++i) step_.Round(1);
    EXPECT_EQ(runtime_.ActorCount(), 0);
  }
  static Doer& Of(const Ref<Doer>& ref) { return *static_cast<Doer*>(ref.slot()->actor); }
  void Do(const Ref<Doer>& ref, std::function<void(Doer&)> act) {
    Of(ref).on_begin = std::move(act);
    EXPECT_EQ(ref.TrySend(Begin{}), Answer::kAccepted);
    step_.Round(1);
    Of(ref).on_begin = nullptr;
  }
  int64_t NowNs() { return runtime_.worker(0).os().NowNs(); }

  const LogLevelScope quiet_{LogLevel::kOff};
  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
  std::vector<Ref<Doer>> made_;
};

// --- Timers.

TEST_F(Turn, OverlongPeriodicTimerRunsOncePerTurn) {
  const Ref<Doer> slow = Make();
  const Ref<Doer> other = Make();
  int ran = 0;
  Do(slow, [&](Doer& self) {
    auto id = std::make_shared<Doer::TimerId>();
    *id = self.Every(absl::Milliseconds(10), [&, id] {
      os_.Advance(absl::Milliseconds(12));
      if (++ran == 1'000) self.CancelTimer(*id);  // Otherwise a failing test would not end.
    });
  });
  os_.Advance(absl::Milliseconds(11));
  EXPECT_EQ(other.TrySend(Work{}), Answer::kAccepted);
  step_.Round(1);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(Of(other).handled, 1);
  End();
}

TEST_F(Turn, ManyPeriodicTimersShareTheTurnWithMail) {
  std::vector<Ref<Doer>> actors;
  int64_t ran = 0;
  for (int i = 0; i < 1'000; ++i) {
    actors.push_back(Make());
    Do(actors.back(), [&](Doer& self) {
      self.Every(absl::Milliseconds(1), [&] {
        // Otherwise a failing test would not end.
        if (++ran < 100'000) os_.Advance(absl::Microseconds(2));
      });
    });
  }
  const Ref<Doer> other = Make();
  os_.Advance(absl::Milliseconds(10));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(other.TrySend(Work{}), Answer::kAccepted);
    const int64_t begin_ns = NowNs();
    step_.Round(1);
    EXPECT_EQ(Of(other).handled, i + 1);
    EXPECT_LE(NowNs() - begin_ns, 3 * kMs) << "turn " << i;
  }
  End();
}

TEST_F(Turn, LatePeriodicTimerSkipsWholePeriods) {
  const Ref<Doer> actor = Make();
  std::vector<int64_t> skipped;
  std::vector<int64_t> at_ms;
  int64_t first_ms = 0;
  Do(actor, [&](Doer& self) {
    first_ms = NowNs() / kMs + 1 + 10;
    self.Every(absl::Milliseconds(10), [&](int64_t periods) {
      skipped.push_back(periods);
      at_ms.push_back(NowNs() / kMs);
    });
  });
  while (NowNs() / kMs < first_ms) os_.Advance(absl::Milliseconds(1));
  step_.Round(1);
  os_.Advance(absl::Milliseconds(47));  // 10, 20, 30 and 40 ms have passed; 50 ms has not.
  step_.Round(3);
  os_.Advance(absl::Milliseconds(3));
  step_.Round(3);
  EXPECT_EQ(skipped, (std::vector<int64_t>{0, 3, 0}));
  EXPECT_EQ(at_ms, (std::vector<int64_t>{first_ms, first_ms + 47, first_ms + 50}));
  EXPECT_EQ(runtime_.TotalLedger().periods_skipped, 3);
  End();
}

TEST_F(Turn, ImmediateTimerWaitsForTheNextTurn) {
  const Ref<Doer> actor = Make();
  int ran = 0;
  std::function<void()> again;
  Do(actor, [&](Doer& self) {
    again = [&] {
      if (++ran < 1'000) self.After(-absl::Seconds(1), [&] { again(); });
    };
    again();
  });
  os_.Advance(absl::Milliseconds(5));
  const int before = ran;
  step_.Round(1);
  EXPECT_EQ(ran, before + 1);
  End();
}

TEST_F(Turn, AnEveryThatIsNotPositiveIsRefused) {
  for (const absl::Duration interval :
       {absl::ZeroDuration(), -absl::Seconds(1), -absl::InfiniteDuration()}) {
    const Ref<Doer> actor = Make();
    Do(actor,
       [&](Doer& self) { EXPECT_EQ(self.Every(interval, [] { ADD_FAILURE(); }), 0u) << interval; });
    for (int i = 0; i < 3; ++i) {
      os_.Advance(absl::Milliseconds(1));
      step_.Round(1);
    }
    actor.Stop();
    step_.Round(3);
  }
  End();
}

// --- Actors that are parked on an actor of another worker; the test takes that worker's turns.

class Started : public Actor {
 public:
  Started(std::function<void(Started&)> on_start, std::function<void(Started&)> begin)
      : on_start_(std::move(on_start)) {
    begin(*this);
  }
  void OnStart() override { on_start_(*this); }
  using Actor::After;
  using Actor::CancelTimer;
  using Actor::Every;
  using Actor::Send;
  using Actor::TimerId;

 private:
  const std::function<void(Started&)> on_start_;
};

class TurnOfTwo : public ::testing::Test {
 protected:
  explicit TurnOfTwo(Options options = SmallOptions(2)) : runtime_(options, os_), step_(runtime_) {}
  ~TurnOfTwo() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
  }
  Ref<Doer> Make(int worker, uint32_t mailbox = 0) {
    const Ref<Doer> ref = runtime_.SpawnWith<Doer>(
        {.name = "", .mailbox_messages_max = mailbox, .worker = worker}, &os_);
    step_.Round(2);
    made_.emplace_back([ref] { ref.Stop(); });
    return ref;
  }
  // Ends all actors before the objects that their callbacks use are gone.
  void End() {
    for (const std::function<void()>& stop : made_) stop();
    for (int i = 0; i < 1'000 && runtime_.ActorCount() > 0; ++i) step_.Round(1);
    EXPECT_EQ(runtime_.ActorCount(), 0);
  }
  int64_t NowMs() { return os_.NowNs() / kMs; }
  static Doer& Of(const Ref<Doer>& ref) { return *static_cast<Doer*>(ref.slot()->actor); }
  void Tell(const Ref<Doer>& ref, std::function<void(Doer&)> act) {
    Of(ref).on_begin = std::move(act);
    EXPECT_EQ(ref.TrySend(Begin{}), Answer::kAccepted);
  }
  int64_t TurnNs(int worker) {
    const int64_t begin_ns = os_.NowNs();
    step_.Turn(worker);
    return os_.NowNs() - begin_ns;
  }
  // Fills the target's mailbox, and parks the sender behind it.
  template <class A>
  static void ParkOn(A& self, const Ref<Doer>& full) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(self.Send(full, Work{}), Answer::kAccepted);
  }

  const LogLevelScope quiet_{LogLevel::kOff};
  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
  std::vector<std::function<void()>> made_;
};

TEST_F(TurnOfTwo, TimersDueWhileParkedKeepTheirOrder) {
  const Ref<Doer> full = Make(1, /*mailbox=*/1);
  const Ref<Doer> parked = Make(0);
  const Ref<Doer> other = Make(0);
  constexpr int kTimers = 1'000;
  std::vector<int> ran;
  Tell(parked, [&](Doer& self) {
    for (int i = 0; i < kTimers; ++i) {
      self.After(absl::Milliseconds(i % 2 == 0 ? 1 : 40), [&, i] {
        os_.Advance(absl::Milliseconds(1));
        ran.push_back(i);
      });
    }
    ParkOn(self, full);
  });
  step_.Turn(0);
  os_.Advance(absl::Milliseconds(20));
  for (int i = 0; i < 5; ++i) step_.Turn(0);
  // The timers of the second half are due, and have not fired.
  os_.Advance(absl::Milliseconds(30));
  EXPECT_EQ(ran.size(), 0u);
  step_.Turn(1);  // There is room again.
  for (int turn = 0; turn < 2 * kTimers && ran.size() < kTimers; ++turn) {
    EXPECT_EQ(other.TrySend(Work{}), Answer::kAccepted);
    EXPECT_LE(TurnNs(0), 5 * kMs) << turn;
    EXPECT_EQ(Of(other).handled, turn + 1);
    step_.Turn(1);
  }
  std::vector<int> in_order;
  for (int i = 0; i < kTimers; i += 2) in_order.push_back(i);
  for (int i = 1; i < kTimers; i += 2) in_order.push_back(i);
  EXPECT_EQ(ran, in_order);
  End();
}

class TurnOfStart : public TurnOfTwo {
 protected:
  // Spawns an actor that is constructed in this turn; OnStart() comes in a later one.
  void MakeLate(std::function<void(Started&)> begin, std::function<void(Started&)> on_start) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(busy_.TrySend(Work{absl::Milliseconds(2)}), Answer::kAccepted);
    }
    const auto ref = runtime_.SpawnWith<Started>(
        {.name = "", .mailbox_messages_max = 0, .worker = 0},
        [this, on_start](Started& self) {
          started_ = true;
          on_start(self);
        },
        begin);
    made_.emplace_back([ref] { ref.Stop(); });
    step_.Turn(0);
    EXPECT_FALSE(started_);
  }
  const Ref<Doer> busy_ = Make(0);
  bool started_ = false;
};

TEST_F(TurnOfStart, ParkingInOnStartLosesNoPeriod) {
  const Ref<Doer> full = Make(1, /*mailbox=*/1);
  int64_t periods = 0;
  int64_t calls = 0;
  int64_t first_ms = 0;
  MakeLate(
      [&](Started& self) {
        first_ms = NowMs() + 1 + 10;
        self.Every(absl::Milliseconds(10), [&](int64_t skipped) {
          ++calls;
          periods += 1 + skipped;
        });
      },
      [&](Started& self) { ParkOn(self, full); });
  os_.Advance(absl::Milliseconds(34));
  step_.Turn(0);
  EXPECT_TRUE(started_);
  EXPECT_EQ(calls, 0);
  step_.Round(4);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(periods, (NowMs() - first_ms) / 10 + 1);
  os_.Advance(absl::Milliseconds(10));
  step_.Round(2);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(periods, (NowMs() - first_ms) / 10 + 1);
  EXPECT_EQ(runtime_.TotalLedger().periods_skipped, periods - calls);
  End();
}

TEST_F(TurnOfStart, ATimerThatOnStartCancelsDoesNotRun) {
  int calls = 0;
  Started::TimerId every = 0;
  Started::TimerId once = 0;
  MakeLate(
      [&](Started& self) {
        every = self.Every(absl::Milliseconds(1), [&] { ++calls; });
        once = self.After(absl::Milliseconds(1), [&] { ++calls; });
      },
      [&](Started& self) {
        self.CancelTimer(every);
        self.CancelTimer(once);
      });
  os_.Advance(absl::Milliseconds(5));
  step_.Round(3);
  EXPECT_TRUE(started_);
  EXPECT_EQ(calls, 0);
  End();
}

// --- Mail.

class SlowlyMade : public Actor {
 public:
  explicit SlowlyMade(ClockOs* os) { os->Advance(absl::Milliseconds(2)); }
};

class TurnOfThree : public TurnOfTwo {
 protected:
  TurnOfThree() : TurnOfTwo(SmallOptions(3)) {}
};

TEST_F(TurnOfThree, ExpensiveLaneDoesNotStarveTheNext) {
  const Ref<Doer> target = Make(0);
  const Ref<Doer> eater = Make(1);
  const Ref<Doer> sender = Make(2);
  Tell(sender, [&](Doer& self) { EXPECT_EQ(self.Send(target, Work{}), Answer::kAccepted); });
  step_.Turn(2);
  int turns = 0;
  for (; turns < 20 && Of(target).handled == 0; ++turns) {
    Tell(eater, [&](Doer& self) {
      self.SpawnWith<SlowlyMade>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &os_);
    });
    step_.Turn(1);
    step_.Turn(0);
  }
  EXPECT_LE(turns, 2);
  End();
}

TEST_F(TurnOfThree, PlacedActorsAreMadeInPortionsInOrder) {
  const Ref<Doer> target = Make(0);
  const Ref<Doer> sender = Make(1);
  const int64_t actors = runtime_.ActorCount();
  Tell(sender, [&](Doer& self) {
    for (int i = 1; i < Mail::kDrainMax; ++i) {
      self.SpawnWith<SlowlyMade>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &os_);
    }
    EXPECT_EQ(self.Send(target, Work{}), Answer::kAccepted);
  });
  step_.Turn(1);
  int64_t longest_ns = 0;
  for (int turns = 0; turns < 1'000 && Of(target).handled == 0; ++turns) {
    longest_ns = std::max(longest_ns, TurnNs(0));
  }
  EXPECT_EQ(Of(target).handled, 1);
  EXPECT_EQ(runtime_.ActorCount(), actors + Mail::kDrainMax - 1);
  EXPECT_LE(longest_ns, 4 * kMs);
  End();
}

class TurnOfLanes : public TurnOfTwo {
 protected:
  TurnOfLanes() : TurnOfTwo(SmallLanes()) {}
  static Options SmallLanes() {
    Options options = SmallOptions(2);
    options.lane_messages_max = Mail::kDrainMax;
    return options;
  }
};

// A worker that spins looks at the clock again and again.
TEST_F(TurnOfLanes, MailFromOutsideMakesNoWorkerSpin) {
  const Ref<Doer> target = Make(0, /*mailbox=*/2 * Mail::kDrainMax);
  const Ref<Doer> sender = Make(1);
  Tell(sender, [&](Doer& self) {
    for (int i = 0; i < Mail::kDrainMax; ++i) {
      EXPECT_EQ(self.Send(target, Work{}), Answer::kAccepted);
    }
  });
  step_.Turn(1);  // Fills the lane: worker 0 will begin with the next lane.
  step_.Turn(0);
  step_.Round(10);
  EXPECT_EQ(Of(target).handled, Mail::kDrainMax);
  const int64_t looks = os_.looks;
  EXPECT_EQ(target.TrySend(Work{}), Answer::kAccepted);
  step_.Turn(0);
  EXPECT_EQ(Of(target).handled, Mail::kDrainMax + 1);
  EXPECT_LT(os_.looks - looks, 100);
  End();
}

// If both threads share a processor, the other one cannot send while this one spins.
TEST_F(TurnOfLanes, AWorkerSpinsOnlyIfNoAwakeOneSharesItsProcessor) {
  const Ref<Doer> target = Make(0);
  const Ref<Doer> sender = Make(1);
  const auto looks_behind_mail = [&](int receiver_on, int sender_on) {
    os_.processor = sender_on;
    Tell(sender, [&](Doer& self) { EXPECT_EQ(self.Send(target, Work{}), Answer::kAccepted); });
    step_.Turn(1);
    os_.processor = receiver_on;
    const int64_t before = os_.looks;
    step_.Turn(0);
    return os_.looks - before;
  };
  EXPECT_GT(looks_behind_mail(2, 3), 100);
  EXPECT_LT(looks_behind_mail(2, 2), 100);
  EXPECT_GT(looks_behind_mail(-1, -1), 100);  // The system does not say where they run.
  End();
}

// --- Slices.

TEST_F(Turn, SliceEndsAfterTheHandlerThatFillsIt) {
  const Ref<Doer> slow = Make();
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(slow.TrySend(Work{absl::Milliseconds(9)}), Answer::kAccepted);
  }
  for (int i = 1; i <= 10; ++i) {
    const int64_t begin_ns = NowNs();
    step_.Round(1);
    EXPECT_LE(NowNs() - begin_ns, 10 * kMs) << "turn " << i;
    EXPECT_EQ(Of(slow).handled, i);
  }
  End();
}

TEST_F(Turn, ManyActorsWithLongHandlersLeaveTimeForTimers) {
  std::vector<Ref<Doer>> actors;
  for (int i = 0; i < 200; ++i) actors.push_back(Make());
  const Ref<Doer> clock = Make();
  int64_t late_max_ns = 0;
  int ran = 0;
  int64_t due_ns = 0;
  Do(clock, [&](Doer& self) {
    due_ns = (NowNs() / kMs + 1 + 10) * kMs;
    self.Every(absl::Milliseconds(10), [&](int64_t skipped) {
      late_max_ns = std::max(late_max_ns, NowNs() - due_ns);
      due_ns += (skipped + 1) * 10 * kMs;
      ++ran;
    });
  });
  for (int i = 0; i < 500; ++i) {
    for (const Ref<Doer>& actor : actors) (void)actor.TrySend(Work{absl::Microseconds(300)});
    step_.Round(1);
  }
  EXPECT_GT(ran, 10);
  EXPECT_LE(late_max_ns, 5 * kMs);
  End();
}

// --- Sockets.

struct Row {
  int64_t timer_late_ns = 0;  // The longest delay.
  int64_t light_ns = 0;       // The longest wait of the light connection.
};

// Runs `busy` connections: each peer sends again as soon as its input is read, and each handler
// takes `handler`. Beside them run one timer, and one light connection that gets a byte now and
// then.
Row RunBusy(int busy, absl::Duration handler, int64_t lights) {
  Options options = WireOptions();
  options.max_connections = 8'192;
  Row row;
  bool stop = false;
  int64_t sent_ns = 0;
  int64_t heard = 0;
  int64_t due_ns = 0;
  Rig rig(options);
  for (int i = 0; i < busy; ++i) {
    auto [wire, notes] = rig.New();
    notes.on_data = [&, w = &wire](ScriptSession&, Input& in) {
      in.TakeAll();
      if (stop) return;
      rig.os.Advance(handler);
      rig.Arrive(*w, "x");
    };
    rig.Open(wire, notes);
    rig.Arrive(wire, "x");
  }
  auto [light, light_notes] = rig.New();
  light_notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    row.light_ns = std::max(row.light_ns, rig.os.NowNs() - sent_ns);
    ++heard;
  };
  rig.Open(light, light_notes);
  auto [clock, clock_notes] = rig.New();  // A quiet connection.
  Slot* const slot = rig.Open(clock, clock_notes);
  ScriptSession* const clock_session = clock_notes.session;
  rig.worker.RunHandler(slot, "test", [&] {
    due_ns = (rig.os.NowNs() / kMs + 1 + 5) * kMs;
    clock_session->Every(absl::Milliseconds(5), [&](int64_t skipped) {
      row.timer_late_ns = std::max(row.timer_late_ns, rig.os.NowNs() - due_ns);
      due_ns += (skipped + 1) * 5 * kMs;
    });
  });
  for (int64_t i = 0; i < lights; ++i) {
    // Starts anywhere in a round.
    for (int64_t turns = (i * 37) % 101; turns > 0; --turns) rig.Turn();
    sent_ns = rig.os.NowNs();
    rig.Arrive(light, "l");
    for (int turns = 0; heard <= i && turns < 100'000; ++turns) rig.Turn();
    EXPECT_EQ(heard, i + 1);
  }
  stop = true;
  return row;
}

TEST(TurnOfSockets, LightConnectionWaitsOneRoundTimersFewMs) {
  for (const int busy : {100, 1'000, 4'000}) {
    const Row row = RunBusy(busy, absl::Microseconds(200), busy >= 4'000 ? 3 : 10);
    const int64_t round_ns = busy * int64_t{200'000};
    std::printf(
        "%5d busy connections of 200 us: timers %.1f ms late, the light one waits %.1f ms "
        "(a round: %.1f ms)\n",
        busy, row.timer_late_ns / 1e6, row.light_ns / 1e6, round_ns / 1e6);
    EXPECT_LE(row.timer_late_ns, 20 * kMs) << busy;
    EXPECT_LE(row.light_ns, round_ns * 12 / 10) << busy;
  }
}

TEST(TurnOfSockets, ManyFramesLetOtherConnectionsRunBetweenThem) {
  int frames = 0;
  int frames_before_light = -1;
  Rig rig;
  auto [busy, busy_notes] = rig.New();
  auto [light, light_notes] = rig.New();
  busy_notes.on_data = [&](ScriptSession& session, Input& in) {
    while (session.MayGoOn() && in.size() > 0) {
      in.Take(1);
      rig.os.Advance(absl::Microseconds(200));
      ++frames;
    }
  };
  light_notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    frames_before_light = frames;
  };
  rig.Open(busy, busy_notes);
  rig.Open(light, light_notes);
  rig.Settle();
  rig.Arrive(busy, std::string(500, 'x'));
  rig.Arrive(light, "l");
  rig.Settle();
  EXPECT_EQ(frames, 500);
  EXPECT_GE(frames_before_light, 0);
  EXPECT_LE(frames_before_light, 2);
  EXPECT_TRUE(busy_notes.session->Unconsumed().empty());
}

TEST(TurnOfSockets, OutputOfManyConnectionsLeavesInPortions) {
  bool slow = true;
  Rig rig;
  constexpr int kCount = 1'000;
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < kCount; ++i) {
    peers.push_back(rig.New());
    rig.Open(peers.back().wire, peers.back().notes);
  }
  rig.Settle();
  for (Rig::Peer& peer : peers) {
    peer.wire.delay = [&] {
      if (slow) rig.os.Advance(absl::Microseconds(50));
      return false;
    };
  }
  const Bytes payload = Bytes::Copy("hello");
  for (Rig::Peer& peer : peers) EXPECT_EQ(peer.notes.session->Write(payload), Answer::kAccepted);
  int turns = 0;
  for (bool all = false; !all && turns < 10'000; ++turns) {
    const int64_t begin_ns = rig.os.NowNs();
    rig.Turn();
    EXPECT_LE(rig.os.NowNs() - begin_ns, 5 * kMs) << "turn " << turns;
    all = std::all_of(peers.begin(), peers.end(),
                      [](const Rig::Peer& peer) { return peer.wire.output == "hello"; });
  }
  EXPECT_LT(turns, 100);
  slow = false;
}

// The first connection has its turn early, for its timer; its next turn is behind the others.
TEST(TurnOfSockets, EarlyTurnForTimerPutsConnectionLast) {
  std::string order;
  Rig rig;
  auto [first, first_notes] = rig.New();
  auto [other, other_notes] = rig.New();
  first_notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    order += 'f';
  };
  other_notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    order += 'o';
  };
  Slot* const slot = rig.Open(first, first_notes);
  rig.Open(other, other_notes);
  rig.Settle();
  ScriptSession* const session = first_notes.session;
  rig.worker.RunHandler(slot, "test",
                        [&] { session->After(absl::Milliseconds(5), [&] { order += 't'; }); });
  rig.os.Advance(absl::Milliseconds(10));
  rig.Arrive(first, std::string(Descriptors::kReadBytes + 1, 'x'));
  rig.Arrive(other, "x");
  rig.Settle();
  EXPECT_EQ(order, "ftof");
}

TEST(TurnOfSockets, APollTakesAllEventsThatAreThere) {
  Rig rig;
  constexpr int kCount = 1'000;
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < kCount; ++i) {
    peers.push_back(rig.New());
    rig.Open(peers.back().wire, peers.back().notes);
  }
  rig.Settle();
  for (Rig::Peer& peer : peers) rig.Arrive(peer.wire, "x");
  rig.Turn();
  EXPECT_FALSE(rig.os.HasEvents(rig.worker.descriptors().Poller()));
}

}  // namespace
}  // namespace sluice::testing::turn_test
