// Tests of parking, stepped without threads where one interleaving matters.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::park_test {
namespace {

struct Number {
  int value;
};
struct Go {
  int count = 0;
};
struct Big {
  std::string text;
};

// Records the numbers that it gets; the test sets what it does on Go.
class Node : public Actor {
 public:
  explicit Node(std::vector<int>* seen) : seen_(seen) {}
  ~Node() override {
    if (on_gone) on_gone(*this);
  }
  void On(Number number) {
    seen_->push_back(number.value);
    if (on_number) on_number(*this, number.value);
  }
  void On(Big big) { seen_->push_back(static_cast<int>(big.text.size())); }
  void On(Go go) {
    if (on_go) on_go(*this, go.count);
  }
  void OnStop() override {
    if (on_stop) on_stop(*this);
  }
  using Actor::After;
  using Actor::Every;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::Spawn;
  using Actor::SpawnWith;
  using Actor::Stop;
  std::function<void(Node&, int)> on_number;
  std::function<void(Node&, int)> on_go;
  std::function<void(Node&)> on_stop;
  std::function<void(Node&)> on_gone;

 private:
  std::vector<int>* seen_;
};

class Park : public ::testing::Test {
 protected:
  static Options ParkOptions() {
    Options options = SmallOptions(2);
    options.linger_timeout = absl::Milliseconds(50);
    options.outbox_messages_max = 4;
    // The other settings: tests/unit/actor/wait_cycle_test.cc.
    options.on_wait_cycle = OnWaitCycle::kReport;
    return options;
  }
  explicit Park(Options options = ParkOptions()) : runtime_(options), step_(runtime_) {}
  ~Park() override {
    runtime_.Drain(absl::Seconds(5));
    const Ledger ledger = runtime_.TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
    EXPECT_EQ(ledger.held + ledger.parked_held, 0) << ledger.ToString();
  }
  Ref<Node> Make(int worker, uint32_t capacity, std::vector<int>* seen) {
    const Ref<Node> ref = runtime_.SpawnWith<Node>(
        {.name = "", .mailbox_messages_max = capacity, .worker = worker}, seen);
    step_.Round(2);
    return ref;
  }
  static Node& Of(const Ref<Node>& ref) { return *static_cast<Node*>(ref.slot()->actor); }
  // Runs `act` as a handler of the actor.
  void Do(const Ref<Node>& ref, std::function<void(Node&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test", [&] { act(Of(ref)); }));
    worker.Leave();
  }
  Worker& WorkerOf(const Ref<Node>& ref) { return *ref.slot()->worker; }

  Runtime runtime_;
  Stepper step_;
  std::vector<int> seen_a_;
  std::vector<int> seen_b_;
  std::vector<int> seen_c_;
};

TEST_F(Park, MessagesToFullTargetLeaveLaterInOrder) {
  const Ref<Node> a = Make(0, 4, &seen_a_);
  for (int target_worker : {0, 1}) {
    seen_b_.clear();
    const Ref<Node> b = Make(target_worker, 2, &seen_b_);
    Do(a, [&](Node& self) {
      for (int i = 0; i < 6; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
    });
    EXPECT_TRUE(a.slot()->parked);
    EXPECT_TRUE(step_.Until([&] { return seen_b_.size() == 6; }));
    EXPECT_EQ(seen_b_, (std::vector<int>{0, 1, 2, 3, 4, 5}));
    EXPECT_TRUE(step_.Until([&] { return !a.slot()->parked; }));
    EXPECT_EQ(b.slot()->mailbox.FreeCredits(), 2u);
  }
}

TEST_F(Park, SendAnswersOverloadedWhenTheOutboxIsFull) {
  const Ref<Node> a = Make(0, 4, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 1 + 4; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
    Big big{"still here, and longer than a short string"};
    EXPECT_EQ(self.Send(b, std::move(big)), Answer::kOverloaded);
    EXPECT_EQ(big.text, "still here, and longer than a short string");
  });
  EXPECT_TRUE(step_.Until([&] { return seen_b_.size() == 5; }));
}

TEST_F(Park, SendToOneselfNeverParks) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  Do(a, [&](Node& self) {
    EXPECT_EQ(self.Send(self.RefOf(&self), Number{1}), Answer::kAccepted);
    EXPECT_EQ(self.Send(self.RefOf(&self), Number{2}), Answer::kAccepted);
    EXPECT_EQ(self.Send(self.RefOf(&self), Number{3}), Answer::kOverloaded);
  });
  EXPECT_FALSE(a.slot()->parked);
  EXPECT_TRUE(step_.Until([&] { return seen_a_.size() == 2; }));
}

TEST_F(Park, SelfSendIsAcceptedWhileTheOutboxWaits) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
    EXPECT_EQ(self.Send(self.RefOf(&self), Number{1}), Answer::kAccepted);
  });
  EXPECT_TRUE(step_.Until([&] { return seen_a_.size() == 1; }));
  EXPECT_EQ(seen_b_.size(), 3u);  // The sender ran only after all three had left.
}

