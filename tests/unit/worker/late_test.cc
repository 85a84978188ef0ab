// A worker that is late (a long handler, a stopped process) first handles the input that arrived in
// time, then judges deadlines. The tests use virtual time: the input lies in the poller, in a lane
// or in a mailbox when time jumps past the deadline.
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::late_test {
namespace {

using Notes = ScriptSession::Notes;

Options Timeouts() {
  Options options = WireOptions();
  options.idle_timeout = absl::Seconds(1);
  options.half_closed_timeout = absl::Seconds(1);
  options.write_stalled_timeout = absl::Seconds(1);
  options.linger_timeout = absl::Seconds(1);
  return options;
}

TEST(LateWorker, ConnectionWithInputInTimeIsNotIdle) {
  Rig rig(Timeouts());
  constexpr int kCount = 600;  // More than one poll returns.
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < kCount; ++i) {
    peers.push_back(rig.New());
    rig.Open(peers.back().wire, peers.back().notes);
  }
  rig.Settle();
  for (Rig::Peer& peer : peers) rig.Arrive(peer.wire, "x");
  rig.Advance(absl::Milliseconds(1'600));
  for (Rig::Peer& peer : peers) {
    EXPECT_FALSE(peer.wire.closed);
    EXPECT_EQ(peer.notes.data, "x");
  }
  // The silence of each connection counts from there again.
  rig.Advance(absl::Milliseconds(999));
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), 0);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), kCount);
}

TEST(LateWorker, SlowHandlersOfOthersMakeNoConnectionIdle) {
  int heard = 0;
  Rig rig(Timeouts());
  constexpr int kCount = 20;
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < kCount; ++i) {
    peers.push_back(rig.New());
    peers.back().notes.on_data = [&, w = &peers.back().wire](ScriptSession&, Input& in) {
      in.TakeAll();
      rig.os.Advance(absl::Milliseconds(100));
      // As soon as the session has read the last byte.
      if (++heard < 10 * kCount) rig.Arrive(*w, "x");
    };
    rig.Open(peers.back().wire, peers.back().notes);
  }
  rig.Settle();
  for (Rig::Peer& peer : peers) rig.Arrive(peer.wire, "x");
  for (int turns = 0; heard < 10 * kCount && turns < 10'000; ++turns) rig.Turn();
  EXPECT_GE(heard, 10 * kCount);
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), 0);
}

// Many handlers share one reading of the clock. A read behind a slow handler of the group must
// count from the end of that handler.
TEST(LateWorker, ASilenceCountsFromASlowHandlersEnd) {
  Rig rig(Timeouts());
  std::vector<Rig::Peer> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(rig.New());
    rig.Open(peers.back().wire, peers.back().notes);
  }
  const auto all_speak = [&] {
    for (Rig::Peer& peer : peers) rig.Arrive(peer.wire, "x");
    rig.Settle();
  };
  for (int i = 0; i < 100; ++i) all_speak();  // Quick handlers make the group of handlers large.
  peers[0].notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    rig.os.Advance(absl::Milliseconds(1'400));
  };
  all_speak();
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), 0);
  rig.Advance(absl::Milliseconds(999));
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), 0);
  rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(rig.Closed(CloseReason::kIdle), 3);
}

TEST(LateWorker, AConnectThatTheKernelFinishedInTimeStands) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenConnecting(wire, notes, absl::Seconds(1));
  rig.Settle();
  rig.os.Event(wire, EPOLLOUT);
  rig.Advance(absl::Seconds(2));
  EXPECT_EQ(notes.heard, "O");
  EXPECT_FALSE(wire.closed);
}

TEST(LateWorker, OutputThatMayGoOnIsNotStalled) {
  Rig rig(Timeouts());
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("hello"), Answer::kAccepted);
  rig.Settle();
  rig.Room(wire, 100);
  rig.Advance(absl::Seconds(2));
  EXPECT_EQ(wire.output, "hello");
  EXPECT_NE(notes.reason, CloseReason::kWriteStalled);
}

TEST(LateWorker, LastBytesAfterAHalfCloseAreRead) {
  Options options = Timeouts();
  options.idle_timeout = absl::InfiniteDuration();
  Rig rig(options);
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->CloseWrite();
  rig.Settle();
  rig.Arrive(wire, "x");
  rig.Advance(absl::Seconds(2));
  EXPECT_EQ(notes.data, "x");
  EXPECT_FALSE(wire.closed);
}

