// Tests of echo with many connections, too many, or too few descriptors, and with time limits.

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

std::vector<Client> Connect(const Server& server, int count) {
  std::vector<Client> clients;
  for (int i = 0; i < count; ++i) clients.emplace_back(server.address());
  return clients;
}

// True: the server ends the connection without a byte.
bool IsRefused(Client& client) {
  return client.ReadUntilEof().empty() && client.end() != End::kTimeout;
}

// True: a new connection is served, now or once the server finds that it has room.
bool ServesANewOne(const Server& server) {
  return WaitFor([&] {
    Client client(server.address());
    return client.connected() && Echoes(client);
  });
}

TEST(EchoLimits, AThousandConnectionsAreServedAndLeaveNothingBehind) {
  RaiseDescriptorLimit();
  Server server("echo");
  Client first(server.address());
  ASSERT_TRUE(Echoes(first));
  const int descriptors = server.RestingDescriptors();
  const int threads = server.Threads();
  const int64_t memory = server.ResidentBytes();
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients = Connect(server, 1000);
    for (Client& client : clients) ASSERT_TRUE(client.SendPattern(2000)) << round;
    for (Client& client : clients) ASSERT_TRUE(client.ReadPattern(2000)) << round;
    EXPECT_TRUE(Echoes(first));
    // Some clients end their connections in order, some do not.
    for (size_t i = 0; i < clients.size(); ++i) {
      if (i % 3 == 0) clients[i].ShutdownWrite();
      if (i % 3 == 1) clients[i].Reset();
    }
  }
  EXPECT_TRUE(WaitFor([&] { return server.OpenDescriptors() == descriptors; }))
      << "was " << descriptors << " and stays at " << server.OpenDescriptors();
  EXPECT_TRUE(WaitFor([&] { return server.Threads() == threads; }));
  EXPECT_TRUE(server.GrewAtMost(48 * kMebibyte, memory));
  EXPECT_TRUE(Echoes(first));
  first.Close();
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoLimits, PastTheLimitAPeerIsRefusedAtOnce) {
  Server server("echo", {"--max_connections=4", "--at_limit=refuse"});
  std::vector<Client> clients = Connect(server, 4);
  for (Client& client : clients) ASSERT_TRUE(Echoes(client));
  for (int i = 0; i < 20; ++i) {
    Client refused(server.address());
    ASSERT_TRUE(IsRefused(refused)) << i << ": " << refused.end();
  }
  for (Client& client : clients) EXPECT_TRUE(Echoes(client));
  clients.pop_back();
  EXPECT_TRUE(ServesANewOne(server));
}

