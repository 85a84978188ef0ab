#include "sluice/actors/connection/task_session.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/descriptors.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// While memory is spent, a write is tried again so often.
constexpr int64_t kMemoryLookMs = 10;

}  // namespace

// --- The bytes of reads.

inline FramePool& TaskSession::frames() const { return worker().desk().frames; }

inline void TaskSession::GiveBack(FrameBlock& block) {
  if (block.data != nullptr) frames().Put(std::exchange(block.data, nullptr), block.bytes);
}

inline bool TaskSession::Keep(FrameBlock& block, std::string_view bytes) {
  GiveBack(block);
  if (bytes.empty()) return true;
  char* const data = static_cast<char*>(frames().Get(bytes.size()));
  if (data == nullptr) [[unlikely]] {
    Abort(CloseReason::kMemory);
    return false;
  }
  std::memcpy(data, bytes.data(), bytes.size());
  block = {data, static_cast<uint32_t>(bytes.size())};
  return true;
}

[[gnu::always_inline]] inline void TaskSession::Take(ReadWait& read, std::string_view bytes) {
  asked_ = false;
  // In OnData the next read mostly begins before that returns: then no block is needed.
  char* const hand =
      bytes.size() <= FramePool::kHandBytes && input_ != nullptr ? frames().Hand() : nullptr;
  if (hand == nullptr) [[unlikely]]
    return TakeInBlock(read, bytes);
  std::memcpy(hand, bytes.data(), bytes.size());
  in_hand_ = true;
  read.found_ = {hand, bytes.size()};
}

// Without memory the read answers nullopt, and the connection ends.
[[gnu::noinline]] void TaskSession::TakeInBlock(ReadWait& read, std::string_view bytes) {
  in_hand_ = false;
  if (bytes.empty()) {
    read.found_ = std::string_view("");
  } else if (Keep(taken_, bytes)) {
    read.found_ = taken_.view();
  }
}

inline bool TaskSession::TakeNext(ReadWait& read, Input& in) {
  if (read.kind_ != ReadWait::Kind::kSome) return TakeWhole(read, in);
  if (in.empty()) return false;
  Take(read, in.Take(read.count_));
  return true;
}

// --- The task.

TaskSession::TaskSession() = default;

TaskSession::~TaskSession() {
  SLUICE_CHECK(read_ == nullptr && writes_.Empty());
  GiveBack(taken_);
  if (rest_ != nullptr) GiveBack(rest_->block);
}

void TaskSession::Serving::Begin(TaskSession& session) {
  SetSlot(session.slot());
  JoinList(session.tasks_, session.worker().desk().coroutine_runs);
  task_ = session.Serve();
  task_.StartIn(*this);
  Coroutine::Begin();
}

Coroutine* TaskSession::Serving::Ended() {
  const std::exception_ptr error = task_.TakeError();
  task_.Destroy();
  if (error) std::rethrow_exception(error);
  static_cast<TaskSession*>(slot()->actor)->Close();
  return nullptr;
}

void TaskSession::OnOpen() {
  serving_.Begin(*this);
  ReadOnlyIfAwaited();
}

// --- Reading.

void TaskSession::HoldOrRead() {
  SLUICE_PLANT(task_left_paused, if (eof_ || !read_held_) {
    read_held_ = true;
    HoldBegins();
  } return);
  if ((read_ == nullptr) == read_held_) return;
  if (read_held_) {
    // The last read may have left input that this one takes.
    if (connection() != nullptr) connection()->OfferKeptInput();
    HoldEnds();
  } else {
    HoldBegins();
  }
  read_held_ = !read_held_;
}

void TaskSession::OnData(Input& in) {
  if (ending_) [[unlikely]]
    return in.Skip(in.size());  // rest_ has it.
  input_ = &in;
  if (ReadWait* const read = read_; read != nullptr && TakeNext(*read, in)) {
    read_ = nullptr;
    read->GoOn();  // And may read on from `in`.
  }
  input_ = nullptr;
  if (in_hand_) [[unlikely]] {
    in_hand_ = false;
    GiveBack(taken_);
    taken_ = {frames().TakeHand(), FramePool::kHandBytes};
    if (taken_.data == nullptr) return Abort(CloseReason::kMemory);
  }
  ReadOnlyIfAwaited();
}

void TaskSession::OnEof() {
  eof_ = true;
  EndReading();
}

void TaskSession::OnDrain() { EndReading(); }

