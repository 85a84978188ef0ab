// QuestionHasNoReply<Balance>
#include "sluice/sluice.h"

struct Balance {};
struct Account : sluice::Actor {
  int On(Balance) { return 7; }
};
struct Asker : sluice::Actor {
  sluice::Answer Try(sluice::Ref<Account> account) {
    return Ask(account, Balance(), absl::Seconds(1), [](absl::StatusOr<int>) {});
  }
};
