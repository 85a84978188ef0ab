// Tests of the relay between a client and an upstream, both played by the test: bytes, ends, and
// faults of the upstream.

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/listener.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

std::vector<std::string> To(const std::string& upstream, std::vector<std::string> flags = {}) {
  flags.push_back("--upstream=" + upstream);
  return flags;
}

// A relay, its upstream, and one pair through it.
class Relayed {
 public:
  explicit Relayed(std::vector<std::string> flags = {})
      : relay("relay", To(listener.address(), std::move(flags))),
        client(relay.address()),
        upstream(listener.Accept()) {}

  Listener listener;
  Server relay;
  Client client;
  Client upstream;
};

// True: the connection soon ends without a byte, in whatever way.
bool EndsWithoutAByte(Client& client) {
  return client.ReadUntilEof().empty() && client.end() != End::kTimeout;
}

TEST(Relay, BytesPassBothWays) {
  Relayed pair;
  ASSERT_TRUE(pair.upstream.connected());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(pair.client.SendPattern(1'000));
    ASSERT_TRUE(pair.upstream.ReadPattern(1'000)) << i;
    ASSERT_TRUE(pair.upstream.SendPattern(1'000));
    ASSERT_TRUE(pair.client.ReadPattern(1'000)) << i;
  }
}

TEST(Relay, MuchPassesBothWaysAtOnce) {
  Relayed pair;
  constexpr size_t kMuch = 50 * kMebibyte;
  std::thread client_sends([&] { EXPECT_TRUE(pair.client.SendPattern(kMuch)); });
  std::thread upstream_sends([&] { EXPECT_TRUE(pair.upstream.SendPattern(kMuch)); });
  // A Client shares no state between sending and receiving.
  std::thread upstream_reads([&] { EXPECT_TRUE(pair.upstream.ReadPattern(kMuch)); });
  EXPECT_TRUE(pair.client.ReadPattern(kMuch));
  client_sends.join();
  upstream_sends.join();
  upstream_reads.join();
}

TEST(Relay, UnixSocketsOnBothSides) {
  TempDir folder;
  ListenerOptions options;
  options.unix_path = folder.Path("upstream");
  Listener listener(options);
  Server relay("relay", To(listener.address(), {"--listen=unix:" + folder.Path("relay")}));
  Client client(relay.address());
  Client upstream = listener.Accept();
  ASSERT_TRUE(client.connected() && upstream.connected());
  ASSERT_TRUE(client.SendPattern(100'000));
  EXPECT_TRUE(upstream.ReadPattern(100'000));
  ASSERT_TRUE(upstream.SendPattern(100'000));
  EXPECT_TRUE(client.ReadPattern(100'000));
}

// --- Half-close.

TEST(Relay, ClientHalfCloseReachesUpstreamAndAnswerComes) {
  Relayed pair;
  ASSERT_TRUE(pair.client.Send("question"));
  pair.client.ShutdownWrite();
  EXPECT_EQ(pair.upstream.ReadUntilEof(), "question");
  EXPECT_EQ(pair.upstream.end(), End::kEof);
  std::thread answer([&] {
    EXPECT_TRUE(pair.upstream.SendPattern(5 * kMebibyte));
    pair.upstream.Close();
  });
  EXPECT_TRUE(pair.client.ReadPattern(5 * kMebibyte));
  EXPECT_EQ(pair.client.ReadUntilEof(), "");
  answer.join();
  EXPECT_EQ(pair.client.end(), End::kEof);
}

TEST(Relay, UpstreamHalfCloseReachesClientAndBytesArrive) {
  Relayed pair;
  ASSERT_TRUE(pair.upstream.Send("banner, and that is all"));
  pair.upstream.ShutdownWrite();
  EXPECT_EQ(pair.client.ReadUntilEof(), "banner, and that is all");
  EXPECT_EQ(pair.client.end(), End::kEof);
  std::thread speech([&] {
    EXPECT_TRUE(pair.client.SendPattern(5 * kMebibyte));
    pair.client.Close();
  });
  EXPECT_TRUE(pair.upstream.ReadPattern(5 * kMebibyte));
  EXPECT_EQ(pair.upstream.ReadUntilEof(), "");
  speech.join();
  EXPECT_EQ(pair.upstream.end(), End::kEof);
}

TEST(Relay, BothEndingLeavesNothingBehind) {
  Listener listener;
  Server relay("relay", To(listener.address()));
  Client first(relay.address());
  Client firsts_upstream = listener.Accept();
  ASSERT_TRUE(first.SendPattern(1));
  ASSERT_TRUE(firsts_upstream.ReadPattern(1));
  const int descriptors = relay.RestingDescriptors();
  for (int i = 0; i < 50; ++i) {
    Client client(relay.address());
    Client upstream = listener.Accept();
    ASSERT_TRUE(client.Send("bye"));
    client.ShutdownWrite();
    ASSERT_EQ(upstream.ReadUntilEof(), "bye") << i;
    upstream.Close();
    ASSERT_EQ(client.ReadUntilEof(), "") << i;
    ASSERT_EQ(client.end(), End::kEof) << i;
  }
  EXPECT_TRUE(WaitFor([&] { return relay.OpenDescriptors() == descriptors; }));
}

TEST(Relay, AHalfClosedPairThatIsSilentIsReaped) {
  Relayed pair({"--half_closed_timeout=300ms"});
  pair.client.ShutdownWrite();
  EXPECT_EQ(pair.upstream.ReadUntilEof(), "");
  const absl::Time before = absl::Now();
  EXPECT_EQ(pair.client.ReadUntilEof(), "");
  EXPECT_EQ(pair.client.end(), End::kReset) << "an answer that never came is no empty answer";
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(200));
  EXPECT_TRUE(WaitFor([&] { return !pair.upstream.Send("anybody?"); }));
}

// --- Resets and refusals.

TEST(Relay, AnUpstreamThatRefusesEndsTheClientAtOnce) {
  Listener listener;
  Server relay("relay", To(listener.address()));
  listener.Close();
  const absl::Time before = absl::Now();
  for (int i = 0; i < 20; ++i) {
    Client client(relay.address());
    client.Send("anybody?");
    ASSERT_TRUE(EndsWithoutAByte(client)) << i;
  }
  EXPECT_LT(absl::Now() - before, absl::Seconds(2)) << "connect_timeout is for silence";
  EXPECT_EQ(relay.Stop(), 0);
}

TEST(Relay, MissingUpstreamPathEndsTheClientAtOnce) {
  TempDir folder;
  Server relay("relay", To("unix:" + folder.Path("nobody")));
  Client client(relay.address());
  EXPECT_TRUE(EndsWithoutAByte(client));
}

TEST(Relay, UnknownUpstreamNameEndsTheClient) {
  Server relay("relay", To("no-such-name.invalid:1"));  // RFC 6761, 6.4: the name never exists.
  Client client(relay.address());
  EXPECT_TRUE(EndsWithoutAByte(client));
}

TEST(Relay, UpstreamResetIsAResetForTheClient) {
  Relayed pair;
  ASSERT_TRUE(pair.client.Send("hello"));
  ASSERT_EQ(pair.upstream.ReadExactly(5), "hello");
  pair.upstream.Reset();
  EXPECT_EQ(pair.client.ReadUntilEof(), "");
  EXPECT_EQ(pair.client.end(), End::kReset);
}

TEST(Relay, ClientResetIsAResetForTheUpstream) {
  Relayed pair;
  ASSERT_TRUE(pair.client.Send("hello"));
  ASSERT_EQ(pair.upstream.ReadExactly(5), "hello");
  pair.client.Reset();
  EXPECT_EQ(pair.upstream.ReadUntilEof(), "");
  EXPECT_EQ(pair.upstream.end(), End::kReset);
}

TEST(Relay, ResetPassesThoughTheOtherSideReadsNothing) {
  Relayed pair;
  pair.client.SendPatternUntilStopped(100 * kMebibyte, absl::Milliseconds(300));
  pair.client.Reset();
  // Bytes that had reached the upstream's kernel before the reset may still be read there.
  pair.upstream.ReadUntilEof();
  EXPECT_EQ(pair.upstream.end(), End::kReset);
}

TEST(Relay, AnEndOfOnePairTouchesNoOther) {
  Relayed pair;
  for (int i = 0; i < 20; ++i) {
    Client client(pair.relay.address());
    Client upstream = pair.listener.Accept();
    (i % 2 == 0 ? client : upstream).Reset();
    ASSERT_TRUE(pair.client.SendPattern(1'000));
    ASSERT_TRUE(pair.upstream.ReadPattern(1'000)) << i;
  }
}

// --- An upstream that is slow to answer: its backlog is full, so the kernel answers no SYN.

class FullBacklog {
 public:
  explicit FullBacklog(const std::string& unix_path = "")
      : listener({0, 0, unix_path}), filler(listener.address()) {}
  void MakeRoom() { held = listener.Accept(); }
  Listener listener;
  Client filler;
  Client held{"nowhere"};
};

TEST(Relay, BytesBeforeTheUpstreamConnectsAreKept) {
  FullBacklog full;
  ASSERT_TRUE(full.filler.connected());
  Server relay("relay", To(full.listener.address(), {"--connect_timeout=20s"}));
  Client client(relay.address());
  ASSERT_TRUE(client.SendPattern(100'000));
  ASSERT_TRUE(client.WaitUntilArrived());
  client.ShutdownWrite();
  full.MakeRoom();
  Client upstream = full.listener.Accept();  // Comes with the next SYN, some seconds later.
  ASSERT_TRUE(upstream.connected());
  EXPECT_TRUE(upstream.ReadPattern(100'000));
  EXPECT_EQ(upstream.ReadUntilEof(), "");
  EXPECT_EQ(upstream.end(), End::kEof);
}

// A UNIX socket without room refuses at once, and no event reports new room.
TEST(Relay, FullUnixUpstreamIsRetriedUntilRoom) {
  TempDir folder;
  FullBacklog full(folder.Path("upstream"));
  ASSERT_TRUE(full.filler.connected());
  Server relay("relay", To(full.listener.address(), {"--connect_timeout=20s"}));
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(relay.address());
    ASSERT_TRUE(clients.back().Send("early"));
    ASSERT_TRUE(clients.back().WaitUntilArrived());
  }
  full.MakeRoom();
  for (int i = 0; i < 20; ++i) {
    Client upstream = full.listener.Accept();
    ASSERT_TRUE(upstream.connected()) << i;
    EXPECT_EQ(upstream.ReadExactly(5), "early") << i;
  }
}

TEST(Relay, SilentUpstreamEndsTheClientAfterConnectTimeout) {
  TempDir folder;
  for (const std::string& unix_path : {std::string(), folder.Path("upstream")}) {
    FullBacklog full(unix_path);
    ASSERT_TRUE(full.filler.connected());
    Server relay("relay", To(full.listener.address(), {"--connect_timeout=400ms"}));
    const absl::Time before = absl::Now();
    Client client(relay.address());
    ASSERT_TRUE(client.Send("anybody?"));
    EXPECT_TRUE(EndsWithoutAByte(client));
    EXPECT_GE(absl::Now() - before, absl::Milliseconds(300));
    EXPECT_LT(absl::Now() - before, absl::Seconds(10));
  }
}

TEST(Relay, ClientThatGivesUpEarlyLeavesNothingBehind) {
  FullBacklog full;
  ASSERT_TRUE(full.filler.connected());
  Server relay("relay", To(full.listener.address(), {"--connect_timeout=1h", "--workers=1"}));
  // Two descriptors for each client, and fewer than 20 of the relay's own.
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(relay.address());
  ASSERT_TRUE(WaitFor([&] { return relay.OpenDescriptors() >= 40; }));
  for (Client& client : clients) client.Reset();
  EXPECT_TRUE(WaitFor([&] { return relay.OpenDescriptors() < 40 - 2 * 10; }));
}

// --- Flags.

void ExpectOneLine(const std::vector<std::string>& flags, const std::string& word) {
  Process process(ExamplePath("relay"), flags);
  EXPECT_EQ(process.Wait(absl::Seconds(10)), 1);
  const std::string error = process.StandardError();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  EXPECT_NE(error.find(word), std::string::npos) << error;
  EXPECT_EQ(process.StandardOutput(), "");
}

TEST(RelayFlags, BadUpstreamIsNamedInOneLine) {
  ExpectOneLine({"--listen=127.0.0.1:0"}, "--upstream");
  ExpectOneLine({"--listen=127.0.0.1:0", "--upstream="}, "--upstream");
  for (const char* bad : {"nonsense", "127.0.0.1", "127.0.0.1:99999", "unix:", "[::1"}) {
    ExpectOneLine(To(bad, {"--listen=127.0.0.1:0"}), bad);
    ExpectOneLine(To(bad, {"--listen=127.0.0.1:0"}), "--upstream");
  }
}

// A relay to itself would fill up with connections to itself.
TEST(RelayFlags, ItsOwnAddressIsNoUpstream) {
  TempDir folder;
  const std::string file = "unix:" + folder.Path("relay");
  const std::string name = "unix:" + UniqueSocketName();
  std::string port;
  {
    Listener free;
    port = free.address().substr(free.address().rfind(':'));
  }
  const std::pair<std::string, std::string> selves[] = {{"127.0.0.1" + port, "127.0.0.1" + port},
                                                        {"0.0.0.0" + port, "127.0.0.1" + port},
                                                        {"0.0.0.0" + port, "localhost" + port},
                                                        {"[::1]" + port, "[::1]" + port},
                                                        {file, file},
                                                        {name, name}};
  for (const auto& [listen, upstream] : selves) {
    ExpectOneLine(To(upstream, {"--listen=" + listen}), "another server");
  }
}

TEST(RelayFlags, ABadConnectTimeoutIsNamedInOneLine) {
  for (const char* bad : {"--connect_timeout=0", "--connect_timeout=-1s", "--connect_timeout=x"}) {
    ExpectOneLine(To("127.0.0.1:1", {"--listen=127.0.0.1:0", bad}), "connect_timeout");
  }
}

}  // namespace
}  // namespace sluice::e2e
