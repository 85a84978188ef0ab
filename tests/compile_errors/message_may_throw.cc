// MessageMayThrowWhenMoved<Line>
#include "sluice/sluice.h"

struct Line {
  std::deque<int> numbers;
};
struct Taker : sluice::Actor {
  void On(const Line&) {}
};
struct Giver : sluice::Actor {
  sluice::Answer Give(sluice::Ref<Taker> taker) { return Send(taker, Line()); }
};
