// Every interleaving of workers that propose and decide which connection is ended when memory stays
// spent.
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

// Faults, each of which must be found.
enum class Fault {
  kNone,
  kTimeBeforeBytes,  // A proposal's time is stored before its bytes.
  kRelaxedTime,      // Nothing orders the two: the store...
  kRelaxedLook,      // ... or the load.
  kLoadAndStore,     // The claim is no compare-exchange.
  kEachItsOwnTime,   // The second worker overwrites the time since when memory is spent.
};

// A copy of ShedBoard with a fault, as far as these models need it.
template <Fault kFault>
class FaultyBoard {
 public:
  FaultyBoard(int, int64_t bytes_min) : bytes_min_(bytes_min) {}
  int64_t SpentSinceMs(uint32_t, int64_t now_ms) {
    uint64_t since = since_.load(std::memory_order_relaxed);
    if (since != ~uint64_t{0}) return static_cast<int64_t>(since);
    if (kFault == Fault::kEachItsOwnTime) {
      since_.store(static_cast<uint64_t>(now_ms), std::memory_order_relaxed);
    } else if (!since_.compare_exchange_strong(since, static_cast<uint64_t>(now_ms),
                                               std::memory_order_relaxed,
                                               std::memory_order_relaxed)) {
      return static_cast<int64_t>(since);
    }
    return now_ms;
  }
  void Propose(int worker, int64_t bytes, int64_t now_ms) {
    const auto order =
        kFault == Fault::kRelaxedTime ? std::memory_order_relaxed : std::memory_order_release;
    if (kFault == Fault::kTimeBeforeBytes) at_ms_[worker].store(now_ms, order);
    bytes_[worker].store(bytes, std::memory_order_relaxed);
    if (kFault != Fault::kTimeBeforeBytes) at_ms_[worker].store(now_ms, order);
  }
  bool Fresh(int worker, int64_t now_ms) const {
    const auto order =
        kFault == Fault::kRelaxedLook ? std::memory_order_relaxed : std::memory_order_acquire;
    return now_ms - at_ms_[worker].load(order) <= ShedBoard<>::kFreshMs;
  }
  ShedVerdict Decide(int worker, int64_t, int64_t now_ms) {
    int64_t last_ms = last_ms_.load(std::memory_order_relaxed);
    if (now_ms - last_ms < ShedBoard<>::kEveryMs) return ShedVerdict::kWait;
    int64_t most = 0;
    int whose = worker;
    for (int i = 0; i < 2; ++i) {
      if (!Fresh(i, now_ms)) continue;
      const int64_t bytes = bytes_[i].load(std::memory_order_relaxed);
      if (bytes > most) {
        most = bytes;
        whose = i;
      }
    }
    if (most < bytes_min_) return ShedVerdict::kNobody;
    if (whose != worker) return ShedVerdict::kWait;
    if (kFault == Fault::kLoadAndStore) {
      last_ms_.store(now_ms, std::memory_order_relaxed);
      return ShedVerdict::kMine;
    }
    return last_ms_.compare_exchange_strong(last_ms, now_ms, std::memory_order_relaxed,
                                            std::memory_order_relaxed)
               ? ShedVerdict::kMine
               : ShedVerdict::kWait;
  }

 private:
  const int64_t bytes_min_;
  ModelAtomic<int64_t> bytes_[2];
  ModelAtomic<int64_t> at_ms_[2] = {-1'000'000, -1'000'000};
  ModelAtomic<uint64_t> since_{~uint64_t{0}};
  ModelAtomic<int64_t> last_ms_{-1'000'000};
};

