#include "sluice/actors/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace sluice {

namespace {

int Set(Os& os, int fd, int level, int name, int value) {
  return os.OptionSet(fd, level, name, &value, sizeof(value));
}

int64_t Seconds(absl::Duration d) { return std::max<int64_t>(1, absl::ToInt64Seconds(d)); }

}  // namespace

bool IsTcp(const Address& address) { return address.family() != AF_UNIX; }

void SetTcpOptions(Os& os, int fd, const Options& options) {
  Set(os, fd, IPPROTO_TCP, TCP_NODELAY, 1);
  Set(os, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(os, fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(Seconds(options.keepalive_idle)));
  Set(os, fd, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(Seconds(options.keepalive_interval)));
  Set(os, fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_probes);
  Set(os, fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, options.notsent_bytes_max);
  // Urgent data stays in its place in the stream (RFC 6093): no byte is lost, none overtakes.
  Set(os, fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

absl::StatusOr<ListeningSocket> OpenListening(Os& os, const Address& address,
                                              const Options& options) {
  const auto error = [&](int result, const char* call) {
    return absl::ErrnoToStatus(-result,
                               absl::StrCat("cannot listen on ", address.ToString(), ": ", call));
  };
  const int fd = os.SocketOpen(address.family(), SOCK_STREAM);
  if (fd < 0) return error(fd, "socket");
  ListeningSocket socket{OwnedFd(os, fd), address, false};
  if (IsTcp(address)) {
    Set(os, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Each address says its own family: [::]:PORT does not take IPv4 along, so both can stand side
    // by side.
    if (address.family() == AF_INET6) Set(os, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    SetTcpOptions(os, fd, options);
  }
  int bound = os.Bind(fd, address.sockaddr(), address.size());
  if (bound == -EADDRINUSE && address.IsUnixPath()) {
    // A file that nobody listens behind is what a killed server left.
    const int probe = os.SocketOpen(AF_UNIX, SOCK_STREAM);
    if (probe >= 0) {
      const int connected = os.Connect(probe, address.sockaddr(), address.size());
      os.Close(probe);
      if (connected == -ECONNREFUSED) {
        os.Unlink(std::string(address.path()));
        bound = os.Bind(fd, address.sockaddr(), address.size());
      }
    }
  }
  if (bound < 0) return error(bound, "bind");
  socket.unlink_at_end = address.IsUnixPath();
  const int listening = os.Listen(fd, options.backlog);
  if (listening < 0) {
    if (socket.unlink_at_end) os.Unlink(std::string(address.path()));
    return error(listening, "listen");
  }
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  if (IsTcp(address) && os.LocalAddress(fd, &storage, &size) == 0) {
    absl::StatusOr<Address> local =
        Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size);
    if (local.ok()) socket.address = *local;
  }
  return socket;
}

}  // namespace sluice
