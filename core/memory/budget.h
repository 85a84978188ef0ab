// Budget is the memory ceiling of a runtime: payload bytes, envelopes and connection buffers are
// charged to it before they are held. Lease is one worker's share, which makes a charge a local
// addition.
//
// Owner:  Budget the Runtime; Lease its worker.
// Thread: Budget any; Lease its owner's only.
// Bound:  what leases hold and what was charged: at most bytes_max + workers * kOverdraftBytesMax.
// Errors: Take and Charge answer false when the budget is spent, and then take nothing.
#ifndef SLUICE_CORE_MEMORY_BUDGET_H_
#define SLUICE_CORE_MEMORY_BUDGET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/core/base/language.h"

namespace sluice {

// Bytes that the allocator takes for `requested` bytes, its own header included: these are charged.
// glibc's malloc takes 8 bytes more, in steps of 16, at least 32; from 128 KiB on it may map whole
// pages.
constexpr int64_t AllocatedBytes(size_t requested) {
  const int64_t size = static_cast<int64_t>(requested);
  if (size >= 128 * 1024) return (size + 16 + 4095) / 4096 * 4096;
  return size <= 24 ? 32 : (size + 8 + 15) / 16 * 16;
}

// How far a charge may go.
enum class Charging {
  kBudget,     // Not beyond the budget.
  kOverdraft,  // Into the worker's overdraft, for work that must go on when the budget is spent.
};

class Budget {
 public:
  explicit Budget(int64_t bytes_max);  // Requires: 0 < bytes_max < 2^61.
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // Requires: bytes >= 0.
  [[nodiscard]] bool Take(int64_t bytes) { return TakeUpTo(bytes, bytes) == bytes; }
  // Takes all that is free, at least `bytes_min` and at most `bytes_max`, and answers how much it
  // took; -1 when not even `bytes_min` is free. Requires: 0 <= bytes_min <= bytes_max.
  [[nodiscard]] int64_t TakeUpTo(int64_t bytes_min, int64_t bytes_max);
  void Give(int64_t bytes);  // Requires: that much was taken before, here or through a Lease.
  int64_t BytesMax() const { return bytes_max_; }
  int64_t FreeBytes() const { return bytes_max_ - UsedBytes(); }  // A moment old.
  // A moment old. Leases count as used. Negative while one lease owes bytes that another lease has
  // already given back.
  int64_t UsedBytes() const { return word_.load(std::memory_order_relaxed) >> 1; }
  // True from a refused Take until at least 1/16 of the budget is free again: readers stay paused
  // until then, so that they do not stop and start for each message. A Take that is refused while
  // that much is free asked for more than the rest, and does not set "spent": perhaps no Give would
  // ever follow to clear it.
  bool Spent() const { return (word_.load(std::memory_order_relaxed) & 1) != 0; }
  // How often the budget was spent and then recovered. An equal count at two looks that both find
  // it spent means that it stayed spent in between.
  uint32_t Recoveries() const { return recoveries_.load(std::memory_order_relaxed); }

 private:
  // Used bytes * 2, plus 1 when spent. One word, so that a refused Take cannot set "spent" after
  // the Give that freed everything: no later Give would clear it. Partners: Take and Give of all
  // threads. Relaxed: no other data hangs on it. The memory itself is handed over by other means,
  // and compare-exchange on one word keeps the bound whatever the order.
  std::atomic<int64_t> word_{0};
  // Raised after the Give that cleared "spent". Relaxed: a count. Read a moment late, it can only
  // hide a short recovery.
  std::atomic<uint32_t> recoveries_{0};
  const int64_t bytes_max_;
};

class Lease {
 public:
  // The most that a worker may owe beyond the budget. Within it, the handling of held data can
  // always go on.
  static constexpr int64_t kOverdraftBytesMax = 256 * 1024;

  Lease(Budget& budget, int workers);  // Holds at most budget / (16 * workers) idle bytes.
  ~Lease();  // Gives back what is left; requires: no debt after ReturnIdle.
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Requires: bytes >= 0. A debt is paid before anything new is charged.
  [[nodiscard]] bool Charge(int64_t bytes) {
    if (left_bytes_ >= bytes) {
      left_bytes_ -= bytes;
      return true;
    }
    return ChargeSlow(bytes);
  }
  // As Charge, but may go into debt up to kOverdraftBytesMax. For handlers that free what they
  // handle.
  [[nodiscard]] bool ChargeOverdraft(int64_t bytes);
  [[nodiscard]] bool Charge(int64_t bytes, Charging how) {
    return how == Charging::kBudget ? Charge(bytes) : ChargeOverdraft(bytes);
  }
  bool HasLeft(int64_t bytes) const { return left_bytes_ >= bytes; }
  // Would Charge() grant so much now? (Another worker may take it before that.) If not, this counts
  // as a refused charge. Cheaper than to charge and refund: it changes no word that workers share.
  [[nodiscard]] bool HasRoom(int64_t bytes) {
    if (HasLeft(bytes) || budget_.FreeBytes() >= bytes - left_bytes_) [[likely]]
      return true;
    if (!Charge(bytes)) return false;
    Refund(bytes);
    return true;
  }
  // The most that ChargeOverdraft grants when the budget is spent.
  int64_t OverdraftLeftBytes() const { return left_bytes_ + kOverdraftBytesMax; }
  // Another lease of the same budget may have charged these bytes.
  void Refund(int64_t bytes) {
    left_bytes_ += bytes;
    if (left_bytes_ > idle_bytes_max_) [[unlikely]]
      Trim();
  }
  // Before sleep: gives all idle bytes back. A debt is paid as far as the budget has room; the rest
  // of the debt stays.
  void ReturnIdle();
  int64_t LeftBytes() const { return left_bytes_; }  // Negative: debt.

 private:
  bool ChargeSlow(int64_t bytes);
  void Trim();

  Budget& budget_;
  const int64_t idle_bytes_max_;
  int64_t left_bytes_ = 0;  // >= -kOverdraftBytesMax, and <= idle_bytes_max_ after each call.
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_BUDGET_H_
