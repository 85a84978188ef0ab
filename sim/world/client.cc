#include "sluice/sim/world/client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/address.h"

namespace sluice::sim {

Client::Client(Os& os, absl::Duration timeout) : os_(os), timeout_(timeout) {}

Client::~Client() { Close(); }

void Client::LimitBuffers(int send_bytes, int receive_bytes) {
  send_bytes_ = send_bytes;
  receive_bytes_ = receive_bytes;
}

int64_t Client::DeadlineNs() const { return os_.NowNs() + absl::ToInt64Nanoseconds(timeout_); }

absl::Status Client::Failed(int64_t result, std::string_view call) const {
  if (result == -ETIME)
    return absl::DeadlineExceededError(absl::StrCat(ToAbsl(call), ": no answer"));
  return absl::ErrnoToStatus(
      static_cast<int>(-result),
      absl::StrCat(ToAbsl(call), ": ", strerrorname_np(static_cast<int>(-result))));
}

// False: the deadline has passed. True: something may have changed.
bool Client::Wait(int64_t deadline_ns) {
  const int64_t left_ns = deadline_ns - os_.NowNs();
  if (left_ns <= 0) return false;
  epoll_event event;
  os_.PollerWait(poller_, &event, 1, static_cast<int>(left_ns / 1'000'000 + 1));
  return true;
}

absl::Status Client::Connect(std::string_view text) {
  const absl::StatusOr<Address> address = Address::Parse(text);
  if (!address.ok()) return address.status();
  Close();
  kept_.clear();
  fd_ = os_.SocketOpen(address->family(), SOCK_STREAM);
  if (fd_ < 0) return Failed(fd_, "socket");
  if (address->family() != AF_UNIX) {
    const int on = 1;
    os_.OptionSet(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  if (send_bytes_ > 0) os_.OptionSet(fd_, SOL_SOCKET, SO_SNDBUF, &send_bytes_, sizeof(int));
  if (receive_bytes_ > 0) os_.OptionSet(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes_, sizeof(int));
  const int64_t deadline_ns = DeadlineNs();
  poller_ = os_.PollerCreate();
  int result = poller_ < 0 ? poller_ : os_.Connect(fd_, address->sockaddr(), address->size());
  // A UNIX socket answers EAGAIN if the listener's queue is full, and no event follows: try again.
  while (result == -EAGAIN && os_.NowNs() < deadline_ns) {
    epoll_event event;
    os_.PollerWait(poller_, &event, 1, 1);
    result = os_.Connect(fd_, address->sockaddr(), address->size());
  }
  if (result == 0 || result == -EINPROGRESS) {
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    const int added = os_.PollerAdd(poller_, fd_, events, 0);
    if (added < 0) result = added;
  }
  if (result == -EINPROGRESS) {
    epoll_event event;
    const auto left_ms = static_cast<int>((deadline_ns - os_.NowNs()) / 1'000'000);
    if (os_.PollerWait(poller_, &event, 1, std::max(left_ms, 0)) == 0) {
      result = -ETIME;
    } else {
      int error = 0;
      socklen_t size = sizeof(error);
      os_.OptionGet(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      result = -error;
    }
  }
  if (result == 0) return absl::OkStatus();
  Close();
  return Failed(result, "connect");
}

absl::Status Client::Write(std::string_view bytes) {
  if (fd_ < 0) return absl::FailedPreconditionError("write: not connected");
  const int64_t deadline_ns = DeadlineNs();
  while (!bytes.empty()) {
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    const int64_t sent = os_.Send(fd_, &part, 1);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (sent != -EAGAIN) {
      return Failed(sent, "write");
    } else if (!Wait(deadline_ns)) {
      return Failed(-ETIME, "write");
    }
  }
  return absl::OkStatus();
}

size_t Client::WriteSome(std::string_view bytes) {
  if (fd_ < 0) return 0;
  const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  return static_cast<size_t>(std::max<int64_t>(0, os_.Send(fd_, &part, 1)));
}

// Waits for input, then reads it once.
absl::Status Client::Fill(int64_t deadline_ns, bool* ended) {
  if (fd_ < 0) return absl::FailedPreconditionError("read: not connected");
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    const int64_t count = os_.Receive(fd_, buffer.data(), buffer.size());
    if (count >= 0) {
      kept_.append(buffer.data(), static_cast<size_t>(count));
      *ended = count == 0;
      return absl::OkStatus();
    }
    if (count != -EAGAIN) return Failed(count, "read");
    if (!Wait(deadline_ns)) return Failed(-ETIME, "read");
  }
}

absl::StatusOr<std::string> Client::Read(size_t most) {
  bool ended = false;
  if (kept_.empty()) {
    if (absl::Status status = Fill(DeadlineNs(), &ended); !status.ok()) return status;
  }
  std::string bytes = kept_.substr(0, most);
  kept_.erase(0, bytes.size());
  return bytes;
}

absl::StatusOr<std::string> Client::ReadExactly(size_t bytes) {
  const int64_t deadline_ns = DeadlineNs();
  SLUICE_CHECK(bytes <= kKeptBytesMax);
  bool ended = false;
  while (kept_.size() < bytes) {
    if (absl::Status status = Fill(deadline_ns, &ended); !status.ok()) return status;
    if (ended) {
      return absl::OutOfRangeError(
          absl::StrCat("the peer ended its side after ", kept_.size(), " of ", bytes, " bytes"));
    }
  }
  std::string read = kept_.substr(0, bytes);
  kept_.erase(0, bytes);
  return read;
}

absl::StatusOr<std::string> Client::ReadLine() {
  const int64_t deadline_ns = DeadlineNs();
  for (;;) {
    if (const size_t end = kept_.find('\n'); end != std::string::npos) {
      std::string line = kept_.substr(0, end);
      kept_.erase(0, end + 1);
      return line;
    }
    if (kept_.size() >= kKeptBytesMax) return absl::ResourceExhaustedError("a line without end");
    bool ended = false;
    if (absl::Status status = Fill(deadline_ns, &ended); !status.ok()) return status;
    if (ended) return absl::OutOfRangeError("the peer ended its side before a line was whole");
  }
}

absl::StatusOr<std::string> Client::ReadToEnd() {
  const int64_t deadline_ns = DeadlineNs();
  for (bool ended = false; !ended;) {
    if (kept_.size() >= kKeptBytesMax) return absl::ResourceExhaustedError("more than is kept");
    if (absl::Status status = Fill(deadline_ns, &ended); !status.ok()) return status;
  }
  return std::exchange(kept_, {});
}

absl::Status Client::AwaitUnread() {
  const int64_t deadline_ns = DeadlineNs();
  for (int64_t now_ns = os_.NowNs(); now_ns < deadline_ns; now_ns = os_.NowNs()) {
    epoll_event event;
    const auto left_ms = static_cast<int>((deadline_ns - now_ns) / 1'000'000 + 1);
    if (os_.PollerWait(poller_, &event, 1, left_ms) > 0 && (event.events & EPOLLIN) != 0) {
      return absl::OkStatus();
    }
  }
  return Failed(-ETIME, "await");
}

absl::Status Client::CloseWrite() {
  if (fd_ < 0) return absl::FailedPreconditionError("close write: not connected");
  const int result = os_.ShutdownWrite(fd_);
  return result < 0 ? Failed(result, "shutdown") : absl::OkStatus();
}

void Client::Close() {
  if (fd_ >= 0) os_.Close(std::exchange(fd_, -1));
  if (poller_ >= 0) os_.Close(std::exchange(poller_, -1));
}

void Client::Reset() {
  if (fd_ < 0) return;
  const linger at_once{1, 0};
  os_.OptionSet(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Close();
}

}  // namespace sluice::sim
