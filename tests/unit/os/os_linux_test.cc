#include "sluice/core/os/os_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sluice/core/os/fd.h"
#include "sluice/core/os/os.h"

namespace sluice::testing::os_linux_test {
namespace {

constexpr int kForever = -1;

Os& os() { return LinuxOs(); }

bool IsNonBlockingAndCloexec(int fd) {
  return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

// Waits until `fd` reports one of `events`.
uint32_t AwaitEvents(int fd, uint32_t events) {
  OwnedFd poller(os(), os().PollerCreate());
  EXPECT_EQ(os().PollerAdd(poller.Get(), fd, events, 0), 0);
  epoll_event event{};
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, kForever), 1);
  return event.events;
}

int64_t SendText(int fd, std::string text) {
  const iovec part{text.data(), text.size()};
  return os().Send(fd, &part, 1);
}

std::string ReceiveExactly(int fd, size_t size) {
  std::string text;
  while (text.size() < size) {
    AwaitEvents(fd, EPOLLIN);
    char data[4096];
    const int64_t result = os().Receive(fd, data, std::min(sizeof data, size - text.size()));
    if (result <= 0) break;
    text.append(data, static_cast<size_t>(result));
  }
  return text;
}

// A listener on a free loopback port, and one connection through it.
struct Loopback {
  Loopback() {
    listener = OwnedFd(os(), os().SocketOpen(AF_INET, SOCK_STREAM));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(os().Bind(listener.Get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(os().Listen(listener.Get(), 16), 0);
    sockaddr_storage bound;
    socklen_t size = 0;  // The call sets it, whatever the value was.
    EXPECT_EQ(os().LocalAddress(listener.Get(), &bound, &size), 0);

    client = OwnedFd(os(), os().SocketOpen(AF_INET, SOCK_STREAM));
    const int result = os().Connect(client.Get(), reinterpret_cast<sockaddr*>(&bound), size);
    EXPECT_TRUE(result == 0 || result == -EINPROGRESS) << result;
    AwaitEvents(listener.Get(), EPOLLIN);
    server = OwnedFd(os(), os().Accept(listener.Get(), &peer, &peer_size));
    AwaitEvents(client.Get(), EPOLLOUT);
  }

  OwnedFd listener;
  OwnedFd client;
  OwnedFd server;
  sockaddr_storage peer;
  socklen_t peer_size = 0;
};

// ---- The machine

TEST(LinuxOs, TimeNeverGoesBack) {
  int64_t before = os().NowNs();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = os().NowNs();
    ASSERT_GE(now, before);
    before = now;
  }
}

TEST(LinuxOs, ProcessorTimeIsPerThreadAndExcludesWaits) {
  const int64_t before = os().ThreadProcessorNs();
  const OwnedFd poller(os(), os().PollerCreate());
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, 200), 0);
  EXPECT_LT(os().ThreadProcessorNs() - before, 150'000'000);
  while (os().ThreadProcessorNs() - before < 1'000'000) {
  }
  int64_t of_another = 0;
  std::thread([&] { of_another = os().ThreadProcessorNs(); }).join();
  EXPECT_GT(of_another, 0);
  EXPECT_LT(of_another, os().ThreadProcessorNs());
}

