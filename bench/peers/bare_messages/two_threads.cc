// Two threads that spin, each on a processor of its own.
#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "bench/peers/bare_messages/spsc_ring.h"
#include "bench/peers/bare_messages/workloads.h"
#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "concurrentqueue.h"

namespace bench {
namespace two_threads {

using Ring = SpscRing<Message, kRingItems>;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// This thread runs on the processor with this index among those that the process may use.
void PinTo(int index) {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof(allowed), &allowed);
  index %= CPU_COUNT(&allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || index-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
    return;
  }
}

// Runs `first` and `second` at the same time until both return.
void RunBoth(std::function<void()> first, std::function<void()> second) {
  std::thread other([&] {
    PinTo(1);
    second();
  });
  std::thread here([&] {
    PinTo(0);
    first();
  });
  here.join();
  other.join();
}

void PushWaiting(Ring& ring, const Message& message) {
  while (!ring.Push(message)) Pause();
}
// The message stays in the ring until Pop().
const Message& FrontWaiting(Ring& ring) {
  const Message* front;
  while ((front = ring.Front()) == nullptr) Pause();
  return *front;
}

// A message in one cache line: its number, which is written last, says that all of it is there.
struct alignas(64) Place {
  std::atomic<uint64_t> number{UINT64_MAX};
  uint64_t words[7];

  void Put(const Message& message) {
    for (int i = 0; i < 7; ++i) words[i] = message.words[i];
    number.store(message.number, std::memory_order_release);  // Partner: Await().
  }
  Message Await(uint64_t wanted) const {
    while (number.load(std::memory_order_acquire) != wanted) Pause();
    Message message;
    message.number = wanted;
    for (int i = 0; i < 7; ++i) message.words[i] = words[i];
    return message;
  }
};

// `first` counts each message that comes back; a last one ends the other thread.
void Exchange(Watch& watch, int64_t step, bool latency) {
  const auto there = std::make_unique<Place>();
  const auto back = std::make_unique<Place>();
  constexpr uint64_t kOver = UINT64_MAX - 1;
  RunBoth(
      [&] {
        uint64_t number = 0;
        bool more = true;
        int64_t counted = 0;
        while (more) {
          there->Put(MakeMessage(number));
          Expect(back->Await(number + 1), number + 1);
          number += 2;
          if (latency) {
            more = watch.Lap();
          } else if ((counted += 2) == step) {
            counted = 0;
            more = watch.Count(step);
          }
        }
        there->Put(MakeMessage(kOver));
      },
      [&] {
        for (uint64_t number = 0;; number += 2) {
          uint64_t found;
          while ((found = there->number.load(std::memory_order_acquire)) != number) {
            if (found == kOver) return;
            Pause();
          }
          Expect(there->Await(number), number);
          back->Put(MakeMessage(number + 1));
        }
      });
}

void OneWay(const Run& run, bool slow) {
  Watch watch(run.operations);
  const auto ring = std::make_unique<Ring>();
  uint64_t chewed = 0;
  RunBoth(
      [&] {
        uint64_t number = 0;
        do {
          const Message& message = FrontWaiting(*ring);
          Expect(message, number++);
          if (slow) chewed ^= Chew(message);
          ring->Pop();
        } while (watch.Count());
      },
      [&] {
        const auto total = static_cast<uint64_t>(watch.Total());
        for (uint64_t number = 0; number < total; ++number) PushWaiting(*ring, MakeMessage(number));
      });
  if (chewed == 1) std::abort();  // Uses the result.
  Print(watch);
}

constexpr int kProducers = 4;
using Numbers = std::array<uint64_t, kProducers>;

Numbers FirstNumbers() { return {FirstNumber(0), FirstNumber(1), FirstNumber(2), FirstNumber(3)}; }

// With `producers` on each thread, in bulks; the receiver is on the first thread.
void Moodycamel(const Run& run, int producers) {
  constexpr size_t kBulk = 32;
  constexpr int64_t kAheadMax = 1'024;  // The queue then stays in the cache, as a bounded one.
  Watch watch(run.operations, producers * static_cast<int64_t>(kBulk));
  moodycamel::ConcurrentQueue<Message> queue(2 * kAheadMax);
  const auto each = static_cast<uint64_t>(watch.Total() / producers);
  std::atomic<int64_t> taken{0};  // By the receiver; a producer reads how far behind that is.
  std::atomic<int64_t> given{0};
  struct Producer {
    explicit Producer(moodycamel::ConcurrentQueue<Message>& queue, int sender)
        : token(queue), next(FirstNumber(sender)) {}
    moodycamel::ProducerToken token;
    uint64_t next;
    uint64_t made = 0;
  };
  std::vector<Producer> all;
  for (int i = 0; i < producers; ++i) all.emplace_back(queue, i);
  const auto produce = [&](Producer& producer) {
    if (producer.made == each) return false;
    if (given.load(std::memory_order_relaxed) - taken.load(std::memory_order_relaxed) > kAheadMax) {
      return true;
    }
    Message bulk[kBulk];
    for (Message& message : bulk) message = MakeMessage(producer.next++);
    given.fetch_add(kBulk, std::memory_order_relaxed);
    queue.enqueue_bulk(producer.token, bulk, kBulk);
    producer.made += kBulk;
    return true;
  };
  // The odd ones are on the receiver's thread where there are several.
  RunBoth(
      [&] {
        moodycamel::ConsumerToken token(queue);
        Numbers next = FirstNumbers();
        Message bulk[kBulk];
        for (bool more = true; more;) {
          for (int i = 1; i < producers; i += 2) produce(all[static_cast<size_t>(i)]);
          const size_t count = queue.try_dequeue_bulk(token, bulk, kBulk);
          for (size_t i = 0; i < count; ++i) {
            Expect(bulk[i], next[static_cast<size_t>(SenderOf(bulk[i].number) % kProducers)]++);
            more = watch.Count();
          }
          if (count == 0) {
            Pause();
          } else {
            taken.fetch_add(static_cast<int64_t>(count), std::memory_order_relaxed);
          }
        }
      },
      [&] {
        for (bool more = true; more;) {
          more = false;
          for (int i = 0; i < producers; i += 2) more |= produce(all[static_cast<size_t>(i)]);
        }
      });
  Print(watch);
}

}  // namespace two_threads

