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

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/actors/connection/read_hold.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/os/open_file.h"

namespace sluice {

class AnswerQueue {
 public:
  // The session's order that takes effect when all answers have left.
  enum class Then : uint8_t { kGoOn, kCloseWrite, kClose };

  AnswerQueue(Lease& lease, size_t likely_bytes) : lease_(lease), likely_bytes_(likely_bytes) {}
  ~AnswerQueue() { Clear(); }
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  bool Empty() const { return places_.empty(); }
  size_t Open() const { return open_; }    // Places without an answer.
  size_t Bytes() const { return bytes_; }  // Bytes that wait, without those of files.
  int Files() const { return files_; }     // Ranges of files that wait.
  int64_t FileBytes() const { return file_bytes_; }
  // How many places may be open, if each answer is as long as the longest of late. It begins with
  // few: nothing is known of the first answers, and each may be large.
  size_t OpenMax(size_t output_bytes_max, size_t answers_max) const {
    return std::clamp(output_bytes_max / std::max<size_t>(likely_bytes_, 1), size_t{1},
                      answers_max);
  }

  // A place behind all others.
  uint64_t Reserve();
  // The answer has come, and waits. Requires: the place is open.
  [[nodiscard]] bool Fill(uint64_t place, std::string bytes);
  // Bytes behind all places.
  [[nodiscard]] bool Append(std::string_view bytes);
  // A range of a file behind all places.
  [[nodiscard]] bool AppendFile(SharedFile file, int64_t offset, int64_t bytes);
  // True: the first place has its answer.
  bool Ready() const { return !places_.empty() && !places_.front().open; }
  std::string_view First() const { return places_.front().bytes; }
  struct File {
    SharedFile file;
    int64_t offset = 0;
    int64_t bytes = 0;
  };
  // nullptr: the first place has no file. Requires: Ready().
  const File* FirstFile() const { return places_.front().file.get(); }
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
    std::unique_ptr<const File> file;
  };
  bool Put(uint64_t place, std::string bytes, std::unique_ptr<const File> file);
  bool Behind(std::string bytes, std::unique_ptr<const File> file);
  // Charged for a place with its bytes.
  static int64_t Charge(size_t bytes) { return static_cast<int64_t>(sizeof(Place) + bytes); }

  Lease& lease_;
  std::deque<Place> places_;
  uint64_t first_ = 0;  // The number of the first place.
  size_t open_ = 0;
  size_t bytes_ = 0;
  size_t likely_bytes_;  // An answer's length, guessed from the last ones.
  int files_ = 0;
  int64_t file_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_ANSWER_QUEUE_H_