TEST(EchoLimits, RefusingIsTheDefault) {
  Server server("echo", {"--max_connections=1"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  Client refused(server.address());
  EXPECT_TRUE(IsRefused(refused)) << refused.end();
}

TEST(EchoLimits, PastTheLimitAPeerWaitsUntilAnotherLeaves) {
  Server server("echo", {"--max_connections=4", "--at_limit=wait"});
  std::vector<Client> clients = Connect(server, 4);
  for (Client& client : clients) ASSERT_TRUE(Echoes(client));
  std::vector<Client> waiting = Connect(server, 3);
  for (Client& client : waiting) ASSERT_TRUE(client.Send("let me in"));
  for (Client& client : clients) EXPECT_TRUE(Echoes(client));
  for (Client& client : waiting) EXPECT_FALSE(client.Readable());
  for (size_t i = 0; i < waiting.size(); ++i) {
    clients.pop_back();
    EXPECT_EQ(waiting[i].ReadExactly(9), "let me in") << i;
  }
  EXPECT_TRUE(Echoes(clients.front()));
}

TEST(EchoLimits, AWaitingPeerThatGivesUpTakesNoPlace) {
  Server server("echo", {"--max_connections=1", "--at_limit=wait"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  for (Client& gone : Connect(server, 5)) gone.Reset();
  client.Close();
  EXPECT_TRUE(ServesANewOne(server));
}

// Each client is served or refused in the end: none is left hanging. Returns how many are served.
int CountServed(std::vector<Client>& clients) {
  int served = 0;
  for (Client& client : clients) client.Send("x");
  for (size_t i = 0; i < clients.size(); ++i) {
    served += clients[i].ReadExactly(1) == "x" ? 1 : 0;
    if (clients[i].end() != End::kTimeout) continue;
    ADD_FAILURE() << i << " hangs, after " << served << " were served";
    break;
  }
  return served;
}

TEST(EchoLimits, FewDescriptorsFromTheStartServeSome) {
  Server server("echo", {"--max_connections=1000"}, {.descriptors_max = 64});
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients = Connect(server, 120);
    const int served = CountServed(clients);
    EXPECT_GE(served, 8) << round;
    EXPECT_LT(served, 64) << round;
    EXPECT_TRUE(Echoes(clients.front())) << "who was served stays";
    clients.clear();
    EXPECT_TRUE(ServesANewOne(server)) << round;
  }
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoLimits, ItsOwnLimitFitsFewDescriptors) {
  Server server("echo", {}, {.descriptors_max = 64});
  std::vector<Client> clients = Connect(server, 120);
  EXPECT_GE(CountServed(clients), 1);
  clients.clear();
  EXPECT_TRUE(ServesANewOne(server));
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoLimits, TooLowSoftLimitOfDescriptorsIsRaised) {
  Server server("echo", {"--max_connections=150"},
                {.descriptors_max = 400, .descriptors_soft_max = 64});
  std::vector<Client> clients;
  for (int i = 0; i < 150; ++i) clients.emplace_back(server.address());
  int served = 0;
  for (Client& client : clients) served += client.Send("hello") && client.ReadExactly(5) == "hello";
  EXPECT_EQ(served, 150);
  EXPECT_EQ(server.StandardError().find("exceeds the descriptor limit"), std::string::npos);
}

TEST(EchoLimits, LackOfDescriptorsIsLogged) {
  Server server("echo", {"--max_connections=5000"},
                {.descriptors_max = 400, .descriptors_soft_max = 64});
  EXPECT_TRUE(WaitFor([&] {
    return server.StandardError().find(
               "max_connections = 5000 exceeds the descriptor limit: the process may open "
               "400 descriptors") != std::string::npos;
  })) << server.StandardError();
  EXPECT_NE(server.StandardError().find("336 connections"), std::string::npos);
}

TEST(EchoLimits, OutOfDescriptorsItRefusesAndRecovers) {
  Server server("echo");
  Client first(server.address());
  ASSERT_TRUE(Echoes(first));
  server.LimitDescriptorsToOpenAnd(8);
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients = Connect(server, 50);
    const int served = CountServed(clients);
    EXPECT_GE(served, 4) << round;
    EXPECT_LE(served, 8) << round;
    EXPECT_TRUE(Echoes(first));
    clients.clear();
    EXPECT_TRUE(ServesANewOne(server)) << round;
  }
  first.Close();
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoLimits, OutOfDescriptorsWaitServesEachInTurn) {
  Server server("echo", {"--at_limit=wait"});
  Client first(server.address());
  ASSERT_TRUE(Echoes(first));
  server.LimitDescriptorsToOpenAnd(8);
  std::vector<Client> clients = Connect(server, 50);
  for (Client& client : clients) ASSERT_TRUE(client.Send("x"));
  ASSERT_EQ(clients.front().ReadExactly(1), "x");

  // A backlog that cannot be emptied is always ready. One second shows whether the server spins.
  const absl::Duration before = server.ProcessorTime();
  WaitFor([] { return false; }, absl::Seconds(1));
  EXPECT_LT(server.ProcessorTime() - before, absl::Milliseconds(500));

  EXPECT_TRUE(Echoes(first));
  clients.front().Close();
  for (size_t i = 1; i < clients.size(); ++i) {
    ASSERT_EQ(clients[i].ReadExactly(1), "x") << i << ": " << clients[i].end();
    clients[i].Close();
  }
  EXPECT_TRUE(ServesANewOne(server));
}

TEST(EchoLimits, PastTheLimitTheLongestIdleOneMakesRoom) {
  Server server("echo", {"--max_connections=3", "--at_limit=evict_idle"});
  std::vector<Client> clients = Connect(server, 3);
  for (Client& client : clients) ASSERT_TRUE(Echoes(client));
  // Their order is exact to a second: the first and the last client speak until two seconds have
  // passed.
  const absl::Time before = absl::Now();
  while (absl::Now() - before < absl::Seconds(2.1)) {
    ASSERT_TRUE(Echoes(clients[0]));
    ASSERT_TRUE(Echoes(clients[2]));
  }
  Client newcomer(server.address());
  EXPECT_TRUE(Echoes(newcomer));
  EXPECT_EQ(clients[1].ReadUntilEof(), "");
  EXPECT_NE(clients[1].end(), End::kTimeout);
  EXPECT_TRUE(Echoes(clients[0]));
  EXPECT_TRUE(Echoes(clients[2]));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(ServesANewOne(server));
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_NE(server.StandardError().find("evicted "), std::string::npos) << server.StandardError();
}

TEST(EchoLimits, OutOfDescriptorsEvictIdleServesEveryNewcomer) {
  Server server("echo", {"--at_limit=evict_idle"});
  Client first(server.address());
  ASSERT_TRUE(Echoes(first));
  server.LimitDescriptorsToOpenAnd(8);
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients;
    for (int i = 0; i < 30; ++i) {
      clients.emplace_back(server.address());
      ASSERT_TRUE(Echoes(clients.back())) << round << " " << i;
    }
    clients.clear();
    EXPECT_TRUE(ServesANewOne(server)) << round;
  }
  EXPECT_EQ(server.Stop(), 0);
}

TEST(EchoLimits, AboveTheAcceptRateAPeerWaits) {
  Server server("echo", {"--accept_rate=2"});
  const absl::Time before = absl::Now();
  std::vector<Client> clients = Connect(server, 4);
  for (Client& client : clients) EXPECT_TRUE(Echoes(client));
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(1400));  // At once, then 3 x 500 ms.
}

