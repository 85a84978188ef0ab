// MessageHasTooManyMembers<Wide>
#include "sluice/sluice.h"

struct Wide {
  std::string a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct Taker : sluice::Actor {
  void On(const Wide&) {}
};
sluice::Answer Try(sluice::Ref<Taker> taker) { return taker.TrySend(Wide()); }
