// The limit of the fan-out: one thread, one epoll, level-triggered. All messages that one read
// brought go to each subscriber in one write. The protocol is that of bench/servers/fan_out.cc.
// Bytes that a subscriber does not take are kept, and no publisher is read while one has more than
// 1 MiB.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/load/listen.h"

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;
constexpr size_t kFrameBytes = 64;
constexpr size_t kRestBytesMax = 1 << 20;

class BareFanOut {
 public:
  explicit BareFanOut(int listener) : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener) {
    Watch(epoll_, EPOLL_CTL_ADD, listener, EPOLLIN);
  }

  [[noreturn]] void Run() {
    epoll_event events[kEventsMax];
    for (;;) {
      const int count = epoll_wait(epoll_, events, kEventsMax, -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) {
          Accept();
          continue;
        }
        if ((events[i].events & EPOLLOUT) != 0) WriteRest(fd);
        if ((events[i].events & ~EPOLLOUT) != 0 && connections_[fd].open) Read(fd);
      }
    }
  }

 private:
  struct Connection {
    bool open = false;
    bool subscribed = false;
    std::string in;    // A frame of which not all bytes are here.
    std::string rest;  // Bytes that the socket has not taken.
  };

  void Accept() {
    for (int fd; (fd = AcceptNext(listener_)) >= 0;) {
      if (connections_.size() <= static_cast<size_t>(fd)) {
        connections_.resize(static_cast<size_t>(fd) + 1);
      }
      connections_[fd].open = true;
      Rewatch(fd, EPOLL_CTL_ADD);
    }
  }

  // While a subscriber has much to take, nothing is read.
  void Rewatch(int fd, int operation = EPOLL_CTL_MOD) {
    Watch(epoll_, operation, fd,
          (full_ > 0 ? 0u : EPOLLIN) | (connections_[fd].rest.empty() ? 0u : EPOLLOUT));
  }
  void CountFull(int change) {
    const bool was_full = full_ > 0;
    full_ += change;
    if (was_full == (full_ > 0)) return;
    for (size_t fd = 0; fd < connections_.size(); ++fd) {
      if (connections_[fd].open) Rewatch(static_cast<int>(fd));
    }
  }

  void Read(int fd) {
    const ssize_t received = recv(fd, buffer_, sizeof buffer_, 0);
    if (received <= 0) {
      if (received == 0 || errno != EAGAIN) Close(fd);
      return;
    }
    std::string& kept = connections_[fd].in;
    std::string_view in(buffer_, static_cast<size_t>(received));
    if (!kept.empty()) in = kept.append(in);
    while (in.size() >= kFrameBytes) {
      size_t published = 0;
      while (in.size() - published >= kFrameBytes && in[published] != 'S') published += kFrameBytes;
      const std::string_view frames = in.substr(0, published > 0 ? published : kFrameBytes);
      if (published == 0) Subscribe(fd, frames);
      for (size_t i = published > 0 ? subscribers_.size() : 0; i-- > 0;) {
        Send(subscribers_[i], frames);
      }
      if (!connections_[fd].open) return;
      in.remove_prefix(frames.size());
    }
    kept = std::string(in);
  }

  void Subscribe(int fd, std::string_view frame) {
    connections_[fd].subscribed = true;
    subscribers_.push_back(fd);
    Send(fd, frame);
  }

  void Send(int fd, std::string_view bytes) {
    std::string& rest = connections_[fd].rest;
    if (rest.empty()) {
      const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return Close(fd);
      bytes.remove_prefix(static_cast<size_t>(sent < 0 ? 0 : sent));
    }
    if (bytes.empty()) return;
    const bool had_rest = !rest.empty();
    const bool was_full = rest.size() > kRestBytesMax;
    rest += bytes;
    if (!had_rest) Rewatch(fd);
    if (!was_full && rest.size() > kRestBytesMax) CountFull(1);
  }

  void WriteRest(int fd) {
    std::string& rest = connections_[fd].rest;
    const bool was_full = rest.size() > kRestBytesMax;
    const ssize_t sent = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Close(fd);
    if (sent > 0) rest.erase(0, static_cast<size_t>(sent));
    if (rest.empty()) Rewatch(fd);
    if (was_full && rest.size() <= kRestBytesMax) CountFull(-1);
  }

  void Close(int fd) {
    if (connections_[fd].rest.size() > kRestBytesMax) CountFull(-1);
    if (connections_[fd].subscribed) std::erase(subscribers_, fd);
    connections_[fd] = {};
    close(fd);
  }

  const int epoll_;
  const int listener_;
  std::vector<Connection> connections_;  // By descriptor.
  std::vector<int> subscribers_;
  int full_ = 0;  // Subscribers that have more than kRestBytesMax to take.
  char buffer_[64 * 1024];
};

}  // namespace
}  // namespace sluice::bench

int main() {
  static sluice::bench::BareFanOut fan_out(sluice::bench::ListenAndAnnounce());
  fan_out.Run();
}
