// NoConstructorTakes<Account, const char
#include "sluice/sluice.h"

struct Account : sluice::Actor {
  explicit Account(int cents);
};
sluice::Ref<Account> Make(sluice::Runtime& runtime) { return runtime.Spawn<Account>("cents"); }
