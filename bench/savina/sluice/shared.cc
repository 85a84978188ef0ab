// Savina's benchmarks of state that many actors use: dictionary, bounded buffer, bank.
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/savina.h"
#include "bench/savina/sluice/support.h"
#include "bench/sluice/support.h"
#include "sluice/sluice.h"

namespace bench {
namespace shared {

// --- Dictionary. A key's value is 0, or the key times ten.

struct Write {
  using Reply = int64_t;
  int64_t key;
  int64_t value;
};
struct Read {
  using Reply = int64_t;
  int64_t key;
};
struct UserDone {};

class Dictionary : public sluice::Actor {
 public:
  explicit Dictionary(Watch* watch) : watch_(*watch) {}
  int64_t On(Write write) {
    ++handled_;
    return values_[write.key] = write.value;
  }
  int64_t On(Read read) {
    ++handled_;
    const auto found = values_.find(read.key);
    return found == values_.end() ? 0 : found->second;
  }
  void On(UserDone) {
    if (++done_ < kDictionaryUsers) return;
    ExpectNumber("requests", handled_, watch_.Operations());
    watch_.End();
  }

 private:
  Watch& watch_;
  absl::flat_hash_map<int64_t, int64_t> values_;
  int64_t handled_ = 0;
  int64_t done_ = 0;
};

class User : public sluice::Actor {
 public:
  User(sluice::Ref<Dictionary> dictionary, int64_t number, int64_t requests)
      : dictionary_(dictionary), random_(static_cast<uint64_t>(number)), left_(requests) {}
  void OnStart() override { AskOne(); }

 private:
  void AskOne() {
    const int64_t key = random_.Below(kDictionaryKeys);
    const auto told = [this, key](absl::StatusOr<int64_t> value) {
      if (value.value_or(-1) != 0) {
        ExpectNumber("a value", value.value_or(-1), key * 10);
      }
      if (--left_ > 0) {
        AskOne();
      } else {
        MustBe(Send(dictionary_, UserDone{}));
      }
    };
    if (random_.Below(100) < kWritesInHundred) {
      MustBe(Ask(dictionary_, Write{key, key * 10}, absl::InfiniteDuration(), told));
    } else {
      MustBe(Ask(dictionary_, Read{key}, absl::InfiniteDuration(), told));
    }
  }
  const sluice::Ref<Dictionary> dictionary_;
  Random random_;
  int64_t left_;
};

// --- Bounded buffer.

class Maker;
class Taker;
struct Make {};
struct Item {
  sluice::Ref<Maker> from;
  double value;
};
struct Free {
  sluice::Ref<Taker> taker;
};

class Buffer : public sluice::Actor {
 public:
  explicit Buffer(Watch* watch) : watch_(*watch) {}
  void On(Item item);
  void On(Free free);

 private:
  Watch& watch_;
  std::deque<Item> items_;
  std::vector<sluice::Ref<Taker>> free_;
  std::vector<sluice::Ref<Maker>> held_;  // They make nothing until an item has left.
  int64_t taken_ = 0;
};

class Maker : public sluice::Actor {
 public:
  Maker(sluice::Ref<Buffer> buffer, int64_t items) : buffer_(buffer), left_(items) {}
  void OnStart() override { On(Make{}); }
  void On(Make) {
    if (left_-- <= 0) return;
    value_ = Process(value_, kItemCost);
    MustBe(Send(buffer_, Item{RefOf(this), value_}));
  }

 private:
  const sluice::Ref<Buffer> buffer_;
  int64_t left_;
  double value_ = 0;
};

class Taker : public sluice::Actor {
 public:
  explicit Taker(sluice::Ref<Buffer> buffer) : buffer_(buffer) {}
  void OnStart() override { MustBe(Send(buffer_, Free{RefOf(this)})); }
  void On(Item item) {
    value_ = Process(value_ + item.value, kItemCost);
    MustBe(Send(buffer_, Free{RefOf(this)}));
  }