TEST_F(Park, TrySendDoesNotOvertakeTheOutbox) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  const Ref<Node> c = Make(1, 8, &seen_c_);
  Do(a, [&](Node& self) {
    EXPECT_EQ(self.Send(b, Number{0}), Answer::kAccepted);
    EXPECT_EQ(self.Send(b, Number{1}), Answer::kAccepted);
    EXPECT_EQ(self.Send(c, Number{2}), Answer::kAccepted);  // Waits behind the message to b.
    EXPECT_EQ(c.TrySend(Number{3}), Answer::kFull);
    EXPECT_EQ(a.TrySend(Number{4}), Answer::kAccepted);
  });
  EXPECT_TRUE(seen_c_.empty());
  EXPECT_TRUE(step_.Until([&] { return seen_a_.size() == 1 && seen_c_.size() == 1; }));
}

TEST_F(Park, GrantsGoToWaitersInTheirOrder) {
  const Ref<Node> target = Make(0, 1, &seen_a_);
  std::vector<int> none;
  std::vector<Ref<Node>> senders;
  EXPECT_EQ(target.TrySend(Number{-1}), Answer::kAccepted);
  for (int i = 0; i < 5; ++i) {
    senders.push_back(
        runtime_.SpawnWith<Node>({.name = "", .mailbox_messages_max = 4, .worker = 1}, &none));
  }
  step_.Turn(1);
  for (int i = 0; i < 5; ++i) {
    Do(senders[i], [&](Node& self) { EXPECT_EQ(self.Send(target, Number{i}), Answer::kAccepted); });
  }
  EXPECT_TRUE(step_.Until([&] { return seen_a_.size() == 6; }));
  EXPECT_EQ(seen_a_, (std::vector<int>{-1, 0, 1, 2, 3, 4}));
}

TEST_F(Park, AnEndedTargetFreesTheParkedSender) {
  for (int target_worker : {0, 1}) {
    const Ref<Node> a = Make(0, 2, &seen_a_);
    const Ref<Node> b = Make(target_worker, 1, &seen_b_);
    Do(a, [&](Node& self) {
      for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
    });
    EXPECT_TRUE(a.slot()->parked);
    b.Stop();
    EXPECT_TRUE(step_.Until([&] { return !a.slot()->parked; }));
    EXPECT_EQ(b.TrySend(Number{9}), Answer::kClosed);
  }
}

TEST_F(Park, AStoppingParentFreesItsParkedChild) {
  const Ref<Node> parent = Make(0, 1, &seen_a_);
  std::vector<int> child_seen;
  Ref<Node> child;
  Do(parent, [&](Node& self) {
    child = self.SpawnWith<Node>({.name = "", .mailbox_messages_max = 4, .worker = 1}, &child_seen);
  });
  step_.Round(2);
  EXPECT_EQ(parent.TrySend(Number{0}), Answer::kAccepted);
  // The child's stop is queued behind its parking: the child may end only when it is notified that
  // its parent is closed.
  Do(child, [&](Node& self) { EXPECT_EQ(self.Send(parent, Number{1}), Answer::kAccepted); });
  parent.Stop();
  step_.Round(8);  // Takes far less time than linger_timeout.
  EXPECT_EQ(runtime_.ActorCount(), 0);
}

TEST_F(Park, MessagesOfADestructorLeaveWhenRoomAppears) {
  const Ref<Node> a = Make(0, 1, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  Of(a).on_gone = [&](Node& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  };
  a.Stop();
  step_.Round(8);  // Takes far less time than linger_timeout.
  EXPECT_EQ(seen_b_, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(runtime_.ActorCount(), 1);
}

TEST_F(Park, EndedWaiterLingersThenItsMessagesAreDropped) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> c = Make(0, 1, &seen_c_);
  const Ref<Node> b = Make(1, 2, &seen_b_);
  // b is parked on c for ever, as c does not run: c is parked on b.
  Do(b, [&](Node& self) {
    EXPECT_EQ(self.Send(c, Number{1}), Answer::kAccepted);
    EXPECT_EQ(self.Send(c, Number{2}), Answer::kAccepted);
  });
  Do(c, [&](Node& self) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(self.Send(b, Number{10 + i}), Answer::kAccepted);
  });
  Do(a, [&](Node& self) { EXPECT_EQ(self.Send(b, Number{20}), Answer::kAccepted); });
  step_.Round(4);
  EXPECT_TRUE(a.slot()->parked);
  EXPECT_TRUE(b.slot()->parked);
  EXPECT_TRUE(c.slot()->parked);
  a.Stop();
  const uint32_t generation = a.generation();
  EXPECT_TRUE(step_.Until([&] { return a.slot()->generation != generation; }));
  EXPECT_EQ(runtime_.TotalLedger().parked_dropped[static_cast<int>(DropReason::kSenderEnded)], 1);
  // b and c are left, a cycle of two: one ends, and the other goes on.
  c.Stop();
  EXPECT_TRUE(
      step_.Until([&] { return !b.slot()->parked && b.slot()->mailbox.FreeCredits() == 2; }));
}

