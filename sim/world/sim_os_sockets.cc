// A simulated machine's sockets.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/worker/worker.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

namespace {

constexpr uint16_t kFirstPort = 32'768;  // net.ipv4.ip_local_port_range.
constexpr uint16_t kLastPort = 60'999;
constexpr int kTcpRtoLimit = 44;                             // TCP_RTO_MAX_MS, from Linux 6.15 on.
constexpr absl::Duration kLookUpTimeout = absl::Seconds(5);  // resolv.conf(5): for each attempt.

void CopyAddress(const Address& address, sockaddr_storage* to, socklen_t* size) {
  std::memset(to, 0, sizeof(*to));
  std::memcpy(to, address.sockaddr(), address.size());
  *size = address.size();
}

}  // namespace

int SimOs::SocketOpen(int family, int type) {
  simulation_.Called(false);
  if (type != SOCK_STREAM) return -EPROTONOSUPPORT;
  return static_cast<int>(Done("socket", -1, OpenOrFail(std::make_shared<Socket>(family))));
}

// --- Where a socket is.

bool SimOs::IsLocal(const Address& address) const {
  const std::string host = HostOf(address);
  return IsAny(host) || IsLoopback(host) ||
         std::ranges::any_of(addresses_, [&](const auto& own) { return HostOf(*own) == host; });
}

// True: the address is in use, or a wildcard at the same port covers it, or it covers one in use.
bool SimOs::Taken(const Address& address) const {
  const std::string port = absl::StrCat(":", address.port());
  const std::string own = HostOf(address);
  return std::ranges::any_of(bound_, [&](const auto& entry) {
    const std::string& other = entry.first;
    const size_t colon = other.rfind(':');
    if (other.substr(colon) != port || other.rfind("unix:", 0) == 0) return false;
    const std::string host = other.substr(0, colon);
    const bool same_family = (host[0] == '[') == (own[0] == '[');
    return host == own || (same_family && (IsAny(host) || IsAny(own)));
  });
}

int SimOs::Bind(int fd, const sockaddr* address, socklen_t size) {
  simulation_.Called(false);
  if (Find<Socket>(fd) == nullptr) return -EBADF;
  const auto parsed = Address::FromSockaddr(address, size);
  if (!parsed.ok()) return -EINVAL;
  SocketName name{std::make_shared<const Address>(*parsed), parsed->port()};
  if (parsed->family() == AF_UNIX) {
    const std::string text = parsed->ToString();
    const bool is_path = parsed->IsUnixPath();
    if (is_path ? paths_.contains(text) : bound_.contains(text)) {
      return static_cast<int>(Done("bind", fd, -EADDRINUSE));
    }
    if (is_path) {
      paths_[text] = {next_inode_++, files_[fd]};
      names_.emplace(files_[fd].get(), std::move(name));
      return static_cast<int>(Done("bind", fd, 0));
    }
  } else {
    if (!IsLocal(*parsed)) return static_cast<int>(Done("bind", fd, -EADDRNOTAVAIL));
    for (int tries = 0; parsed->port() == 0 && tries <= kLastPort - kFirstPort; ++tries) {
      name.port = next_port_++;
      if (next_port_ > kLastPort) next_port_ = kFirstPort;
      if (!Taken(name.Whole())) break;
    }
    if (Taken(name.Whole())) return static_cast<int>(Done("bind", fd, -EADDRINUSE));
  }
  bound_[name.Whole().ToString()] = files_[fd];
  names_.emplace(files_[fd].get(), std::move(name));
  return static_cast<int>(Done("bind", fd, 0));
}

int SimOs::Listen(int fd, int backlog) {
  simulation_.Called(false);
  auto* const socket = Find<Socket>(fd);
  if (socket == nullptr) return -EINVAL;
  const auto named = names_.find(socket);
  if (named == names_.end()) return -EINVAL;
  auto listener = std::make_shared<Listener>();
  listener->machine = this;
  listener->name = named->second;
  listener->options = socket->options;
  listener->backlog = backlog;
  Replace(fd, std::move(listener));
  return static_cast<int>(Done("listen", fd, 0));
}

std::shared_ptr<Listener> SimOs::ListenerAt(const std::string& address) {
  std::shared_ptr<File> file;
  if (const auto path = paths_.find(address); path != paths_.end()) {
    file = path->second.socket.lock();
  } else if (const auto found = bound_.find(address); found != bound_.end()) {
    file = found->second.lock();
  }
  const auto listener = std::dynamic_pointer_cast<Listener>(file);
  return listener == nullptr || listener->shut ? nullptr : listener;
}

