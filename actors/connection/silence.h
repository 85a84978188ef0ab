// Silence tells whether a peer that does not answer is dead: it has answered nothing during the
// whole timeout, and then leaves one more question unanswered.
//
// Owner:  the Connection, from the look that finds something unanswered until a look that does not.
//         Most connections have none.
// Thread: the worker's.
// Bound:  one for a connection.
// Errors: none.
//
// Retransmissions become ever rarer: if a link was cut, and repaired before the timeout is over,
// only the next retransmission shows that the peer lives.
#ifndef SLUICE_ACTORS_CONNECTION_SILENCE_H_
#define SLUICE_ACTORS_CONNECTION_SILENCE_H_

#include <cstdint>

#include "sluice/actors/connection/stream.h"

namespace sluice {

class Silence {
 public:
  explicit Silence(int64_t asked_ms) : asked_ms_(asked_ms) {}

  // The peer has given a sign of life at `ms`. If that was after the first question, it has not
  // answered everything, and a new silence begins.
  void HeardAt(int64_t ms) {
    if (asked_ms_ < ms) *this = Silence(ms);
  }
  // Notes a look at `now_ms` that found something unanswered. True: a question was sent after the
  // timeout, and the peer had time to answer it, but did not.
  bool IsDead(int64_t now_ms, const Unanswered& look, int64_t timeout_ms);

  // When to look next, after a look at `looked_ms`: kNever without a timeout. `silence`: nullptr if
  // nothing is unanswered. During a silence looks are a fifth of the timeout apart (by default
  // 5 s), and 1 s once the timeout is over; while all is well, two fifths.
  static int64_t NextLookMs(int64_t looked_ms, int64_t timeout_ms, const Silence* silence);

 private:
  int64_t asked_ms_;  // Since then the peer was asked, and has answered nothing.
  // Time of the first question after unacknowledged_timeout; -1: no look has seen one. A link that
  // was repaired by then would have answered it.
  int64_t asked_late_ms_ = -1;
  // Unanswered probes at the first look after that timeout: when the number has grown, there was
  // such a question. 0: no such look yet.
  uint32_t probes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SILENCE_H_