TEST_F(Park, AParkedActorGrantsTheFewCreditsItHas) {
  // a and b send to each other. When a parks on b, a has handled one of eight messages, less than
  // half; b waits for a. This is no deadlock: a has a credit to give.
  const Ref<Node> a = Make(0, 8, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  for (int i = 0; i < 8; ++i) {
    Do(b, [&](Node& self) { EXPECT_EQ(self.Send(a, Number{i}), Answer::kAccepted); });
  }
  EXPECT_EQ(b.TrySend(Number{100}), Answer::kAccepted);
  Of(a).on_number = [&](Node& self, int value) {
    if (value != 0) return;
    EXPECT_EQ(self.Send(b, Number{101}), Answer::kAccepted);
  };
  Do(b, [&](Node& self) { EXPECT_EQ(self.Send(a, Number{8}), Answer::kAccepted); });
  EXPECT_TRUE(step_.Until([&] { return seen_a_.size() == 9 && seen_b_.size() == 2; }, 5));
  EXPECT_EQ(runtime_.WaitCyclesFound(), 0);
}

TEST_F(Park, CreditsThatAWaiterLeavesReturnToAll) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 8, &seen_b_);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(b.TrySend(Number{i}), Answer::kAccepted);
  Do(a, [&](Node& self) { EXPECT_EQ(self.Send(b, Number{8}), Answer::kAccepted); });
  // b handles all messages before the wish for a credit, which is on its way, arrives.
  step_.Turn(1);
  step_.Turn(0);
  // b takes all free credits back for the waiter, which needs one. Of the other seven, two are b's
  // reserve and five are free.
  step_.Turn(1);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(b.TrySend(Number{i}), Answer::kAccepted) << i;
  EXPECT_TRUE(step_.Until([&] { return seen_b_.size() == 14; }));
}

