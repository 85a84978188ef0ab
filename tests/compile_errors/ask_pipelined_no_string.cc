// AnswerIsNoString<int>
#include "sluice/sluice.h"

struct Balance {
  using Reply = int;
};
struct Account : sluice::Actor {
  int On(Balance) { return 7; }
};
struct Asker : sluice::Session {
  sluice::Ref<Account> account;
  void OnData(sluice::Input&) override {
    AskPipelined(account, Balance(), absl::Seconds(1),
                 [](absl::StatusOr<int> balance) { return *balance; });
  }
};
