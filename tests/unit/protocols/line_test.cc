#include "sluice/protocols/line.h"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::testing::line_test {
namespace {

using namespace std::string_view_literals;
using ::testing::ElementsAre;
using Lines = std::vector<std::string>;

const std::string kLong = "<too long>";  // Longer than any bound here, so no line can equal it.

// Feeds a decoder as Sluice's Input does: unconsumed bytes are offered again, before newer ones.
class Feeder {
 public:
  explicit Feeder(uint32_t line_bytes_max)
      : line_bytes_max_(line_bytes_max), decoder_(line_bytes_max) {}

  void Feed(std::string_view bytes) {
    kept_ += bytes;
    while (Take(decoder_.Next(kept_))) {
    }
    EXPECT_LE(kept_.size(), line_bytes_max_ + 1u);
  }

  Lines Finish() {
    while (Take(decoder_.Finish(kept_))) {
    }
    EXPECT_EQ(kept_, "");
    return std::move(lines_);
  }

  size_t Kept() const { return kept_.size(); }
  const Lines& lines() const { return lines_; }

 private:
  bool Take(const LineResult& result) {
    if (result.kind == LineResult::kLine) {
      EXPECT_GE(result.line.data(), kept_.data());
      EXPECT_LE(result.line.data() + result.line.size(), kept_.data() + result.consumed);
      lines_.emplace_back(result.line);
    }
    if (result.kind == LineResult::kTooLong) lines_.push_back(kLong);
    kept_.erase(0, result.consumed);
    return result.kind != LineResult::kNeedMore;
  }

  uint32_t line_bytes_max_;
  LineDecoder decoder_;
  std::string kept_;
  Lines lines_;
};

// A plain reference decoder: the lines of the whole text.
Lines Reference(std::string_view text, size_t line_bytes_max) {
  Lines lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line.size() > line_bytes_max ? kLong : line);
  }
  return lines;
}

Lines Whole(std::string_view text, uint32_t line_bytes_max) {
  Feeder feeder(line_bytes_max);
  feeder.Feed(text);
  return feeder.Finish();
}

// Decodes the text whole, cut in two and in three at every place, and byte by byte; expects the
// same lines each time.
Lines AtEverySplit(std::string_view text, uint32_t line_bytes_max) {
  const Lines lines = Whole(text, line_bytes_max);
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      Feeder feeder(line_bytes_max);
      feeder.Feed(text.substr(0, i));
      feeder.Feed(text.substr(i, j - i));
      feeder.Feed(text.substr(j));
      EXPECT_EQ(feeder.Finish(), lines) << "cut at " << i << " and " << j;
    }
  }
  Feeder feeder(line_bytes_max);
  for (const char& c : text) feeder.Feed(std::string_view(&c, 1));
  EXPECT_EQ(feeder.Finish(), lines);
  EXPECT_EQ(lines, Reference(text, line_bytes_max));
  return lines;
}

TEST(Line, IsSmall) { EXPECT_LE(sizeof(LineDecoder), 16 + sizeof(uint32_t)); }

TEST(Line, EndsWithLfAndAnOptionalCr) {
  EXPECT_THAT(AtEverySplit("one\ntwo\r\n\n\r\nfive\n", 8),
              ElementsAre("one", "two", "", "", "five"));
}

TEST(Line, CrElsewhereIsDataAndOnlyOneIsStripped) {
  EXPECT_THAT(AtEverySplit("a\rb\n\rc\r\r\n\r\r\n\r\n", 8), ElementsAre("a\rb", "\rc\r", "\r", ""));
}

TEST(Line, NulIsDataLikeAnyByte) {
  EXPECT_THAT(AtEverySplit("\0a\0\n\0\r\n\xff\n"sv, 8), ElementsAre("\0a\0"sv, "\0"sv, "\xff"));
}

TEST(Line, ExactlyTheMaximumFitsWithEitherEnd) {
  EXPECT_THAT(AtEverySplit("1234\n1234\r\n1234", 4), ElementsAre("1234", "1234", "1234"));
  EXPECT_THAT(AtEverySplit("1234\r", 4), ElementsAre("1234"));
}

