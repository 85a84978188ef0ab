#include "sluice/tests/stress/bad_client.h"

#include <algorithm>

namespace sluice::stress {

namespace {

constexpr size_t kBadStepBytesMax = 256 * 1024;

size_t BytesMax(BadClient::Kind kind, Random& random) {
  switch (kind) {
    case BadClient::Kind::kBomb:
      return random.Between(1 << 20, 3 << 20);
    case BadClient::Kind::kStoppedReader:
      return 8 << 20;
    default:
      return random.Below(200'000);
  }
}

}  // namespace

std::string_view BadClient::Name(Kind kind) {
  static constexpr std::string_view kNames[kKinds] = {"resetting", "vanishing", "stopped reader",
                                                      "line bomb", "leaving",   "silent"};
  return kNames[static_cast<int>(kind)];
}

BadClient::BadClient(Kind kind, uint16_t port, std::string_view noise, uint64_t seed)
    : Client(seed),
      kind_(kind),
      port_(port),
      noise_(noise),
      bytes_max_(BytesMax(kind, random_)),
      life_ms_(static_cast<int64_t>(random_.Between(1, kind == Kind::kResets ? 60 : 1'200))) {
  WakeAt(0);
}

void BadClient::SendNoise(size_t most) {
  most = std::min(most, bytes_max_);
  for (size_t went = 0; sent_ < most;) {
    if (went >= kBadStepBytesMax) {
      WakeAt(0);
      return;
    }
    const size_t at = sent_ % noise_.size();
    const size_t count = Send(noise_.substr(at, std::min<size_t>(most - sent_, 16 * 1024)));
    if (count == 0) return;
    sent_ += count;
    went += count;
  }
}

void BadClient::ReadAll() {
  std::string_view bytes;
  for (size_t got = 0; got < kBadStepBytesMax; got += bytes.size()) {
    const Got what = Receive(&bytes);
    if (what == Got::kNothing) return;
    if (what != Got::kBytes) {
      Leave();
      return;
    }
  }
  WakeAt(0);
}

void BadClient::Step(int64_t now_ms) {
  if (now_ms >= BornMs() + life_ms_) {
    random_.OneIn(4) ? Leave() : Reset();
    return;
  }
  WakeAt(BornMs() + life_ms_);
  if (!Connected()) return;
  switch (kind_) {
    case Kind::kResets:
      SendNoise(bytes_max_);
      if (random_.OneIn(3)) ReadAll();
      if (!Ended() && random_.OneIn(16)) Reset();
      return;
    case Kind::kVanishes:
      SendNoise(bytes_max_ / 16);
      HalfClose();
      if (random_.OneIn(4)) WakeAt(now_ms + 1);
      if (random_.OneIn(2)) Leave();
      return;
    case Kind::kStoppedReader:
      SendNoise(bytes_max_);
      return;
    case Kind::kBomb:
      SendNoise(bytes_max_);
      if (random_.OneIn(8)) ReadAll();
      if (!Ended() && sent_ == bytes_max_) Reset();
      return;
    case Kind::kLeaves:
      random_.OneIn(2) ? Leave() : Reset();
      return;
    case Kind::kSilent:
      ReadAll();
      return;
  }
}

}  // namespace sluice::stress
