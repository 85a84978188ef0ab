// FileRange is a part of a file that waits in a connection's output for its turn (SendFile).
//
// Bytes that are in memory go from there to the socket, without a copy. Bytes that are not would
// make the worker wait for a disk: a thread of the blocking pool reads them into memory first.
//
//              in memory              sent, or kTrustMs are over
//   kUnknown ─────────────▶ kInMemory ──────────────────────────▶ kUnknown
//      │                       ▲
//      │ not, or nobody knows  │ read
//      ▼                       │
//   kFetching ─────────────────┘      kLater: the pool is full, and asked again at RetryMs().
//
// Owner:  the OutputQueue of a connection. A call of the pool shares the file, and knows the
//         connection by its slot and generation alone: it may be answered when both are gone.
// Thread: the worker's. A call of the pool: the thread that runs it.
// Bound:  kRangesMax ranges in an output, of any length: their bytes take no memory. A connection
//         has one call of the pool at a time, of kChunkBytes.
// Errors: a file that cannot be read, or has fewer bytes than its range, fails the connection's
//         output: the peer must not take what follows for the rest.
#ifndef SLUICE_ACTORS_CONNECTION_FILE_RANGE_H_
#define SLUICE_ACTORS_CONNECTION_FILE_RANGE_H_

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

class FileRange final : public OutputPart {
 public:
  static constexpr int kRangesMax = 16;
  // A connection sends at most so many bytes of files in one turn, and asks the pool for as many at
  // a time.
  static constexpr int64_t kChunkBytes = 256 * 1024;
  // The kernel drops bytes that were just there only if memory is very short.
  static constexpr int64_t kTrustMs = 500;
  // When the pool has no room, it is asked again after this time.
  static constexpr int64_t kRetryMs = 10;

  // Requires: Valid(file, offset, bytes), and bytes > 0.
  FileRange(SharedFile file, int64_t offset, int64_t bytes)
      : OutputPart(bytes), file_(std::move(file)), end_(offset + bytes) {}
  static bool Valid(const SharedFile& file, int64_t offset, int64_t bytes) {
    return file != nullptr && file->Descriptor() >= 0 && offset >= 0 && bytes >= 0 &&
           offset <= INT64_MAX - bytes;
  }
  int64_t HeldBytes() const override { return AllocatedBytes(sizeof(FileRange)); }

  int Descriptor() const { return file_->Descriptor(); }
  int64_t Offset() const { return end_ - BytesLeft(); }  // The next byte's place in the file.
  // True: the pool has the next bytes to read, or has no room to.
  bool Waits() const { return state_ == State::kFetching || state_ == State::kLater; }
  bool Fetching() const { return state_ == State::kFetching; }
  // When to ask the pool again; kNever: it has an order, or none is needed.
  int64_t RetryMs() const { return state_ == State::kLater ? at_ms_ : TimerWheel::kNever; }
  void Retry() { state_ = State::kUnknown; }
  // Bytes that were seen in memory, or read into it, a moment ago; 0: look.
  int64_t InMemoryBytes(int64_t now_ms) const {
    const bool fresh = state_ == State::kInMemory && now_ms <= at_ms_ + kTrustMs;
    return fresh ? std::max<int64_t>(0, in_memory_end_ - Offset()) : 0;
  }
  // Asks the pool for the next bytes. Connection::FileFetched follows, as long as the slot has that
  // connection. It answers as Os::FileFetch; kNotRun: the pool has dropped the order.
  static constexpr int64_t kNotRun = INT64_MIN;
  void Fetch(Worker& worker, Slot* slot, int64_t now_ms);
  void NoteInMemory(int64_t bytes, int64_t now_ms);
  // The pool did not take the order, or has dropped it.
  void FetchLater(int64_t now_ms);

  // How long the range has waited for the pool since the last call: the peer's time to take output
  // does not run meanwhile.
  int64_t TakeWaitedMs(int64_t now_ms) {
    const int64_t since_ms = std::exchange(waits_since_ms_, -1);
    return since_ms < 0 ? 0 : now_ms - since_ms;
  }

  // The file is at fault: an errno, or kTooShort. 0: it is not.
  static constexpr int kTooShort = ENODATA;
  int Fault() const { return fault_; }
  void SetFault(int error) { fault_ = error; }

 private:
  enum class State : uint8_t { kUnknown, kFetching, kInMemory, kLater };

  const SharedFile file_;
  const int64_t end_;          // Where the range ends in the file.
  int64_t in_memory_end_ = 0;  // kInMemory: where those bytes end.
  int64_t at_ms_ = 0;          // kInMemory: when; kLater: when to try again.
  int64_t waits_since_ms_ = -1;
  int fault_ = 0;
  State state_ = State::kUnknown;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_FILE_RANGE_H_
