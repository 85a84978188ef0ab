// Text for other people's terminals, against a decoder that works by code points.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/protocols/text.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

// Returns the bytes of the first character, and its code point; 0 if it is invalid.
size_t Decode(std::string_view text, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const size_t size = byte(0) < 0x80 ? 1 : byte(0) >> 5 == 6 ? 2 : byte(0) >> 4 == 14 ? 3 : 4;
  if (size == 4 && byte(0) >> 3 != 30) return 0;
  if (text.size() < size) return 0;
  *point = size == 1 ? byte(0) : byte(0) & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    if (byte(i) >> 6 != 2) return 0;
    *point = *point << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = *point >= 0xd800 && *point < 0xe000;
  return *point < kLeast[size] || surrogate || *point > 0x10ffff ? 0 : size;
}

// False: protocols/text.h replaces the character.
bool IsPrintable(uint32_t point) {
  if (point == '\t') return true;
  constexpr std::pair<uint32_t, uint32_t> kReplaced[] = {
      {0, 0x1f},          // C0 controls.
      {0x7f, 0x9f},       // Delete, and C1 controls.
      {0x61c, 0x61c},     // Arabic letter mark.
      {0x200e, 0x200f},   // Marks of direction.
      {0x2028, 0x202e},   // Separators of lines and paragraphs, embeddings, overrides.
      {0x2066, 0x2069}};  // Isolates.
  for (const auto& [first, last] : kReplaced) {
    if (point >= first && point <= last) return false;
  }
  return true;
}

std::string Model(std::string_view text) {
  std::string printable;
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t size = Decode(text, &point);
    printable += size == 0 || !IsPrintable(point) ? "?" : text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return printable;
}

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string printable = sluice::PrintableUtf8(text);
  EXPECT_EQ(printable, sluice::testing::Model(text));
  EXPECT_EQ(sluice::PrintableUtf8(printable), printable);
  return 0;
}
