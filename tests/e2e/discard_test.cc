// Tests of discard's promise: it takes all bytes and sends none.

#include <signal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// The server takes all bytes, answers nothing, and answers the end of stream with its own.
void ExpectSwallowed(Client& client, size_t length) {
  for (size_t sent = 0; sent < length; sent += kMebibyte) {
    ASSERT_TRUE(client.SendPattern(std::min<size_t>(kMebibyte, length - sent)));
  }
  client.ShutdownWrite();
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_EQ(client.end(), End::kEof);
}

TEST(Discard, SwallowsAndNeverAnswers) {
  Server server("discard");
  for (const size_t length : {0, 1, 100, 100'000}) {
    Client client(server.address());
    ExpectSwallowed(client, length);
  }
}

TEST(Discard, SwallowsAHundredMegabytesInLittleMemory) {
  Server server("discard");
  Client first(server.address());
  ASSERT_TRUE(first.Send("x"));
  const int64_t memory = server.ResidentBytes();
  Client client(server.address());
  ExpectSwallowed(client, 100'000'000);
  EXPECT_TRUE(server.GrewAtMost(4 * kMebibyte, memory));
  EXPECT_FALSE(first.Readable());
}

TEST(Discard, SwallowsUrgentBytesToo) {
  Server server("discard");
  Client client(server.address());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.SendUrgent('!'));
    ASSERT_TRUE(client.SendPattern(1000));
  }
  client.ShutdownWrite();
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_EQ(client.end(), End::kEof);
}

TEST(Discard, ServesAThousandAndLeavesNothingBehind) {
  RaiseDescriptorLimit();
  Server server("discard");
  {
    Client first(server.address());
    ExpectSwallowed(first, 10);
  }
  const int descriptors = server.RestingDescriptors();
  const int threads = server.Threads();
  const int64_t memory = server.ResidentBytes();
  std::vector<Client> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.emplace_back(server.address());
    ASSERT_TRUE(clients.back().SendPattern(5000)) << i;
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    if (i % 2 == 0) clients[i].Reset();
  }
  for (size_t i = 1; i < clients.size(); i += 2) {
    clients[i].ShutdownWrite();
    EXPECT_EQ(clients[i].ReadUntilEof(), "");
    EXPECT_EQ(clients[i].end(), End::kEof);
  }
  clients.clear();
  EXPECT_TRUE(WaitFor([&] { return server.OpenDescriptors() == descriptors; }))
      << "was " << descriptors << " and stays at " << server.OpenDescriptors();
  EXPECT_EQ(server.Threads(), threads);
  EXPECT_TRUE(server.GrewAtMost(48 * kMebibyte, memory));
}

TEST(Discard, PastTheLimitAPeerIsRefused) {
  Server server("discard", {"--max_connections=2"});
  Client first(server.address());
  Client second(server.address());
  for (int i = 0; i < 5; ++i) {
    Client refused(server.address());
    EXPECT_EQ(refused.ReadUntilEof(), "");
    EXPECT_NE(refused.end(), End::kTimeout);
  }
  ExpectSwallowed(first, 1000);
  ExpectSwallowed(second, 1000);
}

TEST(Discard, AnIdleConnectionEnds) {
  Server server("discard", {"--idle_timeout=300ms"});
  Client client(server.address());
  ASSERT_TRUE(client.Send("x"));
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_NE(client.end(), End::kTimeout);
}

TEST(Discard, AFloodDoesNotHoldADrain) {
  Server server("discard", {"--drain_timeout=10s"});
  Client client(server.address());
  ASSERT_TRUE(client.SendPattern(kMebibyte));
  server.Signal(SIGTERM);
  // The client never stops sending, until the server ends the connection.
  EXPECT_TRUE(WaitFor([&] { return !client.Send(std::string(10'000, 'x')); }));
  EXPECT_EQ(server.Wait(), 0);
}

}  // namespace
}  // namespace sluice::e2e
