// AnswerQueue keeps a session's output in the order of the peer's requests (AskPipelined): each
// answer has its place, and waits for those before it.
//
//   1 open, 2 open, 3 open, "x"     Asked three times; "x" was written behind them.
//   1 open, 2 "b",  3 open, "x"     The answer to 2 has come.
//                   3 open, "x"     The answer to 1 has come: both have left.
//
// Owner:  the session; made by its first AskPipelined.
// Thread: the worker's.
// Bound:  answers_max open places (the session reads no more then), asks_max in any case. Bytes
//         that wait are charged to the budget.
// Errors: Fill() and Append() are false if there is no memory.
#ifndef SLUICE_ACTORS_CONNECTION_ANSWER_QUEUE_H_
#define SLUICE_ACTORS_CONNECTION_ANSWER_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "sluice/actors/connection/read_hold.h"
#include "sluice/core/memory/budget.h"

namespace sluice {

class AnswerQueue {
 public:
  // What the session does when all answers have left.
  enum class Then : uint8_t { kGoOn, kCloseWrite, kClose };

  explicit AnswerQueue(Lease& lease) : lease_(lease) {}
  ~AnswerQueue() { Clear(); }
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  bool Empty() const { return places_.empty(); }
  size_t Open() const { return open_; }    // Places without an answer.
  size_t Bytes() const { return bytes_; }  // Bytes that wait.

  // A place behind all others.
  uint64_t Reserve();
  // The answer has come, and waits. Requires: the place is open.
  [[nodiscard]] bool Fill(uint64_t place, std::string bytes);
  // Bytes behind all places.
  [[nodiscard]] bool Append(std::string_view bytes);
  // True: the first place has its answer.
  bool Ready() const { return !places_.empty() && !places_.front().open; }
  std::string_view First() const { return places_.front().bytes; }
  void Pop();    // Requires: Ready().
  void Clear();  // Places that are filled later are not there any more.

  Then then = Then::kGoOn;
  // The first answer waits for room in the output.
  bool blocked = false;
  // The session waits for OnWritable; the queue may wait for it, too.
  bool wants_writable = false;
  ReadHold hold;  // While too much is under way.

 private:
  struct Place {
    bool open = true;
    std::string bytes;
  };
  // Charged for a place with its bytes.
  static int64_t Charge(size_t bytes) { return static_cast<int64_t>(sizeof(Place) + bytes); }

  Lease& lease_;
  std::deque<Place> places_;
  uint64_t first_ = 0;  // The number of the first place.
  size_t open_ = 0;
  size_t bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_ANSWER_QUEUE_H_
