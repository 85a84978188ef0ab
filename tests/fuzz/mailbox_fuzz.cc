// A mailbox on one thread, against counts: every credit is free, held or on its way; a waiter comes
// before any new sender, and gets the credits that it asked for; a stale handle moves nothing.
// (tests/model tests the word under several threads.)
#include <map>

#include "gtest/gtest.h"
#include "sluice/core/mailbox/mailbox.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

class Both {
 public:
  void Step(Reader& reader) {
    switch (reader.Number(11)) {
      case 0:
      case 1:
        Take(mailbox_.TakeLocal(generation_));
        break;
      case 2:
        Take(mailbox_.Word().Take(generation_));
        break;
      case 3:
      case 4:
        if (on_its_way_ == 0) break;
        --on_its_way_;
        mailbox_.Arrived();
        ++held_;
        break;
      case 5:
      case 6:
        if (held_ > 0) Left();
        break;
      case 7:
        Wait(1 + static_cast<uint32_t>(reader.Number(capacity_)));
        break;
      case 8:
        Cancel(reader.Number(7));
        break;
      case 9:
        Grants(reader.Bool());
        mailbox_.Publish(generation_);
        break;
      case 10:  // A sender that was granted a credit ends.
        if (on_its_way_ == 0) break;
        --on_its_way_;
        mailbox_.GrantReturned(generation_, 1);
        break;
      case 11:
        if (reader.Number(7) == 0) Replace(1 + static_cast<uint32_t>(reader.Number(200)));
        break;
    }
    Check();
  }

  // All messages on their way arrive and are handled, and all waiters send.
  void End() {
    while (on_its_way_ > 0 || held_ > 0 || !wanted_.empty()) {
      for (; on_its_way_ > 0; --on_its_way_, ++held_) mailbox_.Arrived();
      while (held_ > 0) Left();
      Grants(/*eager=*/false);  // No held message could free more: no waiter is left out.
      ASSERT_TRUE(wanted_.empty() || on_its_way_ > 0);
      Check();
    }
    mailbox_.Publish(generation_);
    EXPECT_EQ(mailbox_.FreeCredits(), capacity_);
    EXPECT_FALSE(mailbox_.OwesCredits());
  }

 private:
  void Take(Taken taken) {
    ASSERT_NE(taken, Taken::kClosed);
    if (!wanted_.empty()) {
      EXPECT_EQ(taken, Taken::kFull);
    }
    if (taken == Taken::kCredit) ++on_its_way_;
  }
  void Left() {
    mailbox_.Left();
    --held_;
  }
  void Wait(uint32_t wanted) {
    mailbox_.AddWaiter(generation_, {++waiters_, /*generation=*/1, /*episode=*/1, wanted});
    wanted_[waiters_] = wanted;
  }
  void Cancel(uint64_t key_back) {
    const uint64_t key = waiters_ - key_back;
    EXPECT_EQ(mailbox_.RemoveWaiter(key, 1), wanted_.erase(key) == 1);
  }
  void Grants(bool eager) {
    Grant grant;
    while (mailbox_.NextGrant(&grant, eager)) {
      const auto found = wanted_.find(grant.waiter.key);
      ASSERT_NE(found, wanted_.end());
      ASSERT_GE(grant.credits, 1u);
      ASSERT_EQ(grant.waiter.wanted, found->second - grant.credits);
      on_its_way_ += grant.credits;
      found->second -= grant.credits;
      if (found->second == 0) wanted_.erase(found);
    }
  }
  // The actor ends, and another one moves in.
  void Replace(uint32_t capacity) {
    const uint32_t stale = generation_;
    mailbox_.Close(stale);
    for (Waiter waiter; mailbox_.TakeWaiter(&waiter);) EXPECT_EQ(wanted_.erase(waiter.key), 1u);
    EXPECT_TRUE(wanted_.empty());
    while (held_ > 0) Left();
    mailbox_.Reset();
    generation_ = mailbox_.Open(capacity);
    capacity_ = capacity;
    EXPECT_EQ(mailbox_.TakeLocal(stale), Taken::kClosed);
    EXPECT_EQ(mailbox_.Word().Take(stale), Taken::kClosed);
    mailbox_.GrantReturned(stale, on_its_way_);
    EXPECT_FALSE(mailbox_.Word().Give(stale, on_its_way_));
    on_its_way_ = 0;
  }
  void Check() {
    ASSERT_EQ(mailbox_.Held(), held_);
    ASSERT_EQ(mailbox_.FreeCredits() + held_ + on_its_way_, capacity_);
    ASSERT_EQ(mailbox_.HasWaiters(), !wanted_.empty());
  }

  Mailbox<> mailbox_;
  uint32_t capacity_ = 8;
  uint32_t generation_ = mailbox_.Open(capacity_);
  uint32_t on_its_way_ = 0;  // Credits that senders have taken, or were granted.
  uint32_t held_ = 0;
  uint64_t waiters_ = 100;
  std::map<uint64_t, uint32_t> wanted_;  // By the waiter's key.
};

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  sluice::testing::Both both;
  while (!reader.Empty()) both.Step(reader);
  both.End();
  return 0;
}
