#include "sluice/tests/e2e/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <utility>

namespace sluice::e2e {
namespace {

constexpr size_t kPatternPeriod = 1'048'573;  // A prime: no buffer size divides it.
constexpr size_t kChunk = 64 * 1024;

const std::string& PatternPeriod() {
  static const std::string period = [] {
    std::string bytes(kPatternPeriod, '\0');
    uint64_t state = 0x9E3779B97F4A7C15;
    for (char& byte : bytes) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      byte = static_cast<char>(state >> 56);
    }
    return bytes;
  }();
  return period;
}

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t length = 0;
};

SocketAddress ParseUnix(std::string_view name) {
  SocketAddress result;
  auto* address = reinterpret_cast<sockaddr_un*>(&result.storage);
  address->sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address->sun_path);
  if (name.front() == '@') address->sun_path[0] = '\0';
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return result;
}

SocketAddress Parse(const std::string& text) {
  if (text.rfind("unix:", 0) == 0) return ParseUnix(std::string_view(text).substr(5));
  SocketAddress result;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return result;
  const auto port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + colon + 1)));
  if (text.front() == '[') {
    auto* address = reinterpret_cast<sockaddr_in6*>(&result.storage);
    address->sin6_family = AF_INET6;
    address->sin6_port = port;
    inet_pton(AF_INET6, text.substr(1, colon - 2).c_str(), &address->sin6_addr);
    result.length = sizeof *address;
  } else {
    auto* address = reinterpret_cast<sockaddr_in*>(&result.storage);
    address->sin_family = AF_INET;
    address->sin_port = port;
    inet_pton(AF_INET, text.substr(0, colon).c_str(), &address->sin_addr);
    result.length = sizeof *address;
  }
  return result;
}

bool WaitReady(int fd, short events, const Deadline& deadline) {
  pollfd entry = {fd, events, 0};
  for (;;) {
    const int ready = poll(&entry, 1, deadline.LeftMilliseconds());
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Returns 0, or the errno of the failure.
int Connect(int fd, const SocketAddress& to) {
  const Deadline deadline;
  while (connect(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.length) != 0) {
    if (errno == EINPROGRESS) {
      if (!WaitReady(fd, POLLOUT, deadline)) return ETIMEDOUT;
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      return error;
    }
    if (errno != EAGAIN) return errno;
    // connect() to a UNIX socket with a full backlog fails with EAGAIN, and no event follows.
    if (deadline.Over()) return ETIMEDOUT;
    poll(nullptr, 0, 1);
  }
  return 0;
}

}  // namespace

std::string Pattern(size_t offset, size_t length) {
  const std::string& period = PatternPeriod();
  std::string bytes;
  bytes.reserve(length);
  while (bytes.size() < length) {
    bytes.append(period, (offset + bytes.size()) % kPatternPeriod, length - bytes.size());
  }
  return bytes;
}

testing::AssertionResult SameBytes(std::string_view expected, std::string_view actual) {
  if (expected == actual) return testing::AssertionSuccess();
  const size_t common = std::min(expected.size(), actual.size());
  const auto [at, ignored] = std::mismatch(
      expected.begin(), expected.begin() + static_cast<ptrdiff_t>(common), actual.begin());
  return testing::AssertionFailure()
         << "expected " << expected.size() << " bytes and got " << actual.size()
         << "; the first difference is at " << at - expected.begin();
}

std::ostream& operator<<(std::ostream& out, End end) {
  constexpr const char* kNames[] = {"open", "eof", "reset", "timeout"};
  return out << kNames[static_cast<int>(end)];
}

Client::Client(const std::string& address, const ClientOptions& options) {
  const SocketAddress to = Parse(address);
  if (to.length == 0) {
    connect_errno_ = EINVAL;
    return;
  }
  fd_ = socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (options.receive_buffer_bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes, sizeof(int));
  }
  const int on = 1;  // A UNIX socket refuses the option, which is fine.
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connect_errno_ = Connect(fd_, to);
  if (connect_errno_ != 0) Close();
}

Client Client::OfDescriptor(int fd) {
  Client client;
  client.fd_ = fd;
  return client;
}

Client::~Client() { Close(); }

Client::Client(Client&& other) noexcept { *this = std::move(other); }

Client& Client::operator=(Client&& other) noexcept {
  std::swap(fd_, other.fd_);
  connect_errno_ = other.connect_errno_;
  end_ = other.end_;
  buffer_.swap(other.buffer_);
  std::swap(taken_, other.taken_);
  pattern_sent_ = other.pattern_sent_;
  pattern_received_ = other.pattern_received_;
  return *this;
}

bool Client::Send(std::string_view bytes) {
  const Deadline deadline;
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno != EAGAIN || !WaitReady(fd_, POLLOUT, deadline)) {
      return false;
    }
  }
  return true;
}

bool Client::SendUrgent(char byte) { return send(fd_, &byte, 1, MSG_OOB | MSG_NOSIGNAL) == 1; }

