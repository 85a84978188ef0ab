// Tests of the blocking pool: results, errors, backpressure, the end of actors and of the runtime.
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::blocking_test {
namespace {

struct Note {
  int value;
};
struct Do {
  std::function<void(class Caller&)>* act;
};
struct Fail {};

class Caller : public Actor {
 public:
  explicit Caller(std::atomic<int>* notes) : notes_(*notes) {}
  void On(Note) { ++notes_; }
  void On(Do order) { (*order.act)(*this); }
  void On(Fail) { throw std::runtime_error("boom"); }
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::Stop;
  using Actor::worker;

 private:
  std::atomic<int>& notes_;
};

class Opening {
 public:
  void Open() {
    const std::lock_guard<std::mutex> lock(lock_);
    open_ = true;
    opened_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(lock_);
    while (!open_) opened_.wait(lock);
  }

 private:
  std::mutex lock_;
  std::condition_variable opened_;
  bool open_ = false;
};

// Makes functions that hold their thread until LetGo(). The test lets all go before it ends.
class Gatekeeper {
 public:
  std::function<int()> Held(int value) {
    return [state = state_, value] {
      ++state->entered;
      state->open.Wait();
      return value;
    };
  }
  int Entered() const { return state_->entered; }
  void LetGo() { state_->open.Open(); }
  ~Gatekeeper() { LetGo(); }

 private:
  struct State {
    std::atomic<int> entered{0};
    Opening open;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

class Blocking : public ::testing::Test {
 protected:
  static Options BlockingOptions() {
    Options options = SmallOptions(2);
    options.blocking_threads_max = 1;
    options.blocking_calls_max = 2;
    options.asks_max = 16;
    options.linger_timeout = absl::Milliseconds(20);
    return options;
  }
  Blocking() : runtime_(BlockingOptions()) { EXPECT_TRUE(runtime_.Start().ok()); }
  ~Blocking() override {
    keeper_.LetGo();
    runtime_.Drain(absl::Seconds(30));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
    EXPECT_TRUE(Counts().Balanced()) << Counts().ToString();
    EXPECT_EQ(Counts().held, 0) << Counts().ToString();
  }
  Ref<Caller> Make(int worker = 0) {
    return runtime_.SpawnWith<Caller>({.name = "", .mailbox_messages_max = 0, .worker = worker},
                                      &notes_);
  }
  // Runs `act` in a handler of the actor, and waits for its end.
  void Do(const Ref<Caller>& ref, std::function<void(Caller&)> act) {
    std::atomic<bool> done{false};
    std::function<void(Caller&)> order = [&](Caller& self) {
      act(self);
      done = true;
    };
    ASSERT_EQ(ref.TrySend(blocking_test::Do{&order}), Answer::kAccepted);
    ASSERT_TRUE(Eventually([&] { return done.load(); }));
  }
  BlockingLedger Counts() { return runtime_.blocking().Counts(); }
  int64_t Dropped(DropReason reason) { return Counts().dropped[static_cast<size_t>(reason)]; }

  std::atomic<int> notes_{0};
  Gatekeeper keeper_;
  Runtime runtime_;
};

TEST_F(Blocking, RunsElsewhereAndCallsBackOnTheActorsWorker) {
  for (const int worker : {0, 1}) {
    const Ref<Caller> caller = Make(worker);
    std::atomic<bool> told{false};
    Do(caller, [&](Caller& self) {
      const std::thread::id here = std::this_thread::get_id();
      Worker* const my_worker = &self.worker();
      EXPECT_EQ(self.RunBlocking(
                    [here] {
                      EXPECT_NE(std::this_thread::get_id(), here);
                      EXPECT_EQ(Worker::Current(), nullptr);
                      return std::string("from a thread");
                    },
                    [&told, here, my_worker](absl::StatusOr<std::string> text) {
                      EXPECT_EQ(std::this_thread::get_id(), here);
                      EXPECT_EQ(Worker::Current(), my_worker);
                      EXPECT_EQ(*text, "from a thread");
                      told = true;
                    }),
                Answer::kAccepted);
    });
    EXPECT_TRUE(Eventually([&] { return told.load(); }));
  }
  EXPECT_EQ(Counts().submitted, 2);
  // The pool counts a call after it has sent the result, so the callback may come first.
  EXPECT_TRUE(Eventually([&] { return Counts().finished == 2; }));
}

TEST_F(Blocking, EachKindOfResultAndOfErrorComesBack) {
  const Ref<Caller> caller = Make();
  std::vector<std::string> told;
  std::atomic<int> count{0};
  const auto note = [&](const absl::Status& status) {
    told.push_back(std::string(status.message()));
    ++count;
  };
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking([] {}, [note](absl::Status status) { note(status); });
    (void)self.RunBlocking([] { return absl::NotFoundError("no such row"); },
                           [note](absl::Status status) { note(status); });
  });
  EXPECT_TRUE(Eventually([&] { return count == 2; }));
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking([] { return absl::StatusOr<int>(absl::AbortedError("not now")); },
                           [note](absl::StatusOr<int> result) { note(result.status()); });
    (void)self.RunBlocking([]() -> int { throw std::runtime_error("disk on fire"); },
                           [note](absl::StatusOr<int> result) { note(result.status()); });
  });
  EXPECT_TRUE(Eventually([&] { return count == 4; }));
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking([] { throw 42; }, [note](absl::Status status) { note(status); });
    (void)self.RunBlocking([] { return std::make_unique<int>(7); },
                           [note](absl::StatusOr<std::unique_ptr<int>> result) {
                             EXPECT_EQ(**result, 7);
                             note(result.status());
                           });
  });
  EXPECT_TRUE(Eventually([&] { return count == 6; }));
  const std::vector<std::string> expected = {
      "",
      "no such row",
      "not now",
      "the blocking function threw: disk on fire",
      "the blocking function threw: an exception of type int",
      ""};
  EXPECT_EQ(told, expected);
  EXPECT_TRUE(Eventually([&] { return Counts().finished == 6; }));
}

