// The limit of HTTP hello: one thread, one epoll, level-triggered, all answers to what one read
// brought in one write. A request is a head that begins with "GET ". Bytes that the kernel does not
// take are kept, and such a connection is not read meanwhile.
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
constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

class BareHttp {
 public:
  explicit BareHttp(int listener) : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener) {
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
          Send(fd, connections_[fd].out);
        } else {
          Serve(fd);
        }
      }
    }
  }

 private:
  struct Connection {
    std::string in;   // The beginning of a head.
    std::string out;  // Answers that the kernel has not taken.
  };

  void Accept() {
    for (int fd; (fd = AcceptNext(listener_)) >= 0;) {
      if (connections_.size() <= static_cast<size_t>(fd)) {
        connections_.resize(static_cast<size_t>(fd) + 1);
      }
      Watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void Serve(int fd) {
    const ssize_t received = recv(fd, buffer_, sizeof buffer_, 0);
    if (received <= 0) {
      if (received == 0 || errno != EAGAIN) Close(fd);
      return;
    }
    std::string& kept = connections_[fd].in;
    std::string_view in(buffer_, static_cast<size_t>(received));
    if (!kept.empty()) in = kept.append(in);
    answers_.clear();
    for (size_t end; (end = in.find("\r\n\r\n")) != in.npos; in.remove_prefix(end + 4)) {
      if (!in.starts_with("GET ")) return Close(fd);
      answers_ += kAnswer;
    }
    kept = std::string(in);
    if (!answers_.empty()) Send(fd, answers_);
  }

  void Send(int fd, std::string& bytes) {
    std::string& out = connections_[fd].out;
    const bool waited = &bytes == &out;
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Close(fd);
    if (sent > 0) bytes.erase(0, static_cast<size_t>(sent));
    if (!waited && bytes.empty()) return;
    if (!waited) out = bytes;
    if (waited && !out.empty()) return;
    Watch(epoll_, EPOLL_CTL_MOD, fd, out.empty() ? EPOLLIN : EPOLLOUT);
  }

  void Close(int fd) {
    connections_[fd] = {};
    close(fd);
  }

  const int epoll_;
  const int listener_;
  std::vector<Connection> connections_;  // By descriptor.
  std::string answers_;
  char buffer_[64 * 1024];
};

}  // namespace
}  // namespace sluice::bench

int main() {
  static sluice::bench::BareHttp http(sluice::bench::ListenAndAnnounce());
  http.Run();
}
