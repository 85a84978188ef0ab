#include "sluice/core/mailbox/mailbox.h"

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing::mailbox_test {
namespace {

// Takes a credit as another worker does, and delivers the message.
Taken Deliver(Mailbox<>& mailbox, uint32_t generation) {
  const Taken taken = mailbox.Word().Take(generation);
  if (taken == Taken::kCredit) mailbox.Arrived();
  return taken;
}

// The grants that are due, as (waiter, credits).
std::vector<std::pair<uint64_t, uint32_t>> Grants(Mailbox<>& mailbox, bool eager = false) {
  std::vector<std::pair<uint64_t, uint32_t>> grants;
  Grant grant;
  while (mailbox.NextGrant(&grant, eager)) grants.emplace_back(grant.waiter.key, grant.credits);
  return grants;
}
using GrantList = std::vector<std::pair<uint64_t, uint32_t>>;

Waiter WaiterFor(uint64_t key, uint32_t wanted) {
  return {key, /*generation=*/1, /*episode=*/1, wanted};
}

TEST(L3Bound, MailboxRefusesTheMessagePastItsCapacity) {
  for (const uint32_t capacity : {1u, 2u, 3u, 16u, 1000u}) {
    Mailbox<> mailbox;
    const uint32_t generation = mailbox.Open(capacity);
    uint32_t accepted = 0;
    while (mailbox.TakeLocal(generation) == Taken::kCredit) {
      mailbox.Arrived();
      ++accepted;
    }
    EXPECT_EQ(accepted, capacity);
    EXPECT_EQ(mailbox.Word().Take(generation), Taken::kFull);
    EXPECT_EQ(mailbox.FreeCredits(), 0u);
  }
}

TEST(L3BoundDeathTest, MessageWithoutACreditEndsTheProcess) {
  Mailbox<> mailbox;
  mailbox.Open(1);
  mailbox.Arrived();
  EXPECT_DEATH(mailbox.Arrived(), "held_ <= capacity_");
}

TEST(Mailbox, CreditsReturnInBatchesAndAtSlicesEnd) {
  Mailbox<> mailbox;
  // Two credits are in reserve for the mailbox's own worker.
  const uint32_t generation = mailbox.Open(8);
  EXPECT_EQ(mailbox.Word().Credits(), 6u);
  while (mailbox.TakeLocal(generation) == Taken::kCredit) mailbox.Arrived();
  for (int i = 0; i < 5; ++i) mailbox.Left();  // The first two refill the reserve.
  EXPECT_EQ(mailbox.Word().Credits(), 0u);
  mailbox.Left();  // The fourth credit outside of the reserve: half of the capacity.
  EXPECT_EQ(mailbox.Word().Credits(), 4u);
  mailbox.Left();
  EXPECT_EQ(mailbox.Word().Credits(), 4u);
  mailbox.Publish(generation);
  EXPECT_EQ(mailbox.Word().Credits(), 5u);
}

TEST(L10Handles, StaleHandleTakesNothingOfTheNextActor) {
  Mailbox<> mailbox;
  const uint32_t first = mailbox.Open(8);
  mailbox.Close(first);
  EXPECT_EQ(mailbox.TakeLocal(first), Taken::kClosed);
  EXPECT_EQ(mailbox.Word().Take(first), Taken::kClosed);
  mailbox.Reset();
  const uint32_t second = mailbox.Open(8);
  EXPECT_EQ(mailbox.TakeLocal(first), Taken::kClosed);
  EXPECT_EQ(mailbox.Word().Take(first), Taken::kClosed);
  EXPECT_EQ(mailbox.TakeLocal(second), Taken::kCredit);
}

TEST(L10Handles, CreditsOfAnEndedActorVanish) {
  Mailbox<> mailbox;
  const uint32_t first = mailbox.Open(1);
  ASSERT_EQ(mailbox.TakeLocal(first), Taken::kCredit);
  mailbox.Close(first);
  mailbox.GrantReturned(first, 1);
  mailbox.Reset();
  const uint32_t second = mailbox.Open(1);
  mailbox.GrantReturned(first, 1);
  EXPECT_FALSE(mailbox.Word().Give(first, 1));
  EXPECT_EQ(mailbox.FreeCredits(), 1u);
  EXPECT_EQ(mailbox.Word().Take(second), Taken::kCredit);
}

TEST(L10Handles, NullHandleIsClosedInAnUnusedSlot) {
  Mailbox<> mailbox;
  EXPECT_EQ(mailbox.Word().Take(0), Taken::kClosed);
}

TEST(MailboxWord, StopIsOrderedOnceForAGeneration) {
  MailboxWord<> word;
  const uint32_t first = word.Open(3);
  EXPECT_TRUE(word.MarkStop(first));
  EXPECT_FALSE(word.MarkStop(first));
  EXPECT_EQ(word.Take(first), Taken::kCredit);
  EXPECT_TRUE(word.Give(first, 1));
  EXPECT_EQ(word.Credits(), 3u);
  EXPECT_FALSE(word.MarkStop(first));
  word.Close(first);
  EXPECT_FALSE(word.MarkStop(first));
  EXPECT_TRUE(word.MarkStop(word.Open(3)));
}

TEST(Mailbox, FreeCreditsGoToWaitersBeforeAnyNewSender) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(8);
  // The waiter found the word full; now credits are free.
  mailbox.AddWaiter(generation, WaiterFor(7, 1));
  EXPECT_EQ(mailbox.TakeLocal(generation), Taken::kFull);
  EXPECT_EQ(mailbox.Word().Take(generation), Taken::kFull);
  EXPECT_EQ(Grants(mailbox), (GrantList{{7, 1}}));
  mailbox.Publish(generation);
  EXPECT_EQ(mailbox.TakeLocal(generation), Taken::kCredit);
}

TEST(Mailbox, GrantsWaitForHalfAndGoRound) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(3);
  while (Deliver(mailbox, generation) == Taken::kCredit) {
  }
  mailbox.AddWaiter(generation, WaiterFor(1, 2));
  mailbox.AddWaiter(generation, WaiterFor(2, 2));
  mailbox.Left();
  EXPECT_EQ(Grants(mailbox), GrantList{});
  mailbox.Left();
  EXPECT_EQ(Grants(mailbox), (GrantList{{1, 1}, {2, 1}}));
  mailbox.Left();  // No held message could free more credits.
  EXPECT_EQ(Grants(mailbox), (GrantList{{1, 1}}));
  EXPECT_EQ(mailbox.Word().Credits(), 0u);
}