TEST_F(Blocking, MoveOnlyFunctionRunsOnceOnItsThread) {
  const Ref<Caller> caller = Make();
  std::atomic<int> runs{0};
  std::atomic<bool> told{false};
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking([owned = std::make_unique<int>(3), &runs] { runs += *owned; },
                           [&told](absl::Status) { told = true; });
  });
  EXPECT_TRUE(Eventually([&] { return told.load(); }));
  EXPECT_EQ(runs, 3);
}

TEST_F(Blocking, FullPoolParksCallersAndServesInOrder) {
  const Ref<Caller> caller = Make();
  std::vector<int> order;
  std::atomic<int> told{0};
  // The thread runs one call, one more waits for it, and two are in the gate's mailbox; the others
  // wait in the outbox.
  constexpr int kCalls = 10;
  Do(caller, [&](Caller& self) {
    for (int i = 0; i < kCalls; ++i) {
      EXPECT_EQ(self.RunBlocking(keeper_.Held(i),
                                 [&, i](absl::StatusOr<int> value) {
                                   EXPECT_EQ(*value, i);
                                   order.push_back(*value);
                                   ++told;
                                 }),
                Answer::kAccepted);
    }
  });
  ASSERT_TRUE(Eventually([&] { return keeper_.Entered() == 1; }));
  ASSERT_EQ(caller.TrySend(Note{1}), Answer::kAccepted);
  // The caller is parked for as long as the pool is full, so its message waits.
  ASSERT_TRUE(Eventually([&] {
    return runtime_.Dump().find("waits for credits of blocking gate 0") != std::string::npos;
  })) << runtime_.Dump();
  EXPECT_EQ(notes_, 0);
  EXPECT_EQ(keeper_.Entered(), 1);
  EXPECT_EQ(Counts().held, kCalls);
  // Other actors, and the rest of the worker, go on.
  std::atomic<int> others{0};
  const Ref<Caller> other =
      runtime_.SpawnWith<Caller>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &others);
  ASSERT_EQ(other.TrySend(Note{1}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return others == 1; }));
  EXPECT_NE(runtime_.Dump().find("1 of at most 1 threads run functions of sluice::testing"),
            std::string::npos)
      << runtime_.Dump();
  keeper_.LetGo();
  EXPECT_TRUE(Eventually([&] { return told == kCalls && notes_ == 1; }));
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime_).empty(); }))
      << CreditsMissing(runtime_);
}

