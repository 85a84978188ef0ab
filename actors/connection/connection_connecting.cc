// A connection before it is connected: the calls of its session's constructor, and its attempts.
#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/early_calls.h"
#include "sluice/actors/connection/session_extra.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/slot/deadline.h"

namespace sluice {

void Connection::Refuse(Worker& worker, Slot* slot, CloseReason reason, std::string text) {
  CountersOf(worker).CountNeverStood(reason);
  auto& session = ActorAs<Session>(slot);
  session.close_reason_ = reason;
  session.begun_ = true;
  if (session.early_ != nullptr) session.early_->Drop(worker);
  session.early_.reset();
  worker.HoldMail(slot);  // The connection never opens.
  worker.life().StopStarted(slot, EndReason::kStopped, std::move(text));
}

// Takes over the calls of the session's constructor. Abort and Close wait until OnStart has run
// (EndEarly): a session that has not started gets no OnClose.
void Connection::TakeEarlyCalls() {
  EarlyCalls& early = *session_->early_;
  outgoing_.TakeFrom(early.output, early.ranges);
  SLUICE_PLANT(early_bytes_lost, outgoing_.queue().Clear(worker().lease()));
  if (early.input_bytes_max.has_value()) SetInputMax(*early.input_bytes_max);
  outgoing_.SetWantsWritable(early.wants_writable);
  if (early.close || early.close_write || early.abort) outgoing_.HalfClose();
  if (!early.abort) worker().descriptors().FlushAfterSlice(this);
}

void Connection::EndEarly() {
  if (session_ == nullptr || session_->early_ == nullptr) return;
  const std::unique_ptr<EarlyCalls> early = std::move(session_->early_);
  if (early->abort) {
    Abort(*early->abort);
  } else if (early->close) {
    Close();
  } else if (early->close_when_done) {
    CloseWhenDone();
  }
}

// --- Connecting.

std::string Connection::EndText(CloseReason reason, int error) const {
  if (reason == CloseReason::kConnectFailed && IsConnecting() && connecting().address()) {
    return ConnectErrorText(*connecting().address(), error);
  }
  return std::string(CloseReasonName(reason));
}

void Connection::BeginConnecting(absl::Duration timeout) {
  stage_ = Stage::kConnecting;
  outgoing_.Refused(/*error=*/0);  // An event tells when it is connected.
  seldom_ = std::make_unique<std::variant<Connecting, Silence>>(
      Connecting(worker().NowMs(), TimeoutMs(timeout)));
}

void Connection::ConnectsTo(const Address& address, bool again) {
  by_connect_ = true;
  if (!IsConnecting()) return;
  connecting().To(address, again);
  if (again) ArmTimer();
}

void Connection::ConnectDone() {
  int error = 0;
  socklen_t size = sizeof(error);
  const int got =
      worker().os().OptionGet(stream_->Descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (got < 0) error = -got;
  if (error == 0 && IsConnectedToItself(worker().os(), stream_->Descriptor())) {
    error = ECONNREFUSED;
  }
  if (error != 0) {
    ConnectFailed(error, /*reset=*/true);
    return;
  }
  stage_ = Stage::kConnected;
  if (IsTcp(PeerAddress())) SetRetransmissions(worker().os(), stream_->Descriptor(), options());
  seldom_ = nullptr;
  // Waiting bytes could not leave before the connect: their stall starts now.
  outgoing_.RestartStall(worker().NowMs());
  if (Closing()) deadlines_.BeginClose(worker().NowMs());
  if (drain_.Begun()) BeginDrainReading();
  if (outgoing_.FinDue()) worker().descriptors().FlushAfterSlice(this);
  incoming_.ForgetError();
  incoming_.SetReadable();
  deadlines_.SetActive(worker().NowMs());
  ArmTimer();
  if (Paired()) worker().descriptors().MarkReady(partner_);
}

void Connection::ConnectFailed(int error, bool reset) {
  const std::optional<Address>& address = connecting().address();
  if (session_ != nullptr && address.has_value()) {
    session_->LogConnectFailed(*address, error);
    if (session_->extra_ != nullptr) {
      session_->extra_->opened.Fail(absl::UnavailableError(ConnectErrorText(*address, error)));
    }
  }
  Finish(CloseReason::kConnectFailed, reset, error);
}

void Connection::ConnectTimerDue() {
  Worker& w = worker();
  Connecting& connecting = this->connecting();
  if (!connecting.Again() || connecting.DeadlineMs(GiveUpMs()) <= w.NowMs()) {
    ConnectFailed(ETIMEDOUT);
    return;
  }
  const Address& to = *connecting.address();
  const int connected = w.os().Connect(stream_->Descriptor(), to.sockaddr(), to.size());
  connecting.Tried(w.NowMs(), /*again=*/connected == -EAGAIN);
  if (connected == -EAGAIN) {
    ArmTimer();
  } else if (connected < 0) {
    ConnectFailed(-connected);
  } else {
    outgoing_.SetWritable();
    w.descriptors().MarkReady(this);
  }
}

}  // namespace sluice
