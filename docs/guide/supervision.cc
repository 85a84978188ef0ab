#include <cstdio>
#include <latch>
#include <stdexcept>
#include <string>

#include "sluice/sluice.h"

struct Work {
  int divisor;
};

class Worker : public sluice::Actor {
 public:
  void On(Work work) {
    if (work.divisor == 0) throw std::invalid_argument("division by zero");
    std::printf("100 / %d = %d\n", work.divisor, 100 / work.divisor);
  }
};

class Boss : public sluice::Actor {
 public:
  explicit Boss(std::latch* done) : done_(*done) {}
  void OnStart() override { Begin(); }
  // Called once for each Monitor, after the last message of the actor that ended.
  void OnDown(const sluice::Down& down) override {
    std::printf("worker %s: %s\n", std::string(sluice::EndReasonName(down.reason)).c_str(),
                down.text.c_str());
    if (++ended_ < 2) return Begin();
    done_.count_down();
  }
  void OnStop() override { std::printf("the boss goes last\n"); }

 private:
  void Begin() {
    const sluice::Ref<Worker> worker = Spawn<Worker>();  // A child: it ends before this actor does.
    Monitor(worker);
    // 0: an exception ends the actor, not the program. Messages that still wait (5) are dropped,
    // counted.
    for (int divisor : {4, 0, 5}) {
      if (Send(worker, Work{divisor}) != sluice::Answer::kAccepted) return Stop("no worker");
    }
  }
  int ended_ = 0;
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Options options;
  options.log_level = "off";
  sluice::Runtime runtime(options);
  runtime.Spawn<Boss>(&done);
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
  std::printf("balanced: %s\n", runtime.TotalLedger().Balanced() ? "yes" : "no");
}