TEST_F(Blocking, CallersOfTwoWorkersShareTheThreads) {
  std::atomic<int> told{0};
  for (const int worker : {0, 1}) {
    Do(Make(worker), [&](Caller& self) {
      for (int i = 0; i < 12; ++i) {
        EXPECT_EQ(self.RunBlocking(keeper_.Held(i), [&](absl::StatusOr<int>) { ++told; }),
                  Answer::kAccepted);
      }
    });
  }
  ASSERT_TRUE(Eventually([&] { return keeper_.Entered() == 1; }));
  keeper_.LetGo();
  EXPECT_TRUE(Eventually([&] { return told == 24; })) << runtime_.Dump();
}

TEST_F(Blocking, ResultForEndedActorIsDroppedAndCounted) {
  const Ref<Caller> caller = Make();
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking(keeper_.Held(1), [](absl::StatusOr<int>) { ADD_FAILURE(); });
  });
  ASSERT_TRUE(Eventually([&] { return keeper_.Entered() == 1; }));
  caller.Stop();
  ASSERT_TRUE(Eventually([&] { return caller.TrySend(Note{1}) == Answer::kClosed; }));
  keeper_.LetGo();
  EXPECT_TRUE(Eventually([&] { return Counts().finished == 1; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.TotalLedger().reserved_dropped == 1; }));
}

TEST_F(Blocking, CallsInAnEndedActorsOutboxAreDropped) {
  const Ref<Caller> caller = Make();
  Do(caller, [&](Caller& self) {
    for (int i = 0; i < 10; ++i) {
      (void)self.RunBlocking(keeper_.Held(i), [](absl::StatusOr<int>) { ADD_FAILURE(); });
    }
    self.Stop();
  });
  EXPECT_TRUE(Eventually([&] { return Dropped(DropReason::kSenderEnded) == 6; }))
      << Counts().ToString();
  EXPECT_EQ(Counts().held, 4);
}

TEST_F(Blocking, ARestartedActorIsNotCalledBack) {
  const Ref<Caller> caller = runtime_.SpawnRestarting<Caller>({}, {}, &notes_);
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking(keeper_.Held(1), [](absl::StatusOr<int>) { ADD_FAILURE(); });
  });
  ASSERT_TRUE(Eventually([&] { return keeper_.Entered() == 1; }));
  ASSERT_EQ(caller.TrySend(Fail{}), Answer::kAccepted);
  ASSERT_EQ(caller.TrySend(Note{1}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return notes_ == 1; }));
  keeper_.LetGo();
  EXPECT_TRUE(Eventually([&] { return runtime_.TotalLedger().replies_late == 1; }));
}

TEST_F(Blocking, ACallbackThatThrowsFailsItsActor) {
  const Ref<Caller> caller = Make();
  Do(caller, [&](Caller& self) {
    (void)self.RunBlocking([] { return 1; },
                           [](absl::StatusOr<int>) { throw std::runtime_error("back home"); });
  });
  EXPECT_TRUE(Eventually([&] { return caller.TrySend(Note{1}) == Answer::kClosed; }));
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
}

TEST_F(Blocking, AsksMaxBoundsTheCallsOfAnActor) {
  const Ref<Caller> caller = Make();
  std::atomic<int> told{0};
  Do(caller, [&](Caller& self) {
    for (int i = 0; i < 17; ++i) {
      EXPECT_EQ(self.RunBlocking(keeper_.Held(i), [&](absl::StatusOr<int>) { ++told; }),
                i < 16 ? Answer::kAccepted : Answer::kOverloaded);
    }
  });
  EXPECT_EQ(Counts().submitted, 16);
  keeper_.LetGo();
  EXPECT_TRUE(Eventually([&] { return told == 16; }));
}

// --- No threads.