 private:
  const sluice::Ref<Buffer> buffer_;
  double value_ = 0;
};

void Buffer::On(Item item) {
  const bool has_room = static_cast<int64_t>(items_.size()) < kBufferItems - kProducers;
  if (has_room) {
    MustBe(Send(item.from, Make{}));
  } else {
    held_.push_back(item.from);
  }
  if (free_.empty()) {
    items_.push_back(item);
  } else {
    MustBe(Send(free_.back(), item));
    free_.pop_back();
  }
}
// All have been taken when each has been given out, and its taker is free again.
void Buffer::On(Free free) {
  if (!items_.empty()) {
    MustBe(Send(free.taker, items_.front()));
    items_.pop_front();
  } else {
    free_.push_back(free.taker);
  }
  if (!held_.empty()) {
    MustBe(Send(held_.back(), Make{}));
    held_.pop_back();
  }
  if (++taken_ == watch_.Operations() + kConsumers) watch_.End();
}

// --- Bank. An account sends only to accounts behind it, so no two wait for each other.

class Account;
struct Debit {
  using Reply = int64_t;
  int64_t cents;
};
struct Transfer {
  using Reply = int64_t;
  sluice::Ref<Account> to;
  int64_t cents;
};
struct Balance {
  using Reply = int64_t;
};

class Account : public sluice::Actor {
 public:
  int64_t On(Debit debit) {
    cents_ += debit.cents;
    return debit.cents;
  }
  void On(Transfer transfer, sluice::Promise<int64_t> done) {
    cents_ -= transfer.cents;
    AskFor(std::move(done), transfer.to, Debit{transfer.cents}, absl::InfiniteDuration());
  }
  int64_t On(Balance) { return cents_; }

 private:
  int64_t cents_ = kAccountCents;
};

class Teller : public sluice::Actor {
 public:
  explicit Teller(Watch* watch) : watch_(*watch), to_begin_(watch->Operations()) {}
  void OnStart() override {
    for (int64_t i = 0; i < kAccounts; ++i)
      accounts_.push_back(SpawnWith<Account>(InTurn(runtime(), i)));
    for (int64_t i = 0; i < kTransfersMax; ++i) Begin();
  }

 private:
  void Begin() {
    if (to_begin_-- <= 0) return;
    const int64_t from = random_.Below(kAccounts - 1);
    const int64_t to = from + 1 + random_.Below(kAccounts - 1 - from);
    const int64_t cents = 1 + random_.Below(100);
    MustBe(Ask(Of(from), Transfer{Of(to), cents}, absl::InfiniteDuration(),
               [this, cents](absl::StatusOr<int64_t> moved) {
                 ExpectNumber("cents", moved.value_or(-1), cents);
                 if (++done_ == watch_.Operations()) {
                   SumUp();
                 } else {
                   Begin();
                 }
               }));
  }
  void SumUp() {
    for (const auto& account : accounts_) {
      MustBe(
          Ask(account, Balance{}, absl::InfiniteDuration(), [this](absl::StatusOr<int64_t> cents) {
            sum_ += cents.value_or(0);
            if (++summed_ < kAccounts) return;
            ExpectNumber("the sum of all balances", sum_, kAccounts * kAccountCents);
            watch_.End();
          }));
    }
  }
  const sluice::Ref<Account>& Of(int64_t number) const {
    return accounts_[static_cast<size_t>(number)];
  }
  Watch& watch_;
  std::vector<sluice::Ref<Account>> accounts_;
  Random random_{1};
  int64_t to_begin_;
  int64_t done_ = 0;
  int64_t sum_ = 0;
  int64_t summed_ = 0;
};

}  // namespace shared

void Dictionary(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto dictionary = runtime.Spawn<shared::Dictionary>(&watch);
    for (int64_t i = 0; i < kDictionaryUsers; ++i) {
      runtime.Spawn<shared::User>(dictionary, i, watch.Operations() / kDictionaryUsers);
    }
  });
}

void BoundedBuffer(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto buffer = runtime.Spawn<shared::Buffer>(&watch);
    for (int64_t i = 0; i < kConsumers; ++i) runtime.Spawn<shared::Taker>(buffer);
    for (int64_t i = 0; i < kProducers; ++i) {
      runtime.Spawn<shared::Maker>(buffer, watch.Operations() / kProducers);
    }
  });
}

void Bank(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) { runtime.Spawn<shared::Teller>(&watch); });
}

}  // namespace bench
