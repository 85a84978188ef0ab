#include <algorithm>
#include <atomic>
#include <cstdio>

#include "sluice/sluice.h"

constexpr int kItems = 100'000;
std::atomic<int> produced = 0;

struct Item {
  int number;
};
struct More {};

class Slow : public sluice::Actor {
 public:
  void On(Item item) {
    most_ahead_ = std::max(most_ahead_, produced - item.number);
    if (item.number == kItems)
      std::printf("all %d came; never over 50 ahead: %s\n", kItems,
                  most_ahead_ <= 50 ? "true" : "false");
  }

 private:
  int most_ahead_ = 0;
};

// Fast needs no waiting loop and no queue of its own: when Slow is full, Fast is parked after its
// handler, and goes on when there is room.
class Fast : public sluice::Actor {
 public:
  explicit Fast(sluice::Ref<Slow> slow) : slow_(slow) {}
  void OnStart() override { GoOn(); }
  void On(More) {
    for (int i = 0; i < 10 && produced < kItems; ++i) {
      // A full Slow still accepts: this actor is then parked, and the item is delivered later.
      if (Send(slow_, Item{++produced}) != sluice::Answer::kAccepted) return Stop("Slow is gone");
    }
    if (produced < kItems) GoOn();
  }

 private:
  void GoOn() {
    if (Send(RefOf(this), More{}) != sluice::Answer::kAccepted) Stop("no room for one message");
  }
  const sluice::Ref<Slow> slow_;
};

int main() {
  sluice::Options options;
  options.workers = 2;
  sluice::Runtime runtime(options);
  sluice::SpawnOptions small;
  small.mailbox_messages_max = 32;
  runtime.Spawn<Fast>(runtime.SpawnWith<Slow>(small));
  if (!runtime.Start().ok()) return 1;
  runtime.Drain(absl::Seconds(30));  // Handles all accepted messages first.
}
