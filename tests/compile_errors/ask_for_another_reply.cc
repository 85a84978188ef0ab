// PromiseTakesAnotherTypeThanReply<int, double>
#include "sluice/sluice.h"

struct Balance {
  using Reply = double;
};
struct Account : sluice::Actor {
  double On(Balance) { return 1; }
};
struct Count {
  using Reply = int;
};
struct Teller : sluice::Actor {
  explicit Teller(sluice::Ref<Account> to) : account(to) {}
  void On(Count, sluice::Promise<int> promise) {
    AskFor(std::move(promise), account, Balance(), absl::Seconds(1));
  }
  const sluice::Ref<Account> account;
};
