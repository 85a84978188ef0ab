// TaskSession is a session that reads top to bottom: one task serves the connection, and ends with
// it.
//
//   class Greeter : public sluice::TaskSession {
//     sluice::Task<> Serve() override {
//       while (auto line = co_await Line()) {
//         co_await Write("hello, ");
//         co_await Write(*line);
//         co_await Write("\n");
//       }
//     }
//   };
//
// 1. Serve() begins when the connection is established. When it returns, the connection is closed;
//    all that was written is sent first.
// 2. A read answers nullopt when no more will come: the peer has ended its side, or the runtime
//    drains and the session waits for its next request. What is under way is finished. A session
//    that Connect made and that has written since its last read waits for an answer: it is still
//    read, until half of the drain's time is over.
// 3. While the task waits for something else, nothing is read: the peer is slowed, within its TCP
//    window.
// 4. Bytes that a read has answered stay valid until the next read of this session.
// 5. If the connection breaks, the task does not go on: its frames are destroyed
//    (core/actor/task.h).
//
// Owner:  as any Session.
// Thread: as any Session.
// Bound:  the bytes of one read (at most input_bytes_max, and what one read of the socket takes)
//         and the frames of its tasks are charged to the budget. One task reads at a time.
// Errors: a frame longer than the maximum (SetInputMax) resets the connection, as soon as its
//         length is known. Without memory for the bytes of a read the connection ends (kMemory).
#ifndef SLUICE_ACTORS_CONNECTION_TASK_SESSION_H_
#define SLUICE_ACTORS_CONNECTION_TASK_SESSION_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/slot/coroutine.h"

namespace sluice {

class FramePool;

class TaskSession : public Session {
 public:
  TaskSession();
  ~TaskSession() override;

  virtual Task<> Serve() = 0;

 protected:
  class ReadWait;
  class FrameWait;
  class WriteWait;
  class FileWait;

  // Some bytes, as they have come: at least one, at most `most`.
  ReadWait Read(size_t most = SIZE_MAX, Where where = SLUICE_HERE);
  // A line without its LF or CRLF. At the end, bytes without an LF are a line, too.
  ReadWait Line(Where where = SLUICE_HERE);
  // `count` bytes. nullopt also if fewer come before the end.
  ReadWait Exactly(size_t count, Where where = SLUICE_HERE);
  // A frame: length(bytes) says how many bytes of the input it has, 0 if that is not known yet.
  // nullopt also if the end comes within the frame. `length` is called for the same bytes again
  // when more have come. It stays valid while this waits, and may keep what it has parsed in
  // variables of the task:
  //   co_await Frame([&request](std::string_view bytes) { return Parse(bytes, &request); })
  template <class F>
  FrameWait Frame(F&& length, Where where = SLUICE_HERE);

  // Waits until all bytes have room in the output, in the order of the calls. Answers false if the
  // write side has ended. `bytes` stay valid while it waits. A write longer than output_bytes_max
  // goes in pieces; if it is cancelled in between, or the session closes or fails, the connection
  // is reset, as the peer would take the piece for the whole, or what follows for the rest.
  WriteWait Write(std::string_view bytes, Where where = SLUICE_HERE);
  // Sends a range of a file (Session::SendFile), and waits until it is sent. Answers false if the
  // write side ends first. Throws if there is no such range. If the wait is cancelled, a range that
  // is in the output already is sent all the same.
  FileWait SendFile(SharedFile file, int64_t offset, int64_t bytes, Where where = SLUICE_HERE);
  void WriteOrAbort(std::string_view bytes) = delete;  // co_await Write() waits instead.
  void WriteOrAbort(const Bytes& bytes) = delete;
  // As in a Session. Writes that wait for room answer false, and files that are not sent yet.
  void CloseWrite();

  // True: the peer has ended its side, or the runtime drains. Reads answer bytes that have come,
  // and then nullopt.
  bool Ending() const { return ending_; }

 private:
  using LengthOfFrame = absl::FunctionRef<size_t(std::string_view bytes)>;
  // The coroutine of Serve().
  class Serving final : public Coroutine {
   public:
    void Begin(TaskSession& session);
    void Cancel() override {
      DoNotGoOn();
      task_.Destroy();
    }

