// QuestionHasNoReply<Balance>
#include "sluice/sluice.h"

struct Balance {};
struct Account : sluice::Actor {
  int On(Balance) { return 1; }
};
struct Teller : sluice::Actor {
  sluice::Task<> Try(sluice::Ref<Account> account) {
    co_await Ask(account, Balance(), absl::Seconds(1));
  }
};
