// MessageIsNotMovable<Fixed>
#include "sluice/sluice.h"

struct Fixed {
  Fixed() = default;
  Fixed(const Fixed&) = delete;
};
struct Taker : sluice::Actor {
  void On(const Fixed&) {}
};
sluice::Answer Try(sluice::Ref<Taker> taker) { return taker.TrySend(Fixed()); }
