// co_await std::move(task)
#include "sluice/sluice.h"

struct Worker : sluice::Actor {
  sluice::Task<int> Seven() { co_return 7; }
  sluice::Task<int> Try() {
    auto seven = Seven();
    co_return co_await seven;
  }
};
