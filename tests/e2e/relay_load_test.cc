// Tests of the relay under load: readers that stop, many pairs, and a drain while bytes flow.

#include <signal.h>

#include <cstdio>
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

constexpr size_t kOffered = 100 * kMebibyte;

std::vector<std::string> To(const Listener& upstream, std::vector<std::string> flags = {}) {
  flags.push_back("--upstream=" + upstream.address());
  return flags;
}

// The ceiling of this process that the relay printed at its start.
int64_t PrintedBytes(const Server& relay) {
  std::string line;
  EXPECT_TRUE(WaitFor([&] {
    line = relay.StandardError();
    return line.find(" of this process") != std::string::npos;
  })) << line;
  double mebibytes = 0;
  const size_t at = line.rfind("= ", line.find(" of this process"));
  EXPECT_EQ(std::sscanf(line.c_str() + at, "= %lf MiB", &mebibytes), 1) << line;
  return static_cast<int64_t>(mebibytes * kMebibyte);
}

// The writer offers 100 MB to a reader that has stopped, so the writer is stopped, too. Then the
// reader reads, and gets every byte.
void StoppedReader(bool client_reads) {
  ListenerOptions options;
  options.receive_buffer_bytes = 4096;
  Listener listener(options);
  Server relay("relay", To(listener));
  Client neighbour(relay.address());
  Client neighbours_upstream = listener.Accept();
  const int64_t printed = PrintedBytes(relay);
  const int64_t before = relay.ResidentBytes();
  Client client(relay.address(), {.receive_buffer_bytes = 4096});
  Client upstream = listener.Accept();
  Client& writer = client_reads ? upstream : client;
  Client& reader = client_reads ? client : upstream;

  const size_t taken = writer.SendPatternUntilStopped(kOffered);
  EXPECT_LT(taken, 16u * kMebibyte) << "the writer was not stopped";
  EXPECT_TRUE(relay.GrewAtMost(kMebibyte, before));
  EXPECT_TRUE(kSanitized || relay.ResidentBytes() < printed);
  // The other direction, and another pair, notice nothing.
  ASSERT_TRUE(reader.SendPattern(kMebibyte));
  ASSERT_TRUE(writer.ReadPattern(kMebibyte));
  ASSERT_TRUE(neighbour.SendPattern(kMebibyte));
  ASSERT_TRUE(neighbours_upstream.ReadPattern(kMebibyte));

  std::thread rest([&] {
    EXPECT_TRUE(writer.SendPattern(kOffered - taken));
    writer.ShutdownWrite();
  });
  EXPECT_TRUE(reader.ReadPattern(kOffered));
  EXPECT_EQ(reader.ReadUntilEof(), "");
  EXPECT_EQ(reader.end(), End::kEof);
  rest.join();
  EXPECT_TRUE(relay.GrewAtMost(2 * kMebibyte, before));
  EXPECT_TRUE(kSanitized || relay.ResidentBytes() < printed);
}

TEST(RelayLoad, StoppedUpstreamStopsTheClientAndLosesNothing) { StoppedReader(false); }

TEST(RelayLoad, StoppedClientStopsTheUpstreamAndLosesNothing) { StoppedReader(true); }

TEST(RelayLoad, BothStoppedAtOnceBothGoOn) {
  ListenerOptions options;
  options.receive_buffer_bytes = 4096;
  Listener listener(options);
  Server relay("relay", To(listener));
  Client client(relay.address(), {.receive_buffer_bytes = 4096});
  Client upstream = listener.Accept();
  const size_t to_upstream = client.SendPatternUntilStopped(kOffered);
  const size_t to_client = upstream.SendPatternUntilStopped(kOffered);
  EXPECT_LT(to_upstream + to_client, 32u * kMebibyte);
  EXPECT_TRUE(client.ReadPattern(to_client));
  EXPECT_TRUE(upstream.ReadPattern(to_upstream));
}

