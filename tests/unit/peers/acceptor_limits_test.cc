// Tests of an acceptor at its limits: evicting the longest idle connection, descriptors that run
// out under each policy, accept rates, and peers that wait when a drain begins.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/base/log.h"
#include "sluice/tests/support/acceptor_rig.h"
#include "sluice/tests/support/log_level_scope.h"

namespace sluice::testing::acceptor_limits_test {
namespace {

int64_t Closed(AcceptorRig& rig, CloseReason reason) {
  return rig.Ledger().closed[static_cast<int>(reason)];
}

// True when the client has been greeted and gets an answer.
::testing::AssertionResult Served(AcceptorRig& rig, int client) {
  if (::send(client, "?", 1, MSG_NOSIGNAL) != 1) return ::testing::AssertionFailure() << "no send";
  rig.Settle();
  std::string heard;
  for (std::string more = rig.Heard(client); more != ""; more = rig.Heard(client)) {
    heard += more;
    if (more == "EOF" || more == "RST") break;
  }
  if (heard == "?" || heard == "hi?") return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "heard \"" << heard << '"';
}

// The server's end of a client's connection.
Connection* ServerEndOf(AcceptorRig& rig, int client) {
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  EXPECT_EQ(::getsockname(client, reinterpret_cast<sockaddr*>(&storage), &size), 0);
  const std::string name =
      Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size)->ToString();
  Connection* found = nullptr;
  for (int w = 0; w < rig.runtime.WorkerCount(); ++w) {
    rig.runtime.shared().slots.ForEach(&rig.runtime.worker(w), [&](Slot* slot) {
      auto* connection = dynamic_cast<Connection*>(slot->io);
      if (connection != nullptr && connection->PeerAddress().ToString() == name) found = connection;
    });
  }
  return found;
}

// --- evict_idle

TEST(EvictIdle, TheLongestSilentOneMakesRoomForTheNewcomer) {
  AcceptorRig rig(AcceptorRig::Small(2, AtLimit::kEvictIdle));
  const int first = rig.Connect();
  rig.Advance(absl::Seconds(3));
  const int second = rig.Connect();
  rig.Advance(absl::Seconds(3));
  EXPECT_TRUE(Served(rig, first));  // The oldest, but no longer the longest silent.
  rig.Advance(absl::Seconds(3));
  const int third = rig.Connect();
  rig.Settle();
  EXPECT_TRUE(Served(rig, third));
  EXPECT_TRUE(Served(rig, first));
  EXPECT_EQ(rig.Heard(second), "hi");
  EXPECT_EQ(rig.Heard(second), "EOF");
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 1);
  EXPECT_EQ(rig.Refused(), 0);
  EXPECT_EQ(rig.actor().OpenConnections(), 2);
}

TEST(EvictIdle, AFractionOfASecondIsSeen) {
  AcceptorRig rig(AcceptorRig::Small(2, AtLimit::kEvictIdle));
  const int first = rig.Connect();
  rig.Settle();
  rig.Advance(absl::Milliseconds(40));
  const int second = rig.Connect();
  rig.Settle();
  rig.Advance(absl::Milliseconds(40));
  EXPECT_TRUE(Served(rig, first));
  rig.Advance(absl::Milliseconds(40));
  rig.Connect();
  rig.Settle();
  EXPECT_TRUE(Served(rig, first));
  EXPECT_EQ(rig.Heard(second), "hi");
  EXPECT_EQ(rig.Heard(second), "EOF");
}

TEST(EvictIdle, OutputToAPeerIsActivityToo) {
  AcceptorRig rig(AcceptorRig::Small(2, AtLimit::kEvictIdle));
  const int first = rig.Connect();
  const int second = rig.Connect();
  rig.Settle();
  rig.Advance(absl::Seconds(5));
  Worker& worker = rig.runtime.worker(0);
  worker.Enter();
  Connection* to_first = ServerEndOf(rig, first);
  worker.RunHandler(to_first->slot(), "test", [&] { (void)to_first->Write("news"); });
  worker.Leave();
  rig.Connect();
  rig.Settle();
  EXPECT_TRUE(rig.Heard(first) == "hinews" && Served(rig, first));
  EXPECT_EQ(rig.Heard(second), "hi");
  EXPECT_EQ(rig.Heard(second), "EOF");
}

