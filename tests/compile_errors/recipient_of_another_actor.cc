// sluice::Recipient<
#include "sluice/sluice.h"

struct Account : sluice::Actor {
  void On(int) {}
};
sluice::Recipient<int64_t> Of(sluice::Ref<Account> account) { return account; }
