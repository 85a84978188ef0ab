// MailboxWord is the part of a mailbox that all threads share: {generation, credits} in one atomic
// word. Mailbox is the owner's side: the count of held messages, the free credits, and the waiters.
//
// Owner:  the slot; its worker.
// Thread: MailboxWord as marked; Mailbox its worker's.
// Bound:  free credits + reserve + freed + granted + in messages = capacity, so that a mailbox
//         never holds more than its capacity. Waiters: one entry for each parked actor, reserved by
//         its park.
// Errors: Take answers full or closed; a stale generation changes nothing.
//
// The word alone says whether a message may be sent. The owner schedules the actor when the message
// arrives. So no order of the two can lose a wake-up of the actor.
#ifndef SLUICE_CORE_MAILBOX_MAILBOX_H_
#define SLUICE_CORE_MAILBOX_MAILBOX_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sluice/core/base/atomics.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/plant.h"

namespace sluice {

enum class Taken : uint8_t { kCredit, kFull, kClosed };

template <class Atomics = StdAtomics>
class MailboxWord {
 public:
  // No actor gets this generation: a slot that has reached the one before it is not used again.
  static constexpr uint32_t kGenerationLast = UINT32_MAX;
  static constexpr uint32_t kCreditsMax = INT32_MAX;

  // Even: no actor lives there.
  static bool IsLive(uint32_t generation) { return generation % 2 == 1; }

  // For the owner: opens the word for a new actor and answers its generation. Release: a thread
  // that takes a credit of this generation sees what the owner wrote to the slot before.
  uint32_t Open(uint32_t credits) {
    const uint64_t old = word_.load(std::memory_order_relaxed);
    SLUICE_CHECK(!IsLive(GenerationOf(old)));
    SLUICE_CHECK(credits <= kCreditsMax);
    const uint32_t generation = GenerationOf(old) + 1;
    SLUICE_CHECK(generation != kGenerationLast);  // Otherwise its Close would wrap around to 0.
    // Only the owner changes the word of a slot that is not live: Take and Give compare the
    // generation.
    word_.store(Pack(generation, false, credits), std::memory_order_release);
    return generation;
  }

  // Owner: the actor has ended. Every later Take answers closed, every later Give does nothing.
  void Close(uint32_t generation) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    SLUICE_CHECK(GenerationOf(old) == generation && IsLive(generation));
    // Acquire-release exchange: a sender may be taking credits at this very moment; each comes
    // before or after.
    word_.exchange(Pack(generation + 1, false, 0), std::memory_order_acq_rel);
  }

  // Any thread.
  Taken Take(uint32_t generation) {
    uint32_t taken = 0;
    return TakeUpTo(generation, 1, &taken);
  }

  // Any thread: takes up to `wanted` credits. kCredit: *taken is at least 1. Acquire on success
  // pairs with Open. The credit orders nothing else: the message travels through the lane, which
  // has a release and acquire of its own. The bound holds by counting alone, as all changes are to
  // one word.
  Taken TakeUpTo(uint32_t generation, uint32_t wanted, uint32_t* taken) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    for (;;) {
      // A Ref to no actor has generation 0, and so has the word of a slot that was never used.
      if (GenerationOf(old) != generation || !IsLive(generation)) return Taken::kClosed;
      const uint32_t credits = CreditsOf(old);
      if (credits == 0) return Taken::kFull;
      const uint32_t n = std::min(credits, wanted);
      if (word_.compare_exchange_weak(old, old - n, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        *taken = n;
        return Taken::kCredit;
      }
    }
  }