   private:
    Coroutine* Ended() override;
    Task<> task_;
  };
  struct WriteTag {};
  // Bytes in a block of the worker's stock for frames.
  struct FrameBlock {
    std::string_view view() const { return {data, bytes}; }
    char* data = nullptr;
    uint32_t bytes = 0;
  };
  // Bytes that were left at the end.
  struct Rest {
    FrameBlock block;
    size_t read = 0;  // So many of them were read.
  };

  void OnOpen() final;
  void OnData(Input& in) final;
  void OnEof() final;
  void OnDrain() final;
  void OnWritable() final;
  bool HalfWritten() const final;
  bool AwaitsAnswer() const final;
  Coroutines* Tasks() final { return &tasks_; }

  bool ReadNext(ReadWait& read);
  void Withdraw(ReadWait& read);
  void Waits(ReadWait& read, Coroutine& coroutine, std::coroutine_handle<> frame);
  bool BeginSeldom(ReadWait& read, Coroutine& coroutine, std::coroutine_handle<> frame);
  FramePool& frames() const;
  void GiveBack(FrameBlock& block);
  // False: there is no memory, and the connection ends.
  bool Keep(FrameBlock& block, std::string_view bytes);
  void Take(ReadWait& read, std::string_view bytes);
  void TakeInBlock(ReadWait& read, std::string_view bytes);
  // Takes what `read` wants from the begin of `in`. False: not there yet.
  bool TakeNext(ReadWait& read, Input& in);
  bool TakeWhole(ReadWait& read, Input& in);
  bool TakeLine(ReadWait& read, Input& in);
  // Nothing more comes: the task that reads gets what is left, or nullopt.
  void EndReading();
  void TakeFromRest(ReadWait& read);
  // Nothing is read while no task waits for input.
  void ReadOnlyIfAwaited() {
    if (read_ == nullptr || read_held_) [[unlikely]]
      HoldOrRead();
  }
  void HoldOrRead();
  // True: all of it was written, or nothing more can be. False: OnWritable follows.
  bool TryWrite(WriteWait& write);
  bool WriteRest(WriteWait& write);
  bool TryFile(FileWait& wait);  // True: it was sent, or nothing more can be.
  void WaitForRoom(Answer answer);
  // False: this turn is over; OnWritable follows. A peer that reads as fast as this writes must not
  // hold the worker.
  bool MayWriteOn() { return ++writes_in_piece_ < kWritesInPiece || NextPiece(); }
  bool NextPiece();

  static constexpr uint8_t kWritesInPiece = 16;

  Serving serving_;
  Coroutines tasks_;
  IntrusiveList<WriteWait, WriteTag> writes_;  // They wait for room.
  ReadWait* read_ = nullptr;                   // The wait for input; nullptr: none.
  Input* input_ = nullptr;                     // In OnData only.
  FrameBlock taken_;                           // The bytes of the last read.
  std::unique_ptr<Rest> rest_;                 // Set with `ending_`.
  uint8_t writes_in_piece_ = 0;   // Since the last read began to wait, or the last piece.
  bool read_held_ = false;        // Reading is held, as no task waits for input.
  bool in_hand_ = false;          // In OnData: the bytes of the last read are in frames().Hand().
  bool looks_at_memory_ = false;  // Writes wait for memory: a timer runs.
  bool eof_ = false;              // OnEof has come.
  bool asked_ = false;            // Since the last read it has written.
  bool ending_ = false;
};
// An idle session by a task has to be small, too (docs/limits.md).
static_assert(sizeof(TaskSession) <= sizeof(Session) + 160);

class SLUICE_AWAITED TaskSession::ReadWait {
 public:
  ReadWait(ReadWait&& other) noexcept  // Until it waits.
      : session_(other.session_), place_(other.place_), kind_(other.kind_), count_(other.count_) {
    SLUICE_CHECK(other.coroutine_ == nullptr);
  }
  ~ReadWait() {
    SLUICE_PLANT(read_not_withdrawn, return);
    if (session_.read_ == this) [[unlikely]]
      session_.Withdraw(*this);
  }
  // In OnData the next frame may have come with the last one.
  bool Ready() {
    return session_.input_ != nullptr && !session_.input_->empty() && session_.ReadNext(*this);
  }
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);
  std::optional<std::string_view> Result() const {
    if (found_.data() == nullptr) return std::nullopt;
    return found_;
  }

