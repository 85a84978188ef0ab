// Tests of the log line about a handler that held its worker: its name, how long it ran, and how
// much of that was work.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/clock_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::slow_handler_test {

struct Work {
  absl::Duration wall;
  absl::Duration processor;
  // True: the handler was preempted while it did not work; false: it waited.
  bool preempted = false;
};
// A message with an object that takes its time to destroy.
struct Load {
  std::shared_ptr<void> held;
  int64_t HeldBytes() const { return 0; }
};
class Toiler : public Actor {
 public:
  explicit Toiler(ClockOs* os) : os_(*os) {}
  void OnStart() override {
    if (at_start) After(absl::Milliseconds(1), [this] { On(Work{absl::Milliseconds(40), {}}); });
  }
  void On(Work work) {
    os_.UseProcessor(work.processor);
    if (work.processor >= work.wall) return os_.Advance(work.wall);
    work.preempted ? os_.Preempt(work.wall) : os_.Block(work.wall);
  }
  void OnStop() override { os_.Block(to_stop); }
  ~Toiler() override { os_.Block(to_destroy); }
  void On(Load) {}
  using Actor::After;
  static inline bool at_start = false;
  static inline absl::Duration to_stop;
  static inline absl::Duration to_destroy;

 private:
  ClockOs& os_;
};

namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SlowHandler : public ::testing::Test {
 protected:
  SlowHandler() : runtime_(SmallOptions(1), os_), step_(runtime_) {}
  ~SlowHandler() override {
    os_.runs = true;
    runtime_.Drain(absl::Seconds(5));
  }
  Ref<Toiler> Make(std::string name) {
    const Ref<Toiler> ref = runtime_.SpawnWith<Toiler>(
        {.name = std::move(name), .mailbox_messages_max = 0, .worker = 0}, &os_);
    step_.Round(2);
    return ref;
  }
  // Runs `act` and returns the lines that are logged meanwhile.
  std::vector<std::string> Lines(const std::function<void()>& act) {
    LogShutdown();
    ::testing::internal::CaptureStderr();
    act();
    LogShutdown(absl::Seconds(60));
    std::vector<std::string> lines;
    std::string text = ::testing::internal::GetCapturedStderr();
    for (size_t end; (end = text.find('\n')) != text.npos; text.erase(0, end + 1)) {
      lines.push_back(text.substr(0, end));
    }
    return lines;
  }
  void Give(const Ref<Toiler>& to, absl::Duration wall, absl::Duration processor) {
    EXPECT_EQ(to.TrySend(Work{wall, processor}), Answer::kAccepted);
  }

  ClockOs os_;
  Runtime runtime_;
  Stepper step_;
};

TEST_F(SlowHandler, IsNamedWithItsMessageAndTimes) {
  const Ref<Toiler> anna = Make("anna");
  const std::vector<std::string> lines = Lines([&] {
    Give(anna, absl::Milliseconds(23), absl::Milliseconds(22));
    step_.Round(2);
  });
  EXPECT_THAT(lines, ElementsAre(EndsWith(
                         "warning slow handler: worker 0 was held for 23 ms (processor 22 ms) by "
                         "anna.On(sluice::testing::slow_handler_test::Work)")));
  EXPECT_EQ(runtime_.TotalLedger().slow_handlers, 1);
}

TEST_F(SlowHandler, BlockingHandlerIsNamedWithoutProcessorTime) {
  const Ref<Toiler> anna = Make("");
  const std::vector<std::string> lines = Lines([&] {
    Give(anna, absl::Milliseconds(1500), absl::ZeroDuration());
    step_.Round(2);
  });
  EXPECT_THAT(lines, ElementsAre(HasSubstr("held for 1500 ms (processor 0 ms) by "
                                           "sluice::testing::slow_handler_test::Toiler#")));
}

TEST_F(SlowHandler, PreemptedHandlerIsNotBlamed) {
  const Ref<Toiler> anna = Make("anna");
  EXPECT_THAT(Lines([&] {
                for (const auto used : {absl::ZeroDuration(), absl::Milliseconds(9)}) {
                  EXPECT_EQ(anna.TrySend(Work{absl::Milliseconds(1500), used, /*preempted=*/true}),
                            Answer::kAccepted);
                  step_.Round(2);
                }
              }),
              IsEmpty());
  EXPECT_EQ(runtime_.TotalLedger().slow_handlers, 0);
}

// The wait in the poller just before belongs to the worker, not to the handler.
TEST_F(SlowHandler, HandlerPreemptedAfterASleepIsNotBlamed) {
  const Ref<Toiler> anna = Make("anna");
  EXPECT_THAT(Lines([&] {
                os_.Advance(absl::Milliseconds(1));
                step_.Round(1);
                EXPECT_EQ(anna.TrySend(Work{absl::Milliseconds(1500), {}, /*preempted=*/true}),
                          Answer::kAccepted);
                step_.Round(2);
              }),
              IsEmpty());
}

TEST_F(SlowHandler, LongHandlerIsNamedThoughPreemptedToo) {
  const Ref<Toiler> anna = Make("anna");
  EXPECT_THAT(Lines([&] {
                EXPECT_EQ(anna.TrySend(Work{absl::Milliseconds(1500), absl::Milliseconds(11),
                                            /*preempted=*/true}),
                          Answer::kAccepted);
                step_.Round(2);
              }),
              ElementsAre(HasSubstr("held for 1500 ms (processor 11 ms) by anna.On(")));
}

