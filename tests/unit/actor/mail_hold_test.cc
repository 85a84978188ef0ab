// Tests of held mail: while an actor has a hold its messages wait, in order, and nothing else does.
#include "sluice/core/actor/mail_hold.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::mail_hold_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

struct Note {
  int value = 0;
};
struct Question {
  using Reply = int;
};
struct Kept {
  using Reply = int;
};
struct Do {
  std::function<void(class Holder&)>* act;
};
struct Fail {};

// What a test sees of its actors. All of them run on the test's thread.
struct Seen {
  std::vector<std::string> lines;
  std::function<void(class Holder&)> in_constructor;
  std::function<void(class Holder&)> on_start;
  std::vector<MailHold> kept;
  void Add(std::string line) { lines.push_back(std::move(line)); }
  std::string Text() const { return absl::StrJoin(lines, " "); }
};

class Holder : public Actor {
 public:
  explicit Holder(Seen* seen) : seen_(*seen) {
    if (seen_.in_constructor) seen_.in_constructor(*this);
  }
  void OnStart() override {
    if (seen_.on_start) seen_.on_start(*this);
  }
  void OnDown(const Down&) override { seen_.Add("down"); }
  void On(Note note) { seen_.Add(std::to_string(note.value)); }
  int On(Question) { return 7; }
  void On(Kept, Promise<int> promise) { promises.push_back(std::move(promise)); }
  void On(Do order) { (*order.act)(*this); }
  void On(Fail) {
    hold = HoldMail();
    throw std::runtime_error("boom");
  }
  Task<> Sleeps() {
    const MailHold mine = HoldMail();
    co_await Sleep(absl::Milliseconds(5));
    seen_.Add("slept");
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::HoldMail;
  using Actor::Monitor;
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::Send;
  using Actor::SetName;
  using Actor::Spawn;
  using Actor::StartTask;
  using Actor::Stop;
  MailHold hold;
  std::vector<Promise<int>> promises;

 private:
  Seen& seen_;
};

class MailHolds : public ::testing::Test {
 protected:
  explicit MailHolds(int workers = 2) : runtime_(SmallOptions(workers), os_), step_(runtime_) {}
  ~MailHolds() override {
    os_.runs = true;
    runtime_.Drain(kLong);
    EXPECT_EQ(runtime_.ActorCount(), 0);
    const Ledger ledger = runtime_.TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
    EXPECT_EQ(ledger.held, 0) << ledger.ToString();
  }
  static SpawnOptions On(int worker, uint32_t mailbox = 0) {
    return {.name = "", .mailbox_messages_max = mailbox, .worker = worker};
  }
  Ref<Holder> Make(int worker = 0, uint32_t mailbox = 0) {
    const Ref<Holder> made = runtime_.SpawnWith<Holder>(On(worker, mailbox), &seen_);
    step_.Round(2);
    return made;
  }
  // Runs `act` in a handler of the actor.
  void InHandler(const Ref<Holder>& ref, std::function<void(Holder&)> act) {
    std::function<void(Holder&)> order = std::move(act);
    ASSERT_EQ(ref.TrySend(Do{&order}), Answer::kAccepted);
    step_.Round(2);
  }
  void Send(const Ref<Holder>& ref, int from, int to) {
    for (int i = from; i <= to; ++i) ASSERT_EQ(ref.TrySend(Note{i}), Answer::kAccepted);
    step_.Round(2);
  }
  void Passes(absl::Duration time) {
    os_.Advance(time);
    step_.Round(3);
  }
  int64_t Dropped(DropReason reason) {
    return runtime_.TotalLedger().dropped[static_cast<size_t>(reason)];
  }

  ClockOs os_;
  Seen seen_;
  Runtime runtime_;
  Stepper step_;
};

TEST_F(MailHolds, MessagesWaitInOrderUntilTheHoldEnds) {
  const Ref<Holder> actor = Make();
  InHandler(actor, [](Holder& self) { self.hold = self.HoldMail(); });
  Send(actor, 1, 3);
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_EQ(runtime_.TotalLedger().held, 3);
  // Released with two messages behind those that were set aside.
  Holder& self = *static_cast<Holder*>(actor.slot()->actor);
  ASSERT_EQ(actor.TrySend(Note{4}), Answer::kAccepted);
  ASSERT_EQ(actor.TrySend(Note{5}), Answer::kAccepted);
  self.hold.Release();
  self.hold.Release();
  EXPECT_FALSE(self.hold.Holds());
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "1 2 3 4 5");
}

