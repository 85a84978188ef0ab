// Every interleaving of non-worker threads with a drain, and with a worker that sleeps: a blocking
// function that sends and answers, and two threads that share the outside lane.
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

// Faults, each of which must be found.
enum class Fault {
  kNone,
  kEndedBeforeReply,  // A function counts as ended before its reply is sent.
  kRelaxedEnd,        // Nothing orders the end of a function after its sends: the subtraction...
  kRelaxedCount,      // ... or the coordinator's load.
  kRefused,           // A drain refuses functions from its first moment.
  kLookBeforeCount,   // The coordinator reads the sends, then whether functions run.
};

template <Fault kFault>
class FaultyFunctions {
 public:
  void Accepted() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Ended() {
    count_.fetch_sub(
        1, kFault == Fault::kRelaxedEnd ? std::memory_order_relaxed : std::memory_order_release);
  }
  int64_t Count() const {
    return count_.load(kFault == Fault::kRelaxedCount ? std::memory_order_relaxed
                                                      : std::memory_order_acquire);
  }

 private:
  ModelAtomic<int64_t> count_{0};
};

// A worker gives a function to a thread; the function sends a message and a reply to the worker; a
// drain waits for both.
template <class Functions>
struct FunctionModel : Model {
  explicit FunctionModel(Fault fault) : fault(fault) {}

  void Start() override {
    Name(gate, "gate");
    Name(functions, "functions");
    Name(rest, "rest");
    Name(sleep, "sleep");
    Name(lane, "lane");
    Name(eventfd, "eventfd");
    Name(handed_over, "handed over");
    StartThread("worker", [this] { Worker(); });
    StartThread("function", [this] { Function(); });
    StartThread("coordinator", [this] { Coordinator(); });
  }

  void Worker() {
    functions.Accepted();
    handed_over.store(1, std::memory_order_release);
    for (;;) {
      sleep.FallAsleep();
      if (Drain()) {
        sleep.WakeUp();
        continue;
      }
      rest.Publish(true, figures);
      asleep = true;
      WaitUntil(
          "eventfd", [this] { return eventfd.load() > 0; }, Wait::kMayStay);
      asleep = false;
      rest.Publish(false, figures);
      eventfd.exchange(0);
      sleep.WakeUp();
    }
  }
  bool Drain() {
    const int64_t sent = lane.load(std::memory_order_acquire);
    const bool any = sent > figures.taken;
    figures.taken = sent;
    return any;
  }
  void SendOne(int64_t number) {
    gate.CountSent();
    lane.store(number, std::memory_order_release);
    if (sleep.Rouse()) eventfd.fetch_add(1);
  }
  void Function() {
    WaitUntil("the function", [this] { return handed_over.load() != 0; });
    if (!gate.Admits([this] { return fault != Fault::kRefused; })) {
      Fail("a function that the drain waits for may not send");
    }
    SendOne(1);
    if (fault == Fault::kEndedBeforeReply) functions.Ended();
    SendOne(2);
    if (fault != Fault::kEndedBeforeReply) functions.Ended();
    ended = true;
  }

  bool Look() {
    if (fault == Fault::kLookBeforeCount) {
      const int64_t sent = gate.Sent();
      if (!Quiet(sent)) return false;
      return functions.Count() == 0;
    }
    if (functions.Count() > 0) {
      watch.Forget();
      return false;
    }
    return Quiet(gate.Sent());
  }
  bool Quiet(int64_t sent) {
    const RestCounts<ModelAtomics>* const workers[] = {&rest};
    return watch.Look(
        sent, workers, [](const auto* counts) -> const auto& { return *counts; });
  }
  void Coordinator() {
    gate.BeginDrain();
    for (int i = 0; i < 2; ++i) {
      if (Look() && (!ended || figures.taken < 2)) Fail("quiet was said too early");
    }
    WaitUntil("all at rest", [this] {
      return ended && asleep && eventfd.load() == 0 && rest.Resting() && rest.Taken() == 2;
    });
    for (int i = 0; i < 6; ++i) {
      if (Look()) return;
    }
    Fail("quiet was never reported");
  }

  const Fault fault;
  OutsideGate<ModelAtomics> gate;
  Functions functions;
  SleepWord<ModelAtomics> sleep;
  RestCounts<ModelAtomics> rest;
  RestFigures figures;
  RestWatch watch;
  ModelAtomic<int64_t> lane{0};
  ModelAtomic<uint32_t> eventfd{0};
  ModelAtomic<uint32_t> handed_over{0};
  bool asleep = false;
  bool ended = false;
};

Report ExploreFunction(Memory memory, Fault fault = Fault::kNone) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<FunctionModel<AwaitedFunctions<ModelAtomics>>>(options, fault);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(FunctionModel, ADrainWaitsForAllThatAFunctionSends) {
  const Report report = ExploreFunction(Memory::kSequential);
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.executions, 1'000);
}

TEST(FunctionModel, PlantedFaultsAreFound) {
  EXPECT_TRUE(ExploreFunction(Memory::kSequential, Fault::kEndedBeforeReply).failed);
  EXPECT_TRUE(ExploreFunction(Memory::kSequential, Fault::kRefused).failed);
  EXPECT_TRUE(ExploreFunction(Memory::kSequential, Fault::kLookBeforeCount).failed);
}

