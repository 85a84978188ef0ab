// a blocking function takes no arguments, or a std::stop_token
#include "sluice/sluice.h"

struct Asker : sluice::Actor {
  sluice::Answer Try() {
    return RunBlocking([](int) { return 7; }, [](const absl::StatusOr<int>&) {});
  }
};
