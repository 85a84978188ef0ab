#include <cstdint>
#include <cstdio>

#include "sluice/sluice.h"

struct Deposit {
  int64_t cents;
};
struct Balance {
  using Reply = int64_t;
};

class Account : public sluice::Actor {
 public:
  void On(Deposit d) { cents_ += d.cents; }
  // Or: void On(Balance, sluice::Promise<int64_t>), and answer later.
  int64_t On(Balance) { return cents_; }

 private:
  int64_t cents_ = 0;
};

class Customer : public sluice::Actor {
 public:
  explicit Customer(sluice::Ref<Account> account) : account_(account) {}

  void OnStart() override {
    // If the account is full, this actor is parked until there is room. An answer other than
    // kAccepted means that the account has ended, or that memory is spent; the compiler warns about
    // an answer that is not read.
    const bool paid = Send(account_, Deposit{250}) == sluice::Answer::kAccepted &&
                      Send(account_, Deposit{50}) == sluice::Answer::kAccepted;
    if (!paid) return Stop("the account takes no money");
    const sluice::Answer asked =
        Ask(account_, Balance{}, absl::Seconds(1), [](absl::StatusOr<int64_t> cents) {
          if (cents.ok()) std::printf("balance: %lld cents\n", static_cast<long long>(*cents));
        });
    if (asked != sluice::Answer::kAccepted) Stop("the account cannot be asked");
  }

 private:
  const sluice::Ref<Account> account_;
};

int main() {
  sluice::Runtime runtime{sluice::Options()};
  const sluice::Ref<Account> account = runtime.Spawn<Account>();
  runtime.Spawn<Customer>(account);
  if (!runtime.Start().ok()) return 1;
  runtime.Drain(absl::Seconds(1));
}
