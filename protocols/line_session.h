// LineSession is a Session that is given one line at a time, and stops between lines when it has to
// wait: when it has parked, has paused its reading, or its output is high.
//
// Owner:  as any Session.
// Thread: as any Session.
// Bound:  a line has at most line_bytes_max bytes; a longer one is skipped without being stored.
// Errors: as any Session; a longer line is told, once, by OnLongLine.
#ifndef SLUICE_PROTOCOLS_LINE_SESSION_H_
#define SLUICE_PROTOCOLS_LINE_SESSION_H_

#include <cstdint>
#include <string_view>

#include "sluice/actors/connection/session.h"
#include "sluice/protocols/line.h"

namespace sluice {

class LineSession : public Session {
 public:
  explicit LineSession(uint32_t line_bytes_max) : decoder_(line_bytes_max) {}

  // Without its LF or CRLF. Valid until it returns.
  virtual void OnLine(std::string_view line) = 0;
  // A line was longer than the maximum, and is skipped.
  virtual void OnLongLine() {}
  // The peer has ended its side; all of its lines were given, and reading is not paused by the
  // last.
  virtual void OnLastLine() { Close(); }

  void OnData(Input& in) final;
  void OnEof() final;

 protected:
  void ResumeReading() override;

 private:
  LineDecoder decoder_;
  bool input_max_set_ = false;
  bool last_line_due_ = false;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_LINE_SESSION_H_
