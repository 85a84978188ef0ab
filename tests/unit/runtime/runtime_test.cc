// Tests of a runtime: start, drain and end; two runtimes; options; the dump and the log line about
// a slow handler; cycles of waits.
#include "sluice/core/runtime/runtime.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/os_linux.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::runtime_test {
namespace {

struct Note {
  int value;
};
struct Go {};

class Counter : public Actor {
 public:
  explicit Counter(std::atomic<int>* count) : count_(*count) {}
  void On(Note) { ++count_; }

 private:
  std::atomic<int>& count_;
};
// Parks on its `next` for as long as that actor's mailbox is full.
class Link : public Actor {
 public:
  void On(Ref<Link> next) {
    for (int i = 0; i < 4; ++i) {
      if (Send(next, Note{i}) != Answer::kAccepted) return;
    }
  }
  void On(Note) {}
};
class Restless : public Actor {
 public:
  void OnStart() override { On(Go{}); }
  void On(Go) { (void)Send(RefOf(this), Go{}); }
};
class Sleeper : public Actor {
 public:
  void On(Note note) { std::this_thread::sleep_for(std::chrono::milliseconds(note.value)); }
};

SpawnOptions On(int worker, uint32_t capacity = 0, std::string name = "") {
  return {.name = std::move(name), .mailbox_messages_max = capacity, .worker = worker};
}

// --- Set-up.

TEST(Options, RuntimeWithoutLogLevelKeepsTheProcessLevel) {
  const LogLevelScope level(LogLevel::kDebug);
  const Runtime silent_about_it(SmallOptions(1));
  EXPECT_TRUE(LogEnabled(LogLevel::kDebug));
  Options options = SmallOptions(1);
  options.log_level = "error";
  const Runtime quiet(options);
  EXPECT_FALSE(LogEnabled(LogLevel::kWarning));
  EXPECT_TRUE(LogEnabled(LogLevel::kError));
}

TEST(Options, InvalidOptionIsNamedWithItsValue) {
  const std::vector<std::pair<std::string, std::function<void(Options&)>>> wrong = {
      {"workers = -1", [](Options& o) { o.workers = -1; }},
      {"workers = 1000", [](Options& o) { o.workers = 1'000; }},
      {"max_connections = -5", [](Options& o) { o.max_connections = -5; }},
      {"sockets_per_connection = 0", [](Options& o) { o.sockets_per_connection = 0; }},
      {"actors_max = 0", [](Options& o) { o.actors_max = 0; }},
      {"actors_max = 4294967295", [](Options& o) { o.actors_max = UINT32_MAX; }},
      {"mailbox_messages_max = 0", [](Options& o) { o.mailbox_messages_max = 0; }},
      {"answers_max = 0", [](Options& o) { o.answers_max = 0; }},
      {"tasks_max = 0", [](Options& o) { o.tasks_max = 0; }},
      {"lane_messages_max = 0", [](Options& o) { o.lane_messages_max = 0; }},
      {"outbox_messages_max = 0", [](Options& o) { o.outbox_messages_max = 0; }},
      {"memory_bytes_max = 1 (--memory) is too small: 1 workers need at least 2162688 bytes",
       [](Options& o) { o.memory_bytes_max = 1; }},
      {"memory_bytes_max", [](Options& o) { o.memory_bytes_max = INT64_MAX; }},
      {"input_bytes_max = 0", [](Options& o) { o.input_bytes_max = 0; }},
      {"shed_after = 0", [](Options& o) { o.shed_after = absl::ZeroDuration(); }},
      {"backlog = 0", [](Options& o) { o.backlog = 0; }},
      {"watermarks", [](Options& o) { o.output_bytes_low = o.output_bytes_high + 1; }},
      {"idle_timeout = 0", [](Options& o) { o.idle_timeout = absl::ZeroDuration(); }},
      {"linger_timeout = -1s", [](Options& o) { o.linger_timeout = absl::Seconds(-1); }},
      {"drain_timeout = -1s", [](Options& o) { o.drain_timeout = absl::Seconds(-1); }},
      {"log_level", [](Options& o) { o.log_level = "loud"; }},
      {"keepalive_idle = 0", [](Options& o) { o.keepalive_idle = absl::ZeroDuration(); }},
      {"keepalive_idle = -1s", [](Options& o) { o.keepalive_idle = absl::Seconds(-1); }},
      {"keepalive_idle = 10h is out of range: it must be from 1s to 9h6m7s (or inf for no",
       [](Options& o) { o.keepalive_idle = absl::Hours(10); }},
      {"keepalive_interval = inf is out of range: it must be from 1s to 9h6m7s",
       [](Options& o) { o.keepalive_interval = absl::InfiniteDuration(); }},
      {"keepalive_interval = 1ms",
       [](Options& o) { o.keepalive_interval = absl::Milliseconds(1); }},
      {"keepalive_probes = 0", [](Options& o) { o.keepalive_probes = 0; }},
      {"keepalive_probes = 128", [](Options& o) { o.keepalive_probes = 128; }},
      {"unacknowledged_timeout = 0",
       [](Options& o) { o.unacknowledged_timeout = absl::ZeroDuration(); }},
      {"notsent_bytes_max = 0", [](Options& o) { o.notsent_bytes_max = 0; }},
  };
  for (const auto& [text, change] : wrong) {
    Options options = SmallOptions(1);
    change(options);
    const absl::Status status = options.Complete(LinuxOs());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(std::string(status.message()).find(text), std::string::npos) << status;
  }
  Options options;
  EXPECT_TRUE(options.Complete(LinuxOs()).ok());
  EXPECT_GE(options.workers, 1);
  EXPECT_GE(options.max_connections, 1);
  EXPECT_GE(options.memory_bytes_max, options.MemoryBytesMin());
  // The minimum that Options reports is accepted, and one byte less is not.
  Options least = SmallOptions(8);
  least.memory_bytes_max = least.MemoryBytesMin();
  EXPECT_TRUE(least.Complete(LinuxOs()).ok());
  --least.memory_bytes_max;
  EXPECT_FALSE(least.Complete(LinuxOs()).ok());
}

TEST(Options, LogLevelHoldsDespiteAnotherInvalidOption) {
  const LogLevelScope level(LogLevel::kInfo);
  Options options = SmallOptions(1);
  options.log_level = "off";
  options.keepalive_probes = 0;
  Runtime runtime(options);
  EXPECT_FALSE(runtime.Start().ok());
  EXPECT_FALSE(LogEnabled(LogLevel::kError));
}

TEST(Options, TwoSocketsPerConnectionHalveTheDefault) {
  Options one, two;
  two.sockets_per_connection = 2;
  ASSERT_TRUE(one.Complete(LinuxOs()).ok() && two.Complete(LinuxOs()).ok());
  EXPECT_LE(two.max_connections * 2, LinuxOs().DescriptorsMax());
  EXPECT_LT(two.max_connections, one.max_connections + 1);
  // With equally many connections the memory is twice as much.
  one.max_connections = two.max_connections = 1'000;
  Runtime small(one), large(two);
  const int64_t without = small.Ceiling().fixed_bytes;
  small.AddConnections(1'000);
  large.AddConnections(1'000);
  EXPECT_EQ(large.Ceiling().fixed_bytes - small.Ceiling().fixed_bytes, 1'000'000);
  EXPECT_EQ(large.Ceiling().kernel_bytes, LinuxOs().SocketMemoryBytes(2'000));
  // A second listener may have as many connections again, of another size.
  EXPECT_EQ(small.Ceiling().kernel_bytes, LinuxOs().SocketMemoryBytes(1'000));
  small.AddConnections(500);
  EXPECT_EQ(small.Ceiling().fixed_bytes - without, 1'500'000);
  EXPECT_EQ(small.Ceiling().kernel_bytes, LinuxOs().SocketMemoryBytes(2'000));
}

TEST(Runtime, CountsARefusedSpawnFromOutside) {
  class Idle : public Actor {};
  Options options = SmallOptions(1);
  options.actors_max = 1;
  Runtime runtime(options);
  EXPECT_TRUE(runtime.Spawn<Idle>());
  EXPECT_FALSE(runtime.Spawn<Idle>());
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(runtime.TotalLedger().spawn_refused, 1);
}

TEST(Runtime, KeepsItsFirstErrorForStart) {
  Options options = SmallOptions(-3);
  Runtime runtime(options);
  runtime.KeepError(absl::InternalError("a second one"));
  std::atomic<int> count{0};
  runtime.Spawn<Counter>(&count);  // Spawn() does no harm after an error.
  const absl::Status status = runtime.Start();
  EXPECT_NE(std::string(status.message()).find("workers = -3"), std::string::npos) << status;
}

TEST(Runtime, IsNotStartedAgainBehindItsDrain) {
  Runtime runtime(SmallOptions(1));
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_TRUE(runtime.Start().ok());
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(runtime.Start().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(runtime.RunUntilSignal(), 1);
}

class NoPoller : public ForwardingOs {
 public:
  int PollerCreate() override { return -EMFILE; }
};

TEST(Runtime, SaysWhenThereIsNoDescriptorForItsPoller) {
  NoPoller os;
  Runtime runtime(SmallOptions(2), os);
  std::atomic<int> count{0};
  runtime.Spawn<Counter>(&count);
  EXPECT_NE(std::string(runtime.Start().message()).find("epoll_create1"), std::string::npos)
      << runtime.Start();
}

// --- Drain.

TEST(Drain, HandlesWhatWasAcceptedThenRefuses) {
  for (bool started : {false, true}) {
    std::atomic<int> count{0};
    Runtime runtime(SmallOptions(2));
    if (started) {
      ASSERT_TRUE(runtime.Start().ok());
    }
    const Ref<Counter> counter = runtime.SpawnWith<Counter>(On(1, 1'000), &count);
    for (int i = 0; i < 500; ++i) ASSERT_EQ(counter.TrySend(Note{i}), Answer::kAccepted);
    runtime.Drain(absl::InfiniteDuration());
    EXPECT_EQ(count, 500);
    EXPECT_EQ(counter.TrySend(Note{0}), Answer::kClosed);
    EXPECT_EQ(runtime.ActorCount(), 0);
    EXPECT_EQ(runtime.TotalLedger().DroppedTotal(), 0);
    EXPECT_TRUE(runtime.TotalLedger().Balanced());
  }
}

TEST(Drain, RemainingMessagesAreDroppedAtTheDeadline) {
  Options options = SmallOptions(2);
  options.probe_after = absl::Milliseconds(5);
  options.on_wait_cycle = OnWaitCycle::kReport;
  Runtime runtime(options);
  runtime.SpawnWith<Restless>(On(0, 4));
  std::vector<Ref<Link>> links;
  for (int i = 0; i < 3; ++i) links.push_back(runtime.SpawnWith<Link>(On(i % 2, 1)));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(links[i].TrySend(links[(i + 1) % 3]), Answer::kAccepted);
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_TRUE(Eventually([&] { return runtime.WaitCyclesFound() == 1; })) << runtime.Dump();
  runtime.Drain(absl::Milliseconds(50));
  const Ledger ledger = runtime.TotalLedger();
  EXPECT_EQ(runtime.ActorCount(), 0);
  EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  EXPECT_EQ(ledger.held + ledger.parked_held, 0);
  EXPECT_GE(ledger.dropped[static_cast<int>(DropReason::kShutdown)], 1) << ledger.ToString();
}

TEST(Drain, AHandlerThatOutlivesTheGraceLeavesNothingBehind) {
  std::atomic<int> count{0};
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  class Parent : public Actor {
   public:
    explicit Parent(std::atomic<int>* count) : count_(count) {}
    void OnStart() override {
      child_ = SpawnWith<Sleeper>(runtime_test::On(1));
      SpawnWith<Counter>(runtime_test::On(1), count_);
      Every(absl::Milliseconds(10), [] {});
      EXPECT_EQ(Send(child_, Note{2'000}), Answer::kAccepted);
      ++*count_;
    }
    std::atomic<int>* count_;
    Ref<Sleeper> child_;
  };
  runtime.SpawnWith<Parent>(On(0), &count);
  ASSERT_TRUE(Eventually([&] { return count == 1; }));
  runtime.Drain(
      absl::ZeroDuration());  // The child's handler lasts longer than the second of grace.
  EXPECT_EQ(runtime.ActorCount(), 0);
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}

class Heir : public Actor {  // Spawns the next root as it ends.
 public:
  explicit Heir(std::atomic<int>* born) : born_(born) {}
  void OnStart() override { ++*born_; }
  void OnStop() override { runtime().SpawnWith<Heir>(runtime_test::On(1), born_); }

 private:
  std::atomic<int>* born_;
};

TEST(Drain, RootsSpawnedWhileStoppingAreStoppedToo) {
  std::atomic<int> born{0};
  Runtime runtime(SmallOptions(2));
  ASSERT_TRUE(runtime.Start().ok());
  runtime.SpawnWith<Heir>(On(0), &born);
  ASSERT_TRUE(Eventually([&] { return born == 1; }));
  const int64_t start_ns = LinuxOs().NowNs();
  runtime.Drain(absl::Seconds(30));
  EXPECT_LT(LinuxOs().NowNs() - start_ns, int64_t{20} * 1'000'000'000);
  EXPECT_EQ(runtime.ActorCount(), 0);
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
}

// --- Two runtimes.

class Bridge : public Actor {
 public:
  explicit Bridge(Ref<Counter> other) : other_(other) {}
  void On(Note note) {
    if (other_.TrySend(note) != Answer::kAccepted) ++refused;
  }
  void On(Go) {
    // No worker of the other runtime grants credits here: a full mailbox is reported, and nothing
    // is kept.
    Answer answer = Answer::kAccepted;
    for (int i = 0; i < 10 && answer == Answer::kAccepted; ++i) answer = Send(other_, Note{i});
    EXPECT_EQ(answer, Answer::kOverloaded);
    done = true;
  }
  std::atomic<int> refused{0};
  std::atomic<bool> done{false};

 private:
  Ref<Counter> other_;
};

TEST(Runtime, TwoInOneProcessWriteToEachOther) {
  std::atomic<int> count{0};
  Runtime first(SmallOptions(1));
  Runtime second(SmallOptions(1));
  ASSERT_TRUE(first.Start().ok());
  ASSERT_TRUE(second.Start().ok());
  const Ref<Counter> counter = second.SpawnWith<Counter>(On(0, 1'000), &count);
  const Ref<Bridge> bridge = first.SpawnWith<Bridge>(On(0, 1'000), counter);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(bridge.TrySend(Note{i}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return count == 500; }));
  first.Drain(absl::Seconds(5));
  second.Drain(absl::Seconds(5));
  EXPECT_TRUE(first.TotalLedger().Balanced()) << first.TotalLedger().ToString();
  EXPECT_TRUE(second.TotalLedger().Balanced()) << second.TotalLedger().ToString();
}

TEST(Runtime, SendToAnotherRuntimesFullActorIsRefused) {
  std::atomic<int> count{0};
  Runtime first(SmallOptions(1));
  Runtime second(SmallOptions(1));  // Not started: no actor handles anything there.
  const Ref<Counter> counter = second.SpawnWith<Counter>(On(0, 2), &count);
  const Ref<Bridge> bridge = first.SpawnWith<Bridge>(On(0), counter);
  ASSERT_EQ(bridge.TrySend(Go{}), Answer::kAccepted);
  Stepper step(first);
  step.Round(3);
  EXPECT_TRUE(static_cast<Bridge*>(bridge.slot()->actor)->done);
  second.Drain(absl::Seconds(5));
  EXPECT_EQ(count, 2);
  first.Drain(absl::Seconds(5));
  EXPECT_TRUE(first.TotalLedger().Balanced()) << first.TotalLedger().ToString();
}

// --- Reports.

TEST(Runtime, SlowHandlersAreCountedAndDumpsNameWaits) {
  Options options = SmallOptions(2);
  options.probe_after = absl::InfiniteDuration();
  Runtime runtime(options);
  const Ref<Sleeper> sleeper = runtime.SpawnWith<Sleeper>(On(0));
  ASSERT_EQ(sleeper.TrySend(Note{30}), Answer::kAccepted);
  // Each actor has its order before any of them runs.
  const Ref<Link> a = runtime.SpawnWith<Link>(On(0, 1, "alice"));
  const Ref<Link> b = runtime.SpawnWith<Link>(On(0, 1, "bob"));
  ASSERT_EQ(a.TrySend(b), Answer::kAccepted);
  ASSERT_EQ(b.TrySend(a), Answer::kAccepted);
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_TRUE(Eventually([&] { return runtime.TotalLedger().slow_handlers > 0; }));
  EXPECT_TRUE(Eventually([&] {
    return runtime.Dump().find("alice parked for") != std::string::npos &&
           runtime.Dump().find("waits for credits of bob on worker 0") != std::string::npos;
  })) << runtime.Dump();
  EXPECT_NE(runtime.Dump().find("ledger: messages sent"), std::string::npos);
}

// --- Cycles of waits.

struct Ring {
  int actors;
  int workers;
};
class WaitCycle : public ::testing::TestWithParam<Ring> {};

TEST_P(WaitCycle, IsFoundOnceAndNamesAllActors) {
  Options options = SmallOptions(GetParam().workers);
  options.probe_after = absl::Milliseconds(5);
  options.on_wait_cycle = OnWaitCycle::kReport;
  Runtime runtime(options);
  const int n = GetParam().actors;
  std::vector<Ref<Link>> links;
  for (int i = 0; i < n; ++i) {
    links.push_back(
        runtime.SpawnWith<Link>(On(i % GetParam().workers, 1, "link" + std::to_string(i))));
  }
  // Each actor has its order before any of them runs, and in ring order, so that each finds the
  // mailbox of the next one full.
  for (int i = 0; i < n; ++i) ASSERT_EQ(links[i].TrySend(links[(i + 1) % n]), Answer::kAccepted);
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_TRUE(Eventually([&] { return runtime.WaitCyclesFound() == 1; }, 10)) << runtime.Dump();
  for (int i = 0; i < n; ++i) {
    EXPECT_NE(runtime.LastWaitCycle().find("link" + std::to_string(i) + " -> link" +
                                           std::to_string((i + 1) % n)),
              std::string::npos)
        << runtime.LastWaitCycle();
  }
  // The probes of the other actors in the cycle find the same cycle, then rest, and report nothing.
  EXPECT_TRUE(Eventually([&] {
    int found = 0;
    OnEachWorker(runtime, [&](Worker&) {
      for (const Ref<Link>& link : links) {
        // Only its own worker may look at a slot.
        const Slot* slot = link.slot();
        if (slot->worker != Worker::Current()) continue;
        found += slot->parked && !slot->extra->outbox.probe.Armed();
      }
    });
    return found == n;
  })) << runtime.Dump();
  EXPECT_EQ(runtime.WaitCyclesFound(), 1);
  runtime.Drain(absl::ZeroDuration());
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}
INSTANTIATE_TEST_SUITE_P(Rings, WaitCycle,
                         ::testing::Values(Ring{2, 1}, Ring{2, 2}, Ring{3, 1}, Ring{3, 2},
                                           Ring{10, 1}, Ring{10, 2}));

}  // namespace
}  // namespace sluice::testing::runtime_test