TEST(Mailbox, OwnerThatCannotRunGrantsWhatItHas) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(3);
  while (Deliver(mailbox, generation) == Taken::kCredit) {
  }
  mailbox.AddWaiter(generation, WaiterFor(1, 1));
  mailbox.Left();
  EXPECT_EQ(Grants(mailbox), GrantList{});
  EXPECT_EQ(Grants(mailbox, /*eager=*/true), (GrantList{{1, 1}}));
}

TEST(Mailbox, GrantThatComesBackGoesToTheNextWaiter) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(1);
  mailbox.AddWaiter(generation, WaiterFor(1, 1));
  ASSERT_EQ(Grants(mailbox), (GrantList{{1, 1}}));
  mailbox.AddWaiter(generation, WaiterFor(2, 1));
  EXPECT_EQ(Grants(mailbox), GrantList{});
  mailbox.GrantReturned(generation, 1);
  EXPECT_EQ(Grants(mailbox), (GrantList{{2, 1}}));
}

TEST(Mailbox, WaiterThatEndsIsTakenOut) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(1);
  ASSERT_EQ(Deliver(mailbox, generation), Taken::kCredit);
  mailbox.AddWaiter(generation, WaiterFor(1, 1));
  mailbox.AddWaiter(generation, WaiterFor(2, 1));
  EXPECT_TRUE(mailbox.RemoveWaiter(1, 1));
  EXPECT_FALSE(mailbox.RemoveWaiter(1, 1));
  EXPECT_FALSE(mailbox.RemoveWaiter(2, 99));  // Another actor of that slot.
  mailbox.Left();
  EXPECT_EQ(Grants(mailbox), (GrantList{{2, 1}}));
}

TEST(Mailbox, EachWaiterIsToldOfTheEndOnce) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Open(1);
  ASSERT_EQ(Deliver(mailbox, generation), Taken::kCredit);
  mailbox.AddWaiter(generation, WaiterFor(1, 5));
  mailbox.AddWaiter(generation, WaiterFor(2, 5));
  mailbox.Close(generation);
  mailbox.Left();
  Waiter waiter;
  ASSERT_TRUE(mailbox.TakeWaiter(&waiter));
  EXPECT_EQ(waiter.key, 1u);
  ASSERT_TRUE(mailbox.TakeWaiter(&waiter));
  EXPECT_EQ(waiter.key, 2u);
  EXPECT_FALSE(mailbox.TakeWaiter(&waiter));
  mailbox.Reset();
  EXPECT_EQ(mailbox.Open(1), generation + 2);
}

TEST(Mailbox, AdoptedMailboxKeepsItsBoundWhenCapacityChanges) {
  Mailbox<> mailbox;
  const uint32_t generation = mailbox.Word().Open(4);  // Opened by another worker.
  mailbox.Adopt(MailboxWord<>::kCreditsMax);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(mailbox.TakeLocal(generation), Taken::kCredit);
  for (int i = 0; i < 2; ++i)
    // Goes into a reserve that is too large for a capacity of 4.
    mailbox.GrantReturned(generation, 1);
  mailbox.Adopt(4);
  mailbox.Publish(generation);
  EXPECT_EQ(mailbox.FreeCredits(), 4u);
  EXPECT_EQ(mailbox.Word().Credits(), 3u);
}

