#include "sluice/actors/peers/connector.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/slot/actor_as.h"

namespace sluice {

void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot) {
  factory(worker, slot);
  if (slot->actor == nullptr) return;
  Os& os = worker.os();
  const int fd = os.SocketOpen(address.family(), SOCK_STREAM);
  const auto failed = [&](int error) {
    ActorAs<Session>(slot).LogConnectFailed(address, error);
    Connection::Refuse(worker, slot, CloseReason::kConnectFailed);
  };
  if (fd < 0) return failed(-fd);
  const bool tcp = IsTcp(address);
  if (tcp) SetTcpOptions(os, fd, worker.options());
  int connected = os.Connect(fd, address.sockaddr(), address.size());
  if (connected == 0 && IsConnectedToItself(os, fd)) connected = -ECONNREFUSED;
  // EAGAIN: the backlog of the UNIX socket is full, and no event follows.
  const bool full = connected == -EAGAIN && !tcp;
  if (connected < 0 && connected != -EINPROGRESS && !full) {
    // An immediate refusal, as on loopback: connect() has reported it, and SO_ERROR does not hold
    // it.
    os.Close(fd);
    return failed(-connected);
  }
  auto stream = std::make_unique<PlainStream>(os, fd, tcp);
  Connection* const connection = Connection::Open(
      worker, slot, std::move(stream), ConnectionOwner{},
      connected == 0 ? Connection::Start::kConnected : Connection::Start::kConnecting, timeout);
  if (connection != nullptr) connection->ConnectsTo(address, full);
}

}  // namespace sluice
