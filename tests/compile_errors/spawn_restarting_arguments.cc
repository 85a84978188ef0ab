// NoConstructorTakes<Account, const char
#include "sluice/sluice.h"

struct Account : sluice::Actor {
  explicit Account(int cents);
};
struct Bank : sluice::Actor {
  void OnStart() override { SpawnRestarting<Account>({}, {}, "cents"); }
};