TEST(EvictIdle, OnWhicheverWorkerItIs) {
  AcceptorRig rig(AcceptorRig::Small(6, AtLimit::kEvictIdle, /*workers=*/3));
  std::vector<int> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(rig.Connect());
    rig.Settle();
    EXPECT_EQ(rig.Heard(clients[i]), "hi");
  }
  // From the shortest idle to the longest: 4, 0, 5, 2, 1, 3.
  const std::vector<int> order = {3, 1, 2, 5, 0, 4};
  for (int i : order) {
    rig.Advance(absl::Seconds(2));
    EXPECT_TRUE(Served(rig, clients[i]));
  }
  for (size_t gone = 0; gone < order.size(); ++gone) {
    rig.Advance(absl::Seconds(2));
    rig.Connect();
    rig.Settle();
    EXPECT_EQ(rig.Heard(clients[order[gone]]), "EOF") << gone;
    for (size_t i = gone + 1; i < order.size(); ++i) {
      EXPECT_EQ(rig.Heard(clients[order[i]]), "") << gone << " " << i;
    }
  }
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 6);
}

TEST(EvictIdle, ClosingConnectionIsSparedUnlessItIsAlone) {
  Options options = AcceptorRig::Small(2, AtLimit::kEvictIdle);
  options.linger_timeout = absl::Hours(1);
  AcceptorRig rig(options);
  const auto close = [&](int client) {
    Worker& worker = rig.runtime.worker(0);
    worker.Enter();
    Connection* connection = ServerEndOf(rig, client);
    worker.RunHandler(connection->slot(), "test", [&] { connection->Close(); });
    worker.Leave();
    rig.Settle();
  };
  const int closing = rig.Connect();
  rig.Advance(absl::Seconds(3));
  const int live = rig.Connect();
  rig.Settle();
  close(closing);
  rig.Advance(absl::Seconds(3));
  const int third = rig.Connect();
  rig.Settle();
  EXPECT_NE(ServerEndOf(rig, closing), nullptr) << "its peer has not ended its side yet";
  EXPECT_EQ(ServerEndOf(rig, live), nullptr);
  EXPECT_TRUE(Served(rig, third));
  close(third);
  const int fourth = rig.Connect();
  rig.Settle();
  EXPECT_EQ(ServerEndOf(rig, closing), nullptr) << "it closed first";
  EXPECT_NE(ServerEndOf(rig, third), nullptr);
  EXPECT_TRUE(Served(rig, fourth));
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 2);
}

TEST(EvictIdle, StormOfNewcomersKeepsLimitWithoutBusyLoop) {
  AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kEvictIdle, /*workers=*/2));
  std::vector<int> clients;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 50; ++i) clients.push_back(rig.Connect());
    rig.Settle();
    EXPECT_EQ(rig.actor().OpenConnections(), 4);
    EXPECT_EQ(Closed(rig, CloseReason::kEvicted), static_cast<int64_t>(clients.size()) - 4);
  }
  const int accepts = rig.os.accepts;
  rig.Settle(20);
  rig.Advance(absl::Seconds(100));
  EXPECT_EQ(rig.os.accepts, accepts);
  for (int client : clients) EXPECT_EQ(rig.Heard(client), "hi");  // Each newcomer was accepted.
  int served = 0;
  for (int client : clients) served += rig.Heard(client) == "";
  EXPECT_EQ(served, 4);
}

