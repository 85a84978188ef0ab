// The acceptor: limits, descriptors that run out and come back, hand-off, drain; on real loopback sockets, with an Os
// that fails on demand and a clock that the test moves.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/acceptor.h"
#include "sluice/tests/support/forwarding_os.h"

namespace sluice::testing {
namespace {

class FailingOs : public ForwardingOs {
 public:
  int64_t NowNs() override { return now_ns; }
  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override {
    ++accepts;
    if (!accept_errors.empty()) {
      const int error = accept_errors.front();
      accept_errors.pop_front();
      if (error != 0) return -error;
    }
    // As Linux does: a descriptor is looked for first, whether anybody waits or not.
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
    if (descriptors_left >= 0) ++descriptors_left;
    return ForwardingOs::Close(fd);
  }
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    const int count = ForwardingOs::PollerWait(poller, events, events_max, 0);
    slept = count == 0 && timeout_ms != 0;
    if (clock_runs) now_ns += 1'000'000;
    return count;
  }
  int64_t now_ns = 1'000'000'000'000;
  std::deque<int> accept_errors;
  int descriptors_left = -1;  // -1: no limit.
  int accepts = 0;
  bool slept = false;
  bool clock_runs = false;
};

class Greeter : public Session {
  void OnOpen() override { Write("hi"); }
  void OnData(Input& in) override { Write(in.TakeAll()); }
};

class AcceptorRig {
 public:
  explicit AcceptorRig(Options options, std::string_view addresses = "127.0.0.1:0", int descriptors = -1)
      : runtime(options, os) {
    os.descriptors_left = descriptors;
    acceptor = runtime.Listen<Greeter>(addresses);
    EXPECT_TRUE(runtime.status().ok()) << runtime.status();
    Settle();
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
  // Loopback: the handshake is done when connect returns.
  int Connect(std::string_view address = "") {
    const Address to = *Address::Parse(address.empty() ? Where(0) : std::string(address));
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd, to.sockaddr(), to.size()), 0) << to.ToString();
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    clients.push_back(fd);
    return fd;
  }
  std::string Where(size_t socket) { return actor().Addresses()[socket].ToString(); }
  // What the client can read now: bytes, "EOF", "RST" or "" for nothing yet.
  static std::string Heard(int fd) {
    char buffer[64];
    const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
    if (count > 0) return std::string(buffer, static_cast<size_t>(count));
    if (count == 0) return "EOF";
    return errno == ECONNRESET ? "RST" : "";
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

TEST(Acceptor, AtTheLimitRefuseTellsTheNewcomerAtOnce) {
  AcceptorRig rig(AcceptorRig::Small(2, AtLimit::kRefuse));
  int first = rig.Connect();
  const int second = rig.Connect();
  const int third = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  EXPECT_EQ(rig.Heard(second), "hi");
  EXPECT_EQ(rig.Heard(third), "EOF");
  EXPECT_EQ(rig.Refused(), 1);
  rig.Hangup(first);
  const int fourth = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(fourth), "hi");
}

TEST(Acceptor, AtTheLimitWaitLeavesTheNewcomerInTheBacklogWithoutABusyLoop) {
  AcceptorRig rig(AcceptorRig::Small(1, AtLimit::kWait));
  int first = rig.Connect();
  const int second = rig.Connect();
  rig.Settle();
  const int accepts = rig.os.accepts;
  rig.Settle(20);
  rig.Advance(absl::Seconds(100));
  EXPECT_EQ(rig.os.accepts, accepts);
  EXPECT_EQ(rig.Heard(second), "");
  rig.Hangup(first);
  EXPECT_EQ(rig.Heard(second), "hi");
  EXPECT_EQ(rig.Refused(), 0);
}

TEST(Acceptor, ALimitLoweredWhileItIsExceededHoldsUntilEnoughHaveLeft) {
  AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kWait));
  std::vector<int> four;
  for (int i = 0; i < 4; ++i) four.push_back(rig.Connect());
  rig.Settle();
  rig.Tell(SetConnectionLimit{2, AtLimit::kWait});
  const int late = rig.Connect();
  rig.Settle();
  for (int left = 4; left > 2; --left) {
    EXPECT_EQ(rig.actor().OpenConnections(), left);
    EXPECT_EQ(rig.Heard(late), "");
    rig.Hangup(four[left - 1]);
  }
  EXPECT_EQ(rig.Heard(late), "");
  rig.Hangup(four[1]);
  EXPECT_EQ(rig.Heard(late), "hi");
}

