// Costs between actors of Sluice that the peers have no counterpart of: questions, a hundred
// messages under way, senders that park, and a thread outside of the runtime.
//
//   calls --workload=NAME --operations=N [--workers=K]      prints one line of JSON
//   calls --list                                            prints the workloads, one a line
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/result.h"
#include "sluice/bench/load/server.h"
#include "sluice/sluice.h"

namespace sluice::bench {
namespace {

constexpr int kBalls = 100;
constexpr int kBurst = 256;

int64_t ProcessorNs() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
}

// Measures from the first message to the last, as the actors see them.
struct Watch {
  int64_t start_ns = 0, start_processor_ns = 0, ns = 0, processor_ns = 0;
  std::atomic<bool> done = false;  // Released behind the figures.
  void Start() {
    start_processor_ns = ProcessorNs();
    start_ns = NowNs();
  }
  void Stop() {
    ns = NowNs() - start_ns;
    processor_ns = ProcessorNs() - start_processor_ns;
    done.store(true, std::memory_order_release);
    done.notify_one();
  }
  void Wait() const { done.wait(false, std::memory_order_acquire); }
};

// A message of 64 bytes that its receiver checks.
struct Item {
  int64_t number;
  int64_t copies[7];
  explicit Item(int64_t n) : number(n), copies{n, n, n, n, n, n, n} {}
  int64_t Checked() const {
    for (const int64_t copy : copies) {
      if (copy != number) Die("a message has another byte than was sent");
    }
    return number;
  }
};
struct Go {};
struct Query {
  using Reply = int64_t;
  Item item;
};

// Each ball is passed on until its number is 0.
class Player : public Actor {
 public:
  explicit Player(Watch* watch) : watch_(*watch) {}
  struct Serve {
    Ref<Player> other;
    int64_t passes;  // Each ball makes so many.
  };
  void On(Serve serve) {
    left_ = kBalls;
    watch_.Start();
    for (int i = 0; i < kBalls; ++i) (void)Send(serve.other, Ball{Item(serve.passes), RefOf(this)});
  }
  struct Ball {
    Item item;
    Ref<Player> from;
  };
  void On(Ball ball) {
    if (const int64_t passes = ball.item.Checked(); passes > 0) {
      (void)Send(ball.from, Ball{Item(passes - 1), RefOf(this)});
    } else if (--left_ == 0) {
      watch_.Stop();
    }
  }

 private:
  Watch& watch_;
  int left_ = 0;
};

class Sink : public Actor {
 public:
  Sink(Watch* watch, int64_t expected) : watch_(*watch), left_(expected) {}
  void On(Item item) {
    if (item.Checked() != --left_) Die("a message is out of order");
    if (left_ == 0) watch_.Stop();
  }

 private:
  Watch& watch_;
  int64_t left_;
};

// Sends `kBurst` items in each handler, and is parked when the sink is full.
class Source : public Actor {
 public:
  Source(Watch* watch, Ref<Sink> sink, int64_t items) : watch_(watch), sink_(sink), left_(items) {}
  void On(Go) {
    if (watch_ != nullptr) watch_->Start();
    watch_ = nullptr;
    for (int i = 0; i < kBurst && left_ > 0; ++i) (void)Send(sink_, Item(--left_));
    if (left_ > 0) (void)Send(RefOf(this), Go{});
  }

 private:
  Watch* watch_;
  const Ref<Sink> sink_;
  int64_t left_;
};

class Oracle : public Actor {
 public:
  int64_t On(Query query) { return query.item.Checked(); }
};
class Asker : public Actor {
 public:
  Asker(Watch* watch, Ref<Oracle> oracle, int64_t count)
      : watch_(*watch), oracle_(oracle), left_(count) {}
  void On(Go) {
    watch_.Start();
    Next();
  }