TEST(EvictIdle, LoweredLimitIsReachedWithTheNextNewcomer) {
  AcceptorRig rig(AcceptorRig::Small(4, AtLimit::kWait));
  std::vector<int> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(rig.Connect());
    rig.Advance(absl::Seconds(2));
  }
  rig.Tell(SetConnectionLimit{2, AtLimit::kEvictIdle});
  EXPECT_EQ(rig.actor().OpenConnections(), 4) << "nobody came, so nobody had to go";
  const int newcomer = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.actor().OpenConnections(), 2);
  EXPECT_TRUE(Served(rig, newcomer));
  EXPECT_TRUE(Served(rig, clients[3]));
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 3);
  rig.Tell(SetConnectionLimit{0, AtLimit::kEvictIdle});
  const int hopeless = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(hopeless), "EOF");
  EXPECT_EQ(rig.Refused(), 1);
  rig.Tell(SetConnectionLimit{2, AtLimit::kRefuse});
  EXPECT_TRUE(Served(rig, rig.Connect()));
}

TEST(EvictIdle, OutOfDescriptorsNewcomerReplacesTheLongestSilent) {
  AcceptorRig rig(AcceptorRig::Small(100, AtLimit::kEvictIdle), "",
                  /*descriptors=*/3);  // The spare is one of them.
  std::vector<int> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(rig.Connect());
    rig.Advance(absl::Seconds(2));
    EXPECT_TRUE(Served(rig, clients[i])) << i;
    EXPECT_EQ(rig.actor().OpenConnections(), i == 0 ? 1 : 2);
  }
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 4);
  EXPECT_TRUE(Served(rig, clients[4]));
  const int accepts = rig.os.accepts;
  rig.Advance(absl::Seconds(100));
  EXPECT_LE(rig.os.accepts - accepts, 2) << "one look, and with the spare one more";
}

// Another thread of the process takes the spare descriptor, or the next newcomer takes the
// descriptor of the evicted connection. Even then a newcomer must not wait until a connection ends.
TEST(EvictIdle, OutOfDescriptorsServesNewcomerWithoutASpare) {
  AcceptorRig rig(AcceptorRig::Small(100, AtLimit::kEvictIdle), "", /*descriptors=*/3);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(Served(rig, rig.Connect()));
  rig.os.taken_at_close = 1;
  const int newcomer = rig.Connect();
  for (int i = 0; i < 10; ++i) rig.Advance(absl::Seconds(1));
  EXPECT_TRUE(Served(rig, newcomer));
  const int accepts = rig.os.accepts;
  const int64_t evicted = Closed(rig, CloseReason::kEvicted);
  EXPECT_LE(evicted, 2) << "one for the newcomer, one for the next spare";
  rig.Advance(absl::Seconds(100));
  EXPECT_LE(rig.os.accepts - accepts, 2);
  EXPECT_EQ(Closed(rig, CloseReason::kEvicted), evicted) << "nobody waits any more";
}

// The acceptor asks for an eviction before the drain and is answered in it, or asks because
// descriptors are out. In a drain no connection is ended for a newcomer: the newcomer waits until
// one ends by itself.
TEST(EvictIdle, InADrainNoLiveConnectionMakesRoom) {
  for (const bool descriptors : {false, true}) {
    AcceptorRig rig(AcceptorRig::Small(descriptors ? 100 : 2, AtLimit::kEvictIdle), "127.0.0.1:0",
                    descriptors ? 3 : -1);
    const int first = rig.Connect();
    int second = rig.Connect();
    rig.Settle();
    const int third = rig.Connect();
    ASSERT_EQ(::send(third, "question", 8, 0), 8);
    if (descriptors) {
      rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
    } else {
      // The acceptor asks for an eviction, and the drain begins before the request arrives.
      rig.Tell(SuspendAccept{});
      rig.runtime.Call(0, [&rig](Worker& worker) {
        rig.actor().On(ResumeAccept{});
        static_cast<IoHandler*>(rig.acceptor.slot()->io)->OnTurn();
        worker.drain().Begin();
      });
    }
    rig.Settle();
    EXPECT_EQ(Closed(rig, CloseReason::kEvicted), 0);
    EXPECT_EQ(rig.Heard(first), "hi");
    EXPECT_EQ(rig.Heard(first), "");
    EXPECT_EQ(rig.Heard(second), "hi");
    EXPECT_EQ(rig.Heard(second), "");
    rig.runtime.Call(0, [](Worker& worker) { worker.drain().Close(); });
    rig.Settle();
    rig.Hangup(second);
    EXPECT_EQ(rig.Heard(third), "hiquestion");
  }
}

