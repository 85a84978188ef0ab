// QuestionHasNoReply<Balance>
#include "sluice/sluice.h"

struct Balance {};
struct Account : sluice::Actor {
  int On(Balance) { return 7; }
};
struct Asker : sluice::Session {
  sluice::Ref<Account> account;
  void OnData(sluice::Input&) override {
    AskInOrder(account, Balance(), absl::Seconds(1), [](absl::StatusOr<int>) {});
  }
};
