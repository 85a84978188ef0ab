#include "sluice/protocols/text.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace sluice::testing::text_test {
namespace {

using namespace std::string_view_literals;

// Encodes as UTF-8, also code points that are not allowed: surrogates, and more bytes than needed.
std::string Encode(uint32_t code_point, int bytes) {
  if (bytes == 1) return std::string(1, static_cast<char>(code_point));
  std::string text(bytes, '\0');
  for (int i = bytes - 1; i > 0; --i, code_point >>= 6) {
    text[i] = static_cast<char>(0x80 | (code_point & 0x3f));
  }
  text[0] = static_cast<char>((0xf00 >> bytes & 0xff) | code_point);
  return text;
}

int ShortestBytes(uint32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

bool IsControl(uint32_t code_point) {
  // Direction marks, embeddings, overrides and isolates; line and paragraph separators.
  if (code_point == 0x61c || code_point == 0x200e || code_point == 0x200f) return true;
  if (code_point >= 0x2028 && code_point <= 0x202e) return true;
  if (code_point >= 0x2066 && code_point <= 0x2069) return true;
  return (code_point < 0x20 && code_point != '\t') || (code_point >= 0x7f && code_point < 0xa0);
}

bool IsAllowed(uint32_t code_point) {
  return code_point <= 0x10ffff && !(code_point >= 0xd800 && code_point <= 0xdfff);
}

// The slow reference: finds the character that encodes to these very bytes.
std::string Reference(std::string_view text) {
  std::string printable;
  while (!text.empty()) {
    std::optional<uint32_t> found;
    int bytes = 1;
    for (int n = 1; n <= 4 && !found && n <= static_cast<int>(text.size()); ++n) {
      const auto lead = static_cast<unsigned char>(text[0]);
      uint32_t code_point = n == 1 ? lead : lead & (0x7f >> n);
      for (int i = 1; i < n; ++i) code_point = code_point << 6 | (text[i] & 0x3f);
      if (IsAllowed(code_point) && ShortestBytes(code_point) == n &&
          Encode(code_point, n) == text.substr(0, n)) {
        found = code_point;
        bytes = n;
      }
    }
    if (found && !IsControl(*found)) {
      printable += text.substr(0, bytes);
    } else {
      printable += '?';
    }
    text.remove_prefix(bytes);
  }
  return printable;
}

TEST(Text, ValidUtf8StaysAsItIs) {
  for (std::string_view text :
       {""sv, "a"sv, "hello, world"sv, "\t"sv, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"sv,
        "\xc2\xa0"sv, "\xef\xbb\xbf"sv, "\xe2\x80\x8d"sv, "\xe2\x80\xaf"sv, "\xe2\x81\xaa"sv,
        " ~"sv, "?"sv}) {
    EXPECT_EQ(PrintableUtf8(text), text);
  }
}

TEST(Text, EveryCodePointExceptControlsIsKept) {
  for (uint32_t code_point = 0; code_point <= 0x10ffff; ++code_point) {
    if (!IsAllowed(code_point)) continue;
    const std::string text = Encode(code_point, ShortestBytes(code_point));
    ASSERT_EQ(PrintableUtf8(text), IsControl(code_point) ? "?" : text) << code_point;
  }
}

TEST(Text, OneMarkForAControlCharacterWhateverItsBytes) {
  EXPECT_EQ(PrintableUtf8("a\0b\nc\rd\x1b[2J\x7f"sv), "a?b?c?d?[2J?");
  EXPECT_EQ(PrintableUtf8("\xc2\x80\xc2\x9f\xc2\x9b"), "???");
  EXPECT_EQ(PrintableUtf8("x\xc2\x85y"), "x?y");
}

TEST(Text, OneMarkForEachInvalidByte) {
  EXPECT_EQ(PrintableUtf8("\x80\xbf\xfe\xff"), "????");
  EXPECT_EQ(PrintableUtf8("\xc0\x80"), "??");            // Overlong NUL.
  EXPECT_EQ(PrintableUtf8("\xc1\xbf"), "??");            // Overlong DEL.
  EXPECT_EQ(PrintableUtf8("\xe0\x9f\xbf"), "???");       // Overlong U+07FF.
  EXPECT_EQ(PrintableUtf8("\xf0\x8f\xbf\xbf"), "????");  // Overlong U+FFFF.
  EXPECT_EQ(PrintableUtf8("\xed\xa0\x80"), "???");       // U+D800.
  EXPECT_EQ(PrintableUtf8("\xed\xbf\xbf"), "???");       // U+DFFF.
  EXPECT_EQ(PrintableUtf8("\xf4\x90\x80\x80"), "????");  // U+110000.
  EXPECT_EQ(PrintableUtf8("\xf5\x80\x80\x80"), "????");
  EXPECT_EQ(PrintableUtf8("\xf8\x88\x80\x80\x80"), "?????");
}

TEST(Text, CutCharacterCostsOnlyItsOwnBytes) {
  EXPECT_EQ(PrintableUtf8("\xe2\x82"), "??");
  EXPECT_EQ(PrintableUtf8("\xe2\x82"
                          "A"),
            "??A");
  EXPECT_EQ(PrintableUtf8("\xf0\x9f\x98\xc3\xa9"), "???\xc3\xa9");
  EXPECT_EQ(PrintableUtf8("\xc3\xc3\xa9"), "?\xc3\xa9");
  EXPECT_EQ(PrintableUtf8("\xc3\n"), "??");
  // Any bytes may stand behind the view: the text ends at its size.
  EXPECT_EQ(PrintableUtf8(std::string_view("\xe2\x82\xac", 2)), "??");
}

TEST(Text, EveryPairOfBytesIsWhatTheReferenceSays) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      ASSERT_EQ(PrintableUtf8(text), Reference(text)) << a << " " << b;
    }
  }
}

// The word-wise path must see each byte value at each place of a word.
TEST(Text, EveryByteAtEveryPlaceIsSeen) {
  for (int byte = 0; byte < 256; ++byte) {
    for (size_t at = 0; at < 24; ++at) {
      std::string text(24, at % 2 == 0 ? ' ' : '~');
      text[at] = static_cast<char>(byte);
      ASSERT_EQ(PrintableUtf8(text), Reference(text)) << byte << " at " << at;
    }
  }
}

TEST(Text, RandomBytesMatchTheReferenceAndStayPrintable) {
  std::mt19937_64 random(1);
  constexpr std::string_view kBytes =
      "a~ \t\n\x1b\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xc3"
      "\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff"sv;
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (uint64_t n = random() % 24; n > 0; --n) {
      text += random() % 3 == 0 ? 'x' : kBytes[random() % kBytes.size()];
    }
    const std::string printable = PrintableUtf8(text);
    ASSERT_EQ(printable, Reference(text)) << "round " << round;
    ASSERT_EQ(PrintableUtf8(printable), printable);
    ASSERT_LE(printable.size(), text.size());
  }
}

}  // namespace
}  // namespace sluice::testing::text_test
