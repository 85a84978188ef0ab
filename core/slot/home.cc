#include "sluice/core/slot/home.h"

#include <algorithm>
#include <new>
#include <vector>

#include "sluice/core/base/check.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

namespace {

// Never destroyed: handles are used until the process has ended.
template <class T>
struct Stock {
  std::mutex lock;
  std::vector<T*> empty;
  // Not used again; kept here so that a leak checker finds them.
  std::vector<T*> lost;
};

Stock<Home>& Homes() {
  static auto* const stock = new Stock<Home>;
  return *stock;
}

Stock<Slot>& Chunks() {
  static auto* const stock = new Stock<Slot>;
  return *stock;
}

bool IsFree(const Slot& slot) {
  return slot.state == ActorState::kFree && slot.actor == nullptr && slot.io == nullptr &&
         slot.extra == nullptr && !slot.scheduled && slot.queue.Empty() &&
         !MailboxWord<>::IsLive(slot.mailbox.Word().Generation());
}

}  // namespace

Home& Home::Take(const Runtime& runtime, size_t worker_bytes) {
  Stock<Home>& stock = Homes();
  Home* home = nullptr;
  {
    const std::lock_guard<std::mutex> guard(stock.lock);
    if (!stock.empty.empty()) {
      home = stock.empty.back();
      stock.empty.pop_back();
    }
  }
  if (home == nullptr) {
    home = new (::operator new (sizeof(Home) + worker_bytes, std::align_val_t{alignof(Home)})) Home;
  }
  home->runtime_.store(&runtime, std::memory_order_relaxed);
  return *home;
}

void Home::GiveBack() {
  Close();
  runtime_.store(nullptr, std::memory_order_relaxed);
  Stock<Home>& stock = Homes();
  const std::lock_guard<std::mutex> guard(stock.lock);
  stock.empty.push_back(this);
}

void Home::Open() {
  const std::lock_guard<std::mutex> guard(lock_);
  open_ = true;
}

void Home::Close() {
  const std::lock_guard<std::mutex> guard(lock_);
  open_ = false;
}

Slot* SlotChunks::Take() {
  Stock<Slot>& stock = Chunks();
  {
    const std::lock_guard<std::mutex> guard(stock.lock);
    if (!stock.empty.empty()) {
      Slot* const slots = stock.empty.back();
      stock.empty.pop_back();
      return slots;
    }
  }
  auto* slots =
      static_cast<Slot*>(::operator new (sizeof(Slot) * kSlots, std::align_val_t{alignof(Slot)}));
  for (uint32_t i = 0; i < kSlots; ++i) new (&slots[i]) Slot(nullptr, 0);
  return slots;
}

void SlotChunks::GiveBack(Slot* slots) {
  const bool free = std::all_of(slots, slots + kSlots, IsFree);
  Stock<Slot>& stock = Chunks();
  const std::lock_guard<std::mutex> guard(stock.lock);
  (free ? stock.empty : stock.lost).push_back(slots);
}

}  // namespace sluice
