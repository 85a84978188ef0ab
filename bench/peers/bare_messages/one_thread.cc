// One thread: messages go through memory, and their receivers are calls.
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/peers/bare_messages/workloads.h"
#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"

namespace bench {
namespace one_thread {

// An object that others call by its address, as any actor can be called.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void On(const Message& message) = 0;
};

class Short final : public Receiver {
 public:
  explicit Short(uint64_t number) : number_(number) {}
  void On(const Message& message) override { Expect(message, number_); }

 private:
  const uint64_t number_;
};

// Writes what the compiler may not keep in registers, nor see through.
template <class T>
void Escape(T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

}  // namespace one_thread

void MessageOneWay(const Run& run) {
  Watch watch(run.operations);
  std::array<Message, kRingItems> ring;
  uint64_t sent = 0;
  uint64_t received = 0;
  for (bool more = true; more;) {
    for (uint64_t i = 0; i < kBurst; ++i, ++sent) ring[sent % kRingItems] = MakeMessage(sent);
    one_thread::Escape(ring);
    for (; received < sent && more; ++received) {
      Expect(ring[received % kRingItems], received);
      more = watch.Count();
    }
  }
  Print(watch);
}

void PingPongHere(const Run& run) {
  Watch watch(run.operations);
  Message there;
  Message back;
  uint64_t number = 0;
  do {
    there = MakeMessage(number);
    one_thread::Escape(there);
    Expect(there, number);
    back = MakeMessage(number + 1);
    one_thread::Escape(back);
    Expect(back, number + 1);
    number += 2;
  } while (watch.Count());
  Print(watch);
}

void RingHere(const Run& run) {
  Watch watch(run.operations, kRingActors);
  std::vector<Message> nodes(kRingActors);
  uint64_t number = 0;
  nodes[0] = MakeMessage(0);
  do {
    for (size_t i = 0; i < nodes.size(); ++i, ++number) {
      Expect(nodes[i], number);
      nodes[i + 1 < nodes.size() ? i + 1 : 0] = MakeMessage(number + 1);
      one_thread::Escape(nodes[0]);
    }
  } while (watch.Count(kRingActors));
  Print(watch);
}

void ForkJoinHere(const Run& run) {
  Watch watch(run.operations, kTasks);
  std::array<Message, kTasks> tasks;
  std::array<Message, kTasks> answers;
  uint64_t number = 0;
  do {
    for (uint64_t i = 0; i < kTasks; ++i) tasks[i] = MakeMessage(number + i);
    one_thread::Escape(tasks);
    for (uint64_t i = 0; i < kTasks; ++i) {
      Expect(tasks[i], number + i);
      answers[i] = MakeMessage(number + i);
    }
    one_thread::Escape(answers);
    for (uint64_t i = 0; i < kTasks; ++i) Expect(answers[i], number + i);
    number += kTasks;
  } while (watch.Count(kTasks));
  Print(watch);
}

void CreateHere(const Run& run) {
  Watch watch(run.operations);
  uint64_t number = 0;
  do {
    std::unique_ptr<one_thread::Receiver> made = std::make_unique<one_thread::Short>(++number);
    one_thread::Escape(made);
    Message message = MakeMessage(number);
    one_thread::Escape(message);
    made->On(message);
  } while (watch.Count());
  Print(watch);
}

void Idle(const Run& run) {
  Watch watch(run.operations);
  std::vector<std::unique_ptr<one_thread::Receiver>> all;
  const int64_t before = StatusBytes("VmRSS:");
  all.reserve(static_cast<size_t>(watch.Total()));
  bool more = true;
  for (uint64_t number = 0; more; ++number) {
    all.push_back(std::make_unique<one_thread::Short>(number));
    Message message = MakeMessage(number);
    one_thread::Escape(message);
    all.back()->On(message);
    more = watch.Count();
  }
  Print(watch, (StatusBytes("VmRSS:") - before) / watch.Total());
}

}  // namespace bench
