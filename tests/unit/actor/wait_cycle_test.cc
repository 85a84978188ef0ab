// Tests of broken cycles of waits: each costs one message, that of the last actor to park, and then
// all actors go on. IsFoundOnceAndNamesAllActors is in runtime_test.cc.
#include <atomic>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::wait_cycle_test {
namespace {

struct Note {
  int value;
};
struct Seen {
  std::atomic<int> notes{0};
  std::atomic<int> down{0};
};

// Sends more to the next actor than fits its mailbox.
class Link : public Actor {
 public:
  Link(Seen* seen, int sends) : seen_(*seen), sends_(sends) {}
  void On(Ref<Link> next) {
    for (int i = 0; i < sends_; ++i) EXPECT_EQ(Send(next, Note{i}), Answer::kAccepted);
  }
  void On(Note) { ++seen_.notes; }
  void OnStop() override { ++seen_.down; }

 private:
  Seen& seen_;
  const int sends_;
};

struct Ring {
  int actors;
  int workers;
};
std::string NameOfRing(const ::testing::TestParamInfo<Ring>& info) {
  return std::to_string(info.param.actors) + "ActorsOn" + std::to_string(info.param.workers);
}
const Ring kRings[] = {{2, 1}, {2, 2}, {3, 1}, {3, 2}, {10, 1}, {10, 2}};

constexpr int kDeadlock = static_cast<int>(DropReason::kDeadlock);

Options CycleOptions(int workers, OnWaitCycle policy) {
  Options options = SmallOptions(workers);
  options.probe_after = absl::Milliseconds(20);
  options.on_wait_cycle = policy;
  return options;
}

class BrokenCycle : public ::testing::TestWithParam<Ring> {
 protected:
  // Mailboxes of one message, and each actor has its order before any of them runs: in any order of
  // running, each actor ends up parked on the next one.
  void Close(Runtime& runtime, int sends) {
    const int n = GetParam().actors;
    for (int i = 0; i < n; ++i) {
      links_.push_back(runtime.SpawnWith<Link>({.name = "link" + std::to_string(i),
                                                .mailbox_messages_max = 1,
                                                .worker = i % GetParam().workers},
                                               &seen_, sends));
    }
    for (int i = 0; i < n; ++i)
      ASSERT_EQ(links_[i].TrySend(links_[(i + 1) % n]), Answer::kAccepted);
  }
  Seen seen_;
  std::vector<Ref<Link>> links_;
};

// Stepped: no grant is on its way when the cycle is found, so exactly one message is too many.
TEST_P(BrokenCycle, LosesOneMessageAndGoesOn) {
  Runtime runtime(CycleOptions(GetParam().workers, OnWaitCycle::kDrop));
  Close(runtime, 2);
  Stepper step(runtime);
  step.Round(4);
  const int n = GetParam().actors;
  for (const Ref<Link>& link : links_) ASSERT_TRUE(link.slot()->parked);
  EXPECT_TRUE(step.Until([&] { return seen_.notes == 2 * n - 1; })) << seen_.notes;
  step.Round(2 * n);
  for (const Ref<Link>& link : links_) EXPECT_FALSE(link.slot()->parked);
  // The other probes found the cycle, too. Wait longer than any of them: none drops a second
  // message.
  const int64_t now_ms = runtime.worker(0).NowMs();
  EXPECT_TRUE(step.Until([&] { return runtime.worker(0).NowMs() > now_ms + 60; }));
  EXPECT_EQ(runtime.WaitCyclesFound(), 1);
  const Ledger ledger = runtime.TotalLedger();
  EXPECT_EQ(ledger.parked_dropped[kDeadlock], 1);
  EXPECT_EQ(ledger.ParkedDroppedTotal(), 1);
  EXPECT_EQ(ledger.wait_cycles, 1);
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(runtime.TotalLedger().ParkedDroppedTotal(), 1);
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
  EXPECT_EQ(runtime.budget().UsedBytes(), 0);
}

// With threads, and outboxes that are longer than a mailbox: laws L5 and L1 for all messages that
// are not dropped.
TEST_P(BrokenCycle, EveryOtherMessageIsHandledL5Progress) {
  Runtime runtime(CycleOptions(GetParam().workers, OnWaitCycle::kDrop));
  Close(runtime, 20);
  ASSERT_TRUE(runtime.Start().ok());
  const int n = GetParam().actors;
  Ledger ledger;
  EXPECT_TRUE(Eventually([&] {
    ledger = runtime.TotalLedger();
    return seen_.notes + ledger.parked_dropped[kDeadlock] == 20 * n;
  })) << runtime.Dump();
  EXPECT_GE(ledger.parked_dropped[kDeadlock], 1);
  // At most one message per cycle.
  EXPECT_LE(ledger.parked_dropped[kDeadlock], ledger.wait_cycles);
  EXPECT_EQ(ledger.wait_cycles, runtime.WaitCyclesFound());
  EXPECT_TRUE(Eventually([&] { return CreditsMissing(runtime).empty(); }))
      << CreditsMissing(runtime);
  for (const Ref<Link>& link : links_) EXPECT_EQ(link.TrySend(Note{0}), Answer::kAccepted);
  runtime.Drain(absl::Seconds(5));
  ledger = runtime.TotalLedger();
  EXPECT_EQ(seen_.notes + ledger.parked_dropped[kDeadlock], 21 * n);
  EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  EXPECT_EQ(ledger.ParkedDroppedTotal(), ledger.parked_dropped[kDeadlock]);
}

TEST_P(BrokenCycle, OneActorFailsAndTheOthersGoOn) {
  Runtime runtime(CycleOptions(GetParam().workers, OnWaitCycle::kFail));
  Close(runtime, 2);
  Stepper step(runtime);
  const int n = GetParam().actors;
  EXPECT_TRUE(step.Until([&] { return runtime.ActorCount() == n - 1; }));
  step.Round(2 * n);  // The news goes from one actor to the next.
  const Ledger ledger = runtime.TotalLedger();
  EXPECT_EQ(ledger.failed, 1);
  EXPECT_EQ(ledger.parked_dropped[kDeadlock], 1);
  EXPECT_EQ(seen_.down, 0);  // An actor that fails gets no OnStop().
  for (const Ref<Link>& link : links_) {
    if (link.slot()->generation != link.generation()) continue;
    EXPECT_FALSE(link.slot()->parked);
    EXPECT_EQ(link.TrySend(Note{0}), Answer::kAccepted);
  }
  runtime.Drain(absl::Seconds(5));
  EXPECT_TRUE(runtime.TotalLedger().Balanced()) << runtime.TotalLedger().ToString();
}
INSTANTIATE_TEST_SUITE_P(Rings, BrokenCycle, ::testing::ValuesIn(kRings), NameOfRing);

class HandOs : public ForwardingOs {
 public:
  int64_t NowNs() override { return now_ns; }
  int64_t now_ns = 1'000'000'000'000;
};

// Whichever actor finds the cycle, the same one gives way, and a second order for the same wait
// does nothing.
TEST(WaitCycle, TheLastToParkGivesWayOnce) {
  Seen seen;
  HandOs os;
  Runtime runtime(CycleOptions(1, OnWaitCycle::kDrop), os);
  std::vector<Ref<Link>> links;
  for (int i = 0; i < 3; ++i) {
    links.push_back(
        runtime.SpawnWith<Link>({.name = "", .mailbox_messages_max = 1, .worker = 0}, &seen, 4));
  }
  Stepper step(runtime);
  step.Round(2);
  Worker& worker = runtime.worker(0);
  // The actor with the highest number does not park last: the time of the park decides.
  const int order[] = {2, 0, 1};
  worker.Enter();
  for (const Ref<Link>& link : links) worker.Suspend(link.slot());
  for (int i : order) {
    os.now_ns += 1'000'000;
    worker.Resume(links[i].slot());
    worker.RunHandler(links[i].slot(), "test",
                      [&] { static_cast<Link*>(links[i].slot()->actor)->On(links[(i + 1) % 3]); });
    worker.Leave();
    step.Turn(0);
    worker.Enter();
  }
  worker.Leave();
  const auto a_millisecond_later = [&](auto happened) {
    return step.Until([&] {
      os.now_ns += 1'000'000;
      return happened();
    });
  };
  const auto held = [&](int i) { return links[i].slot()->extra->outbox.count; };
  ASSERT_EQ(held(0) + held(1) + held(2), 9u);
  const uint32_t episode = links[1].slot()->extra->outbox.episode;
  ASSERT_TRUE(a_millisecond_later([&] { return held(1) < 3; }));
  EXPECT_EQ(held(1), 2u);
  EXPECT_EQ(held(0), 3u);
  EXPECT_EQ(held(2), 3u);
  EXPECT_NE(links[1].slot()->extra->outbox.episode, episode);
  worker.Enter();
  worker.OnBreakWait(links[1].slot(), links[1].generation(), episode, "a second finder's");
  worker.OnBreakWait(links[1].slot(), links[1].generation() + 2, episode, "a successor's");
  worker.Leave();
  EXPECT_EQ(held(1), 2u);
  EXPECT_TRUE(a_millisecond_later([&] { return !links[1].slot()->parked; }));
  EXPECT_TRUE(a_millisecond_later([&] { return seen.notes == 9; }));
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(runtime.TotalLedger().parked_dropped[kDeadlock], 3);
  EXPECT_EQ(runtime.WaitCyclesFound(), 3);
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
}

}  // namespace
}  // namespace sluice::testing::wait_cycle_test
