#include <cstdio>
#include <latch>
#include <stdexcept>
#include <string>

#include "sluice/sluice.h"

struct Request {
  int number;
};

class Cache : public sluice::Actor {
 public:
  explicit Cache(std::string file) : file_(std::move(file)) {}
  void OnStart() override { std::printf("the cache of %s starts empty\n", file_.c_str()); }
  void On(Request request) {
    if (request.number == 2) throw std::runtime_error("a bad entry");
    std::printf("request %d is answered\n", request.number);
  }

 private:
  const std::string file_;
};

class Boss : public sluice::Actor {
 public:
  void OnStart() override {
    // The runtime keeps the arguments, and constructs the next incarnation with them.
    const sluice::Ref<Cache> cache = SpawnRestarting<Cache>(
        {.restarts_max = 1, .within = absl::Seconds(60)}, {}, std::string("prices"));
    // The second request makes the actor fail. The third waits in the mailbox, and reaches the next
    // incarnation through the same Ref. The fourth is one failure too many.
    for (int number : {1, 2, 3, 2}) {
      if (Send(cache, Request{number}) != sluice::Answer::kAccepted) return Stop("no cache");
    }
  }
};

class Top : public sluice::Actor {
 public:
  explicit Top(std::latch* done) : done_(*done) {}
  void OnStart() override { Monitor(Spawn<Boss>()); }
  // A child that fails too often makes its parent fail, which may be restarted in turn, or not.
  void OnDown(const sluice::Down& down) override {
    std::printf("the boss failed: %s\n", down.reason == sluice::EndReason::kFailed ? "yes" : "no");
    done_.count_down();
  }

 private:
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Options options;
  options.log_level = "off";
  sluice::Runtime runtime(options);
  runtime.Spawn<Top>(&done);
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
  std::printf("restarted: %d\n", static_cast<int>(runtime.TotalLedger().restarted));
}
