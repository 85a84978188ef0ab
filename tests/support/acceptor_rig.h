// AcceptorRig is an acceptor on real sockets. Its workers take their turns on the test's thread,
// with an Os that fails on demand and a clock that the test moves.
//
// The sockets are UNIX sockets, unless the test names other addresses: a call at one end has taken
// effect at the other end when it returns. A packet over TCP's loopback may still wait for its
// processor (a softirq, or RPS) when the workers have come to rest, and the test would go on
// without it; WaitToHear() waits for it.
#ifndef SLUICE_TESTS_SUPPORT_ACCEPTOR_RIG_H_
#define SLUICE_TESTS_SUPPORT_ACCEPTOR_RIG_H_

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {

class FailingOs : public ForwardingOs {
 public:
  int64_t NowNs() override {
    return ++now_ns;
  }  // Each look advances the clock: otherwise a spinning worker would wait forever.
  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override {
    ++accepts;
    if (!accept_errors.empty()) {
      const int error = accept_errors.front();
      accept_errors.pop_front();
      if (error != 0) return -error;
    }
    // As on Linux, accept looks for a free descriptor first, whether a peer waits or not.
    if (descriptors_left == 0) return -EMFILE;
    const int accepted = ForwardingOs::Accept(fd, peer, peer_size);
    if (accepted >= 0 && descriptors_left > 0) --descriptors_left;
    return accepted;
  }
  int SpareOpen() override {
    if (descriptors_left == 0) return -EMFILE;
    const int fd = ForwardingOs::SpareOpen();
    if (descriptors_left > 0) --descriptors_left;
    return fd;
  }
  int Close(int fd) override {
    if (taken_at_close > 0) {
      --taken_at_close;
    } else if (descriptors_left >= 0) {
      ++descriptors_left;
    }
    return ForwardingOs::Close(fd);
  }
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    const int count = ForwardingOs::PollerWait(poller, events, events_max, 0);
    slept = count == 0 && timeout_ms != 0;
    if (clock_runs) now_ns += 1'000'000;
    return count;
  }
  // A drain does not wait: only the test's turns move time.
  void WaitFor(std::condition_variable&, std::unique_lock<std::mutex>&, int64_t) override {}
  int64_t now_ns = 1'000'000'000'000;
  std::deque<int> accept_errors;
  int descriptors_left = -1;  // -1: no limit.
  int taken_at_close = 0;     // In so many closes, another thread takes the freed descriptor.
  int accepts = 0;
  bool slept = false;
  bool clock_runs = false;
};

class Greeter : public Session {
  void OnOpen() override { WriteOrAbort("hi"); }
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

class AcceptorRig {
 public:
  explicit AcceptorRig(Options options, std::string_view addresses = "", int descriptors = -1)
      : runtime(options, os) {
    os.descriptors_left = descriptors;
    acceptor = runtime.Listen<Greeter>(addresses.empty() ? NewAddress() : std::string(addresses));
    EXPECT_TRUE(runtime.status().ok()) << runtime.status();
    Settle();
  }
  // Unique among all rigs and processes.
  static std::string NewAddress() {
    static std::atomic<int> count{0};
    return absl::StrCat("unix:@sluice-rig-", ::getpid(), "-", count.fetch_add(1));
  }
  static Options Small(int64_t max_connections, AtLimit at_limit, int workers = 1) {
    Options options;
    options.workers = workers;
    options.memory_bytes_max = 64 * 1024 * 1024;
    options.max_connections = max_connections;
    options.at_limit = at_limit;
    options.linger_timeout = absl::Milliseconds(10);
    return options;
  }
  ~AcceptorRig() {
    os.descriptors_left = -1;
    for (int client : clients) {
      if (client >= 0) ::close(client);
    }
    os.clock_runs = true;
    runtime.Drain(absl::ZeroDuration());
    EXPECT_EQ(Ledger().Open(), 0);
  }
  void Settle(int rounds_max = 2'000) {
    int quiet = 0;
    for (int i = 0; i < rounds_max; ++i) {
      bool slept = true;
      for (int w = 0; w < runtime.WorkerCount(); ++w) {
        os.slept = false;
        Worker& worker = runtime.worker(w);
        worker.Enter();
        worker.Turn(worker.NowMs() + 1'000'000);
        worker.Leave();
        slept = slept && os.slept;
      }
      quiet = slept ? quiet + 1 : 0;
      if (quiet == 2) return;
    }
    ADD_FAILURE() << "the workers do not come to rest: a busy loop";
  }
  void Advance(absl::Duration by) {
    os.now_ns += absl::ToInt64Nanoseconds(by);
    Settle();
  }
  Acceptor& actor() { return *static_cast<Acceptor*>(acceptor.slot()->actor); }
  // When Connect() returns, the client stands in the backlog.
  int Connect(std::string_view address = "") {
    const Address to = *Address::Parse(address.empty() ? Where(0) : std::string(address));
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    // The kernel gives the client a name of its own (unix(7), autobind). Tests find the server's
    // end by that name.
    const sockaddr autobind{AF_UNIX, {}};
    if (to.family() == AF_UNIX) {
      EXPECT_EQ(::bind(fd, &autobind, sizeof(sa_family_t)), 0);
    }
    EXPECT_EQ(::connect(fd, to.sockaddr(), to.size()), 0) << to.ToString();
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    clients.push_back(fd);
    return fd;
  }
  std::string Where(size_t socket) { return actor().Addresses()[socket].ToString(); }
  // Returns what the client can read now: bytes, "EOF", "RST" or "" for nothing yet.
  static std::string Heard(int fd) {
    char buffer[64];
    const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
    if (count > 0) return std::string(buffer, static_cast<size_t>(count));
    if (count == 0) return "EOF";
    return errno == ECONNRESET ? "RST" : "";
  }
  // Returns the first thing that a TCP client can read; "" if nothing comes in a minute.
  std::string WaitToHear(int fd) {
    std::string heard;
    Eventually([&] {
      Settle();
      heard = Heard(fd);
      return heard != "";
    });
    return heard;
  }
  void Hangup(int& fd) {
    for (int& client : clients) {
      if (client == fd) client = -1;
    }
    ::close(std::exchange(fd, -1));
    Settle();
  }
  ConnectionLedger::Totals Ledger() {
    return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Sum();
  }
  int64_t Refused() { return Ledger().closed[static_cast<int>(CloseReason::kRefused)]; }
  template <class M>
  void Tell(M message) {
    EXPECT_EQ(acceptor.TrySend(std::move(message)), Answer::kAccepted);
    Settle();
  }

  FailingOs os;
  Runtime runtime;
  Ref<Acceptor> acceptor;
  std::vector<int> clients;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_ACCEPTOR_RIG_H_
