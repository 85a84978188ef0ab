// Every interleaving of threads that take credits with the owner, which gives some back, closes the
// word and opens it again.
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

// A wrong Take: it takes first, and puts back if there was no credit.
template <class Atomics>
class AddFirstWord {
 public:
  uint32_t Open(uint32_t credits) {
    const uint64_t generation = (word_.load(std::memory_order_relaxed) >> 32) + 1;
    word_.store(generation << 32 | (kNone + credits), std::memory_order_release);
    return static_cast<uint32_t>(generation);
  }
  void Close(uint32_t generation) {
    word_.exchange(uint64_t{generation + 1} << 32 | kNone, std::memory_order_acq_rel);
  }
  Taken Take(uint32_t generation) {
    const uint64_t old = word_.fetch_sub(1, std::memory_order_acq_rel);
    if (old >> 32 == generation && (old & UINT32_MAX) > kNone) return Taken::kCredit;
    word_.fetch_add(1, std::memory_order_acq_rel);
    return old >> 32 == generation ? Taken::kFull : Taken::kClosed;
  }
  bool Give(uint32_t generation, uint32_t credits) {
    if (word_.load(std::memory_order_relaxed) >> 32 != generation) return false;
    word_.fetch_add(credits, std::memory_order_acq_rel);
    return true;
  }
  uint32_t Generation() const {
    return static_cast<uint32_t>(word_.load(std::memory_order_relaxed) >> 32);
  }
  uint32_t Credits() const {
    return static_cast<uint32_t>(word_.load(std::memory_order_relaxed)) - kNone;
  }

 private:
  static constexpr uint64_t kNone =
      1000;  // High enough that a credit too few does not borrow from the generation.
  typename Atomics::template Atomic<uint64_t> word_{kNone};
};

// A wrong Give: it checks the generation, and adds afterwards.
template <class Atomics>
class LooksThenGivesWord : public MailboxWord<Atomics> {
 public:
  bool Give(uint32_t generation, uint32_t credits) {
    if (this->Generation() != generation) return false;
    return MailboxWord<Atomics>::Give(this->Generation(), credits);
  }
};

template <class Word>
struct WordModel : Model {
  WordModel(int takers, int takes, uint32_t credits, bool stranger)
      : takers(takers), takes(takes), credits(credits), stranger(stranger) {}

  void Start() override {
    Name(word, "word");
    Name(ref, "ref");
    ref.store(word.Open(credits));
    StartThread("owner", [this] {
      const uint32_t first = ref.load();
      word.Give(first, 1);  // A credit beyond the first ones: given[first].
      ++given[first];
      word.Close(first);
      const uint32_t second = word.Open(credits);
      if (second != first + 2) Fail("the generation is wrong");
      ref.store(second, std::memory_order_release);
    });
    for (int i = 0; i < takers; ++i) {
      StartThread("taker" + std::to_string(i), [this] {
        bool from_first = false;
        for (int n = 0; n < takes; ++n) {
          const uint32_t generation = ref.load(std::memory_order_acquire);
          if (word.Take(generation) != Taken::kCredit) continue;
          ++taken[generation];
          from_first = from_first || generation == 1;
        }
        // A stranger gives back a credit of the first actor at any time, so mostly too late.
        if (stranger && from_first && word.Give(1, 1)) ++given[1];
      });
    }
  }
  void CheckStep() override {
    for (const uint32_t generation : {1, 3}) {
      if (taken[generation] > credits + given[generation]) Fail("more was taken than there is");
    }
    const uint32_t generation = word.Generation();
    if (generation % 2 == 0 && word.Credits() != 0) Fail("credits where nobody lives");
  }
  void CheckEnd() override {
    const uint32_t generation = word.Generation();
    if (generation != 3) Fail("the second actor is not there");
    if (word.Credits() + taken[3] != credits + given[3]) {
      Fail("the second actor has " + std::to_string(word.Credits()) + " credits, and " +
           std::to_string(taken[3]) + " were taken");
    }
  }

  const int takers;
  const int takes;  // By each taker.
  const uint32_t credits;
  const bool stranger;
  Word word;
  ModelAtomic<uint32_t> ref{0};
  uint32_t taken[4] = {};
  uint32_t given[4] = {};
};

template <class Word>
Report ExploreWord(Memory memory, int takers, int takes, uint32_t credits, bool stranger) {
  ExploreOptions options;
  options.memory = memory;
  options.weak_failures_max = 1;
  options.old_loads_max = 1;  // Two would take a minute under a sanitizer, and find no more.
  const Report report = Explore<WordModel<Word>>(options, takers, takes, credits, stranger);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(L10Handles, WordModelStaleGenerationNeitherTakesNorGives) {
  for (const Memory memory : {Memory::kTso, Memory::kPso, Memory::kViews}) {
    for (const uint32_t credits : {1, 2}) {
      // As many states again, and no new failure.
      if (memory != Memory::kTso && credits == 2) continue;
      for (const int takers : {1, 2}) {
        const int takes = 3 - takers;
        const Report report =
            ExploreWord<MailboxWord<ModelAtomics>>(memory, takers, takes, credits, true);
        EXPECT_FALSE(report.failed) << report.failure;
        EXPECT_TRUE(report.complete);
        EXPECT_GT(report.executions, takers == 1 ? 300 : 10'000);
      }
    }
  }
}

TEST(MailboxWordModel, PlantedTakeFirstAndUndoMeetsTheNextGeneration) {
  EXPECT_TRUE(ExploreWord<AddFirstWord<ModelAtomics>>(Memory::kSequential, 1, 1, 1, false).failed);
}

TEST(MailboxWordModel, PlantedLookBeforeGiveReachesTheNextGeneration) {
  EXPECT_TRUE(
      ExploreWord<LooksThenGivesWord<ModelAtomics>>(Memory::kSequential, 1, 1, 1, true).failed);
}

}  // namespace
}  // namespace sluice::model