// Real threads: takers against an owner that gives credits back, closes and reopens the word.
TEST(L3Bound, WordHoldsBetweenThreadsOverGenerations) {
  constexpr int kTakers = 3;
  constexpr uint32_t kCredits = 5;
  constexpr int kGenerations = 200;
  MailboxWord<> word;
  std::atomic<uint32_t> ref{word.Open(kCredits)};
  std::atomic<bool> over{false};
  std::atomic<uint64_t> sent{0};  // {generation, its messages on the way}.
  sent.store(uint64_t{ref.load()} << 32);
  std::vector<std::thread> takers;
  for (int i = 0; i < kTakers; ++i) {
    takers.emplace_back([&] {
      while (!over.load(std::memory_order_relaxed)) {
        const uint32_t generation = ref.load(std::memory_order_acquire);
        if (word.Take(generation) != Taken::kCredit) {
          std::this_thread::yield();
          continue;
        }
        // A message to an actor that has ended meanwhile is not counted.
        uint64_t old = sent.load();
        while (old >> 32 == generation && !sent.compare_exchange_weak(old, old + 1)) {
        }
      }
    });
  }
  for (int n = 0; n < kGenerations; ++n) {
    const uint32_t generation = ref.load();
    for (int given = 0; given < 10;) {
      const auto messages = static_cast<uint32_t>(sent.load());
      EXPECT_LE(messages, kCredits);
      if (messages == 0) {
        std::this_thread::yield();
        continue;
      }
      ++given;
      sent.fetch_sub(messages);
      EXPECT_TRUE(word.Give(generation, messages));
    }
    word.Close(generation);
    EXPECT_FALSE(word.Give(generation, 1));
    EXPECT_EQ(word.Take(generation), Taken::kClosed);
    const uint32_t next = word.Open(kCredits);
    sent.store(uint64_t{next} << 32);
    ref.store(next, std::memory_order_release);
  }
  over.store(true);
  for (std::thread& taker : takers) taker.join();
  EXPECT_EQ(word.Credits() + static_cast<uint32_t>(sent.load()), kCredits);
}

// Compares the queue with a plain list: waiters leave in any order, from a queue of any length.
TEST(WaiterQueue, KeepsItsOrderWhicheverWaiterLeaves) {
  std::mt19937_64 random(1);
  WaiterQueue queue;
  std::deque<Waiter> line;
  uint64_t last_key = 0;
  for (int step = 0; step < 40'000; ++step) {
    // The queue grows past the length at which it keeps an index, then shrinks to nothing.
    const bool grows = step / 1'000 % 2 == 0;
    const uint64_t what = random() % 8;
    if (line.empty() || what < (grows ? 4 : 2)) {
      const Waiter waiter{.key = ++last_key / 2,
                          .generation = static_cast<uint32_t>(1 + last_key % 2),
                          .episode = static_cast<uint32_t>(step),
                          .wanted = static_cast<uint32_t>(1 + random() % 3)};
      queue.Push(waiter);
      line.push_back(waiter);
    } else if (what < 6) {
      const auto leaves = line.begin() + static_cast<ptrdiff_t>(random() % line.size());
      EXPECT_TRUE(queue.Remove(leaves->key, leaves->generation));
      EXPECT_FALSE(queue.Remove(leaves->key, leaves->generation));
      line.erase(leaves);
    } else if (what == 6) {  // As a partial grant does.
      const Waiter first = queue.Front();
      queue.Pop();
      line.pop_front();
      queue.Push(first);
      line.push_back(first);
    } else {
      queue.Pop();
      line.pop_front();
    }
    ASSERT_EQ(queue.Size(), line.size());
    ASSERT_EQ(queue.Empty(), line.empty());
    if (!line.empty()) {
      ASSERT_EQ(queue.Front().key, line.front().key);
      ASSERT_EQ(queue.Front().generation, line.front().generation);
      const Waiter& any = line[random() % line.size()];
      const Waiter* const found = queue.Of(any.key, any.generation);
      ASSERT_NE(found, nullptr);
      EXPECT_EQ(found->episode, any.episode);
    }
    if (step % 100 != 0) continue;
    queue.CheckInvariants();
    std::vector<uint64_t> seen;
    queue.ForEach(
        [&](const Waiter& waiter) { seen.push_back(waiter.key * 2 + waiter.generation); });
    std::vector<uint64_t> expected;
    for (const Waiter& waiter : line) expected.push_back(waiter.key * 2 + waiter.generation);
    ASSERT_EQ(seen, expected);
  }
}

}  // namespace
}  // namespace sluice::testing::mailbox_test
