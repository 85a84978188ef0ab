// RecipientConvertsNoMessage<int, long
#include "sluice/sluice.h"

struct Giver : sluice::Actor {
  sluice::Answer Give(sluice::Recipient<int> to) { return Send(to, int64_t{5'000'000'000}); }
};
