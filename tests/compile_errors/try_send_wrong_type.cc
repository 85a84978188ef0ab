// ActorHasNoOnFor<Account, char
#include "sluice/sluice.h"

struct Account : sluice::Actor {
  void On(const std::string&) {}
};
sluice::Answer Try(sluice::Ref<Account> account) { return account.TrySend("text"); }
