#include "sluice/core/memory/budget.h"

#include <algorithm>

#include "sluice/core/base/check.h"

namespace sluice {

Budget::Budget(int64_t bytes_max) : bytes_max_(bytes_max) {
  SLUICE_CHECK(bytes_max > 0 && bytes_max < int64_t{1} << 61);
}

int64_t Budget::TakeUpTo(int64_t bytes_min, int64_t bytes_max) {
  SLUICE_CHECK(bytes_min >= 0 && bytes_min <= bytes_max);
  int64_t word = word_.load(std::memory_order_relaxed);
  while (true) {
    const int64_t free = bytes_max_ - (word >> 1);
    const bool enough = free >= bytes_min;
    const int64_t taken = enough ? std::min(free, bytes_max) : 0;
    int64_t next = word + taken * 2;
    if (!enough && free < bytes_max_ / 16) next |= 1;
    // Compare-exchange, not add and undo: between the two, other threads would see, and could act
    // on, the excess.
    if (next == word || word_.compare_exchange_weak(word, next, std::memory_order_relaxed)) {
      return enough ? taken : -1;
    }
  }
}

void Budget::Give(int64_t bytes) {
  SLUICE_CHECK(bytes >= 0);
  int64_t word = word_.load(std::memory_order_relaxed);
  int64_t next;
  do {
    next = word - bytes * 2;
    if (bytes_max_ - (next >> 1) >= bytes_max_ / 16) next &= ~int64_t{1};
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_relaxed));
  if ((word & 1) != 0 && (next & 1) == 0) recoveries_.fetch_add(1, std::memory_order_relaxed);
}

Lease::Lease(Budget& budget, int workers)
    : budget_(budget), idle_bytes_max_(budget.BytesMax() / (int64_t{16} * workers)) {
  SLUICE_CHECK(workers > 0);
}

Lease::~Lease() {
  ReturnIdle();
  SLUICE_CHECK(left_bytes_ == 0, "a lease ends in debt: what it charged was not refunded");
}

bool Lease::ChargeOverdraft(int64_t bytes) {
  if (Charge(bytes)) return true;
  if (bytes > left_bytes_ + kOverdraftBytesMax) return false;
  left_bytes_ -= bytes;
  return true;
}

void Lease::ReturnIdle() {
  if (left_bytes_ > 0) {
    budget_.Give(left_bytes_);
    left_bytes_ = 0;
  } else if (left_bytes_ < 0) {
    left_bytes_ += std::max<int64_t>(budget_.TakeUpTo(0, -left_bytes_), 0);
  }
}

bool Lease::ChargeSlow(int64_t bytes) {
  SLUICE_CHECK(bytes >= 0);
  if (bytes == 0) return true;                   // Comes here only with a debt.
  if (bytes > budget_.BytesMax()) return false;  // Never granted: the sums below stay small.
  const int64_t missing = bytes - left_bytes_;   // Includes the debt, if any.
  // Half of the idle maximum, so that neither the next charge nor the next refund comes back here.
  const int64_t taken = budget_.TakeUpTo(missing, missing + idle_bytes_max_ / 2);
  if (taken < 0) return false;
  left_bytes_ += taken - bytes;
  return true;
}

void Lease::Trim() {
  const int64_t kept = idle_bytes_max_ / 2;
  budget_.Give(left_bytes_ - kept);
  left_bytes_ = kept;
}

}  // namespace sluice