TEST(Line, ExtraByteMakesOnlyThatLineTooLong) {
  EXPECT_THAT(AtEverySplit("12345\nok\n", 4), ElementsAre(kLong, "ok"));
  EXPECT_THAT(AtEverySplit("12345\r\nok\r\n", 4), ElementsAre(kLong, "ok"));
  EXPECT_THAT(AtEverySplit("1234\rx\nok\n", 4), ElementsAre(kLong, "ok"));
  EXPECT_THAT(AtEverySplit("1234\r\r\nok\n", 4), ElementsAre(kLong, "ok"));
  EXPECT_THAT(AtEverySplit("12345", 4), ElementsAre(kLong));
  EXPECT_THAT(AtEverySplit("12345\n12345\n\n12345678901", 4), ElementsAre(kLong, kLong, "", kLong));
}

TEST(Line, MaximumMayBeNothing) {
  EXPECT_THAT(AtEverySplit("\n\r\nx\n\r\r\n\r", 0), ElementsAre("", "", kLong, kLong, ""));
}

TEST(Line, LastLineWithoutEndIsDelivered) {
  EXPECT_THAT(AtEverySplit("one\nlast", 8), ElementsAre("one", "last"));
  EXPECT_THAT(AtEverySplit("one\nlast\r", 8), ElementsAre("one", "last"));
  EXPECT_THAT(AtEverySplit("one\n", 8), ElementsAre("one"));
  EXPECT_THAT(AtEverySplit("", 8), ElementsAre());
}

TEST(Line, FinishLeavesTheDecoderAsNew) {
  LineDecoder decoder(4);
  EXPECT_EQ(decoder.Next("123456").kind, LineResult::kTooLong);
  const LineResult skipped = decoder.Finish("789");
  EXPECT_EQ(skipped.kind, LineResult::kNeedMore);  // Was reported before.
  EXPECT_EQ(skipped.consumed, 3u);
  EXPECT_EQ(decoder.Next("ok").kind, LineResult::kNeedMore);
  EXPECT_EQ(decoder.Finish("ok").line, "ok");
  EXPECT_EQ(decoder.Next("a\n").line, "a");
}

TEST(Line, PointsIntoTheInputAndReportsBytesConsumed) {
  LineDecoder decoder(16);
  const std::string_view input = "one\r\ntwo\n";
  const LineResult result = decoder.Next(input);
  ASSERT_EQ(result.kind, LineResult::kLine);
  EXPECT_EQ(result.line.data(), input.data());
  EXPECT_EQ(result.line, "one");
  EXPECT_EQ(result.consumed, 5u);
}

TEST(Line, TooLongIsReportedEarlyAndKeepsNothing) {
  Feeder feeder(4);
  feeder.Feed("12345");
  EXPECT_THAT(feeder.lines(), ElementsAre(kLong));
  EXPECT_EQ(feeder.Kept(), 0u);
  for (int i = 0; i < 1000; ++i) {
    feeder.Feed("xxxxxxxxxxxxxxxx");
    ASSERT_EQ(feeder.Kept(), 0u);
  }
  feeder.Feed("x\nok\n");
  EXPECT_THAT(feeder.Finish(), ElementsAre(kLong, "ok"));
}

// A sender of single bytes makes the decoder see each byte again and again. The decoder must search
// each byte once: a decoder that starts over would read 2^43 bytes here, more than any test's time
// limit allows.
TEST(Line, SlowSenderCostsNoMoreThanAFastOne) {
  constexpr uint32_t kBytes = 1 << 22;
  const std::string text = std::string(kBytes, 'x') + "\n";
  LineDecoder decoder(kBytes);
  for (uint32_t i = 0; i <= kBytes; ++i) {
    const LineResult result = decoder.Next(std::string_view(text).substr(0, i));
    if (result.kind != LineResult::kNeedMore || result.consumed != 0) FAIL() << i;
  }
  EXPECT_EQ(decoder.Next(text).line.size(), kBytes);
}

TEST(Line, RandomTextInPiecesMatchesTheReference) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    const uint32_t line_bytes_max = random() % 12;
    std::string text;
    for (uint64_t n = random() % 80; n > 0; --n) text += "\n\n\r\rab\0c"[random() % 8];
    Feeder feeder(line_bytes_max);
    for (size_t at = 0; at < text.size();) {
      const size_t size = random() % (random() % 20 + 1);
      feeder.Feed(std::string_view(text).substr(at, size));
      at += size;
    }
    ASSERT_EQ(feeder.Finish(), Reference(text, line_bytes_max)) << "round " << round;
  }
}

TEST(LineDeathTest, CallerThatDropsBytesIsABug) {
  LineDecoder decoder(16);
  decoder.Next("abc");
  EXPECT_DEATH(decoder.Next("ab"), "not consumed are missing");
}

}  // namespace
}  // namespace sluice::testing::line_test