void OneProducer(const Run& run) { two_threads::OneWay(run, false); }
void Flood(const Run& run) { two_threads::OneWay(run, true); }

// Two producers are on the receiver's thread, and two on the other one.
void FourProducers(const Run& run) {
  using namespace two_threads;  // NOLINT: its function.
  Watch watch(run.operations, kProducers);
  const auto each = static_cast<uint64_t>(watch.Total() / kProducers);
  const auto across = std::make_unique<Ring>();
  const auto local = std::make_unique<Ring>();
  const auto produce = [&](Ring& ring, uint64_t& next, uint64_t end) {
    for (uint64_t i = 0; i < kBurst && next < end && ring.Push(MakeMessage(next)); ++i) ++next;
  };
  RunBoth(
      [&] {
        Numbers next = FirstNumbers();
        uint64_t one = FirstNumber(1);
        uint64_t three = FirstNumber(3);
        for (bool more = true; more;) {
          produce(*local, one, FirstNumber(1) + each);
          produce(*local, three, FirstNumber(3) + each);
          for (Ring* ring : {local.get(), across.get()}) {
            const Message* message;
            for (uint64_t i = 0; i < 2 * kBurst && (message = ring->Front()) != nullptr; ++i) {
              Expect(*message, next[static_cast<size_t>(SenderOf(message->number) % kProducers)]++);
              ring->Pop();
              more = watch.Count();
            }
          }
        }
      },
      [&] {
        uint64_t zero = FirstNumber(0);
        uint64_t two = FirstNumber(2);
        while (zero < FirstNumber(0) + each || two < FirstNumber(2) + each) {
          produce(*across, zero, FirstNumber(0) + each);
          produce(*across, two, FirstNumber(2) + each);
        }
      });
  Print(watch);
}

void MoodycamelOneProducer(const Run& run) { two_threads::Moodycamel(run, 1); }
void MoodycamelFourProducers(const Run& run) {
  two_threads::Moodycamel(run, two_threads::kProducers);
}

void PingPongAcross(const Run& run) {
  Watch watch(run.operations);
  watch.KeepLaps();
  two_threads::Exchange(watch, 0, true);
  Print(watch);
}

// Each hop crosses, as the nodes are on the two threads in turn.
void RingAcross(const Run& run) {
  Watch watch(run.operations, kRingActors);
  two_threads::Exchange(watch, kRingActors, false);
  Print(watch);
}

void ForkJoinAcross(const Run& run) {
  using namespace two_threads;  // NOLINT: its function.
  Watch watch(run.operations, kTasks);
  const auto tasks = std::make_unique<Ring>();
  const auto answers = std::make_unique<Ring>();
  std::array<Message, kTasks / 2> here;
  RunBoth(
      [&] {
        uint64_t number = 0;
        do {
          for (uint64_t i = 0; i < kTasks; i += 2) {
            PushWaiting(*tasks, MakeMessage(number + i + 1));
            here[i / 2] = MakeMessage(number + i);
          }
          for (uint64_t i = 0; i < kTasks; i += 2) {
            Expect(here[i / 2], number + i);
            here[i / 2] = MakeMessage(number + i);
          }
          for (uint64_t i = 0; i < kTasks; i += 2) {
            Expect(here[i / 2], number + i);
            Expect(FrontWaiting(*answers), number + i + 1);
            answers->Pop();
          }
          number += kTasks;
        } while (watch.Count(kTasks));
      },
      [&] {
        const auto total = static_cast<uint64_t>(watch.Total());
        for (uint64_t number = 1; number < total; number += 2) {
          Expect(FrontWaiting(*tasks), number);
          tasks->Pop();
          PushWaiting(*answers, MakeMessage(number));
        }
      });
  Print(watch);
}

// The object lives and ends on the other thread, which counts.
void CreateAcross(const Run& run) {
  using namespace two_threads;  // NOLINT: its function.
  struct Short {
    explicit Short(uint64_t its_number) : number(its_number) {}
    virtual ~Short() = default;
    virtual void On(const Message& message) { Expect(message, number); }
    const uint64_t number;
  };
  Watch watch(run.operations);
  const auto ring = std::make_unique<Ring>();
  RunBoth(
      [&] {
        uint64_t number = 0;
        do {
          const Message& message = FrontWaiting(*ring);
          auto made = std::make_unique<Short>(number++);
          asm volatile("" : : "g"(&made) : "memory");
          made->On(message);
          ring->Pop();
        } while (watch.Count());
      },
      [&] {
        const auto total = static_cast<uint64_t>(watch.Total());
        for (uint64_t number = 0; number < total; ++number) PushWaiting(*ring, MakeMessage(number));
      });
  Print(watch);
}

}  // namespace bench
