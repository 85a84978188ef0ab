// Savina's benchmarks of many actors that meet: chameneos, big, dining philosophers.
#include <caf/all.hpp>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/caf/support.h"
#include "bench/savina/problems.h"
#include "bench/savina/savina.h"

namespace bench::meetings {

struct Meet {
  caf::actor chameneo;
  Color color;
};
struct Change {
  Color color;
};
struct Leave {};
struct Met {
  int64_t meetings;
};
struct Introduce {
  std::shared_ptr<const std::vector<caf::actor>> all;
};
struct BigPing {
  caf::actor from;
};
struct BigPong {};
struct Finished {};
struct Hungry {
  caf::actor philosopher;
  int64_t seat;
};
struct Eat {};
struct Denied {};
struct Full {
  int64_t seat;
};
struct Gone {};

}  // namespace bench::meetings

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Meet)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Change)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Leave)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Met)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Introduce)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::BigPing)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::BigPong)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Finished)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Hungry)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Eat)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Denied)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Full)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::meetings::Gone)

namespace bench {
namespace meetings {

// --- Chameneos.

class Mall : public caf::event_based_actor {
 public:
  Mall(caf::actor_config& config, Watch* watch)
      : event_based_actor(config), watch_(*watch), left_(watch->Operations()) {}
  caf::behavior make_behavior() override {
    return {[this](const Meet& meet) {
              if (left_ == 0) {
                send(meet.chameneo, Leave{});
              } else if (!waiting_) {
                waiting_ = meet.chameneo;
              } else {
                send(waiting_, meet);
                waiting_ = nullptr;
                --left_;
              }
            },
            [this](Met met) {
              met_ += met.meetings;
              if (++gone_ < kChameneos) return;
              ExpectNumber("chameneos that have met", met_, 2 * watch_.Operations());
              watch_.End();
            }};
  }

 private:
  Watch& watch_;
  caf::actor waiting_;
  int64_t left_;
  int64_t met_ = 0;
  int64_t gone_ = 0;
};

class Chameneo : public caf::event_based_actor {
 public:
  Chameneo(caf::actor_config& config, caf::actor mall, Color color)
      : event_based_actor(config), mall_(std::move(mall)), color_(color) {}
  caf::behavior make_behavior() override {
    GoToMall();
    return {[this](const Meet& other) {
              color_ = Complement(color_, other.color);
              send(other.chameneo, Change{color_});
              ++met_;
              GoToMall();
            },
            [this](Change change) {
              color_ = change.color;
              ++met_;
              GoToMall();
            },
            [this](Leave) {
              send(mall_, Met{met_});
              quit();
            }};
  }

 private:
  void GoToMall() { send(mall_, Meet{caf::actor(this), color_}); }
  const caf::actor mall_;
  Color color_;
  int64_t met_ = 0;
};

// --- Big.

class Sink : public caf::event_based_actor {
 public:
  Sink(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    return {[this](Finished) {
      if (++finished_ == kBigActors) watch_.End();
    }};
  }

 private:
  Watch& watch_;
  int64_t finished_ = 0;
};

class Neighbour : public caf::event_based_actor {
 public:
  Neighbour(caf::actor_config& config, caf::actor sink, int64_t number, int64_t pings)
      : event_based_actor(config),
        sink_(std::move(sink)),
        random_(static_cast<uint64_t>(number)),
        left_(pings) {}
  caf::behavior make_behavior() override {
    return {[this](const Introduce& introduce) {
              all_ = introduce.all;
              PingOne();
            },
            [this](const BigPing& ping) { send(ping.from, BigPong{}); },
            [this](BigPong) {
              if (--left_ > 0) {
                PingOne();
              } else {
                send(sink_, Finished{});
              }
            }};
  }

 private:
  void PingOne() {
    send((*all_)[static_cast<size_t>(random_.Below(kBigActors))], BigPing{caf::actor(this)});
  }
  const caf::actor sink_;
  Random random_;
  std::shared_ptr<const std::vector<caf::actor>> all_;
  int64_t left_;
};

// --- Dining philosophers.

class Arbitrator : public caf::event_based_actor {
 public:
  Arbitrator(caf::actor_config& config, Watch* watch)
      : event_based_actor(config), watch_(*watch), taken_(kPhilosophers) {}
  caf::behavior make_behavior() override {
    return {[this](const Hungry& hungry) {
              if (Left(hungry.seat) || Right(hungry.seat)) {
                send(hungry.philosopher, Denied{});
              } else {
                Left(hungry.seat) = Right(hungry.seat) = true;
                send(hungry.philosopher, Eat{});
              }
            },
            [this](Full full) {
              ++meals_;
              Left(full.seat) = Right(full.seat) = false;
            },
            [this](Gone) {
              if (++gone_ < kPhilosophers) return;
              ExpectNumber("meals", meals_, watch_.Operations());
              watch_.End();
            }};
  }

 private:
  std::vector<bool>::reference Left(int64_t seat) { return taken_[static_cast<size_t>(seat)]; }
  std::vector<bool>::reference Right(int64_t seat) { return Left((seat + 1) % kPhilosophers); }
  Watch& watch_;
  std::vector<bool> taken_;
  int64_t meals_ = 0;
  int64_t gone_ = 0;
};

class Philosopher : public caf::event_based_actor {
 public:
  Philosopher(caf::actor_config& config, caf::actor arbitrator, int64_t seat, int64_t meals)
      : event_based_actor(config), arbitrator_(std::move(arbitrator)), seat_(seat), left_(meals) {}
  caf::behavior make_behavior() override {
    AskForForks();
    return {[this](Denied) { AskForForks(); },
            [this](Eat) {
              send(arbitrator_, Full{seat_});
              if (--left_ > 0) {
                AskForForks();
              } else {
                send(arbitrator_, Gone{});
              }
            }};
  }

 private:
  void AskForForks() { send(arbitrator_, Hungry{caf::actor(this), seat_}); }
  const caf::actor arbitrator_;
  const int64_t seat_;
  int64_t left_;
};

}  // namespace meetings

void Chameneos(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor mall = system.spawn<meetings::Mall>(&watch);
    for (int64_t i = 0; i < kChameneos; ++i) {
      system.spawn<meetings::Chameneo>(mall, static_cast<Color>(i % 3));
    }
  });
}

void Big(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor sink = system.spawn<meetings::Sink>(&watch);
    std::vector<caf::actor> all;
    for (int64_t i = 0; i < kBigActors; ++i) {
      all.push_back(system.spawn<meetings::Neighbour>(sink, i, watch.Operations() / kBigActors));
    }
    const auto shared = std::make_shared<const std::vector<caf::actor>>(std::move(all));
    for (const caf::actor& neighbour : *shared) {
      caf::anon_send(neighbour, meetings::Introduce{shared});
    }
  });
}

void Philosophers(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor arbitrator = system.spawn<meetings::Arbitrator>(&watch);
    for (int64_t seat = 0; seat < kPhilosophers; ++seat) {
      system.spawn<meetings::Philosopher>(arbitrator, seat, watch.Operations() / kPhilosophers);
    }
  });
}

}  // namespace bench
