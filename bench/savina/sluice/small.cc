// Savina's small benchmarks: ping-pong, counting, fork and join, thread ring.
#include <atomic>
#include <cstdint>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/savina.h"
#include "bench/savina/sluice/support.h"
#include "bench/sluice/support.h"
#include "sluice/sluice.h"

namespace bench {
namespace small {

// An actor that sends much does so in bursts, with a message to itself between two: the other
// actors of its worker run then, and it parks if its target is full.
constexpr int64_t kBurst = 64;
struct More {};

// --- Ping-pong.

class Ping;
struct PingMessage {
  sluice::Ref<Ping> from;
};
struct PongMessage {};

class Pong : public sluice::Actor {
 public:
  void On(PingMessage ping);
};

class Ping : public sluice::Actor {
 public:
  Ping(Watch* watch, sluice::Ref<Pong> pong)
      : watch_(*watch), pong_(pong), left_(watch->Operations()) {}
  void OnStart() override { Serve(); }
  void On(PongMessage) {
    if (--left_ > 0) {
      Serve();
    } else {
      watch_.End();
    }
  }

 private:
  void Serve() { MustBe(Send(pong_, PingMessage{RefOf(this)})); }
  Watch& watch_;
  const sluice::Ref<Pong> pong_;
  int64_t left_;
};

void Pong::On(PingMessage ping) { MustBe(Send(ping.from, PongMessage{})); }

// --- Counting.

struct Increment {};
struct Retrieve {
  using Reply = int64_t;
};

class Counter : public sluice::Actor {
 public:
  void On(Increment) { ++count_; }
  int64_t On(Retrieve) { return count_; }

 private:
  int64_t count_ = 0;
};

class Producer : public sluice::Actor {
 public:
  Producer(Watch* watch, sluice::Ref<Counter> counter)
      : watch_(*watch), counter_(counter), left_(watch->Operations()) {}
  void OnStart() override { GoOn(); }
  void On(More) {
    for (int64_t i = 0; i < kBurst && left_ > 0; ++i, --left_) MustBe(Send(counter_, Increment{}));
    if (left_ > 0) return GoOn();
    MustBe(Ask(counter_, Retrieve{}, absl::InfiniteDuration(),
               [this](const absl::StatusOr<int64_t>& count) {
                 ExpectNumber("the count", count.value_or(-1), watch_.Operations());
                 watch_.End();
               }));
  }

 private:
  void GoOn() { MustBe(Send(RefOf(this), More{})); }
  Watch& watch_;
  const sluice::Ref<Counter> counter_;
  int64_t left_;
};

// --- Fork and join, throughput.

struct Work {};
struct Done {
  int64_t handled;
};
class Throughput;

class Worker : public sluice::Actor {
 public:
  Worker(sluice::Ref<Throughput> parent, int64_t messages) : parent_(parent), left_(messages) {}
  void On(Work);

 private:
  const sluice::Ref<Throughput> parent_;
  int64_t left_;
  int64_t handled_ = 0;
  double sum_ = 0;
};

class Throughput : public sluice::Actor {
 public:
  explicit Throughput(Watch* watch) : watch_(*watch) {}
  void OnStart() override {
    const int64_t each = watch_.Operations() / kForkJoinActors;
    for (int64_t i = 0; i < kForkJoinActors; ++i) {
      workers_.push_back(SpawnWith<Worker>(InTurn(runtime(), i), RefOf(this), each));
    }
    On(More{});
  }
  // One message for each worker.
  void On(More more) {
    for (const auto& worker : workers_) MustBe(Send(worker, Work{}));
    sent_ += kForkJoinActors;
    if (sent_ < watch_.Operations()) MustBe(Send(RefOf(this), more));
  }
  void On(Done done) {
    handled_ += done.handled;
    if (++ended_ < kForkJoinActors) return;
    ExpectNumber("messages handled", handled_, watch_.Operations());
    watch_.End();
  }

 private:
  Watch& watch_;
  std::vector<sluice::Ref<Worker>> workers_;
  int64_t sent_ = 0;
  int64_t ended_ = 0;
  int64_t handled_ = 0;
};

void Worker::On(Work) {
  sum_ += Sine();
  ++handled_;
  if (--left_ > 0) return;
  MustBe(Send(parent_, Done{handled_}));
  Stop();
}

// --- Fork and join, creation.

class Child : public sluice::Actor {
 public:
  Child(Watch* watch, std::atomic<int64_t>* left) : watch_(*watch), left_(*left) {}
  void On(Work) {
    sum_ += Sine();
    Stop();
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) watch_.End();
  }

 private:
  Watch& watch_;
  std::atomic<int64_t>& left_;  // The last one's release meets the End().
  double sum_ = 0;
};

class Forker : public sluice::Actor {
 public:
  explicit Forker(Watch* watch)
      : watch_(*watch), to_create_(watch->Operations()), left_(watch->Operations()) {}
  void OnStart() override { GoOn(); }
  void On(More) {
    for (int64_t i = 0; i < kBurst && to_create_ > 0; ++i, --to_create_) {
      MustBe(Send(SpawnWith<Child>(InTurn(runtime(), to_create_), &watch_, &left_), Work{}));
    }
    if (to_create_ > 0) GoOn();
  }

 private:
  void GoOn() { MustBe(Send(RefOf(this), More{})); }
  Watch& watch_;
  int64_t to_create_;
  std::atomic<int64_t> left_;
};

// --- Thread ring.

class Node;
struct Next {
  sluice::Ref<Node> node;
};
struct Token {
  int64_t left;
};

class Node : public sluice::Actor {
 public:
  Node(Watch* watch, sluice::Ref<Node> next) : watch_(*watch), next_(next) {}
  void On(Next next) { next_ = next.node; }
  void On(Token token) {
    if (token.left > 1) {
      MustBe(Send(next_, Token{token.left - 1}));
    } else {
      watch_.End();
    }
  }

 private:
  Watch& watch_;
  sluice::Ref<Node> next_;
};

}  // namespace small

void PingPong(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    runtime.Spawn<small::Ping>(&watch, runtime.Spawn<small::Pong>());
  });
}

void Counting(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    runtime.Spawn<small::Producer>(&watch, runtime.Spawn<small::Counter>());
  });
}

void ForkJoinThroughput(Watch& watch, int workers) {
  RunAll(watch, workers,
         [&](sluice::Runtime& runtime) { runtime.Spawn<small::Throughput>(&watch); });
}

void ForkJoinCreate(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) { runtime.Spawn<small::Forker>(&watch); });
}

void ThreadRing(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto first = runtime.Spawn<small::Node>(&watch, sluice::Ref<small::Node>());
    auto next = first;
    for (int64_t i = 1; i < kRingNodes; ++i) next = runtime.Spawn<small::Node>(&watch, next);
    MustBe(first.TrySend(small::Next{next}));
    MustBe(first.TrySend(small::Token{watch.Operations()}));
  });
}

}  // namespace bench
