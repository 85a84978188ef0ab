// The workloads of bench/sluice/README.md in Asio: an actor is an object with a strand, and a
// message is a handler that is posted to it.
//
// Build it in the repository's root, with libasio-dev:
//   g++ -std=c++20 -O2 -DNDEBUG -I. bench/peers/asio/messages.cc -o messages -pthread
#include <array>
#include <asio.hpp>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"

namespace bench {
namespace {

using Strand = asio::strand<asio::io_context::executor_type>;

class Actor {
 public:
  explicit Actor(asio::io_context& context) : strand_(asio::make_strand(context)) {}
  Actor(const Actor&) = delete;

 protected:
  ~Actor() = default;

  // `target` lives longer than the message.
  template <class A>
  static void Send(A& target, const Message& message) {
    asio::post(target.strand_, [&target, message] { target.On(message); });
  }

  Strand strand_;
};

// Runs the handlers on this many threads until none is left.
void RunAll(asio::io_context& context, int threads) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back([&context] { context.run(); });
  context.run();
  for (std::thread& other : others) other.join();
}

// --- One way.

constexpr int kSendersMax = 4;
constexpr int kBurst = 64;

class Receiver : public Actor {
 public:
  Receiver(asio::io_context& context, Watch& watch, bool slow)
      : Actor(context), watch_(watch), slow_(slow) {}
  void On(const Message& message) {
    Expect(message, next_[static_cast<size_t>(SenderOf(message.number) % kSendersMax)]++);
    if (slow_) chewed_ ^= Chew(message);
    watch_.Count();
  }

 private:
  friend class Actor;
  Watch& watch_;
  const bool slow_;
  uint64_t chewed_ = 0;
  std::array<uint64_t, kSendersMax> next_ = {FirstNumber(0), FirstNumber(1), FirstNumber(2),
                                             FirstNumber(3)};
};

class Sender : public Actor {
 public:
  Sender(asio::io_context& context, int number, Receiver& receiver, int64_t messages)
      : Actor(context),
        receiver_(receiver),
        next_(FirstNumber(number)),
        end_(next_ + static_cast<uint64_t>(messages)) {}
  void GoOn() {
    asio::post(strand_, [this] {
      for (int i = 0; i < kBurst && next_ < end_; ++i) Send(receiver_, MakeMessage(next_++));
      if (next_ < end_) GoOn();
    });
  }

 private:
  Receiver& receiver_;
  uint64_t next_;
  const uint64_t end_;
};

// No bound: Asio has none, and the flood shows what follows.
void OneWay(const Run& run, int senders, bool slow) {
  Watch watch(run.operations, senders);
  asio::io_context context(run.workers);
  Receiver receiver(context, watch, slow);
  std::vector<std::unique_ptr<Sender>> all;
  for (int i = 0; i < senders; ++i) {
    all.push_back(std::make_unique<Sender>(context, i, receiver, watch.Total() / senders));
    all.back()->GoOn();
  }
  RunAll(context, run.workers);
  watch.Wait();
  Print(watch);
}

// --- Ping-pong and ring.

class Node : public Actor {
 public:
  // `step`: the numbers that this node gets are so far apart. `watch`: it counts so many
  // operations, from its second message on.
  Node(asio::io_context& context, uint64_t number, uint64_t step, Watch* watch, int64_t counted,
       bool latency)
      : Actor(context),
        watch_(watch),
        number_(number),
        step_(step),
        counted_(counted),
        latency_(latency) {}
  void SetNext(Node& next) { next_ = &next; }
  void Begin() { Send(*this, MakeMessage(number_)); }
  void On(const Message& message) {
    Expect(message, number_);
    number_ += step_;
    if (watch_ != nullptr && number_ > step_) {
      if (!(latency_ ? watch_->Lap() : watch_->Count(counted_))) return;
    }
    Send(*next_, MakeMessage(message.number + 1));
  }