TEST(LinuxOs, KnowsWhatTheMachineHas) {
  EXPECT_GE(os().ProcessorCount(), 1);
  EXPECT_GT(os().MemoryBytes(), 0);
  EXPECT_GT(os().SocketMemoryBytes(1), 0);
  EXPECT_GE(os().SocketMemoryBytes(65'536), os().SocketMemoryBytes(1));
  EXPECT_LE(os().MemoryBytes(), int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(os().DescriptorsMax(),
            static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, INT64_MAX)));
}

class LinuxFiles : public ::testing::Test {
 protected:
  LinuxFiles() {
    std::string pattern = ::testing::TempDir() + "/sluice_files_XXXXXX";
    mount_ = mkdtemp(pattern.data());
  }
  ~LinuxFiles() override { std::filesystem::remove_all(mount_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int64_t Limit() { return CgroupMemoryBytes(mount_ + "/self", mount_); }

  std::string mount_;
};

class CgroupMemory : public LinuxFiles {};
class TcpMemory : public LinuxFiles {};

TEST_F(TcpMemory, SumsSocketMaximaUpToTheMachinesLimit) {
  Write("tcp_rmem", "4096\t131072\t6000\n");
  Write("tcp_wmem", "4096\t16384\t4000\n");
  EXPECT_EQ(TcpMemoryBytes(mount_, 0), 0);
  EXPECT_EQ(TcpMemoryBytes(mount_, 7), 70'000);
  EXPECT_EQ(TcpMemoryBytes(mount_, INT64_MAX), INT64_MAX);  // The files name no limit.
  Write("tcp_mem", "1 2 3\n");
  EXPECT_EQ(TcpMemoryBytes(mount_, 1), std::min<int64_t>(10'000, 3 * sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(TcpMemoryBytes(mount_, 65'536), 3 * sysconf(_SC_PAGESIZE));
}

TEST_F(TcpMemory, IsNotZeroWhereTheFilesCannotBeRead) {
  EXPECT_GE(TcpMemoryBytes(mount_, 1), 1 << 20);
  Write("tcp_rmem", "nonsense");
  EXPECT_GE(TcpMemoryBytes(mount_, 1), 1 << 20);
}

TEST_F(CgroupMemory, IsUnlimitedWithoutAnyFile) {
  EXPECT_EQ(Limit(), INT64_MAX);
  Write("self", "0::/a/b\n");
  EXPECT_EQ(Limit(), INT64_MAX);
  Write("a/b/memory.max", "max\n");
  EXPECT_EQ(Limit(), INT64_MAX);
  Write("self", "nonsense\n\n:\n");
  EXPECT_EQ(Limit(), INT64_MAX);
}

TEST_F(CgroupMemory, IsTheLeastLimitOnItsPath) {
  Write("self", "0::/a/b\n");
  Write("a/b/memory.max", "3000\n");
  EXPECT_EQ(Limit(), 3000);
  Write("a/memory.max", "2000\n");
  EXPECT_EQ(Limit(), 2000);
  Write("a/b/memory.max", "max\n");
  EXPECT_EQ(Limit(), 2000);
  Write("memory.max", "1000\n");
  EXPECT_EQ(Limit(), 1000);
  Write("other/memory.max", "1\n");
  EXPECT_EQ(Limit(), 1000);
}

TEST_F(CgroupMemory, TheMountsLimitCountsInAContainer) {
  Write("self", "0::/system.slice/docker-abc.scope\n");
  Write("memory.max", "5000\n");
  EXPECT_EQ(Limit(), 5000);
  Write("self", "0::/\n");
  EXPECT_EQ(Limit(), 5000);
}

TEST_F(CgroupMemory, IsFoundInVersionOneToo) {
  Write("self", "12:pids:/p\n7:cpu,memory:/a\n1:name=systemd:/s\n0::/\n");
  Write("memory/a/memory.limit_in_bytes", "7000\n");
  // Version 1's value for "no limit".
  Write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("memory/p/memory.limit_in_bytes", "1\n");  // Another controller's group.
  EXPECT_EQ(Limit(), 7000);
}

// ---- Readiness and wake-ups

TEST(LinuxOs, PollerWaitAnswersZeroWhenNothingIsReady) {
  OwnedFd poller(os(), os().PollerCreate());
  EXPECT_TRUE((fcntl(poller.Get(), F_GETFD) & FD_CLOEXEC) != 0);
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, 0), 0);
}

TEST(LinuxOs, NanosecondWaitsAreNeverShortNorRoundedUp) {
  OwnedFd poller(os(), os().PollerCreate());
  epoll_event event;
  constexpr int64_t kWaitNs = 100'000;
  int64_t shortest_ns = INT64_MAX;
  // A busy machine may delay one wait or many, but not each of a thousand.
  for (int i = 0; i < 1'000 && shortest_ns >= 1'000'000; ++i) {
    const int64_t begin_ns = os().NowNs();
    EXPECT_EQ(os().PollerWaitNs(poller.Get(), &event, 1, kWaitNs), 0);
    shortest_ns = std::min(shortest_ns, os().NowNs() - begin_ns);
    EXPECT_GE(shortest_ns, kWaitNs);
  }
  EXPECT_LT(shortest_ns, 1'000'000);
  EXPECT_EQ(os().PollerWaitNs(poller.Get(), &event, 1, 0), 0);
}

TEST(LinuxOs, PollerWaitLimitsEventsAndKeepsTheirData) {
  OwnedFd poller(os(), os().PollerCreate());
  std::vector<OwnedFd> wakes;
  for (uint64_t i = 0; i < 3; ++i) {
    wakes.emplace_back(os(), os().WakeCreate());
    ASSERT_EQ(os().PollerAdd(poller.Get(), wakes.back().Get(), EPOLLIN, ~i), 0);
    ASSERT_EQ(os().WakeSignal(wakes.back().Get()), 0);
  }
  epoll_event events[3];
  EXPECT_EQ(os().PollerWait(poller.Get(), events, 2, 0), 2);
  ASSERT_EQ(os().PollerWait(poller.Get(), events, 3, 0), 3);
  uint64_t seen = 0;
  for (const epoll_event& event : events) seen |= uint64_t{1} << ~event.data.u64;
  EXPECT_EQ(seen, 7u);
}

TEST(LinuxOs, ARemovedDescriptorReportsNoMore) {
  OwnedFd poller(os(), os().PollerCreate());
  OwnedFd wake(os(), os().WakeCreate());
  EXPECT_EQ(os().PollerRemove(poller.Get(), wake.Get()), -ENOENT);
  ASSERT_EQ(os().PollerAdd(poller.Get(), wake.Get(), EPOLLIN, 0), 0);
  EXPECT_EQ(os().PollerAdd(poller.Get(), wake.Get(), EPOLLIN, 0), -EEXIST);
  ASSERT_EQ(os().WakeSignal(wake.Get()), 0);
  ASSERT_EQ(os().PollerRemove(poller.Get(), wake.Get()), 0);
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, 0), 0);
}

