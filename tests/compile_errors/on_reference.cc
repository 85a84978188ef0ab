// OnTakesAReference<Account, Deposit>
#include "sluice/sluice.h"

struct Deposit {};
struct Account : sluice::Actor {
  void On(Deposit&) {}
};
sluice::Answer Try(sluice::Ref<Account> account) { return account.TrySend(Deposit()); }
