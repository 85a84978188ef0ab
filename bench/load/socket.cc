#include "sluice/bench/load/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/listen.h"

namespace sluice::bench {

Socket::Socket(const std::string& address, int receive_buffer_bytes)
    : Socket(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer_bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  }
  const size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    Die("connect " + address + ": " + std::strerror(errno));
  }
  fcntl(fd_, F_SETFL, O_NONBLOCK);
}

Socket::Socket(int fd) : fd_(fd) {
  const linger reset = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

size_t Socket::Send(std::string_view bytes) {
  const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) Die(std::string("send: ") + std::strerror(errno));
  return n < 0 ? 0 : static_cast<size_t>(n);
}

size_t Socket::Receive(char* bytes, size_t length) {
  const ssize_t n = recv(fd_, bytes, length, 0);
  if (n == 0) Die("recv: the server ended the connection");
  if (n < 0 && errno != EAGAIN) Die(std::string("recv: ") + std::strerror(errno));
  return n < 0 ? 0 : static_cast<size_t>(n);
}

bool Socket::WaitReadable(int timeout_milliseconds) {
  pollfd entry = {fd_, POLLIN, 0};
  return poll(&entry, 1, timeout_milliseconds) > 0;
}

void Socket::SendAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t n = Send(bytes);
    bytes.remove_prefix(n);
    pollfd entry = {fd_, POLLOUT, 0};
    if (n == 0) poll(&entry, 1, -1);
  }
}

void Socket::ReceiveAll(char* bytes, size_t length) {
  while (length > 0) {
    const size_t n = Receive(bytes, length);
    bytes += n;
    length -= n;
    if (n == 0) WaitReadable(-1);
  }
}

Listener::Listener() : fd_(ListenOnLoopback(&address_)) {
  if (fd_ < 0) Die("the bench's own server cannot listen");
}

Listener::~Listener() { close(fd_); }

Socket Listener::Accept() {
  constexpr int kPatienceMilliseconds = 10'000;
  pollfd entry = {fd_, POLLIN, 0};
  poll(&entry, 1, kPatienceMilliseconds);
  const int fd = AcceptNext(fd_);
  if (fd < 0) Die("nobody has connected to the bench's own server");
  return Socket(fd);
}

int DescriptorsUpTo(int wanted) {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit before = limit;
  const auto count = static_cast<rlim_t>(wanted);
  if (limit.rlim_cur >= count) return wanted;
  limit.rlim_cur = count;
  if (limit.rlim_max < count) limit.rlim_max = count;  // Only root may.
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return wanted;
  limit = {before.rlim_max, before.rlim_max};
  return static_cast<int>(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before.rlim_cur);
}

void NeedDescriptors(int count) {
  if (DescriptorsUpTo(count) < count) {
    Die("this needs " + std::to_string(count) + " descriptors: raise ulimit -n");
  }
}

}  // namespace sluice::bench