TEST(LinuxOs, ManySignalsAreSeenAsOneWake) {
  OwnedFd poller(os(), os().PollerCreate());
  OwnedFd wake(os(), os().WakeCreate());
  EXPECT_TRUE(IsNonBlockingAndCloexec(wake.Get()));
  ASSERT_EQ(os().PollerAdd(poller.Get(), wake.Get(), EPOLLIN | EPOLLET, 5), 0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(os().WakeSignal(wake.Get()), 0);
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, kForever), 1);
  EXPECT_EQ(os().WakeClear(wake.Get()), 0);
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, 0), 0);
  EXPECT_EQ(os().WakeClear(wake.Get()), 0);  // Nothing to clear is no error.
  EXPECT_EQ(os().WakeSignal(wake.Get()), 0);
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, kForever), 1);
}

TEST(LinuxOs, SignalOnAFullCounterDoesNotBlock) {
  OwnedFd wake(os(), os().WakeCreate());
  const uint64_t almost = UINT64_MAX - 1;
  ASSERT_EQ(write(wake.Get(), &almost, sizeof almost), static_cast<ssize_t>(sizeof almost));
  EXPECT_EQ(os().WakeSignal(wake.Get()), 0);
  EXPECT_TRUE((AwaitEvents(wake.Get(), EPOLLIN) & EPOLLIN) != 0);
}

TEST(LinuxOs, WakeFromAnotherThreadEndsAnEndlessWait) {
  OwnedFd poller(os(), os().PollerCreate());
  OwnedFd wake(os(), os().WakeCreate());
  ASSERT_EQ(os().PollerAdd(poller.Get(), wake.Get(), EPOLLIN | EPOLLET, 0), 0);
  std::thread waker([&] { os().WakeSignal(wake.Get()); });
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, kForever), 1);
  waker.join();
}

