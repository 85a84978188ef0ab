// Every interleaving of a worker that goes to sleep with senders that have mail for it; the lanes
// hold the mail behind store buffers.
#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

using Word = SleepWord<ModelAtomics>;

// Faults, each of which must be found.
enum class Fault {
  kNone,
  kLoadInsteadOfRouse,   // The sender loads the word, and rouses only a worker that looks asleep.
  kStoreInsteadOfSleep,  // The worker falls asleep by a plain store.
  kNoLookAfterSleep,     // The worker does not look into the lanes again.
  kRouseBeforeEnqueue,
  kSignalAlways,         // More than one signal for a sleep.
  kRelaxedRouse,         // Exchanges that order nothing.
  kSleepWithoutAcquire,  // The worker's exchange releases only...
  kRouseWithoutRelease,  // ... or the sender's acquires only.
};

// SleepWord with the plain store that its proof forbids.
template <class Atomics>
class StoringWord {
 public:
  void FallAsleep() { word_.store(1, std::memory_order_release); }
  void WakeUp() { word_.exchange(0, std::memory_order_acq_rel); }
  [[nodiscard]] bool Rouse() { return word_.exchange(0, std::memory_order_acq_rel) == 1; }
  bool LooksAsleep() const { return word_.load(std::memory_order_relaxed) == 1; }

 private:
  typename Atomics::template Atomic<uint32_t> word_{0};
};

// SleepWord without order.
template <class Atomics>
class RelaxedWord {
 public:
  void FallAsleep() { word_.exchange(1, std::memory_order_relaxed); }
  void WakeUp() { word_.exchange(0, std::memory_order_relaxed); }
  [[nodiscard]] bool Rouse() { return word_.exchange(0, std::memory_order_relaxed) == 1; }
  bool LooksAsleep() const { return word_.load(std::memory_order_relaxed) == 1; }

 private:
  typename Atomics::template Atomic<uint32_t> word_{0};
};

// SleepWord with half its order on one side.
template <class Atomics, std::memory_order kSleepOrder, std::memory_order kRouseOrder>
class HalfWord {
 public:
  void FallAsleep() { word_.exchange(1, kSleepOrder); }
  void WakeUp() { word_.exchange(0, std::memory_order_acq_rel); }
  [[nodiscard]] bool Rouse() { return word_.exchange(0, kRouseOrder) == 1; }
  bool LooksAsleep() const { return word_.load(std::memory_order_relaxed) == 1; }

 private:
  typename Atomics::template Atomic<uint32_t> word_{0};
};
using SleepsWithoutAcquire =
    HalfWord<ModelAtomics, std::memory_order_release, std::memory_order_acq_rel>;
using RousesWithoutRelease =
    HalfWord<ModelAtomics, std::memory_order_acq_rel, std::memory_order_acquire>;

template <class W>
struct SleepModel : Model {
  SleepModel(int senders, int messages, Fault fault)
      : senders(senders), messages(messages), fault(fault) {}

  void Start() override {
    Name(word, "word");
    Name(eventfd, "eventfd");
    Name(lanes, "lane");
    StartThread("worker", [this] { Worker(); });
    for (int i = 0; i < senders; ++i) {
      StartThread("sender" + std::to_string(i), [this, i] { Sender(i); });
    }
  }

  void Sender(int i) {
    for (int sent = 1; sent <= messages; ++sent) {
      if (fault == Fault::kRouseBeforeEnqueue) Rouse();
      lanes[i].store(static_cast<uint64_t>(sent), std::memory_order_release);
      if (fault != Fault::kRouseBeforeEnqueue) Rouse();
    }
  }
  void Rouse() {
    if (fault == Fault::kLoadInsteadOfRouse && !word.LooksAsleep()) return;
    if (word.Rouse() || fault == Fault::kSignalAlways) {
      ++signals;
      eventfd.fetch_add(1);  // A system call: the store buffer is empty after it.
    }
  }

  // A real dequeue attempt on every lane.
  bool Drain() {
    bool found = false;
    for (int i = 0; i < senders; ++i) {
      const uint64_t sent = lanes[i].load(std::memory_order_acquire);
      found = found || sent > taken[i];
      taken[i] = sent;
    }
    return found;
  }
  bool AllCame() const {
    for (int i = 0; i < senders; ++i) {
      if (taken[i] < static_cast<uint64_t>(messages)) return false;
    }
    return true;
  }
  void Worker() {
    while (!AllCame()) {
      if (Drain()) continue;
      word.FallAsleep();
      ++sleeps;
      if (fault == Fault::kNoLookAfterSleep || !Drain()) {
        WaitUntil("eventfd", [this] { return eventfd.load() > 0; });
        eventfd.exchange(0);
      }
      word.WakeUp();
    }
  }

