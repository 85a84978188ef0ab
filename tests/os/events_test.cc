// Tests of epoll's events and the results of socket calls, step by step: the same on Linux and
// simulated. Each step waits until the other side's action has arrived, so no result depends on
// timing.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/os.h"
#include "sluice/sim/world/faults.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::testing {
namespace {

std::string Mask(uint32_t events) {
  constexpr std::pair<uint32_t, const char*> kNames[] = {{EPOLLIN, "IN"},       {EPOLLOUT, "OUT"},
                                                         {EPOLLRDHUP, "RDHUP"}, {EPOLLHUP, "HUP"},
                                                         {EPOLLERR, "ERR"},     {EPOLLPRI, "PRI"}};
  std::vector<std::string> names;
  for (const auto& [bit, name] : kNames) {
    if ((events & bit) != 0) names.push_back(name);
  }
  return absl::StrJoin(names, "|");
}

std::string Result(int64_t result) {
  return result < 0 ? absl::StrCat("-", strerrorname_np(static_cast<int>(-result)))
                    : absl::StrCat(result);
}

// Two connected sockets, each with a poller of its own, and a log of their events and results.
class Pair {
 public:
  Pair(Os& os, const std::string& address) : os_(os) {
    const Address parsed = *Address::Parse(address);
    listener_ = os_.SocketOpen(parsed.family(), SOCK_STREAM);
    See("bind", os_.Bind(listener_, parsed.sockaddr(), parsed.size()));
    See("listen", os_.Listen(listener_, 4));
    sockaddr_storage at;
    socklen_t size;
    os_.LocalAddress(listener_, &at, &size);
    near_ = Open(parsed.family());
    const int connected = os_.Connect(near_, reinterpret_cast<sockaddr*>(&at), size);
    EXPECT_TRUE(connected == 0 || connected == -EINPROGRESS);
    near_poller_ = os_.PollerCreate();
    os_.PollerAdd(near_poller_, near_, kAll, 0);
    const int listening = os_.PollerCreate();
    os_.PollerAdd(listening, listener_, kAll, 0);
    Await(listening, EPOLLIN);
    far_ = os_.Accept(listener_, &at, &size);
    See("accept again", os_.Accept(listener_, &at, &size));
    os_.Close(listening);
    far_poller_ = os_.PollerCreate();
    os_.PollerAdd(far_poller_, far_, kAll, 0);
  }
  ~Pair() {
    for (const int fd : {near_, far_, near_poller_, far_poller_, listener_}) {
      if (fd >= 0) os_.Close(fd);
    }
  }