TEST(EvictIdle, ThreadsServeNewcomersAndCountEachEndOnce) {
  const std::string where = "unix:@sluice-evict-threads-" + std::to_string(::getpid());
  Runtime runtime(AcceptorRig::Small(8, AtLimit::kEvictIdle, /*workers=*/3));
  runtime.Listen<Greeter>(where);
  ASSERT_TRUE(runtime.Start().ok()) << runtime.status();
  const Address to = *Address::Parse(where);
  constexpr int kClients = 300;
  std::vector<int> clients;
  for (int i = 0; i < kClients; ++i) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(fd, to.sockaddr(), to.size()), 0);
    clients.push_back(fd);
    if (i % 3 != 2) continue;  // They come in threes, and leave in many ways.
    for (int j = i - 2; j <= i; ++j) {
      char greeting[2];
      ASSERT_EQ(::recv(clients[j], greeting, sizeof(greeting), MSG_WAITALL), 2) << j;
    }
    if (i % 2 == 0) ::close(std::exchange(clients[i - 1], -1));
    if (i % 5 == 0) ::shutdown(clients[i], SHUT_WR);
  }
  runtime.Drain(absl::Seconds(30));
  const ConnectionLedger::Totals totals = runtime.Attachment<ConnectionLedger>(3).Sum();
  EXPECT_EQ(totals.opened, kClients);
  EXPECT_EQ(totals.Open(), 0);
  EXPECT_GT(totals.closed[static_cast<int>(CloseReason::kEvicted)], 0);
  EXPECT_EQ(totals.closed[static_cast<int>(CloseReason::kRefused)], 0);
  for (int fd : clients) {
    if (fd >= 0) ::close(fd);
  }
}

// --- Descriptors and memory that run out, whatever the policy.

TEST(OutOfResources, EachPolicySurvivesErrorsAndServesTheNext) {
  for (const AtLimit at_limit : {AtLimit::kRefuse, AtLimit::kWait, AtLimit::kEvictIdle}) {
    for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
      AcceptorRig rig(AcceptorRig::Small(4, at_limit));
      const int early = rig.Connect();
      rig.Settle();
      rig.os.accept_errors = {error, error, error};
      const int during = rig.Connect();
      rig.Settle();
      for (int i = 0; i < 10; ++i) rig.Advance(absl::Seconds(1));
      const std::string heard = rig.Heard(during);
      const bool may_be_told = at_limit != AtLimit::kWait && (error == EMFILE || error == ENFILE);
      EXPECT_TRUE(heard == "hi" || (may_be_told && heard == "EOF")) << error << ": " << heard;
      EXPECT_GE(rig.Ledger().accept_errors, 1);
      EXPECT_TRUE(rig.os.accept_errors.empty());
      EXPECT_TRUE(Served(rig, early));
      EXPECT_TRUE(Served(rig, rig.Connect()));
    }
  }
}

// Fails each socket, connect or poller registration while its error is set.
class ConnectOs : public FailingOs {
 public:
  int SocketOpen(int family, int type) override {
    return socket_error != 0 ? -socket_error : FailingOs::SocketOpen(family, type);
  }
  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    return connect_error != 0 ? -connect_error : FailingOs::Connect(fd, address, size);
  }
  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override {
    return add_error != 0 ? -add_error : FailingOs::PollerAdd(poller, fd, events, data);
  }
  int socket_error = 0;
  int connect_error = 0;
  int add_error = 0;
};

