// EndOf() takes a Ref
#include "sluice/sluice.h"

struct Caller : sluice::Session {
  void OnData(sluice::Input&) override {}
};
struct Dialer : sluice::Actor {
  sluice::Task<> Try() {
    const auto caller = co_await sluice::Connect<Caller>(this, "127.0.0.1:80", absl::Seconds(1));
    if (caller.ok()) co_await EndOf(caller);
  }
};
