// TaskTakesAReference<Account, Deposit>
#include "sluice/sluice.h"

struct Deposit {};
struct Account : sluice::Actor {
  sluice::Task<> On(const Deposit&) { co_return; }
};
sluice::Answer Try(sluice::Ref<Account> account) { return account.TrySend(Deposit()); }
