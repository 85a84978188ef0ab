#include "sluice/protocols/line_session.h"

#include <algorithm>
#include <utility>

#include "sluice/actors/connection/connection.h"

namespace sluice {

void LineSession::OnData(Input& in) {
  if (!input_max_set_) {
    input_max_set_ = true;
    // One line that is not complete, its end, and the read that completes it.
    SetInputMax(std::max(connection()->InputMax(),
                         size_t{decoder_.line_bytes_max()} + 2 + Worker::kReadBytes));
  }
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
  // A last line without its end is a line.
  for (std::string_view rest = Unconsumed();;) {
    const LineResult result = decoder_.Finish(rest);
    rest.remove_prefix(result.consumed);
    if (result.kind == LineResult::kNeedMore) break;
    if (result.kind == LineResult::kLine) {
      OnLine(result.line);
    } else {
      OnLongLine();
    }
  }
  // A last line without its end may have asked somebody: its answer comes before the good-bye.
  last_line_due_ = ReadingPaused();
  if (!last_line_due_) OnLastLine();
}

void LineSession::ResumeReading() {
  Session::ResumeReading();
  if (std::exchange(last_line_due_, false)) OnLastLine();
}

}  // namespace sluice