class Caller : public Session {
 public:
  explicit Caller(std::string* heard) : heard_(*heard) {}
  void OnOpen() override { heard_ += "open "; }
  void OnData(Input& in) override { heard_ += in.TakeAll(); }
  void OnClose(CloseReason reason) override { heard_ += CloseReasonName(reason); }

 private:
  std::string& heard_;
};

TEST(OutOfResources, LoggedOnceAMinuteHoweverManyConnectionsEnd) {
  AcceptorRig rig(AcceptorRig::Small(100, AtLimit::kWait), "127.0.0.1:0", /*descriptors=*/3);
  std::vector<int> clients;
  const LogLevelScope level(LogLevel::kWarning);
  EXPECT_TRUE(LogFlush());  // Lines of earlier tests.
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 30; ++i) clients.push_back(rig.Connect());
  rig.Settle();
  for (int i = 0; i < 20; ++i) {
    rig.Hangup(clients[static_cast<size_t>(i)]);
    rig.Advance(absl::Milliseconds(1'500));
  }
  EXPECT_TRUE(LogFlush());
  std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << lines;
  ::testing::internal::CaptureStderr();
  rig.Advance(absl::Seconds(60));
  EXPECT_TRUE(LogFlush());
  lines = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(lines.find("more since the last such line"), std::string::npos) << lines;
}

TEST(OutOfResources, ConnectFailsAndTheNextOneSucceeds) {
  AcceptorRig server(AcceptorRig::Small(100, AtLimit::kRefuse));
  ConnectOs os;
  Runtime runtime(AcceptorRig::Small(100, AtLimit::kRefuse), os);
  Worker& worker = runtime.worker(0);
  const auto connect = [&](std::string* heard) {
    worker.Enter();
    Slot* slot = worker.life().AllocateSlot();
    worker.life().Open(slot, 16);
    ConnectOn(
        worker, *Address::Parse(server.Where(0)), absl::Seconds(5),
        [=](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, heard); }, slot);
    for (int i = 0; i < 5; ++i) {
      worker.Turn(worker.NowMs());
      worker.Leave();
      server.Settle();
      worker.Enter();
    }
    worker.Leave();
  };
  os.descriptors_left = 1'000;
  const int descriptors = os.descriptors_left;
  std::vector<std::unique_ptr<std::string>> heard;
  for (int* error : {&os.socket_error, &os.connect_error, &os.add_error}) {
    for (const int number : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
      if (error == &os.connect_error && (number == EMFILE || number == ENFILE)) continue;
      if (error == &os.add_error && number != ENOMEM) continue;
      *error = number;
      std::string failed;
      connect(&failed);
      *error = 0;
      EXPECT_EQ(failed, error == &os.add_error ? "out of memory" : "connect failed") << number;
      heard.push_back(std::make_unique<std::string>());
      connect(heard.back().get());
      EXPECT_EQ(*heard.back(), "open hi") << number;
    }
  }
  // Each descriptor of a failed connect was closed again (ConnectOs counts closes, not sockets).
  EXPECT_EQ(os.descriptors_left - descriptors, 3);
  os.clock_runs = true;
  runtime.Drain(absl::ZeroDuration());
}

// --- The accept rate.

TEST(AcceptRate, PeersAboveTheRateWaitInTheBacklog) {
  Options options = AcceptorRig::Small(100, AtLimit::kRefuse);
  options.accepts_per_second_max = 10;
  options.accepts_burst_max = 2;
  AcceptorRig rig(options);
  std::vector<int> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(rig.Connect());
  rig.Settle(20);  // No busy loop.
  const auto greeted = [&] { return rig.actor().OpenConnections(); };
  EXPECT_EQ(greeted(), 2);
  for (int more = 1; more <= 4; ++more) {
    rig.Advance(absl::Milliseconds(95));
    EXPECT_EQ(greeted(), 1 + more);
    rig.Advance(absl::Milliseconds(6));
    EXPECT_EQ(greeted(), 2 + more);
  }
  for (int client : clients) EXPECT_EQ(rig.Heard(client), "hi");
  const int accepts = rig.os.accepts;
  rig.Advance(absl::Seconds(1));
  rig.Advance(absl::Seconds(100));
  EXPECT_LE(rig.os.accepts - accepts, 1) << "at rest nothing is tried";
  for (int i = 0; i < 4; ++i) rig.Connect();
  rig.Settle();
  EXPECT_EQ(greeted(), 6 + 2) << "after a quiet time a burst, and no more";
}

