// ActorHasNoOnFor<Account, long
#include "sluice/sluice.h"

struct Account : sluice::Actor {
  void On(int) {}
};
struct Giver : sluice::Actor {
  sluice::Answer Give(sluice::Ref<Account> account) {
    return Send(account, int64_t{5'000'000'000});
  }
};
