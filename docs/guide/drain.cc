#include <cstdio>

#include "sluice/sluice.h"

struct Order {
  int number;
};

class Kitchen : public sluice::Actor {
 public:
  void On(Order order) {
    cooked_ = order.number;
    // Messages that a handler sends during the drain are handled, too.
    if (order.number == 1'000 && Send(RefOf(this), Order{1'001}) != sluice::Answer::kAccepted) {
      std::printf("no room for one more\n");
    }
  }
  void OnStop() override { std::printf("%d cooked, then the lights went out\n", cooked_); }

 private:
  int cooked_ = 0;
};

int main() {
  sluice::Options options;
  options.mailbox_messages_max = 1'000;
  sluice::Runtime runtime(options);
  const sluice::Ref<Kitchen> kitchen = runtime.Spawn<Kitchen>();
  for (int i = 1; i <= 1'000; ++i) {
    if (kitchen.TrySend(Order{i}) != sluice::Answer::kAccepted) return 1;
  }
  if (!runtime.Start().ok()) return 1;
  runtime.Drain(absl::Seconds(5));  // As RunUntilSignal does on SIGTERM.
  std::printf("too late: %s\n",
              kitchen.TrySend(Order{0}) == sluice::Answer::kClosed ? "closed" : "taken?");
}
