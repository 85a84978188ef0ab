// Tests of echo's promises for the bytes of one connection, and for its neighbours.

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

TEST(Echo, BytesComeBack) {
  Server server("echo");
  Client client(server.address());
  EXPECT_TRUE(Echoes(client, "hello\n"));
  const std::string every_byte = [] {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
    return bytes;
  }();
  ASSERT_TRUE(client.Send(every_byte));
  EXPECT_TRUE(SameBytes(every_byte, client.ReadExactly(256)));
}

TEST(Echo, SplitWritesComeBackInOrder) {
  Server server("echo");
  Client client(server.address());
  std::string all;
  for (int i = 0; i < 500; ++i) {
    const std::string piece = Pattern(all.size(), 1 + i % 7);
    ASSERT_TRUE(client.Send(piece));
    all += piece;
  }
  EXPECT_TRUE(SameBytes(all, client.ReadExactly(all.size())));
}

TEST(Echo, MergedWritesComeBackInOrder) {
  Server server("echo");
  Client client(server.address());
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += "request " + std::to_string(i) + "\n";
  ASSERT_TRUE(client.Send(requests));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.ReadLine(), "request " + std::to_string(i));
}

TEST(Echo, ASlowWriterIsAnsweredByteByByte) {
  Server server("echo");
  Client client(server.address());
  for (const char byte : std::string("one byte at a time")) {
    ASSERT_TRUE(Echoes(client, std::string(1, byte)));
  }
}

TEST(Echo, AMebibyteFlowsBothWaysAtOnce) {
  Server server("echo");
  Client client(server.address());
  EXPECT_TRUE(client.EchoPattern(kMebibyte));
  EXPECT_TRUE(client.EchoPattern(kMebibyte)) << "and again on the same connection";
}

TEST(Echo, ManyConnectionsFlowBothWaysAtOnce) {
  Server server("echo");
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&server] {
      Client client(server.address());
      EXPECT_TRUE(client.EchoPattern(4 * kMebibyte));
      client.ShutdownWrite();
      EXPECT_EQ(client.ReadUntilEof(), "");
      EXPECT_EQ(client.end(), End::kEof);
    });
  }
}