TEST_F(MailHolds, TheHandlerThatHoldsIsTheLast) {
  const Ref<Holder> actor = Make();
  std::function<void(Holder&)> order = [](Holder& self) { self.hold = self.HoldMail(); };
  ASSERT_EQ(actor.TrySend(Note{1}), Answer::kAccepted);
  ASSERT_EQ(actor.TrySend(Do{&order}), Answer::kAccepted);
  Send(actor, 2, 2);
  EXPECT_EQ(seen_.Text(), "1");
  static_cast<Holder*>(actor.slot()->actor)->hold = MailHold();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "1 2");
}

TEST_F(MailHolds, AHoldThatEndsInItsHandlerHoldsNothing) {
  const Ref<Holder> actor = Make();
  std::function<void(Holder&)> order = [](Holder& self) { const MailHold brief = self.HoldMail(); };
  ASSERT_EQ(actor.TrySend(Do{&order}), Answer::kAccepted);
  Send(actor, 1, 2);
  EXPECT_EQ(seen_.Text(), "1 2");
}

TEST_F(MailHolds, TheLastOfSeveralHoldsLetsMessagesThrough) {
  const Ref<Holder> actor = Make();
  InHandler(actor, [this](Holder& self) {
    seen_.kept.push_back(self.HoldMail());
    seen_.kept.push_back(self.HoldMail());
  });
  Send(actor, 1, 1);
  seen_.kept[0] = std::move(seen_.kept[1]);
  EXPECT_FALSE(seen_.kept[1].Holds());
  seen_.kept[1].Release();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_TRUE(seen_.kept[0].Holds());
  seen_.kept.clear();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "1");
}

TEST_F(MailHolds, RepliesDownsTimersAndTasksGoOn) {
  const Ref<Holder> actor = Make();
  const Ref<Holder> other = Make(1);
  InHandler(actor, [&](Holder& self) {
    self.hold = self.HoldMail();
    EXPECT_NE(self.Monitor(other), 0u);
    (void)self.Ask(other, Question{}, kLong,
                   [this](const absl::StatusOr<int>& r) { seen_.Add(absl::StrCat("r", *r)); });
    (void)self.Ask(other, Kept{}, absl::Milliseconds(5), [this](const absl::StatusOr<int>& r) {
      seen_.Add(absl::StatusCodeToString(r.status().code()));
    });
    (void)self.After(absl::Milliseconds(2), [this] { seen_.Add("timer"); });
    self.StartTask(self.Sleeps());
  });
  Send(actor, 1, 2);
  step_.Round(3);
  EXPECT_EQ(seen_.Text(), "r7");
  Passes(absl::Milliseconds(3));
  EXPECT_EQ(seen_.Text(), "r7 timer");
  Passes(absl::Milliseconds(10));
  EXPECT_EQ(seen_.Text(), "r7 timer DEADLINE_EXCEEDED slept");
  other.Stop();
  step_.Round(4);
  EXPECT_EQ(seen_.Text(), "r7 timer DEADLINE_EXCEEDED slept down");
  static_cast<Holder*>(actor.slot()->actor)->hold.Release();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "r7 timer DEADLINE_EXCEEDED slept down 1 2");
}

TEST_F(MailHolds, AHoldMayEndInATimerInATaskAndInAReply) {
  const Ref<Holder> actor = Make();
  const Ref<Holder> other = Make(1);
  InHandler(actor, [](Holder& self) {
    (void)self.After(absl::Milliseconds(2), [hold = self.HoldMail()] {});
  });
  Send(actor, 1, 1);
  EXPECT_EQ(seen_.Text(), "");
  Passes(absl::Milliseconds(3));
  EXPECT_EQ(seen_.Text(), "1");
  InHandler(actor, [](Holder& self) { self.StartTask(self.Sleeps()); });
  Send(actor, 2, 2);
  Passes(absl::Milliseconds(6));
  EXPECT_EQ(seen_.Text(), "1 slept 2");
  std::function<void(Holder&)> asks = [&](Holder& self) {
    (void)self.Ask(other, Question{}, kLong,
                   [this, hold = self.HoldMail()](const absl::StatusOr<int>&) mutable {
                     hold.Release();
                     seen_.Add("answered");
                   });
  };
  ASSERT_EQ(actor.TrySend(Do{&asks}), Answer::kAccepted);
  Send(actor, 3, 3);
  step_.Round(4);
  EXPECT_EQ(seen_.Text(), "1 slept 2 answered 3");
}