class FewThreads : public ForwardingOs {
 public:
  explicit FewThreads(int threads) : left_(threads) {}
  int ThreadStart(std::function<void()> main, ThreadId* thread) override {
    if (left_.fetch_sub(1) <= 0) return -EAGAIN;
    return ForwardingOs::ThreadStart(std::move(main), thread);
  }

 private:
  std::atomic<int> left_;
};

TEST(BlockingThreads, WhereNoneCanBeStartedTheResultSaysSo) {
  FewThreads os(1);  // The worker's.
  Runtime runtime(SmallOptions(1), os);
  ASSERT_TRUE(runtime.Start().ok());
  std::atomic<int> notes{0};
  std::atomic<int> told{0};
  absl::StatusCode code = absl::StatusCode::kOk;
  std::function<void(Caller&)> act = [&](Caller& self) {
    EXPECT_EQ(self.RunBlocking([] { return 1; },
                               [&](absl::StatusOr<int> result) {
                                 code = result.status().code();
                                 ++told;
                               }),
              Answer::kAccepted);
  };
  const Ref<Caller> caller = runtime.Spawn<Caller>(&notes);
  ASSERT_EQ(caller.TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return told == 1; }));
  runtime.Drain(absl::Seconds(30));
  EXPECT_EQ(code, absl::StatusCode::kResourceExhausted);
  const BlockingLedger counts = runtime.blocking().Counts();
  EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kFailed)], 1);
  EXPECT_TRUE(counts.Balanced()) << counts.ToString();
}

TEST(BlockingThreads, OneThatCanBeStartedServesThemAll) {
  FewThreads os(2);
  Options options = SmallOptions(1);
  options.blocking_threads_max = 3;
  Runtime runtime(options, os);
  ASSERT_TRUE(runtime.Start().ok());
  std::atomic<int> notes{0};
  std::atomic<int> told{0};
  std::function<void(Caller&)> act = [&](Caller& self) {
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(
          self.RunBlocking([] { return 1; }, [&](absl::StatusOr<int> result) { told += *result; }),
          Answer::kAccepted);
    }
  };
  ASSERT_EQ(runtime.Spawn<Caller>(&notes).TrySend(Do{&act}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return told == 20; }));
}

// Counts thread starts, joins and waits, and makes every second wait return without a signal.
class RestlessOs : public ForwardingOs {
 public:
  int ThreadStart(std::function<void()> main, ThreadId* thread) override {
    ++started;
    return ForwardingOs::ThreadStart(std::move(main), thread);
  }
  void ThreadJoin(ThreadId thread) override {
    ++joined;
    ForwardingOs::ThreadJoin(thread);
  }
  void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) override {
    if (waits.fetch_add(1) % 2 == 0) return;
    ForwardingOs::Wait(condition, lock);
  }
  std::atomic<int> started{0};
  std::atomic<int> joined{0};
  std::atomic<int> waits{0};
};

TEST(BlockingThreads, WaitThroughTheOsAndIgnoreSpuriousWakes) {
  RestlessOs os;
  Options options = SmallOptions(2);
  options.blocking_threads_max = 2;
  {
    Runtime runtime(options, os);
    ASSERT_TRUE(runtime.Start().ok());
    std::atomic<int> notes{0};
    std::atomic<int> told{0};
    std::function<void(Caller&)> act = [&](Caller& self) {
      EXPECT_EQ(
          self.RunBlocking([] { return 1; }, [&](absl::StatusOr<int> result) { told += *result; }),
          Answer::kAccepted);
    };
    const Ref<Caller> caller = runtime.Spawn<Caller>(&notes);
    for (int i = 1; i <= 10; ++i) {
      ASSERT_EQ(caller.TrySend(Do{&act}), Answer::kAccepted);
      ASSERT_TRUE(Eventually([&] { return told == i; }));
    }
    EXPECT_TRUE(Eventually([&] { return os.waits >= 2; }));
  }
  EXPECT_GE(os.started, 3);  // Two workers, and one or two for the calls.
  EXPECT_EQ(os.joined, os.started);
}

