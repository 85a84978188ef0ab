// One message on its way: to and fro between two actors, or round a ring of them.
#include <cstdint>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "bench/sluice/support.h"
#include "bench/sluice/workloads.h"
#include "sluice/sluice.h"

namespace bench {
namespace ping_pong {

constexpr int64_t kRingActors = 1'000;

class Ping;
struct Meet {
  sluice::Ref<Ping> ping;
};

class Pong : public sluice::Actor {
 public:
  void On(Meet meet) { ping_ = meet.ping; }
  void On(const Message& message);

 private:
  sluice::Ref<Ping> ping_;
  uint64_t next_ = 0;
};

class Ping : public sluice::Actor {
 public:
  Ping(Watch* watch, sluice::Ref<Pong> pong, bool latency)
      : watch_(*watch), pong_(pong), latency_(latency) {}
  void OnStart() override {
    MustBe(Send(pong_, Meet{RefOf(this)}));
    MustBe(Send(pong_, MakeMessage(0)));
  }
  void On(const Message& message) {
    Expect(message, next_);
    next_ += 2;
    if (latency_ ? watch_.Lap() : watch_.Count()) MustBe(Send(pong_, MakeMessage(next_ - 1)));
  }

 private:
  Watch& watch_;
  const sluice::Ref<Pong> pong_;
  const bool latency_;
  uint64_t next_ = 1;
};

void Pong::On(const Message& message) {
  Expect(message, next_);
  next_ += 2;
  MustBe(Send(ping_, MakeMessage(next_ - 1)));
}

class Node;
struct Next {
  sluice::Ref<Node> node;
};

class Node : public sluice::Actor {
 public:
  Node(Watch* watch, uint64_t number, sluice::Ref<Node> next)
      : watch_(*watch), next_(next), number_(number) {}
  void On(Next next) { next_ = next.node; }
  void On(const Message& token) {
    Expect(token, number_);
    number_ += kRingActors;
    if (number_ % kRingActors == 0 && number_ > kRingActors && !watch_.Count(kRingActors)) return;
    MustBe(Send(next_, MakeMessage(token.number + 1)));
  }

 private:
  Watch& watch_;
  sluice::Ref<Node> next_;
  uint64_t number_;  // The next token's.
};

}  // namespace ping_pong

void PingPong(const Run& run) {
  Watch watch(run.operations);
  const bool latency = run.workers > 1;
  if (latency) watch.KeepLaps();
  sluice::Runtime runtime(WithWorkers(run.workers));
  const auto pong = runtime.Spawn<ping_pong::Pong>();
  runtime.Spawn<ping_pong::Ping>(&watch, pong, latency);
  RunToTheEnd(runtime, watch);
  Print(watch);
}

void Ring(const Run& run) {
  Watch watch(run.operations, ping_pong::kRingActors);
  sluice::Runtime runtime(WithWorkers(run.workers));
  const auto first = runtime.Spawn<ping_pong::Node>(&watch, 0u, sluice::Ref<ping_pong::Node>());
  auto next = first;
  for (uint64_t number = ping_pong::kRingActors - 1; number > 0; --number) {
    next = runtime.Spawn<ping_pong::Node>(&watch, number, next);
  }
  MustBe(first.TrySend(ping_pong::Next{next}));
  MustBe(first.TrySend(MakeMessage(0)));
  RunToTheEnd(runtime, watch);
  Print(watch);
}

}  // namespace bench
