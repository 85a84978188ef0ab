// A line server in front of an actor.
#include "sluice/cookbook/lines.h"

#include "sluice/sluice.h"

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Clerk>("127.0.0.1:7006", runtime.Spawn<Table>(/*keys_max=*/100'000));
  return runtime.RunUntilSignal();
}
