// Cost of a message: nanoseconds and allocations for each, median of rounds run in turn, plain
// moodycamel beside it.
//
//   bazel run --config=opt //bench:message_bench [-- ROUNDS [NAME]]
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "concurrentqueue.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace sluice {
namespace {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Processor time of all threads: the cost of a message even when the machine has other work.
int64_t ProcessorNs() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& t) {
    return (int64_t{t.tv_sec} * 1'000'000 + t.tv_usec) * 1'000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

struct Result {
  double ns = 0;
  double processor_ns = 0;
  double allocations = 0;
};

// Measures from the first message to the last, as the actors saw it.
struct Watch {
  std::atomic<int64_t> start_ns{0};
  std::atomic<int64_t> start_allocations{0};
  std::atomic<int64_t> ns{0};
  std::atomic<int64_t> start_processor_ns{0};
  std::atomic<int64_t> processor_ns{0};
  std::atomic<int64_t> allocated{0};
  std::atomic<int> ready{0};
  std::atomic<bool> done{false};
  void Start() {
    start_allocations = allocations.load();
    start_processor_ns = ProcessorNs();
    start_ns = NowNs();
  }
  void Stop() {
    ns = NowNs() - start_ns;
    allocated = allocations - start_allocations;
    processor_ns = ProcessorNs() - start_processor_ns;
    done = true;
  }
  void Wait() const {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Result Each(int64_t messages) const {
    const double n = static_cast<double>(messages);
    return {static_cast<double>(ns) / n, static_cast<double>(processor_ns) / n,
            static_cast<double>(allocated) / n};
  }
};

struct Ball {
  int64_t left;
};
struct Item {
  int64_t number;
};
struct Go {};
struct Query {
  using Reply = int64_t;
  int64_t number;
};

class Player : public Actor {
 public:
  explicit Player(Watch* watch) : watch_(watch) {}
  void On(Ref<Player> other) {
    other_ = other;
    ++watch_->ready;
  }
  void On(Ball ball) {
    if (ball.left > 0) {
      (void)Send(other_, Ball{ball.left - 1});
    } else if (--balls_ <= 0) {
      watch_->Stop();
    }
  }
  struct Serve {
    int balls;
    int64_t passes;
  };
  void On(Serve serve) {
    watch_->Start();
    balls_ = serve.balls;
    for (int i = 0; i < serve.balls; ++i) (void)Send(other_, Ball{serve.passes});
  }

 private:
  Watch* watch_;
  Ref<Player> other_;
  int balls_ = 0;
};

class Sink : public Actor {
 public:
  Sink(Watch* watch, int64_t expected) : watch_(watch), left_(expected) {}
  void On(Item) {
    if (--left_ == 0) watch_->Stop();
  }

 private:
  Watch* watch_;
  int64_t left_;
};

// Sends `burst` items in each handler; parked when the sink is full.
class Source : public Actor {
 public:
  Source(Watch* watch, Ref<Sink> sink, int64_t items, int burst)
      : watch_(watch), sink_(sink), left_(items), burst_(burst) {}
  void On(Go) {
    if (watch_ != nullptr) watch_->Start();
    watch_ = nullptr;
    for (int i = 0; i < burst_ && left_ > 0; ++i, --left_) (void)Send(sink_, Item{left_});
    if (left_ > 0) (void)Send(RefOf(this), Go{});
  }

 private:
  Watch* watch_;
  Ref<Sink> sink_;
  int64_t left_;
  const int burst_;
};

class Short : public Actor {
 public:
  explicit Short(std::function<void()>* ended) : ended_(ended) {}
  void On(Go) { Stop(); }
  void OnStop() override { (*ended_)(); }

 private:
  std::function<void()>* ended_;
};
class Breeder : public Actor {
 public:
  Breeder(Watch* watch, int64_t count) : watch_(watch), left_(count) {}
  void On(Go) {
    if (watch_->start_ns == 0) watch_->Start();
    for (int i = 0; i < 16 && left_ > 0; ++i, --left_) (void)Send(Spawn<Short>(&ended_), Go{});
    if (left_ > 0) {
      (void)Send(RefOf(this), Go{});
    } else {
      watch_->Stop();
    }
  }

 private:
  Watch* watch_;
  int64_t left_;
  std::function<void()> ended_ = [] {};
};

class Oracle : public Actor {
 public:
  int64_t On(Query query) { return query.number; }
};
class Asker : public Actor {
 public:
  Asker(Watch* watch, Ref<Oracle> oracle, int64_t count)
      : watch_(watch), oracle_(oracle), left_(count) {}
  void On(Go) {
    watch_->Start();
    Next();
  }

 private:
  void Next() {
    if (left_-- == 0) {
      watch_->Stop();
      return;
    }
    (void)Ask(oracle_, Query{left_}, absl::Seconds(10),
              [this](absl::StatusOr<int64_t>) { Next(); });
  }
  Watch* watch_;
  Ref<Oracle> oracle_;
  int64_t left_;
};

Options BenchOptions(int workers) {
  Options options;
  options.workers = workers;
  options.log_level = "error";
  return options;
}

template <class A, class M>
void Tell(const Ref<A>& ref, M message) {
  while (ref.TrySend(message) != Answer::kAccepted) std::this_thread::yield();
}

Result PingPong(int workers, int balls, int64_t passes) {
  Watch watch;
  Runtime runtime(BenchOptions(workers));
  if (!runtime.Start().ok()) std::abort();
  const auto a =
      runtime.SpawnWith<Player>({.name = "", .mailbox_messages_max = 0, .worker = 0}, &watch);
  const auto b = runtime.SpawnWith<Player>(
      {.name = "", .mailbox_messages_max = 0, .worker = workers - 1}, &watch);
  Tell(a, b);
  Tell(b, a);
  // Messages of different senders have no order: without this wait the ball could reach b before b
  // knows a.
  while (watch.ready < 2) std::this_thread::yield();
  Tell(a, Player::Serve{balls, passes});
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return watch.Each(balls * (passes + 1));
}

Result Flood(int workers, int senders, int64_t items, int burst) {
  Watch watch;
  Runtime runtime(BenchOptions(workers));
  if (!runtime.Start().ok()) std::abort();
  const auto sink = runtime.SpawnWith<Sink>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                            &watch, items * senders);
  std::vector<Ref<Source>> sources;
  for (int i = 0; i < senders; ++i) {
    sources.push_back(
        runtime.SpawnWith<Source>({.name = "", .mailbox_messages_max = 0, .worker = workers - 1},
                                  i == 0 ? &watch : nullptr, sink, items, burst));
  }
  for (const auto& source : sources) Tell(source, Go{});
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return watch.Each(items * senders);
}

Result Outside(int64_t items) {
  Watch watch;
  Runtime runtime(BenchOptions(1));
  if (!runtime.Start().ok()) std::abort();
  const auto sink = runtime.Spawn<Sink>(&watch, items);
  watch.Start();
  for (int64_t i = 0; i < items; ++i) {
    while (sink.TrySend(Item{i}) != Answer::kAccepted) std::this_thread::yield();
  }
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return watch.Each(items);
}

Result SpawnEnd(int64_t count) {
  Watch watch;
  Runtime runtime(BenchOptions(1));
  if (!runtime.Start().ok()) std::abort();
  const auto breeder = runtime.Spawn<Breeder>(&watch, count);
  Tell(breeder, Go{});
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return watch.Each(count);
}

Result AskRound(int workers, int64_t count) {
  Watch watch;
  Runtime runtime(BenchOptions(workers));
  if (!runtime.Start().ok()) std::abort();
  const auto oracle =
      runtime.SpawnWith<Oracle>({.name = "", .mailbox_messages_max = 0, .worker = workers - 1});
  const auto asker = runtime.SpawnWith<Asker>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                              &watch, oracle, count);
  Tell(asker, Go{});
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return watch.Each(count);
}