TEST_F(MailHolds, AHoldMayEndInAHandlerOfAnotherActor) {
  const Ref<Holder> actor = Make();
  const Ref<Holder> other = Make();
  InHandler(actor, [this](Holder& self) { seen_.kept.push_back(self.HoldMail()); });
  Send(actor, 1, 2);
  InHandler(other, [this](Holder&) {
    seen_.kept.clear();
    seen_.Add("released");
  });
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "released 1 2");
}

TEST_F(MailHolds, AHoldOfTheConstructorOrOfOnStartHolds) {
  seen_.in_constructor = [](Holder& self) { self.hold = self.HoldMail(); };
  const Ref<Holder> early = Make();
  seen_.in_constructor = nullptr;
  seen_.on_start = [](Holder& self) { self.hold = self.HoldMail(); };
  const Ref<Holder> later = Make(1);
  Send(early, 1, 2);
  Send(later, 3, 4);
  EXPECT_EQ(seen_.Text(), "");
  static_cast<Holder*>(early.slot()->actor)->hold.Release();
  step_.Round(2);
  static_cast<Holder*>(later.slot()->actor)->hold.Release();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "1 2 3 4");
}

TEST_F(MailHolds, AnActorThatEndsDropsAndCountsWhatWaits) {
  const Ref<Holder> parent = Make();
  Ref<Holder> actor;
  Ref<Holder> next;
  InHandler(parent, [&](Holder& self) { actor = self.Spawn<Holder>(&seen_); });
  InHandler(actor, [this](Holder& self) { seen_.kept.push_back(self.HoldMail()); });
  Send(actor, 1, 100);
  EXPECT_EQ(runtime_.TotalLedger().held, 100);
  actor.Stop();
  step_.Round(6);
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_EQ(Dropped(DropReason::kTargetEnded), 100);
  EXPECT_EQ(runtime_.TotalLedger().held, 0);
  EXPECT_FALSE(seen_.kept[0].Holds());
  // The next actor of the slot does not hear of the old hold.
  InHandler(parent, [&](Holder& self) { next = self.Spawn<Holder>(&seen_); });
  ASSERT_EQ(next.slot(), actor.slot());
  InHandler(next, [](Holder& self) { self.hold = self.HoldMail(); });
  Send(next, 1, 1);
  seen_.kept.clear();
  step_.Round(2);
  EXPECT_EQ(seen_.Text(), "");
}

TEST_F(MailHolds, AnActorWithoutMailboxTakesNoHold) {
  struct Late : Holder {
    using Holder::Holder;
    void OnStop() override { late.push_back(HoldMail()); }
    ~Late() override { late.push_back(HoldMail()); }
    std::vector<MailHold> late;
  };
  const Ref<Late> actor = runtime_.SpawnWith<Late>(On(0), &seen_);
  step_.Round(2);
  actor.Stop();
  step_.Round(4);
  EXPECT_EQ(runtime_.ActorCount(), 0);
}

TEST_F(MailHolds, ARestartKeepsWhatWaitsAndEndsTheHold) {
  const Ref<Holder> actor =
      runtime_.SpawnRestarting<Holder>({.backoff_min = absl::ZeroDuration()}, On(0), &seen_);
  step_.Round(2);
  InHandler(actor, [this](Holder& self) {
    seen_.kept.push_back(self.HoldMail());
    (void)self.After(absl::Milliseconds(1), [] { throw std::runtime_error("in a timer"); });
  });
  Send(actor, 1, 3);
  EXPECT_EQ(seen_.Text(), "");
  Passes(absl::Milliseconds(2));
  EXPECT_EQ(seen_.Text(), "1 2 3");
  EXPECT_EQ(runtime_.TotalLedger().restarted, 1);
  // The hold of the failed instance does not release the new one's.
  EXPECT_FALSE(seen_.kept[0].Holds());
  InHandler(actor, [](Holder& self) { self.hold = self.HoldMail(); });
  seen_.kept.clear();
  Send(actor, 4, 4);
  EXPECT_EQ(seen_.Text(), "1 2 3");
}

