// ActorCannotBeRestarted<sluice::Hub>
#include "sluice/sluice.h"

struct Bank : sluice::Actor {
  void OnStart() override { SpawnRestarting<sluice::Hub>({}, {}); }
};