void TaskSession::EndReading() {
  std::string_view rest = Unconsumed();
  SLUICE_PLANT(task_rest_lost, rest = "");
  if (!std::exchange(ending_, true)) {
    rest_ = std::make_unique<Rest>();
    if (!Keep(rest_->block, rest)) return;
  }
  if (read_ == nullptr) return;
  ReadWait& read = *std::exchange(read_, nullptr);
  TakeFromRest(read);
  read.GoOn();
}

void TaskSession::TakeFromRest(ReadWait& read) {
  Input in(rest_->block.view().substr(rest_->read));
  TakeNext(read, in);
  rest_->read = rest_->block.bytes - in.size();
}

bool TaskSession::TakeWhole(ReadWait& read, Input& in) {
  using Kind = ReadWait::Kind;
  if (read.kind_ == Kind::kLine) return TakeLine(read, in);
  size_t bytes = read.count_;
  if (read.kind_ == Kind::kFrame) {
    auto& frame = static_cast<FrameWait&>(read);
    try {
      bytes = frame.length_(in.Peek());
    } catch (...) {
      frame.error_ = std::current_exception();
      return true;  // The task gets it, and the input stays.
    }
    // Such a frame is never whole: the peer need not send it first.
    if (connection() != nullptr && bytes > connection()->InputMax()) OnInputFull();
  }
  if (bytes == 0 || bytes > in.size()) return false;
  Take(read, in.Take(bytes));
  return true;
}

bool TaskSession::TakeLine(ReadWait& read, Input& in) {
  const size_t searched = std::min(read.count_, in.size());
  const size_t lf = in.Peek().find('\n', searched);
  read.count_ = in.size();
  if (lf == std::string_view::npos && (!eof_ || in.empty())) return false;
  std::string_view line = in.Take(lf);
  in.Skip(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  Take(read, line);
  return true;
}

void TaskSession::Withdraw(ReadWait& read) {
  SLUICE_CHECK(read_ == &read);
  read_ = nullptr;
  if (input_ == nullptr) ReadOnlyIfAwaited();
}

bool TaskSession::ReadNext(ReadWait& read) {
  read.Restart();
  return MayGoOn() && TakeNext(read, *input_);
}

bool TaskSession::ReadWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (coroutine.slot() != session_.slot()) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where, "reads from another actor's connection");
  }
  if (session_.read_ != nullptr) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where,
                         "reads from a connection while another one reads");
  }
  Restart();
  if (count_ == 0 || session_.input_ == nullptr || session_.ending_ ||
      session_.taken_.data != nullptr) [[unlikely]] {
    return session_.BeginSeldom(*this, coroutine, frame);
  }
  session_.Waits(*this, coroutine, frame);
  return true;
}

inline void TaskSession::Waits(ReadWait& read, Coroutine& coroutine,
                               std::coroutine_handle<> frame) {
  in_hand_ = false;
  writes_in_piece_ = 0;
  read_ = &read;
  read.coroutine_ = &coroutine;
  read.frame_ = frame;
  coroutine.WaitsAt(read.place_, "input", worker().NowNs());
}

bool TaskSession::BeginSeldom(ReadWait& read, Coroutine& coroutine, std::coroutine_handle<> frame) {
  using Kind = ReadWait::Kind;
  if (read.count_ == 0 && (read.kind_ == Kind::kExactly || read.kind_ == Kind::kSome)) {
    read.found_ = std::string_view("");
    return false;
  }
  if (ending_) {
    TakeFromRest(read);
    return false;
  }
  GiveBack(taken_);
  Waits(read, coroutine, frame);
  if (input_ == nullptr) ReadOnlyIfAwaited();
  return true;
}

// --- Writing.

bool TaskSession::AwaitsAnswer() const {
  const bool waits = read_ != nullptr || !writes_.Empty();
  return asked_ && waits && connection() != nullptr && connection()->ByConnect();
}

bool TaskSession::HalfWritten() const {
  SLUICE_PLANT(half_write_looks_whole, return false);
  return !writes_.Empty() && writes_.Front()->begun_;
}

void TaskSession::CloseWrite() {
  Session::CloseWrite();
  while (WriteWait* const write = writes_.PopFront()) {
    write->answer_ = Answer::kClosed;
    write->bytes_ = "";
    write->coroutine_->Resume(write->frame_);
  }
}

