// A master gives each of 64 actors a task, and goes on when all have answered.
#include <cstdint>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "bench/sluice/support.h"
#include "bench/sluice/workloads.h"
#include "sluice/sluice.h"

namespace bench {
namespace fork_join {

constexpr uint64_t kTasks = 64;

class Master;

class Helper : public sluice::Actor {
 public:
  Helper(sluice::Ref<Master> master, uint64_t number) : master_(master), number_(number) {}
  void On(const Message& task);

 private:
  const sluice::Ref<Master> master_;
  uint64_t number_;  // The next task's.
};

class Master : public sluice::Actor {
 public:
  explicit Master(Watch* watch) : watch_(*watch) {}
  void OnStart() override {
    for (uint64_t i = 0; i < kTasks; ++i) {
      sluice::SpawnOptions in_turn;
      in_turn.worker = static_cast<int>(i) % runtime().WorkerCount();
      helpers_.push_back(SpawnWith<Helper>(in_turn, RefOf(this), i));
    }
    Fork();
  }
  // An answer's number is the task's.
  void On(const Message& answer) {
    Expect(answer, answer.number);
    ExpectEqual("the round of an answer", answer.number / kTasks, round_);
    const uint64_t helper = uint64_t{1} << (answer.number % kTasks);
    ExpectEqual("an answer that came before", answered_ & helper, 0);
    answered_ |= helper;
    if (answered_ != ~uint64_t{0}) return;
    answered_ = 0;
    ++round_;
    if (watch_.Count(kTasks)) Fork();
  }

 private:
  void Fork() {
    for (uint64_t i = 0; i < kTasks; ++i)
      MustBe(Send(helpers_[i], MakeMessage(round_ * kTasks + i)));
  }

  Watch& watch_;
  std::vector<sluice::Ref<Helper>> helpers_;
  uint64_t round_ = 0;
  uint64_t answered_ = 0;  // A bit for each helper.
};

void Helper::On(const Message& task) {
  Expect(task, number_);
  number_ += kTasks;
  MustBe(Send(master_, MakeMessage(task.number)));
}

}  // namespace fork_join

void ForkJoin(const Run& run) {
  Watch watch(run.operations, fork_join::kTasks);
  sluice::Runtime runtime(WithWorkers(run.workers));
  runtime.Spawn<fork_join::Master>(&watch);
  RunToTheEnd(runtime, watch);
  Print(watch);
}

}  // namespace bench