TEST(AcceptRate, IsPerAddressAndChangesWhilePeersWait) {
  Options options = AcceptorRig::Small(100, AtLimit::kWait);
  options.accepts_per_second_max = 1;
  AcceptorRig rig(options, AcceptorRig::NewAddress() + "," + AcceptorRig::NewAddress());
  for (int i = 0; i < 5; ++i) rig.Connect(rig.Where(0));
  rig.Settle();
  EXPECT_EQ(rig.actor().OpenConnections(), 1);
  rig.Connect(rig.Where(1));
  rig.Settle();
  EXPECT_EQ(rig.actor().OpenConnections(), 2);
  rig.Tell(SetAcceptRate{1, 2});
  EXPECT_EQ(rig.actor().OpenConnections(), 4);
  rig.Tell(SetAcceptRate{});
  EXPECT_EQ(rig.actor().OpenConnections(), 6);
}

// The acceptor's two waits share one timer. A pause that finds no timer left would last until a
// connection ends.
TEST(AcceptRate, PauseEndsThoughTheRateSharesItsTimer) {
  Options options = AcceptorRig::Small(100, AtLimit::kWait);
  options.accepts_per_second_max = 1;
  options.timers_max = 1;
  AcceptorRig rig(options, AcceptorRig::NewAddress() + "," + AcceptorRig::NewAddress());
  const int first = rig.Connect(rig.Where(0));
  const int second = rig.Connect(rig.Where(0));
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  rig.os.accept_errors = {EMFILE};
  const int other = rig.Connect(rig.Where(1));
  rig.Settle();
  rig.Advance(absl::Milliseconds(20));
  EXPECT_EQ(rig.Heard(other), "hi");
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(rig.Heard(second), "hi");
}

TEST(AcceptRate, ThoseWhoAreRefusedCountToo) {
  Options options = AcceptorRig::Small(1, AtLimit::kRefuse);
  options.accepts_per_second_max = 10;
  AcceptorRig rig(options);
  for (int i = 0; i < 4; ++i) rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Refused(), 0);
  rig.Advance(absl::Milliseconds(102));
  EXPECT_EQ(rig.Refused(), 1);
  rig.Advance(absl::Seconds(10));
  EXPECT_EQ(rig.Refused(), 2) << "the burst is one";
}

// --- A drain at the limit.

// A drain waits less than this for input that a peer may still have on its way.
constexpr absl::Duration kSilence = absl::Milliseconds(60);

class DrainAtTheLimit : public ::testing::TestWithParam<AtLimit> {};

