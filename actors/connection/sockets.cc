#include "sluice/actors/connection/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/os/mapped_ip4.h"

namespace sluice {

namespace {

int Set(Os& os, int fd, int level, int name, int value) {
  return os.OptionSet(fd, level, name, &value, sizeof(value));
}

// Rounds up, so that no probe is sent early. Options::Complete() has checked that the result fits.
int Seconds(absl::Duration d) {
  return static_cast<int>(absl::ToInt64Seconds(absl::Ceil(d, absl::Seconds(1))));
}

// The same host of IPv4 or IPv6, with port 0.
Address AnyPort(const Address& address) {
  sockaddr_storage storage{};
  std::memcpy(&storage, address.sockaddr(), address.size());
  // The port is at the same place in both families.
  reinterpret_cast<sockaddr_in*>(&storage)->sin_port = 0;
  return *Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), address.size());
}

bool IsAnyHost(const Address& address) {
  return AnyPort(address) == *Address::Parse(address.family() == AF_INET ? "0.0.0.0:0" : "[::]:0");
}

Address Loopback(const Address& of_family) {
  return *Address::Parse(of_family.family() == AF_INET ? "127.0.0.1:0" : "[::1]:0");
}

}  // namespace

bool IsTcp(const Address& address) { return address.family() != AF_UNIX; }

void SetTcpOptions(Os& os, int fd, const Options& options) {
  Set(os, fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.keepalive_idle < absl::InfiniteDuration()) {
    Set(os, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    Set(os, fd, IPPROTO_TCP, TCP_KEEPIDLE, Seconds(options.keepalive_idle));
    Set(os, fd, IPPROTO_TCP, TCP_KEEPINTVL, Seconds(options.keepalive_interval));
    Set(os, fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_probes);
  }
  Set(os, fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, options.notsent_bytes_max);
  // Urgent data stays in its place in the stream (RFC 6093): no byte is lost, none overtakes.
  Set(os, fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

void SetRetransmissions(Os& os, int fd, const Options& options) {
  constexpr int kTcpRtoLimit = 44;  // TCP_RTO_MAX_MS; an older <linux/tcp.h> lacks it.
  if (options.unacknowledged_timeout == absl::InfiniteDuration()) return;
  const int64_t ms = absl::ToInt64Milliseconds(options.unacknowledged_timeout / 5);
  Set(os, fd, IPPROTO_TCP, kTcpRtoLimit, static_cast<int>(std::clamp<int64_t>(ms, 1'000, 120'000)));
}

bool LeadsTo(Os& os, const Address& listening, const Address& to) {
  // A look-up may give an IPv4-mapped address: an IPv6 socket that connects to it uses IPv4.
  const std::string ip4 = MappedIp4(to);
  const Address target = ip4.empty() ? to : *Address::Parse(ip4);
  if (listening == target) return true;
  if (!IsTcp(target) || target.family() != listening.family()) return false;
  if (target.port() != listening.port()) return false;
  // A listener on "any" listens on each interface; connecting to "any" is connecting to localhost.
  const Address here = AnyPort(target);
  if (IsAnyHost(target)) return IsAnyHost(listening) || AnyPort(listening) == Loopback(target);
  if (!IsAnyHost(listening)) return false;
  // An address that can be bound belongs to this machine.
  const int fd = os.SocketOpen(target.family(), SOCK_STREAM);
  if (fd < 0) return false;
  const bool own = os.Bind(fd, here.sockaddr(), here.size()) == 0;
  os.Close(fd);
  return own;
}

bool IsConnectedToItself(Os& os, int fd) {
  SLUICE_PLANT(self_connect_taken, return false);
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  if (os.LocalAddress(fd, &storage, &size) < 0) return false;
  const auto* const address = reinterpret_cast<const sockaddr*>(&storage);
  // Two UNIX sockets without a name have equal addresses, but differ.
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6) return false;
  const absl::StatusOr<Address> local = Address::FromSockaddr(address, size);
  size = sizeof(storage);
  if (!local.ok() || os.PeerAddress(fd, &storage, &size) < 0) return false;
  const absl::StatusOr<Address> peer = Address::FromSockaddr(address, size);
  return peer.ok() && *peer == *local;
}

absl::StatusOr<ListeningSocket> OpenListening(Os& os, const Address& address,
                                              const Options& options) {
  const auto error = [&](int result, const char* call) {
    return absl::ErrnoToStatus(-result,
                               absl::StrCat("cannot listen on ", address.ToString(), ": ", call));
  };
  // The kernel would report only "Invalid argument".
  if (const absl::Status mapped = RefuseMapped(address); !mapped.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen: ", mapped.message()));
  }
  const int fd = os.SocketOpen(address.family(), SOCK_STREAM);
  if (fd < 0) return error(fd, "socket");
  ListeningSocket socket{OwnedFd(os, fd), address, std::nullopt, 0, {}};
  if (IsTcp(address)) {
    Set(os, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Each address has its own family: [::]:PORT does not include IPv4, so that both can be bound
    // side by side.
    if (address.family() == AF_INET6) Set(os, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    SetTcpOptions(os, fd, options);
    SetRetransmissions(os, fd, options);
  }
  if (address.IsUnixPath()) {
    absl::StatusOr<UnixFile> file = UnixFile::Listen(os, fd, address, options);
    if (!file.ok()) return file.status();
    socket.file = *std::move(file);
    return socket;
  }
  const int bound = os.Bind(fd, address.sockaddr(), address.size());
  if (bound < 0) return error(bound, "bind");
  const int listening = os.Listen(fd, options.backlog);
  if (listening < 0) return error(listening, "listen");
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  if (IsTcp(address) && os.LocalAddress(fd, &storage, &size) == 0) {
    absl::StatusOr<Address> local =
        Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size);
    if (local.ok()) socket.address = *local;
  }
  return socket;
}

void EndListening(Os& os, ListeningSocket& socket) {
  if (!socket.fd.Valid()) return;
  if (socket.file.has_value()) socket.file->Remove(os);
  SLUICE_PLANT(listener_stays, socket.fd.Reset(); socket.listed = {}; return);
  os.ShutdownBoth(socket.fd.Get());
  socket.fd.Reset();
  socket.listed = {};
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

std::string ConnectErrorText(const Address& to, int error) {
  return absl::StrCat("connect to ", to.ToString(), ": ", ErrnoText(error));
}

}  // namespace sluice
