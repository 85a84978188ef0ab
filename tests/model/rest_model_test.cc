// Every interleaving of workers that send to each other, sleep and wake with the coordinator of a
// drain, which checks whether all workers rest.
#include <algorithm>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/tests/model/words.h"

namespace sluice::model {
namespace {

// Faults, each of which must be found.
enum class Fault {
  kNone,
  kOneLook,             // The coordinator believes its first look.
  kStaysAtRest,         // A worker takes and sends while it is still published as resting.
  kCountsAfterEnqueue,  // An outside thread counts a message that can be taken already.
  kRestsBeforeCounts,   // A worker publishes that it rests before its sent and taken counts.
  kRelaxedRest,         // Nothing orders the two: the worker's store...
  kRelaxedLook,         // ... or the coordinator's load.
};

template <Fault kFault>
class FaultyCounts {
 public:
  void Publish(bool rests, const RestFigures& figures) {
    rests_ = rests;
    const auto order =
        kFault == Fault::kRelaxedRest ? std::memory_order_relaxed : std::memory_order_release;
    if (kFault == Fault::kRestsBeforeCounts) resting_.store(rests, order);
    sent_.store(figures.sent, std::memory_order_relaxed);
    taken_.store(figures.taken, std::memory_order_relaxed);
    if (kFault != Fault::kRestsBeforeCounts) resting_.store(rests, order);
  }
  bool Rests() const { return rests_; }
  bool Resting() const {
    return resting_.load(kFault == Fault::kRelaxedLook ? std::memory_order_relaxed
                                                       : std::memory_order_acquire);
  }
  int64_t Sent() const { return sent_.load(std::memory_order_relaxed); }
  int64_t Taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  bool rests_ = false;
  ModelAtomic<bool> resting_{false};
  ModelAtomic<int64_t> sent_{0};
  ModelAtomic<int64_t> taken_{0};
};

constexpr int kWorkers = 2;

struct RestConfig {
  int64_t sends[2] = {1, 1};   // Messages of each worker to the other one, in all.
  int64_t at_once = 1;         // Messages sent for each message taken, one by one.
  bool begins_at_work = true;  // Worker 0 starts with messages to send.
  bool outside = false;        // An outside thread sends one message to worker 0.
  int looks = 2;               // At any time; more follow, once all is done.
};

template <class Counts>
struct RestModel : Model {
  RestModel(const RestConfig& config, Fault fault) : config(config), fault(fault) {}

  struct WorkerState {
    SleepWord<ModelAtomics> sleep;
    ModelAtomic<uint32_t> eventfd{0};
    Counts rest;
    RestFigures figures;
    ModelAtomic<int64_t> lanes[kWorkers + 1];  // By sender; the last lane is the outside's.
    int64_t taken_from[kWorkers + 1] = {};
    int64_t sends = 0;
    int64_t work = 0;  // Messages to send now.
    bool asleep = false;
  };

  void Start() override {
    for (int i = 0; i < kWorkers; ++i) {
      WorkerState& worker = workers[i];
      const std::string index = std::to_string(i);
      Name(worker.sleep, "sleep" + index);
      Name(worker.eventfd, "eventfd" + index);
      Name(worker.rest, "rest" + index);
      Name(worker.lanes, "lane-to-" + index);
      worker.sends = config.sends[i];
      StartThread("worker" + index, [this, i] { Worker(i); });
    }
    Name(outside_sent, "outside");
    workers[0].work = config.begins_at_work ? 1 : 0;
    outside_done = !config.outside;
    if (config.outside) StartThread("outside", [this] { Outside(); });
    StartThread("coordinator", [this] { Coordinator(); });
  }

  void Rouse(WorkerState& worker) {
    if (worker.sleep.Rouse()) worker.eventfd.fetch_add(1);
  }
  bool Drain(WorkerState& worker) {
    bool any = false;
    for (int from = 0; from <= kWorkers; ++from) {
      const int64_t sent = worker.lanes[from].load(std::memory_order_acquire);
      const int64_t count = sent - worker.taken_from[from];
      worker.taken_from[from] = sent;
      worker.figures.taken += count;
      const int64_t sends = std::min(count * config.at_once, worker.sends);
      worker.sends -= sends;
      worker.work += sends;
      any = any || count > 0;
      SeeCalm();
    }
    return any;
  }
  static void KnowsOnly(const WorkerState& worker, uint64_t place) {
    uint64_t hash = place;
    for (const int64_t taken : worker.taken_from) hash = Mix(hash, static_cast<uint64_t>(taken));
    hash = Mix(hash, static_cast<uint64_t>(worker.figures.sent));
    hash = Mix(hash, static_cast<uint64_t>(worker.sends));
    Summarize(Mix(hash, worker.rest.Rests()));
  }
  // As Worker::Turn and Worker::Sleep do.
  void Worker(int i) {
    WorkerState& worker = workers[i];
    WorkerState& next = workers[(i + 1) % kWorkers];
    for (;;) {
      KnowsOnly(worker, 1);
      Drain(worker);
      while (worker.work > 0) {
        --worker.work;
        ++worker.figures.sent;
        next.lanes[i].store(worker.figures.sent, std::memory_order_release);
        Rouse(next);
      }
      worker.sleep.FallAsleep();
      KnowsOnly(worker, 2);
      if (Drain(worker)) {
        worker.sleep.WakeUp();
        continue;
      }
      worker.rest.Publish(true, worker.figures);
      worker.asleep = true;
      WaitUntil(
          "eventfd", [&] { return worker.eventfd.load() > 0; }, Wait::kMayStay);
      worker.asleep = false;
      if (fault != Fault::kStaysAtRest) worker.rest.Publish(false, worker.figures);
      worker.eventfd.exchange(0);
      worker.sleep.WakeUp();
    }
  }
  void Outside() {
    if (fault != Fault::kCountsAfterEnqueue) outside_sent.fetch_add(1, std::memory_order_relaxed);
    ++outside_enqueued;
    workers[0].lanes[kWorkers].store(1, std::memory_order_release);
    Rouse(workers[0]);
    if (fault == Fault::kCountsAfterEnqueue) outside_sent.fetch_add(1, std::memory_order_relaxed);
    outside_done = true;
  }