// The bare queue: 64-byte items, one producer token, bulks of 32, no bound, no actors.
struct Bare {
  char bytes[64];
};
Result Moodycamel(bool across, int64_t items) {
  constexpr int kBulk = 32;
  moodycamel::ConcurrentQueue<Bare> queue(64);
  moodycamel::ProducerToken token(queue);
  std::vector<Bare> in(kBulk), out(kBulk);
  std::atomic<int64_t> taken{0};
  Watch watch;
  watch.Start();
  std::thread consumer;
  if (across) {
    consumer = std::thread([&] {
      std::vector<Bare> mine(kBulk);
      while (taken < items) {
        taken +=
            static_cast<int64_t>(queue.try_dequeue_bulk_from_producer(token, mine.data(), kBulk));
      }
    });
  }
  for (int64_t i = 0; i < items; i += kBulk) {
    // At most as far ahead as a lane may be, so that the queue stays in the cache as a lane does.
    while (across && i - taken > 1'024) {
    }
    queue.enqueue_bulk(token, in.data(), kBulk);
    if (!across)
      taken += static_cast<int64_t>(queue.try_dequeue_bulk_from_producer(token, out.data(), kBulk));
  }
  if (across) consumer.join();
  watch.Stop();
  return watch.Each(items);
}

struct Case {
  const char* name;
  std::function<Result()> run;
  std::vector<Result> results;
};

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  using namespace sluice;  // NOLINT: a program.
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const char* only = argc > 2 ? argv[2] : "";
  std::vector<Case> cases;
  cases.push_back(
      {"one worker: ping-pong, 1 in flight", [] { return PingPong(1, 1, 1'999'999); }, {}});
  cases.push_back(
      {"one worker: ping-pong, 100 in flight", [] { return PingPong(1, 100, 39'999); }, {}});
  cases.push_back({"one worker: flood, parking", [] { return Flood(1, 1, 4'000'000, 256); }, {}});
  cases.push_back(
      {"across: 8 senders on one worker -> 1", [] { return Flood(2, 8, 400'000, 64); }, {}});
  cases.push_back({"across: 1 sender -> 1", [] { return Flood(2, 1, 3'000'000, 64); }, {}});
  cases.push_back({"across: ping-pong, 1 in flight", [] { return PingPong(2, 1, 49'999); }, {}});
  cases.push_back({"outside thread -> actor", [] { return Outside(1'000'000); }, {}});
  cases.push_back({"spawn, message, end", [] { return SpawnEnd(500'000); }, {}});
  cases.push_back({"one worker: ask, round trip", [] { return AskRound(1, 500'000); }, {}});
  cases.push_back({"across: ask, round trip", [] { return AskRound(2, 20'000); }, {}});
  cases.push_back(
      {"plain moodycamel, one thread", [] { return Moodycamel(false, 8'000'000); }, {}});
  cases.push_back({"plain moodycamel, across", [] { return Moodycamel(true, 8'000'000); }, {}});
  for (int round = 0; round < rounds; ++round) {
    for (Case& c : cases) {
      if (std::strstr(c.name, only) != nullptr) c.results.push_back(c.run());
    }
  }
  std::printf("%-40s %10s %10s %10s %10s   %s\n", "", "ns median", "least", "most", "processor",
              "allocations each");
  for (Case& c : cases) {
    if (c.results.empty()) continue;
    std::sort(c.results.begin(), c.results.end(),
              [](const Result& a, const Result& b) { return a.ns < b.ns; });
    const Result& median = c.results[c.results.size() / 2];
    std::printf("%-40s %10.1f %10.1f %10.1f %10.1f   %.4f\n", c.name, median.ns,
                c.results.front().ns, c.results.back().ns, median.processor_ns, median.allocations);
  }
  return 0;
}
