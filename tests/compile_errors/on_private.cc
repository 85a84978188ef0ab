// ActorHasNoOnFor<Account, Deposit>
#include "sluice/sluice.h"

struct Deposit {};
class Account : public sluice::Actor {
  void On(Deposit) {}
};
sluice::Answer Try(sluice::Ref<Account> account) { return account.TrySend(Deposit()); }
