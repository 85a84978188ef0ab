// Every interleaving of a lane's sender, which waits when there is no room, with the lane's
// receiver.
#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

// A copy of LaneGate with faults, each of which must be found.
enum class Fault {
  kNone,
  kAskAfterLook,       // The sender reads `taken` before it asks.
  kTellBeforeTaken,    // The receiver answers before it publishes `taken`.
  kLoadInsteadOfAsk,   // The receiver learns by a plain load whether the sender waits.
  kStoreInsteadOfAsk,  // The sender asks by a plain store.
  kOneTooMany,
};
template <class Atomics>
class FaultyGate {
 public:
  FaultyGate(uint64_t capacity, Fault fault) : capacity_(capacity), fault_(fault) {}
  bool HasRoom() {
    taken_seen_ = taken_.load(std::memory_order_acquire);
    return sent_ - taken_seen_ < capacity_ + (fault_ == Fault::kOneTooMany ? 1 : 0);
  }
  void Sent() { ++sent_; }
  [[nodiscard]] bool WaitForRoom() {
    if (fault_ == Fault::kAskAfterLook) {
      const bool room = HasRoom();
      waiting_.exchange(1, std::memory_order_acq_rel);
      return !room;
    }
    if (fault_ == Fault::kStoreInsteadOfAsk) {
      waiting_.store(1, std::memory_order_release);
    } else {
      waiting_.exchange(1, std::memory_order_acq_rel);
    }
    return !HasRoom();
  }
  [[nodiscard]] bool Take(uint64_t count) {
    taken_own_ += count;
    if (fault_ == Fault::kTellBeforeTaken) {
      const bool told = waiting_.exchange(0, std::memory_order_acq_rel) != 0;
      taken_.store(taken_own_, std::memory_order_release);
      return told;
    }
    taken_.store(taken_own_, std::memory_order_release);
    if (fault_ == Fault::kLoadInsteadOfAsk && waiting_.load(std::memory_order_acquire) == 0)
      return false;
    return waiting_.exchange(0, std::memory_order_acq_rel) != 0;
  }

 private:
  const uint64_t capacity_;
  const Fault fault_;
  uint64_t sent_ = 0;
  uint64_t taken_seen_ = 0;
  uint64_t taken_own_ = 0;
  typename Atomics::template Atomic<uint64_t> taken_{0};
  typename Atomics::template Atomic<uint32_t> waiting_{0};
};

template <class Gate>
struct GateModel : Model {
  template <class... Args>
  GateModel(uint64_t capacity, uint64_t messages, Args... args)
      : capacity(capacity), messages(messages), gate(capacity, args...) {}

  void Start() override {
    Name(gate, "gate");
    Name(tail, "tail");
    Name(places, "place");
    Name(room, "room");
    StartThread("sender", [this] { Sender(); });
    StartThread("receiver", [this] { Receiver(); });
  }
  // The lane is a ring without a bound of its own: a message past the bound overwrites another.
  void Sender() {
    for (uint64_t i = 0; i < messages; ++i) {
      while (!gate.HasRoom()) {
        if (!gate.WaitForRoom()) break;
        WaitUntil("room", [this] { return room.load() > rooms_seen; });
        ++rooms_seen;
      }
      gate.Sent();
      places[i % capacity].store(i + 1, std::memory_order_relaxed);
      tail.store(i + 1, std::memory_order_release);
      sent = i + 1;
    }
  }
  void Receiver() {
    while (taken < messages) {
      WaitUntil("a message", [this] { return tail.load() > taken; });
      const uint64_t end = tail.load(std::memory_order_acquire);
      // Takes all messages, or one.
      const uint64_t count = end - taken > 1 && Choose(2) == 1 ? 1 : end - taken;
      for (uint64_t i = taken; i < taken + count; ++i) {
        if (places[i % capacity].load(std::memory_order_relaxed) != i + 1)
          Fail("a message was overwritten");
      }
      taken += count;
      if (gate.Take(count)) room.fetch_add(1);
    }
  }
  void CheckStep() override {
    if (sent - taken > capacity) Fail("the lane is past its bound");
  }

  const uint64_t capacity;
  const uint64_t messages;
  Gate gate;
  ModelAtomic<uint64_t> tail{0};
  ModelAtomic<uint64_t> places[3];
  ModelAtomic<uint64_t> room{0};
  uint64_t rooms_seen = 0;
  uint64_t sent = 0;
  uint64_t taken = 0;
};

ExploreOptions With(Memory memory) {
  ExploreOptions options;
  options.memory = memory;
  return options;
}

TEST(L3Bound, LaneGateModelKeepsCapacityLosesNoRoom) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso}) {
    for (const uint64_t capacity : {1, 2, 3}) {
      const Report report =
          Explore<GateModel<LaneGate<ModelAtomics>>>(With(memory), capacity, uint64_t{5});
      std::printf("%s\n", report.Summary().c_str());
      EXPECT_FALSE(report.failed) << report.failure;
      EXPECT_TRUE(report.complete);
      EXPECT_GT(report.executions, 5'000);
    }
  }
}

TEST(L3Bound, LaneGateModelHoldsWithOldLoads) {
  for (const uint64_t capacity : {1, 2}) {
    const Report report =
        Explore<GateModel<LaneGate<ModelAtomics>>>(With(Memory::kViews), capacity, uint64_t{3});
    std::printf("%s\n", report.Summary().c_str());
    EXPECT_FALSE(report.failed) << report.failure;
    EXPECT_TRUE(report.complete);
    EXPECT_GT(report.executions, 5'000);
  }
}

Report Planted(Memory memory, Fault fault) {
  const Report report =
      Explore<GateModel<FaultyGate<ModelAtomics>>>(With(memory), uint64_t{1}, uint64_t{3}, fault);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(LaneGateModel, TheCopyWithoutAFaultHolds) {
  EXPECT_FALSE(Planted(Memory::kPso, Fault::kNone).failed);
}

TEST(LaneGateModel, PlantedOrderOfStepsLosesTheRoom) {
  EXPECT_TRUE(Planted(Memory::kSequential, Fault::kAskAfterLook).failed);
  EXPECT_TRUE(Planted(Memory::kSequential, Fault::kTellBeforeTaken).failed);
}

TEST(LaneGateModel, PlantedLoadOrStoreLosesRoomThroughBuffering) {
  EXPECT_TRUE(Planted(Memory::kTso, Fault::kLoadInsteadOfAsk).failed);
  EXPECT_FALSE(Planted(Memory::kSequential, Fault::kLoadInsteadOfAsk).failed);
  EXPECT_TRUE(Planted(Memory::kTso, Fault::kStoreInsteadOfAsk).failed);
  EXPECT_FALSE(Planted(Memory::kSequential, Fault::kStoreInsteadOfAsk).failed);
}

TEST(LaneGateModel, PlantedBoundOneTooManyIsFound) {
  EXPECT_TRUE(Planted(Memory::kSequential, Fault::kOneTooMany).failed);
}

}  // namespace
}  // namespace sluice::model