  int Open(int family) { return os_.SocketOpen(family, SOCK_STREAM); }
  // Takes events until all those wanted are among them; returns the last event.
  uint32_t Await(int poller, uint32_t wanted) {
    epoll_event event{};
    for (int waits = 0; waits < 1'000; ++waits) {
      if (os_.PollerWait(poller, &event, 1, 10'000) == 0) break;
      if ((event.events & wanted) == wanted) return event.events;
    }
    ADD_FAILURE() << Mask(wanted) << " never came";
    return 0;
  }
  void AwaitNear(uint32_t wanted) { seen.push_back("near: " + Mask(Await(near_poller_, wanted))); }
  void AwaitFar(uint32_t wanted) { seen.push_back("far: " + Mask(Await(far_poller_, wanted))); }
  void See(const std::string& what, int64_t result) {
    seen.push_back(absl::StrCat(what, " = ", Result(result)));
  }
  int64_t Send(int fd, std::string_view bytes) {
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    return os_.Send(fd, &part, 1);
  }
  int64_t Receive(int fd, size_t most) {
    std::string buffer(most, ' ');
    return os_.Receive(fd, buffer.data(), most);
  }
  void ResetNear() {
    const linger at_once{1, 0};
    os_.OptionSet(near_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    CloseNear();
  }
  void CloseNear() { os_.Close(std::exchange(near_, -1)); }
  void SeeError(int fd) {
    int error = 0;
    socklen_t size = sizeof(error);
    os_.OptionGet(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    See("error", -error);
  }

  static constexpr uint32_t kAll = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
  std::vector<std::string> seen;
  Os& os_;
  int near_ = -1;
  int far_ = -1;
  int near_poller_ = -1;
  int far_poller_ = -1;
  int listener_ = -1;
};

struct Steps {
  const char* name;
  std::function<void(Pair&)> run;
  friend void PrintTo(const Steps& steps, std::ostream* out) { *out << steps.name; }
};

const Steps kTcp[] = {
    {"BytesComeWithRoom",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("send", pair.Send(pair.near_, "hello"));
       pair.AwaitFar(EPOLLIN);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
     }},
    {"AFinIsAnEndOfInput",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("shutdown", pair.os_.ShutdownWrite(pair.near_));
       pair.AwaitFar(EPOLLRDHUP);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("send", pair.Send(pair.far_, "still open"));
       pair.AwaitNear(EPOLLIN);
       pair.See("send after shutdown", pair.Send(pair.near_, "no"));
     }},
    {"BothEndsAreAHangUp",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("shutdown", pair.os_.ShutdownWrite(pair.near_));
       pair.AwaitFar(EPOLLRDHUP);
       pair.See("shutdown", pair.os_.ShutdownWrite(pair.far_));
       pair.AwaitFar(EPOLLHUP);
       pair.AwaitNear(EPOLLHUP);
       pair.See("receive", pair.Receive(pair.near_, 100));
     }},
    {"AResetIsAnErrorOnce",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.ResetNear();
       pair.AwaitFar(EPOLLERR);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("send", pair.Send(pair.far_, "no"));
     }},
    {"BytesBeforeAResetAreRead",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("send", pair.Send(pair.near_, "hello"));
       pair.AwaitFar(EPOLLIN);
       pair.ResetNear();
       pair.AwaitFar(EPOLLERR);
       pair.See("receive", pair.Receive(pair.far_, 2));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
     }},
    {"AfterAFinAResetIsABrokenPipe",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("shutdown", pair.os_.ShutdownWrite(pair.near_));
       pair.AwaitFar(EPOLLRDHUP);
       pair.CloseNear();
       pair.See("send", pair.Send(pair.far_, "to nobody"));
       pair.AwaitFar(EPOLLERR);
       pair.SeeError(pair.far_);
       pair.See("send", pair.Send(pair.far_, "no"));
     }},
    {"ClosingWithUnreadBytesResets",
     [](Pair& pair) {
       pair.AwaitFar(EPOLLOUT);
       pair.See("send", pair.Send(pair.far_, "unread"));
       pair.AwaitNear(EPOLLIN);
       pair.CloseNear();
       pair.AwaitFar(EPOLLERR);
       pair.See("receive", pair.Receive(pair.far_, 100));
     }},
    {"RoomComesBackWithAnEvent",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       const std::string piece(64 * 1024, 'x');
       size_t sent = 0;
       for (int64_t part = pair.Send(pair.near_, piece); part > 0;
            part = pair.Send(pair.near_, piece)) {
         sent += static_cast<size_t>(part);
       }
       size_t received = 0;
       while (received < sent) {
         const int64_t part = pair.Receive(pair.far_, 64 * 1024);
         if (part > 0) {
           received += static_cast<size_t>(part);
         } else {
           EXPECT_EQ(part, -EAGAIN);
           pair.Await(pair.far_poller_, EPOLLIN);
         }
       }
       pair.See("all received", sent == received);
       pair.AwaitNear(EPOLLOUT);
     }},
    {"AnUnconnectedSocketHangs",
     [](Pair& pair) {
       const int fd = pair.Open(AF_INET);
       const int poller = pair.os_.PollerCreate();
       pair.os_.PollerAdd(poller, fd, Pair::kAll, 0);
       epoll_event event{};
       pair.See("events", pair.os_.PollerWait(poller, &event, 1, 0));
       pair.seen.push_back(Mask(event.events));
       pair.See("receive", pair.Receive(fd, 1));
       pair.os_.Close(fd);
       pair.os_.Close(poller);
     }},
    {"AFileIsWatchedOnce",
     [](Pair& pair) {
       pair.See("add", pair.os_.PollerAdd(pair.near_poller_, pair.near_, Pair::kAll, 0));
       pair.See("remove", pair.os_.PollerRemove(pair.near_poller_, pair.near_));
       pair.See("remove", pair.os_.PollerRemove(pair.near_poller_, pair.near_));
     }},
    {"AnAddressIsTakenOnce",
     [](Pair& pair) {
       sockaddr_storage at;
       socklen_t size;
       pair.os_.LocalAddress(pair.listener_, &at, &size);
       const int fd = pair.Open(at.ss_family);
       pair.See("bind", pair.os_.Bind(fd, reinterpret_cast<sockaddr*>(&at), size));
       pair.os_.Close(fd);
     }},
    {"ShuttingBothDownLeavesNobodyWhoReads",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("send", pair.Send(pair.near_, "hello"));
       pair.See("shutdown", pair.os_.ShutdownBoth(pair.near_));
       pair.AwaitFar(EPOLLRDHUP);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.near_, 100));
       pair.See("send", pair.Send(pair.far_, "to nobody"));
       pair.AwaitFar(EPOLLERR);
       pair.SeeError(pair.far_);
       pair.See("shutdown", pair.os_.ShutdownBoth(pair.far_));
     }},
    {"AResetReachesThePeerThoughTheDescriptorIsOpen",
     [](Pair& pair) {
       pair.AwaitNear(EPOLLOUT);
       pair.See("reset", pair.os_.Reset(pair.near_));
       pair.AwaitFar(EPOLLERR);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
     }},
};