TEST(Start, NamesTheRefusedWorkerThreadAndRunsNone) {
  FewThreads os(1);
  Runtime runtime(SmallOptions(3), os);
  std::atomic<int> notes{0};
  const Ref<Caller> caller =
      runtime.SpawnWith<Caller>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &notes);
  const absl::Status status = runtime.Start();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_NE(std::string(status.message()).find("cannot start the thread of worker 1 of 3"),
            std::string::npos)
      << status;
  EXPECT_EQ(runtime.Start(), status);
  EXPECT_EQ(caller.TrySend(Note{1}), Answer::kAccepted);
  runtime.Drain(absl::Seconds(30));  // This thread takes the workers' turns.
  EXPECT_EQ(notes, 1);
  EXPECT_EQ(runtime.ActorCount(), 0);
}

// --- The end of the runtime.

TEST(BlockingDrain, WaitsForWhatRunsAndForItsCallback) {
  Gatekeeper keeper;
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  std::atomic<int> notes{0};
  std::atomic<int> told{0};
  std::function<void(Caller&)> act = [&](Caller& self) {
    for (int i = 0; i < 40; ++i) {
      (void)self.RunBlocking(keeper.Held(1), [&](absl::StatusOr<int> value) { told += *value; });
    }
  };
  ASSERT_EQ(runtime.Spawn<Caller>(&notes).TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return keeper.Entered() == 4; }));
  std::thread letter([&] {
    // The drain has begun when sends from outside are refused.
    EXPECT_TRUE(Eventually([&] { return runtime.shared().outside_gate.Draining(); }));
    keeper.LetGo();
  });
  runtime.Drain(absl::Seconds(60));
  letter.join();
  EXPECT_EQ(told, 40);
  EXPECT_EQ(runtime.blocking().Counts().finished, 40);
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

TEST(BlockingDrain, TakesMessagesOfFunctionsThatItWaitsFor) {
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  std::atomic<int> notes{0};
  constexpr int kCalls = 8;
  Gatekeeper entered;  // Holds the functions until the drain has begun.
  const Ref<Caller> to =
      runtime.SpawnWith<Caller>({.name = "", .mailbox_messages_max = 64, .worker = 1}, &notes);
  std::atomic<int> refused{0};
  std::atomic<int> told{0};
  // A function that holds a Last sends once more when it is destroyed.
  struct Last {
    Last(Ref<Caller> ref, std::atomic<int>* refused) : to(ref), refused(refused) {}
    Last(Last&& other) noexcept : to(other.to), refused(std::exchange(other.refused, nullptr)) {}
    ~Last() {
      if (refused != nullptr) *refused += to.TrySend(Note{2}) != Answer::kAccepted;
    }
    Ref<Caller> to;
    std::atomic<int>* refused;
  };
  std::function<void(Caller&)> act = [&](Caller& self) {
    for (int i = 0; i < kCalls; ++i) {
      (void)self.RunBlocking(
          [hold = entered.Held(1), to, &refused, last = Last(to, &refused)] {
            hold();
            refused += to.TrySend(Note{1}) != Answer::kAccepted;
          },
          [&](absl::Status status) { told += status.ok(); });
    }
  };
  ASSERT_EQ(runtime.Spawn<Caller>(&notes).TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return entered.Entered() == 4; }));
  std::thread outside([&] {
    EXPECT_TRUE(Eventually([&] { return runtime.shared().outside_gate.Draining(); }));
    EXPECT_EQ(to.TrySend(Note{3}), Answer::kClosed);  // No function runs on this thread.
    entered.LetGo();
  });
  runtime.Drain(absl::Seconds(60));
  outside.join();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(told, kCalls);
  EXPECT_EQ(notes, 2 * kCalls);
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

