// MessageHasABaseClass<Derived>
#include "sluice/sluice.h"

struct Base {
  std::string text;
};
struct Derived : Base {};
struct Taker : sluice::Actor {
  void On(const Derived&) {}
};
sluice::Answer Try(sluice::Ref<Taker> taker) { return taker.TrySend(Derived()); }
