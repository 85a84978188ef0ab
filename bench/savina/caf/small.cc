// Savina's small benchmarks: ping-pong, counting, fork and join, thread ring.
#include <atomic>
#include <caf/all.hpp>
#include <cstdint>
#include <utility>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/caf/support.h"
#include "bench/savina/savina.h"

namespace bench::small {

struct PingMessage {
  caf::actor from;
};
struct PongMessage {};
struct Increment {};
struct Retrieve {};
struct More {};
struct Work {};
struct Done {
  int64_t handled;
};
struct Next {
  caf::actor node;
};
struct Token {
  int64_t left;
};

}  // namespace bench::small

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::PingMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::PongMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Increment)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Retrieve)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::More)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Work)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Next)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::small::Token)

namespace bench {
namespace small {

constexpr int64_t kBurst = 64;

// --- Ping-pong.

class Pong : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[this](const PingMessage& ping) { send(ping.from, PongMessage{}); }};
  }
};

class Ping : public caf::event_based_actor {
 public:
  Ping(caf::actor_config& config, Watch* watch, caf::actor pong)
      : event_based_actor(config),
        watch_(*watch),
        pong_(std::move(pong)),
        left_(watch->Operations()) {}
  caf::behavior make_behavior() override {
    Serve();
    return {[this](PongMessage) {
      if (--left_ > 0) {
        Serve();
      } else {
        watch_.End();
      }
    }};
  }

 private:
  void Serve() { send(pong_, PingMessage{caf::actor(this)}); }
  Watch& watch_;
  const caf::actor pong_;
  int64_t left_;
};

// --- Counting.

class Counter : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[this](Increment) { ++count_; }, [this](Retrieve) { return count_; }};
  }

 private:
  int64_t count_ = 0;
};

class Producer : public caf::event_based_actor {
 public:
  Producer(caf::actor_config& config, Watch* watch, caf::actor counter)
      : event_based_actor(config),
        watch_(*watch),
        counter_(std::move(counter)),
        left_(watch->Operations()) {}
  caf::behavior make_behavior() override {
    send(this, More{});
    return {[this](More more) {
      for (int64_t i = 0; i < kBurst && left_ > 0; ++i, --left_) send(counter_, Increment{});
      if (left_ > 0) return send(this, more);
      request(counter_, caf::infinite, Retrieve{}).then([this](int64_t count) {
        ExpectNumber("the count", count, watch_.Operations());
        watch_.End();
      });
    }};
  }

 private:
  Watch& watch_;
  const caf::actor counter_;
  int64_t left_;
};

// --- Fork and join, throughput.

class Worker : public caf::event_based_actor {
 public:
  Worker(caf::actor_config& config, caf::actor parent, int64_t messages)
      : event_based_actor(config), parent_(std::move(parent)), left_(messages) {}
  caf::behavior make_behavior() override {
    return {[this](Work) {
      sum_ += Sine();
      ++handled_;
      if (--left_ > 0) return;
      send(parent_, Done{handled_});
      quit();
    }};
  }

 private:
  const caf::actor parent_;
  int64_t left_;
  int64_t handled_ = 0;
  double sum_ = 0;
};

class Throughput : public caf::event_based_actor {
 public:
  Throughput(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    const int64_t each = watch_.Operations() / kForkJoinActors;
    for (int64_t i = 0; i < kForkJoinActors; ++i) {
      workers_.push_back(spawn<Worker>(caf::actor(this), each));
    }
    send(this, More{});
    return {[this](More more) {
              for (const auto& worker : workers_) send(worker, Work{});
              sent_ += kForkJoinActors;
              if (sent_ < watch_.Operations()) send(this, more);
            },
            [this](Done done) {
              handled_ += done.handled;
              if (++ended_ < kForkJoinActors) return;
              ExpectNumber("messages handled", handled_, watch_.Operations());
              watch_.End();
            }};
  }

 private:
  Watch& watch_;
  std::vector<caf::actor> workers_;
  int64_t sent_ = 0;
  int64_t ended_ = 0;
  int64_t handled_ = 0;
};

// --- Fork and join, creation.

class Child : public caf::event_based_actor {
 public:
  Child(caf::actor_config& config, Watch* watch, std::atomic<int64_t>* left)
      : event_based_actor(config), watch_(*watch), left_(*left) {}
  caf::behavior make_behavior() override {
    return {[this](Work) {
      sum_ += Sine();
      quit();
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) watch_.End();
    }};
  }

 private:
  Watch& watch_;
  std::atomic<int64_t>& left_;
  double sum_ = 0;
};

class Forker : public caf::event_based_actor {
 public:
  Forker(caf::actor_config& config, Watch* watch)
      : event_based_actor(config),
        watch_(*watch),
        to_create_(watch->Operations()),
        left_(watch->Operations()) {}
  caf::behavior make_behavior() override {
    send(this, More{});
    return {[this](More more) {
      for (int64_t i = 0; i < kBurst && to_create_ > 0; ++i, --to_create_) {
        send(spawn<Child>(&watch_, &left_), Work{});
      }
      if (to_create_ > 0) send(this, more);
    }};
  }

 private:
  Watch& watch_;
  int64_t to_create_;
  std::atomic<int64_t> left_;
};

// --- Thread ring.

class Node : public caf::event_based_actor {
 public:
  Node(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    return {[this](const Next& next) { next_ = next.node; },
            [this](Token token) {
              if (token.left > 1) {
                send(next_, Token{token.left - 1});
              } else {
                watch_.End();
              }
            }};
  }

 private:
  Watch& watch_;
  caf::actor next_;
};

}  // namespace small

void PingPong(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    system.spawn<small::Ping>(&watch, system.spawn<small::Pong>());
  });
}

void Counting(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    system.spawn<small::Producer>(&watch, system.spawn<small::Counter>());
  });
}

void ForkJoinThroughput(Watch& watch, int workers) {
  RunAll(watch, workers,
         [&](caf::actor_system& system) { system.spawn<small::Throughput>(&watch); });
}

void ForkJoinCreate(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) { system.spawn<small::Forker>(&watch); });
}

void ThreadRing(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    std::vector<caf::actor> nodes;
    for (int64_t i = 0; i < kRingNodes; ++i) nodes.push_back(system.spawn<small::Node>(&watch));
    for (size_t i = 0; i < nodes.size(); ++i) {
      caf::anon_send(nodes[i], small::Next{nodes[(i + 1) % nodes.size()]});
    }
    caf::anon_send(nodes[0], small::Token{watch.Operations()});
  });
}

}  // namespace bench
