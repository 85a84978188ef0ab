// Tests of the acceptor: limits, descriptors that run out and come back, hand-off, drain. The
// sockets are real; the Os fails on demand, and the test moves the clock.
#include "sluice/actors/peers/acceptor.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/support/acceptor_rig.h"

namespace sluice::testing::acceptor_test {
namespace {

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

TEST(Acceptor, AtTheLimitWaitLeavesNewcomersInBacklog) {
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

TEST(Acceptor, LoweredLimitHoldsUntilEnoughConnectionsEnd) {
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

TEST(Acceptor, RaisedOrRefusingLimitWakesPeersThatWait) {
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

TEST(Acceptor, SuspendedLeavesNewcomersInTheBacklogUntilResumed) {
  AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kRefuse));
  rig.Tell(SuspendAccept{});
  const int client = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(client), "");
  rig.Tell(ResumeAccept{});
  EXPECT_EQ(rig.Heard(client), "hi");
}

// --- Descriptors and memory that run out.

TEST(Acceptor, BacksOffWhenOutOfResourcesThenRecovers) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kWait));
    rig.os.accept_errors.assign(5, error);
    const int client = rig.Connect();
    rig.Settle();
    EXPECT_EQ(rig.Heard(client), "");
    for (int i = 0; i < 4; ++i) {
      const int accepts = rig.os.accepts;
      rig.Advance(absl::Milliseconds(9 << i));
      EXPECT_EQ(rig.os.accepts, accepts)
          << "no try before its time: 10 ms, then twice as long each time";
      rig.Advance(absl::Milliseconds((1 << i) + 1));
      EXPECT_EQ(rig.os.accepts, accepts + 1);
    }
    rig.Advance(absl::Seconds(1));
    EXPECT_EQ(rig.Heard(client), "hi");
    EXPECT_EQ(rig.Ledger().accept_errors, 5);
  }
}

TEST(Acceptor, AConnectionThatEndsWakesAPausedAcceptor) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kWait), "",
                  /*descriptors=*/2);  // The spare is one of them.
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

// Linux answers EMFILE even when no peer waits. If the acceptor took that for a refused peer, it
// would spin in a busy loop.
TEST(Acceptor, OutOfDescriptorsItRefusesBySpareAndRests) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse), "", /*descriptors=*/2);
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

TEST(Acceptor, LostSpareIsTakenAgainWhenDescriptorsReturn) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse), "",
                  /*descriptors=*/0);  // Not even the spare.
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

TEST(Acceptor, PeerGoneBeforeAcceptHidesNoOther) {
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

TEST(Acceptor, EachConnectionGoesToTheWorkerWithFewest) {
  AcceptorRig rig(AcceptorRig::Small(100, AtLimit::kRefuse, /*workers=*/3));
  std::vector<int> clients;
  const auto spread = [&] {
    std::vector<int64_t> counts;
    for (int w = 0; w < 3; ++w)
      counts.push_back(rig.runtime.worker(w).descriptors().Count() - (w == 0 ? 1 : 0));
    return counts;
  };
  for (int i = 0; i < 9; ++i) {
    clients.push_back(rig.Connect());
    rig.Settle();
  }
  EXPECT_EQ(spread(), (std::vector<int64_t>{3, 3, 3}));
  // All of one worker's, and one of the next worker's.
  for (int i : {0, 3, 6, 1}) rig.Hangup(clients[i]);
  for (int i = 0; i < 4; ++i) {
    rig.Connect();
    rig.Settle();
  }
  EXPECT_EQ(spread(), (std::vector<int64_t>{3, 3, 3}));
}

TEST(Acceptor, PastActorsMaxRefusesAndFreesThePlace) {
  Options options = AcceptorRig::Small(100, AtLimit::kRefuse);
  options.actors_max = 2;  // The acceptor is one of them.
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

// --- Drain and end.

TEST(Acceptor, DrainAcceptsWaitingPeersThenStopsListening) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  rig.Tell(SuspendAccept{});
  const int waiting = rig.Connect();
  ASSERT_EQ(::send(waiting, "question", 8, 0), 8);
  const std::string where = rig.Where(0);
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
  rig.Settle();
  EXPECT_EQ(rig.Heard(waiting), "hiquestion");
  const Address to = *Address::Parse(where);
  const int late = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(late, to.sockaddr(), to.size()), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  ::close(late);
}

TEST(Acceptor, HandOffAfterTheDeadlineIsRefused) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse, /*workers=*/2));
  rig.Connect();
  const int second = rig.Connect();
  // The other worker drains and shuts down before the connection reaches it.
  rig.runtime.Call(1, [](Worker& worker) { worker.drain().Begin(), worker.drain().ShutdownAll(); });
  Worker& other = rig.runtime.worker(1);
  other.Enter();
  other.Turn(other.NowMs());
  other.Leave();
  rig.Settle();
  EXPECT_EQ(other.descriptors().Count(), 0);
  EXPECT_EQ(rig.Heard(second), "EOF");
}

// --- Real threads.

TEST(Acceptor, ThreadsServeManyClientsAndBalanceTheLedger) {
  Options options = AcceptorRig::Small(1'000, AtLimit::kRefuse, /*workers=*/3);
  const std::string where = "unix:@sluice-acceptor-threads-" + std::to_string(::getpid());
  Runtime runtime(options);
  runtime.Listen<Greeter>(where);
  ASSERT_TRUE(runtime.Start().ok()) << runtime.status();
  const Address to = *Address::Parse(where);
  constexpr int kClients = 200;
  std::vector<int> clients;
  for (int i = 0; i < kClients; ++i) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(fd, to.sockaddr(), to.size()), 0);
    ASSERT_EQ(::send(fd, "word", 4, 0), 4);
    if (i % 2 == 0) ::shutdown(fd, SHUT_WR);
    clients.push_back(fd);
  }
  for (int i = 0; i < kClients; ++i) {
    char answer[6];
    ASSERT_EQ(::recv(clients[i], answer, sizeof(answer), MSG_WAITALL), 6);
    EXPECT_EQ(std::string(answer, 6), "hiword");
    if (i % 3 != 0) ::close(std::exchange(clients[i], -1));
  }
  runtime.Drain(absl::Seconds(30));
  const ConnectionLedger::Totals totals = runtime.Attachment<ConnectionLedger>(3).Sum();
  EXPECT_EQ(totals.opened, kClients);
  EXPECT_EQ(totals.Open(), 0);
  EXPECT_EQ(totals.bytes_accepted, kClients * 6);
  EXPECT_EQ(totals.bytes_sent, kClients * 6);
  for (int fd : clients) {
    if (fd >= 0) ::close(fd);
  }
}

}  // namespace
}  // namespace sluice::testing::acceptor_test
