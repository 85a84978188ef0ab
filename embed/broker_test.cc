// Starts the built broker and talks to it, as its users would.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace {

constexpr int kPatienceMs = 60'000;  // Ends a test that would hang otherwise.

// Lines from a descriptor: "<end>" at the end of stream, "<timeout>" when none came in time.
class Lines {
 public:
  explicit Lines(int fd) : fd_(fd) {}
  std::string Next() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      pollfd readable{fd_, POLLIN, 0};
      if (poll(&readable, 1, kPatienceMs) != 1) return "<timeout>";
      char bytes[65'536];
      const ssize_t count = read(fd_, bytes, sizeof(bytes));
      if (count <= 0) return "<end>";
      buffer_.append(bytes, static_cast<size_t>(count));
    }
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
  }

 private:
  const int fd_;
  std::string buffer_;
};

class Peer {
 public:
  explicit Peer(uint16_t port, int receive_buffer = 0)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), lines_(fd_) {
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Peer() { close(fd_); }

  void Send(std::string text) {
    while (!text.empty()) {
      const ssize_t count = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      text.erase(0, static_cast<size_t>(count));
    }
  }
  void EndSending() { shutdown(fd_, SHUT_WR); }
  std::string Next() { return lines_.Next(); }
  // The broker ends this connection; a line before that may say why its name ended.
  void ExpectEnd() {
    std::string line = Next();
    if (line.rfind("ENDED ", 0) == 0) line = Next();
    EXPECT_EQ(line, "<end>");
  }
  std::string Ask(const std::string& line) {
    Send(line + "\n");
    return Next();
  }

 private:
  const int fd_;
  Lines lines_;
};