SocketName SimOs::NameOf(int fd, int side) {
  if (auto* const stream = dynamic_cast<Stream*>(files_[fd].get()); stream != nullptr) {
    return stream->link().names[side == 0 ? stream->side() : 1 - stream->side()];
  }
  const auto named = names_.find(files_[fd].get());
  return side != 0 || named == names_.end() ? SocketName() : named->second;
}

int SimOs::LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) {
  if (Find<File>(fd) == nullptr) return -EBADF;
  CopyAddress(NameOf(fd, 0).Whole(), address, size);
  return 0;
}

int SimOs::PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) {
  if (Find<File>(fd) == nullptr) return -EBADF;
  if (dynamic_cast<Stream*>(files_[fd].get()) == nullptr) return -ENOTCONN;
  CopyAddress(NameOf(fd, 1).Whole(), address, size);
  return 0;
}

// --- Files of UNIX sockets.

int SimOs::SocketFile(const std::string& path, FileId* file) {
  simulation_.Called(false);
  const auto found = paths_.find("unix:" + path);
  if (found == paths_.end()) return -ENOENT;
  *file = {1, found->second.inode};
  return 0;
}

int SimOs::Unlink(const std::string& path, const FileId& file) {
  simulation_.Called(false);
  const auto found = paths_.find("unix:" + path);
  if (found == paths_.end()) return static_cast<int>(Done("unlink", -1, -ENOENT));
  if (found->second.inode != file.inode) return static_cast<int>(Done("unlink", -1, -ESTALE));
  // Linux checks and unlinks in two calls: the file that has the name by then is removed.
  simulation_.Called(/*may_switch=*/true);
  return static_cast<int>(Done("unlink", -1, paths_.erase("unix:" + path) > 0 ? 0 : -ENOENT));
}

int SimOs::SetFileMode(const std::string& path, int) {
  FileId file;
  return SocketFile(path, &file);
}

int SimOs::LockFolderOf(const std::string&) {
  simulation_.Called(false);
  if (folder_locked_) return static_cast<int>(Done("flock", -1, -EWOULDBLOCK));
  const int fd = Open(std::make_shared<WakeFile>());
  folder_locked_ = fd >= 0;
  return static_cast<int>(Done("flock", -1, fd));
}

int SimOs::UnlockFolder(int fd) {
  folder_locked_ = false;
  return Close(fd);
}

// The name is looked up when the answer is given, not when it is asked.
int SimOs::Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) {
  simulation_.Called(/*may_switch=*/true);
  Random& random = simulation_.random();
  if (!plugged_ || random.Chance(simulation_.faults.lost_lookup)) {
    simulation_.Sleep(kLookUpTimeout);
    return static_cast<int>(Done("resolve", -1, -EAGAIN, host));
  }
  const int64_t way_ns =
      random.Between(simulation_.faults.delay_ns_min, simulation_.faults.delay_ns_max);
  simulation_.Sleep(absl::Nanoseconds(2 * way_ns) + simulation_.network().LookUpTime());
  const std::vector<Address>* const known = simulation_.network().HostNamed(host);
  if (known == nullptr) return static_cast<int>(Done("resolve", -1, -ENOENT, host));
  for (const Address& address : *known) {
    socklen_t size;
    CopyAddress(address, &addresses->emplace_back(), &size);
  }
  return static_cast<int>(Done("resolve", -1, 0, host));
}

// --- Connections.

// The address that a connection leaves from. Ports go round: Linux tells connections apart by both
// whole addresses, the simulation by the Link itself.
SocketName SimOs::SourceFor(const Address& to) {
  const std::string host = HostOf(to);
  SocketName name;
  if (to.family() == AF_UNIX) return name;
  if (host.rfind("127.", 0) == 0 || host == "[::1]") {
    name.base = std::make_shared<const Address>(*Address::Parse(host + ":0"));
  } else {
    name.base = addresses_[to.family() == AF_INET ? 0 : 1];
  }
  name.port = next_port_++;
  if (next_port_ > kLastPort) next_port_ = kFirstPort;
  return name;
}

