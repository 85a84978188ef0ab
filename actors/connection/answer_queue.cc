#include "sluice/actors/connection/answer_queue.h"

#include <utility>

#include "sluice/core/base/check.h"

namespace sluice {

uint64_t AnswerQueue::Reserve() {
  places_.emplace_back();
  ++open_;
  return first_ + places_.size() - 1;
}

bool AnswerQueue::Fill(uint64_t place, std::string bytes) {
  SLUICE_CHECK(place - first_ < places_.size());
  if (!lease_.ChargeOverdraft(Charge(bytes.size()))) return false;
  Place& filled = places_[place - first_];
  SLUICE_CHECK(filled.open);
  filled.open = false;
  bytes_ += bytes.size();
  filled.bytes = std::move(bytes);
  --open_;
  return true;
}

bool AnswerQueue::Append(std::string_view bytes) {
  const uint64_t place = Reserve();
  if (Fill(place, std::string(bytes))) return true;
  places_.pop_back();
  --open_;
  return false;
}

void AnswerQueue::Pop() {
  SLUICE_CHECK(Ready());
  const size_t bytes = places_.front().bytes.size();
  places_.pop_front();
  ++first_;
  bytes_ -= bytes;
  lease_.Refund(Charge(bytes));
}

void AnswerQueue::Clear() {
  while (!places_.empty()) {
    if (places_.front().open) {
      places_.front().open = false;
      --open_;
      places_.pop_front();
      ++first_;
    } else {
      Pop();
    }
  }
}

}  // namespace sluice
