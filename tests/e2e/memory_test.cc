// Floods against a small budget: each line is accounted for, memory stays below the ceiling printed
// at start, a peer that reads is never ended, and afterwards all is as before.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// "... = 105.8 MiB of this process; ...": the fixed part, the budget and the allowance together.
int64_t PrintedCeiling(const Server& server) {
  std::string text;  // Log lines are written with a delay.
  WaitFor([&] {
    text = server.StandardError();
    return text.find(" MiB of this process") != std::string::npos;
  });
  const size_t end = text.find(" MiB of this process");
  const size_t begin = text.rfind("= ", end);
  if (end == std::string::npos || begin == std::string::npos) return 0;
  return static_cast<int64_t>(std::atof(text.c_str() + begin + 2) * kMebibyte);
}

// With a limit as by prlimit --as=, the promise is kept whatever peers do.
TEST(Memory, AnAddressSpaceLimitCountsAsMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes an address space of terabytes";
  constexpr int64_t kLimit = 512 * kMebibyte;
  Server server("echo", {"--workers=2", "--shed_after=inf", "--write_stalled_timeout=inf"},
                {.address_space_max = kLimit});
  const int64_t ceiling = PrintedCeiling(server);
  EXPECT_GT(ceiling, 0);
  EXPECT_LE(ceiling, kLimit);
  // More than the budget, from peers that never read.
  std::vector<Client> stopped;
  for (int i = 0; i < 200; ++i) {
    stopped.emplace_back(server.address(), ClientOptions{.receive_buffer_bytes = 4096});
    stopped.back().SendPatternUntilStopped(4 * kMebibyte, absl::Milliseconds(20));
  }
  EXPECT_TRUE(server.Running()) << server.StandardError();
  stopped.clear();
  Client client(server.address());
  EXPECT_TRUE(client.EchoPattern(kMebibyte));
  EXPECT_EQ(server.Stop(), 0);
}

TEST(Memory, APromiseThatCannotBeKeptIsSaid) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes an address space of terabytes";
  Server server("echo", {"--memory=1GB"}, {.address_space_max = 512 * kMebibyte});
  EXPECT_TRUE(WaitFor([&] {
    return server.StandardError().find("and it may have 512.0 MiB") != std::string::npos;
  })) << server.StandardError();
}

// A member of the flood: talks and listens at once, as far as the server lets it.
class Talker {
 public:
  Talker(const Server& server, int number) : number_(number), nick_("m" + std::to_string(number)) {
    const std::string& address = server.address();
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    fcntl(fd_, F_SETFL, O_NONBLOCK);
    out_ = "/nick " + nick_ + "\n";
  }
  ~Talker() { close(fd_); }
  Talker(const Talker&) = delete;
  Talker& operator=(const Talker&) = delete;

  void Say(int lines, size_t bytes) {
    for (int i = 0; i < lines; ++i) {
      std::string line = std::to_string(i) + " ";
      line.resize(bytes, '.');
      out_ += line + "\n";
    }
    out_ += "/help\n";  // The answer shows that all lines before were handled.
  }
  short Wants() const {
    return static_cast<short>((listens ? POLLIN : 0) | (sent_ < out_.size() ? POLLOUT : 0));
  }
  void Write() {
    const ssize_t count =
        send(fd_, out_.data() + sent_, std::min<size_t>(out_.size() - sent_, 65536), MSG_NOSIGNAL);
    if (count > 0) sent_ += static_cast<size_t>(count);
    if (count < 0 && errno != EAGAIN) ended = true;
    if (sent_ == out_.size()) out_.clear(), sent_ = 0;
  }
  void Read() {
    char bytes[65536];
    const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) ended = true;
    if (count <= 0) return;
    in_.append(bytes, static_cast<size_t>(count));
    size_t begin = 0;
    for (size_t end; (end = in_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      Take(std::string_view(in_).substr(begin, end - begin));
    }
    in_.erase(0, begin);
  }
  int fd() const { return fd_; }

