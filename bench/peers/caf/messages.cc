// The workloads of bench/sluice/README.md in CAF 0.17 (libcaf-dev).
//
// Build it in the repository's root:
//   g++ -std=c++20 -O2 -DNDEBUG -I. bench/peers/caf/messages.cc -o messages -lcaf_core -pthread
#include <array>
#include <atomic>
#include <caf/all.hpp>
#include <cstdint>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::Message)

namespace bench {
namespace {

using More = caf::atom_constant<caf::atom("more")>;
using Next = caf::atom_constant<caf::atom("next")>;
using Ended = caf::atom_constant<caf::atom("ended")>;

class Config : public caf::actor_system_config {
 public:
  explicit Config(int workers) { set("scheduler.max-threads", static_cast<size_t>(workers)); }
};

// Runs what `fill` spawns until the watch has counted all. Actors that still wait then are left.
template <class Fill>
void RunAll(const Run& run, Watch& watch, Fill fill) {
  Config config(run.workers);
  caf::actor_system system(config);
  system.await_actors_before_shutdown(false);
  fill(system);
  watch.Wait();
  Print(watch);
}

// --- One way.

constexpr int kSendersMax = 4;
constexpr int kBurst = 64;

class Receiver : public caf::event_based_actor {
 public:
  Receiver(caf::actor_config& config, Watch* watch, bool slow)
      : event_based_actor(config), watch_(*watch), slow_(slow) {}
  caf::behavior make_behavior() override {
    return {[this](const Message& message) {
      Expect(message, next_[static_cast<size_t>(SenderOf(message.number) % kSendersMax)]++);
      if (slow_) chewed_ ^= Chew(message);
      if (!watch_.Count()) quit();
    }};
  }

 private:
  Watch& watch_;
  const bool slow_;
  uint64_t chewed_ = 0;
  std::array<uint64_t, kSendersMax> next_ = {FirstNumber(0), FirstNumber(1), FirstNumber(2),
                                             FirstNumber(3)};
};

class Sender : public caf::event_based_actor {
 public:
  Sender(caf::actor_config& config, int number, caf::actor receiver, int64_t messages)
      : event_based_actor(config),
        receiver_(std::move(receiver)),
        next_(FirstNumber(number)),
        end_(next_ + static_cast<uint64_t>(messages)) {}
  caf::behavior make_behavior() override {
    send(this, More::value);
    return {[this](More more) {
      for (int i = 0; i < kBurst && next_ < end_; ++i) send(receiver_, MakeMessage(next_++));
      if (next_ < end_) {
        send(this, more);
      } else {
        quit();
      }
    }};
  }

 private:
  const caf::actor receiver_;
  uint64_t next_;
  const uint64_t end_;
};

// No bound: CAF has none, and the flood shows what follows.
void OneWay(const Run& run, int senders, bool slow) {
  Watch watch(run.operations, senders);
  RunAll(run, watch, [&](caf::actor_system& system) {
    const caf::actor receiver = system.spawn<Receiver>(&watch, slow);
    for (int i = 0; i < senders; ++i) {
      system.spawn<Sender>(i, receiver, watch.Total() / senders);
    }
  });
}

// --- Ping-pong and ring.

class Node : public caf::event_based_actor {
 public:
  Node(caf::actor_config& config, uint64_t number, uint64_t step, Watch* watch, int64_t counted,
       bool latency)
      : event_based_actor(config),
        watch_(watch),
        number_(number),
        step_(step),
        counted_(counted),
        latency_(latency) {}
  caf::behavior make_behavior() override {
    return {[this](Next, const caf::actor& next) { next_ = next; },
            [this](const Message& message) {
              Expect(message, number_);
              number_ += step_;
              if (watch_ != nullptr && number_ > step_ &&
                  !(latency_ ? watch_->Lap() : watch_->Count(counted_))) {
                return;
              }
              send(next_, MakeMessage(message.number + 1));
            }};
  }

 private:
  Watch* const watch_;
  caf::actor next_;
  uint64_t number_;
  const uint64_t step_;
  const int64_t counted_;
  const bool latency_;
};

void Circle(const Run& run, Watch& watch, uint64_t nodes, int64_t counted, bool latency) {
  RunAll(run, watch, [&](caf::actor_system& system) {
    std::vector<caf::actor> all;
    for (uint64_t i = 0; i < nodes; ++i) {
      all.push_back(system.spawn<Node>(i, nodes, i == 0 ? &watch : nullptr, counted, latency));
    }
    for (uint64_t i = 0; i < nodes; ++i) {
      caf::anon_send(all[i], Next::value, all[(i + 1) % nodes]);
    }
    caf::anon_send(all[0], MakeMessage(0));
  });
}

void PingPong(const Run& run) {
  Watch watch(run.operations);
  const bool latency = run.workers > 1;
  if (latency) watch.KeepLaps();
  Circle(run, watch, 2, 1, latency);
}

void Ring(const Run& run) {
  constexpr int64_t kNodes = 1'000;
  Watch watch(run.operations, kNodes);
  Circle(run, watch, kNodes, kNodes, false);
}

// --- Fork and join.

constexpr uint64_t kTasks = 64;

class Helper : public caf::event_based_actor {
 public:
  Helper(caf::actor_config& config, caf::actor master, uint64_t number)
      : event_based_actor(config), master_(std::move(master)), number_(number) {}
  caf::behavior make_behavior() override {
    return {[this](const Message& task) {
      Expect(task, number_);
      number_ += kTasks;
      send(master_, MakeMessage(task.number));
    }};
  }

