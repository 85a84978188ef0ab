#include "sluice/protocols/text.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice {
namespace {

// Bytes of the valid UTF-8 character at `text[at]`, 0 if there is none (RFC 3629, section 4).
size_t CharacterBytes(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const auto follows = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;  // A byte that follows, or overlong.
  if (lead < 0xe0) return follows(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (!follows(1) || !follows(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;   // Overlong.
    if (lead == 0xed && byte(1) >= 0xa0) return 0;  // A surrogate.
    return 3;
  }
  if (lead > 0xf4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;   // Overlong.
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;  // Beyond U+10FFFF.
  return 4;
}

// Requires: a valid character of `bytes` bytes starts there.
bool IsControl(std::string_view text, size_t at, size_t bytes) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (bytes == 1) return (lead < 0x20 && lead != '\t') || lead == 0x7f;
  const auto second = static_cast<unsigned char>(text[at + 1]);
  if (bytes == 2) return (lead == 0xc2 && second < 0xa0) || (lead == 0xd8 && second == 0x9c);
  if (bytes != 3 || lead != 0xe2) return false;
  // U+200E, U+200F; U+2028 to U+202E; U+2066 to U+2069: they turn or break lines.
  const auto third = static_cast<unsigned char>(text[at + 2]);
  return (second == 0x80 && (third == 0x8e || third == 0x8f || (third >= 0xa8 && third <= 0xae))) ||
         (second == 0x81 && third >= 0xa6 && third <= 0xa9);
}

// True if each of the 8 bytes at `data` is from 0x20 to 0x7e.
bool AllPlainAscii(const char* data) {
  constexpr uint64_t kEach = 0x0101010101010101;
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  // If no byte has its high bit, + 1 sets that bit for 0x7f only, + 0x60 for 0x20 and more.
  if ((word & kEach * 0x80) != 0) return false;
  return ((word + kEach) & kEach * 0x80) == 0 &&
         ((word + kEach * 0x60) & kEach * 0x80) == kEach * 0x80;
}

// How many bytes from `at` on may stay as they are.
size_t PrintableBytes(std::string_view text, size_t at) {
  const size_t start = at;
  while (at < text.size()) {
    if (text.size() - at >= 8 && AllPlainAscii(text.data() + at)) {
      at += 8;
      continue;
    }
    const size_t bytes = CharacterBytes(text, at);
    if (bytes == 0 || IsControl(text, at, bytes)) break;
    at += bytes;
  }
  return at - start;
}

}  // namespace

std::string PrintableUtf8(std::string_view text) {
  size_t at = PrintableBytes(text, 0);
  std::string printable(text.substr(0, at));
  if (at == text.size()) return printable;
  printable.reserve(text.size());
  while (at < text.size()) {
    const size_t bytes = CharacterBytes(text, at);
    printable += '?';
    at += bytes == 0 ? 1 : bytes;
    const size_t good = PrintableBytes(text, at);
    printable += text.substr(at, good);
    at += good;
  }
  return printable;
}

}  // namespace sluice
