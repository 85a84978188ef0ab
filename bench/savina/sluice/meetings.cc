// Savina's benchmarks of many actors that meet: chameneos, big, dining philosophers.
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/problems.h"
#include "bench/savina/savina.h"
#include "bench/savina/sluice/support.h"
#include "bench/sluice/support.h"
#include "sluice/sluice.h"

namespace bench {
namespace meetings {

// --- Chameneos.

class Chameneo;
struct Meet {
  sluice::Ref<Chameneo> chameneo;
  Color color;
};
struct Change {
  Color color;
};
struct Leave {};
struct Met {
  int64_t meetings;
};

class Mall : public sluice::Actor {
 public:
  explicit Mall(Watch* watch) : watch_(*watch), left_(watch->Operations()) {}
  void On(Meet meet);
  void On(Met met) {
    met_ += met.meetings;
    if (++gone_ < kChameneos) return;
    ExpectNumber("chameneos that have met", met_, 2 * watch_.Operations());
    watch_.End();
  }

 private:
  Watch& watch_;
  sluice::Ref<Chameneo> waiting_;  // Nobody, or who came first.
  int64_t left_;
  int64_t met_ = 0;
  int64_t gone_ = 0;
};

class Chameneo : public sluice::Actor {
 public:
  Chameneo(sluice::Ref<Mall> mall, Color color) : mall_(mall), color_(color) {}
  void OnStart() override { GoToMall(); }
  void On(Meet other) {
    color_ = Complement(color_, other.color);
    MustBe(Send(other.chameneo, Change{color_}));
    ++met_;
    GoToMall();
  }
  void On(Change change) {
    color_ = change.color;
    ++met_;
    GoToMall();
  }
  void On(Leave) {
    MustBe(Send(mall_, Met{met_}));
    Stop();
  }

 private:
  void GoToMall() { MustBe(Send(mall_, Meet{RefOf(this), color_})); }
  const sluice::Ref<Mall> mall_;
  Color color_;
  int64_t met_ = 0;
};

void Mall::On(Meet meet) {
  if (left_ == 0) {
    MustBe(Send(meet.chameneo, Leave{}));
  } else if (!waiting_) {
    waiting_ = meet.chameneo;
  } else {
    MustBe(Send(waiting_, meet));
    waiting_ = {};
    --left_;
  }
}

// --- Big.

class Neighbour;
struct Introduce {
  std::shared_ptr<const std::vector<sluice::Ref<Neighbour>>> all;
};
struct BigPing {
  sluice::Ref<Neighbour> from;
};
struct BigPong {};
struct Finished {};

class Sink : public sluice::Actor {
 public:
  explicit Sink(Watch* watch) : watch_(*watch) {}
  void On(Finished) {
    if (++finished_ == kBigActors) watch_.End();
  }

 private:
  Watch& watch_;
  int64_t finished_ = 0;
};

class Neighbour : public sluice::Actor {
 public:
  Neighbour(sluice::Ref<Sink> sink, int64_t number, int64_t pings)
      : sink_(sink), random_(static_cast<uint64_t>(number)), left_(pings) {}
  void On(Introduce introduce) {
    all_ = introduce.all;
    PingOne();
  }
  void On(BigPing ping) { MustBe(Send(ping.from, BigPong{})); }
  void On(BigPong) {
    if (--left_ > 0) {
      PingOne();
    } else {
      MustBe(Send(sink_, Finished{}));
    }
  }

 private:
  void PingOne() {
    MustBe(Send((*all_)[static_cast<size_t>(random_.Below(kBigActors))], BigPing{RefOf(this)}));
  }
  const sluice::Ref<Sink> sink_;
  Random random_;
  std::shared_ptr<const std::vector<sluice::Ref<Neighbour>>> all_;
  int64_t left_;
};

// --- Dining philosophers.

class Philosopher;
struct Hungry {
  sluice::Ref<Philosopher> philosopher;
  int64_t seat;
};
struct Eat {};
struct Denied {};
struct Full {
  int64_t seat;
};
struct Gone {};

class Arbitrator : public sluice::Actor {
 public:
  explicit Arbitrator(Watch* watch) : watch_(*watch), taken_(kPhilosophers) {}
  void On(Hungry hungry);
  void On(Full full) {
    ++meals_;
    Left(full.seat) = Right(full.seat) = false;
  }
  void On(Gone) {
    if (++gone_ < kPhilosophers) return;
    ExpectNumber("meals", meals_, watch_.Operations());
    watch_.End();
  }

 private:
  std::vector<bool>::reference Left(int64_t seat) { return taken_[static_cast<size_t>(seat)]; }
  std::vector<bool>::reference Right(int64_t seat) { return Left((seat + 1) % kPhilosophers); }
  Watch& watch_;
  std::vector<bool> taken_;  // Each fork.
  int64_t meals_ = 0;
  int64_t gone_ = 0;
};

class Philosopher : public sluice::Actor {
 public:
  Philosopher(sluice::Ref<Arbitrator> arbitrator, int64_t seat, int64_t meals)
      : arbitrator_(arbitrator), seat_(seat), left_(meals) {}
  void OnStart() override { AskForForks(); }
  void On(Denied) { AskForForks(); }
  void On(Eat) {
    MustBe(Send(arbitrator_, Full{seat_}));
    if (--left_ > 0) {
      AskForForks();
    } else {
      MustBe(Send(arbitrator_, Gone{}));
    }
  }

 private:
  void AskForForks() { MustBe(Send(arbitrator_, Hungry{RefOf(this), seat_})); }
  const sluice::Ref<Arbitrator> arbitrator_;
  const int64_t seat_;
  int64_t left_;
};

void Arbitrator::On(Hungry hungry) {
  if (Left(hungry.seat) || Right(hungry.seat)) {
    MustBe(Send(hungry.philosopher, Denied{}));
  } else {
    Left(hungry.seat) = Right(hungry.seat) = true;
    MustBe(Send(hungry.philosopher, Eat{}));
  }
}

}  // namespace meetings

void Chameneos(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto mall = runtime.Spawn<meetings::Mall>(&watch);
    for (int64_t i = 0; i < kChameneos; ++i) {
      runtime.Spawn<meetings::Chameneo>(mall, static_cast<Color>(i % 3));
    }
  });
}

void Big(Watch& watch, int workers) {
  using meetings::Neighbour;
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto sink = runtime.Spawn<meetings::Sink>(&watch);
    std::vector<sluice::Ref<Neighbour>> all;
    for (int64_t i = 0; i < kBigActors; ++i) {
      all.push_back(runtime.Spawn<Neighbour>(sink, i, watch.Operations() / kBigActors));
    }
    const auto shared = std::make_shared<const std::vector<sluice::Ref<Neighbour>>>(std::move(all));
    for (const auto& neighbour : *shared) MustBe(neighbour.TrySend(meetings::Introduce{shared}));
  });
}

void Philosophers(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto arbitrator = runtime.Spawn<meetings::Arbitrator>(&watch);
    for (int64_t seat = 0; seat < kPhilosophers; ++seat) {
      runtime.Spawn<meetings::Philosopher>(arbitrator, seat, watch.Operations() / kPhilosophers);
    }
  });
}

}  // namespace bench