TEST_F(Park, TimerDueWhileParkedRunsOnceAfterwards) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 1, &seen_b_);
  int once = 0, every = 0;
  Do(a, [&](Node& self) {
    self.After(absl::Milliseconds(1), [&] { ++once; });
    self.Every(absl::Milliseconds(1), [&] { ++every; });
    for (int i = 0; i < 2; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  ASSERT_TRUE(a.slot()->parked);
  const int64_t start_ms = runtime_.worker(0).NowMs();
  while (runtime_.worker(0).NowMs() < start_ms + 20) step_.Turn(0);
  EXPECT_EQ(once + every, 0);
  while (a.slot()->parked) {
    step_.Turn(1);
    EXPECT_EQ(once + every, 0);
    step_.Turn(0);
  }
  EXPECT_EQ(once, 1);
  EXPECT_EQ(every, 1);
  a.Stop();  // Ends the actor before the variables that its timers count in are gone.
  EXPECT_TRUE(step_.Until([&] { return a.slot()->generation != a.generation(); }));
}

TEST_F(Park, SendBeforeAPlacedActorsConstructorIsAccepted) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  Ref<Node> born;
  Do(a, [&](Node& self) {
    // Placed here through the runtime: its constructor runs later, on this very worker.
    born = runtime_.SpawnWith<Node>({.name = "", .mailbox_messages_max = 2, .worker = 0}, &seen_b_);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(self.Send(born, Number{i}), Answer::kAccepted);
  });
  EXPECT_TRUE(step_.Until([&] { return seen_b_.size() == 4; }));
  step_.Round(2);
  EXPECT_EQ(born.slot()->mailbox.FreeCredits(), 2u);
}

class ParkLane : public Park, public ::testing::WithParamInterface<int> {
 protected:
  static Options LaneOptions(int lane) {
    Options options = ParkOptions();
    options.outbox_messages_max = 64;
    options.lane_messages_max = static_cast<uint32_t>(lane);
    return options;
  }
  ParkLane() : Park(LaneOptions(GetParam())) {}
};

TEST_P(ParkLane, FullLaneParksAndKeepsOrderAndCredits) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> a2 = Make(0, 2, &seen_c_);
  const Ref<Node> b = Make(1, 16, &seen_b_);
  Do(a, [&](Node& self) {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  Do(a2, [&](Node& self) {
    for (int i = 100; i < 120; ++i) EXPECT_EQ(self.Send(b, Number{i}), Answer::kAccepted);
  });
  EXPECT_TRUE(step_.Until([&] { return seen_b_.size() == 40; }));
  for (int base : {0, 100}) {
    int next = base;
    for (int value : seen_b_) {
      if (value >= base && value < base + 20) {
        EXPECT_EQ(value, next++);
      }
    }
  }
  step_.Round(4);
  EXPECT_FALSE(a.slot()->parked || a2.slot()->parked);
  EXPECT_EQ(b.slot()->mailbox.FreeCredits(), 16u);
}
INSTANTIATE_TEST_SUITE_P(Lanes, ParkLane, ::testing::Values(1, 2, 3, 4));

class ParkMemory : public Park {
 protected:
  static Options MemoryOptions() {
    Options options = ParkOptions();
    options.memory_bytes_max = 4 * 1024 * 1024;
    options.outbox_messages_max = 64;
    return options;
  }
  ParkMemory() : Park(MemoryOptions()) {}
};

TEST_F(ParkMemory, SpentMemoryRefusesTrySendAndParksSend) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 64, &seen_b_);
  const std::string text(400'000, 'x');
  Do(a, [&](Node& self) {
    int accepted = 0;
    while (b.TrySend(Big{text}) == Answer::kAccepted) ++accepted;
    EXPECT_GT(accepted, 5);
    EXPECT_EQ(b.TrySend(Big{text}), Answer::kOverloaded);
    // Fills the overdraft; the last message waits for memory.
    int more = 0;
    while (self.Send(b, Big{std::string(100'000, 'x')}) == Answer::kAccepted) ++more;
    EXPECT_GT(more, 0);
    EXPECT_LT(more, 10);
  });
  EXPECT_TRUE(a.slot()->parked);
  EXPECT_TRUE(
      step_.Until([&] { return !a.slot()->parked && b.slot()->mailbox.FreeCredits() == 64; }));
  EXPECT_EQ(b.TrySend(Big{text}), Answer::kAccepted);
}

TEST_F(ParkMemory, AMessageLargerThanTheBudgetIsRefused) {
  const Ref<Node> a = Make(0, 2, &seen_a_);
  const Ref<Node> b = Make(1, 4, &seen_b_);
  Do(a, [&](Node& self) {
    Big big{std::string(5'000'000, 'x')};
    EXPECT_EQ(self.Send(b, std::move(big)), Answer::kTooLarge);
    EXPECT_EQ(big.text.size(), 5'000'000u);
  });
  EXPECT_FALSE(a.slot()->parked);
}

// --- Constructors and destructors send, too (law L2).

// Sends to a full target, then to another: the later message waits behind the earlier one.
class Writer : public Actor {
 public:
  Writer(Ref<Node> full, Ref<Node> other, bool at_end)
      : full_(full), other_(other), at_end_(at_end) {
    if (!at_end_) SendAll();
  }
  ~Writer() override {
    if (at_end_) SendAll();
  }
  void On(Go) {}
  static inline Answer answer = Answer::kAccepted;

 private:
  void SendAll() {
    EXPECT_EQ(Send(full_, Number{1}), Answer::kAccepted);
    EXPECT_EQ(Send(full_, Number{2}), Answer::kAccepted);
    EXPECT_EQ(Send(other_, Number{3}), Answer::kAccepted);
    answer = other_.TrySend(Number{4});
  }
  const Ref<Node> full_;
  const Ref<Node> other_;
  const bool at_end_;
};

TEST_F(Park, TrySendInConstructorsAndDestructorsKeepsOrder) {
  const Ref<Node> full = Make(0, 1, &seen_a_);
  const Ref<Node> other = Make(0, 4, &seen_b_);
  const Ref<Node> parent = Make(0, 4, &seen_c_);
  for (const bool at_end : {false, true}) {
    for (const bool child : {false, true}) {
      SCOPED_TRACE(at_end ? "in the destructor" : "in the constructor");
      SCOPED_TRACE(child ? "of a child" : "of a root");
      Writer::answer = Answer::kAccepted;
      Ref<Writer> writer;
      if (child) {
        Do(parent, [&](Node& self) { writer = self.Spawn<Writer>(full, other, at_end); });
      } else {
        writer = runtime_.SpawnWith<Writer>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                            full, other, at_end);
      }
      step_.Round(3);
      writer.Stop();
      step_.Round(5);
      EXPECT_EQ(Writer::answer, Answer::kFull);
      EXPECT_EQ(std::exchange(seen_a_, {}), (std::vector<int>{1, 2}));
      EXPECT_EQ(std::exchange(seen_b_, {}), (std::vector<int>{3}));
    }
  }
}

}  // namespace
}  // namespace sluice::testing::park_test