 private:
  void Next() {
    if (left_ == 0) return watch_.Stop();
    (void)Ask(oracle_, Query{Item(--left_)}, absl::Seconds(10),
              [this](absl::StatusOr<int64_t> answer) {
                if (!answer.ok() || *answer != left_) Die("a wrong answer");
                Next();
              });
  }
  Watch& watch_;
  const Ref<Oracle> oracle_;
  int64_t left_;
};

template <class A, class M>
void Tell(const Ref<A>& ref, M message) {
  while (ref.TrySend(message) != Answer::kAccepted) std::this_thread::yield();
}

SpawnOptions On(int worker) {
  SpawnOptions options;
  options.worker = worker;
  return options;
}

// Each fills the runtime, begins, and returns the number of operations; `watch` stops at the last.
int64_t InFlight(Runtime& runtime, Watch& watch, int64_t operations) {
  const int64_t passes = operations / kBalls / 2 * 2;  // Even: a ball ends where it began.
  const auto a = runtime.SpawnWith<Player>(On(0), &watch);
  const auto b = runtime.SpawnWith<Player>(On(runtime.WorkerCount() - 1), &watch);
  Tell(a, Player::Serve{b, passes - 1});
  return passes * kBalls;
}

int64_t Parking(Runtime& runtime, Watch& watch, int64_t operations) {
  const auto sink = runtime.SpawnWith<Sink>(On(0), &watch, operations);
  Tell(runtime.SpawnWith<Source>(On(runtime.WorkerCount() - 1), &watch, sink, operations), Go{});
  return operations;
}

int64_t AskAndAnswer(Runtime& runtime, Watch& watch, int64_t operations) {
  const auto oracle = runtime.SpawnWith<Oracle>(On(runtime.WorkerCount() - 1));
  Tell(runtime.SpawnWith<Asker>(On(0), &watch, oracle, operations), Go{});
  return operations;
}

int64_t Outside(Runtime& runtime, Watch& watch, int64_t operations) {
  const auto sink = runtime.SpawnWith<Sink>(On(0), &watch, operations);
  watch.Start();
  for (int64_t i = operations; i-- > 0;) Tell(sink, Item(i));
  return operations;
}

struct Workload {
  const char* name;
  int64_t (*begin)(Runtime&, Watch&, int64_t);
};
constexpr Workload kWorkloads[] = {
    {"in_flight", &InFlight}, {"parking", &Parking}, {"ask", &AskAndAnswer}, {"outside", &Outside}};

int64_t Run(const Workload& workload, int64_t operations, int workers, Watch& watch) {
  Options options;
  options.workers = workers;
  options.log_level = "error";
  Runtime runtime(options);
  if (!runtime.Start().ok()) Die("the runtime does not start");
  const int64_t done = workload.begin(runtime, watch, operations);
  watch.Wait();
  runtime.Drain(absl::Seconds(5));
  return done;
}

void Measure(const Workload& workload, const Flags& flags) {
  const int64_t operations = flags.Number("operations", 1'000'000);
  const auto workers = static_cast<int>(flags.Number("workers", 1));
  if (operations < 20 * kBalls) Die("--operations must be at least 2000");
  Watch warm_up, watch;
  Run(workload, operations / 10, workers, warm_up);
  Result result;
  result.Add("operations", Run(workload, operations, workers, watch));
  result.Add("wall_seconds", static_cast<double>(watch.ns) / 1e9);
  result.Add("processor_seconds", static_cast<double>(watch.processor_ns) / 1e9);
  result.Add("peak_bytes", Server(getpid()).PeakBytes());
  result.Print();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  const bool lists = argc == 2 && std::string_view(argv[1]) == "--list";
  const Flags flags(lists ? 1 : argc, argv, 1);
  for (const Workload& workload : kWorkloads) {
    if (lists) std::printf("%s\n", workload.name);
    if (flags.Text("workload") != workload.name) continue;
    Measure(workload, flags);
    return 0;
  }
  if (!lists) Die("--workload= names none of those that --list prints");
}
