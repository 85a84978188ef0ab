#include "sluice/actors/session.h"

#include "sluice/actors/connection.h"

namespace sluice {

void Session::OnStop() { OnClose(close_reason_); }

Answer Session::WriteBytes(std::string_view bytes) {
  return connection_ == nullptr ? Answer::kClosed : connection_->Write(bytes);
}
Answer Session::Write(const Bytes& payload) {
  return connection_ == nullptr ? Answer::kClosed : connection_->Write(payload);
}
void Session::Close() {
  if (connection_ != nullptr) connection_->Close();
}
void Session::FlushSubscriptions() {
  if (connection_ != nullptr) connection_->FlushListeners();
}
void Session::CloseWrite() {
  if (connection_ != nullptr) connection_->CloseWrite();
}
void Session::Abort(CloseReason reason) {
  if (connection_ != nullptr) connection_->Abort(reason);
}
void Session::PauseReading() {
  if (connection_ != nullptr) connection_->PauseReading();
}
void Session::ResumeReading() {
  if (connection_ != nullptr) connection_->ResumeReading();
}
bool Session::ReadingPaused() const {
  return connection_ != nullptr && connection_->ReadingPaused();
}
std::string_view Session::Unconsumed() const {
  return connection_ == nullptr ? std::string_view() : connection_->Unconsumed();
}
bool Session::MayGoOn() const { return connection_ != nullptr && connection_->MayGoOn(); }
void Session::WantWritable() {
  if (connection_ != nullptr) connection_->WantWritable();
}
size_t Session::OutputBytes() const {
  return connection_ == nullptr ? 0 : connection_->OutputBytes();
}
void Session::SetInputMax(size_t bytes) {
  if (connection_ != nullptr) connection_->SetInputMax(bytes);
}
Address Session::PeerAddress() const {
  return connection_ == nullptr ? Address() : connection_->PeerAddress();
}

}  // namespace sluice