int SimOs::Connect(int fd, const sockaddr* address, socklen_t size) {
  simulation_.Called(/*may_switch=*/true);
  auto* const socket = Find<Socket>(fd);
  if (socket == nullptr) return -EISCONN;
  const auto to = Address::FromSockaddr(address, size);
  if (!to.ok()) return -EINVAL;
  auto link = std::make_shared<Link>(simulation_, to->family() != AF_UNIX);
  const auto named = names_.find(socket);
  link->names[0] = named != names_.end() ? named->second : SourceFor(*to);
  auto stream = std::make_shared<Stream>(link, 0, socket->options);
  const int result = simulation_.network().Begin(link, *this, *to);
  if (result == 0 || result == -EINPROGRESS) {
    Replace(fd, std::move(stream));
    if (Worker::Current() != nullptr) ++traffic_.opened;
  }
  return static_cast<int>(Done("connect", fd, result));
}

int SimOs::Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) {
  simulation_.Called(/*may_switch=*/true);
  auto* const listener = Find<Listener>(fd);
  if (listener == nullptr) return -EINVAL;
  if (listener->queue.empty()) return static_cast<int>(Done("accept", fd, -EAGAIN));
  const std::shared_ptr<Link> link = listener->queue.front();
  auto stream = std::make_shared<Stream>(link, 1, listener->options);
  const int accepted = OpenOrFail(stream);
  if (accepted >= 0) {
    listener->queue.pop_front();
    if (Worker::Current() != nullptr) ++traffic_.opened;
    CopyAddress(link->names[0].Whole(), peer, peer_size);
  }
  return static_cast<int>(Done("accept", fd, accepted));
}

int64_t SimOs::Receive(int fd, void* data, size_t size) {
  simulation_.Called(/*may_switch=*/true);
  auto* const stream = Find<Stream>(fd);
  if (stream == nullptr) return -ENOTCONN;
  const int64_t count = stream->link().Receive(stream->side(), static_cast<char*>(data), size);
  if (Worker::Current() != nullptr) traffic_.bytes_received += std::max<int64_t>(count, 0);
  return Done("receive", fd, count,
              {static_cast<const char*>(data), static_cast<size_t>(std::max<int64_t>(count, 0))});
}

int64_t SimOs::Send(int fd, const iovec* parts, int count) {
  simulation_.Called(/*may_switch=*/true);
  auto* const stream = Find<Stream>(fd);
  if (stream == nullptr) return -ENOTCONN;
  const int64_t sent = stream->link().Send(stream->side(), parts, count);
  if (Worker::Current() != nullptr) traffic_.bytes_sent += std::max<int64_t>(sent, 0);
  const size_t first = count == 0 ? 0 : std::min<size_t>(parts[0].iov_len, sent > 0 ? sent : 0);
  return Done("send", fd, sent,
              first > 0 ? std::string_view(static_cast<const char*>(parts[0].iov_base), first)
                        : std::string_view());
}

int SimOs::ShutdownWrite(int fd) {
  simulation_.Called(false);
  auto* const stream = Find<Stream>(fd);
  if (stream == nullptr) return -ENOTCONN;
  return static_cast<int>(Done("shutdown", fd, stream->link().ShutdownWrite(stream->side())));
}

int SimOs::ShutdownBoth(int fd) {
  simulation_.Called(false);
  File* const file = Find<File>(fd);
  if (auto* const listener = dynamic_cast<Listener*>(file); listener != nullptr) {
    listener->shut = true;
    listener->Closed();
    return static_cast<int>(Done("shutdown", fd, 0));
  }
  auto* const stream = dynamic_cast<Stream*>(file);
  if (stream == nullptr) return -ENOTCONN;
  return static_cast<int>(Done("shutdown", fd, stream->link().ShutdownBoth(stream->side())));
}

int SimOs::Reset(int fd) {
  simulation_.Called(false);
  auto* const stream = Find<Stream>(fd);
  if (stream == nullptr) return 0;  // There is no connection to reset.
  stream->link().Close(stream->side(), /*at_once=*/true);
  return static_cast<int>(Done("reset", fd, 0));
}

int64_t SimOs::UnacknowledgedBytes(int fd) {
  simulation_.Called(false);
  auto* const stream = Find<Stream>(fd);
  return stream == nullptr ? -ENOTCONN : stream->link().Unacknowledged(stream->side());
}

void SimOs::SetPlugged(bool plugged) {
  plugged_ = plugged;
  if (plugged) return;
  for (const auto& file : files_) {
    if (auto* const stream = dynamic_cast<Stream*>(file.get()); stream != nullptr) {
      if (stream->link().tcp()) stream->link().Vanish();
    }
  }
}

void SimOs::SetCut(bool cut) {
  for (const auto& file : files_) {
    auto* const stream = dynamic_cast<Stream*>(file.get());
    if (stream == nullptr || !stream->link().tcp()) continue;
    cut ? stream->link().Cut() : stream->link().Mend();
  }
}