// A count of 0 means that all sends are counted, also where memory is weak. Two functions end; a
// third is accepted meanwhile, and its addition stands between the ends of the others.
template <class Functions>
struct EndedModel : Model {
  void Start() override {
    Name(gate, "gate");
    Name(functions, "functions");
    functions.Accepted();
    functions.Accepted();
    for (int i = 0; i < 2; ++i) {
      StartThread("function" + std::to_string(i), [this] {
        gate.CountSent();
        functions.Ended();
      });
    }
    StartThread("worker", [this] {
      functions.Accepted();
      functions.Ended();  // Dropped: it has sent nothing.
    });
    StartThread("coordinator", [this] {
      for (int i = 0; i < 3; ++i) {
        if (functions.Count() == 0 && gate.Sent() != 2) Fail("what a function sent is not counted");
      }
    });
  }
  OutsideGate<ModelAtomics> gate;
  Functions functions;
};

template <class Functions = AwaitedFunctions<ModelAtomics>>
Report ExploreEnded(Memory memory) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<EndedModel<Functions>>(options);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(EndedModel, CountOfZeroShowsAllThatFunctionsSent) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso, Memory::kViews}) {
    const Report report = ExploreEnded(memory);
    EXPECT_FALSE(report.failed) << report.failure;
    EXPECT_TRUE(report.complete);
    EXPECT_GT(report.executions, 100);
  }
}

TEST(EndedModel, PlantedOrdersAreFoundWhereMemoryIsWeak) {
  EXPECT_TRUE(ExploreEnded<FaultyFunctions<Fault::kRelaxedEnd>>(Memory::kViews).failed);
  EXPECT_TRUE(ExploreEnded<FaultyFunctions<Fault::kRelaxedCount>>(Memory::kViews).failed);
}

// --- The outside lane: its sender's half belongs to the thread that holds the lock.

enum class LaneFault {
  kNone,
  kRelaxedUnlock,  // The next sender may not see this sender's writes.
  kRouseBeforeEnqueue,
  kNoLastLook,  // The worker sleeps without a last look.
};

struct OutsideLaneModel : Model {
  explicit OutsideLaneModel(LaneFault fault) : fault(fault) {}

  void Start() override {
    Name(lock, "lock");
    Name(tail, "tail");
    Name(places, "place");
    Name(lane_gate, "lane gate");
    Name(sleep, "sleep");
    Name(eventfd, "eventfd");
    for (int i = 0; i < 2; ++i) {
      StartThread("outside" + std::to_string(i), [this] { Sender(); });
    }
    StartThread("worker", [this] { Worker(); });
  }
  // As BeginOutside and CommitOutside do; the mailbox's word has a model of its own.
  void Sender() {
    for (;;) {
      WaitUntil("the lock", [this] { return lock.load() == 0; });
      if (lock.exchange(1, std::memory_order_acquire) == 0) break;
    }
    const bool room = lane_gate.HasRoom();
    if (room) {
      lane_gate.Sent();
      // The queue below keeps its own tail, which each sender reads and moves.
      const uint64_t place = tail.load(std::memory_order_relaxed);
      places[place].store(1, std::memory_order_relaxed);
      if (fault == LaneFault::kRouseBeforeEnqueue) Rouse();
      tail.store(place + 1, std::memory_order_release);
      ++accepted;
    }
    lock.store(0, fault == LaneFault::kRelaxedUnlock ? std::memory_order_relaxed
                                                     : std::memory_order_release);
    if (room && fault != LaneFault::kRouseBeforeEnqueue) Rouse();
  }
  void Rouse() {
    if (sleep.Rouse()) eventfd.fetch_add(1);
  }
  bool Drain() {
    const uint64_t end = tail.load(std::memory_order_acquire);
    if (end <= taken) return false;
    for (uint64_t i = taken; i < end; ++i) {
      if (places[i].load(std::memory_order_relaxed) != 1)
        Fail("a place is taken before it is full");
    }
    const uint64_t count = end - taken;
    taken = end;
    (void)lane_gate.Take(count);  // Outside threads do not wait for room.
    return true;
  }
  void Worker() {
    for (;;) {
      sleep.FallAsleep();
      if (fault != LaneFault::kNoLastLook && Drain()) {
        sleep.WakeUp();
        continue;
      }
      WaitUntil(
          "eventfd", [this] { return eventfd.load() > 0; }, Wait::kMayStay);
      eventfd.exchange(0);
      sleep.WakeUp();
      (void)Drain();
    }
  }
  void CheckEnd() override {
    if (taken != static_cast<uint64_t>(accepted)) Fail("a message that was accepted is lost");
  }

  const LaneFault fault;
  ModelAtomic<uint32_t> lock{0};
  LaneGate<ModelAtomics> lane_gate{2};
  ModelAtomic<uint64_t> tail{0};
  ModelAtomic<uint64_t> places[2];
  SleepWord<ModelAtomics> sleep;
  ModelAtomic<uint32_t> eventfd{0};
  uint64_t taken = 0;
  int accepted = 0;
};

Report ExploreLane(Memory memory, LaneFault fault = LaneFault::kNone) {
  ExploreOptions options;
  options.memory = memory;
  options.executions_max = 4'000'000;
  const Report report = Explore<OutsideLaneModel>(options, fault);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(OutsideLaneModel, NothingThatIsAcceptedIsLost) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso, Memory::kViews}) {
    const Report report = ExploreLane(memory);
    EXPECT_FALSE(report.failed) << report.failure;
    EXPECT_TRUE(report.complete);
    EXPECT_GT(report.executions, 1'000);
  }
}

TEST(OutsideLaneModel, PlantedFaultsAreFound) {
  EXPECT_TRUE(ExploreLane(Memory::kSequential, LaneFault::kRouseBeforeEnqueue).failed);
  EXPECT_TRUE(ExploreLane(Memory::kSequential, LaneFault::kNoLastLook).failed);
  EXPECT_TRUE(ExploreLane(Memory::kPso, LaneFault::kRelaxedUnlock).failed);
  EXPECT_TRUE(ExploreLane(Memory::kViews, LaneFault::kRelaxedUnlock).failed);
}

}  // namespace
}  // namespace sluice::model