TEST(LinuxOs, PollerWaitAnswersZeroAfterASignal) {
  struct sigaction action {};
  struct sigaction before;
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR2, &action, &before), 0);
  OwnedFd poller(os(), os().PollerCreate());
  const pthread_t waiter = pthread_self();
  std::atomic<bool> over{false};
  // Sends until a signal meets the wait: no thread can know which.
  std::thread sender([&] {
    while (!over) {
      pthread_kill(waiter, SIGUSR2);
      std::this_thread::yield();
    }
  });
  epoll_event event;
  EXPECT_EQ(os().PollerWait(poller.Get(), &event, 1, kForever), 0);
  over = true;
  sender.join();
  sigaction(SIGUSR2, &before, nullptr);
}

// ---- Sockets

TEST(LinuxOs, EverySocketIsNonBlockingAndClosesOnExec) {
  Loopback loopback;
  for (const OwnedFd* fd : {&loopback.listener, &loopback.client, &loopback.server}) {
    EXPECT_TRUE(IsNonBlockingAndCloexec(fd->Get()));
  }
}

TEST(LinuxOs, AcceptNamesThePeerThenAnswersEagain) {
  Loopback loopback;
  sockaddr_storage local;
  socklen_t size = 0;
  ASSERT_EQ(os().LocalAddress(loopback.client.Get(), &local, &size), 0);
  ASSERT_EQ(size, loopback.peer_size);
  EXPECT_EQ(std::memcmp(&local, &loopback.peer, size), 0);
  ASSERT_EQ(os().PeerAddress(loopback.server.Get(), &local, &size), 0);
  EXPECT_EQ(std::memcmp(&local, &loopback.peer, size), 0);
  EXPECT_EQ(os().Accept(loopback.listener.Get(), &local, &size), -EAGAIN);
}

TEST(LinuxOs, BytesArriveInTheOrderOfTheParts) {
  Loopback loopback;
  EXPECT_EQ(SendText(loopback.client.Get(), "one"), 3);
  char two[] = "two";
  char three[] = "three";
  const iovec parts[] = {{two, 3}, {three, 5}};
  EXPECT_EQ(os().Send(loopback.client.Get(), parts, 2), 8);
  EXPECT_EQ(ReceiveExactly(loopback.server.Get(), 11), "onetwothree");
  char data[8];
  EXPECT_EQ(os().Receive(loopback.server.Get(), data, sizeof data), -EAGAIN);
}

TEST(LinuxOs, SendTakesUpToIovMaxParts) {
  Loopback loopback;
  char byte[] = "x";
  const std::vector<iovec> parts(IOV_MAX + 100, iovec{byte, 1});
  const int64_t sent =
      os().Send(loopback.client.Get(), parts.data(), static_cast<int>(parts.size()));
  EXPECT_EQ(sent, IOV_MAX);
  EXPECT_EQ(ReceiveExactly(loopback.server.Get(), IOV_MAX), std::string(IOV_MAX, 'x'));
}

TEST(LinuxOs, SendToFullPeerIsPartialThenEagain) {
  Loopback loopback;
  std::string text(1 << 20, 'x');
  iovec parts[] = {{text.data(), text.size()}, {text.data(), text.size()}};
  int64_t sent = 0;
  for (int i = 0;; ++i) {
    const int64_t result = os().Send(loopback.client.Get(), parts, 1 + i % 2);
    if (result < 0) {
      EXPECT_EQ(result, -EAGAIN);
      break;
    }
    sent += result;
    ASSERT_LT(sent, int64_t{1} << 30);  // The kernel's buffers are bounded.
  }
  EXPECT_EQ(ReceiveExactly(loopback.server.Get(), 100'000), std::string(100'000, 'x'));
}

TEST(LinuxOs, ShutdownWriteSendsFinAndReadingContinues) {
  Loopback loopback;
  EXPECT_EQ(SendText(loopback.client.Get(), "last"), 4);
  EXPECT_EQ(os().ShutdownWrite(loopback.client.Get()), 0);
  EXPECT_EQ(ReceiveExactly(loopback.server.Get(), 4), "last");
  AwaitEvents(loopback.server.Get(), EPOLLRDHUP);
  char data[8];
  EXPECT_EQ(os().Receive(loopback.server.Get(), data, sizeof data), 0);
  EXPECT_EQ(SendText(loopback.server.Get(), "answer"), 6);
  EXPECT_EQ(ReceiveExactly(loopback.client.Get(), 6), "answer");
}

