// ActorIsDeclaredOnly<Account>
#include "sluice/sluice.h"

struct Deposit {};
class Account;
sluice::Answer Try(sluice::Ref<Account> account) { return account.TrySend(Deposit()); }