TEST_P(DrainAtTheLimit, ThoseWhoWaitedAreServedAsOthersEnd) {
  AcceptorRig rig(AcceptorRig::Small(2, GetParam()));
  int first = rig.Connect();
  int second = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  EXPECT_EQ(rig.Heard(second), "hi");
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(rig.Connect());
    ASSERT_EQ(::send(waiting[i], "question", 8, 0), 8);
  }
  const std::string where = rig.Where(0);
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
  rig.Settle();
  const Address to = *Address::Parse(where);
  const int late = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(late, to.sockaddr(), to.size()), -1) << "the door is closed";
  ::close(late);
  EXPECT_EQ(rig.Heard(first), "");
  EXPECT_EQ(rig.Heard(waiting[0]), "");
  EXPECT_EQ(rig.runtime.worker(0).descriptors().Count(), 3) << "the acceptor holds the drain";
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Close(); });
  rig.Settle();
  rig.Advance(kSilence);
  EXPECT_EQ(rig.Heard(first), "EOF");
  EXPECT_EQ(rig.Heard(second), "EOF");
  EXPECT_EQ(rig.Heard(waiting[0]), "") << "there is no place yet";
  rig.Hangup(second);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(rig.Heard(waiting[i]), "hiquestion") << i;
    rig.Advance(kSilence);
    EXPECT_EQ(rig.Heard(waiting[i]), "EOF") << i;
    rig.Hangup(waiting[i]);
  }
  rig.Hangup(first);
  EXPECT_EQ(rig.runtime.worker(0).descriptors().Count(), 0);
  EXPECT_EQ(rig.Refused() + Closed(rig, CloseReason::kEvicted), 0);
}

TEST_P(DrainAtTheLimit, AtTheDeadlineThoseWhoStillWaitAreCounted) {
  AcceptorRig rig(AcceptorRig::Small(1, GetParam()));
  const int first = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  for (int i = 0; i < 3; ++i) rig.Connect();
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
  rig.Settle();
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().ShutdownAll(); });
  rig.Settle();
  EXPECT_EQ(rig.runtime.worker(0).descriptors().Count(), 0);
  EXPECT_EQ(Closed(rig, CloseReason::kShutdown), 4);
}

TEST_P(DrainAtTheLimit, AHigherLimitLetsInThoseWhoWait) {
  AcceptorRig rig(AcceptorRig::Small(1, GetParam()));
  int first = rig.Connect();
  rig.Settle();
  EXPECT_EQ(rig.Heard(first), "hi");
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(rig.Connect());
    ASSERT_EQ(::send(waiting[i], "question", 8, 0), 8);
  }
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
  rig.Settle();
  EXPECT_EQ(rig.Heard(waiting[0]), "");
  rig.Tell(SetConnectionLimit{3, GetParam()});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(rig.Heard(waiting[i]), "hiquestion") << i;
  EXPECT_EQ(rig.Heard(waiting[2]), "") << "there is no place for it yet";
  // As the first ones end, the others come in; no peer is refused.
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Close(); });
  rig.Settle();
  rig.Advance(kSilence);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(rig.Heard(waiting[i]), "EOF") << i;
    rig.Hangup(waiting[i]);
  }
  for (int i = 2; i < 4; ++i) {
    EXPECT_EQ(rig.Heard(waiting[i]), "hiquestion") << i;
    rig.Advance(kSilence);
    EXPECT_EQ(rig.Heard(waiting[i]), "EOF") << i;
    rig.Hangup(waiting[i]);
  }
  rig.Hangup(first);
  EXPECT_EQ(rig.runtime.worker(0).descriptors().Count(), 0);
  EXPECT_EQ(rig.Refused() + Closed(rig, CloseReason::kEvicted), 0);
}

TEST_P(DrainAtTheLimit, HigherRefusingLimitRefusesPeersWithoutAPlace) {
  AcceptorRig rig(AcceptorRig::Small(1, GetParam()));
  rig.Connect();
  rig.Settle();
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) waiting.push_back(rig.Connect());
  rig.runtime.Call(0, [](Worker& worker) { worker.drain().Begin(); });
  rig.Settle();
  rig.Tell(SetConnectionLimit{3, AtLimit::kRefuse});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(rig.Heard(waiting[i]), "hi") << i;
  for (int i = 2; i < 4; ++i) EXPECT_EQ(rig.Heard(waiting[i]), "EOF") << i;
  EXPECT_EQ(rig.Refused(), 2);
}

INSTANTIATE_TEST_SUITE_P(Policies, DrainAtTheLimit,
                         ::testing::Values(AtLimit::kWait, AtLimit::kEvictIdle));

}  // namespace
}  // namespace sluice::testing::acceptor_limits_test
