#include "sluice/actors/connection/outgoing.h"

#include <cerrno>
#include <memory>

#include "sluice/core/base/check.h"

namespace sluice {

bool Outgoing::HalfClose() {
  if (!Open()) return false;
  side_ = Side::kHalfClosing;
  return true;
}

bool Outgoing::Close() {
  const bool was_open = Open();
  if (side_ == Side::kOpen || side_ == Side::kHalfClosing) side_ = Side::kClosing;
  if (side_ == Side::kHalfClosed) side_ = Side::kFinSent;
  return was_open;
}

void Outgoing::SentFin() {
  SLUICE_CHECK(FinDue());
  side_ = Closing() ? Side::kFinSent : Side::kHalfClosed;
}

void Outgoing::Linger(int64_t now_ms) {
  SLUICE_CHECK(side_ == Side::kFinSent);
  side_ = Side::kLingering;
  // Start a new observation: shedding may have set this number for its own purpose.
  unacknowledged_bytes_ = 0;
  unacknowledged_ms_ = now_ms;
}

int64_t Outgoing::Keep(std::string_view bytes, Lease& lease) {
  if (bytes.empty()) return 0;
  if (write_error_ != ENOMEM && output_.AppendCopy(bytes, lease, Charging::kOverdraft)) return 0;
  write_error_ = ENOMEM;
  return static_cast<int64_t>(bytes.size());
}

bool Outgoing::AppendFile(const SharedFile& file, int64_t offset, int64_t bytes, Lease& lease) {
  if (!output_.AppendPart(std::make_unique<FileRange>(file, offset, bytes), lease,
                          Charging::kOverdraft)) {
    return false;
  }
  ++ranges_;
  output_high_ = true;
  return true;
}

void Outgoing::TakeFrom(OutputQueue& early, int ranges) {
  output_.TakeFrom(early);
  ranges_ = static_cast<uint8_t>(ranges);
  output_high_ = ranges > 0;
}

bool Outgoing::ListenersHold() const {
  for (const OutputListener* listener = listeners_.Front(); listener != nullptr;
       listener = listeners_.Next(*listener)) {
    if (listener->Holds()) return true;
  }
  return false;
}

int64_t Outgoing::HeldBytes() const {
  int64_t held = output_.HeldBytes();
  for (const OutputListener* listener = listeners_.Front(); listener != nullptr;
       listener = listeners_.Next(*listener)) {
    held += listener->HeldBytes();
  }
  return held;
}

int64_t Outgoing::UnacknowledgedSince(int64_t now_ms, uint32_t bytes, int64_t valid_ms) {
  if (unacknowledged_ms_ < valid_ms || bytes != unacknowledged_bytes_) {
    unacknowledged_bytes_ = bytes;
    unacknowledged_ms_ = now_ms;
  }
  return unacknowledged_ms_;
}

void Outgoing::CheckInvariants(const Options& options, bool between_turns) const {
  output_.CheckInvariants();
  listeners_.CheckInvariants();
  SLUICE_CHECK(!gathering_ || output_.Empty());
  SLUICE_CHECK(HasFiles() == (output_.PartBytes() > 0) && (!HasFiles() || output_high_));
  SLUICE_CHECK(static_cast<int64_t>(output_.size()) <= options.output_bytes_max);
  SLUICE_CHECK(!between_turns || output_.Empty() == (stalled_ms_ < 0));
  SLUICE_CHECK(Open() || listeners_.Empty());
  SLUICE_CHECK(!Lingering() || output_.Empty());
}

}  // namespace sluice
