// LineDecoder finds lines in bytes that arrive in any pieces: they end with LF, and one CR before
// it belongs to the end. It is a pure state machine over views: it keeps no bytes, a line is a part
// of the input, and how the input was cut into pieces changes nothing.
//
//   LineResult result = decoder.Next(input);   // Until kNeedMore; after each, drop
//   result.consumed.
//
// Owner:  a session.
// Thread: its owner's.
// Bound:  12 bytes. What it leaves unconsumed is at most line_bytes_max + 1 bytes. Each byte is
//         searched once, however slowly they come.
// Errors: a line over the bound is told once, as kTooLong, and consumed as it comes; the next is
//         a line like any other.
#ifndef SLUICE_PROTOCOLS_LINE_H_
#define SLUICE_PROTOCOLS_LINE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/core/base/language.h"

namespace sluice {

struct LineResult {
  enum Kind {
    kNeedMore,  // No line ends in what is left.
    kLine,
    // More than line_bytes_max; told as soon as that is sure, before the end may have come.
    kTooLong,
  };
  Kind kind = kNeedMore;
  std::string_view line;  // With kLine: without its end, a part of the input.
  size_t consumed = 0;    // Bytes of the input that are done with, for every kind.
};

class LineDecoder {
 public:
  explicit LineDecoder(uint32_t line_bytes_max);  // Requires: < 2^31. CR and LF do not count.

  uint32_t line_bytes_max() const { return line_bytes_max_; }

  // `input` is what the last call did not consume, with whatever came behind it.
  LineResult Next(std::string_view input);

  // The same at the end of the stream: a last line without LF is a line, too (a CR at its end
  // may be half of one, and is not delivered). After kNeedMore the decoder is as new.
  LineResult Finish(std::string_view input);

 private:
  uint32_t line_bytes_max_;
  uint32_t scanned_ = 0;   // Bytes at the start of the next input that hold no LF.
  bool skipping_ = false;  // In a line that was told to be too long.
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_LINE_H_
