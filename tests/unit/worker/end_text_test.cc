// Tests of the text that describes an end: whatever an exception says or does not say, the text is
// reported, is bounded, and never fails itself.
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/control.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::end_text_test {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

struct SaysNothing : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
struct SaysMuch : std::exception {
  const char* what() const noexcept override { return text->c_str(); }
  std::shared_ptr<const std::string> text =
      std::make_shared<const std::string>(std::string(100'000'000, 'x'));
};

struct Fail {
  // 0: throws no text; 1: throws much text; 2: throws in OnStop; 3: stops with much text.
  int how = 0;
};
struct Watch {};

class Mortal : public Actor {
 public:
  void On(Fail fail) {
    if (fail.how == 0) throw SaysNothing();
    if (fail.how == 1) throw SaysMuch();
    on_stop_fails_ = fail.how == 2;
    Stop(fail.how == 3 ? std::string(10'000'000, 'y') : "");
  }
  void OnStop() override {
    if (on_stop_fails_) throw SaysNothing();
  }

 private:
  bool on_stop_fails_ = false;
};

class Witness : public Actor {
 public:
  Witness(std::vector<Down>* downs, Ref<Mortal> of, int times) : downs_(*downs) {
    for (int i = 0; i < times; ++i) Monitor(of);
  }
  void OnDown(const Down& down) override { downs_.push_back(down); }

 private:
  std::vector<Down>& downs_;
};

class EndText : public ::testing::Test {
 protected:
  EndText() : runtime_(SmallOptions(1)), step_(runtime_) {}
  ~EndText() override { runtime_.Drain(absl::Seconds(5)); }
  std::vector<Down> EndOf(Fail how, int monitors = 1) {
    std::vector<Down> downs;
    const Ref<Mortal> mortal = runtime_.Spawn<Mortal>();
    const Ref<Witness> witness = runtime_.Spawn<Witness>(&downs, mortal, monitors);
    step_.Round(3);
    EXPECT_EQ(mortal.TrySend(how), Answer::kAccepted);
    EXPECT_TRUE(step_.Until([&] { return downs.size() == static_cast<size_t>(monitors); }));
    witness.Stop();
    step_.Round(3);
    return downs;
  }
  Runtime runtime_;
  Stepper step_;
};

TEST_F(EndText, ExceptionWithoutTextIsNamedByItsType) {
  const std::vector<Down> downs = EndOf({0});
  EXPECT_EQ(downs[0].reason, EndReason::kFailed);
  EXPECT_THAT(downs[0].text, HasSubstr("SaysNothing"));
}

TEST_F(EndText, AnExceptionThatSaysTooMuchIsCut) {
  const std::vector<Down> downs = EndOf({1});
  EXPECT_EQ(downs[0].reason, EndReason::kFailed);
  EXPECT_LE(downs[0].text.size(), kReasonTextBytesMax);
  EXPECT_THAT(downs[0].text, EndsWith("x..."));
}

TEST_F(EndText, OnStopThrowingWithoutTextEndsItsActor) {
  const std::vector<Down> downs = EndOf({2});
  EXPECT_EQ(downs[0].reason, EndReason::kFailed);
  EXPECT_THAT(downs[0].text, HasSubstr("SaysNothing"));
}

TEST_F(EndText, TheReasonOfAStopIsCutToo) {
  const std::vector<Down> downs = EndOf({3}, /*monitors=*/300);
  for (const Down& down : downs) {
    EXPECT_EQ(down.reason, EndReason::kStopped);
    EXPECT_LE(down.text.size(), kReasonTextBytesMax);
    EXPECT_THAT(down.text, EndsWith("y..."));
  }
}

// While the text is on its way, it exists once, however many monitors there are.
TEST_F(EndText, ManyMonitorsShareOneText) {
  const int64_t before = runtime_.budget().UsedBytes();
  const std::vector<Down> downs = EndOf({1}, /*monitors=*/900);
  EXPECT_EQ(downs.size(), 900u);
  step_.Round(3);
  EXPECT_LE(runtime_.budget().UsedBytes(), before + 64 * 1024);
}

TEST(ExceptionText, IsNotCutInTheMiddleOfACharacter) {
  std::string text;
  while (text.size() < 2 * kReasonTextBytesMax) text += "\xE2\x82\xAC";  // A euro sign.
  for (size_t shift = 0; shift < 3; ++shift) {
    const std::string cut =
        ExceptionText(std::make_exception_ptr(std::runtime_error(std::string(shift, ' ') + text)));
    EXPECT_LE(cut.size(), kReasonTextBytesMax);
    EXPECT_GT(cut.size(), kReasonTextBytesMax - 8);
    EXPECT_EQ((cut.size() - shift - 3) % 3, 0u);
  }
}

class BadlyBehaved : public Actor {
 public:
  explicit BadlyBehaved(std::string* told) : told_(*told) {}
  void OnStart() override {
    (void)RunBlocking([]() -> int { throw SaysNothing(); },
                      [this](absl::StatusOr<int> result) { told_ = result.status().ToString(); });
  }

 private:
  std::string& told_;
};

TEST_F(EndText, BlockingFunctionsTextlessExceptionIsNamedByType) {
  std::string told;
  runtime_.Spawn<BadlyBehaved>(&told);
  EXPECT_TRUE(step_.Until([&] { return !told.empty(); }));
  EXPECT_THAT(told, HasSubstr("SaysNothing"));
}

}  // namespace
}  // namespace sluice::testing::end_text_test