const Steps kUnix[] = {
    {"AFinIsAnEndOfInput", kTcp[1].run},
    {"BothEndsAreAHangUp", kTcp[2].run},
    {"ClosingEndsBothDirections",
     [](Pair& pair) {
       pair.AwaitFar(EPOLLOUT);
       pair.CloseNear();
       pair.AwaitFar(EPOLLHUP);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("send", pair.Send(pair.far_, "no"));
     }},
    {"ClosingWithUnreadBytesResets", kTcp[6].run},
    {"BytesBeforeACloseAreRead",
     [](Pair& pair) {
       pair.See("send", pair.Send(pair.near_, "hello"));
       pair.CloseNear();
       pair.AwaitFar(EPOLLHUP);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
     }},
    {"AnAddressIsTakenOnce", kTcp[10].run},
    {"ShuttingBothDownEndsBothDirections",
     [](Pair& pair) {
       pair.See("send", pair.Send(pair.near_, "hello"));
       pair.See("shutdown", pair.os_.ShutdownBoth(pair.near_));
       pair.AwaitFar(EPOLLHUP);
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("receive", pair.Receive(pair.far_, 100));
       pair.See("send", pair.Send(pair.far_, "no"));
     }},
    {"AListenerThatIsShutIsRefused",
     [](Pair& pair) {
       sockaddr_storage at;
       socklen_t size;
       pair.os_.LocalAddress(pair.listener_, &at, &size);
       pair.See("shutdown", pair.os_.ShutdownBoth(pair.listener_));
       const int fd = pair.Open(at.ss_family);
       pair.See("connect", pair.os_.Connect(fd, reinterpret_cast<sockaddr*>(&at), size));
       pair.os_.Close(fd);
     }},
};

std::vector<std::string> SeenOn(Os& os, const Steps& steps, const std::string& address) {
  Pair pair(os, address);
  steps.run(pair);
  return pair.seen;
}

void ExpectTheSame(const Steps& steps, const std::string& address) {
  const std::vector<std::string> on_linux = SeenOn(LinuxOs(), steps, address);
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    // Without the faults that Linux shows only to a program that meets them.
    sim::Faults faults;
    faults.short_send = faults.refused_send = faults.spurious_event = 0;
    faults.part_segment = faults.one_byte_segment = 0;
    sim::Simulation simulation(seed, faults);
    EXPECT_EQ(on_linux, SeenOn(simulation.os(), steps, address)) << "seed " << seed;
    EXPECT_EQ(simulation.violation(), "");
    if (::testing::Test::HasFailure()) return;
  }
}

class TcpEvents : public ::testing::TestWithParam<Steps> {};
TEST_P(TcpEvents, AreThoseOfLinux) { ExpectTheSame(GetParam(), "127.0.0.1:0"); }
TEST_P(TcpEvents, AreThoseOfLinuxOnIp6) { ExpectTheSame(GetParam(), "[::1]:0"); }
INSTANTIATE_TEST_SUITE_P(Steps, TcpEvents, ::testing::ValuesIn(kTcp),
                         [](const auto& steps) { return std::string(steps.param.name); });

class UnixEvents : public ::testing::TestWithParam<Steps> {};
TEST_P(UnixEvents, AreThoseOfLinux) {
  ExpectTheSame(GetParam(), absl::StrCat("unix:@sluice-events-", getpid()));
}
INSTANTIATE_TEST_SUITE_P(Steps, UnixEvents, ::testing::ValuesIn(kUnix),
                         [](const auto& steps) { return std::string(steps.param.name); });

}  // namespace
}  // namespace sluice::testing
