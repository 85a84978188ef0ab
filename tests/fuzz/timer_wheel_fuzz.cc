// A timer wheel, against a sorted map: by deadline, then by order of arming.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

constexpr int kNodes = 16;

class Both {
 public:
  explicit Both(int64_t now_ms) : now_ms_(now_ms), reached_ms_(now_ms), wheel_(now_ms) {}
  ~Both() {
    for (int i = 0; i < kNodes; ++i) wheel_.Cancel(nodes_[i]);
  }

  void Step(Reader& reader) {
    switch (reader.Number(3)) {
      case 0:
      case 1:
        Arm(reader);
        break;
      case 2:
        Cancel(static_cast<int>(reader.Number(kNodes - 1)));
        break;
      case 3:
        if (const int64_t by_ms = Span(reader); by_ms <= INT64_MAX - now_ms_) now_ms_ += by_ms;
        PopDue(reader);
        break;
    }
    wheel_.CheckInvariants();
    EXPECT_EQ(wheel_.Count(), static_cast<int64_t>(model_.size()));
    if (model_.empty()) {
      EXPECT_EQ(wheel_.NextMs(), TimerWheel::kNever);
    } else {
      EXPECT_LE(wheel_.NextMs(), model_.begin()->first.first);
    }
  }

 private:
  // A span of any magnitude: from a few milliseconds to the largest.
  static int64_t Span(Reader& reader) {
    return static_cast<int64_t>(reader.Number() >> (1 + reader.Number(62)));
  }

  void Arm(Reader& reader) {
    const int i = static_cast<int>(reader.Number(kNodes - 1));
    const int64_t span_ms = Span(reader);
    const int64_t deadline_ms =
        reader.Bool() ? now_ms_ - span_ms : now_ms_ + std::min(span_ms, INT64_MAX - now_ms_);
    Erase(i);
    wheel_.Arm(nodes_[i], deadline_ms);
    places_[i] = model_.emplace(std::pair(std::max(deadline_ms, reached_ms_), ++armed_), i).first;
    EXPECT_EQ(nodes_[i].DeadlineMs(), deadline_ms);
  }
  void Cancel(int i) {
    Erase(i);
    wheel_.Cancel(nodes_[i]);
  }
  void Erase(int i) {
    EXPECT_EQ(nodes_[i].Armed(), places_[i] != model_.end());
    if (places_[i] != model_.end()) model_.erase(std::exchange(places_[i], model_.end()));
  }

  void PopDue(Reader& reader) {
    // Bounded: nodes armed in between may be due at this very tick.
    for (int i = 0; i < 3 * kNodes; ++i) {
      TimerNode* node = wheel_.PopDue(now_ms_);
      if (node == nullptr) {
        EXPECT_TRUE(model_.empty() || model_.begin()->first.first > now_ms_);
        reached_ms_ = now_ms_;
        EXPECT_TRUE(wheel_.NextMs() > now_ms_ || wheel_.NextMs() == TimerWheel::kNever);
        return;
      }
      ASSERT_FALSE(model_.empty());
      const auto [place, expected] = *model_.begin();
      ASSERT_EQ(node - nodes_.data(), expected);
      EXPECT_LE(place.first, now_ms_);
      reached_ms_ = place.first;
      model_.erase(std::exchange(places_[expected], model_.end()));
      if (reader.Bool()) Arm(reader);
    }
  }

  int64_t now_ms_;
  int64_t reached_ms_;
  int64_t armed_ = 0;
  TimerWheel wheel_;
  std::array<TimerNode, kNodes> nodes_;
  using Model = std::map<std::pair<int64_t, int64_t>, int>;
  Model model_;
  std::array<Model::iterator, kNodes> places_ = [this] {
    std::array<Model::iterator, kNodes> none;
    none.fill(model_.end());
    return none;
  }();
};

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  sluice::testing::Both both(static_cast<int64_t>(reader.Number() >> (1 + reader.Number(62))));
  while (!reader.Empty()) both.Step(reader);
  return 0;
}
