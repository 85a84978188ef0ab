#include "sluice/tests/stress/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

namespace sluice::stress {

namespace {

constexpr size_t kReadBytes = 64 * 1024;
constexpr int64_t kFinishMs = 3'000 * kSlack;  // For clients that go on while the runtime drains.

// Shared by the clients of a thread: a client reads the bytes before the next client receives.
thread_local std::unique_ptr<char[]> read_buffer;

}  // namespace

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Client::~Client() {
  if (fd_ >= 0) Reset();
}

bool Client::Connect(uint16_t port, int poller) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (const int bytes = ReceiveBufferBytes(); bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  // From any of 127.0.0.0/8: one address has 28,000 ports, and a closed port rests for a minute.
  setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(0x7f000001u + static_cast<uint32_t>(random_.Below(250)));
  // On failure the kernel chooses.
  bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = this;
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd_, &event) != 0 ||
      (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
       errno != EINPROGRESS)) {
    close(std::exchange(fd_, -1));
    return false;
  }
  born_ms_ = SteadyMs();
  return true;
}

Client::Got Client::Receive(std::string_view* bytes, size_t most) {
  if (read_buffer == nullptr) read_buffer = std::make_unique<char[]>(kReadBytes);
  const ssize_t count = recv(fd_, read_buffer.get(), std::min(most, kReadBytes), 0);
  if (count > 0) {
    *bytes = std::string_view(read_buffer.get(), static_cast<size_t>(count));
    return Got::kBytes;
  }
  if (count == 0) return Got::kEnd;
  return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? Got::kNothing : Got::kReset;
}

size_t Client::Send(std::string_view bytes) {
  const ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return count < 0 ? 0 : static_cast<size_t>(count);  // Receive finds the failure.
}

bool Client::Connected() {
  sockaddr_in peer;
  socklen_t size = sizeof peer;
  return getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

void Client::HalfClose() { shutdown(fd_, SHUT_WR); }

void Client::Leave() { close(std::exchange(fd_, -1)); }

void Client::Reset() {
  const linger reset = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  Leave();
}

// --- The loop.

ClientLoop::ClientLoop(Stress& stress, uint64_t seed, int clients_max, Make make)
    : stress_(stress), random_(seed), make_(std::move(make)), places_(clients_max) {}

ClientLoop::~ClientLoop() { Finish(); }

void ClientLoop::Start() {
  poller_ = epoll_create1(EPOLL_CLOEXEC);
  thread_ = std::thread([this] { Run(); });
}

void ClientLoop::Finish() {
  if (!thread_.joinable()) return;
  finishing_.store(true, std::memory_order_relaxed);
  thread_.join();
  close(poller_);
}

void ClientLoop::Fill(Place& place, int64_t now_ms) {
  place.client = make_(random_);
  if (place.client->Connect(place.client->Port(), poller_)) {
    made_.Add();
    return;
  }
  not_made_.Add();
  place.client.reset();
  place.not_before_ms = now_ms + 50;
}

void ClientLoop::Run() {
  std::array<epoll_event, 256> events;
  int64_t finish_by_ms = INT64_MAX;
  for (;;) {
    int64_t now_ms = SteadyMs();
    int64_t wake_ms = now_ms + 5;
    bool empty = true;
    bool quiet = true;
    const bool stopping = stress_.Stopping();
    if (finishing_.load(std::memory_order_relaxed) && finish_by_ms == INT64_MAX) {
      finish_by_ms = now_ms + kFinishMs;
    }
    for (Place& place : places_) {
      if (place.client != nullptr && place.client->WakeAtMs() <= now_ms) {
        place.client->Step(now_ms);
      }
      if (place.client != nullptr && place.client->Ended()) {
        place.client.reset();
        // Not at once: a refused client would do nothing but come again.
        place.not_before_ms = now_ms + static_cast<int64_t>(random_.Below(30));
      }
      if (place.client == nullptr && !stopping && place.not_before_ms <= now_ms) {
        Fill(place, now_ms);
      }
      if (place.client == nullptr) continue;
      empty = false;
      quiet &= !place.client->MustFinish();
      wake_ms = std::min(wake_ms, place.client->WakeAtMs());
    }
    if (stopping && quiet) quiet_.store(true, std::memory_order_release);
    if (finish_by_ms != INT64_MAX && (empty || now_ms > finish_by_ms)) break;
    const int count = epoll_wait(poller_, events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(std::max<int64_t>(0, wake_ms - now_ms)));
    now_ms = SteadyMs();
    for (int i = 0; i < count; ++i) {
      // A closed descriptor has no events, and clients are deleted above only.
      auto* client = static_cast<Client*>(events[i].data.ptr);
      if (!client->Ended()) client->Step(now_ms);
    }
  }
  places_.clear();
  read_buffer.reset();
}

}  // namespace sluice::stress