  bool listens = true;
  bool ended = false;
  bool named = false;  // The next member may connect.
  int joined = 0;      // How many later members it has heard take their names.
  int received = 0;
  int missed = 0;
  int refused = 0;  // Own lines that got "error: not said".
  bool helped = false;

 private:
  void Take(std::string_view line) {
    if (line[0] == 'm') {
      ++received;
    } else if (line == "* you are now " + nick_) {
      named = true;
    } else if (const int count = MissedIn(std::string(line)); count > 0) {
      missed += count;
    } else if (line.starts_with("error: not said")) {
      ++refused;
    } else if (line.starts_with("/nick")) {
      helped = true;
    } else if (const size_t at = line.find(" is now m"); at != std::string_view::npos) {
      // The member before may still be on its way to the room when the next one enters.
      joined += std::atoi(std::string(line.substr(at + 9)).c_str()) > number_;
    }
  }

  const int number_;
  const std::string nick_;
  int fd_ = -1;
  std::string out_;
  size_t sent_ = 0;
  std::string in_;
};

class Flood {
 public:
  explicit Flood(const Server& server, int talkers) : server_(server) {
    for (int i = 0; i < talkers; ++i) {
      talkers_.push_back(std::make_unique<Talker>(server, i));
      // In turn: each member hears all later ones.
      EXPECT_TRUE(Until([&] { return talkers_.back()->named; }));
    }
    EXPECT_TRUE(Until([&] {
      for (int i = 0; i < talkers; ++i) {
        // A member may also hear of an earlier one: a renamed member knows its name before the room
        // does.
        if (talkers_[i]->joined < talkers - 1 - i) return false;
      }
      return true;
    }));
  }
  // Reads and writes where sockets are ready, until the condition holds; false after a minute.
  template <class Condition>
  bool Until(Condition happened) {
    const Deadline deadline(absl::Seconds(60));
    while (!happened()) {
      if (deadline.Over()) return false;
      std::vector<pollfd> polled;
      for (const auto& talker : talkers_) {
        const bool over = talker->ended;
        polled.push_back({over ? -1 : talker->fd(), talker->Wants(), 0});
      }
      poll(polled.data(), polled.size(), 20);
      for (size_t i = 0; i < polled.size(); ++i) {
        if ((polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) talkers_[i]->Read();
        if ((polled[i].revents & POLLOUT) != 0) talkers_[i]->Write();
      }
      peak_ = std::max(peak_, server_.ResidentBytes());
    }
    return true;
  }
  Talker& operator[](size_t i) { return *talkers_[i]; }
  size_t size() const { return talkers_.size(); }
  int64_t peak() const { return peak_; }
  int Refused() const {
    int sum = 0;
    for (const auto& talker : talkers_) sum += talker->refused;
    return sum;
  }

 private:
  const Server& server_;
  std::vector<std::unique_ptr<Talker>> talkers_;
  int64_t peak_ = 0;
};

struct Size {
  const char* memory;
  int talkers;
  int lines;
  size_t bytes;
  int deaf;  // How many members do not read until the flood is over.
};

class ChatFlood : public testing::TestWithParam<Size> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ChatFlood,
                         testing::Values(Size{"64MB", 100, 30, 8000, 0},
                                         Size{"64MB", 100, 100, 100, 10},
                                         Size{"4MB", 100, 20, 8000, 0}),
                         [](const auto& info) {
                           return std::string(info.param.memory) + "Lines" +
                                  std::to_string(info.param.bytes) + "Deaf" +
                                  std::to_string(info.param.deaf);
                         });

