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

TaskSession::TaskSession() = default;

TaskSession::~TaskSession() {
  SLUICE_CHECK(read_ == nullptr && writes_.Empty());
  GiveBack(taken_);
  GiveBack(rest_);
}

// --- The task.

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

void TaskSession::ReadOnlyIfAwaited() {
  SLUICE_PLANT(task_left_paused, if (eof_ || !hold_.Holds()) hold_ = HoldReading(); return);
  if (read_ != nullptr) {
    // The last read may have left input that this one takes.
    if (hold_.Holds() && connection() != nullptr) connection()->OfferKeptInput();
    hold_.Release();
  } else if (!hold_.Holds()) {
    hold_ = HoldReading();
  }
}

void TaskSession::OnData(Input& in) {
  if (ending_) return in.Skip(in.size());  // rest_ has it.
  input_ = &in;
  size_t consumed = 0;
  if (read_ != nullptr && Find(*read_, in.Peek(), &consumed)) {
    in.Skip(consumed);
    std::exchange(read_, nullptr)->GoOn();  // And may read on from `in`.
  }
  input_ = nullptr;
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
  if (!std::exchange(ending_, true) && !Keep(rest_, rest)) return;
  if (read_ == nullptr) return;
  ReadWait& read = *std::exchange(read_, nullptr);
  FindInRest(read);
  read.GoOn();
}

void TaskSession::FindInRest(ReadWait& read) {
  size_t consumed = 0;
  if (!Find(read, rest_.view().substr(rest_read_), &consumed)) return;
  rest_read_ += static_cast<uint32_t>(consumed);
}

bool TaskSession::Find(ReadWait& read, std::string_view input, size_t* consumed) {
  using Kind = ReadWait::Kind;
  switch (read.kind_) {
    case Kind::kSome:
      *consumed = std::min(read.count_, input.size());
      break;
    case Kind::kExactly:
      *consumed = read.count_ <= input.size() ? read.count_ : 0;
      break;
    case Kind::kFrame:
      try {
        *consumed = read.length_(input);
      } catch (...) {
        read.error_ = std::current_exception();
        return true;  // The task gets it, and the input stays.
      }
      // Such a frame is never whole: the peer need not send it first.
      if (connection() != nullptr && *consumed > connection()->InputMax()) OnInputFull();
      if (*consumed > input.size()) *consumed = 0;
      break;
    case Kind::kLine: {
      const size_t searched = std::min(read.count_, input.size());
      const size_t lf = input.find('\n', searched);
      read.count_ = input.size();
      const bool last = lf == std::string_view::npos && eof_;
      *consumed = lf != std::string_view::npos ? lf + 1 : last ? input.size() : 0;
      if (*consumed == 0) return false;
      std::string_view line = input.substr(0, *consumed - (last ? 0 : 1));
      if (line.ends_with('\r')) line.remove_suffix(1);
      Take(read, line);
      return true;
    }
  }
  if (*consumed == 0) return false;
  Take(read, input.substr(0, *consumed));
  return true;
}

// Without memory the read answers nullopt, and the connection ends.
void TaskSession::Take(ReadWait& read, std::string_view bytes) {
  asked_ = false;
  if (Keep(taken_, bytes)) read.result_ = taken_.view();
}

bool TaskSession::Keep(FrameBlock& block, std::string_view bytes) {
  GiveBack(block);
  if (bytes.empty()) return true;
  block.data = static_cast<char*>(worker().desk().frames.Get(bytes.size()));
  if (block.data == nullptr) {
    Abort(CloseReason::kMemory);
    return false;
  }
  block.bytes = static_cast<uint32_t>(bytes.size());
  std::memcpy(block.data, bytes.data(), bytes.size());
  return true;
}

void TaskSession::GiveBack(FrameBlock& block) {
  if (block.data == nullptr) return;
  worker().desk().frames.Put(std::exchange(block.data, nullptr), std::exchange(block.bytes, 0));
}

TaskSession::ReadWait::ReadWait(ReadWait&& other) noexcept
    : session_(other.session_),
      place_(other.place_),
      kind_(other.kind_),
      count_(other.count_),
      length_(other.length_) {
  SLUICE_CHECK(other.coroutine_ == nullptr);
}

void TaskSession::Withdraw(ReadWait& read) {
  SLUICE_CHECK(read_ == &read);
  read_ = nullptr;
  if (input_ == nullptr) ReadOnlyIfAwaited();
}

bool TaskSession::ReadNext(ReadWait& read) {
  read.Restart();
  size_t consumed = 0;
  if (!MayGoOn() || !Find(read, input_->Peek(), &consumed)) return false;
  input_->Skip(consumed);
  return true;
}

bool TaskSession::ReadWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (coroutine.slot() != session_.slot()) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where, "reads from another actor's connection");
  }
  if (session_.read_ != nullptr) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where,
                         "reads from a connection while another one reads");
  }
  SLUICE_CHECK(coroutine_ == nullptr || session_.read_ != this);
  Restart();
  if ((kind_ == Kind::kExactly || kind_ == Kind::kSome) && count_ == 0) {
    result_ = std::string_view();
    return false;
  }
  if (session_.ending_) {
    session_.FindInRest(*this);
    return false;
  }
  session_.GiveBack(session_.taken_);
  coroutine_ = &coroutine;
  frame_ = frame;
  coroutine.WaitsAt(place_, "input", session_.worker().NowMs());
  session_.read_ = this;
  if (session_.input_ == nullptr) session_.ReadOnlyIfAwaited();
  return true;
}

void TaskSession::ReadWait::GoOn() { std::exchange(coroutine_, nullptr)->Resume(frame_); }

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

// A peer that reads as fast as this writes must not hold the worker.
bool TaskSession::MayWriteOn() {
  constexpr uint8_t kWritesInPiece = 16;
  if (++writes_in_piece_ < kWritesInPiece) return true;
  writes_in_piece_ = 0;
  if (!worker().PieceDone(slot(), "Write")) return true;
  WantWritable();
  return false;
}

bool TaskSession::TryWrite(WriteWait& write) {
  asked_ = true;
  if (!write.begun_) {
    write.answer_ = Session::Write(write.bytes_);
    if (write.answer_ == Answer::kAccepted || write.answer_ == Answer::kClosed) [[likely]] {
      write.bytes_ = "";
      return true;
    }
  }
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
  if (memory_timer_ != 0) return;
  memory_timer_ = After(absl::Milliseconds(kMemoryLookMs), [this] {
    memory_timer_ = 0;
    OnWritable();
  });
  if (memory_timer_ == 0) WantWritable();
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
  coroutine.WaitsAt(place_, "a file to be sent", session_.worker().NowMs());
  return true;
}

bool TaskSession::WriteWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (coroutine.slot() != session_.slot()) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where, "writes to another actor's connection");
  }
  coroutine_ = &coroutine;
  frame_ = frame;
  coroutine.WaitsAt(place_, "room in the output", session_.worker().NowMs());
  session_.writes_.PushBack(*this);
  return true;
}

}  // namespace sluice