TEST_F(MailHolds, AHandlerThatThrowsWhileItHoldsLeavesNoHold) {
  const Ref<Holder> actor =
      runtime_.SpawnRestarting<Holder>({.backoff_min = absl::ZeroDuration()}, On(0), &seen_);
  step_.Round(2);
  ASSERT_EQ(actor.TrySend(Fail{}), Answer::kAccepted);
  Send(actor, 1, 2);
  step_.Round(3);
  EXPECT_EQ(seen_.Text(), "1 2");
  const Ref<Holder> mortal = Make(1);
  ASSERT_EQ(mortal.TrySend(Fail{}), Answer::kAccepted);
  ASSERT_EQ(mortal.TrySend(Note{3}), Answer::kAccepted);
  step_.Round(6);
  EXPECT_EQ(Dropped(DropReason::kTargetEnded), 1);
}

TEST_F(MailHolds, AMailboxOfOneParksItsSenderUntilTheHoldEnds) {
  const Ref<Holder> actor = Make(0, 1);
  const Ref<Holder> sender = Make(1);
  InHandler(actor, [](Holder& self) { self.hold = self.HoldMail(); });
  InHandler(sender, [&](Holder& self) {
    for (int i = 1; i <= 5; ++i) EXPECT_EQ(self.Send(actor, Note{i}), Answer::kAccepted);
  });
  step_.Round(4);
  EXPECT_TRUE(sender.slot()->parked);
  EXPECT_EQ(actor.TrySend(Note{9}), Answer::kFull);
  EXPECT_EQ(seen_.Text(), "");
  static_cast<Holder*>(actor.slot()->actor)->hold.Release();
  step_.Round(30);
  EXPECT_EQ(seen_.Text(), "1 2 3 4 5");
  EXPECT_FALSE(sender.slot()->parked);
}

// Half of a mailbox is free before its owner grants credits, as more will soon be. Here none will.
TEST_F(MailHolds, WhatIsFreeIsGrantedAtOnceWhileMailIsHeld) {
  const Ref<Holder> actor = Make(0, 8);
  const Ref<Holder> sender = Make(1);
  std::function<void(Holder&)> holds = [](Holder& self) { self.hold = self.HoldMail(); };
  std::function<void(Holder&)> sends = [&](Holder& self) {
    EXPECT_EQ(self.Send(actor, Note{8}), Answer::kAccepted);
  };
  ASSERT_EQ(actor.TrySend(Note{1}), Answer::kAccepted);
  ASSERT_EQ(actor.TrySend(Do{&holds}), Answer::kAccepted);
  for (int i = 2; i <= 7; ++i) ASSERT_EQ(actor.TrySend(Note{i}), Answer::kAccepted);
  ASSERT_EQ(sender.TrySend(Do{&sends}), Answer::kAccepted);
  step_.Turn(1);
  ASSERT_TRUE(sender.slot()->parked);
  step_.Round(4);
  EXPECT_EQ(seen_.Text(), "1");
  EXPECT_FALSE(sender.slot()->parked);
}