  // No worker has work, and all that was sent was taken. (A worker may be awake for nothing.)
  bool Calm() const {
    int64_t on_the_way = outside_enqueued;
    for (int i = 0; i < kWorkers; ++i) {
      if (workers[i].work > 0) return false;
      on_the_way += workers[i].figures.sent - workers[i].figures.taken;
    }
    return on_the_way == 0;
  }
  void SeeCalm() {
    if (!Calm()) return;
    calm_since_look.Set(1);
    calm_since_look_before.Set(1);
  }
  bool Look() {
    const int64_t outside = outside_sent.load(std::memory_order_relaxed);
    calm_since_look_before.Set(calm_since_look.Value());
    calm_since_look.Set(Calm());
    const auto counts_of = [](const WorkerState& worker) -> const Counts& { return worker.rest; };
    if (fault == Fault::kOneLook) return OneLook(outside);
    return watch.Look(outside, workers, counts_of);
  }
  bool OneLook(int64_t outside) const {
    int64_t on_the_way = outside;
    for (const WorkerState& worker : workers) {
      if (!worker.rest.Resting()) return false;
      on_the_way += worker.rest.Sent();
      on_the_way -= worker.rest.Taken();
    }
    return on_the_way == 0;
  }
  void Coordinator() {
    for (int i = 0; i < config.looks; ++i) {
      if (Look() && calm_since_look_before.Value() == 0) Fail("quiet was said too early");
    }
    WaitUntil("all at rest", [this] {
      if (!Calm() || !outside_done) return false;
      for (const WorkerState& worker : workers) {
        if (!worker.asleep || worker.eventfd.load() > 0 || !worker.rest.Resting() ||
            worker.rest.Sent() != worker.figures.sent ||
            worker.rest.Taken() != worker.figures.taken) {
          return false;
        }
      }
      return true;
    });
    for (int i = 0; i < 6; ++i) {  // Two, and a few for loads that read old values.
      if (Look()) return;
    }
    Fail("quiet was never reported");
  }

  const RestConfig config;
  const Fault fault;
  WorkerState workers[kWorkers];
  ModelAtomic<int64_t> outside_sent{0};
  int64_t outside_enqueued = 0;
  bool outside_done = false;
  RestWatch watch;
  internal::Cell calm_since_look{0};
  internal::Cell calm_since_look_before{0};
};

template <class Counts = RestCounts<ModelAtomics>>
Report ExploreRest(Memory memory, const RestConfig& config, Fault fault = Fault::kNone) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<RestModel<Counts>>(options, config, fault);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

void ExpectHolds(Memory memory, const RestConfig& config, int64_t executions) {
  const Report report = ExploreRest(memory, config);
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.executions, executions);
}

TEST(RestModel, QuietIsFoundAtLastNeverEarly) {
  ExpectHolds(Memory::kSequential, {.sends = {0, 1}}, 100'000);
  ExpectHolds(Memory::kSequential, {.sends = {0, 0}, .looks = 3}, 10'000);
  ExpectHolds(Memory::kTso, {.sends = {0, 0}, .begins_at_work = false, .outside = true}, 10'000);
  ExpectHolds(Memory::kTso, {.sends = {0, 1}}, 100'000);
  ExpectHolds(Memory::kPso, {.sends = {0, 0}}, 100'000);
  ExpectHolds(Memory::kViews, {.sends = {0, 0}}, 50'000);
}

void ExpectFound(const Report& report) {
  EXPECT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("quiet was said too early"), std::string::npos) << report.failure;
}

TEST(RestModel, PlantedBeliefInOneLookIsFound) {
  ExpectFound(ExploreRest(Memory::kSequential, {}, Fault::kOneLook));
}

TEST(RestModel, PlantedWorkWhileAtRestIsFound) {
  ExpectFound(ExploreRest(Memory::kSequential,
                          {.sends = {2, 0}, .at_once = 2, .begins_at_work = false, .outside = true},
                          Fault::kStaysAtRest));
}

TEST(RestModel, PlantedCountAfterEnqueueIsFound) {
  ExpectFound(ExploreRest(Memory::kSequential,
                          {.sends = {0, 0}, .begins_at_work = false, .outside = true},
                          Fault::kCountsAfterEnqueue));
}

TEST(RestModel, PlantedRestBeforeItsCountsIsFound) {
  ExpectFound(ExploreRest<FaultyCounts<Fault::kRestsBeforeCounts>>(Memory::kSequential, {}));
}

TEST(RestModel, PlantedUnorderedRestIsFoundInWeakMemory) {
  ExpectFound(ExploreRest<FaultyCounts<Fault::kRelaxedRest>>(Memory::kPso, {}));
  ExpectFound(ExploreRest<FaultyCounts<Fault::kRelaxedLook>>(Memory::kViews, {}));
}

}  // namespace
}  // namespace sluice::model