 private:
  const caf::actor master_;
  uint64_t number_;
};

class Master : public caf::event_based_actor {
 public:
  Master(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    for (uint64_t i = 0; i < kTasks; ++i) helpers_.push_back(spawn<Helper>(caf::actor(this), i));
    Fork();
    return {[this](const Message& answer) {
      Expect(answer, answer.number);
      ExpectEqual("the round of an answer", answer.number / kTasks, round_);
      const uint64_t helper = uint64_t{1} << (answer.number % kTasks);
      ExpectEqual("an answer that came before", answered_ & helper, 0);
      answered_ |= helper;
      if (answered_ != ~uint64_t{0}) return;
      answered_ = 0;
      ++round_;
      if (watch_.Count(kTasks)) Fork();
    }};
  }

 private:
  void Fork() {
    for (uint64_t i = 0; i < kTasks; ++i) send(helpers_[i], MakeMessage(round_ * kTasks + i));
  }
  Watch& watch_;
  std::vector<caf::actor> helpers_;
  uint64_t round_ = 0;
  uint64_t answered_ = 0;
};

void ForkJoin(const Run& run) {
  Watch watch(run.operations, kTasks);
  RunAll(run, watch, [&](caf::actor_system& system) { system.spawn<Master>(&watch); });
}

// --- Create, one message, end; and idle.

constexpr int kBatch = 64;
constexpr int kBatchesMax = 4;

class Short : public caf::event_based_actor {
 public:
  Short(caf::actor_config& config, caf::actor creator, std::atomic<int>* left, int batch,
        uint64_t number)
      : event_based_actor(config),
        creator_(std::move(creator)),
        left_(*left),
        batch_(batch),
        number_(number) {}
  caf::behavior make_behavior() override {
    return {[this](const Message& message) {
      Expect(message, number_);
      quit();
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        send(creator_, Ended::value, batch_);
      }
    }};
  }

 private:
  const caf::actor creator_;
  std::atomic<int>& left_;
  const int batch_;
  const uint64_t number_;
};

class Creator : public caf::event_based_actor {
 public:
  Creator(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    for (int batch = 0; batch < kBatchesMax; ++batch) Begin(batch);
    return {[this](Ended, int batch) {
      if (watch_.Count(kBatch)) Begin(batch);
    }};
  }

 private:
  void Begin(int batch) {
    std::atomic<int>& left = left_[static_cast<size_t>(batch)];
    left.store(kBatch, std::memory_order_relaxed);
    for (int i = 0; i < kBatch; ++i) {
      ++number_;
      send(spawn<Short>(caf::actor(this), &left, batch, number_), MakeMessage(number_));
    }
  }
  Watch& watch_;
  std::array<std::atomic<int>, kBatchesMax> left_ = {};
  uint64_t number_ = 0;
};

void Create(const Run& run) {
  Watch watch(run.operations, kBatch);
  RunAll(run, watch, [&](caf::actor_system& system) { system.spawn<Creator>(&watch); });
}

class Quiet : public caf::event_based_actor {
 public:
  Quiet(caf::actor_config& config, Watch* watch, uint64_t number)
      : event_based_actor(config), watch_(*watch), number_(number) {}
  caf::behavior make_behavior() override {
    return {[this](const Message& message) {
      Expect(message, number_);
      watch_.Count();
    }};
  }

 private:
  Watch& watch_;
  const uint64_t number_;
};

void Idle(const Run& run) {
  Watch watch(run.operations);
  Config config(run.workers);
  caf::actor_system system(config);
  system.await_actors_before_shutdown(false);
  std::vector<caf::actor> all;
  const int64_t before = StatusBytes("VmRSS:");
  all.reserve(static_cast<size_t>(watch.Total()));
  for (int64_t number = 0; number < watch.Total(); ++number) {
    all.push_back(system.spawn<Quiet>(&watch, static_cast<uint64_t>(number)));
    caf::anon_send(all.back(), MakeMessage(static_cast<uint64_t>(number)));
  }
  watch.Wait();
  Print(watch, (StatusBytes("VmRSS:") - before) / watch.Total());
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using bench::Run;
  return bench::Main(
      argc, argv,
      {{"message", [](const Run& run) { bench::OneWay(run, 1, false); }},
       {"ping_pong", &bench::PingPong},
       {"one_producer", [](const Run& run) { bench::OneWay(run, 1, false); }},
       {"four_producers", [](const Run& run) { bench::OneWay(run, bench::kSendersMax, false); }},
       {"ring", &bench::Ring},
       {"fork_join", &bench::ForkJoin},
       {"create", &bench::Create},
       {"idle", &bench::Idle},
       {"flood", [](const Run& run) { bench::OneWay(run, 1, true); }}});
}