void Client::ShutdownWrite() { shutdown(fd_, SHUT_WR); }

void Client::Reset() {
  const linger now = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

void Client::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

bool Client::Fill(const Deadline& deadline) {
  if (taken_ > 0 && taken_ >= buffer_.size() / 2) {
    buffer_.erase(0, taken_);
    taken_ = 0;
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kChunk);
  for (;;) {
    const ssize_t n = recv(fd_, buffer_.data() + before, kChunk, 0);
    buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n > 0) {
      end_ = End::kOpen;
      return true;
    }
    if (n == 0) {
      end_ = End::kEof;
    } else if (errno != EAGAIN) {
      end_ = End::kReset;
    } else if (WaitReady(fd_, POLLIN, deadline)) {
      buffer_.resize(before + kChunk);
      continue;
    } else {
      end_ = End::kTimeout;
    }
    return false;
  }
}

std::string Client::Take(size_t length) {
  std::string bytes = buffer_.substr(taken_, length);
  taken_ += bytes.size();
  return bytes;
}

std::string Client::ReadLine(const Deadline& deadline) {
  for (size_t searched = 0;;) {
    const size_t at = buffer_.find('\n', taken_ + searched);
    if (at != std::string::npos) {
      std::string line = Take(at + 1 - taken_);
      line.pop_back();
      return line;
    }
    searched = Buffered();
    if (Fill(deadline)) continue;
    return end_ == End::kEof ? "<eof>" : end_ == End::kReset ? "<reset>" : "<timeout>";
  }
}

std::string Client::ReadExactly(size_t length) {
  const Deadline deadline;
  while (Buffered() < length && Fill(deadline)) {
  }
  return Take(length);
}

std::string Client::ReadUntilEof() {
  const Deadline deadline;
  while (Fill(deadline)) {
  }
  return Take(Buffered());
}

bool Client::Readable() {
  return Buffered() > 0 || WaitReady(fd_, POLLIN, Deadline(absl::ZeroDuration()));
}

bool Client::SendPattern(size_t length) {
  const bool sent = Send(Pattern(pattern_sent_, length));
  pattern_sent_ += length;
  return sent;
}

size_t Client::SendUntilStopped(std::string_view bytes, absl::Duration quiet) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno != EAGAIN || !WaitReady(fd_, POLLOUT, Deadline(quiet))) {
      break;
    }
  }
  return sent;
}

size_t Client::SendPatternUntilStopped(size_t length_max, absl::Duration quiet) {
  const size_t before = pattern_sent_;
  for (;;) {
    const size_t piece = std::min(kChunk, before + length_max - pattern_sent_);
    const size_t sent = SendUntilStopped(Pattern(pattern_sent_, piece), quiet);
    pattern_sent_ += sent;
    if (sent < piece || piece == 0) return pattern_sent_ - before;
  }
}

testing::AssertionResult Client::ReadPattern(size_t length) {
  const size_t last = pattern_received_ + length;
  while (pattern_received_ < last) {
    const size_t piece = std::min(size_t{1} << 20, last - pattern_received_);
    const auto same = SameBytes(Pattern(pattern_received_, piece), ReadExactly(piece));
    if (!same) {
      return testing::AssertionFailure() << same.message() << " after " << pattern_received_
                                         << " good bytes; the stream is " << end_;
    }
    pattern_received_ += piece;
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult Client::EchoPattern(size_t length) {
  if (!connected()) return testing::AssertionFailure() << "it is not connected";
  const Deadline deadline;
  const std::string bytes = Pattern(pattern_sent_, length);
  size_t sent = 0;
  while (Buffered() < length) {
    pollfd entry = {fd_, static_cast<short>(sent < length ? POLLIN | POLLOUT : POLLIN), 0};
    if (poll(&entry, 1, deadline.LeftMilliseconds()) <= 0) break;
    if ((entry.revents & POLLOUT) != 0) {
      const ssize_t n = send(fd_, bytes.data() + sent, length - sent, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) break;
      sent += static_cast<size_t>(std::max<ssize_t>(n, 0));
    }
    if ((entry.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !Fill(deadline)) break;
  }
  pattern_sent_ += sent;
  return ReadPattern(length);
}

size_t Client::UnacknowledgedBytes() const {
  int bytes = 0;
  ioctl(fd_, SIOCOUTQ, &bytes);
  return static_cast<size_t>(bytes);
}

bool Client::WaitUntilArrived() {
  return WaitFor([this] { return UnacknowledgedBytes() == 0; });
}

testing::AssertionResult Echoes(Client& client, std::string_view text) {
  if (!client.Send(text)) return testing::AssertionFailure() << "could not send";
  const std::string answer = client.ReadExactly(text.size());
  if (answer == text) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "sent \"" << text << "\" and got \"" << answer << "\"; the stream is " << client.end();
}

}  // namespace sluice::e2e
