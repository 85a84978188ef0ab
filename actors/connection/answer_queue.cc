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
  likely_bytes_ = std::max(bytes.size(), likely_bytes_ / 2);
  return Put(place, std::move(bytes), nullptr);
}

bool AnswerQueue::Put(uint64_t place, std::string bytes, std::unique_ptr<const File> file) {
  SLUICE_CHECK(place - first_ < places_.size());
  if (!lease_.ChargeOverdraft(Charge(bytes.size()))) return false;
  Place& filled = places_[place - first_];
  SLUICE_CHECK(filled.open);
  filled.open = false;
  --open_;
  bytes_ += bytes.size();
  filled.bytes = std::move(bytes);
  if (file != nullptr) {
    ++files_;
    file_bytes_ += file->bytes;
    filled.file = std::move(file);
  }
  return true;
}

bool AnswerQueue::Behind(std::string bytes, std::unique_ptr<const File> file) {
  const uint64_t place = Reserve();
  if (Put(place, std::move(bytes), std::move(file))) return true;
  places_.pop_back();
  --open_;
  return false;
}

bool AnswerQueue::Append(std::string_view bytes) { return Behind(std::string(bytes), nullptr); }

bool AnswerQueue::AppendFile(SharedFile file, int64_t offset, int64_t bytes) {
  return Behind("", std::make_unique<const File>(File{std::move(file), offset, bytes}));
}

void AnswerQueue::Pop() {
  SLUICE_CHECK(Ready());
  const Place& first = places_.front();
  const size_t bytes = first.bytes.size();
  if (first.file != nullptr) {
    --files_;
    file_bytes_ -= first.file->bytes;
  }
  places_.pop_front();
  ++first_;
  bytes_ -= bytes;
  lease_.Refund(Charge(bytes));
}

void AnswerQueue::Clear() {
  while (!places_.empty()) {
    if (Ready()) {
      Pop();
      continue;
    }
    --open_;
    places_.pop_front();
    ++first_;
  }
}

}  // namespace sluice