TEST(Acceptor, ALimitRaisedOrMadeToRefuseWakesThoseWhoWait) {
  AcceptorRig rig(AcceptorRig::Small(1, AtLimit::kWait));
  rig.Connect();
  const int second = rig.Connect();
  rig.Settle();
  rig.Tell(SetConnectionLimit{2, AtLimit::kWait});
  EXPECT_EQ(rig.Heard(second), "hi");
  const int third = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(third), "");
  rig.Tell(SetConnectionLimit{2, AtLimit::kRefuse});
  EXPECT_EQ(rig.Heard(third), "EOF");
}

TEST(Acceptor, SuspendedItLeavesNewcomersInTheBacklogUntilItResumes) {
  AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kRefuse));
  rig.Tell(SuspendAccept{});
  const int client = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(client), "");
  rig.Tell(ResumeAccept{});
  EXPECT_EQ(rig.Heard(client), "hi");
}

// --- Descriptors and memory that run out.

TEST(Acceptor, OutOfResourcesItPausesWithBackOffAndRecoversByItself) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kWait));
    rig.os.accept_errors.assign(5, error);
    const int client = rig.Connect();
    rig.Settle();
    EXPECT_EQ(rig.Heard(client), "");
    for (int i = 0; i < 4; ++i) {
      const int accepts = rig.os.accepts;
      rig.Advance(absl::Milliseconds(9 << i));
      EXPECT_EQ(rig.os.accepts, accepts) << "no try before its time: 10 ms, then twice as long each time";
      rig.Advance(absl::Milliseconds((1 << i) + 1));
      EXPECT_EQ(rig.os.accepts, accepts + 1);
    }
    rig.Advance(absl::Seconds(1));
    EXPECT_EQ(rig.Heard(client), "hi");
    EXPECT_EQ(rig.Ledger().accept_errors, 5);
  }
}

TEST(Acceptor, AConnectionThatEndsWakesAPausedAcceptor) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kWait), "127.0.0.1:0", /*descriptors=*/2);  // One is the spare.
  int first = rig.Connect();
  const int second = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  EXPECT_EQ(rig.Heard(second), "");
  rig.Advance(absl::Seconds(10));
  EXPECT_EQ(rig.Heard(second), "");
  rig.Hangup(first);
  EXPECT_EQ(rig.Heard(second), "hi");
}

// Linux says EMFILE although nobody waits: taken for a peer that was refused, it would be a busy loop.
TEST(Acceptor, OutOfDescriptorsItRefusesBySpareAndRests) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse), "127.0.0.1:0", /*descriptors=*/2);
  int first = rig.Connect();
  const int second = rig.Connect();
  const int third = rig.Connect();
  rig.Settle(20);
  EXPECT_EQ(rig.Heard(first), "hi");
  EXPECT_EQ(rig.Heard(second), "EOF");
  EXPECT_EQ(rig.Heard(third), "EOF");
  EXPECT_EQ(rig.Refused(), 2);
  rig.Hangup(first);
  const int fourth = rig.Connect();
  rig.Settle(20);
  EXPECT_EQ(rig.Heard(fourth), "hi");
}

TEST(Acceptor, ASpareThatIsLostIsTakenAgainWhenADescriptorIsFree) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse), "127.0.0.1:0", /*descriptors=*/0);  // Not even the spare.
  const int first = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "");
  rig.os.descriptors_left = 1;
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(rig.Heard(first), "EOF");
  rig.os.descriptors_left = 1;
  const int second = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(second), "hi");
}