TEST_F(MailHolds, TheDumpSaysWhoHoldsItsMailSinceWhen) {
  const Ref<Holder> actor = Make();
  InHandler(actor, [](Holder& self) {
    self.SetName("clerk");
    self.hold = self.HoldMail();
  });
  Send(actor, 1, 3);
  Passes(absl::Milliseconds(1'200));
  EXPECT_NE(runtime_.Dump().find("clerk holds its mail for 1200 ms (1 hold), and 3 messages wait"),
            std::string::npos)
      << runtime_.Dump();
}

// A sender that is parked at an actor that holds its mail and waits for this very sender: no cycle
// of parked actors, so the question's deadline ends it.
TEST_F(MailHolds, TheDeadlineOfAQuestionEndsAWaitForAParkedSender) {
  const Ref<Holder> actor = Make(0, 1);
  const Ref<Holder> sender = Make(1);
  std::function<void(Holder&)> asks = [&](Holder& self) {
    (void)self.Ask(sender, Question{}, absl::Milliseconds(50),
                   [this, hold = self.HoldMail()](const absl::StatusOr<int>& r) {
                     seen_.Add(absl::StatusCodeToString(r.status().code()));
                   });
  };
  std::function<void(Holder&)> sends = [&](Holder& self) {
    for (int i = 1; i <= 4; ++i) EXPECT_EQ(self.Send(actor, Note{i}), Answer::kAccepted);
  };
  ASSERT_EQ(actor.TrySend(Do{&asks}), Answer::kAccepted);
  ASSERT_EQ(sender.TrySend(Do{&sends}), Answer::kAccepted);
  step_.Turn(1);
  ASSERT_TRUE(sender.slot()->parked);
  step_.Round(10);
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_TRUE(sender.slot()->parked);
  Passes(absl::Milliseconds(60));
  step_.Round(20);
  EXPECT_EQ(seen_.Text(), "DEADLINE_EXCEEDED 1 2 3 4");
  EXPECT_FALSE(sender.slot()->parked);
  EXPECT_EQ(runtime_.WaitCyclesFound(), 0);
}

// A holder that is itself parked is a part of the cycle, as any parked actor.
TEST_F(MailHolds, ACycleOfParkedActorsIsFoundThoughOneHoldsItsMail) {
  const Ref<Holder> actor = Make(0, 1);
  const Ref<Holder> other = Make(1, 1);
  std::function<void(Holder&)> holds = [&](Holder& self) {
    self.hold = self.HoldMail();
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(self.Send(other, Note{i}), Answer::kAccepted);
  };
  std::function<void(Holder&)> sends = [&](Holder& self) {
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(self.Send(actor, Note{i}), Answer::kAccepted);
  };
  ASSERT_EQ(actor.TrySend(Do{&holds}), Answer::kAccepted);
  ASSERT_EQ(other.TrySend(Do{&sends}), Answer::kAccepted);
  step_.Round(4);
  ASSERT_TRUE(actor.slot()->parked && other.slot()->parked);
  for (int i = 0; i < 20; ++i) Passes(absl::Milliseconds(100));
  EXPECT_GE(runtime_.WaitCyclesFound(), 1);
  EXPECT_FALSE(actor.slot()->parked);
}

// --- The drain.

TEST_F(MailHolds, ADrainWaitsForTheHoldAndForWhatItHolds) {
  const Ref<Holder> actor = Make();
  InHandler(actor,
            [](Holder& self) { (void)self.After(absl::Seconds(2), [hold = self.HoldMail()] {}); });
  Send(actor, 1, 3);
  os_.runs = true;
  runtime_.Drain(kLong);
  EXPECT_EQ(seen_.Text(), "1 2 3");
}

// Its last words make another actor hold its mail.
struct Late : Actor {
  Late(std::function<void(Holder&)>* order, const Ref<Holder>* to) : order_(order), to_(*to) {}
  void OnStop() override {
    EXPECT_EQ(Send(to_, Do{order_}), Answer::kAccepted);
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(Send(to_, Note{i}), Answer::kAccepted);
  }
  std::function<void(Holder&)>* const order_;
  const Ref<Holder>& to_;
};
void WorksLong(Holder& self) {
  (void)self.After(absl::Seconds(10), [hold = self.HoldMail()] {});
}

// The order to stop stands in the mailbox, behind the last words.
TEST_F(MailHolds, ADrainStopsAnActorBehindWhatItHolds) {
  std::function<void(Holder&)> works = &WorksLong;
  Ref<Holder> actor;
  const Ref<Late> late = runtime_.SpawnWith<Late>(On(0), &works, &actor);
  actor = Make();
  ASSERT_LT(late.slot()->id, actor.slot()->id);  // Stopped first.
  os_.runs = true;
  runtime_.Drain(kLong);
  EXPECT_EQ(seen_.Text(), "1 2 3");
}

// The order to stop comes when the mail is held. Children stop one after the other, the youngest
// first.
TEST_F(MailHolds, ADrainLetsAChildEndTheWorkThatItHoldsItsMailFor) {
  std::function<void(Holder&)> works = &WorksLong;
  Ref<Holder> actor;
  const Ref<Holder> parent = Make();
  InHandler(parent, [&](Holder& self) {
    actor = self.Spawn<Holder>(&seen_);
    (void)self.Spawn<Late>(&works, &actor);
  });
  os_.runs = true;
  runtime_.Drain(kLong);
  EXPECT_EQ(seen_.Text(), "1 2 3");
}

TEST_F(MailHolds, ADrainEndsAHoldThatIsNeverReleasedAtItsDeadline) {
  const Ref<Holder> actor = Make();
  InHandler(actor, [](Holder& self) { self.hold = self.HoldMail(); });
  Send(actor, 1, 3);
  os_.runs = true;
  const int64_t begun_ns = os_.NowNs();
  runtime_.Drain(absl::Seconds(4));
  EXPECT_GE(os_.NowNs() - begun_ns, 4'000'000'000);
  EXPECT_EQ(seen_.Text(), "");
  EXPECT_EQ(Dropped(DropReason::kShutdown), 3);
}

// --- Threads.

TEST(MailHoldThreads, AHoldInABlockingCallbackMakesAWorkerWithoutAQueueOfItsOwn) {
  struct Job {
    int number = 0;
  };
  struct Clerk : Actor {
    Clerk(std::atomic<int>* at_work, std::atomic<int>* most, std::vector<int>* done)
        : at_work_(*at_work), most_(*most), done_(*done) {}
    void On(Job job) {
      (void)RunBlocking(
          [this_work = &at_work_, most = &most_, job] {
            const int now = ++*this_work;
            if (now > *most) *most = now;
            std::this_thread::yield();
            --*this_work;
            return job.number;
          },
          [this, hold = HoldMail()](const absl::StatusOr<int>& number) {
            done_.push_back(number.value_or(-1));
          });
    }
    std::atomic<int>& at_work_;
    std::atomic<int>& most_;
    std::vector<int>& done_;
  };
  struct Flood : Actor {
    Flood(Ref<Clerk> clerk, int first) : clerk_(clerk), first_(first) {}
    void OnStart() override {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(Send(clerk_, Job{first_ + i}), Answer::kAccepted);
    }
    const Ref<Clerk> clerk_;
    const int first_;
  };
  std::atomic<int> at_work{0};
  std::atomic<int> most{0};
  std::vector<int> done;
  Runtime runtime(SmallOptions(2));
  const Ref<Clerk> clerk = runtime.SpawnWith<Clerk>(
      {.name = "", .mailbox_messages_max = 4, .worker = 0}, &at_work, &most, &done);
  for (int i = 0; i < 3; ++i) {
    runtime.SpawnWith<Flood>({.name = "", .mailbox_messages_max = 0, .worker = 1}, clerk,
                             1'000 * i);
  }
  ASSERT_TRUE(runtime.Start().ok());
  runtime.Drain(absl::Seconds(60));  // Waits for parked senders, for holds, and for the pool.
  ASSERT_EQ(done.size(), 600u);
  EXPECT_EQ(most, 1);
  std::vector<int> last(3, -1);
  for (const int number : done) {
    int& before = last[static_cast<size_t>(number / 1'000)];
    EXPECT_EQ(number % 1'000, before + 1);
    before = number % 1'000;
  }
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
}

TEST(MailHoldThreads, TheEndOfAHoldOnAnotherThreadNamesTheActor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  struct Careless : Actor {
    void OnStart() override {
      SetName("careless");
      (void)RunBlocking([hold = std::make_shared<MailHold>(HoldMail())] { hold->Release(); },
                        [](const absl::Status&) {});
    }
  };
  EXPECT_DEATH(
      {
        Runtime runtime(SmallOptions(1));
        runtime.Spawn<Careless>();
        (void)runtime.Start();
        runtime.Drain(absl::Seconds(60));
      },
      "the end of a MailHold of careless was called on a thread");
}

TEST(MailHoldThreads, AHoldMayOutliveItsRuntime) {
  MailHold kept;
  {
    Seen seen;
    seen.on_start = [&kept](Holder& self) { kept = self.HoldMail(); };
    Runtime runtime(SmallOptions(1));
    runtime.Spawn<Holder>(&seen);
    ASSERT_TRUE(runtime.Start().ok());
    runtime.Drain(absl::ZeroDuration());
  }
  EXPECT_FALSE(kept.Holds());
}

}  // namespace
}  // namespace sluice::testing::mail_hold_test
