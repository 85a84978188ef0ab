#include "sluice/actors/connection/session.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/strings.h"

namespace sluice {

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

void Session::LogConnectFailed(const Address& to, int error) {
  LimitOf(worker(), CloseReason::kConnectFailed).Warn(worker().NowMs(), [&] {
    return absl::StrCat("connect to ", to.ToString(), ": ", ErrnoText(error));
  });
}

Answer Session::WriteBytes(std::string_view bytes) {
  CheckThread("Write()");
  if (connection_ != nullptr) return connection_->Write(bytes);
  EarlyCalls* const early = Early();
  return early == nullptr ? Answer::kClosed : early->Write(worker(), bytes);
}
Answer Session::Write(const Bytes& payload) {
  CheckThread("Write()");
  if (connection_ != nullptr) return connection_->Write(payload);
  EarlyCalls* const early = Early();
  return early == nullptr ? Answer::kClosed : early->Write(worker(), payload);
}
Answer Session::SendFile(const SharedFile& file, int64_t offset, int64_t bytes) {
  CheckThread("SendFile()");
  if (!FileRange::Valid(file, offset, bytes)) return Answer::kInvalid;
  if (connection_ != nullptr) return connection_->SendFile(file, offset, bytes);
  EarlyCalls* const early = Early();
  return early == nullptr ? Answer::kClosed : early->SendFile(worker(), file, offset, bytes);
}
void Session::Close() {
  CheckThread("Close()");
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
  if (connection_ != nullptr) return connection_->WantWritable();
  if (EarlyCalls* const early = Early(); early != nullptr) early->wants_writable = true;
}
size_t Session::OutputBytes() const {
  if (connection_ != nullptr) return connection_->OutputBytes();
  return early_ == nullptr ? 0 : early_->output.size();
}
void Session::SetInputMax(size_t bytes) {
  CheckThread("SetInputMax()");
  if (connection_ != nullptr) return connection_->SetInputMax(bytes);
  if (EarlyCalls* const early = Early(); early != nullptr) early->input_bytes_max = bytes;
}
Address Session::PeerAddress() const {
  return connection_ == nullptr ? Address() : connection_->PeerAddress();
}

}  // namespace sluice