TEST(RelayLoad, ManyPairsPassTheirBytesAndLeaveNothingBehind) {
  RaiseDescriptorLimit();
  Listener listener;
  Server relay("relay", To(listener, {"--workers=2"}));
  Client first(relay.address());
  Client firsts_upstream = listener.Accept();
  ASSERT_TRUE(first.SendPattern(1));
  ASSERT_TRUE(firsts_upstream.ReadPattern(1));
  const int descriptors = relay.RestingDescriptors();
  const int64_t memory = relay.ResidentBytes();
  constexpr int kPairs = 500;
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients;
    std::vector<Client> upstreams;
    for (int i = 0; i < kPairs; ++i) {
      clients.emplace_back(relay.address());
      ASSERT_TRUE(clients.back().connected()) << i;
      upstreams.push_back(listener.Accept());
      ASSERT_TRUE(upstreams.back().connected()) << i;
    }
    for (int i = 0; i < kPairs; ++i) ASSERT_TRUE(clients[i].SendPattern(2'000));
    for (int i = 0; i < kPairs; ++i) ASSERT_TRUE(upstreams[i].SendPattern(2'000));
    for (int i = 0; i < kPairs; ++i) ASSERT_TRUE(clients[i].ReadPattern(2'000)) << i;
    for (int i = 0; i < kPairs; ++i) ASSERT_TRUE(upstreams[i].ReadPattern(2'000)) << i;
    EXPECT_TRUE(WaitFor([&] { return relay.OpenDescriptors() == descriptors + 2 * kPairs; }));
    for (int i = 0; i < kPairs; ++i) {
      if (i % 3 == 0) clients[i].Reset();
      if (i % 3 == 1) upstreams[i].ShutdownWrite();
    }
  }
  EXPECT_TRUE(WaitFor([&] { return relay.OpenDescriptors() == descriptors; }))
      << "was " << descriptors << " and stays at " << relay.OpenDescriptors();
  EXPECT_TRUE(relay.GrewAtMost(24 * kMebibyte, memory));
  ASSERT_TRUE(first.SendPattern(1'000));
  EXPECT_TRUE(firsts_upstream.ReadPattern(1'000));
  EXPECT_EQ(relay.Stop(), 0);
}

// Each pair takes two descriptors: the relay can serve all pairs that its default limit admits.
TEST(RelayLoad, DefaultLimitFitsTheDescriptors) {
  Listener listener;
  Server relay("relay", To(listener), {.descriptors_max = 164});
  std::vector<Client> clients;
  for (int i = 0; i < 50; ++i) {
    clients.emplace_back(relay.address());
    Client upstream = listener.Accept();
    ASSERT_TRUE(clients.back().Send("x"));
    ASSERT_EQ(upstream.ReadExactly(1), "x") << i;
    ASSERT_TRUE(upstream.Send("y"));
    ASSERT_EQ(clients.back().ReadExactly(1), "y") << i;
    clients.push_back(std::move(upstream));
  }
  Client refused(relay.address());
  EXPECT_EQ(refused.ReadUntilEof(), "");
  EXPECT_NE(refused.end(), End::kTimeout);
}

// --- Drain.

TEST(RelayDrain, TransfersUnderWayAreFinished) {
  Listener listener;
  Server relay("relay", To(listener, {"--drain_timeout=25s"}));
  Client client(relay.address());
  Client upstream = listener.Accept();
  ASSERT_TRUE(client.Send("x"));
  ASSERT_EQ(upstream.ReadExactly(1), "x");
  std::thread sends([&] {
    EXPECT_TRUE(client.SendPattern(kOffered));
    client.ShutdownWrite();
  });
  ASSERT_TRUE(upstream.ReadPattern(kMebibyte));
  relay.Signal(SIGTERM);
  EXPECT_TRUE(upstream.ReadPattern(kOffered - kMebibyte));
  EXPECT_EQ(upstream.ReadUntilEof(), "");
  EXPECT_EQ(upstream.end(), End::kEof);
  sends.join();
  ASSERT_TRUE(upstream.Send("thanks"));
  upstream.Close();
  EXPECT_EQ(client.ReadUntilEof(), "thanks");
  EXPECT_EQ(client.end(), End::kEof);
  EXPECT_EQ(relay.Wait(absl::Seconds(20)), 0);
}

TEST(RelayDrain, BytesQueuedForALateReaderAreDelivered) {
  ListenerOptions options;
  options.receive_buffer_bytes = 4096;
  Listener listener(options);
  Server relay("relay", To(listener, {"--drain_timeout=25s"}));
  Client client(relay.address());
  Client upstream = listener.Accept();
  const size_t sent = client.SendPatternUntilStopped(kOffered);
  relay.Signal(SIGTERM);
  ASSERT_TRUE(WaitFor([&] { return relay.StandardError().find("drain") != std::string::npos; }));
  EXPECT_TRUE(upstream.ReadPattern(sent)) << "also what lay in the client's own kernel";
  EXPECT_EQ(upstream.ReadUntilEof(), "");
  EXPECT_EQ(upstream.end(), End::kEof);
  upstream.Close();
  client.Close();
  EXPECT_EQ(relay.Wait(absl::Seconds(20)), 0);
}

TEST(RelayDrain, PairsAtRestDoNotHoldIt) {
  Listener listener;
  Server relay("relay", To(listener, {"--drain_timeout=10m"}));
  std::vector<Client> ends;
  for (int i = 0; i < 100; ++i) {
    ends.emplace_back(relay.address());
    ends.push_back(listener.Accept());
    ASSERT_TRUE(ends.back().connected());
  }
  relay.Signal(SIGTERM);
  EXPECT_EQ(relay.Wait(absl::Seconds(20)), 0);
  for (Client& end : ends) {
    EXPECT_EQ(end.ReadUntilEof(), "");
    EXPECT_EQ(end.end(), End::kEof);
  }
}

TEST(RelayDrain, FlowsAreResetAtTheDeadlineNotEnded) {
  Listener listener;
  Server relay("relay", To(listener, {"--drain_timeout=1s"}));
  Client client(relay.address());
  Client upstream = listener.Accept();
  client.SendPatternUntilStopped(kOffered, absl::Milliseconds(200));
  relay.Signal(SIGTERM);
  EXPECT_EQ(relay.Wait(), 0);
  upstream.ReadUntilEof();
  EXPECT_EQ(upstream.end(), End::kReset) << "a cut upload looks whole";
}

}  // namespace
}  // namespace sluice::e2e
