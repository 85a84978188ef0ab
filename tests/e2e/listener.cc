#include "sluice/tests/e2e/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sluice::e2e {

Listener::Listener(const ListenerOptions& options) {
  sockaddr_in loopback = {};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_un path = {};
  path.sun_family = AF_UNIX;
  options.unix_path.copy(path.sun_path, sizeof path.sun_path - 1);
  const bool on_path = !options.unix_path.empty();
  auto* address =
      on_path ? reinterpret_cast<sockaddr*>(&path) : reinterpret_cast<sockaddr*>(&loopback);
  socklen_t size = on_path ? sizeof path : sizeof loopback;
  fd_ = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (options.receive_buffer_bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes, sizeof(int));
  }
  if (bind(fd_, address, size) != 0 || listen(fd_, options.backlog) != 0 ||
      getsockname(fd_, address, &size) != 0) {
    throw std::runtime_error("the test's own server cannot listen");
  }
  address_ = on_path ? "unix:" + options.unix_path
                     : "127.0.0.1:" + std::to_string(ntohs(loopback.sin_port));
}

Listener::~Listener() { Close(); }

Client Listener::Accept() {
  pollfd entry = {fd_, POLLIN, 0};
  const Deadline deadline;
  poll(&entry, 1, deadline.LeftMilliseconds());
  return Client::OfDescriptor(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

void Listener::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

}  // namespace sluice::e2e