// Two workers propose and decide at the same time; the first holds more bytes.
template <class Board>
struct ShedModel : Model {
  void Start() override {
    Name(board, "board");
    for (int i = 0; i < 2; ++i) {
      StartThread("worker" + std::to_string(i), [this, i] { Worker(i); });
    }
  }
  void Worker(int i) {
    constexpr int64_t kSinceMs = 1'000;
    const int64_t now_ms = 1'300 + 10 * i;
    const bool heavy = i == 0;
    // The worker's earlier proposal was smaller, and is no longer fresh.
    board.Propose(i, 10, 1'000);
    board.Propose(i, heavy ? 500 : 100, now_ms);
    const bool knows = board.Fresh(1 - i, now_ms);
    if (board.Decide(i, kSinceMs, now_ms) != ShedVerdict::kMine) return;
    if (!heavy && knows) Fail("the lighter one is ended though the heavier one was known");
    ++claims;
  }
  void CheckStep() override {
    if (claims > 1) Fail("two connections are ended at one time");
  }
  Board board{2, 50};
  int claims = 0;
};

// Workers that find memory spent at different times agree on when that began.
template <class Board>
struct SinceModel : Model {
  void Start() override {
    Name(board, "board");
    for (int i = 0; i < 3; ++i) {
      StartThread("worker" + std::to_string(i), [this, i] {
        (void)board.SpentSinceMs(3, 1'000 + i);
        const int64_t since_ms = board.SpentSinceMs(3, 2'000 + i);
        if (since_ms < 1'000 || since_ms > 1'002) Fail("it is not when one found it spent");
        agreed[i].Set(static_cast<uint64_t>(since_ms));
      });
    }
  }
  void CheckEnd() override {
    for (const internal::Cell& each : agreed) {
      if (each.Value() != agreed[0].Value()) Fail("workers disagree on since when it is spent");
    }
  }
  Board board{3, 50};
  internal::Cell agreed[3] = {internal::Cell(0), internal::Cell(0), internal::Cell(0)};
};

template <class M>
Report ExploreWith(Memory memory) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<M>(options);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(ShedBoardModel, EndsHeaviestKnownConnectionsOneByOne) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso, Memory::kViews}) {
    const Report report = ExploreWith<ShedModel<ShedBoard<ModelAtomics>>>(memory);
    EXPECT_FALSE(report.failed) << report.failure;
    EXPECT_TRUE(report.complete);
    EXPECT_GT(report.executions, 300);
  }
}

TEST(ShedBoardModel, WorkersAgreeSinceWhenMemoryIsSpent) {
  for (const Memory memory : {Memory::kSequential, Memory::kTso, Memory::kPso, Memory::kViews}) {
    const Report report = ExploreWith<SinceModel<ShedBoard<ModelAtomics>>>(memory);
    EXPECT_FALSE(report.failed) << report.failure;
    EXPECT_TRUE(report.complete);
    EXPECT_GT(report.executions, 100);
  }
}

TEST(ShedBoardModel, TheCopyWithoutAFaultHolds) {
  EXPECT_FALSE(ExploreWith<ShedModel<FaultyBoard<Fault::kNone>>>(Memory::kPso).failed);
  EXPECT_FALSE(ExploreWith<ShedModel<FaultyBoard<Fault::kNone>>>(Memory::kViews).failed);
  EXPECT_FALSE(ExploreWith<SinceModel<FaultyBoard<Fault::kNone>>>(Memory::kViews).failed);
}

TEST(ShedBoardModel, PlantedTimeBeforeItsBytesIsFound) {
  EXPECT_TRUE(
      ExploreWith<ShedModel<FaultyBoard<Fault::kTimeBeforeBytes>>>(Memory::kSequential).failed);
}

TEST(ShedBoardModel, PlantedUnorderedTimeIsFoundInWeakMemory) {
  EXPECT_TRUE(ExploreWith<ShedModel<FaultyBoard<Fault::kRelaxedTime>>>(Memory::kPso).failed);
  EXPECT_TRUE(ExploreWith<ShedModel<FaultyBoard<Fault::kRelaxedLook>>>(Memory::kViews).failed);
}

TEST(ShedBoardModel, PlantedClaimWithoutCompareExchangeIsFound) {
  EXPECT_TRUE(
      ExploreWith<ShedModel<FaultyBoard<Fault::kLoadAndStore>>>(Memory::kSequential).failed);
}

TEST(ShedBoardModel, PlantedTimeOfEachItsOwnIsFound) {
  EXPECT_TRUE(
      ExploreWith<SinceModel<FaultyBoard<Fault::kEachItsOwnTime>>>(Memory::kSequential).failed);
}

}  // namespace
}  // namespace sluice::model
