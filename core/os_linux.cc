#include "sluice/core/os_linux.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "sluice/core/os.h"

namespace sluice {
namespace {

// -errno for the kernel's -1.
template <typename Result>
Result ErrnoAsValue(Result result) {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

// For calls that a signal interrupts before they have done anything.
template <typename Call>
auto RetryOnSignal(Call call) {
  auto result = ErrnoAsValue(call());
  while (result == -EINTR) result = ErrnoAsValue(call());
  return result;
}

// What a limit's file says; INT64_MAX when it says "max" (v2), or there is no such file.
int64_t LimitInFile(const std::string& path) {
  std::ifstream file(path);
  int64_t bytes = 0;
  // v1 writes "no limit" as a number near INT64_MAX, which is as good.
  return file >> bytes && bytes >= 0 ? bytes : INT64_MAX;
}

// The least limit on the way from `group` up to the mount. In a container the group may be named as
// the host sees it and not exist here; then what counts is at the mount itself.
int64_t LeastLimitUpwards(const std::string& mount, std::string group, const char* file) {
  int64_t least = INT64_MAX;
  while (true) {
    least = std::min(least, LimitInFile(mount + group + "/" + file));
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

// The last of the three numbers that net.ipv4's tcp_*mem hold: minimum, default, maximum.
int64_t ThirdNumberInFile(const std::string& path, int64_t otherwise) {
  std::ifstream file(path);
  int64_t minimum, usual, maximum;
  return file >> minimum >> usual >> maximum && maximum > 0 ? maximum : otherwise;
}

int64_t SaturatingProduct(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

// recv and send are cancellation points: in a program with threads, glibc changes the thread's
// state by a locked instruction before and after each. Receive and Send are syscall() for that
// reason alone.
class LinuxOsImpl final : public Os {
 public:
  int64_t NowNs() override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  }

  int64_t ThreadProcessorNs() override {
    timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
  }

  int64_t MemoryBytes() override {
    const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
    return std::min(machine, CgroupMemoryBytes("/proc/self/cgroup", "/sys/fs/cgroup"));
  }

  int64_t DescriptorsMax() override {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;  // POSIX and Linux: never.
    return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, INT64_MAX));
  }

  int ProcessorCount() override {
    // The set must be as large as the kernel's own; EINVAL says that it was not.
    for (int processors_max = 1024; processors_max <= 1 << 20; processors_max *= 2) {
      cpu_set_t* set = CPU_ALLOC(processors_max);
      if (set == nullptr) break;
      const size_t size = CPU_ALLOC_SIZE(processors_max);
      const int result = ErrnoAsValue(sched_getaffinity(0, size, set));
      const int count = result < 0 ? 0 : CPU_COUNT_S(size, set);
      CPU_FREE(set);
      if (count > 0) return count;
      if (result != -EINVAL) break;
    }
    return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  }

  int64_t SocketMemoryBytes(int64_t sockets) override {
    return TcpMemoryBytes("/proc/sys/net/ipv4", sockets);
  }

  int PollerCreate() override { return ErrnoAsValue(epoll_create1(EPOLL_CLOEXEC)); }

  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    return ErrnoAsValue(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
  }

  int PollerRemove(int poller, int fd) override {
    epoll_event unused{};
    return ErrnoAsValue(epoll_ctl(poller, EPOLL_CTL_DEL, fd, &unused));
  }

  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    const int count = ErrnoAsValue(epoll_wait(poller, events, events_max, timeout_ms));
    // Not retried: the time-out would start again, and the caller has a clock to read anyway.
    return count == -EINTR ? 0 : count;
  }

  int WakeCreate() override { return ErrnoAsValue(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

  int WakeSignal(int fd) override {
    const uint64_t one = 1;
    const ssize_t result = RetryOnSignal([&] { return write(fd, &one, sizeof one); });
    return result < 0 && result != -EAGAIN ? static_cast<int>(result) : 0;
  }

  int WakeClear(int fd) override {
    uint64_t count = 0;
    const ssize_t result = RetryOnSignal([&] { return read(fd, &count, sizeof count); });
    return result < 0 && result != -EAGAIN ? static_cast<int>(result) : 0;
  }

  int SocketOpen(int family, int type) override {
    return ErrnoAsValue(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }

  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    return ErrnoAsValue(bind(fd, address, size));
  }

  int Listen(int fd, int backlog) override { return ErrnoAsValue(listen(fd, backlog)); }

  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override {
    return RetryOnSignal([&] {
      *peer_size = sizeof *peer;
      return accept4(fd, reinterpret_cast<sockaddr*>(peer), peer_size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    });
  }

  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    const int result = ErrnoAsValue(connect(fd, address, size));
    // An interrupted connect goes on by itself; a second call would answer EALREADY.
    return result == -EINTR ? -EINPROGRESS : result;
  }

  int64_t Receive(int fd, void* data, size_t size) override {
    return RetryOnSignal(
        [&] { return syscall(SYS_recvfrom, fd, data, size, 0, nullptr, nullptr); });
  }

  int64_t Send(int fd, const iovec* parts, int count) override {
    if (count == 1) {  // Cheaper than sendmsg: no header and parts to copy in.
      return RetryOnSignal([&] {
        return syscall(SYS_sendto, fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL, nullptr,
                       0);
      });
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);  // The kernel only reads it.
    // More would be EMSGSIZE; to send less than all is usual here.
    message.msg_iovlen = std::min(count, IOV_MAX);
    return RetryOnSignal([&] { return sendmsg(fd, &message, MSG_NOSIGNAL); });
  }

  int ShutdownWrite(int fd) override { return ErrnoAsValue(shutdown(fd, SHUT_WR)); }

  int Close(int fd) override {
    const int result = ErrnoAsValue(close(fd));
    // Never retried: Linux has freed the number already, and another thread may hold it by now.
    return result == -EINTR ? 0 : result;
  }

  int OptionSet(int fd, int level, int name, const void* value, socklen_t size) override {
    return ErrnoAsValue(setsockopt(fd, level, name, value, size));
  }

  int OptionGet(int fd, int level, int name, void* value, socklen_t* size) override {
    return ErrnoAsValue(getsockopt(fd, level, name, value, size));
  }

  int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    *size = sizeof *address;
    return ErrnoAsValue(getsockname(fd, reinterpret_cast<sockaddr*>(address), size));
  }

  int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    *size = sizeof *address;
    return ErrnoAsValue(getpeername(fd, reinterpret_cast<sockaddr*>(address), size));
  }

  // Whatever the machine is set up to ask: hosts, DNS, in its own order (RFC 6724).
  int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) override {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;  // Each address once.
    addrinfo* first = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &first);
    if (error == EAI_SYSTEM) return -errno;
    if (error == EAI_AGAIN) return -EAGAIN;
    if (error == EAI_MEMORY) return -ENOMEM;
    if (error != 0) return error == EAI_FAIL ? -EIO : -ENOENT;
    for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
      if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
      std::memcpy(&addresses->emplace_back(), one->ai_addr, one->ai_addrlen);
    }
    freeaddrinfo(first);
    return 0;
  }

  // Not /dev/null: a chroot may have none.
  int SpareOpen() override { return ErrnoAsValue(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

  int64_t UnacknowledgedBytes(int fd) override {
    int bytes = 0;
    const int result = ErrnoAsValue(ioctl(fd, SIOCOUTQ, &bytes));
    return result < 0 ? result : bytes;
  }

  int Unlink(const std::string& path) override {
    struct stat file;
    if (const int result = ErrnoAsValue(lstat(path.c_str(), &file)); result < 0) return result;
    if (!S_ISSOCK(file.st_mode)) return -ENOTSOCK;
    return ErrnoAsValue(unlink(path.c_str()));
  }

  int SignalOpen(const std::vector<int>& signals) override {
    sigset_t set;
    sigset_t before;
    sigemptyset(&set);
    for (int signal : signals) {
      if (sigaddset(&set, signal) < 0) return -errno;
    }
    // Blocked first: a signal in between must wait for the descriptor, not kill the process.
    const int error = pthread_sigmask(SIG_BLOCK, &set, &before);
    if (error != 0) return -error;
    const int fd = ErrnoAsValue(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (fd < 0) pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return fd;
  }

  int SignalRead(int fd) override {
    signalfd_siginfo info{};
    const ssize_t result = RetryOnSignal([&] { return read(fd, &info, sizeof info); });
    return result < 0 ? static_cast<int>(result) : static_cast<int>(info.ssi_signo);
  }

  int ThreadStart(std::function<void()> main, ThreadId* thread) override {
    try {
      auto started = std::make_unique<std::thread>(std::move(main));
      *thread = reinterpret_cast<ThreadId>(started.release());
      return 0;
    } catch (const std::system_error& error) {
      return error.code().value() > 0 ? -error.code().value() : -EAGAIN;
    } catch (const std::bad_alloc&) {
      return -ENOMEM;
    }
  }

  void ThreadJoin(ThreadId thread) override { Take(thread)->join(); }

  void ThreadDetach(ThreadId thread) override { Take(thread)->detach(); }

  void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) override {
    condition.wait(lock);
  }

  void NotifyOne(std::condition_variable& condition) override { condition.notify_one(); }

  void NotifyAll(std::condition_variable& condition) override { condition.notify_all(); }

  [[noreturn]] void ExitNow(int code) override { _exit(code); }

 private:
  static std::unique_ptr<std::thread> Take(ThreadId thread) {
    return std::unique_ptr<std::thread>(reinterpret_cast<std::thread*>(thread));
  }
};

}  // namespace

