// destroys the message or the captures twice here. Give the wait a name first
#include "sluice/sluice.h"

struct Get {
  using Reply = int;
  std::string key;
};
struct Store : sluice::Actor {
  int On(Get) { return 1; }
};
struct Clerk : sluice::Actor {
  sluice::Task<> Try(sluice::Ref<Store> store) {
    co_await Ask(store, Get{"key"}, absl::Seconds(1));
  }
};