 private:
  friend class Actor;
  Watch* const watch_;
  Node* next_ = nullptr;
  uint64_t number_;
  const uint64_t step_;
  const int64_t counted_;
  const bool latency_;
};

void Circle(const Run& run, Watch& watch, uint64_t nodes, int64_t counted, bool latency) {
  asio::io_context context(run.workers);
  std::vector<std::unique_ptr<Node>> all;
  for (uint64_t i = 0; i < nodes; ++i) {
    all.push_back(
        std::make_unique<Node>(context, i, nodes, i == 0 ? &watch : nullptr, counted, latency));
  }
  for (uint64_t i = 0; i < nodes; ++i) all[i]->SetNext(*all[(i + 1) % nodes]);
  all[0]->Begin();
  RunAll(context, run.workers);
  watch.Wait();
  Print(watch);
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

class Master;

class Helper : public Actor {
 public:
  Helper(asio::io_context& context, Master& master, uint64_t number)
      : Actor(context), master_(master), number_(number) {}
  void On(const Message& task);

 private:
  friend class Actor;
  Master& master_;
  uint64_t number_;
};

class Master : public Actor {
 public:
  Master(asio::io_context& context, Watch& watch) : Actor(context), watch_(watch) {
    for (uint64_t i = 0; i < kTasks; ++i) {
      helpers_.push_back(std::make_unique<Helper>(context, *this, i));
    }
  }
  void Begin() {
    asio::post(strand_, [this] { Fork(); });
  }
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
  friend class Actor;
  void Fork() {
    for (uint64_t i = 0; i < kTasks; ++i) Send(*helpers_[i], MakeMessage(round_ * kTasks + i));
  }
  Watch& watch_;
  std::vector<std::unique_ptr<Helper>> helpers_;
  uint64_t round_ = 0;
  uint64_t answered_ = 0;
};

void Helper::On(const Message& task) {
  Expect(task, number_);
  number_ += kTasks;
  Send(master_, MakeMessage(task.number));
}

void ForkJoin(const Run& run) {
  Watch watch(run.operations, kTasks);
  asio::io_context context(run.workers);
  Master master(context, watch);
  master.Begin();
  RunAll(context, run.workers);
  watch.Wait();
  Print(watch);
}

// --- Create, one message, end; and idle.

constexpr int kBatch = 64;
constexpr int kBatchesMax = 4;

class Creator;
struct Batch {
  std::atomic<int> left{0};
};

// Ends with the last handler that refers to it.
class Short : public Actor {
 public:
  Short(asio::io_context& context, Creator& creator, Batch& batch, uint64_t number)
      : Actor(context), creator_(creator), batch_(batch), number_(number) {}
  static void Begin(asio::io_context& context, Creator& creator, Batch& batch, uint64_t number) {
    auto made = std::make_shared<Short>(context, creator, batch, number);
    asio::post(made->strand_, [made, message = MakeMessage(number)] { made->On(message); });
  }
  void On(const Message& message);

 private:
  Creator& creator_;
  Batch& batch_;
  const uint64_t number_;
};

class Creator : public Actor {
 public:
  Creator(asio::io_context& context, Watch& watch)
      : Actor(context), context_(context), watch_(watch) {
    for (Batch& batch : batches_) {
      asio::post(strand_, [this, &batch] { Begin(batch); });
    }
  }
  void Ended(Batch& batch) {
    asio::post(strand_, [this, &batch] {
      if (watch_.Count(kBatch)) Begin(batch);
    });
  }

 private:
  void Begin(Batch& batch) {
    batch.left.store(kBatch, std::memory_order_relaxed);
    for (int i = 0; i < kBatch; ++i) Short::Begin(context_, *this, batch, ++number_);
  }
  asio::io_context& context_;
  Watch& watch_;
  std::array<Batch, kBatchesMax> batches_;
  uint64_t number_ = 0;
};

void Short::On(const Message& message) {
  Expect(message, number_);
  if (batch_.left.fetch_sub(1, std::memory_order_acq_rel) == 1) creator_.Ended(batch_);
}

void Create(const Run& run) {
  Watch watch(run.operations, kBatch);
  asio::io_context context(run.workers);
  Creator creator(context, watch);
  RunAll(context, run.workers);
  watch.Wait();
  Print(watch);
}

class Quiet : public Actor {
 public:
  Quiet(asio::io_context& context, Watch& watch, uint64_t number)
      : Actor(context), watch_(watch), number_(number) {}
  void Begin() { Send(*this, MakeMessage(number_)); }
  void On(const Message& message) {
    Expect(message, number_);
    watch_.Count();
  }

 private:
  friend class Actor;
  Watch& watch_;
  const uint64_t number_;
};

void Idle(const Run& run) {
  Watch watch(run.operations);
  asio::io_context context(run.workers);
  std::vector<std::unique_ptr<Quiet>> all;
  const int64_t before = StatusBytes("VmRSS:");
  all.reserve(static_cast<size_t>(watch.Total()));
  for (int64_t made = 0; made < watch.Total();) {
    for (int i = 0; i < kBatch && made < watch.Total(); ++i, ++made) {
      all.push_back(std::make_unique<Quiet>(context, watch, static_cast<uint64_t>(made)));
      all.back()->Begin();
    }
    context.restart();
    context.run();
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
