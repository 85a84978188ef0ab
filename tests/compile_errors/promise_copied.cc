// sluice::Promise<
#include "sluice/sluice.h"

struct Balance {
  using Reply = int;
};
struct Account : sluice::Actor {
  void On(Balance, sluice::Promise<int> promise) {
    After(absl::Seconds(1), [promise]() mutable { promise.Resolve(7); });
  }
};
