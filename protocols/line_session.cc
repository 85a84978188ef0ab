#include "sluice/protocols/line_session.h"

#include <cstddef>
#include <utility>

namespace sluice {

LineSession::LineSession(uint32_t line_bytes_max) : decoder_(line_bytes_max) {
  // An incomplete line is shorter than this: the decoder takes the bytes of a longer one.
  const size_t line_and_end = size_t{line_bytes_max} + 2;
  if (line_and_end > static_cast<size_t>(runtime().options().input_bytes_max)) {
    SetInputMax(line_and_end);
  }
}

void LineSession::OnData(Input& in) {
  while (MayGoOn()) {
    const LineResult result = decoder_.Next(in.Peek());
    // The bytes of the line stay in place until this handler has returned.
    in.Skip(result.consumed);
    if (result.kind == LineResult::kNeedMore) return;
    if (result.kind == LineResult::kLine) {
      OnLine(result.line);
    } else {
      OnLongLine();
    }
  }
}

void LineSession::OnEof() {
  if (!std::exchange(last_line_taken_, true)) {
    TakeLastLine();
    // AskInOrder holds reading until the answer to the last line is here.
    if (ReadingHeld()) return RepeatEof();
  }
  OnLastLine();
}

// A last line without its end is a line.
void LineSession::TakeLastLine() {
  for (std::string_view rest = Unconsumed();;) {
    const LineResult result = decoder_.Finish(rest);
    rest.remove_prefix(result.consumed);
    if (result.kind == LineResult::kNeedMore) return;
    if (result.kind == LineResult::kLine) {
      OnLine(result.line);
    } else {
      OnLongLine();
    }
  }
}

}  // namespace sluice
