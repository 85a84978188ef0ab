// the callback takes an absl::StatusOr
#include "sluice/sluice.h"

struct Asker : sluice::Actor {
  sluice::Answer Try() {
    return RunBlocking([] { return 7; }, [](const std::string&) {});
  }
};