bool TaskSession::NextPiece() {
  writes_in_piece_ = 0;
  if (!worker().PieceDone(slot(), "Write")) return true;
  WantWritable();
  return false;
}

bool TaskSession::TryWrite(WriteWait& write) {
  asked_ = true;
  if (!write.begun_) [[likely]] {
    write.answer_ = WriteOnWorker(write.bytes_);
    if (write.answer_ == Answer::kAccepted || write.answer_ == Answer::kClosed) [[likely]] {
      write.bytes_.remove_prefix(write.bytes_.size());
      return true;
    }
  }
  return WriteRest(write);
}

bool TaskSession::WriteRest(WriteWait& write) {
  const auto most = static_cast<size_t>(runtime().options().output_bytes_max);
  if (!write.begun_ && write.bytes_.size() <= most) {
    WaitForRoom(write.answer_);
    return false;
  }
  while (!write.bytes_.empty()) {
    // Longer than the output may ever be: in pieces.
    const size_t held = OutputBytes();
    const std::string_view piece = write.bytes_.substr(0, most - std::min(most, held));
    const Answer answer = piece.empty() ? Answer::kFull : Session::Write(piece);
    write.answer_ = answer;
    if (answer == Answer::kClosed) {
      write.bytes_ = "";
      return true;
    }
    if (answer != Answer::kAccepted) {
      WaitForRoom(answer);
      return false;
    }
    write.begun_ = true;
    write.bytes_.remove_prefix(piece.size());
  }
  return true;
}

TaskSession::FileWait TaskSession::SendFile(SharedFile file, int64_t offset, int64_t bytes,
                                            Where where) {
  if (!FileRange::Valid(file, offset, bytes)) {
    throw std::invalid_argument(
        absl::StrCat("SendFile: ", bytes, " bytes from ", offset, " on are no range of a file"));
  }
  return FileWait(*this, std::move(file), offset, bytes, where);
}

bool TaskSession::TryFile(FileWait& wait) {
  asked_ = true;
  if (wait.taken_) {
    // The output is low, and so has no file any more; or memory is looked at; or answers before the
    // file are still to come.
    if (connection() == nullptr || !FilesWait()) return true;
    WantWritable();
    return false;
  }
  wait.answer_ = Session::SendFile(wait.range_of_, wait.offset_, wait.size_);
  if (wait.answer_ == Answer::kAccepted && wait.size_ > 0) {
    wait.taken_ = true;
    WantWritable();
    return false;
  }
  if (wait.answer_ == Answer::kAccepted || wait.answer_ == Answer::kClosed) return true;
  WaitForRoom(wait.answer_);
  return false;
}

void TaskSession::WaitForRoom(Answer answer) {
  if (answer == Answer::kFull) return WantWritable();
  // Memory is spent: the output may be empty, so no event would follow.
  if (looks_at_memory_) return;
  const TimerId timer = After(absl::Milliseconds(kMemoryLookMs), [this] {
    looks_at_memory_ = false;
    OnWritable();
  });
  looks_at_memory_ = timer != 0;
  if (!looks_at_memory_) WantWritable();
}

void TaskSession::OnWritable() {
  worker().BeginShare(Descriptors::kHandlerNs);
  const auto done = [this](WriteWait& wait) {
    return wait.file_ ? TryFile(static_cast<FileWait&>(wait)) : TryWrite(wait);
  };
  while (!writes_.Empty() && done(*writes_.Front())) {
    WriteWait& write = *writes_.PopFront();
    write.coroutine_->Resume(write.frame_);
    if (!worker().TurnOver()) continue;
    if (!writes_.Empty()) WantWritable();
    return;
  }
}

TaskSession::WriteWait::WriteWait(WriteWait&& other) noexcept
    : session_(other.session_), place_(other.place_), bytes_(other.bytes_), file_(other.file_) {
  SLUICE_CHECK(other.coroutine_ == nullptr);
}

bool TaskSession::FileWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  WriteWait::Begin(coroutine, frame);
  coroutine.WaitsAt(place_, "a file to be sent", session_.worker().NowNs());
  return true;
}

bool TaskSession::WriteWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (coroutine.slot() != session_.slot()) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where, "writes to another actor's connection");
  }
  coroutine_ = &coroutine;
  frame_ = frame;
  coroutine.WaitsAt(place_, "room in the output", session_.worker().NowNs());
  session_.writes_.PushBack(*this);
  return true;
}

}  // namespace sluice