TEST(Acceptor, APeerThatWasGoneBeforeItWasAcceptedHidesNobody) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  rig.os.accept_errors = {ECONNABORTED, EPROTO, ENETDOWN};
  const int client = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(client), "hi");
  EXPECT_EQ(rig.Ledger().accept_errors, 3);
}

TEST(Acceptor, AnErrorThatNeverEndsIsNoBusyLoop) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  rig.os.accept_errors.assign(1'000, EPERM);
  const int client = rig.Connect();
  rig.Settle(20);
  EXPECT_LE(rig.os.accepts, 100);
  for (int i = 0; i < 30; ++i) rig.Advance(absl::Seconds(1));
  EXPECT_EQ(rig.Heard(client), "hi");
}

// --- Hand-off.

TEST(Acceptor, EachConnectionGoesToTheWorkerThatHasTheFewest) {
  AcceptorRig rig(AcceptorRig::Small(100, AtLimit::kRefuse, /*workers=*/3));
  std::vector<int> clients;
  const auto spread = [&] {
    std::vector<int64_t> counts;
    for (int w = 0; w < 3; ++w) counts.push_back(rig.runtime.worker(w).IoCount() - (w == 0 ? 1 : 0));
    return counts;
  };
  for (int i = 0; i < 9; ++i) {
    clients.push_back(rig.Connect());
    rig.Settle();
  }
  EXPECT_EQ(spread(), (std::vector<int64_t>{3, 3, 3}));
  for (int i : {0, 3, 6, 1}) rig.Hangup(clients[i]);  // All of one worker, one of the next.
  for (int i = 0; i < 4; ++i) {
    rig.Connect();
    rig.Settle();
  }
  EXPECT_EQ(spread(), (std::vector<int64_t>{3, 3, 3}));
}

TEST(Acceptor, PastActorsMaxAConnectionIsRefusedAndItsPlaceIsFreeAgain) {
  Options options = AcceptorRig::Small(100, AtLimit::kRefuse);
  options.actors_max = 2;  // The acceptor is one.
  AcceptorRig rig(options);
  int first = rig.Connect();
  const int second = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  EXPECT_EQ(rig.Heard(second), "EOF");
  EXPECT_EQ(rig.actor().OpenConnections(), 1);
  rig.Hangup(first);
  const int third = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(third), "hi");
}

// --- Addresses.

TEST(Acceptor, ServesSeveralSocketsOfOneLimit) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse), "127.0.0.1:0,[::1]:0,unix:@sluice-acceptor-test");
  for (size_t i = 0; i < 3; ++i) {
    const int client = rig.Connect(rig.Where(i));
    rig.Settle();
    EXPECT_EQ(rig.Heard(client), "hi") << rig.Where(i);
  }
  const int refused = rig.Connect(rig.Where(2));
  rig.Settle();
  EXPECT_EQ(rig.Heard(refused), "EOF");
}

class UnixFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* tmp = std::getenv("TEST_TMPDIR");
    folder_ = std::string(tmp != nullptr ? tmp : "/tmp") + "/sluXXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/s";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  absl::StatusOr<ListeningSocket> Open() {
    return OpenListening(LinuxOs(), *Address::Parse("unix:" + path_), Options());
  }
  bool Exists() const {
    struct stat file;
    return ::lstat(path_.c_str(), &file) == 0;
  }
  std::string folder_, path_;
};

TEST_F(UnixFile, AStaleFileThatNobodyServesIsReplaced) {
  { const auto killed = Open(); ASSERT_TRUE(killed.ok()) << killed.status(); }  // Its file stays.
  ASSERT_TRUE(Exists());
  const auto again = Open();
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(UnixFile, AServedOneIsLeftAlone) {
  const auto first = Open();
  ASSERT_TRUE(first.ok());
  const auto second = Open();
  EXPECT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(path_), absl::string_view::npos) << second.status();
  EXPECT_TRUE(Exists());
}

