// The yardstick: an echo server written by hand for speed. One thread, one epoll, two system calls
// a message and a share of an epoll_wait. Level-triggered: after a short read no second read has to
// find the socket empty. A fair yardstick loses no byte: it keeps bytes that the kernel does not
// take, and does not read such a connection meanwhile.
//
//   echo                 listens on 127.0.0.1, port picked, printed as the examples do
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "sluice/bench/load/listen.h"

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;
constexpr size_t kBufferBytes = 32 * 1024;

class BareEcho {
 public:
  explicit BareEcho(int listener) : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener) {
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
        } else if ((events[i].events & EPOLLOUT) != 0) {
          WriteRest(fd);
        } else {
          Echo(fd);
        }
      }
    }
  }

 private:
  void Accept() {
    for (int fd; (fd = AcceptNext(listener_)) >= 0;) Watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN);
  }

  void Echo(int fd) {
    const ssize_t received = recv(fd, buffer_, sizeof buffer_, 0);
    if (received <= 0) {
      if (received == 0 || errno != EAGAIN) close(fd);
      return;
    }
    const ssize_t sent = send(fd, buffer_, static_cast<size_t>(received), MSG_NOSIGNAL);
    if (sent == received) return;
    if (sent < 0 && errno != EAGAIN) {
      close(fd);
      return;
    }
    const ssize_t kept = sent < 0 ? 0 : sent;
    rest_[fd].assign(buffer_ + kept, static_cast<size_t>(received - kept));
    Watch(epoll_, EPOLL_CTL_MOD, fd, EPOLLOUT);
  }

  void WriteRest(int fd) {
    std::string& rest = rest_[fd];
    const ssize_t sent = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent >= 0) rest.erase(0, static_cast<size_t>(sent));
    if (sent >= 0 && !rest.empty()) return;
    rest_.erase(fd);
    if (sent < 0) {
      close(fd);
    } else {
      Watch(epoll_, EPOLL_CTL_MOD, fd, EPOLLIN);
    }
  }

  const int epoll_;
  const int listener_;
  std::unordered_map<int, std::string> rest_;
  char buffer_[kBufferBytes];
};

}  // namespace
}  // namespace sluice::bench

int main() {
  static sluice::bench::BareEcho echo(sluice::bench::ListenAndAnnounce());
  echo.Run();
}