TEST_F(SlowHandler, TheFirstOfManyIsTimedAloneAndNamed) {
  const Ref<Toiler> anna = Make("anna");
  const Ref<Toiler> bert = Make("bert");
  const std::vector<std::string> lines = Lines([&] {
    for (int i = 0; i < 3; ++i) Give(anna, absl::Milliseconds(11), absl::ZeroDuration());
    for (int i = 0; i < 3; ++i) Give(bert, absl::Milliseconds(9), absl::ZeroDuration());
    step_.Round(10);
  });
  EXPECT_THAT(lines, Each(EndsWith("held for 11 ms (processor 0 ms) by "
                                   "anna.On(sluice::testing::slow_handler_test::Work)")));
  EXPECT_EQ(lines.size(), 3u);
}

TEST_F(SlowHandler, SlowGroupNamesAllItsHandlersOnce) {
  const Ref<Toiler> anna = Make("anna");
  const Ref<Toiler> bert = Make("bert");
  const std::vector<std::string> first = Lines([&] {
    // Quick handlers share one reading of the clock: groups of one, two, four.
    for (int i = 0; i < 4; ++i) Give(anna, absl::ZeroDuration(), absl::ZeroDuration());
    Give(bert, absl::Milliseconds(30), absl::Milliseconds(30));
    for (int i = 0; i < 2; ++i) Give(anna, absl::ZeroDuration(), absl::ZeroDuration());
    step_.Round(1);
  });
  EXPECT_THAT(first, ElementsAre(EndsWith("held for 30 ms (processor 30 ms) by one of "
                                          "anna.On(sluice::testing::slow_handler_test::Work), "
                                          "bert.On(sluice::testing::slow_handler_test::Work)")));
  const std::vector<std::string> second = Lines([&] {
    Give(anna, absl::Milliseconds(1), absl::ZeroDuration());
    Give(bert, absl::Milliseconds(30), absl::Milliseconds(30));
    step_.Round(2);
  });
  EXPECT_THAT(second, ElementsAre(EndsWith("held for 30 ms (processor 30 ms) by "
                                           "bert.On(sluice::testing::slow_handler_test::Work)")));
  EXPECT_EQ(runtime_.TotalLedger().slow_handlers, 2);
}

TEST_F(SlowHandler, TimeBeforeTheGroupIsNotCounted) {
  const Ref<Toiler> anna = Make("anna");
  for (int i = 0; i < 100; ++i) {
    Give(anna, absl::Milliseconds(5), absl::Milliseconds(5));
    step_.Round(1);
  }
  const std::vector<std::string> lines = Lines([&] {
    Give(anna, absl::Milliseconds(20), absl::Milliseconds(3));
    step_.Round(2);
  });
  EXPECT_THAT(lines, ElementsAre(HasSubstr("held for 20 ms (processor 3 ms) by anna.On(")));
}

TEST_F(SlowHandler, SlowOnStopAndDestructorAreNamed) {
  const Ref<Toiler> anna = Make("anna");
  const Ref<Toiler> nameless = Make("");
  Toiler::to_stop = absl::Milliseconds(40);
  Toiler::to_destroy = absl::Milliseconds(30);
  EXPECT_THAT(Lines([&] {
                anna.Stop();
                step_.Round(3);
              }),
              ElementsAre(HasSubstr("held for 40 ms (processor 0 ms) by anna.OnStop"),
                          HasSubstr("held for 30 ms (processor 0 ms) by anna.its end")));
  const std::string name =
      "sluice::testing::slow_handler_test::Toiler#" + std::to_string(nameless.slot()->id);
  EXPECT_THAT(Lines([&] {
                nameless.Stop();
                step_.Round(3);
              }),
              ElementsAre(HasSubstr("held for 40 ms (processor 0 ms) by " + name + ".OnStop"),
                          HasSubstr("held for 30 ms (processor 0 ms) by " + name + ".its end")));
  Toiler::to_stop = Toiler::to_destroy = absl::ZeroDuration();
}

TEST_F(SlowHandler, MessagesDestroyedWithAnActorAreItsEnd) {
  const Ref<Toiler> anna = Make("anna");
  std::string running;
  const auto destroy = [&](void*) {
    os_.Block(absl::Milliseconds(40));
    running = runtime_.worker(0).Running().Text();
  };
  EXPECT_THAT(Lines([&] {
                // Both arrive before the actor has its turn.
                EXPECT_EQ(anna.TrySend(Load{{nullptr, destroy}}), Answer::kAccepted);
                anna.Stop();
                step_.Round(3);
              }),
              ElementsAre(HasSubstr("held for 40 ms (processor 0 ms) by anna.its end")));
  EXPECT_THAT(running, HasSubstr("its end of "));
}

TEST_F(SlowHandler, TimerIsNamedAndQuickHandlerIsNot) {
  Toiler::at_start = true;
  const Ref<Toiler> anna = Make("anna");
  Toiler::at_start = false;
  EXPECT_THAT(Lines([&] {
                // Not longer than 10 ms.
                Give(anna, absl::Milliseconds(10), absl::Milliseconds(10));
                step_.Round(2);
              }),
              ElementsAre(HasSubstr("held for 40 ms (processor 0 ms) by anna.timer")));
  EXPECT_THAT(Lines([&] {
                os_.Advance(absl::Seconds(10));  // No handler holds a worker that sleeps.
                step_.Round(3);
              }),
              IsEmpty());
}

}  // namespace
}  // namespace sluice::testing::slow_handler_test