TEST_F(UnixFile, AFileThatIsNoSocketIsNeverRemoved) {
  const int file = ::open(path_.c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_GE(file, 0);
  ::close(file);
  EXPECT_FALSE(Open().ok());
  EXPECT_TRUE(Exists());
}

TEST_F(UnixFile, IsRemovedWithItsAcceptor) {
  {
    AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse), "unix:" + path_);
    EXPECT_TRUE(Exists());
  }
  EXPECT_FALSE(Exists());
}

TEST(Acceptor, AnAddressInUseIsOneClearErrorAndLeavesNothingBehind) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse));
  Runtime other(AcceptorRig::Small(3, AtLimit::kRefuse));
  other.Listen<Greeter>("127.0.0.1:0," + rig.Where(0));
  EXPECT_FALSE(other.status().ok());
  EXPECT_NE(other.status().message().find(rig.Where(0)), absl::string_view::npos) << other.status();
}

// --- Drain and end.

TEST(Acceptor, ADrainTakesThoseWhoWaitAndThenClosesTheDoor) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  rig.Tell(SuspendAccept{});
  const int waiting = rig.Connect();
  ASSERT_EQ(::send(waiting, "question", 8, 0), 8);
  const std::string where = rig.Where(0);
  rig.runtime.Call(0, [](Worker& worker) { worker.BeginDrain(); });
  rig.Settle();
  EXPECT_EQ(rig.Heard(waiting), "hiquestion");
  const Address to = *Address::Parse(where);
  const int late = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(late, to.sockaddr(), to.size()), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  ::close(late);
}

TEST(Acceptor, WhatComesToAWorkerAfterTheDeadlineIsRefused) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse, /*workers=*/2));
  rig.Connect();
  const int second = rig.Connect();
  // The other worker has its orders before the connection reaches it.
  rig.runtime.Call(1, [](Worker& worker) { worker.BeginDrain(), worker.ShutdownAll(); });
  Worker& other = rig.runtime.worker(1);
  other.Enter();
  other.Turn(other.NowMs());
  other.Leave();
  rig.Settle();
  EXPECT_EQ(other.IoCount(), 0);
  EXPECT_EQ(rig.Heard(second), "EOF");
}

// --- Outgoing connections, which share its file.

class Caller : public Session {
 public:
  explicit Caller(std::string* heard) : heard_(*heard) {}
  void OnOpen() override { heard_ += "open "; }
  void OnData(Input& in) override { heard_ += in.TakeAll(); }
  void OnClose(CloseReason reason) override { heard_ += CloseReasonName(reason); }

 private:
  std::string& heard_;
};

TEST(Acceptor, AConnectThatIsRefusedAtOnceIsToldAsRefused) {
  std::string path = "/tmp/sluice-nobody-serves-this";
  for (const std::string& address : {std::string("127.0.0.1:1"), "unix:" + path, std::string("[::1]:1")}) {
    std::string heard;
    AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
    Worker& worker = rig.runtime.worker(0);
    worker.Enter();
    Slot* slot = worker.AllocateSlot();
    worker.Open(slot, 16);
    ConnectOn(worker, *Address::Parse(address), absl::Seconds(5),
              [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
    worker.Leave();
    rig.Settle();
    EXPECT_EQ(heard, "connect failed") << address;
  }
}

TEST(Acceptor, AConnectReachesAnAcceptor) {
  std::string heard;
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  Worker& worker = rig.runtime.worker(0);
  worker.Enter();
  Slot* slot = worker.AllocateSlot();
  worker.Open(slot, 16);
  ConnectOn(worker, *Address::Parse(rig.Where(0)), absl::Seconds(5),
            [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
  worker.Leave();
  rig.Settle();
  EXPECT_EQ(heard, "open hi");
}

}  // namespace
}  // namespace sluice::testing
