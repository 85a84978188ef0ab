// Messages one way: from one sender or several to one receiver.
#include <array>
#include <cstdint>

#include "bench/program/message.h"
#include "bench/program/program.h"
#include "bench/program/watch.h"
#include "bench/sluice/support.h"
#include "bench/sluice/workloads.h"
#include "sluice/sluice.h"

namespace bench {
namespace one_way {

constexpr int kSendersMax = 4;
constexpr int kBurst = 64;  // Messages of one handler of a sender.

struct More {};

class Receiver : public sluice::Actor {
 public:
  Receiver(Watch* watch, bool slow) : watch_(*watch), slow_(slow) {}
  void On(const Message& message) {
    Expect(message, next_[static_cast<size_t>(SenderOf(message.number) % kSendersMax)]++);
    if (slow_) chewed_ ^= Chew(message);
    if (!watch_.Count()) Stop();
  }

 private:
  Watch& watch_;
  const bool slow_;
  uint64_t chewed_ = 0;
  std::array<uint64_t, kSendersMax> next_ = {FirstNumber(0), FirstNumber(1), FirstNumber(2),
                                             FirstNumber(3)};
};

class Sender : public sluice::Actor {
 public:
  Sender(int number, sluice::Ref<Receiver> receiver, int64_t messages)
      : receiver_(receiver),
        next_(FirstNumber(number)),
        end_(next_ + static_cast<uint64_t>(messages)) {}
  void OnStart() override { GoOn(); }
  // The other actors of this worker run between two bursts. A full receiver parks this actor.
  void On(More) {
    for (int i = 0; i < kBurst && next_ < end_; ++i) {
      MustBe(Send(receiver_, MakeMessage(next_)));
      ++next_;
    }
    if (next_ < end_) {
      GoOn();
    } else {
      Stop();
    }
  }

 private:
  void GoOn() { MustBe(Send(RefOf(this), More{})); }

  const sluice::Ref<Receiver> receiver_;
  uint64_t next_;
  const uint64_t end_;
};

void Measure(const Run& run, int senders, bool slow) {
  Watch watch(run.operations, senders);
  sluice::Runtime runtime(WithWorkers(run.workers));
  // The receiver is on the first worker, and the senders are on the next ones in turn.
  const auto receiver = runtime.Spawn<Receiver>(&watch, slow);
  for (int i = 0; i < senders; ++i) {
    runtime.Spawn<Sender>(i, receiver, watch.Total() / senders);
  }
  RunToTheEnd(runtime, watch);
  Print(watch);
}

}  // namespace one_way

void MessageOneWay(const Run& run) { one_way::Measure(run, 1, false); }
void OneProducer(const Run& run) { one_way::Measure(run, 1, false); }
void FourProducers(const Run& run) { one_way::Measure(run, one_way::kSendersMax, false); }
void Flood(const Run& run) { one_way::Measure(run, 1, true); }

}  // namespace bench