  // Owner only, while the actor lives: credits that another thread added here would reach no
  // waiter. Such credits go to the owner instead, as a returned grant does. False: the generation
  // is stale, and nothing changed, as those credits died with it. Relaxed would keep the count,
  // too; release orders the owner's work on the freed place before the next sender's.
  bool Give(uint32_t generation, uint32_t credits) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    for (;;) {
      if (GenerationOf(old) != generation) return false;
      SLUICE_CHECK(credits <= kCreditsMax - CreditsOf(old));
      if (word_.compare_exchange_weak(old, old + credits, std::memory_order_release,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  // Any thread: orders the actor to stop. True for the one caller that turned the bit, and that
  // must send the order. Relaxed: the order itself travels through a lane.
  bool MarkStop(uint32_t generation) {
    uint64_t old = word_.load(std::memory_order_relaxed);
    for (;;) {
      if (GenerationOf(old) != generation || (old & kStopBit) != 0) return false;
      if (word_.compare_exchange_weak(old, old | kStopBit, std::memory_order_relaxed,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  // A moment old, but for the owner's own changes.
  uint32_t Generation() const { return GenerationOf(word_.load(std::memory_order_relaxed)); }
  uint32_t Credits() const { return CreditsOf(word_.load(std::memory_order_relaxed)); }

 private:
  static constexpr uint64_t kStopBit = uint64_t{1} << 31;
  static uint64_t Pack(uint32_t generation, bool stop, uint32_t credits) {
    return (uint64_t{generation} << 32) | (stop ? kStopBit : 0) | credits;
  }
  static uint32_t GenerationOf(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
  static uint32_t CreditsOf(uint64_t word) { return static_cast<uint32_t>(word & (kStopBit - 1)); }

  // All threads change it by compare-exchange on {generation, credits} together; the orders are
  // given above. (An add that is undone when full looks equivalent and is not: the undo can hit the
  // next generation.)
  typename Atomics::template Atomic<uint64_t> word_{0};
};

// A parked actor that waits for `wanted` credits of a mailbox. `key` and `generation` name the
// actor.
struct Waiter {
  uint64_t key = 0;
  uint32_t generation = 0;
  uint32_t episode = 0;
  uint32_t wanted = 0;
};

// First in, first out. The queue keeps its memory when it is empty, so that an actor that parks its
// senders again and again allocates nothing. A removal from the middle of a long queue uses an
// index and leaves a hole: many waiters may end in any order.
class WaiterQueue {
 public:
  bool Empty() const { return count_ == 0; }
  size_t Size() const { return count_; }
  Waiter& Front() { return items_[first_]; }  // Requires: !Empty().
  template <class F>
  void ForEach(F&& visit) const {
    for (size_t i = first_; i < items_.size(); ++i) {
      if (!IsHole(items_[i])) visit(items_[i]);
    }
  }
  void Push(const Waiter& waiter) {
    // Reuses the room in front and the holes, if that moves no more entries than it frees.
    if (items_.size() == items_.capacity() && items_.size() - count_ >= count_) Compact();
    items_.push_back(waiter);
    ++count_;
    SLUICE_PLANT(waiter_out_of_order, std::swap(items_[first_], items_.back()));
    if (index_ != nullptr) (*index_)[NameOf(items_.back())] = items_.size() - 1;
    SLUICE_PLANT(waiter_out_of_order, index_ = nullptr);
  }
  void Pop() {
    if (index_ != nullptr) index_->erase(NameOf(items_[first_]));
    items_[first_].wanted = 0;
    Left();
  }
  bool Remove(uint64_t key, uint32_t generation) {
    const size_t found = Find({key, generation});
    if (found == items_.size()) return false;
    if (index_ != nullptr) index_->erase({key, generation});
    items_[found].wanted = 0;
    Left();
    return true;
  }
  // nullptr: this waiter is not in the queue.
  const Waiter* Of(uint64_t key, uint32_t generation) {
    const size_t found = Find({key, generation});
    return found == items_.size() ? nullptr : &items_[found];
  }
  void CheckInvariants() const {
    size_t counted = 0;
    ForEach([&](const Waiter&) { ++counted; });
    SLUICE_CHECK(counted == count_ && (count_ == 0 || !IsHole(items_[first_])));
    SLUICE_CHECK(index_ == nullptr || index_->size() == count_);
  }

 private:
  static constexpr size_t kKeptMax = 16;
  static constexpr size_t kIndexedMin = 64;  // A shorter queue is searched linearly.

  struct Name {
    uint64_t key;
    uint32_t generation;
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Hash {
    size_t operator()(const Name& name) const {
      return (name.key ^ (uint64_t{name.generation} << 40)) * 0x9E3779B97F4A7C15u >> 7;
    }
  };
  static Name NameOf(const Waiter& waiter) { return {waiter.key, waiter.generation}; }
  // A waiter wants at least one.
  static bool IsHole(const Waiter& waiter) { return waiter.wanted == 0; }

  size_t Find(const Name& name) {
    if (index_ == nullptr && count_ >= kIndexedMin) {
      index_ = std::make_unique<std::unordered_map<Name, size_t, Hash>>(count_);
      MakeIndex();
    }
    if (index_ != nullptr) {
      const auto found = index_->find(name);
      return found == index_->end() ? items_.size() : found->second;
    }
    size_t i = first_;
    while (i < items_.size() && (IsHole(items_[i]) || !(NameOf(items_[i]) == name))) ++i;
    return i;
  }
  void MakeIndex() {
    index_->clear();
    for (size_t i = first_; i < items_.size(); ++i) {
      if (!IsHole(items_[i])) (*index_)[NameOf(items_[i])] = i;
    }
  }
  void Left() {
    if (--count_ == 0) {
      items_.clear();
      first_ = 0;
      index_ = nullptr;
      if (items_.capacity() > kKeptMax) items_.shrink_to_fit();
      return;
    }
    while (IsHole(items_[first_])) ++first_;
  }
  void Compact() {
    items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(first_));
    std::erase_if(items_, [](const Waiter& waiter) { return IsHole(waiter); });
    first_ = 0;
    if (index_ != nullptr) MakeIndex();
  }

  std::vector<Waiter> items_;
  size_t first_ = 0;  // Never a hole, unless the queue is empty.
  size_t count_ = 0;  // Waiters: items_ less holes and the entries before first_.
  std::unique_ptr<std::unordered_map<Name, size_t, Hash>> index_;  // Positions in items_.
};

struct Grant {
  Waiter waiter;  // wanted: the credits still open after this grant.
  uint32_t credits = 0;
};

template <class Atomics = StdAtomics>
class Mailbox {
 public:
  static constexpr uint32_t kReserveMax = 32;

  MailboxWord<Atomics>& Word() { return word_; }
  const MailboxWord<Atomics>& Word() const { return word_; }

  // Requires: capacity > 0. Answers the generation of the new actor.
  uint32_t Open(uint32_t capacity) {
    SLUICE_CHECK(capacity > 0 && !closed_ && held_ == 0 && freed_ == 0 && !waited_for_);
    capacity_ = capacity;
    reserve_ = ReserveMax();
    generation_ = word_.Open(capacity - reserve_);
    return generation_;
  }

  // As Open, when another worker has opened the word with all credits (a spawn placed here). May be
  // called again when the capacity becomes known.
  void Adopt(uint32_t capacity) {
    SLUICE_CHECK(!closed_ && capacity >= held_);
    generation_ = word_.Generation();
    capacity_ = capacity;
    if (reserve_ > ReserveMax()) {
      freed_ += reserve_ - ReserveMax();
      reserve_ = ReserveMax();
    }
  }

  // The actor that the word was opened for is not constructed, as no worker took the order. Called
  // by the thread that opened the word, and that owns the slot until it goes back to the stock.
  void Withdraw(uint32_t generation) {
    word_.Close(generation);
    generation_ = word_.Generation();
  }

  // The actor has ended. The caller takes out and drops the held messages, and notifies the
  // waiters.
  void Close(uint32_t generation) {
    word_.Close(generation);
    generation_ = generation_ + 1;
    reserve_ = freed_ = 0;
    closed_ = true;
    granting_ = false;
  }
  void Reset() {  // After Close, when nothing is held and no actor waits: ready for Open.
    SLUICE_CHECK(closed_ && held_ == 0 && !waited_for_);
    closed_ = false;
    waiters_ = nullptr;
  }

  // Does the actor of this handle live here, and take messages? Any thread: false for a stale
  // handle, however old the read is. Only the actor's worker may act on true.
  bool Admits(uint32_t generation) const { return generation == generation_; }

  // A sender on the owner's worker. Needs no atomic while the owner has credits at hand; otherwise
  // one operation takes as many as the reserve holds.
  Taken TakeLocal(uint32_t generation) {
    // A stale handle must take no credit of the next actor.
    if (generation != generation_) return word_.Take(generation);
    if (reserve_ > 0) {
      --reserve_;
      return Taken::kCredit;
    }
    if (waited_for_) return Taken::kFull;
    uint32_t taken = std::min(freed_, std::max<uint32_t>(1, ReserveMax()));
    if (taken > 0) {
      freed_ -= taken;
    } else {
      const Taken answer = word_.TakeUpTo(generation, std::max<uint32_t>(1, ReserveMax()), &taken);
      if (answer != Taken::kCredit) return answer;
    }
    reserve_ = taken - 1;
    return Taken::kCredit;
  }

  // The common case of TakeLocal: a credit is at hand. Requires: Admits().
  bool HasReserve() const { return reserve_ > 0; }
  void TakeReserve() { --reserve_; }  // Requires: HasReserve().

  // A message with its credit arrived; or it left.
  void Arrived() {
    ++held_;
    SLUICE_CHECK(held_ <= capacity_);
  }
  void Left() {
    SLUICE_CHECK(held_ > 0);
    --held_;
    if (closed_) return;  // Credits of an ended actor died with it.
    if (!waited_for_ && reserve_ < ReserveMax()) {
      ++reserve_;
    } else {
      Freed(1);
    }
  }

  // A parked actor asks for `waiter.wanted` credits. Free credits go to waiters before any new
  // sender.
  void AddWaiter(uint32_t generation, const Waiter& waiter) {
    SLUICE_CHECK(!closed_ && waiter.wanted > 0);
    if (waiters_ == nullptr) waiters_ = std::make_unique<WaiterQueue>();
    waiters_->Push(waiter);
    waited_for_ = true;
    freed_ += reserve_;
    reserve_ = 0;
    uint32_t taken = 0;
    if (word_.TakeUpTo(generation, capacity_, &taken) == Taken::kCredit) freed_ += taken;
  }
  // False: not in the queue (any more): it was granted all, or never asked.
  bool RemoveWaiter(uint64_t key, uint32_t waiter_generation) {
    if (!waited_for_ || !waiters_->Remove(key, waiter_generation)) return false;
    WaiterLeft();
    return true;
  }
  // Is this waiter still in the queue, in that wait? Not once it has been granted all its credits.
  bool IsWaitedForBy(uint64_t key, uint32_t waiter_generation, uint32_t episode) const {
    if (!waited_for_) return false;
    const Waiter* const waiter = waiters_->Of(key, waiter_generation);
    return waiter != nullptr && waiter->episode == episode;
  }
  // The next grant that is due, if any. Grants begin when half the capacity is free, or when no
  // message is held that could free more.
  bool NextGrant(Grant* grant, bool eager = false) {
    if (!waited_for_ || freed_ == 0) return false;
    if (!eager && !granting_ && freed_ < (capacity_ + 1) / 2 && held_ > 0) return false;
    granting_ = true;  // Once begun, a batch is given out whole.
    Waiter& first = waiters_->Front();
    const uint32_t share = std::max<uint32_t>(1, freed_ / static_cast<uint32_t>(waiters_->Size()));
    grant->credits = std::min(first.wanted, std::min(share, freed_));
    freed_ -= grant->credits;
    first.wanted -= grant->credits;
    grant->waiter = first;
    waiters_->Pop();
    // A waiter that got a part goes to the end of the queue, so that every waiter moves on.
    if (grant->waiter.wanted > 0) waiters_->Push(grant->waiter);
    if (freed_ == 0) granting_ = false;
    WaiterLeft();
    return true;
  }
  // Granted credits that came back: their waiter ended.
  void GrantReturned(uint32_t generation, uint32_t credits) {
    if (generation == generation_) Freed(credits);
  }
  // Takes the next waiter to notify that this mailbox has closed.
  bool TakeWaiter(Waiter* waiter) {
    if (!waited_for_) return false;
    *waiter = waiters_->Front();
    waiters_->Pop();
    WaiterLeft();
    return true;
  }

  // End of a slice, after NextGrant: credits that no actor waits for go back to the word.
  void Publish(uint32_t generation) {
    if (freed_ == 0 || waited_for_) return;
    Refill();
    if (freed_ == 0) return;
    word_.Give(generation, freed_);
    freed_ = 0;
  }

  uint32_t Held() const { return held_; }
  uint32_t Capacity() const { return capacity_; }
  bool HasWaiters() const { return waited_for_; }
  // Are there credits to give out by NextGrant or Publish?
  bool OwesCredits() const { return freed_ > 0 || waited_for_; }
  bool Closed() const { return closed_; }
  // Credits with the owner or in the word: the capacity less those held, granted or on their way.
  uint32_t FreeCredits() const { return word_.Credits() + reserve_ + freed_; }

  // For tests and the simulation, between two calls of the owner, while no sender runs.
  void CheckInvariants() const {
    if (closed_) {
      SLUICE_CHECK(reserve_ == 0 && freed_ == 0 && !granting_);
      return;
    }
    if (word_.Generation() != generation_) return;  // Placed here, and not adopted yet.
    SLUICE_CHECK(held_ <= capacity_ && FreeCredits() <= capacity_ - held_);
    SLUICE_CHECK(reserve_ <= ReserveMax());
    SLUICE_CHECK(waited_for_ == (waiters_ != nullptr && !waiters_->Empty()));
    if (waiters_ != nullptr) waiters_->CheckInvariants();
    // Free credits go to waiters before any new sender.
    SLUICE_CHECK(!waited_for_ || (reserve_ == 0 && word_.Credits() == 0));
  }

 private:
  uint32_t ReserveMax() const { return std::min(kReserveMax, capacity_ / 4); }
  void Refill() {
    const uint32_t n = std::min(freed_, ReserveMax() - reserve_);
    reserve_ += n;
    freed_ -= n;
  }
  void WaiterLeft() {
    if (!waiters_->Empty()) return;
    waited_for_ = false;
    granting_ = false;
  }
  void Freed(uint32_t credits) {
    freed_ += credits;
    SLUICE_CHECK(freed_ + reserve_ + held_ <= capacity_);
    if (waited_for_) return;
    Refill();
    if (freed_ > 0 && freed_ >= capacity_ / 2) {
      word_.Give(generation_, freed_);
      freed_ = 0;
    }
  }

  friend class Inspector;
  friend class MailboxTestPeer;

  MailboxWord<Atomics> word_;
  uint32_t capacity_ = 0;
  uint32_t held_ = 0;     // Messages in the owner's FIFO that own a credit.
  uint32_t reserve_ = 0;  // Credits kept for senders on this worker.
  // Credits of handled messages, not given out again yet.
  uint32_t freed_ = 0;
  // The word's generation; for a placed actor set by Adopt. Stale handles read it, too: see
  // core/slot/slot.h.
  OwnerWritten<uint32_t> generation_;
  bool closed_ = false;
  bool granting_ = false;                 // A batch of grants has begun.
  bool waited_for_ = false;               // An actor is in waiters_.
  std::unique_ptr<WaiterQueue> waiters_;  // Made when first needed.
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_MAILBOX_H_