TEST(BlockingDrain, DeadlineLeavesBehindAThreadThatStillDestroys) {
  Gatekeeper keeper;
  struct Slow {
    explicit Slow(std::function<int()> hold) : hold(std::move(hold)) {}
    Slow(Slow&& other) noexcept : hold(std::exchange(other.hold, nullptr)) {}
    ~Slow() {
      if (hold) hold();
    }
    std::function<int()> hold;
  };
  Options options = SmallOptions(2);
  options.blocking_threads_max = 3;
  auto runtime = std::make_unique<Runtime>(options);
  ASSERT_TRUE(runtime->Start().ok());
  std::atomic<int> notes{0};
  std::atomic<int> told{0};
  std::function<void(Caller&)> act = [&](Caller& self) {
    // A thread runs a function and two destroy what theirs held; a fourth call waits.
    (void)self.RunBlocking(keeper.Held(1), [](absl::StatusOr<int>) { ADD_FAILURE(); });
    for (int i = 0; i < 2; ++i) {
      (void)self.RunBlocking([slow = Slow(keeper.Held(1))] { return 1; },
                             [&](absl::StatusOr<int> value) { told += *value; });
    }
  };
  const Ref<Caller> caller = runtime->Spawn<Caller>(&notes);
  ASSERT_EQ(caller.TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return told == 2 && keeper.Entered() == 3; }));
  std::function<void(Caller&)> more = [&](Caller& self) {
    // If the actor still lives, its callback gets an error: the call was dropped.
    (void)self.RunBlocking([] { return 1; },
                           [](absl::StatusOr<int> value) { EXPECT_FALSE(value.ok()); });
  };
  ASSERT_EQ(caller.TrySend(Do{&more}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return runtime->blocking().Counts().submitted == 4; }));
  runtime->Drain(absl::Milliseconds(20));
  const BlockingLedger counts = runtime->blocking().Counts();
  EXPECT_TRUE(counts.Balanced()) << counts.ToString();
  EXPECT_EQ(counts.held, 0) << counts.ToString();
  EXPECT_EQ(counts.finished, 2) << counts.ToString();
  EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kShutdown)], 2) << counts.ToString();
  EXPECT_TRUE(runtime->TotalLedger().Balanced()) << runtime->TotalLedger().ToString();
  const std::shared_ptr<internal::BlockingState> state = runtime->blocking().state();
  runtime.reset();
  keeper.LetGo();
  EXPECT_TRUE(Eventually([&] { return state.use_count() == 1; }));  // All three have ended.
}

TEST(BlockingDrain, FunctionLeftBehindIsRefusedAfterTheDeadline) {
  Gatekeeper keeper;
  Runtime runtime(SmallOptions(1));
  ASSERT_TRUE(runtime.Start().ok());
  std::atomic<int> notes{0};
  std::atomic<int> closed{0};
  const Ref<Caller> caller = runtime.Spawn<Caller>(&notes);
  std::function<void(Caller&)> act = [&](Caller& self) {
    (void)self.RunBlocking(
        [hold = keeper.Held(1), caller, &closed] {
          hold();
          closed += caller.TrySend(Note{1}) == Answer::kClosed;
        },
        [](absl::Status) { ADD_FAILURE(); });
  };
  ASSERT_EQ(caller.TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return keeper.Entered() == 1; }));
  runtime.Drain(absl::Milliseconds(10));
  keeper.LetGo();
  EXPECT_TRUE(Eventually([&] { return closed == 1; }));
  EXPECT_EQ(notes, 0);
}

TEST(BlockingDrain, DeadlineDropsWaitingCallsAndLeavesRunningBehind) {
  Gatekeeper keeper;
  Options options = SmallOptions(2);
  options.blocking_threads_max = 2;
  options.blocking_calls_max = 4;
  auto runtime = std::make_unique<Runtime>(options);
  ASSERT_TRUE(runtime->Start().ok());
  std::atomic<int> notes{0};
  std::function<void(Caller&)> act = [&](Caller& self) {
    for (int i = 0; i < 20; ++i) {
      // If the actor still lives, its callbacks get an error: the calls were dropped.
      EXPECT_EQ(self.RunBlocking(keeper.Held(1),
                                 [](absl::StatusOr<int> value) { EXPECT_FALSE(value.ok()); }),
                Answer::kAccepted);
    }
  };
  ASSERT_EQ(runtime->Spawn<Caller>(&notes).TrySend(Do{&act}), Answer::kAccepted);
  ASSERT_TRUE(Eventually([&] { return keeper.Entered() == 2; }));
  runtime->Drain(absl::Milliseconds(20));
  EXPECT_EQ(runtime->ActorCount(), 0);
  EXPECT_TRUE(runtime->TotalLedger().Balanced()) << runtime->TotalLedger().ToString();
  const BlockingLedger counts = runtime->blocking().Counts();
  EXPECT_TRUE(counts.Balanced()) << counts.ToString();
  EXPECT_EQ(counts.held, 0);
  EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kShutdown)], 20) << counts.ToString();
  // The functions that run on reach no actor and touch nothing: the runtime is gone.
  const std::shared_ptr<internal::BlockingState> state = runtime->blocking().state();
  runtime.reset();
  keeper.LetGo();
  EXPECT_TRUE(Eventually([&] { return state.use_count() == 1; }));  // Both threads have ended.
  EXPECT_EQ(keeper.Entered(), 2);
}

