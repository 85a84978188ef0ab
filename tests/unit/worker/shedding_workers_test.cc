// Shedding over sleeping workers, on real sockets: a sender outside of the workers that is refused
// memory wakes one worker, and that worker wakes the others.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::shedding_workers_test {
namespace {

struct Note {
  std::string text;
};
class Listener : public Actor {
 public:
  void On(Note) {}
};
// Writes more than a peer that does not read can take.
class Talker : public Session {
 public:
  void OnOpen() override { EXPECT_EQ(Write(std::string(900'000, 'x')), Answer::kAccepted); }
  void OnData(Input& in) override { in.TakeAll(); }
};

TEST(Shedding, OutsideRefusalWakesSleepingWorkers) {
  Options options = SmallOptions(2);
  options.shed_after = absl::Milliseconds(100);
  Runtime runtime(options);
  const Ref<Listener> listener =
      runtime.SpawnWith<Listener>({.name = "", .mailbox_messages_max = 8, .worker = 1});
  std::vector<ListeningSocket> sockets;
  sockets.push_back(*OpenListening(runtime.os(), *Address::Parse("127.0.0.1:0"), options));
  const uint16_t port = sockets[0].address.port();
  runtime.Spawn<Acceptor>(std::move(sockets), SessionFactory([](Worker& worker, Slot* slot) {
                            internal::Construct<Talker>(worker, slot);
                          }));
  ASSERT_TRUE(runtime.Start().ok());
  std::vector<int> peers;
  for (int i = 0; i < 2; ++i) {  // Peers: one for each worker.
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int little = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    peers.push_back(fd);
  }
  ConnectionLedger& ledger = runtime.Attachment<ConnectionLedger>(2);
  ASSERT_TRUE(Eventually([&] { return ledger.Sum().bytes_accepted == 1'800'000; }));
  // The handler has returned: its output is kept, and charged.
  OnEachWorker(runtime, [](Worker&) {});
  // Sleeping workers have given their leases back; the test takes the rest without waking them.
  int64_t rest = 0;
  EXPECT_TRUE(Eventually([&] {
    const int64_t more = runtime.budget().TakeUpTo(0, runtime.budget().BytesMax());
    rest += more;
    return listener.TrySend(Note{std::string(1'000, 'x')}) == Answer::kOverloaded &&
           runtime.budget().Spent();
  }));
  EXPECT_TRUE(Eventually(
      [&] { return ledger.Sum().closed[static_cast<int>(CloseReason::kShed)] == 2; }, 30))
      << runtime.Dump();
  runtime.budget().Give(rest);
  EXPECT_EQ(listener.TrySend(Note{std::string(1'000, 'x')}), Answer::kAccepted);
  for (int fd : peers) close(fd);
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(ledger.Sum().Open(), 0);
  EXPECT_TRUE(runtime.TotalLedger().Balanced());
  EXPECT_EQ(runtime.budget().UsedBytes(), 0);
}

}  // namespace
}  // namespace sluice::testing::shedding_workers_test
