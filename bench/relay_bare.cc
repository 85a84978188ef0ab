// The yardstick: a relay written by hand for speed. One thread, one epoll, level-triggered: a read,
// a write to the other socket, and a share of an epoll_wait for each message. A fair yardstick
// loses no byte: it keeps bytes that the kernel does not take and does not read their sender
// meanwhile, passes a half-close on behind the last byte, and on an error closes both sockets.
//
//   relay_bare 127.0.0.1:PORT      listens on 127.0.0.1, port picked, printed as the examples do
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "sluice/bench/listen.h"

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;
constexpr size_t kBufferBytes = 32 * 1024;

class BareRelay {
 public:
  BareRelay(int listener, const sockaddr_in& upstream)
      : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener), upstream_(upstream) {
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
        if (ends_[fd].other < 0) continue;  // Closed in this batch.
        if ((events[i].events & EPOLLOUT) != 0) WriteRest(fd);
        if ((events[i].events & ~EPOLLOUT) != 0 && ends_[fd].other >= 0) Copy(fd);
      }
    }
  }

 private:
  struct End {
    int other = -1;    // -1: no such connection.
    std::string rest;  // Bytes that this socket has not taken yet.
    bool connecting = false;
    bool ended = false;  // This socket's FIN was read.
  };

  // Reads from `fd` if the other socket has taken all bytes; waits for room if `fd` has not.
  void Rewatch(int fd) {
    const End& end = ends_[fd];
    const bool read = !end.ended && !end.connecting && !ends_[end.other].connecting &&
                      ends_[end.other].rest.empty();
    const bool write = end.connecting || !end.rest.empty();
    Watch(epoll_, EPOLL_CTL_MOD, fd, (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u));
  }

  void Accept() {
    for (int fd; (fd = AcceptNext(listener_)) >= 0;) {
      const int on = 1;
      const int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (out < 0 ||
          (connect(out, reinterpret_cast<const sockaddr*>(&upstream_), sizeof upstream_) != 0 &&
           errno != EINPROGRESS)) {
        close(fd);
        if (out >= 0) close(out);
        continue;
      }
      if (ends_.size() <= static_cast<size_t>(out)) ends_.resize(static_cast<size_t>(out) + 1);
      if (ends_.size() <= static_cast<size_t>(fd)) ends_.resize(static_cast<size_t>(fd) + 1);
      ends_[fd] = End{out, {}, false, false};
      ends_[out] = End{fd, {}, true, false};
      Watch(epoll_, EPOLL_CTL_ADD, fd, 0);
      Watch(epoll_, EPOLL_CTL_ADD, out, EPOLLOUT);
    }
  }

  void Copy(int fd) {
    const int other = ends_[fd].other;
    const ssize_t received = recv(fd, buffer_, sizeof buffer_, 0);
    if (received < 0) {
      if (errno != EAGAIN) Close(fd);
      return;
    }
    if (received == 0) {
      ends_[fd].ended = true;
      shutdown(other, SHUT_WR);  // No bytes wait for `other`: else `fd` would not have been read.
      ends_[other].ended ? Close(fd) : Rewatch(fd);
      return;
    }
    const ssize_t sent = send(other, buffer_, static_cast<size_t>(received), MSG_NOSIGNAL);
    if (sent == received) return;
    if (sent < 0 && errno != EAGAIN) {
      Close(fd);
      return;
    }
    const ssize_t taken = sent < 0 ? 0 : sent;
    ends_[other].rest.assign(buffer_ + taken, static_cast<size_t>(received - taken));
    Rewatch(fd);
    Rewatch(other);
  }

  void WriteRest(int fd) {
    End& end = ends_[fd];
    end.connecting = false;
    if (!end.rest.empty()) {
      const ssize_t sent = send(fd, end.rest.data(), end.rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) {
        Close(fd);
        return;
      }
      if (sent > 0) end.rest.erase(0, static_cast<size_t>(sent));
      if (!end.rest.empty()) return;
    }
    Rewatch(fd);
    Rewatch(end.other);
  }

  void Close(int fd) {
    const int other = ends_[fd].other;
    for (const int end : {fd, other}) {
      ends_[end] = End();
      close(end);
    }
  }

  const int epoll_;
  const int listener_;
  const sockaddr_in upstream_;
  std::vector<End> ends_;  // By descriptor.
  char buffer_[kBufferBytes];
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  const char* const colon = argc == 2 ? std::strrchr(argv[1], ':') : nullptr;
  sockaddr_in upstream = {};
  upstream.sin_family = AF_INET;
  if (colon == nullptr ||
      inet_pton(AF_INET, std::string(argv[1], static_cast<size_t>(colon - argv[1])).c_str(),
                &upstream.sin_addr) != 1) {
    std::fprintf(stderr, "usage: relay_bare 127.0.0.1:PORT\n");
    return 1;
  }
  upstream.sin_port = htons(static_cast<uint16_t>(std::atoi(colon + 1)));
  static BareRelay relay(ListenAndAnnounce(), upstream);
  relay.Run();
}
