// Actors that come and go, and actors that only live.
#include <atomic>
#include <cstdint>
#include <memory>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "bench/sluice/support.h"
#include "bench/sluice/workloads.h"
#include "sluice/sluice.h"

namespace bench {
namespace create {

constexpr int kBatch = 64;      // The last actor of a batch tells the creator.
constexpr int kBatchesMax = 4;  // On their way at once.

class Creator;
struct Batch {
  std::atomic<int> left{0};  // Each actor takes one off; the last one's release meets the creator.
};
struct Ended {
  Batch* batch;
};

class Short : public sluice::Actor {
 public:
  Short(sluice::Ref<Creator> creator, Batch* batch, uint64_t number)
      : creator_(creator), batch_(*batch), number_(number) {}
  void On(const Message& message);

 private:
  const sluice::Ref<Creator> creator_;
  Batch& batch_;
  const uint64_t number_;
};

// With two workers all that it creates is on the other one.
class Creator : public sluice::Actor {
 public:
  explicit Creator(Watch* watch) : watch_(*watch) {}
  void OnStart() override {
    there_.worker = runtime().WorkerCount() - 1;
    for (Batch& batch : batches_) Begin(batch);
  }
  void On(Ended ended) {
    if (watch_.Count(kBatch)) Begin(*ended.batch);
  }

 private:
  void Begin(Batch& batch) {
    batch.left.store(kBatch, std::memory_order_relaxed);
    for (int i = 0; i < kBatch; ++i) {
      ++number_;
      const auto made = SpawnWith<Short>(there_, RefOf(this), &batch, number_);
      MustBe(Send(made, MakeMessage(number_)));
    }
  }

  Watch& watch_;
  sluice::SpawnOptions there_;
  Batch batches_[kBatchesMax];
  uint64_t number_ = 0;
};

void Short::On(const Message& message) {
  Expect(message, number_);
  Stop();
  if (batch_.left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    MustBe(Send(creator_, Ended{&batch_}));
  }
}

class Quiet : public sluice::Actor {
 public:
  Quiet(Watch* watch, uint64_t number) : watch_(*watch), number_(number) {}
  void On(const Message& message) {
    Expect(message, number_);
    watch_.Count();
  }

 private:
  Watch& watch_;
  const uint64_t number_;
};

struct More {};

// Roots: a child takes more memory, for its place among its parent's children.
class Maker : public sluice::Actor {
 public:
  explicit Maker(Watch* watch) : watch_(*watch) {}
  void OnStart() override { GoOn(); }
  void On(More) {
    for (int i = 0; i < kBatch && made_ < watch_.Total(); ++i) {
      const uint64_t number = static_cast<uint64_t>(++made_);
      MustBe(Send(runtime().Spawn<Quiet>(&watch_, number), MakeMessage(number)));
    }
    if (made_ < watch_.Total()) GoOn();
  }

 private:
  void GoOn() { MustBe(Send(RefOf(this), More{})); }

  Watch& watch_;
  int64_t made_ = 0;
};

}  // namespace create

void Create(const Run& run) {
  Watch watch(run.operations, create::kBatch);
  sluice::Runtime runtime(WithWorkers(run.workers));
  runtime.Spawn<create::Creator>(&watch);
  RunToTheEnd(runtime, watch);
  Print(watch);
}

void Idle(const Run& run) {
  Watch watch(run.operations);
  sluice::Options options = WithWorkers(run.workers);
  options.actors_max = static_cast<uint32_t>(watch.Total()) + 2;
  sluice::Runtime runtime(options);
  const int64_t before = StatusBytes("VmRSS:");
  runtime.Spawn<create::Maker>(&watch);
  RunToTheEnd(runtime, watch);
  Print(watch, (StatusBytes("VmRSS:") - before) / watch.Total());
}

}  // namespace bench