TEST(Echo, EverythingComesBackAfterHalfCloseThenEof) {
  Server server("echo");
  for (const size_t length : {0, 1, 1000, 60'000}) {
    Client client(server.address());
    ASSERT_TRUE(client.SendPattern(length));
    client.ShutdownWrite();
    EXPECT_TRUE(SameBytes(Pattern(0, length), client.ReadUntilEof())) << length;
    EXPECT_EQ(client.end(), End::kEof) << length;
  }
}

TEST(Echo, LateReaderGetsEverythingAfterHalfClose) {
  Server server("echo");
  Client client(server.address(), {.receive_buffer_bytes = 4096});
  // More than fits into the way back: the server must keep the rest and stop reading.
  const size_t sent = client.SendPatternUntilStopped(64 * kMebibyte);
  client.ShutdownWrite();
  Client neighbour(server.address());
  EXPECT_TRUE(Echoes(neighbour));
  EXPECT_TRUE(client.ReadPattern(sent));
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_EQ(client.end(), End::kEof);
}

TEST(Echo, AResetEndsOnlyItsOwnConnection) {
  Server server("echo");
  Client neighbour(server.address());
  ASSERT_TRUE(Echoes(neighbour));
  const int descriptors = server.RestingDescriptors();
  for (int i = 0; i < 100; ++i) {
    Client client(server.address());
    ASSERT_TRUE(client.SendPattern(1 + 500 * i));
    if (i % 2 == 0) {
      ASSERT_TRUE(client.ReadPattern(1));
    }
    client.Reset();
  }
  EXPECT_TRUE(Echoes(neighbour));
  EXPECT_TRUE(WaitFor([&] { return server.OpenDescriptors() == descriptors; }))
      << "was " << descriptors << " and stays at " << server.OpenDescriptors();
}

TEST(Echo, AResetOfAStoppedReaderFreesItsConnection) {
  Server server("echo");
  Client neighbour(server.address());
  ASSERT_TRUE(Echoes(neighbour));
  const int descriptors = server.RestingDescriptors();
  Client client(server.address(), {.receive_buffer_bytes = 4096});
  client.SendPatternUntilStopped(64 * kMebibyte);
  client.Reset();
  EXPECT_TRUE(WaitFor([&] { return server.OpenDescriptors() == descriptors; }));
  EXPECT_TRUE(Echoes(neighbour));
}

TEST(Echo, AnUrgentByteComesBackInItsPlace) {
  Server server("echo");
  Client client(server.address());
  ASSERT_TRUE(client.Send("abc"));
  ASSERT_TRUE(client.SendUrgent('!'));
  ASSERT_TRUE(client.Send("def"));
  EXPECT_EQ(client.ReadExactly(7), "abc!def");
}

TEST(Echo, UrgentBytesAmongManyOthersLoseNothing) {
  Server server("echo");
  Client client(server.address());
  std::string all;
  for (int i = 0; i < 200; ++i) {
    const std::string piece = Pattern(all.size(), 300);
    ASSERT_TRUE(client.Send(piece));
    ASSERT_TRUE(client.SendUrgent('!'));
    all += piece + '!';
  }
  client.ShutdownWrite();
  EXPECT_TRUE(SameBytes(all, client.ReadUntilEof()));
  EXPECT_EQ(client.end(), End::kEof);
}

// Bytes behind an urgent mark give no event of their own: a server that trusts a short read would
// sleep on them.
TEST(Echo, BytesBehindAnUrgentByteAreRead) {
  Server server("echo");
  for (int i = 0; i < 50; ++i) {
    Client client(server.address());
    ASSERT_TRUE(client.SendUrgent('!'));
    ASSERT_TRUE(client.Send("behind"));
    ASSERT_EQ(client.ReadExactly(7), "!behind");
  }
}

TEST(Echo, StoppedReaderStopsItsWriterAndLosesNothing) {
  Server server("echo");
  Client neighbour(server.address());
  ASSERT_TRUE(Echoes(neighbour));
  const int64_t memory = server.ResidentBytes();
  constexpr size_t kTooMuch = 100 * kMebibyte;

  Client stopped(server.address(), {.receive_buffer_bytes = 4096});
  const size_t sent = stopped.SendPatternUntilStopped(kTooMuch);
  EXPECT_LT(sent, kTooMuch) << "the writer was never slowed";
  EXPECT_TRUE(server.GrewAtMost(16 * kMebibyte, memory));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Echoes(neighbour)) << i;
  EXPECT_TRUE(neighbour.EchoPattern(kMebibyte));

  EXPECT_TRUE(stopped.ReadPattern(sent));
  EXPECT_TRUE(stopped.EchoPattern(kMebibyte)) << "it goes on as before";
  stopped.ShutdownWrite();
  EXPECT_EQ(stopped.ReadUntilEof(), "");
  EXPECT_EQ(stopped.end(), End::kEof);
}

TEST(Echo, ManyStoppedReadersHurtNobody) {
  Server server("echo");
  Client neighbour(server.address());
  ASSERT_TRUE(Echoes(neighbour));
  const int64_t memory = server.ResidentBytes();
  std::vector<Client> stopped;
  std::vector<size_t> sent;
  for (int i = 0; i < 16; ++i) {
    stopped.emplace_back(server.address(), ClientOptions{.receive_buffer_bytes = 4096});
    sent.push_back(stopped.back().SendPatternUntilStopped(64 * kMebibyte, absl::Milliseconds(100)));
  }
  // A connection keeps at most 1 MiB of output and one read; the rest is in the kernel.
  EXPECT_TRUE(server.GrewAtMost(32 * kMebibyte, memory));
  EXPECT_TRUE(neighbour.EchoPattern(kMebibyte));
  for (size_t i = 0; i < stopped.size(); ++i) EXPECT_TRUE(stopped[i].ReadPattern(sent[i])) << i;
}

TEST(Echo, AUnixConnectionCarriesTheSame) {
  Server server("echo", {"--listen=unix:" + UniqueSocketName()});
  Client client(server.address());
  EXPECT_TRUE(client.EchoPattern(2 * kMebibyte));
  Client stopped(server.address());
  const size_t sent = stopped.SendPatternUntilStopped(64 * kMebibyte);
  EXPECT_LT(sent, size_t{64 * kMebibyte});
  EXPECT_TRUE(Echoes(client));
  stopped.ShutdownWrite();
  EXPECT_TRUE(stopped.ReadPattern(sent));
  EXPECT_EQ(stopped.ReadUntilEof(), "");
  EXPECT_EQ(stopped.end(), End::kEof);
}

TEST(Echo, OneWorkerServesAsManyDo) {
  Server server("echo", {"--workers=1"});
  std::vector<Client> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(server.address());
  for (Client& client : clients) EXPECT_TRUE(client.EchoPattern(kMebibyte / 4));
}

}  // namespace
}  // namespace sluice::e2e
