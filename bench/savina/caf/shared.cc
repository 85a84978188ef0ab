// Savina's benchmarks of state that many actors use: dictionary, bounded buffer, bank.
#include <caf/all.hpp>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/caf/support.h"
#include "bench/savina/savina.h"

namespace bench::shared {

struct Write {
  int64_t key;
  int64_t value;
};
struct Read {
  int64_t key;
};
struct UserDone {};
struct Make {};
struct Item {
  caf::actor from;
  double value;
};
struct Free {
  caf::actor taker;
};
struct Debit {
  int64_t cents;
};
struct Transfer {
  caf::actor to;
  int64_t cents;
};
struct Balance {};

}  // namespace bench::shared

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Write)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Read)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::UserDone)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Make)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Item)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Free)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Debit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Transfer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::shared::Balance)

namespace bench {
namespace shared {

// --- Dictionary. A key's value is 0, or the key times ten.

class Dictionary : public caf::event_based_actor {
 public:
  Dictionary(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    return {[this](Write write) {
              ++handled_;
              return values_[write.key] = write.value;
            },
            [this](Read read) -> int64_t {
              ++handled_;
              const auto found = values_.find(read.key);
              return found == values_.end() ? 0 : found->second;
            },
            [this](UserDone) {
              if (++done_ < kDictionaryUsers) return;
              ExpectNumber("requests", handled_, watch_.Operations());
              watch_.End();
            }};
  }

 private:
  Watch& watch_;
  std::unordered_map<int64_t, int64_t> values_;
  int64_t handled_ = 0;
  int64_t done_ = 0;
};

class User : public caf::event_based_actor {
 public:
  User(caf::actor_config& config, caf::actor dictionary, int64_t number, int64_t requests)
      : event_based_actor(config),
        dictionary_(std::move(dictionary)),
        random_(static_cast<uint64_t>(number)),
        left_(requests) {}
  // It has no behavior, so it ends with the answer to its last request.
  caf::behavior make_behavior() override {
    AskOne();
    return {};
  }

 private:
  void AskOne() {
    const int64_t key = random_.Below(kDictionaryKeys);
    const auto told = [this, key](int64_t value) {
      if (value != 0) ExpectNumber("a value", value, key * 10);
      if (--left_ > 0) {
        AskOne();
      } else {
        send(dictionary_, UserDone{});
      }
    };
    if (random_.Below(100) < kWritesInHundred) {
      request(dictionary_, caf::infinite, Write{key, key * 10}).then(told);
    } else {
      request(dictionary_, caf::infinite, Read{key}).then(told);
    }
  }
  const caf::actor dictionary_;
  Random random_;
  int64_t left_;
};

// --- Bounded buffer.

class Buffer : public caf::event_based_actor {
 public:
  Buffer(caf::actor_config& config, Watch* watch) : event_based_actor(config), watch_(*watch) {}
  caf::behavior make_behavior() override {
    return {[this](const Item& item) { Take(item); }, [this](const Free& free) { Give(free); }};
  }

 private:
  void Take(const Item& item) {
    const bool has_room = static_cast<int64_t>(items_.size()) < kBufferItems - kProducers;
    if (has_room) {
      send(item.from, Make{});
    } else {
      held_.push_back(item.from);
    }
    if (free_.empty()) {
      items_.push_back(item);
    } else {
      send(free_.back(), item);
      free_.pop_back();
    }
  }
  void Give(const Free& free) {
    if (!items_.empty()) {
      send(free.taker, items_.front());
      items_.pop_front();
    } else {
      free_.push_back(free.taker);
    }
    if (!held_.empty()) {
      send(held_.back(), Make{});
      held_.pop_back();
    }
    if (++taken_ == watch_.Operations() + kConsumers) watch_.End();
  }

