#include "sluice/actors/connection/session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/actors/connection/answer_queue.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/outgoing.h"
#include "sluice/actors/connection/session_extra.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/slot/deadline.h"

namespace sluice {

namespace {

// The place of an answer that is not written: the session has closed before the question.
constexpr uint64_t kNoPlace = UINT64_MAX;

}  // namespace

Session::Session() = default;

Session::~Session() {
  if (early_ != nullptr) early_->Drop(worker());  // The constructor has failed.
}

EarlyCalls* Session::Early() {
  if (begun_) return nullptr;
  if (early_ == nullptr) early_ = std::make_unique<EarlyCalls>();
  return early_.get();
}

void Session::OnStop() { OnClose(close_reason_); }

void Session::OnEndedByFailure() { OnClose(close_reason_); }

void Session::OnInputFull() {
  if (connection_ == nullptr) return;
  LimitOf(worker(), CloseReason::kInputFull).Warn(worker().NowMs(), [this] {
    return absl::StrFormat(
        "input: %s sent a frame longer than %d bytes (input_bytes_max or SetInputMax), which its "
        "session cannot take; the connection is reset",
        PeerAddress().ToString(), connection_->InputMax());
  });
  Abort(CloseReason::kInputFull);
}

void Session::OpensFor(Promise<std::monostate> promise) { Extra().opened = std::move(promise); }

void Session::LogConnectFailed(const Address& to, int error) {
  LimitOf(worker(), CloseReason::kConnectFailed).Warn(worker().NowMs(), [&] {
    return ConnectErrorText(to, error);
  });
}

template <class B>
inline Answer Session::WriteNow(const B& bytes) {
  if (connection_ != nullptr) return connection_->Write(bytes);
  EarlyCalls* const early = Early();
  return early == nullptr ? Answer::kClosed : early->Write(worker(), bytes);
}
Answer Session::WriteBytes(std::string_view bytes) {
  CheckThread("Write()");
  return WriteOnWorker(bytes);
}
Answer Session::WriteOnWorker(std::string_view bytes) {
  if (AnswerQueue* const answers = AnswersUnderWay()) return WriteBehind(*answers, bytes);
  return WriteNow(bytes);
}
Answer Session::Write(const Bytes& payload) {
  CheckThread("Write()");
  if (AnswerQueue* const answers = AnswersUnderWay()) return WriteBehind(*answers, payload.view());
  return WriteNow(payload);
}
Answer Session::SendFileNow(const AnswerQueue::File& range) {
  if (connection_ != nullptr) {
    return connection_->SendFile(range.file, range.offset, range.bytes);
  }
  EarlyCalls* const early = Early();
  return early == nullptr ? Answer::kClosed
                          : early->SendFile(worker(), range.file, range.offset, range.bytes);
}
Answer Session::SendFile(const SharedFile& file, int64_t offset, int64_t bytes) {
  CheckThread("SendFile()");
  if (!FileRange::Valid(file, offset, bytes)) return Answer::kInvalid;
  if (AnswerQueue* const answers = AnswersUnderWay(); answers != nullptr && bytes > 0) {
    if (!TakesMore(*answers)) return Answer::kClosed;
    const Answer answer = OutputTakesFile(file, offset, bytes, answers->Files());
    answers->wants_writable |= answer == Answer::kFull;
    if (answer != Answer::kAccepted) return answer;
    if (!answers->AppendFile(file, offset, bytes)) return Answer::kOverloaded;
    HoldWhileMuch(*answers);
    return Answer::kAccepted;
  }
  return SendFileNow({file, offset, bytes});
}
void Session::Close() {
  CheckThread("Close()");
  if (HalfWritten()) return Abort();
  if (AnswerQueue* const answers = AnswersUnderWay()) {
    answers->then = AnswerQueue::Then::kClose;
    return HoldWhileMuch(*answers);
  }
  if (connection_ != nullptr) return connection_->Close();
  if (EarlyCalls* const early = Early(); early != nullptr) early->close = true;
}
void Session::CloseWhenDone() {
  CheckThread("CloseWhenDone()");
  if (connection_ != nullptr) return connection_->CloseWhenDone();
  if (EarlyCalls* const early = Early(); early != nullptr) early->close_when_done = true;
}
void Session::FlushSubscriptions() {
  CheckThread("FlushSubscriptions()");
  if (connection_ != nullptr) connection_->FlushListeners();
}
void Session::CloseWrite() {
  CheckThread("CloseWrite()");
  if (HalfWritten()) return Abort();
  if (AnswerQueue* const answers = AnswersUnderWay()) {
    if (answers->then == AnswerQueue::Then::kGoOn) answers->then = AnswerQueue::Then::kCloseWrite;
    return;
  }
  if (connection_ != nullptr) return connection_->CloseWrite();
  if (EarlyCalls* const early = Early(); early != nullptr) early->close_write = true;
}
void Session::Abort(CloseReason reason) {
  CheckThread("Abort()");
  if (connection_ != nullptr) return connection_->Abort(reason);
  if (EarlyCalls* const early = Early(); early != nullptr && !early->abort) early->abort = reason;
}
ReadHold Session::HoldReading() {
  CheckThread("HoldReading()");
  return ReadHold(*this);
}
void Session::HoldBegins() {
  ++read_holds_;
  if (connection_ != nullptr) connection_->PauseReading();
}
void Session::HoldEnds() {
  CheckThread("ReadHold::Release()");
  if (--read_holds_ == 0 && connection_ != nullptr) connection_->ResumeReading();
}
void Session::RepeatEof() {
  CheckThread("RepeatEof()");
  if (connection_ != nullptr) connection_->RepeatEof();
}
std::string_view Session::Unconsumed() const {
  return connection_ == nullptr ? std::string_view() : connection_->Unconsumed();
}
bool Session::MayGoOn() const { return connection_ != nullptr && connection_->MayTakeMore(); }
void Session::WantWritable() {
  CheckThread("WantWritable()");
  if (extra_ != nullptr && extra_->answers != nullptr) extra_->answers->wants_writable = true;
  if (connection_ != nullptr) return connection_->WantWritable();
  if (EarlyCalls* const early = Early(); early != nullptr) early->wants_writable = true;
}
size_t Session::OutputBytes() const {
  const auto answers = static_cast<size_t>(AnswerBytes());
  if (connection_ != nullptr) return connection_->OutputBytes() + answers;
  return (early_ == nullptr ? 0 : early_->output.size()) + answers;
}
void Session::SetInputMax(size_t bytes) {
  CheckThread("SetInputMax()");
  if (connection_ != nullptr) return connection_->SetInputMax(bytes);
  if (EarlyCalls* const early = Early(); early != nullptr) early->input_bytes_max = bytes;
}
void Session::SetReceiveTimeout(absl::Duration timeout) {
  CheckThread("SetReceiveTimeout()");
  if (HasEnded()) return;
  Extra().receive_timeout_ms =
      timeout <= absl::ZeroDuration() ? TimerWheel::kNever : TimeoutMs(timeout);
  if (connection_ != nullptr) connection_->SetReceiveTimeout();
}
void Session::LimitReading(RateLimit& limit, double count) {
  const absl::Duration wait = limit.Take(count, Now());
  if (wait <= absl::ZeroDuration() || HasEnded()) return;
  (void)After(wait, [hold = HoldReading()] {});
}
Address Session::PeerAddress() const {
  return connection_ == nullptr ? Address() : connection_->PeerAddress();
}

// --- Answers in the order of their questions.

SessionExtra& Session::Extra() {
  if (extra_ == nullptr) extra_ = std::make_unique<SessionExtra>();
  return *extra_;
}

AnswerQueue* Session::AnswersUnderWay() const {
  if (extra_ == nullptr || extra_->answers == nullptr || extra_->answers->Empty()) return nullptr;
  return extra_->answers.get();
}

uint64_t Session::ReserveAnswer() {
  CheckThread("AskPipelined()");
  std::unique_ptr<AnswerQueue>& answers = Extra().answers;
  if (answers == nullptr) {
    constexpr size_t kFirstAnswers = 8;
    const auto output_max = static_cast<size_t>(runtime().options().output_bytes_max);
    answers = std::make_unique<AnswerQueue>(worker().lease(), output_max / kFirstAnswers);
    answers->wants_writable = connection_ == nullptr || connection_->WantsWritable();
  }
  if (!TakesMore(*answers)) return kNoPlace;
  const uint64_t place = answers->Reserve();
  HoldWhileMuch(*answers);
  return place;
}

void Session::FillAnswer(uint64_t place, std::string bytes) {
  if (HasEnded() || place == kNoPlace) return;
  SLUICE_PLANT(answers_swapped, (void)WriteNow(std::string_view(bytes)); bytes.clear());
  if (!extra_->answers->Fill(place, std::move(bytes))) return Abort(CloseReason::kMemory);
  FlushAnswers();
}

void Session::FlushAnswers() {
  AnswerQueue& answers = *extra_->answers;
  answers.blocked = false;
  while (answers.Ready()) {
    const AnswerQueue::File* const file = answers.FirstFile();
    const Answer answer = file == nullptr ? WriteNow(answers.First()) : SendFileNow(*file);
    if (answer == Answer::kFull) {
      answers.blocked = true;
      break;
    }
    // A connection that has failed ends at the end of this handler.
    if (answer != Answer::kAccepted) return AbortUnlessTaken(answer);
    answers.Pop();
  }
  HoldWhileMuch(answers);
  // Room that answers have left in the queue may be what the session waits for. OnRoom follows,
  // when the connection's own output is low, too.
  if (answers.wants_writable && connection_ != nullptr && HasRoomBehind(answers)) {
    connection_->WantWritable();
  }
  if (!answers.Empty()) return;
  const auto then = std::exchange(answers.then, AnswerQueue::Then::kGoOn);
  if (then == AnswerQueue::Then::kClose) Close();
  if (then == AnswerQueue::Then::kCloseWrite) CloseWrite();
}

void Session::HoldWhileMuch(AnswerQueue& answers) {
  const Options& options = runtime().options();
  const size_t open_max =
      answers.OpenMax(static_cast<size_t>(options.output_bytes_max), options.answers_max);
  const bool much = answers.blocked || answers.Open() >= open_max || answers.Files() > 0 ||
                    answers.Bytes() > static_cast<size_t>(options.output_bytes_high) ||
                    answers.then == AnswerQueue::Then::kClose;
  SLUICE_PLANT(answers_hold_kept, if (!much) return);
  if (!much) {
    answers.hold.Release();
  } else if (!answers.hold.Holds()) {
    answers.hold = HoldReading();
  }
}

Answer Session::WriteBehind(AnswerQueue& answers, std::string_view bytes) {
  SLUICE_PLANT(write_overtakes_answers, return WriteNow(bytes));
  if (!TakesMore(answers)) return Answer::kClosed;
  const Answer answer = OutputTakes(runtime().options(), OutputBytes(), bytes.size());
  answers.wants_writable |= answer == Answer::kFull;
  if (answer != Answer::kAccepted || bytes.empty()) return answer;
  return answers.Append(bytes) ? Answer::kAccepted : Answer::kOverloaded;
}

void Session::OnRoom() {
  AnswerQueue* const answers = extra_ == nullptr ? nullptr : extra_->answers.get();
  if (answers != nullptr) {
    FlushAnswers();
    if (connection_ == nullptr || connection_->OutputAboveLow() || !HasRoomBehind(*answers)) return;
    if (!std::exchange(answers->wants_writable, false)) return;
  }
  OnWritable();
}

bool Session::TakesMore(const AnswerQueue& answers) const {
  const bool open = connection_ == nullptr ? !HasEnded() : connection_->WriteOpen();
  return open && answers.then == AnswerQueue::Then::kGoOn;
}

bool Session::HasRoomBehind(const AnswerQueue& answers) const {
  return answers.Bytes() <= static_cast<size_t>(runtime().options().output_bytes_low) &&
         answers.Files() == 0;
}

bool Session::FilesWait() const {
  const AnswerQueue* const answers = AnswersUnderWay();
  if (answers != nullptr && answers->Files() > 0) return true;
  return connection_ != nullptr && connection_->OutputAboveLow();
}

int64_t Session::AnswerBytes() const {
  const AnswerQueue* const answers = AnswersUnderWay();
  return answers == nullptr ? 0 : static_cast<int64_t>(answers->Bytes());
}

std::optional<int64_t> Session::DropAnswers() {
  AnswerQueue* const answers = AnswersUnderWay();
  if (answers == nullptr) return std::nullopt;
  const int64_t bytes = static_cast<int64_t>(answers->Bytes()) + answers->FileBytes();
  answers->Clear();
  return bytes;
}

void Session::CountIn(int64_t bytes) {
  if (extra_->traffic) extra_->traffic->in_bytes += bytes;
}
void Session::CountOut(int64_t bytes) {
  if (extra_->traffic) extra_->traffic->out_bytes += bytes;
}

}  // namespace sluice