TEST(LinuxOs, SendAfterFinIsAnErrorWithoutSignal) {
  Loopback loopback;
  ASSERT_EQ(os().ShutdownWrite(loopback.client.Get()), 0);
  char text[] = "late";
  const iovec parts[] = {{text, 4}, {text, 4}};
  // SIGPIPE would end this process.
  EXPECT_EQ(os().Send(loopback.client.Get(), parts, 1), -EPIPE);
  EXPECT_EQ(os().Send(loopback.client.Get(), parts, 2), -EPIPE);
}

// A file with this text, at its end.
OwnedFd TextFile(const std::string& text) {
  OwnedFd file(os(), memfd_create("file", MFD_CLOEXEC));
  EXPECT_EQ(write(file.Get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return file;
}

TEST(LinuxOs, SendFileUsesAndMovesNoPosition) {
  Loopback loopback;
  const OwnedFd file = TextFile("0123456789");
  EXPECT_EQ(os().SendFile(loopback.client.Get(), file.Get(), 2, 3), 3);
  EXPECT_EQ(ReceiveExactly(loopback.server.Get(), 3), "234");
  EXPECT_EQ(os().SendFile(loopback.client.Get(), file.Get(), 8, 100), 2);
  EXPECT_EQ(os().SendFile(loopback.client.Get(), file.Get(), 10, 1), 0);
  EXPECT_EQ(lseek(file.Get(), 0, SEEK_CUR), 10);
}

TEST(LinuxOs, SendFileAfterFinIsAnErrorWithoutSignal) {
  Loopback loopback;
  const OwnedFd file = TextFile("late");
  ASSERT_EQ(os().ShutdownWrite(loopback.client.Get()), 0);
  // SIGPIPE would end this process.
  EXPECT_EQ(os().SendFile(loopback.client.Get(), file.Get(), 0, 4), -EPIPE);
  sigset_t blocked, pending;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
  ASSERT_EQ(sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&blocked, SIGPIPE), 0);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST(LinuxOs, FilePagesAreLookedForWithoutAWait) {
  std::string path = "file.XXXXXX";
  const OwnedFd file(os(), mkstemp(path.data()));
  unlink(path.c_str());
  const std::string text(300'000, 'x');
  ASSERT_EQ(write(file.Get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  if (os().FileInMemory(file.Get(), 0, 300'000) == 0) {
    GTEST_SKIP() << "a file system without such looks";
  }
  EXPECT_EQ(os().FileInMemory(file.Get(), 299'999, 1), 1);
  EXPECT_EQ(os().FileInMemory(file.Get(), 0, 300'001), 0);
  EXPECT_EQ(os().FileInMemory(file.Get(), 300'000, 1), -ENODATA);
  ASSERT_EQ(fsync(file.Get()), 0);
  ASSERT_EQ(posix_fadvise(file.Get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_EQ(os().FileInMemory(file.Get(), 0, 300'000), 0);
  EXPECT_EQ(os().FileFetch(file.Get(), 0, 300'000), 300'000);
  EXPECT_EQ(os().FileInMemory(file.Get(), 0, 300'000), 1);
}

TEST(LinuxOs, FileFetchEndsWhereTheFileDoes) {
  const OwnedFd file = TextFile(std::string(50'000, 'x'));
  EXPECT_EQ(os().FileFetch(file.Get(), 10'000, 100'000), 40'000);
  EXPECT_EQ(os().FileFetch(file.Get(), 50'000, 1), 0);
  EXPECT_EQ(os().FileFetch(-1, 0, 1), -EBADF);
}

TEST(LinuxOs, AResetIsAValue) {
  Loopback loopback;
  const linger abort{1, 0};
  ASSERT_EQ(os().OptionSet(loopback.client.Get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), 0);
  loopback.client.Reset();
  AwaitEvents(loopback.server.Get(), EPOLLIN | EPOLLERR);
  char data[8];
  EXPECT_EQ(os().Receive(loopback.server.Get(), data, sizeof data), -ECONNRESET);
}

TEST(LinuxOs, RefusedConnectIsAValueOrSocketError) {
  Loopback loopback;
  sockaddr_storage address;
  socklen_t size = 0;
  ASSERT_EQ(os().LocalAddress(loopback.listener.Get(), &address, &size), 0);
  loopback.listener.Reset();
  OwnedFd late(os(), os().SocketOpen(AF_INET, SOCK_STREAM));
  int result = os().Connect(late.Get(), reinterpret_cast<sockaddr*>(&address), size);
  if (result == -EINPROGRESS) {
    AwaitEvents(late.Get(), EPOLLOUT);
    int error = 0;
    socklen_t error_size = sizeof error;
    ASSERT_EQ(os().OptionGet(late.Get(), SOL_SOCKET, SO_ERROR, &error, &error_size), 0);
    result = -error;
  }
  EXPECT_EQ(result, -ECONNREFUSED);
}

TEST(LinuxOs, UnixSocketsWorkAndTheirFileIsRemoved) {
  // Not TEST_TMPDIR: its path may be longer than the 107 bytes of such an address.
  std::string folder = "/tmp/sluice_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/s";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  OwnedFd listener(os(), os().SocketOpen(AF_UNIX, SOCK_STREAM));
  ASSERT_EQ(os().Bind(listener.Get(), name, sizeof address), 0);
  ASSERT_EQ(os().Listen(listener.Get(), 1), 0);
  OwnedFd client(os(), os().SocketOpen(AF_UNIX, SOCK_STREAM));
  EXPECT_EQ(os().Connect(client.Get(), name, sizeof address), 0);
  sockaddr_storage peer;
  socklen_t peer_size = 0;
  OwnedFd server(os(), os().Accept(listener.Get(), &peer, &peer_size));
  EXPECT_EQ(SendText(client.Get(), "hello"), 5);
  EXPECT_EQ(ReceiveExactly(server.Get(), 5), "hello");
  FileId file;
  EXPECT_EQ(os().SocketFile(path, &file), 0);
  FileId other = file;
  ++other.inode;
  EXPECT_EQ(os().Unlink(path, other), -ESTALE);
  EXPECT_EQ(os().Unlink(path, file), 0);
  EXPECT_EQ(os().Unlink(path, file), -ENOENT);
  rmdir(folder.c_str());
}

TEST(LinuxOs, ErrorsAreMinusErrno) {
  epoll_event event;
  char data[1];
  const iovec part{data, 1};
  EXPECT_EQ(os().PollerWait(-1, &event, 1, 0), -EBADF);
  EXPECT_EQ(os().PollerAdd(-1, -1, EPOLLIN, 0), -EBADF);
  EXPECT_EQ(os().WakeSignal(-1), -EBADF);
  EXPECT_EQ(os().WakeClear(-1), -EBADF);
  EXPECT_EQ(os().SocketOpen(-1, SOCK_STREAM), -EAFNOSUPPORT);
  EXPECT_EQ(os().Listen(-1, 1), -EBADF);
  EXPECT_EQ(os().Receive(-1, data, 1), -EBADF);
  EXPECT_EQ(os().Send(-1, &part, 1), -EBADF);
  EXPECT_EQ(os().ShutdownWrite(-1), -EBADF);
  EXPECT_EQ(os().ShutdownBoth(-1), -EBADF);
  EXPECT_EQ(os().Reset(-1), -EBADF);
  EXPECT_EQ(os().Close(-1), -EBADF);
}

TEST(LinuxOs, ClosingTheSpareDescriptorFreesANumber) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  OwnedFd spare(os(), os().SpareOpen());
  ASSERT_TRUE(spare.Valid());
  // Allow no descriptor number above the ones in use: the next open finds no number.
  rlimit none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(spare.Get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
  std::vector<OwnedFd> below;  // Occupies the free numbers below the spare descriptor.
  int fd = os().SpareOpen();
  for (; fd >= 0; fd = os().SpareOpen()) below.emplace_back(os(), fd);
  EXPECT_EQ(fd, -EMFILE);
  EXPECT_EQ(os().SocketOpen(AF_INET, SOCK_STREAM), -EMFILE);
  spare.Reset();
  const int opened = os().SocketOpen(AF_INET, SOCK_STREAM);
  EXPECT_GE(opened, 0);
  if (opened >= 0) os().Close(opened);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// In a child process: a limit that is reached would stop this program.
TEST(LinuxOs, LimitsOfTheProcessCountAsMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes more address space than any limit leaves";
#endif
  for (const int resource : {RLIMIT_AS, RLIMIT_DATA}) {
    const int64_t before = os().MemoryBytes();
    const int64_t lower = before - (1 << 20);
    const pid_t child = fork();
    if (child == 0) {
      rlimit limit;
      getrlimit(resource, &limit);
      limit.rlim_cur = static_cast<rlim_t>(lower);
      setrlimit(resource, &limit);
      _exit(os().MemoryBytes() == lower ? 0 : 1);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << resource << ": " << status;
  }
}

TEST(LinuxOs, SoftDescriptorLimitIsRaisedToHardLimit) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {100, 200};
    setrlimit(RLIMIT_NOFILE, &limit);
    const int64_t before = os().DescriptorsMax();
    os().DescriptorsMaxRaise();
    _exit(before == 100 && os().DescriptorsMax() == 200 ? 0 : 1);
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(LinuxOs, KernelBuffersNeverExceedTheMachinesMemory) {
  EXPECT_LE(os().SocketMemoryBytes(1'000'000'000), os().MemoryBytes());
}

TEST(LinuxOs, OnlyWaitsCountAsVoluntarySwitches) {
  const ThreadSwitches before = os().ThreadSwitchCounts();
  poll(nullptr, 0, 20);
  EXPECT_GT(os().ThreadSwitchCounts().voluntary, before.voluntary);
  ThreadSwitches of_another;
  std::thread([&] { of_another = os().ThreadSwitchCounts(); }).join();
  EXPECT_LE(of_another.voluntary, os().ThreadSwitchCounts().voluntary);
}

// ---- Signals

TEST(LinuxOs, SignalsAreReadInsteadOfEndingTheProcess) {
  const int signals = os().SignalOpen({SIGTERM, SIGINT});
  EXPECT_TRUE(IsNonBlockingAndCloexec(signals));
  EXPECT_EQ(os().SignalRead(signals), -EAGAIN);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGTERM), 0);
  AwaitEvents(signals, EPOLLIN);
  EXPECT_EQ(os().SignalRead(signals), SIGTERM);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGINT), 0);
  EXPECT_EQ(os().SignalRead(signals), SIGINT);
  EXPECT_EQ(os().SignalRead(signals), -EAGAIN);
  EXPECT_EQ(os().SignalClose(signals), 0);
  EXPECT_EQ(os().SignalClose(-1), -EBADF);
  struct sigaction now;
  ASSERT_EQ(sigaction(SIGTERM, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

TEST(LinuxOs, EachReaderGetsEachSignal) {
  const int first = os().SignalOpen({SIGTERM, SIGINT});
  const int second = os().SignalOpen({SIGTERM, SIGUSR1});
  ASSERT_NE(first, second);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGTERM), 0);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
  EXPECT_EQ(os().SignalRead(first), SIGTERM);
  EXPECT_EQ(os().SignalRead(first), -EAGAIN);
  EXPECT_EQ(os().SignalClose(first), 0);
  EXPECT_EQ(os().SignalRead(second), SIGUSR1);  // The lowest signal number comes first.
  EXPECT_EQ(os().SignalRead(second), SIGTERM);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGTERM), 0);  // The second reader still takes it.
  EXPECT_EQ(os().SignalRead(second), SIGTERM);
  EXPECT_EQ(os().SignalClose(second), 0);
  // The next reader gets the descriptor, without old signals.
  const int next = os().SignalOpen({SIGTERM});
  EXPECT_EQ(os().SignalRead(next), -EAGAIN);
  EXPECT_EQ(os().SignalClose(next), 0);
}

TEST(LinuxOs, SignalOpenRefusesWhatIsNoSignal) {
  EXPECT_EQ(os().SignalOpen({SIGTERM, 12345}), -EINVAL);
  EXPECT_EQ(os().SignalOpen({SIGTERM, SIGKILL}), -EINVAL);
  EXPECT_EQ(os().SignalOpen({}), -EINVAL);
  struct sigaction now;
  ASSERT_EQ(sigaction(SIGTERM, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

// Holds for whichever thread the kernel gives the signal to, and while other readers come and go.
TEST(LinuxOs, ReaderMissesNoSignalWhileOthersChange) {
  const int stays = os().SignalOpen({SIGUSR1});
  ASSERT_GE(stays, 0);
  std::atomic<bool> over{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!over) {
        const int comes = os().SignalOpen({SIGUSR1, SIGUSR2});
        EXPECT_GE(comes, 0);
        os().SignalRead(comes);
        EXPECT_EQ(os().SignalClose(comes), 0);
      }
    });
  }
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
    AwaitEvents(stays, EPOLLIN);
    ASSERT_EQ(os().SignalRead(stays), SIGUSR1) << i;
    ASSERT_EQ(os().SignalRead(stays), -EAGAIN) << i;
  }
  over = true;
  for (std::thread& other : others) other.join();
  EXPECT_EQ(os().SignalClose(stays), 0);
}

TEST(LinuxOs, ReadersAreBounded) {
  std::vector<int> readers;
  int last = 0;
  while ((last = os().SignalOpen({SIGUSR1})) >= 0) readers.push_back(last);
  EXPECT_EQ(last, -EMFILE);
  EXPECT_EQ(readers.size(), 64u);
  for (const int reader : readers) EXPECT_EQ(os().SignalClose(reader), 0);
}

TEST(LinuxOs, ThreadJoinWaitsUntilItsThreadHasReturned) {
  std::atomic<bool> go{false};
  bool returned = false;
  ThreadId thread = 0;
  ASSERT_EQ(os().ThreadStart(
                [&] {
                  while (!go) std::this_thread::yield();
                  returned = true;
                },
                &thread),
            0);
  go = true;
  os().ThreadJoin(thread);
  EXPECT_TRUE(returned);
}

TEST(LinuxOs, WaitReleasesItsLockAndEndsWithANotice) {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  ThreadId thread = 0;
  std::unique_lock<std::mutex> lock(mutex);
  ASSERT_EQ(os().ThreadStart(
                [&] {
                  std::unique_lock<std::mutex> theirs(mutex);
                  turn = 1;
                  os().NotifyOne(changed);
                  while (turn != 2) os().Wait(changed, theirs);
                  turn = 3;
                  os().NotifyAll(changed);
                },
                &thread),
            0);
  while (turn != 1) os().Wait(changed, lock);
  turn = 2;
  os().NotifyAll(changed);
  while (turn != 3) os().Wait(changed, lock);
  lock.unlock();
  os().ThreadJoin(thread);
}

TEST(LinuxOs, ADetachedThreadRunsOn) {
  // Shared: the thread may touch them after this test has seen it run.
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool ran = false;
  };
  const auto shared = std::make_shared<Shared>();
  std::unique_lock<std::mutex> lock(shared->mutex);
  ThreadId thread = 0;
  ASSERT_EQ(os().ThreadStart(
                [shared] {
                  const std::lock_guard<std::mutex> theirs(shared->mutex);
                  shared->ran = true;
                  os().NotifyOne(shared->changed);
                },
                &thread),
            0);
  os().ThreadDetach(thread);
  while (!shared->ran) os().Wait(shared->changed, lock);
}

TEST(LinuxOs, DescriptorsThatAreReservedStayFree) {
  const int before = os().SpareOpen();
  os().Close(before);
  os().DescriptorsReserve(os().DescriptorsMax());
  os().DescriptorsReserve(INT64_MAX);
  os().DescriptorsReserve(0);
  const int after = os().SpareOpen();
  os().Close(after);
  EXPECT_EQ(after, before);
}

TEST(LinuxOsDeathTest, ExitNowEndsTheProcessWithItsCode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(os().ExitNow(7), ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace sluice::testing::os_linux_test