TEST(EchoTimeouts, AnIdleConnectionEnds) {
  Server server("echo", {"--idle_timeout=300ms"});
  Client client(server.address());
  ASSERT_TRUE(Echoes(client));
  const absl::Time before = absl::Now();
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_NE(client.end(), End::kTimeout);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(250));
}

TEST(EchoTimeouts, AConnectionThatNeverSaidAnythingIsIdle) {
  Server server("echo", {"--idle_timeout=300ms"});
  Client client(server.address());
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_NE(client.end(), End::kTimeout);
}

TEST(EchoTimeouts, AConnectionInUseIsNotIdle) {
  Server server("echo", {"--idle_timeout=2s"});
  Client client(server.address());
  const absl::Time before = absl::Now();
  while (absl::Now() - before < absl::Seconds(4)) ASSERT_TRUE(Echoes(client));
}

TEST(EchoTimeouts, ALifetimeEndsEvenAConnectionInUse) {
  Server server("echo", {"--lifetime_timeout=500ms"});
  Client client(server.address());
  const absl::Time before = absl::Now();
  EXPECT_TRUE(WaitFor([&] { return !Echoes(client); }));
  EXPECT_NE(client.end(), End::kTimeout);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(400));
  EXPECT_TRUE(ServesANewOne(server));
}

TEST(EchoTimeouts, WithoutThemAConnectionMayRest) {
  Server server("echo");
  Client resting(server.address());
  Client other(server.address());
  const absl::Time before = absl::Now();
  while (absl::Now() - before < absl::Seconds(1)) ASSERT_TRUE(Echoes(other));
  EXPECT_TRUE(Echoes(resting));
}

}  // namespace
}  // namespace sluice::e2e
