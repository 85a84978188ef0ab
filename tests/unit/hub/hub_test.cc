// Tests of hubs on real workers and real sockets: exact counts under each policy.
#include "sluice/actors/hub/hub.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice::testing::hub_test {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

template <class Condition>
bool WaitFor(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

std::string Notice(int64_t missed) { return absl::StrCat("missed ", missed, "\n"); }

struct Shared {
  Ref<Hub> hub;
  SubscribeOptions options;
  std::atomic<int> subscribed{0};
  std::atomic<int> closed{0};
  std::atomic<int> slow{0};
  bool twice = false;  // Each session subscribes twice.
  std::atomic<int> not_joined{0};
};

// Subscribes when it opens. On a byte from its peer it leaves the hub, and lowers `subscribed`.
class Listener : public Session {
 public:
  explicit Listener(Shared* shared) : shared_(shared) {}
  void OnOpen() override {
    EXPECT_EQ(Send(shared_->hub, Subscribe(this, shared_->options, "hello\n")), Answer::kAccepted);
    if (shared_->twice) {
      EXPECT_EQ(Send(shared_->hub, Subscribe(this, shared_->options, "hello\n")),
                Answer::kAccepted);
    }
  }
  void On(Subscribed subscription) {
    EXPECT_EQ(subscription.hub, shared_->hub);
    if (!subscription.Joined()) {
      ++shared_->not_joined;
      return;
    }
    subscription_ = subscription;
    ++shared_->subscribed;
  }
  void OnData(Input& in) override {
    in.TakeAll();
    Unsubscribe(*this, subscription_);
    --shared_->subscribed;
  }
  void OnClose(CloseReason reason) override {
    ++shared_->closed;
    if (reason == CloseReason::kSlow) ++shared_->slow;
  }

 private:
  Shared* const shared_;
  Subscribed subscription_;
};

struct Go {
  int count;
};

// Publishes numbers, a slice of them in each timer callback, so a test sees when it is parked.
class Publisher : public Actor {
 public:
  Publisher(Ref<Hub> hub, size_t payload_bytes) : hub_(hub), padding_(payload_bytes, 'x') {}
  void On(Go go) {
    for (int i = 0; i < 16 && next_ < go.count; ++i) {
      const Answer answer =
          Send(hub_,
               Publish{*Bytes::Copy(absl::StrCat(++next_, " ", padding_, "\n"), runtime().budget()),
                       {}});
      if (answer != Answer::kAccepted) ADD_FAILURE() << AnswerName(answer);
    }
    published = next_;
    if (next_ < go.count) After(absl::ZeroDuration(), [this, go] { On(go); });
  }
  static inline std::atomic<int> published{0};

 private:
  const Ref<Hub> hub_;
  const std::string padding_;
  int next_ = 0;
};

class Peer {
 public:
  Peer(uint16_t port, int receive_buffer) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Peer() { close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Reads lines until all numbers up to `last` are received or reported as missed, or the stream
  // ends.
  void ReadUntil(int64_t last) {
    while (received + missed < last && ReadLine()) {
    }
  }
  bool ReadLine() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      pollfd readable{fd_, POLLIN, 0};
      if (poll(&readable, 1, 60'000) != 1) return false;
      char bytes[65536];
      const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
      if (count <= 0) return false;
      buffer_.append(bytes, static_cast<size_t>(count));
    }
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    Take(line);
    return true;
  }
  void Say(std::string_view text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }

  int64_t received = 0;
  int64_t missed = 0;
  int lines = 0;
  bool in_order = true;
  bool greeted_first = false;

 private:
  void Take(const std::string& line) {
    if (lines++ == 0) {
      greeted_first = line == "hello";
      return;
    }
    int64_t number = 0;
    if (line.rfind("missed ", 0) == 0) {
      EXPECT_TRUE(absl::SimpleAtoi(line.substr(7), &number));
      missed += number;
      next_ += number;
      return;
    }
    EXPECT_TRUE(absl::SimpleAtoi(line.substr(0, line.find(' ')), &number)) << line.substr(0, 40);
    in_order = in_order && number == next_;
    next_ = number + 1;
    ++received;
  }

  const int fd_;
  std::string buffer_;
  int64_t next_ = 1;
};

class HubTest : public ::testing::Test {
 protected:
  void Begin(SubscribeOptions subscribe, int64_t memory_bytes = 0) {
    Options options;
    options.workers = 2;
    options.memory_bytes_max = memory_bytes;
    options.notsent_bytes_max = 4096;
    runtime_ = std::make_unique<Runtime>(options);
    shared_.hub = runtime_->Spawn<Hub>(HubOptions{&Notice});
    shared_.options = subscribe;
    sockets_.push_back(
        *OpenListening(runtime_->os(), *Address::Parse("127.0.0.1:0"), runtime_->options()));
    port_ = sockets_[0].address.port();
    runtime_->Spawn<Acceptor>(std::move(sockets_),
                              SessionFactory([this](Worker& worker, Slot* slot) {
                                internal::Construct<Listener>(worker, slot, &shared_);
                              }));
    ASSERT_TRUE(runtime_->Start().ok());
  }
  void WaitForSubscribers(int count) {
    ASSERT_TRUE(WaitFor([&] { return shared_.subscribed == count; }));
  }
  void PublishAll(int count, size_t payload_bytes) {
    Publisher::published = 0;
    publisher_ = runtime_->Spawn<Publisher>(shared_.hub, payload_bytes);
    ASSERT_TRUE(WaitFor([&] { return publisher_.TrySend(Go{count}) == Answer::kAccepted; }));
  }
  void WaitUntilPublished(int count) {
    ASSERT_TRUE(WaitFor([&] { return Publisher::published == count; }));
  }
  HubTotals Totals() { return HubLedger::Of(*runtime_); }
  // Waits until every published message has met every subscriber, then checks the ledger.
  void ExpectExact() {
    runtime_->Drain(absl::Seconds(20));
    const HubTotals totals = Totals();
    EXPECT_EQ(totals.due, totals.received + totals.missed + totals.skipped + totals.queued)
        << totals.ToString();
    EXPECT_EQ(totals.queued, 0);
    EXPECT_TRUE(runtime_->TotalLedger().Balanced()) << runtime_->TotalLedger().ToString();
    EXPECT_EQ(runtime_->budget().UsedBytes(), 0);
  }

  Shared shared_;
  std::unique_ptr<Runtime> runtime_;
  std::vector<ListeningSocket> sockets_;
  uint16_t port_ = 0;
  Ref<Publisher> publisher_;
};

TEST_F(HubTest, SubscribersGetAllInOrderAfterTheGreeting) {
  Begin({});
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(std::make_unique<Peer>(port_, 0));
  WaitForSubscribers(20);
  PublishAll(200, 20);
  for (auto& peer : peers) {
    peer->ReadUntil(200);
    EXPECT_EQ(peer->received, 200);
    EXPECT_TRUE(peer->in_order);
    EXPECT_TRUE(peer->greeted_first);
  }
  peers.clear();
  ExpectExact();
}

TEST_F(HubTest, DropOldestReportsExactlyWhatAReaderMissed) {
  Begin({.slow = SlowPolicy::kDropOldest, .queue_messages_max = 16});
  Peer stopped(port_, 4096);
  Peer good(port_, 0);
  WaitForSubscribers(2);
  std::thread reader([&] { good.ReadUntil(20'000); });
  PublishAll(20'000, 1'000);
  WaitUntilPublished(20'000);
  reader.join();
  stopped.ReadUntil(20'000);
  EXPECT_EQ(stopped.received + stopped.missed, 20'000);
  EXPECT_GT(stopped.missed, 10'000);
  EXPECT_TRUE(stopped.in_order);
  EXPECT_EQ(good.received + good.missed, 20'000);
  EXPECT_TRUE(good.in_order);
  ExpectExact();
}

TEST_F(HubTest, DropNewestKeepsOldestAndReportsTheRest) {
  Begin({.slow = SlowPolicy::kDropNewest, .queue_messages_max = 16});
  Peer stopped(port_, 4096);
  WaitForSubscribers(1);
  PublishAll(20'000, 1'000);
  WaitUntilPublished(20'000);
  ASSERT_TRUE(WaitFor([&] { return Totals().due == 20'000; }));
  stopped.ReadUntil(20'000);
  EXPECT_EQ(stopped.received + stopped.missed, 20'000);
  EXPECT_GT(stopped.missed, 10'000);
  EXPECT_TRUE(stopped.in_order);
  ExpectExact();
}

TEST_F(HubTest, ParkMakesThePublisherWaitAndLosesNothing) {
  Begin({.slow = SlowPolicy::kPark, .queue_messages_max = 4, .park_timeout = absl::Seconds(60)});
  Peer slow(port_, 4096);
  Peer good(port_, 0);
  WaitForSubscribers(2);
  PublishAll(20'000, 1'000);
  // The publisher stops long before the end: the queue and the mailboxes on the way are far
  // smaller.
  int before = -1;
  ASSERT_TRUE(WaitFor([&] {
    poll(nullptr, 0, 200);
    return std::exchange(before, Publisher::published.load()) == Publisher::published && before > 0;
  }));
  EXPECT_LT(Publisher::published, 15'000);
  std::thread reader([&] { good.ReadUntil(20'000); });
  slow.ReadUntil(20'000);
  reader.join();
  EXPECT_EQ(slow.received, 20'000);
  EXPECT_EQ(good.received, 20'000);
  EXPECT_TRUE(slow.in_order && good.in_order);
  ExpectExact();
}

TEST_F(HubTest, ParkEndsSubscriberThatTakesNothingInTime) {
  Begin({.slow = SlowPolicy::kPark,
         .queue_messages_max = 4,
         .park_timeout = absl::Milliseconds(200)});
  Peer stopped(port_, 4096);
  WaitForSubscribers(1);
  PublishAll(5'000, 1'000);
  WaitUntilPublished(5'000);
  EXPECT_TRUE(WaitFor([&] { return shared_.slow == 1; }));
  ExpectExact();
}

TEST_F(HubTest, DisconnectEndsASlowSubscriberAndNobodyElse) {
  Begin({.slow = SlowPolicy::kDisconnect, .queue_messages_max = 64});
  Peer stopped(port_, 4096);
  WaitForSubscribers(1);
  PublishAll(20'000, 1'000);
  WaitUntilPublished(20'000);
  EXPECT_TRUE(WaitFor([&] { return shared_.slow == 1; }));
  Peer late(port_, 0);
  EXPECT_TRUE(late.ReadLine());
  EXPECT_TRUE(late.greeted_first);
  ExpectExact();
}

TEST_F(HubTest, LeavingAParkedHubLetsItGoOn) {
  Begin({.slow = SlowPolicy::kPark, .queue_messages_max = 4, .park_timeout = absl::Seconds(60)});
  auto stopped = std::make_unique<Peer>(port_, 4096);
  WaitForSubscribers(1);
  PublishAll(5'000, 1'000);
  ASSERT_TRUE(WaitFor([&] { return Totals().queued == 4; }));
  stopped->Say("x");
  WaitForSubscribers(0);
  WaitUntilPublished(5'000);
  stopped.reset();
  ExpectExact();
}

TEST_F(HubTest, TooLargePayloadIsMissedAndDelaysNothing) {
  Begin({});
  Peer peer(port_, 0);
  WaitForSubscribers(1);
  PublishAll(1, 2 * 1024 * 1024);
  ASSERT_TRUE(WaitFor([&] { return Totals().missed == 1; }));
  PublishAll(1, 10);  // Number 1 again, though the peer expects 2.
  ASSERT_TRUE(peer.ReadLine());
  ASSERT_TRUE(peer.ReadLine());
  EXPECT_EQ(peer.missed, 1);
  ASSERT_TRUE(peer.ReadLine());
  EXPECT_EQ(peer.received, 1);
  ExpectExact();
}

TEST_F(HubTest, SessionOfAnotherRuntimeIsRefused) {
  Begin({});
  Runtime other(runtime_->options());
  const Ref<Hub> hub = other.Spawn<Hub>(HubOptions{&Notice});
  ASSERT_TRUE(other.Start().ok());
  shared_.hub = hub;
  Peer peer(port_, 0);
  EXPECT_TRUE(WaitFor([&] { return shared_.not_joined == 1; }));
  EXPECT_EQ(shared_.subscribed, 0);
  other.Drain(absl::Seconds(5));
}

TEST_F(HubTest, SecondSubscriptionOfASessionIsRefused) {
  shared_.twice = true;
  Begin({});
  Peer peer(port_, 0);
  WaitForSubscribers(1);
  ASSERT_TRUE(WaitFor([&] { return shared_.not_joined == 1; }));
  PublishAll(10, 10);
  peer.ReadUntil(10);
  EXPECT_EQ(peer.received, 10);
  ExpectExact();
  EXPECT_EQ(Totals().due, 10);
}

TEST(SlowPolicies, HaveNamesThatAreParsed) {
  for (const auto policy : {SlowPolicy::kPark, SlowPolicy::kDropOldest, SlowPolicy::kDropNewest,
                            SlowPolicy::kDisconnect, SlowPolicy::kConflate}) {
    EXPECT_EQ(ParseSlowPolicy(SlowPolicyName(policy)), policy);
  }
  EXPECT_EQ(SlowPolicyName(SlowPolicy::kDropNewest), "drop_newest");
  EXPECT_EQ(ParseSlowPolicy("parking"), std::nullopt);
}

TEST_F(HubTest, LedgerIsExactWhenSubscribersComeAndGo) {
  Begin({.slow = SlowPolicy::kDropOldest, .queue_messages_max = 8});
  PublishAll(30'000, 100);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::unique_ptr<Peer>> peers;
    for (int i = 0; i < 10; ++i) {
      peers.push_back(std::make_unique<Peer>(port_, i % 2 == 0 ? 4096 : 0));
      if (i % 3 == 0) peers.back()->Say("x");
    }
    for (size_t i = 0; i < peers.size(); i += 3) peers[i]->ReadLine();
  }
  WaitUntilPublished(30'000);
  ASSERT_TRUE(WaitFor([&] { return shared_.closed == 300; }));
  ExpectExact();
}

}  // namespace
}  // namespace sluice::testing::hub_test
