// SendOutsideAnActor<Deposit>
#include "sluice/sluice.h"

struct Deposit {};
struct Account : sluice::Actor {
  void On(Deposit) {}
};
void Try(sluice::Ref<Account> account) { (void)Send(account, Deposit()); }