int64_t CgroupMemoryBytes(const std::string& self_cgroup, const std::string& mount) {
  int64_t least = INT64_MAX;
  std::ifstream file(self_cgroup);
  // A line is HIERARCHY:CONTROLLERS:GROUP. v2 has hierarchy 0 and names no controllers.
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,") {
      least = std::min(least, LeastLimitUpwards(mount, group, "memory.max"));
      // Where systemd runs v1 and v2 side by side, v2 is mounted one deeper.
      least = std::min(least, LeastLimitUpwards(mount + "/unified", group, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, LeastLimitUpwards(mount + "/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least;
}

int64_t TcpMemoryBytes(const std::string& sysctl, int64_t sockets) {
  // Where they cannot be read: what Linux gives a machine with memory enough.
  const int64_t receive = ThirdNumberInFile(sysctl + "/tcp_rmem", 6 * 1024 * 1024);
  const int64_t send = ThirdNumberInFile(sysctl + "/tcp_wmem", 4 * 1024 * 1024);
  // In pages, and of the whole machine: a container's own network namespace does not show it.
  const int64_t pages = ThirdNumberInFile(sysctl + "/tcp_mem", INT64_MAX);
  // Each socket's own limits, and what the kernel gives all of them together (tcp(7)).
  return std::min(SaturatingProduct(receive + send, sockets),
                  SaturatingProduct(pages, sysconf(_SC_PAGESIZE)));
}

Os& LinuxOs() {
  static LinuxOsImpl& os =
      *new LinuxOsImpl;  // Never destroyed: descriptors of statics may outlive main.
  return os;
}

}  // namespace sluice