// Tests of RunUntilSignal, each in a process of its own.
class EndOfProcess : public ::testing::Test {
 protected:
  EndOfProcess() { ::testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

class Stuck : public Actor {
 public:
  Stuck() = default;
  void On(Note note) {
    if (note.value == 1) raise(SIGTERM);  // A second signal would end the process at once.
    Opening().Wait();
  }
  void On(Fail) {
    (void)RunBlocking(
        [] {
          raise(SIGTERM);
          Opening().Wait();
        },
        [](absl::Status) {});
  }
};

void RunStuck(bool handler) {
  Options options = SmallOptions(3);
  options.drain_timeout = absl::Milliseconds(50);
  Runtime runtime(options);
  const Ref<Stuck> stuck =
      runtime.SpawnWith<Stuck>({.name = "", .mailbox_messages_max = 0, .worker = 1});
  const Ref<Stuck> other =
      runtime.SpawnWith<Stuck>({.name = "", .mailbox_messages_max = 0, .worker = 2});
  if (handler && other.TrySend(Note{2}) != Answer::kAccepted) std::_Exit(3);
  const Answer answer = handler ? stuck.TrySend(Note{1}) : stuck.TrySend(Fail{});
  if (answer != Answer::kAccepted) std::_Exit(3);
  runtime.RunUntilSignal();
  std::_Exit(4);  // Not reached: RunUntilSignal ends the process.
}

TEST_F(EndOfProcess, NamesEachStuckHandlerAndExitsWith0) {
  EXPECT_EXIT(RunStuck(true), ::testing::ExitedWithCode(0),
              "worker 1 is held by On\\(.*Note\\) of .*Stuck#[0-9]+, which has not returned(.|\n)*"
              "worker 2 is held by On\\(.*Note\\) of .*Stuck#[0-9]+, which has not returned(.|\n)*"
              "ledger: messages sent(.|\n)*without worker 1(.|\n)*without worker 2");
}

TEST_F(EndOfProcess, NamesStuckBlockingFunctionAndExitsWith0) {
  EXPECT_EXIT(RunStuck(false), ::testing::ExitedWithCode(0),
              "a blocking function of .*Stuck has not returned(.|\n)*ledger: messages sent(.|\n)*"
              "blocking calls: submitted 1 = finished 0 \\+ dropped 1 \\(shutdown 1\\) \\+ held 0");
}

TEST(BlockingOptions, AreCheckedAndAreInTheCeiling) {
  Options few = SmallOptions(1);
  few.blocking_threads_max = 1;
  Options many = SmallOptions(1);
  many.blocking_threads_max = 101;
  EXPECT_EQ(Runtime(many).Ceiling().fixed_bytes - Runtime(few).Ceiling().fixed_bytes,
            100 * 256 * 1024);
  for (const int wrong : {0, -1, 1'025}) {
    Options options = SmallOptions(1);
    options.blocking_threads_max = wrong;
    Runtime runtime(options);
    EXPECT_NE(std::string(runtime.Start().message()).find("blocking_threads_max"),
              std::string::npos);
  }
  Options options = SmallOptions(1);
  options.blocking_calls_max = 0;
  Runtime runtime(options);
  EXPECT_NE(std::string(runtime.Start().message()).find("blocking_calls_max"), std::string::npos);
}

}  // namespace
}  // namespace sluice::testing::blocking_test