TEST(LateWorker, ALingeringPeerThatEndedIsNotLate) {
  Rig rig(Timeouts());
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Close();
  rig.Settle();
  EXPECT_TRUE(wire.fin);
  rig.Arrive(wire, std::string(200'000, 'x'));  // Sent before the FIN; takes several reads.
  rig.Fin(wire);
  rig.Advance(absl::Seconds(2));
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(rig.Closed(CloseReason::kLingered), 0);
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(LateWorker, ALifetimeEndsDespiteEndlessInput) {
  Options options = WireOptions();
  options.lifetime_timeout = absl::Seconds(1);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  notes.on_data = [&, w = &wire](ScriptSession&, Input& in) {
    in.TakeAll();
    rig.Arrive(*w, "x");
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "x");
  for (int i = 0; i < 1'100; ++i) {
    rig.os.Advance(absl::Milliseconds(1));
    rig.Turn();
  }
  EXPECT_EQ(notes.reason, CloseReason::kLifetime);
}

TEST(LateWorker, ASessionTimerRunsAfterInputInTime) {
  std::string order;
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [&](ScriptSession&, Input& in) {
    in.TakeAll();
    order += 'D';
  };
  rig.worker.RunHandler(rig.Open(wire, notes), "test", [n = &notes, &order] {
    n->session->After(absl::Seconds(1), [&order] { order += 'T'; });
  });
  rig.Settle();
  rig.Arrive(wire, "x");
  rig.Advance(absl::Seconds(2));
  rig.Advance(absl::Milliseconds(2));
  EXPECT_EQ(order, "DT");
}

// --- Answers.

struct Ping {
  using Reply = int;
};
struct Do {};

class Answerer : public Actor {
 public:
  void On(Ping, Promise<int> promise) { waiting.push_back(std::move(promise)); }
  std::vector<Promise<int>> waiting;
};
class Asker : public Actor {
 public:
  void On(Do) {
    if (act) act(*this);
  }
  using Actor::Ask;
  std::function<void(Asker&)> act;
};

class LateAnswer : public ::testing::Test {
 protected:
  LateAnswer() : runtime_(SmallOptions(2), os_), step_(runtime_) {}
  ~LateAnswer() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
  }
  template <class A>
  Ref<A> Make(int worker) {
    const Ref<A> ref =
        runtime_.SpawnWith<A>({.name = "", .mailbox_messages_max = 0, .worker = worker});
    step_.Round(2);
    return ref;
  }
  template <class A>
  static A& Of(const Ref<A>& ref) {
    return *static_cast<A*>(ref.slot()->actor);
  }
  void Ask(const Ref<Asker>& asker, const Ref<Answerer>& whom) {
    Of(asker).act = [this, whom](Asker& self) {
      EXPECT_EQ(self.Ask(whom, Ping{}, absl::Seconds(1),
                         [this](absl::StatusOr<int> reply) { order_ += reply.ok() ? 'R' : 'L'; }),
                Answer::kAccepted);
    };
    EXPECT_EQ(asker.TrySend(Do{}), Answer::kAccepted);
    step_.Round(3);
    Of(asker).act = nullptr;
  }

  const LogLevelScope quiet_{LogLevel::kOff};
  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
  std::string order_;
};

TEST_F(LateAnswer, AnAnswerInALaneIsTaken) {
  const auto asker = Make<Asker>(0);
  const auto answerer = Make<Answerer>(1);
  Ask(asker, answerer);
  ASSERT_EQ(Of(answerer).waiting.size(), 1u);
  Of(answerer).waiting[0].Resolve(7);  // From outside the workers: the answer lies in the lane.
  os_.Advance(absl::Seconds(2));
  step_.Round(3);
  EXPECT_EQ(order_, "R");
}

TEST_F(LateAnswer, TakesQueuedAnswersAndRefusesLateOnes) {
  const auto asker = Make<Asker>(0);
  const auto answerer = Make<Answerer>(1);
  Ask(asker, answerer);
  Ask(asker, answerer);
  ASSERT_EQ(Of(answerer).waiting.size(), 2u);
  // More messages than one slice handles, then the first answer; then time passes.
  for (int i = 0; i < 150; ++i) EXPECT_EQ(asker.TrySend(Do{}), Answer::kAccepted);
  Of(answerer).waiting[0].Resolve(7);
  os_.Advance(absl::Seconds(2));
  step_.Turn(0);
  Of(answerer).waiting[1].Resolve(8);
  step_.Round(6);
  EXPECT_EQ(order_, "RL");
  EXPECT_EQ(runtime_.TotalLedger().replies_late, 1);
}

}  // namespace
}  // namespace sluice::testing::late_test