  void CheckStep() override {
    if (signals > sleeps) Fail("more signals than sleeps");
  }

  const int senders;
  const int messages;
  const Fault fault;
  W word;
  ModelAtomic<uint32_t> eventfd{0};
  ModelAtomic<uint64_t> lanes[2];
  uint64_t taken[2] = {};
  int signals = 0;
  int sleeps = 0;
};

Report ExploreSleep(Memory memory, int senders, int messages, Fault fault = Fault::kNone) {
  ExploreOptions options;
  options.memory = memory;
  Report report;
  switch (fault) {
    case Fault::kStoreInsteadOfSleep:
      report = Explore<SleepModel<StoringWord<ModelAtomics>>>(options, senders, messages, fault);
      break;
    case Fault::kRelaxedRouse:
      report = Explore<SleepModel<RelaxedWord<ModelAtomics>>>(options, senders, messages, fault);
      break;
    case Fault::kSleepWithoutAcquire:
      report = Explore<SleepModel<SleepsWithoutAcquire>>(options, senders, messages, fault);
      break;
    case Fault::kRouseWithoutRelease:
      report = Explore<SleepModel<RousesWithoutRelease>>(options, senders, messages, fault);
      break;
    default:
      report = Explore<SleepModel<Word>>(options, senders, messages, fault);
  }
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

void ExpectHolds(const Report& report, int64_t executions) {
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.executions, executions);
}

TEST(SleepWordModel, LosesNoWakeUpAndSignalsOnce) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso, Memory::kViews}) {
    ExpectHolds(ExploreSleep(memory, 1, 3), 1'500);
    ExpectHolds(ExploreSleep(memory, 2, 1), 800);
  }
  ExpectHolds(ExploreSleep(Memory::kTso, 2, 2), 500'000);
}

TEST(SleepWordModel, PlantedLoadLosesAWakeUpThroughBuffering) {
  const Report report = ExploreSleep(Memory::kTso, 1, 1, Fault::kLoadInsteadOfRouse);
  EXPECT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("worker waits for ever: eventfd"), std::string::npos);
  // Without a store buffer, no interleaving shows it.
  EXPECT_FALSE(ExploreSleep(Memory::kSequential, 1, 1, Fault::kLoadInsteadOfRouse).failed);
}

TEST(SleepWordModel, PlantedStoreLosesAWakeUpThroughBuffering) {
  EXPECT_TRUE(ExploreSleep(Memory::kTso, 1, 1, Fault::kStoreInsteadOfSleep).failed);
  EXPECT_FALSE(ExploreSleep(Memory::kSequential, 1, 1, Fault::kStoreInsteadOfSleep).failed);
}

TEST(SleepWordModel, PlantedOrderOfStepsLosesAWakeUp) {
  EXPECT_TRUE(ExploreSleep(Memory::kSequential, 1, 1, Fault::kNoLookAfterSleep).failed);
  EXPECT_TRUE(ExploreSleep(Memory::kSequential, 1, 1, Fault::kRouseBeforeEnqueue).failed);
}

TEST(SleepWordModel, PlantedRelaxedExchangeLosesWakeUpsInPso) {
  EXPECT_TRUE(ExploreSleep(Memory::kPso, 1, 1, Fault::kRelaxedRouse).failed);
  EXPECT_FALSE(ExploreSleep(Memory::kTso, 1, 1, Fault::kRelaxedRouse).failed);  // x86 forgives it.
}

// On x86 neither fault shows. Where only stores are weak, the missing acquire does not show.
TEST(SleepWordModel, PlantedHalfOrderLosesWakeUpsInViews) {
  EXPECT_TRUE(ExploreSleep(Memory::kViews, 1, 1, Fault::kSleepWithoutAcquire).failed);
  EXPECT_FALSE(ExploreSleep(Memory::kTso, 1, 1, Fault::kSleepWithoutAcquire).failed);
  EXPECT_FALSE(ExploreSleep(Memory::kPso, 1, 1, Fault::kSleepWithoutAcquire).failed);
  EXPECT_TRUE(ExploreSleep(Memory::kViews, 1, 1, Fault::kRouseWithoutRelease).failed);
  EXPECT_FALSE(ExploreSleep(Memory::kTso, 1, 1, Fault::kRouseWithoutRelease).failed);
}

TEST(SleepWordModel, PlantedSecondSignalIsFound) {
  EXPECT_TRUE(ExploreSleep(Memory::kSequential, 2, 1, Fault::kSignalAlways).failed);
}

}  // namespace
}  // namespace sluice::model
