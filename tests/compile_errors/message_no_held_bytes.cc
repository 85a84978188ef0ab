// MemoryIsUnknown<std::function<void
#include "sluice/sluice.h"

struct Work {
  std::function<void()> run;
};
struct Taker : sluice::Actor {
  void On(const Work&) {}
};
sluice::Answer Try(sluice::Ref<Taker> taker) { return taker.TrySend(Work()); }
