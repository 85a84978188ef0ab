// The limit of a relay. One thread, one epoll, level-triggered. `--how=copy` reads and writes,
// which is what a relay must do that looks at the bytes; `--how=splice` lets the kernel move its
// own pages from socket to socket, by a pipe. No byte is lost: the sender of bytes that the other
// socket does not take yet is not read meanwhile, a half-close follows the last byte, and an error
// closes both.
//
//   relay --upstream=127.0.0.1:PORT --how=copy|splice
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/listen.h"

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;
constexpr size_t kBufferBytes = 64 * 1024;
constexpr int kPipeBytes = 256 * 1024;

class BareRelay {
 public:
  BareRelay(int listener, const sockaddr_in& upstream, bool splices)
      : epoll_(epoll_create1(EPOLL_CLOEXEC)),
        listener_(listener),
        upstream_(upstream),
        splices_(splices) {
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
        if ((events[i].events & ~EPOLLOUT) != 0 && ends_[fd].other >= 0) Carry(fd);
      }
    }
  }

 private:
  struct End {
    int other = -1;          // -1: no such connection.
    std::string rest;        // Bytes that this socket has not taken yet, when copying.
    int pipe[2] = {-1, -1};  // The same, when splicing.
    ssize_t pipe_bytes = 0;
    bool connecting = false;
    bool ended = false;  // The FIN of this socket was read.
    bool Waits() const { return pipe_bytes > 0 || !rest.empty(); }
  };

  // Reads from `fd` if the other socket has taken all bytes; waits for room if `fd` has not.
  void Rewatch(int fd) {
    const End& end = ends_[fd];
    const bool read =
        !end.ended && !end.connecting && !ends_[end.other].connecting && !ends_[end.other].Waits();
    const bool write = end.connecting || end.Waits();
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
      const auto highest = static_cast<size_t>(std::max(fd, out));
      if (ends_.size() <= highest) ends_.resize(highest + 1);
      ends_[fd].other = out;
      ends_[out].other = fd;
      ends_[out].connecting = true;
      if (splices_ && !(OpenPipe(ends_[fd]) && OpenPipe(ends_[out]))) Die("no pipe");
      Watch(epoll_, EPOLL_CTL_ADD, fd, 0);
      Watch(epoll_, EPOLL_CTL_ADD, out, EPOLLOUT);
    }
  }

  static bool OpenPipe(End& end) {
    if (pipe2(end.pipe, O_NONBLOCK | O_CLOEXEC) != 0) return false;
    fcntl(end.pipe[1], F_SETPIPE_SZ, kPipeBytes);  // If that is refused, 64 KiB do.
    return true;
  }

  // Takes what `fd` has and gives it to the other socket. Each returns false on an error.
  bool Splice(int fd, End& to, int to_fd, bool& ended) {
    const ssize_t received =
        splice(fd, nullptr, to.pipe[1], nullptr, kPipeBytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (received < 0) return errno == EAGAIN;
    ended = received == 0;
    to.pipe_bytes += received;
    return Drain(to, to_fd);
  }
  bool Drain(End& to, int to_fd) {
    while (to.pipe_bytes > 0) {
      const ssize_t sent =
          splice(to.pipe[0], nullptr, to_fd, nullptr, static_cast<size_t>(to.pipe_bytes),
                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (sent < 0) return errno == EAGAIN;
      to.pipe_bytes -= sent;
    }
    return true;
  }
  bool Copy(int fd, End& to, int to_fd, bool& ended) {
    const ssize_t received = recv(fd, buffer_, sizeof buffer_, 0);
    if (received < 0) return errno == EAGAIN;
    ended = received == 0;
    if (ended) return true;
    const ssize_t sent = send(to_fd, buffer_, static_cast<size_t>(received), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    const ssize_t taken = sent < 0 ? 0 : sent;
    to.rest.assign(buffer_ + taken, static_cast<size_t>(received - taken));
    return true;
  }

  void Carry(int fd) {
    const int other = ends_[fd].other;
    bool ended = false;
    const bool good =
        splices_ ? Splice(fd, ends_[other], other, ended) : Copy(fd, ends_[other], other, ended);
    if (!good) return Close(fd);
    if (ended) {
      ends_[fd].ended = true;
      shutdown(other, SHUT_WR);  // No bytes wait for `other`: else `fd` would not have been read.
      return ends_[other].ended ? Close(fd) : Rewatch(fd);
    }
    if (!ends_[other].Waits()) return;
    Rewatch(fd);
    Rewatch(other);
  }

  void WriteRest(int fd) {
    End& end = ends_[fd];
    end.connecting = false;
    if (splices_ && !Drain(end, fd)) return Close(fd);
    if (!end.rest.empty()) {
      const ssize_t sent = send(fd, end.rest.data(), end.rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return Close(fd);
      if (sent > 0) end.rest.erase(0, static_cast<size_t>(sent));
    }
    if (end.Waits()) return;
    Rewatch(fd);
    Rewatch(end.other);
  }

  void Close(int fd) {
    const int other = ends_[fd].other;
    for (const int end : {fd, other}) {
      for (const int side : ends_[end].pipe) {
        if (side >= 0) close(side);
      }
      ends_[end] = End();
      close(end);
    }
  }

  const int epoll_;
  const int listener_;
  const sockaddr_in upstream_;
  const bool splices_;
  std::vector<End> ends_;  // By descriptor.
  char buffer_[kBufferBytes];
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  const Flags flags(argc, argv, 1);
  const std::string text = flags.Text("upstream");
  const std::string how = flags.Text("how");
  const size_t colon = text.find(':');
  sockaddr_in upstream = {};
  upstream.sin_family = AF_INET;
  if (colon == std::string::npos || (how != "copy" && how != "splice") ||
      inet_pton(AF_INET, text.substr(0, colon).c_str(), &upstream.sin_addr) != 1) {
    Die("usage: relay --upstream=127.0.0.1:PORT --how=copy|splice");
  }
  upstream.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + colon + 1)));
  static BareRelay relay(ListenAndAnnounce(), upstream, how == "splice");
  relay.Run();
}
