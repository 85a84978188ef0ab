// Tests of echo's end: SIGTERM and SIGINT drain, and a second signal does not wait. Also of
// SIGUSR1.

#include <signal.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// True: no server listens there any more.
bool IsGone(const std::string& address) {
  return WaitFor([&] { return Client(address).connect_errno() == ECONNREFUSED; });
}

TEST(EchoDrain, WithoutConnectionsASignalEndsItWithZero) {
  for (const int number : {SIGTERM, SIGINT}) {
    Server server("echo");
    server.Signal(number);
    EXPECT_EQ(server.Wait(), 0) << strsignal(number);
  }
}

TEST(EchoDrain, ArrivedInputIsAnsweredAlsoToLateReaders) {
  Server server("echo", {"--drain_timeout=20s"});
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.emplace_back(server.address());
    ASSERT_TRUE(Echoes(clients.back()));
  }
  for (Client& client : clients) ASSERT_TRUE(client.SendPattern(20'000));
  for (Client& client : clients) ASSERT_TRUE(client.WaitUntilArrived());
  server.Signal(SIGTERM);
  EXPECT_TRUE(IsGone(server.address()));
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_TRUE(clients[i].ReadPattern(20'000)) << i;
    EXPECT_EQ(clients[i].ReadUntilEof(), "") << i;
    EXPECT_EQ(clients[i].end(), End::kEof) << i;
  }
  clients.clear();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

TEST(EchoDrain, ConnectedPeerIsAnsweredEvenIfNotAccepted) {
  Server server("echo", {"--drain_timeout=20s"});
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.emplace_back(server.address());
    ASSERT_TRUE(clients.back().Send("just in time"));
  }
  for (Client& client : clients) ASSERT_TRUE(client.WaitUntilArrived());
  server.Signal(SIGTERM);
  for (Client& client : clients) {
    EXPECT_EQ(client.ReadUntilEof(), "just in time");
    EXPECT_EQ(client.end(), End::kEof);
  }
  clients.clear();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

TEST(EchoDrain, WaitingPeerIsAnsweredInADrain) {
  Server server("echo", {"--drain_timeout=20s", "--max_connections=2", "--at_limit=wait"});
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back(server.address());
    ASSERT_TRUE(clients.back().Send("in its turn"));
    ASSERT_TRUE(clients.back().WaitUntilArrived());
  }
  EXPECT_EQ(clients[1].ReadExactly(11), "in its turn");
  server.Signal(SIGTERM);
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_EQ(clients[i].ReadUntilEof(), i == 1 ? "" : "in its turn") << i;
    EXPECT_EQ(clients[i].end(), End::kEof) << i;
    clients[i].Close();
  }
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

TEST(EchoDrain, ResumedReaderGetsAllThatHadArrived) {
  Server server("echo", {"--drain_timeout=25s"});
  Client client(server.address(), {.receive_buffer_bytes = 4096});
  const size_t sent = client.SendPatternUntilStopped(64 * kMebibyte);
  const size_t arrived = sent - client.UnacknowledgedBytes();
  server.Signal(SIGTERM);
  EXPECT_TRUE(IsGone(server.address()));
  EXPECT_TRUE(client.ReadPattern(arrived));
  const std::string more = client.ReadUntilEof();
  EXPECT_TRUE(SameBytes(Pattern(arrived, more.size()), more));
  EXPECT_NE(client.end(), End::kTimeout);
  client.Close();
  EXPECT_EQ(server.Wait(), 0);
}

// If the window was closed before the signal, the peer's kernel sends the rest only a round trip
// after the server has read all earlier bytes.
TEST(EchoDrain, BytesBehindAClosedWindowAreAnswered) {
  Server server("echo", {"--drain_timeout=20s"});
  std::vector<Client> clients;
  std::vector<size_t> sent;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(server.address());
    sent.push_back(clients.back().SendPatternUntilStopped(64 * kMebibyte));
  }
  server.Signal(SIGTERM);
  for (Client& client : clients) client.ShutdownWrite();
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_TRUE(clients[i].ReadPattern(sent[i])) << i;
    EXPECT_EQ(clients[i].ReadUntilEof(), "") << i;
    EXPECT_EQ(clients[i].end(), End::kEof) << i;
  }
  clients.clear();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

// The talker gets its last answers and an orderly end before the deadline.
TEST(EchoDrain, SteadyTalkerIsEndedBeforeTheDeadline) {
  Server server("echo", {"--drain_timeout=4s"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  const absl::Time before = absl::Now();
  server.Signal(SIGTERM);
  // The client goes on talking: each answer is right, or the stream has ended.
  EXPECT_TRUE(WaitFor([&] { return !Echoes(client); }));
  EXPECT_NE(client.end(), End::kTimeout);
  client.Close();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
  EXPECT_LT(absl::Now() - before, absl::Seconds(4));
}

TEST(EchoDrain, AnIdlePeerSeesTheEndOfStream) {
  Server server("echo", {"--drain_timeout=20s"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  server.Signal(SIGTERM);
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_EQ(client.end(), End::kEof);
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0) << "though the peer has not closed";
}

TEST(EchoDrain, NonReaderHoldsTheDrainUntilItsDeadline) {
  Server server("echo", {"--drain_timeout=1s"});
  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  stopped.SendPatternUntilStopped(64 * kMebibyte);
  const absl::Time before = absl::Now();
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(900)) << "its bytes were given up too early";
}

TEST(EchoDrain, TheListenerIsClosedWhileTheDrainGoesOn) {
  TempDir folder;
  Server server("echo",
                {"--listen=127.0.0.1:0,unix:" + folder.Path("echo"), "--drain_timeout=60s"});
  ASSERT_EQ(server.addresses().size(), 2u);
  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  stopped.SendPatternUntilStopped(64 * kMebibyte);
  server.Signal(SIGTERM);
  EXPECT_TRUE(IsGone(server.address()));
  EXPECT_TRUE(WaitFor([&] { return !Client(server.addresses()[1]).connected(); }));
  EXPECT_TRUE(server.Running());
}

TEST(EchoDrain, ASecondSignalEndsItAtOnce) {
  for (const int number : {SIGTERM, SIGINT}) {
    Server server("echo", {"--drain_timeout=10m"});
    Client stopped(server.address(), {.receive_buffer_bytes = 4096});
    stopped.SendPatternUntilStopped(64 * kMebibyte, absl::Milliseconds(200));
    server.Signal(number);
    ASSERT_TRUE(IsGone(server.address()));
    ASSERT_TRUE(server.Running());
    // The first 100 ms count as the same order.
    EXPECT_TRUE(WaitFor([&] {
      server.Signal(number);
      return !server.Running();
    }));
    EXPECT_EQ(server.Wait(), 1) << strsignal(number);
    EXPECT_NE(server.StandardError().find("a second signal: the process ends at once"),
              std::string::npos);
  }
}

TEST(EchoDrain, TheDeadlineNamesAPeerThatDidNotRead) {
  Server server("echo", {"--drain_timeout=300ms"});
  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  stopped.SendPatternUntilStopped(64 * kMebibyte, absl::Milliseconds(200));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  const std::string error = server.StandardError();
  const size_t line = error.find("connection with 127.0.0.1:");
  ASSERT_NE(line, std::string::npos) << error;
  EXPECT_NE(error.find("bytes were not sent", line), std::string::npos) << error;
}

// `timeout` signals its child, and then the group in which the child is, too.
TEST(EchoDrain, ASignalThatComesTwiceAtOnceDrains) {
  Server server("echo", {"--drain_timeout=20s"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  client.Send("the last words");
  server.Signal(SIGTERM);
  server.Signal(SIGTERM);
  EXPECT_EQ(client.ReadUntilEof(), "the last words");
  client.Close();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

TEST(EchoDrain, AHangUpDrainsAsSigtermDoes) {
  Server server("echo", {"--drain_timeout=20s"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  client.Send("the last words");
  server.Signal(SIGHUP);
  EXPECT_EQ(client.ReadUntilEof(), "the last words");
  EXPECT_EQ(client.end(), End::kEof);
  client.Close();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
  EXPECT_NE(server.StandardError().find("draining"), std::string::npos);
}

// When a terminal is closed, SIGHUP comes twice: from its shell and from the kernel.
TEST(EchoDrain, ASecondHangUpIsNotTheSecondSignal) {
  Server server("echo", {"--drain_timeout=1s"});
  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  stopped.SendPatternUntilStopped(64 * kMebibyte, absl::Milliseconds(200));
  server.Signal(SIGHUP);
  ASSERT_TRUE(IsGone(server.address()));
  server.Signal(SIGHUP);
  EXPECT_EQ(server.Wait(), 0);
}

// As nohup starts a program.
TEST(EchoDrain, AHangUpThatWasIgnoredBeforeStaysIgnored) {
  const auto before = signal(SIGHUP, SIG_IGN);
  Server server("echo");
  signal(SIGHUP, before);
  server.Signal(SIGHUP);
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoDrain, NothingButTheAddressesIsOnStandardOutput) {
  Server server("echo");
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  server.Signal(SIGUSR1);
  ASSERT_TRUE(Echoes(client));
  client.Close();
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_EQ(server.StandardOutput(), "listening on " + server.address() + "\n");
}

TEST(EchoDrain, BudgetIsLoggedFirstAndLedgerLast) {
  Server server("echo");
  EXPECT_TRUE(WaitFor([&] { return server.StandardError().find("budget") != std::string::npos; }))
      << server.StandardError();
  const size_t before = server.StandardError().size();
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_GT(server.StandardError().size(), before) << "no ledger";
}

TEST(EchoDump, Sigusr1PrintsTheWorkersAndItGoesOn) {
  Server server("echo", {"--workers=2"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  for (int i = 0; i < 3; ++i) {
    const size_t before = server.StandardError().size();
    server.Signal(SIGUSR1);
    EXPECT_TRUE(WaitFor([&] {
      return server.StandardError().find("worker", before) != std::string::npos;
    })) << server.StandardError();
    EXPECT_TRUE(Echoes(client));
  }
}

TEST(EchoDump, SaysHowItStandsOneFactALine) {
  Server server("echo", {"--workers=1", "--max_connections=77", "--write_stalled_timeout=inf"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  // Holds the most bytes, as its answers wait in the server.
  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  stopped.SendPatternUntilStopped(64 * kMebibyte);
  const auto dump = [&] {
    const size_t before = server.StandardError().size();
    server.Signal(SIGUSR1);
    EXPECT_TRUE(WaitFor([&] {
      return server.StandardError().find("bytes sent a second", before) != std::string::npos;
    })) << server.StandardError();
    return server.StandardError().substr(before);
  };
  dump();
  ASSERT_TRUE(client.EchoPattern(kMebibyte));
  const std::string text = dump();
  for (const char* fact : {"sluice: up ", "workers: 1\n", "actors: 3 of 262144\n",
                           "memory: ", "connections: at most 77", "connections: opened 2 = open 2",
                           "connections: bytes read ", "ledger: messages sent ",
                           "ledger: slow handlers ", "holds most: Echo#", "rates: of the last "}) {
    EXPECT_NE(text.find(fact), std::string::npos) << fact << "\n" << text;
  }
  EXPECT_NE(text.find("listening on " + server.address() + "\n"), std::string::npos) << text;
  EXPECT_NE(text.find("of its connection with 127.0.0.1:"), std::string::npos) << text;
  EXPECT_EQ(text.find("; "), std::string::npos) << text;
  // The rates count from the dump before; since then a mebibyte came and went.
  EXPECT_EQ(text.find("rates: 0.0 bytes read a second"), std::string::npos) << text;
}

TEST(EchoDump, Sigusr1UnderLoadLosesNothing) {
  Server server("echo");
  Client client(server.address());
  for (int i = 0; i < 20; ++i) {
    server.Signal(SIGUSR1);
    ASSERT_TRUE(client.EchoPattern(kMebibyte / 4)) << i;
  }
}

}  // namespace
}  // namespace sluice::e2e