  Watch& watch_;
  std::deque<Item> items_;
  std::vector<caf::actor> free_;
  std::vector<caf::actor> held_;
  int64_t taken_ = 0;
};

class Maker : public caf::event_based_actor {
 public:
  Maker(caf::actor_config& config, caf::actor buffer, int64_t items)
      : event_based_actor(config), buffer_(std::move(buffer)), left_(items) {}
  caf::behavior make_behavior() override {
    MakeOne();
    return {[this](Make) { MakeOne(); }};
  }

 private:
  void MakeOne() {
    if (left_-- <= 0) return;
    value_ = Process(value_, kItemCost);
    send(buffer_, Item{caf::actor(this), value_});
  }
  const caf::actor buffer_;
  int64_t left_;
  double value_ = 0;
};

class Taker : public caf::event_based_actor {
 public:
  Taker(caf::actor_config& config, caf::actor buffer)
      : event_based_actor(config), buffer_(std::move(buffer)) {}
  caf::behavior make_behavior() override {
    send(buffer_, Free{caf::actor(this)});
    return {[this](const Item& item) {
      value_ = Process(value_ + item.value, kItemCost);
      send(buffer_, Free{caf::actor(this)});
    }};
  }

 private:
  const caf::actor buffer_;
  double value_ = 0;
};

// --- Bank. The account that gets the money answers the teller.

class Account : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[this](Debit debit) {
              cents_ += debit.cents;
              return debit.cents;
            },
            [this](const Transfer& transfer) {
              cents_ -= transfer.cents;
              return delegate(transfer.to, Debit{transfer.cents});
            },
            [this](Balance) { return cents_; }};
  }

 private:
  int64_t cents_ = kAccountCents;
};

class Teller : public caf::event_based_actor {
 public:
  Teller(caf::actor_config& config, Watch* watch)
      : event_based_actor(config), watch_(*watch), to_begin_(watch->Operations()) {}
  caf::behavior make_behavior() override {
    for (int64_t i = 0; i < kAccounts; ++i) accounts_.push_back(spawn<Account>());
    for (int64_t i = 0; i < kTransfersMax; ++i) Begin();
    return {};
  }

 private:
  void Begin() {
    if (to_begin_-- <= 0) return;
    const int64_t from = random_.Below(kAccounts - 1);
    const int64_t to = from + 1 + random_.Below(kAccounts - 1 - from);
    const int64_t cents = 1 + random_.Below(100);
    request(Of(from), caf::infinite, Transfer{Of(to), cents}).then([this, cents](int64_t moved) {
      ExpectNumber("cents", moved, cents);
      if (++done_ == watch_.Operations()) {
        SumUp();
      } else {
        Begin();
      }
    });
  }
  void SumUp() {
    for (const caf::actor& account : accounts_) {
      request(account, caf::infinite, Balance{}).then([this](int64_t cents) {
        sum_ += cents;
        if (++summed_ < kAccounts) return;
        ExpectNumber("the sum of all balances", sum_, kAccounts * kAccountCents);
        watch_.End();
      });
    }
  }
  const caf::actor& Of(int64_t number) const { return accounts_[static_cast<size_t>(number)]; }

  Watch& watch_;
  std::vector<caf::actor> accounts_;
  Random random_{1};
  int64_t to_begin_;
  int64_t done_ = 0;
  int64_t sum_ = 0;
  int64_t summed_ = 0;
};

}  // namespace shared

void Dictionary(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor dictionary = system.spawn<shared::Dictionary>(&watch);
    for (int64_t i = 0; i < kDictionaryUsers; ++i) {
      system.spawn<shared::User>(dictionary, i, watch.Operations() / kDictionaryUsers);
    }
  });
}

void BoundedBuffer(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor buffer = system.spawn<shared::Buffer>(&watch);
    for (int64_t i = 0; i < kConsumers; ++i) system.spawn<shared::Taker>(buffer);
    for (int64_t i = 0; i < kProducers; ++i) {
      system.spawn<shared::Maker>(buffer, watch.Operations() / kProducers);
    }
  });
}

void Bank(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) { system.spawn<shared::Teller>(&watch); });
}

}  // namespace bench