 private:
  friend class TaskSession;
  enum class Kind : uint8_t { kSome, kLine, kExactly, kFrame };
  ReadWait(TaskSession& session, Kind kind, size_t count, Where where)
      : session_(session), place_(where), kind_(kind), count_(count) {}
  void GoOn() { std::exchange(coroutine_, nullptr)->Resume(frame_); }
  // A wait that has a name may be awaited again.
  void Restart() {
    found_ = std::string_view();
    if (kind_ == Kind::kLine) count_ = 0;
  }

  TaskSession& session_;
  WaitPlace place_;
  const Kind kind_;
  size_t count_;  // kSome: at most; kExactly: so many; kLine: bytes that were searched.
  Coroutine* coroutine_ = nullptr;
  std::coroutine_handle<> frame_;
  std::string_view found_;  // data() is nullptr: nothing.
};

class SLUICE_AWAITED TaskSession::FrameWait : public ReadWait {
 public:
  std::optional<std::string_view> Result() {
    if (error_ != nullptr) [[unlikely]]
      std::rethrow_exception(std::exchange(error_, nullptr));
    return ReadWait::Result();
  }

 private:
  friend class TaskSession;
  FrameWait(TaskSession& session, LengthOfFrame length, Where where)
      : ReadWait(session, Kind::kFrame, 0, where), length_(length) {}

  const LengthOfFrame length_;
  std::exception_ptr error_;  // Has left `length_`.
};

class SLUICE_AWAITED TaskSession::WriteWait : public ListNode<WriteTag> {
 public:
  WriteWait(WriteWait&& other) noexcept;  // Until it waits.
  ~WriteWait() {
    SLUICE_PLANT(write_stays_linked, return);
    SLUICE_PLANT(half_write_goes_on, begun_ = false);
    SLUICE_PLANT(cancelled_file_resets, if (file_ && session_.writes_.Linked(*this))
                                            session_.Abort());
    session_.writes_.RemoveIfLinked(*this);
    if (begun_ && !bytes_.empty()) [[unlikely]]
      session_.Abort();
  }
  bool Ready() {
    return session_.writes_.Empty() && session_.MayWriteOn() && session_.TryWrite(*this);
  }
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);
  bool Result() const { return answer_ == Answer::kAccepted; }

 private:
  friend class TaskSession;
  WriteWait(TaskSession& session, std::string_view bytes, Where where)
      : session_(session), place_(where), bytes_(bytes) {}

  TaskSession& session_;
  WaitPlace place_;
  std::string_view bytes_;  // Left to write.
  Answer answer_ = Answer::kAccepted;
  bool begun_ = false;  // A piece of it was written.
  bool file_ = false;   // The wait is a FileWait.
  Coroutine* coroutine_ = nullptr;
  std::coroutine_handle<> frame_;
};

class SLUICE_AWAITED TaskSession::FileWait : public WriteWait {
 public:
  bool Ready() { return session_.writes_.Empty() && session_.TryFile(*this); }
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);

 private:
  friend class TaskSession;
  FileWait(TaskSession& session, SharedFile file, int64_t offset, int64_t bytes, Where where)
      : WriteWait(session, {}, where), range_of_(std::move(file)), offset_(offset), size_(bytes) {
    file_ = true;
  }

  SharedFile range_of_;
  int64_t offset_;
  int64_t size_;
  bool taken_ = false;  // The range is in the output.
};

inline TaskSession::ReadWait TaskSession::Read(size_t most, Where where) {
  return ReadWait(*this, ReadWait::Kind::kSome, most, where);
}
inline TaskSession::ReadWait TaskSession::Line(Where where) {
  return ReadWait(*this, ReadWait::Kind::kLine, 0, where);
}
inline TaskSession::ReadWait TaskSession::Exactly(size_t count, Where where) {
  return ReadWait(*this, ReadWait::Kind::kExactly, count, where);
}
template <class F>
TaskSession::FrameWait TaskSession::Frame(F&& length, Where where) {
  static_assert(!internal::kBrokenInCoAwait<F>, SLUICE_DESTROYED_TWICE);
  return FrameWait(*this, length, where);
}
inline TaskSession::WriteWait TaskSession::Write(std::string_view bytes, Where where) {
  return WriteWait(*this, bytes, where);
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_TASK_SESSION_H_