// The broker, listening on a port that the kernel picked; ended with the test.
class BrokerTest : public testing::Test {
 protected:
  void Start(std::vector<std::string> flags = {}) {
    int out[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    flags.insert(flags.begin(), {"./broker", "--listen=127.0.0.1:0", "--log_level=info"});
    std::vector<char*> argv;
    for (std::string& flag : flags) argv.push_back(flag.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(out[1], 1);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(out[1]);
    out_ = out[0];
    const std::string line = Lines(out_).Next();
    const size_t colon = line.rfind(':');
    ASSERT_NE(colon, std::string::npos) << line;
    port_ = static_cast<uint16_t>(std::atoi(line.c_str() + colon + 1));
  }
  std::unique_ptr<Peer> Connect(int receive_buffer = 0) {
    return std::make_unique<Peer>(port_, receive_buffer);
  }
  int Stop() {
    kill(pid_, SIGTERM);
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void TearDown() override {
    if (pid_ > 0) {
      EXPECT_EQ(Stop(), 0);
    }
    if (out_ >= 0) close(out_);
  }

  // A figure of `STATS TOPIC`, after a check that the figures add up.
  int64_t Stat(const std::string& topic, const std::string& name) {
    const std::string line = Connect()->Ask("STATS " + topic);
    const auto value = [&](const std::string& key) {
      const size_t at = line.find(" " + key + "=");
      EXPECT_NE(at, std::string::npos) << line;
      return std::atoll(line.c_str() + at + key.size() + 2);
    };
    EXPECT_EQ(value("due"), value("acknowledged") + value("unacknowledged") + value("waiting") +
                                value("dropped") + value("lost"))
        << line;
    return value(name);
  }
  // Waits for events that happen in another actor's own time.
  void Await(const std::string& topic, const std::string& name, int64_t expected) {
    for (int waited = 0; Stat(topic, name) != expected; waited += 5) {
      ASSERT_LT(waited, kPatienceMs) << name << " does not become " << expected;
      poll(nullptr, 0, 5);
    }
  }
  void Publish(Peer& peer, const std::string& topic, int first, int last) {
    for (int i = first; i <= last; ++i) {
      ASSERT_EQ(peer.Ask("PUB " + topic + " text " + std::to_string(i)),
                "OK PUB " + topic + " " + std::to_string(i));
    }
  }

  pid_t pid_ = -1;
  int out_ = -1;
  uint16_t port_ = 0;
};

std::string Msg(int number, const std::string& kind = "MSG") {
  return kind + " t " + std::to_string(number) + " text " + std::to_string(number);
}

TEST_F(BrokerTest, SubscriberReceivesAllMessagesPublishedFromThenOn) {
  Start();
  auto publisher = Connect();
  EXPECT_EQ(publisher->Ask("PUB t text 1"), "OK PUB t 1");
  auto one = Connect();
  auto two = Connect();
  EXPECT_EQ(one->Ask("SUB t"), "OK SUB t");
  EXPECT_EQ(two->Ask("SUB t park"), "OK SUB t");
  Publish(*publisher, "t", 2, 50);
  for (int i = 2; i <= 50; ++i) {
    EXPECT_EQ(one->Next(), Msg(i));
    EXPECT_EQ(two->Next(), Msg(i));
  }
  EXPECT_EQ(publisher->Ask("STATS"),
            "STATS topics=1 published=50 due=98 received=98 missed=0 queued=0");
  EXPECT_EQ(one->Ask("UNSUB t"), "OK UNSUB t");
  EXPECT_EQ(one->Ask("UNSUB t"), "ERR this connection has not subscribed to this topic");
}

TEST_F(BrokerTest, StoppedReaderIsToldExactlyHowMuchItMissed) {
  Start({"--queue=8"});
  for (const std::string policy : {"drop_oldest", "drop_newest"}) {
    auto stopped = Connect(4096);
    auto publisher = Connect();
    EXPECT_EQ(stopped->Ask("SUB " + policy + " " + policy), "OK SUB " + policy);
    const std::string text(8'000, 'x');
    for (int i = 1; i <= 2'000; ++i) {
      ASSERT_EQ(publisher->Ask("PUB " + policy + " " + text),
                "OK PUB " + policy + " " + std::to_string(i));
    }
    int64_t received = 0;
    int64_t missed = 0;
    while (received + missed < 2'000) {
      const std::string line = stopped->Next();
      if (line.rfind("MISSED " + policy + " ", 0) == 0) {
        missed += std::atoll(line.c_str() + 8 + policy.size());
      } else {
        ASSERT_EQ(line, "MSG " + policy + " " + std::to_string(received + missed + 1) + " " + text);
        ++received;
      }
    }
    EXPECT_EQ(received + missed, 2'000);
    EXPECT_GT(missed, 0);
  }
}

TEST_F(BrokerTest, AReaderThatStopsEndsItselfOrHoldsUpThePublisher) {
  Start({"--queue=8"});
  const std::string text(8'000, 'x');
  auto disconnected = Connect(4096);
  auto publisher = Connect();
  EXPECT_EQ(disconnected->Ask("SUB t disconnect"), "OK SUB t");
  for (int i = 1; i <= 2'000; ++i) {
    ASSERT_EQ(publisher->Ask("PUB t " + text), "OK PUB t " + std::to_string(i));
  }
  std::string last;
  while ((last = disconnected->Next())[0] == 'M') {
  }
  EXPECT_EQ(last, "<end>");

  // 16 MB fit in no queue: the publisher waits until the reader reads, and nothing is missed.
  auto parks = Connect(4096);
  EXPECT_EQ(parks->Ask("SUB p park"), "OK SUB p");
  std::string all;
  for (int i = 1; i <= 2'000; ++i) all += "PUB p " + text + "\n";
  auto sender = Connect();
  // Without the child this process would write for ever: the publisher waits for this reader.
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sender->Send(all);
    _exit(0);
  }
  for (int i = 1; i <= 2'000; ++i) {
    ASSERT_EQ(parks->Next(), "MSG p " + std::to_string(i) + " " + text);
  }
  for (int i = 1; i <= 2'000; ++i) ASSERT_EQ(sender->Next(), "OK PUB p " + std::to_string(i));
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(BrokerTest, EachAcknowledgementFreesOnePlaceInTheWindow) {
  Start({"--window=3"});
  auto holder = Connect();
  auto publisher = Connect();
  EXPECT_EQ(holder->Ask("HOLD t mine"), "OK HOLD t mine");
  Publish(*publisher, "t", 1, 6);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(holder->Next(), Msg(i));
  EXPECT_EQ(Stat("t", "unacknowledged"), 3);
  EXPECT_EQ(Stat("t", "waiting"), 3);
  EXPECT_EQ(holder->Ask("ACK t 2"), Msg(4));  // The first line that comes after message 3.
  EXPECT_EQ(holder->Ask("ACK t 2"), "ERR message 2 waits for no ACK");
  EXPECT_EQ(holder->Ask("ACK t 5"), "ERR message 5 waits for no ACK");
  EXPECT_EQ(holder->Ask("ACK t 1"), Msg(5));
  EXPECT_EQ(holder->Ask("ACK t 3"), Msg(6));
  holder->Send("ACK t 4\nACK t 5\nACK t 6\n");
  EXPECT_EQ(holder->Ask("HELP").substr(0, 4), "PUB ");
  EXPECT_EQ(Stat("t", "acknowledged"), 6);
  EXPECT_EQ(Stat("t", "due"), 6);
}

TEST_F(BrokerTest, UnacknowledgedMessagesComeAgainFirst) {
  Start({"--window=3"});
  auto holder = Connect();
  auto publisher = Connect();
  EXPECT_EQ(holder->Ask("HOLD t mine"), "OK HOLD t mine");
  Publish(*publisher, "t", 1, 5);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(holder->Next(), Msg(i));
  EXPECT_EQ(holder->Ask("ACK t 2"), Msg(4));
  holder.reset();
  Await("t", "unacknowledged", 0);
  Publish(*publisher, "t", 6, 6);  // The name gets it, too, though no connection holds it.

  auto next = Connect();
  EXPECT_EQ(next->Ask("HOLD t mine"), "OK HOLD t mine");
  EXPECT_EQ(next->Next(), Msg(1, "AGAIN"));
  EXPECT_EQ(next->Next(), Msg(3, "AGAIN"));
  EXPECT_EQ(next->Next(), Msg(4, "AGAIN"));
  EXPECT_EQ(next->Ask("ACK t 1"), Msg(5));
  EXPECT_EQ(next->Ask("ACK t 3"), Msg(6));

  // A later connection takes the name over, and the earlier one is notified.
  auto thief = Connect();
  next->Send("ACK t 4\n");
  EXPECT_EQ(next->Ask("STATS t").substr(0, 8), "STATS t ");
  EXPECT_EQ(thief->Ask("HOLD t mine"), "OK HOLD t mine");
  EXPECT_EQ(next->Next(), "ENDED t another connection holds this name now");
  EXPECT_EQ(thief->Next(), Msg(5, "AGAIN"));
  EXPECT_EQ(thief->Next(), Msg(6, "AGAIN"));
  EXPECT_EQ(thief->Ask("DROP t"), "OK DROP t 2");
  EXPECT_EQ(Stat("t", "acknowledged"), 4);
  EXPECT_EQ(Stat("t", "lost"), 2);
  EXPECT_EQ(Stat("t", "names"), 0);
}

TEST_F(BrokerTest, MessagesPastWindowAndQueueMeetTheNamesPolicy) {
  Start({"--window=1", "--queue=2"});
  auto publisher = Connect();
  auto oldest = Connect();
  auto newest = Connect();
  auto disconnected = Connect();
  EXPECT_EQ(oldest->Ask("HOLD t oldest drop_oldest"), "OK HOLD t oldest");
  EXPECT_EQ(newest->Ask("HOLD t newest drop_newest"), "OK HOLD t newest");
  EXPECT_EQ(disconnected->Ask("HOLD t ends disconnect"), "OK HOLD t ends");
  Publish(*publisher, "t", 1, 1);
  for (Peer* peer : {oldest.get(), newest.get(), disconnected.get()})
    EXPECT_EQ(peer->Next(), Msg(1));
  Publish(*publisher, "t", 2, 6);
  disconnected->ExpectEnd();
  EXPECT_EQ(Stat("t", "dropped"), 6);
  EXPECT_EQ(Stat("t", "lost"), 4);  // Messages 1 to 4: the fourth found no place.
  EXPECT_EQ(oldest->Ask("ACK t 1"), "MISSED t 3");
  EXPECT_EQ(oldest->Next(), Msg(5));
  EXPECT_EQ(oldest->Ask("ACK t 5"), Msg(6));
  EXPECT_EQ(newest->Ask("ACK t 1"), Msg(2));
  EXPECT_EQ(newest->Ask("ACK t 2"), Msg(3));
  EXPECT_EQ(newest->Next(), "MISSED t 3");  // The notice comes though no message follows.
  Publish(*publisher, "t", 7, 7);
  EXPECT_EQ(newest->Ask("ACK t 3"), Msg(7));
  EXPECT_EQ(Stat("t", "due"), 7 + 7 + 4);
}

TEST_F(BrokerTest, APublisherWaitsForANameThatParks) {
  Start({"--window=1", "--queue=2"});
  auto publisher = Connect();
  auto holder = Connect();
  EXPECT_EQ(holder->Ask("HOLD t mine park"), "OK HOLD t mine");
  Publish(*publisher, "t", 1, 1);
  EXPECT_EQ(holder->Next(), Msg(1));
  Publish(*publisher, "t", 2, 3);
  publisher->Send("PUB t text 4\nPUB t text 5\n");
  Await("t", "publishers_waiting", 1);  // Until then the broker does not read the next line.
  EXPECT_EQ(Stat("t", "published"), 3);
  EXPECT_EQ(holder->Ask("ACK t 1"), Msg(2));
  EXPECT_EQ(publisher->Next(), "OK PUB t 4");
  Await("t", "publishers_waiting", 1);
  EXPECT_EQ(holder->Ask("ACK t 2"), Msg(3));
  EXPECT_EQ(publisher->Next(), "OK PUB t 5");
  EXPECT_EQ(Stat("t", "dropped") + Stat("t", "lost"), 0);
}

TEST_F(BrokerTest, PublishersDoNotWaitLongerThanTheParkTimeout) {
  Start({"--window=1", "--queue=2", "--park_timeout=200ms"});
  auto publisher = Connect();
  auto holder = Connect();
  EXPECT_EQ(holder->Ask("HOLD t mine park"), "OK HOLD t mine");
  Publish(*publisher, "t", 1, 4);  // The fourth is answered when the name has ended.
  EXPECT_EQ(holder->Next(), Msg(1));
  holder->ExpectEnd();
  EXPECT_EQ(Stat("t", "names"), 0);
  EXPECT_EQ(Stat("t", "lost"), 3);
}

// Four connections publish; three hold names, acknowledge, and vanish now and then without a word.
TEST_F(BrokerTest, PublishersAndHoldersThatComeAndGoLoseNothing) {
  constexpr int kPublishers = 4;
  constexpr int kEach = 300;
  constexpr int kHolders = 3;
  Start({"--window=8", "--queue=16", "--workers=2", "--park_timeout=60s"});
  const auto hold = [&](int holder) {
    auto peer = Connect();
    const std::string name = "name" + std::to_string(holder);
    EXPECT_EQ(peer->Ask("HOLD t " + name + " park"), "OK HOLD t " + name);
    return peer;
  };
  for (int i = 0; i < kHolders; ++i) hold(i);
  std::vector<std::thread> threads;
  for (int i = 0; i < kPublishers; ++i) {
    threads.emplace_back([&] {
      auto peer = Connect();
      for (int n = 0; n < kEach; ++n) EXPECT_EQ(peer->Ask("PUB t x").substr(0, 9), "OK PUB t ");
    });
  }
  for (int i = 0; i < kHolders; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(i + 1);
      auto peer = hold(i);
      std::set<int> numbers;
      int last = 0;
      for (bool done = false; !done;) {
        peer->Send("STATS t\n");
        for (std::string line = peer->Next(); line[0] != 'S'; line = peer->Next()) {
          ASSERT_TRUE(line[0] == 'M' || line[0] == 'A') << line;
          const int number = std::atoi(line.c_str() + line.find(" t ") + 3);
          if (line[0] == 'M') {
            EXPECT_GT(number, last);  // In order, except for repeated messages.
            last = number;
          }
          numbers.insert(number);
          if (random() % 40 == 0) {
            // The window before it was not acknowledged, or the ACKs are on their way.
            peer = hold(i);
            peer->Send("STATS t\n");
            continue;
          }
          peer->Send("ACK t " + std::to_string(number) + "\n");
        }
        done = Stat("t", "acknowledged") == kHolders * kPublishers * kEach;
      }
      EXPECT_EQ(numbers.size(), size_t{kPublishers * kEach});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Stat("t", "due"), kHolders * kPublishers * kEach);
  EXPECT_EQ(Stat("t", "published"), kPublishers * kEach);
}

TEST_F(BrokerTest, ManyMessagesAllReachASlowSocket) {
  Start({"--window=5000", "--queue=5000"});
  auto slow = Connect(4096);
  auto publisher = Connect();
  EXPECT_EQ(slow->Ask("HOLD t mine park"), "OK HOLD t mine");
  const std::string text(8'000, 'x');
  for (int i = 1; i <= 1'000; ++i) {
    ASSERT_EQ(publisher->Ask("PUB t " + text), "OK PUB t " + std::to_string(i));
  }
  for (int i = 1; i <= 1'000; ++i) {
    ASSERT_EQ(slow->Next(), "MSG t " + std::to_string(i) + " " + text);
  }
}

TEST_F(BrokerTest, ErrorsAreExplainedAndExcessIsRefused) {
  Start({"--topics_max=2", "--subscriptions_max=2", "--message_max=10"});
  auto peer = Connect();
  const std::string name_rule = " has 1 to 64 letters, digits, '_', '-', '.' or '/'";
  EXPECT_EQ(peer->Ask("SING"), "ERR unknown command; HELP lists the commands");
  EXPECT_EQ(peer->Ask(""), "ERR unknown command; HELP lists the commands");
  EXPECT_EQ(peer->Ask("PUB"), "ERR a topic" + name_rule);
  EXPECT_EQ(peer->Ask("PUB a*b x"), "ERR a topic" + name_rule);
  EXPECT_EQ(peer->Ask("HOLD t"), "ERR a name" + name_rule);
  EXPECT_EQ(peer->Ask("PUB t 0123456789"), "OK PUB t 1");
  EXPECT_EQ(peer->Ask("PUB t 0123456789a"), "ERR a message has at most 10 bytes");
  EXPECT_EQ(peer->Ask("PUB t " + std::string(1'000, 'x')), "ERR line too long");
  EXPECT_EQ(peer->Ask("PUB t "), "OK PUB t 2");
  EXPECT_EQ(peer->Ask("SUB t sometimes"),
            "ERR a policy is park, drop_oldest, drop_newest or disconnect");
  EXPECT_EQ(peer->Ask("ACK t 1"), "ERR this connection does not hold this topic");
  EXPECT_EQ(peer->Ask("DROP t"), "ERR this connection does not hold this topic");
  EXPECT_EQ(peer->Ask("SUB t"), "OK SUB t");
  EXPECT_EQ(peer->Ask("SUB t"), "ERR this connection has subscribed to this topic already");
  EXPECT_EQ(peer->Ask("HOLD t one"), "OK HOLD t one");
  EXPECT_EQ(peer->Ask("ACK t x"), "ERR ACK TOPIC NUMBER: NUMBER must be a number");
  EXPECT_EQ(peer->Ask("SUB u"), "ERR this connection has no place for another subscription");
  auto other = Connect();
  EXPECT_EQ(other->Ask("HOLD t two"), "OK HOLD t two");
  EXPECT_EQ(other->Ask("HOLD t three"), "ERR this connection holds a name of this topic already");
  EXPECT_EQ(Connect()->Ask("HOLD t three"), "ERR this topic has no place for another name");
  EXPECT_EQ(other->Ask("PUB u x"), "OK PUB u 1");
  EXPECT_EQ(other->Ask("PUB v x"), "ERR there are 2 topics already");
}

TEST_F(BrokerTest, UnfinishedLastLineIsAnsweredBeforeTheGoodbye) {
  Start();
  auto peer = Connect();
  peer->Send("PUB t a\r\nPUB t b");
  peer->EndSending();
  EXPECT_EQ(peer->Next(), "OK PUB t 1");
  EXPECT_EQ(peer->Next(), "OK PUB t 2");
  EXPECT_EQ(peer->Next(), "BYE");
  EXPECT_EQ(peer->Next(), "<end>");
}

TEST_F(BrokerTest, DrainAnswersArrivedCommandsAndSaysGoodbye) {
  Start();
  auto reader = Connect();
  auto peer = Connect();
  EXPECT_EQ(reader->Ask("SUB t"), "OK SUB t");
  peer->Send("PUB t a\nPUB t b\nQUIT\n");
  EXPECT_EQ(peer->Next(), "OK PUB t 1");
  EXPECT_EQ(peer->Next(), "OK PUB t 2");
  EXPECT_EQ(peer->Next(), "BYE");
  EXPECT_EQ(Stop(), 0);
  EXPECT_EQ(reader->Next(), "MSG t 1 a");
  EXPECT_EQ(reader->Next(), "MSG t 2 b");
  EXPECT_EQ(reader->Next(), "BYE");
}

TEST_F(BrokerTest, FlagOutOfRangeEndsTheBrokerAtOnce) {
  int status = std::system("./broker --listen=127.0.0.1:0 --window=0 2>flag_error");
  EXPECT_EQ(WEXITSTATUS(status), 1);
  char text[200] = {};
  const int fd = open("flag_error", O_RDONLY | O_CLOEXEC);
  EXPECT_GT(read(fd, text, sizeof(text) - 1), 0);
  close(fd);
  EXPECT_NE(std::string(text).find("--window must be from 1 to 65536"), std::string::npos) << text;
}

}  // namespace
