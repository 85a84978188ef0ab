// Tests of the explorer itself: it must find each failure that is possible, and no other.
#include "sluice/tests/model/explorer.h"

#include "gtest/gtest.h"

namespace sluice::model {
namespace {

using Word = ModelAtomic<uint32_t>;

// Each of two threads stores 1, then reads the other's variable. If stores are delayed, both read
// 0.
struct StoreBuffering : Model {
  explicit StoreBuffering(std::memory_order order) : order(order) {}
  void Start() override {
    StartThread("left", [this] { (x.store(1, order), read_y = y.load(order)); });
    StartThread("right", [this] { (y.store(1, order), read_x = x.load(order)); });
  }
  void CheckEnd() override {
    if (read_x == 0 && read_y == 0) Fail("both read 0");
  }
  const std::memory_order order;
  Word x{0}, y{0};
  uint32_t read_x = 9, read_y = 9;
};

// A thread publishes data by a flag.
struct MessagePassing : Model {
  explicit MessagePassing(std::memory_order order,
                          std::memory_order load_order = std::memory_order_acquire)
      : order(order), load_order(load_order) {}
  void Start() override {
    Name(data, "data");
    Name(flag, "flag");
    StartThread("writer", [this] {
      data.store(42, std::memory_order_relaxed);
      flag.store(1, order);
    });
    StartThread("reader", [this] {
      if (flag.load(load_order) == 1 && data.load(std::memory_order_relaxed) != 42) {
        Fail("the flag came before the data");
      }
    });
  }
  const std::memory_order order;
  const std::memory_order load_order;
  Word data{0}, flag{0};
};

// As MessagePassing, but a third thread changes the flag on its way, without any memory order.
struct Relay : Model {
  explicit Relay(bool modifies) : modifies(modifies) {}
  void Start() override {
    StartThread("writer", [this] {
      data.store(42, std::memory_order_relaxed);
      flag.store(1, std::memory_order_release);
    });
    StartThread("relay", [this] {
      if (modifies) {
        flag.fetch_add(1, std::memory_order_relaxed);
      } else if (flag.load(std::memory_order_relaxed) == 1) {
        flag.store(2, std::memory_order_relaxed);
      }
    });
    StartThread("reader", [this] {
      if (flag.load(std::memory_order_acquire) == 2 && data.load(std::memory_order_relaxed) != 42) {
        Fail("the flag came before the data");
      }
    });
  }
  const bool modifies;
  Word data{0}, flag{0};
};

// Counts with a compare-exchange that may fail for no reason (`atomic`), or with a load and a
// store.
struct Count : Model {
  explicit Count(bool atomic) : atomic(atomic) {}
  void Start() override {
    for (const char* name : {"a", "b", "c"}) {
      StartThread(name, [this] {
        uint32_t old = count.load(std::memory_order_relaxed);
        if (!atomic) return count.store(old + 1);
        while (!count.compare_exchange_weak(old, old + 1, std::memory_order_relaxed,
                                            std::memory_order_relaxed)) {
        }
      });
    }
  }
  void CheckEnd() override {
    if (count.load() != 3) Fail("a count was lost");
  }
  const bool atomic;
  Word count{0};
};

struct Deadlock : Model {
  void Start() override {
    StartThread("server", [this] {
      WaitUntil(
          "a request", [this] { return request.load() == 1; }, Wait::kMayStay);
    });
    StartThread("client",
                [this] { WaitUntil("an answer", [this] { return answer.load() == 1; }); });
  }
  Word request{0}, answer{0};
};

struct Endless : Model {
  void Start() override {
    StartThread("spinner", [this] {
      while (flag.load() == 0) {
      }
    });
  }
  Word flag{0};
};

// Two threads of n steps each on two variables.
struct Steps : Model {
  explicit Steps(int n) : n(n) {}
  void Start() override {
    StartThread("a", [this] { Walk(x); });
    StartThread("b", [this] { Walk(y); });
  }
  void Walk(Word& word) {
    for (int i = 0; i < n; ++i) word.fetch_add(1);
  }
  const int n;
  Word x{0}, y{0};
};

ExploreOptions With(Memory memory) {
  ExploreOptions options;
  options.memory = memory;
  return options;
}

TEST(Explorer, DelaysStoresPastLoadsAsAProcessorDoes) {
  EXPECT_FALSE(
      Explore<StoreBuffering>(With(Memory::kSequential), std::memory_order_release).failed);
  EXPECT_TRUE(Explore<StoreBuffering>(With(Memory::kTso), std::memory_order_release).failed);
  EXPECT_FALSE(Explore<StoreBuffering>(With(Memory::kTso), std::memory_order_seq_cst).failed);
  EXPECT_FALSE(Explore<StoreBuffering>(With(Memory::kPso), std::memory_order_seq_cst).failed);
}

TEST(Explorer, OnlyRelaxedStoresReorderInTheWeakerModel) {
  EXPECT_FALSE(Explore<MessagePassing>(With(Memory::kTso), std::memory_order_relaxed).failed);
  EXPECT_TRUE(Explore<MessagePassing>(With(Memory::kPso), std::memory_order_relaxed).failed);
  EXPECT_FALSE(Explore<MessagePassing>(With(Memory::kPso), std::memory_order_release).failed);
}

TEST(Explorer, LoadsReadOldValuesUnlessAcquireMeetsRelease) {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  constexpr auto kAcquire = std::memory_order_acquire;
  constexpr auto kRelease = std::memory_order_release;
  const ExploreOptions views = With(Memory::kViews);
  EXPECT_TRUE(Explore<MessagePassing>(views, kRelaxed, kAcquire).failed);
  EXPECT_TRUE(Explore<MessagePassing>(views, kRelease, kRelaxed).failed);
  EXPECT_FALSE(Explore<MessagePassing>(With(Memory::kPso), kRelease, kRelaxed).failed);
  const Report report = Explore<MessagePassing>(views, kRelease, kAcquire);
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_TRUE(Explore<StoreBuffering>(views, kRelease).failed);
  EXPECT_FALSE(Explore<StoreBuffering>(views, std::memory_order_seq_cst).failed);
}

// The shared words rely on this: any read-modify-write carries a release on.
TEST(Explorer, OnlyReadModifyWritesCarryAReleaseOn) {
  EXPECT_FALSE(Explore<Relay>(With(Memory::kViews), /*modifies=*/true).failed);
  EXPECT_TRUE(Explore<Relay>(With(Memory::kViews), /*modifies=*/false).failed);
}

TEST(Explorer, FailureIsPrintedAsItsShortestWay) {
  const Report report = Explore<MessagePassing>(With(Memory::kPso), std::memory_order_relaxed);
  EXPECT_EQ(report.failure_steps, 3);
  EXPECT_EQ(report.failure,
            "the flag came before the data\n"
            "   0  writer     data.store(42)\n"
            "   0  writer     flag.store(1)\n"
            "   1  writer       its store reaches memory: flag = 1\n"
            "   2  reader     flag.load -> 1\n"
            "   3  reader     data.load -> 0\n"
            "      writer is done\n"
            "      reader failed\n");
}

TEST(Explorer, FindsTheLostCount) {
  ExploreOptions options = With(Memory::kTso);
  options.weak_failures_max = 1;
  EXPECT_TRUE(Explore<Count>(options, false).failed);
  const Report report = Explore<Count>(options, true);
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
}

TEST(Explorer, OnlyAWaitThatMustEndIsADeadlock) {
  const Report report = Explore<Deadlock>(With(Memory::kTso));
  EXPECT_TRUE(report.failed);
  EXPECT_EQ(report.failure.substr(0, report.failure.find('\n')),
            "client waits for ever: an answer");
}

TEST(Explorer, RunWithoutAnEndFails) {
  EXPECT_EQ(Explore<Endless>(With(Memory::kTso)).failure.substr(0, 16), "a run has no end");
}

// n steps each: (n + 1)^2 states, all but those where one thread is done with two ways on.
TEST(Explorer, ExploresEachStateOnce) {
  const Report report = Explore<Steps>(With(Memory::kTso), 20);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.states, 20 * 20);
  EXPECT_EQ(report.steps_longest, 40);
}

TEST(Explorer, CutShortSearchIsReportedAsIncomplete) {
  ExploreOptions options = With(Memory::kTso);
  options.executions_max = 10;
  EXPECT_FALSE(Explore<Steps>(options, 20).complete);
}

TEST(Explorer, BoundOnPreemptionsExploresLess) {
  ExploreOptions options = With(Memory::kTso);
  options.preemptions_max = 0;
  const Report report = Explore<Steps>(options, 20);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.executions, 2);
}

}  // namespace
}  // namespace sluice::model