TEST_P(ChatFlood, EveryLineIsHeardOrReportedMissed) {
  const Size size = GetParam();
  RaiseDescriptorLimit();
  Server server("chat",
                {"--memory=" + std::string(size.memory), "--workers=2", "--max_connections=200"});
  const int64_t ceiling = PrintedCeiling(server);
  ASSERT_GT(ceiling, 0) << server.StandardError();
  {
    Flood flood(server, size.talkers);
    for (int i = 0; i < size.talkers; ++i) {
      flood[i].listens = i >= size.deaf;
      flood[i].Say(size.lines, size.bytes);
    }
    EXPECT_TRUE(flood.Until([&] {
      for (int i = size.deaf; i < size.talkers; ++i) {
        if (!flood[i].helped && !flood[i].ended) return false;
      }
      return true;
    })) << server.StandardError();
    for (int i = 0; i < size.talkers; ++i) flood[i].listens = true;
    // All lines of the others were heard or reported as missed, and no more.
    const auto accounted = [&](int i) {
      const int refused = flood.Refused() - flood[i].refused;
      return flood[i].received + flood[i].missed + refused == (size.talkers - 1) * size.lines;
    };
    EXPECT_TRUE(flood.Until([&] {
      for (int i = 0; i < size.talkers; ++i) {
        if (flood[i].ended) return true;
        if (!flood[i].helped || !accounted(i)) return false;
      }
      return true;
    }));
    for (int i = 0; i < size.talkers; ++i) {
      EXPECT_FALSE(flood[i].ended) << i << "\n" << server.StandardError();
      EXPECT_TRUE(accounted(i)) << i << ": " << flood[i].received << " received, "
                                << flood[i].missed << " missed, " << flood.Refused() << " refused";
    }
    if (!kSanitized) {
      EXPECT_LE(flood.peak(), ceiling);
    }
  }
  // The server works as before the flood.
  Member alice(server, "alice");
  Member bob(server, "bob");
  alice.Say("calm again");
  EXPECT_TRUE(bob.Hears("alice: calm again"));
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_EQ(server.StandardError().find("not balanced"), std::string::npos);
}

// Peers that write and never read hold all memory. The server ends them, one by one, until there is
// room again; a peer that reads is not ended, and is served.
TEST(EchoFlood, StalledPeersAreEndedAndReadersAreServed) {
  RaiseDescriptorLimit();
  Server server("echo", {"--memory=4MB", "--workers=2", "--max_connections=200"});
  const int64_t ceiling = PrintedCeiling(server);
  Client good(server.address());
  EXPECT_TRUE(Echoes(good));
  const std::string much(4 * kMebibyte, 'x');
  std::vector<std::unique_ptr<Client>> stalled;
  int64_t peak = 0;
  // Until the server takes nothing from a newcomer: memory is spent.
  for (int i = 0; i < 60; ++i) {
    stalled.push_back(
        std::make_unique<Client>(server.address(), ClientOptions{.receive_buffer_bytes = 4096}));
    stalled.back()->SendUntilStopped(much, absl::Milliseconds(5));
    peak = std::max(peak, server.ResidentBytes());
  }
  EXPECT_TRUE(WaitFor([&] {
    return server.StandardError().find("the budget stays spent") != std::string::npos;
  })) << server.StandardError();
  // The reading peer waits its turn while memory is spent, and is served again and again.
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Echoes(good)) << i;
  EXPECT_TRUE(good.connected());
  if (!kSanitized) {
    EXPECT_LE(peak, ceiling);
  }
  stalled.clear();
  EXPECT_TRUE(good.EchoPattern(8 * kMebibyte));
  Client late(server.address());
  EXPECT_TRUE(Echoes(late));
  good.Close();
  late.Close();
  EXPECT_EQ(server.Stop(), 0);
  const std::string log = server.StandardError();
  EXPECT_NE(log.find("shed for memory"), std::string::npos) << log;
  EXPECT_EQ(log.find("out of memory"), std::string::npos) << log;
  EXPECT_EQ(log.find("not balanced"), std::string::npos) << log;
}

}  // namespace
}  // namespace sluice::e2e
