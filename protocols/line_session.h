// LineSession is a Session that receives one line at a time. It stops between lines while it is
// parked, its reading is held, or its output is high.
//
// Owner:  as any Session.
// Thread: as any Session.
// Bound:  a line has at most line_bytes_max bytes; a longer one is skipped without being stored.
// Errors: as any Session; a longer line is reported once, by OnLongLine.
#ifndef SLUICE_PROTOCOLS_LINE_SESSION_H_
#define SLUICE_PROTOCOLS_LINE_SESSION_H_

#include <cstdint>
#include <string_view>

#include "sluice/actors/connection/session.h"
#include "sluice/protocols/line.h"

namespace sluice {

class LineSession : public Session {
 public:
  explicit LineSession(uint32_t line_bytes_max);  // Requires: < 2^31.

  // `line` comes without its LF or CRLF, and is valid until OnLine returns.
  virtual void OnLine(std::string_view line) = 0;
  // A line was longer than the maximum, and is skipped.
  virtual void OnLongLine() {}
  // The peer has ended its side, all of its lines were delivered, and no hold that the last
  // of them began is left. The default closes when the answers under way are written.
  virtual void OnLastLine() { CloseWhenDone(); }

  void OnData(Input& in) final;
  void OnEof() final;

 private:
  void TakeLastLine();

  LineDecoder decoder_;
  bool last_line_taken_ = false;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_LINE_SESSION_H_
