// LineDecoder finds lines in a byte stream, however the stream is cut into pieces. A line ends with
// LF; one CR before the LF belongs to the end. It is a pure state machine over views: it keeps no
// bytes, and a line is a part of the input.
//
//   LineResult result = decoder.Next(input);  // Until kNeedMore.
//   input.remove_prefix(result.consumed);     // After each call.
//
// Owner:  a session.
// Thread: its owner's.
// Bound:  12 bytes. It leaves at most line_bytes_max + 1 bytes unconsumed. Each byte is searched
//         once, however slowly the bytes come.
// Errors: a line over the bound is reported once, as kTooLong, and skipped as it comes; the line
//         after it is decoded as usual.
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
    // More than line_bytes_max bytes; reported once that is certain, maybe before the line's end
    // came.
    kTooLong,
  };
  Kind kind = kNeedMore;
  std::string_view line;  // With kLine: without its end, a part of the input.
  size_t consumed = 0;    // Bytes of the input that are not used again, for every kind.
};

class LineDecoder {
 public:
  explicit LineDecoder(uint32_t line_bytes_max);  // Requires: < 2^31. CR and LF do not count.

  uint32_t line_bytes_max() const { return line_bytes_max_; }

  // `input`: the bytes that the last call did not consume, and any that came behind them.
  LineResult Next(std::string_view input);

  // The same at the end of the stream: a last line without LF is a line, too. A CR at its end may
  // be half of a CRLF, and is not delivered. After kNeedMore the decoder is as new.
  LineResult Finish(std::string_view input);

 private:
  uint32_t line_bytes_max_;
  uint32_t scanned_ = 0;   // Bytes at the start of the next input that hold no LF.
  bool skipping_ = false;  // Inside of a line that was reported as too long.
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_LINE_H_