// --- Options.

SocketOptions* SimOs::OptionsOf(int fd) {
  File* const file = Find<File>(fd);
  if (auto* const stream = dynamic_cast<Stream*>(file); stream != nullptr) return &stream->options;
  if (auto* const socket = dynamic_cast<Socket*>(file); socket != nullptr) return &socket->options;
  auto* const listener = dynamic_cast<Listener*>(file);
  return listener != nullptr ? &listener->options : nullptr;
}

int SimOs::OptionSet(int fd, int level, int name, const void* value, socklen_t size) {
  SocketOptions* const options = OptionsOf(fd);
  if (options == nullptr) return -ENOTSOCK;
  int number = 0;
  std::memcpy(&number, value, std::min<size_t>(size, sizeof(number)));
  if (level == SOL_SOCKET && name == SO_LINGER) {
    linger at;
    std::memcpy(&at, value, sizeof(at));
    options->linger_at_once = at.l_onoff != 0 && at.l_linger == 0;
  } else if (level == SOL_SOCKET) {
    if (name == SO_KEEPALIVE) options->keepalive = number != 0;
    if (name == SO_SNDBUF) options->send_bytes = std::max(2 * number, 4'608);  // SOCK_MIN_SNDBUF.
    if (name == SO_RCVBUF) options->receive_bytes = std::max(2 * number, 2'304);
  } else if (level == IPPROTO_TCP) {
    if (name == TCP_KEEPIDLE) options->keepalive_idle_s = number;
    if (name == TCP_KEEPINTVL) options->keepalive_interval_s = number;
    if (name == TCP_KEEPCNT) options->keepalive_count = number;
    if (name == TCP_USER_TIMEOUT) options->user_timeout_ms = number;
    if (name == kTcpRtoLimit) {
      if (old_kernel) return -ENOPROTOOPT;
      options->retransmit_ms_max = number;
    }
  } else if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    options->ip6_only = number != 0;
  }
  return 0;
}

int SimOs::OptionGet(int fd, int level, int name, void* value, socklen_t* size) {
  const SocketOptions* const options = OptionsOf(fd);
  if (options == nullptr) return -ENOTSOCK;
  auto* const stream = dynamic_cast<Stream*>(files_[fd].get());
  if (level == IPPROTO_TCP && name == TCP_INFO) {
    if (stream == nullptr) return -EINVAL;
    tcp_info info{};
    const int64_t silent_ms = stream->link().SilentNs(stream->side()) / 1'000'000;
    info.tcpi_last_ack_recv = info.tcpi_last_data_recv = static_cast<uint32_t>(silent_ms);
    info.tcpi_rtt = static_cast<uint32_t>(stream->link().RoundTripNs() / 1'000);
    info.tcpi_rttvar = static_cast<uint32_t>(stream->link().RoundTripOffNs() / 1'000);
    info.tcpi_unacked = stream->link().Unacknowledged(stream->side()) > 0 ? 1 : 0;
    if (silent_ms > 0 && info.tcpi_unacked > 0) {
      const Link::Asking asking = stream->link().AskingNow(stream->side());
      if (stream->link().WindowClosed(stream->side())) {
        info.tcpi_unacked = 0;
        info.tcpi_probes = static_cast<uint8_t>(std::min(asking.times_unheard, 255));
      } else {
        info.tcpi_retransmits = static_cast<uint8_t>(std::min(asking.times, 255));
        info.tcpi_rto = static_cast<uint32_t>(asking.wait_ns / 1'000);
        info.tcpi_last_data_sent =
            static_cast<uint32_t>((simulation_.NowNs() - asking.last_ns) / 1'000'000);
      }
    }
    // A program may know fewer fields than the kernel (<netinet/tcp.h> does).
    *size = std::min<socklen_t>(*size, sizeof(info));
    std::memcpy(value, &info, *size);
    return 0;
  }
  int number = 0;
  if (level == SOL_SOCKET && name == SO_ERROR && stream != nullptr) {
    number = stream->link().TakeError(stream->side());
  }
  if (level == SOL_SOCKET && name == SO_KEEPALIVE) number = options->keepalive ? 1 : 0;
  std::memcpy(value, &number, std::min<size_t>(*size, sizeof(number)));
  *size = sizeof(number);
  return static_cast<int>(Done("option", fd, number)) - number;
}

}  // namespace sluice::sim
